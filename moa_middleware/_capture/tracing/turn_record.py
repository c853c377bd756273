"""
The line of a turn, and that of a late call, from the entries of their calls.

Roles and layers that nobody named are inferred here, and sums are made over the calls that asked a
model themselves.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from ...records import LATE_SCHEMA, SCHEMA
from ..process import claim
from ..shapes.replies import read_reply
from ..turns.roles import Node, infer
from .call_record import EMPTY, NULL, TOKENS, Entry, credentials_of, entries_of, error_record
from .encode import Part, Parts, Raw, encode, join

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ..turns.call_state import CallSlot
    from ..turns.turn import Turn
    from .snapshot import Snapshot

__all__ = ["late_records", "ran_references", "turn_record"]


class _Place(NamedTuple):
    """How the line of a turn lists a request."""

    number: int
    role: str
    role_source: str
    layer: int | None
    ended: bool


class _Listing:
    """The places of a turn's requests, so that late lines go on where the turn's line stopped."""

    __slots__ = ("further", "places")

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.places: dict[str, _Place] = {}
        for entry in entries:
            fields = entry.fields
            self.places[entry.attempt.id] = _Place(
                fields["index"], fields["role"], fields["role_source"], fields["layer"], fields["outcome"] is not None
            )
        self.further = count(len(entries))


def _finish(entry: Entry) -> None:
    fields, slot = entry.fields, entry.slot
    fields["label"] = fields["label"] or fields["model"] or slot.name or None


def _node(entry: Entry, turn: Turn) -> Node:
    clock = entry.attempt.clock
    reply = entry.attempt.reply
    slot = entry.slot
    returned = turn.returned
    answered = turn.answered_by is not None and _is_within(turn.answered_by, slot)
    if not answered and returned is not None and reply is not None:
        raw = reply.raw
        answered = raw is not None and (raw is returned or (type(returned) is str and returned == reply.text))
    return Node(
        input=entry.fields["input_messages"],
        output=entry.fields["output"],
        started_ns=clock.started_ns,
        ended_ns=clock.ended_ns if slot.settled else None,
        failed=entry.fields["outcome"] in ("error", None),
        answered=answered,
        role=slot.role,
        layer=slot.layer,
        others=tuple(choice["text"] for choice in reply.choices if choice["text"]) if reply is not None else (),
    )


def _is_within(slot: CallSlot | None, outer: CallSlot) -> bool:
    while slot is not None:
        if slot is outer:
            return True
        slot = slot.parent.slot if slot.parent is not None else None
    return False


def _escape(text: str) -> bytes:
    return encode(text)[1:-1]


def _in_order(entries: Iterable[Entry]) -> list[Entry]:
    ordered = sorted(entries, key=lambda e: (e.slot.order, e.attempt.number))
    for index, entry in enumerate(ordered):
        entry.fields["index"] = index
    return ordered


def _all_entries(turn: Turn) -> list[Entry]:
    entries: list[Entry] = []
    for slot in turn.calls:
        if slot.parent is None and slot.attempts:
            entries += entries_of(slot)
    return _in_order(entries)


def _asked_alike(entries: list[Entry]) -> bool:
    """Whether calls were all sent the very same request."""
    first = entries[0].fields["input_messages"] if entries else None
    return all(entry.fields["input_messages"] is first for entry in entries)


def _name_roles(turn: Turn, entries: list[Entry]) -> None:
    """Infer what nobody named, and choose the one aggregator of the record."""
    chosen = [entry for entry in entries if entry.is_last]
    open_roles = [e for e in chosen if e.slot.role is None]
    open_layers = [e for e in chosen if e.slot.role == "reference" and e.slot.layer is None]
    named = any(e.slot.role == "reference" and e.slot.layer is not None for e in chosen)
    if not open_roles and not named and _asked_alike(open_layers):
        # One round, as most are: none of them can have read another.
        for entry in open_layers:
            entry.fields["layer"] = 1
    elif open_roles and len(chosen) == 1:
        # The only call of a turn answers it.
        chosen[0].fields["role"], chosen[0].fields["role_source"] = "aggregator", "inferred"
    elif open_roles or open_layers:
        nodes = [_node(entry, turn) for entry in chosen]
        infer(nodes, _escape)
        for entry, node in zip(chosen, nodes, strict=True):
            if entry.slot.role is None:
                entry.fields["role_source"] = "inferred"
            entry.fields["role"], entry.fields["layer"] = node.role, node.layer
    for entry in entries:
        if not entry.is_last and entry.slot.role is None:
            entry.fields["role"], entry.fields["role_source"] = "call", "inferred"
        _finish(entry)


def _split(turn: Turn, entries: list[Entry]) -> tuple[list[Entry], Entry | None, list[Entry]]:
    """Return references, the aggregator and the further calls."""
    references, others = [], []
    aggregators: list[Entry] = []
    for entry in entries:
        role = entry.fields["role"]
        if entry.is_last and role == "reference":
            references.append(entry)
        elif entry.is_last and role == "aggregator":
            aggregators.append(entry)
        else:
            others.append(entry)
    if not aggregators:
        return references, None, others
    fine = [e for e in aggregators if e.fields["outcome"] not in ("error", None)]
    answered = [e for e in aggregators if _is_within(turn.answered_by, e.slot)]
    aggregator = (answered or fine or aggregators)[-1]
    others += [entry for entry in aggregators if entry is not aggregator]
    others.sort(key=lambda entry: entry.fields["index"])
    return references, aggregator, others


def _totals(entries: list[Entry]) -> dict[str, Any]:
    """Sum over the calls that asked a model themselves, so that nothing counts twice."""
    asked = [entry.fields for entry in entries if not entry.has_inner]
    # An answer of a middleware's cost nothing; what it stands for is an entry of its own.
    own = [fields for fields in asked if fields["source"] == "provider"]
    usages = [fields["usage"] for fields in own if fields["usage"]]
    usage: dict[str, Any] = {}
    if usages:
        for name in TOKENS:
            known = [u[name] for u in usages if u.get(name) is not None]
            usage[name] = sum(known) if known else None
    costs = [fields["cost_usd"] for fields in own if fields["cost_usd"] is not None]
    return {
        "calls": len(own),
        "failed": sum(fields["outcome"] in ("error", "crashed") for fields in asked),
        "usage": usage,
        "cost_usd": sum(costs) if costs else None,
        "unpriced": len(own) - len(costs),
    }


def _output(turn: Turn, aggregator: Entry | None, entries: list[Entry]) -> str | None:
    """Return the text of what the turn returned, else the aggregator's, or that of its only call."""
    reply = turn.reply
    if reply is None and turn.returned is not None:
        reply = read_reply(turn.returned)
    if reply is not None and reply.text is not None:
        return reply.text
    if aggregator is None and turn.implicit:
        aggregator = next((entry for entry in entries if entry.is_last), None)
    return aggregator.fields["output"] if aggregator is not None else None


