"""When each call of a turn ran, and which of them the turn waited for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._cost import cost_of

if TYPE_CHECKING:
    from ._call import Call
    from ._turn import Turn

__all__ = ["Span", "timeline"]


@dataclass(frozen=True, slots=True)
class Span:
    """
    One request of a turn, in its time.

    Attributes:
        call: The call.
        start_ms: When it began, in milliseconds after the turn did; `None` if that is not known.
        end_ms: When it was complete; `None` if that is not known, or it still runs.
        cost_share: Its part of the turn's known cost, from 0 to 1; `None` if its price is not known.
        slack_ms: For a reference, how much longer it could have taken without keeping the aggregator, in
            milliseconds: 0 for the slowest one. `None` for other calls, and for a reference that the
            aggregator did not wait for.
    """

    call: Call
    start_ms: float | None
    end_ms: float | None
    cost_share: float | None
    slack_ms: float | None


def timeline(turn: Turn) -> tuple[Span, ...]:
    """Return the requests of a turn in the order in which they began: see `Turn.timeline`."""
    calls = turn.requests
    start = turn.started_at
    total = cost_of(calls).known_usd
    aggregator = turn.aggregator
    ready = aggregator.started_at if aggregator is not None else None
    ends = [
        call.ended_at
        for call in turn.references
        if call.ended_at is not None and ready is not None and call.ended_at <= ready
    ]
    last = max(ends, default=None)
    references = {id(call) for call in turn.references}
    spans = []
    for call in calls:
        waited = id(call) in references and last is not None and call.ended_at is not None and call.ended_at <= last
        usd = call.cost_usd
        spans.append(
            Span(
                call,
                _since(start, call.started_at),
                _since(start, call.ended_at),
                None if usd is None or not total else usd / total,
                1000 * (last - call.ended_at) if waited and last is not None and call.ended_at is not None else None,
            )
        )
    return tuple(sorted(spans, key=lambda span: (span.start_ms is None, span.start_ms or 0.0)))


def _since(start: float | None, at: float | None) -> float | None:
    return None if start is None or at is None else 1000 * (at - start)
