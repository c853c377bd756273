"""The timeline of a turn: when each call ran, and which of them the turn waited for."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._cost import cost_of, usage_of
from ._fields import number

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._call import CallView, TokenUsage
    from ._cost import Cost
    from ._nesting import Nesting

__all__ = ["Span", "timeline"]

_HARDLY = 0.001
"""Seconds by which clocks of two threads may differ."""
_AT_ONCE = 0.05
"""Seconds in which a call begins that was waiting for another."""


@dataclass(frozen=True, slots=True)
class Span:
    """
    One request of a turn, or a call with a role around several, in its time.

    Attributes:
        call: The call.
        start_ms: When it began, in milliseconds after the turn did; `None` if that is not known.
        end_ms: When it was complete; `None` if that is not known, or it still runs.
        cost_share: Its part of the turn's cost, as far as that is recorded or estimated, from 0 to 1; `None` if its
            price is neither, and for a call around several requests, whose parts are theirs.
        slack_ms: For a reference, how much longer it could have taken without keeping what began next
            behind it, another reference or the aggregator, in milliseconds: 0 for the last to end before
            that. It rests on times, not on what the program truly waited for. `None` for other calls, and
            for a reference that the aggregator did not wait for.
        depth: How many calls with a role are around it.
        inside: The requests that it is the sum of; empty for a request.
        estimates: Whether prices that were not recorded are estimated.
    """

    call: CallView
    start_ms: float | None
    end_ms: float | None
    cost_share: float | None
    slack_ms: float | None
    depth: int = 0
    inside: tuple[CallView, ...] = ()
    estimates: bool = False

    @property
    def usage(self) -> TokenUsage:
        """Its tokens; of a call around several requests, the sums of theirs."""
        return usage_of(self.inside) if self.inside else self.call.usage

    @property
    def cost(self) -> Cost:
        """What it cost; of a call around several requests, the sum of theirs."""
        return cost_of(self.inside or (self.call,), estimate=self.estimates)


def timeline(
    nesting: Nesting,
    references: Sequence[CallView],
    aggregator: CallView | None,
    start: float | None,
    *,
    estimate: bool = False,
) -> tuple[Span, ...]:
    """
    Return the requests of a turn in the order in which they began: see `TurnView.timeline`.

    Args:
        nesting: The turn's calls.
        references: Those of them that are references.
        aggregator: The call that answered.
        start: When the turn began, in epoch seconds.
        estimate: Estimate the prices that were not recorded.
    """
    total = cost_of(nesting.requests, estimate=estimate).total_usd
    ready = aggregator.started_at if aggregator is not None else None
    ends = sorted(
        call.ended_at
        for call in references
        if call.ended_at is not None and ready is not None and call.ended_at <= ready
    )
    last = ends[-1] if ends else None
    begins = sorted(call.started_at for call in references if call.started_at is not None)
    reference_ids = {id(call) for call in references}
    paths = {id(call): nesting.path(call) for call in (*nesting.requests, *nesting.sums)}
    inside: dict[int, list[CallView]] = {id(call): [] for call in nesting.sums}
    for call in nesting.requests:
        for outer in paths[id(call)][:-1]:
            if id(outer) in inside:
                inside[id(outer)].append(call)
    spans = []
    for call in (*nesting.requests, *nesting.sums):
        waited = id(call) in reference_ids and last is not None and call.ended_at is not None and call.ended_at <= last
        kept = _kept(call.ended_at, ends, begins) if waited and call.ended_at is not None else None
        # The price of what answered in a model's place was never a part of the total, but is shown as its share.
        usd = call.cost_usd if call.cost_usd is not None else cost_of((call,), estimate=estimate).total_usd
        spans.append(
            Span(
                call,
                _since(start, call.started_at),
                _since(start, call.ended_at),
                None if usd is None or not total or id(call) in inside else usd / total,
                kept,
                len(paths[id(call)]) - 1,
                tuple(inside.get(id(call), ())),
                estimate,
            )
        )
    # What is inside a call comes right after it, whatever ran at the same time.
    places = {id(span.call): (span.start_ms is None, span.start_ms or 0.0, at) for at, span in enumerate(spans)}
    return tuple(
        sorted(spans, key=lambda span: [places[id(call)] for call in paths[id(span.call)] if id(call) in places])
    )


def _kept(end: float, ends: Sequence[float], begins: Sequence[float]) -> float:
    """
    Return the milliseconds from a reference's end to that of the last one that the next step waited for.

    Args:
        end: When it ended.
        ends: When the references did that ended before the aggregator began, sorted.
        begins: When the references began, sorted: one that begins as soon as others have ended may have
            waited for them, being of the next layer or the next of a chain.
    """
    for begin in begins[bisect_left(begins, end - _HARDLY) :]:
        last = ends[bisect_right(ends, max(begin, end) + _HARDLY) - 1]
        if begin - last <= _AT_ONCE:
            return 1000 * max(0.0, last - end)
    return 1000 * (ends[-1] - end)


def _since(start: float | None, at: float | None) -> float | None:
    return None if start is None or at is None else number(1000 * (at - start))