def ran_references(turn: Turn) -> bool:
    """Whether a turn ran references, or made a call whose role is still open."""
    return any(slot.role in (None, "reference") for slot in turn.calls if slot.attempts)


def turn_record(turn: Turn, *, ts: float) -> tuple[dict[str, Any], int]:
    """Return the line of a turn but for its writer, ready to `join`, and how many references it has."""
    entries = _all_entries(turn)
    _name_roles(turn, entries)
    references, aggregator, others = _split(turn, entries)
    if not all(slot.settled for slot in turn.calls):
        listing = _Listing(entries)
        for slot in turn.calls:
            slot.listing = listing
    shot: Snapshot | None = turn.memo
    if shot is None and turn.implicit and entries:
        shot = entries[-1].attempt.memo
    parts = {
        "schema": SCHEMA,
        "ts": ts,
        "turn_id": turn.id,
        "session_id": turn.session_id,
        "preset": turn.preset,
        "outcome": turn.outcome,
        "error": error_record(turn.error, _credentials(turn, entries)) if turn.error is not None else None,
        "started_at": turn.clock.started_at,
        "ended_at": turn.clock.ended_at,
        "duration_ms": turn.clock.duration_ms,
        "input_messages": shot.messages if shot else NULL,
        "params": shot.params if shot else EMPTY,
        "output": _output(turn, aggregator, entries),
        "references": Parts(Part(entry.fields) for entry in references),
        "aggregator": Part(aggregator.fields) if aggregator is not None else None,
        "calls": Parts(Part(entry.fields) for entry in others),
        "parent_turn_id": turn.parent.id if turn.parent is not None else None,
        "turns": list(turn.turns),
        "tags": encode(dict(turn.tags)) if turn.tags else EMPTY,
        "totals": _totals(entries),
        "implicit": turn.implicit,
        "instrumentation_errors": turn.faults,
        "trace_context": turn.trace_context,
    }
    return parts, len(references)


def late_records(turn: Turn, slot: CallSlot, *, ts: float) -> Iterator[Raw]:
    """
    Yield the lines of a call that ended after its turn: its own comes last.

    Before it come its earlier requests and the calls inside it, but for those that the turn's line
    told whole, and for those that still run and will have a line of their own.
    """
    apart = _apart(slot)
    for entry in entries_of(slot, late=True, apart=apart):
        if entry.slot in apart:
            continue
        listing = _listing_of(entry.slot)
        place = listing.places.get(entry.attempt.id) if listing is not None else None
        if place is not None and place.ended:
            continue
        _place_late(entry, listing, place)
        yield join(
            {
                "schema": LATE_SCHEMA,
                "turn_id": turn.id,
                "session_id": turn.session_id,
                "ts": ts,
                "call": join(entry.fields),
            }
        )


def _apart(slot: CallSlot) -> set[CallSlot]:
    """Return the calls inside a late one that are not told with it: they still run, or tell of themselves at this moment."""
    apart: set[CallSlot] = set()
    for attempt in slot.attempts:
        for inner in attempt.inner:
            if not inner.done or not (inner.settled or claim(inner.claimed)):
                inner.apart = True
                apart.add(inner)
            apart |= _apart(inner)
    return apart


def _credentials(turn: Turn, entries: list[Entry]) -> list[str]:
    """Return what the exception of a turn may quote: it is mostly that of one of its calls, or of a turn inside it."""
    found = [text for entry in entries if entry.attempt.error is not None for text in credentials_of(entry.attempt)]
    found += turn.hidden
    if turn.parent is not None:
        turn.parent.hidden += found
    return found


def _listing_of(slot: CallSlot) -> _Listing | None:
    """Return the listing that a call, or the one around it where it began later, was told of."""
    around: CallSlot | None = slot
    while around is not None:
        if around.listing is not None:
            listing: _Listing = around.listing
            return listing
        around = around.parent.slot if around.parent is not None else None
    return None


def _place_late(entry: Entry, listing: _Listing | None, place: _Place | None) -> None:
    """Give a late request the place that the turn's line lists, or the next one."""
    fields = entry.fields
    if listing is None:
        fields["index"] = entry.slot.order[0]
    else:
        fields["index"] = place.number if place is not None else next(listing.further)
        if place is None and entry.is_last:
            # A further request of a call that is listed: it takes the call's role over.
            place = next((p for a in entry.slot.attempts if (p := listing.places.get(a.id))), None)
    if place is not None:
        fields["role"], fields["role_source"], fields["layer"] = place.role, place.role_source, place.layer
    fields["role"] = fields["role"] or "call"
    fields["role_source"] = fields["role_source"] or "inferred"
    if fields["role"] == "reference" and fields["layer"] is None and place is None:
        fields["layer"] = 1
    _finish(entry)
