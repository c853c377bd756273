"""
The record of a turn, and that of a late call, from the records of their calls.

Roles and layers that nobody declared are inferred here, and sums are made over the calls that asked
a model themselves. Every record of a turn is arranged by `arrange`: those of live turns, recovered
ones, and those that the trace functions of Hermes Agent write.
"""

from __future__ import annotations

from itertools import count
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ...records import EMPTY_TURN, LATE_SCHEMA, TOKENS
from ..process import claim
from ..shapes.replies import read_reply
from ..turns.roles import infer
from .call_record import call_json, credentials_of, entries_of, error_record, hollow_call
from .encode import Raw, encode, fast_json, hollow, join, pieces_of
from .entry import Entry, RecordedCall, within
from .snapshot import known_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from ..turns.turn import CallState, Turn
    from .snapshot import Snapshot

__all__ = ["arrange", "late_records", "name_roles", "ran_references", "turn_pieces", "turn_record", "unrecorded"]


_C = TypeVar("_C", bound=RecordedCall)


class _ListedPlace(NamedTuple):
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
        self.places: dict[str, _ListedPlace] = {}
        for entry in entries:
            fields = entry.fields
            self.places[entry.attempt.id] = _ListedPlace(
                fields["index"], fields["role"], fields["role_source"], fields["layer"], fields["outcome"] is not None
            )
        self.further = count(len(entries))


# Any turn ----------------------------------------------------------------------------------------


def name_roles(calls: Sequence[RecordedCall], *, ended: bool = True) -> None:
    """
    Infer the roles and layers that nobody declared, in place.

    Args:
        calls: The turn's calls, in the order of submission.
        ended: Whether the turn came to its end. Without references nothing shows that the last call
            of another was to answer it.
    """
    chosen: list[RecordedCall] = []
    open_roles: list[dict[str, Any]] = []
    open_layers: list[dict[str, Any]] = []
    has_layers = False
    for call in calls:
        fields = call.fields
        role = fields["role"]
        if not call.is_last:
            if role is None:
                fields["role"], fields["role_source"] = "call", "inferred"
            continue
        chosen.append(call)
        if role is None:
            open_roles.append(fields)
        elif role == "reference" and fields["layer"] is None:
            open_layers.append(fields)
        elif role == "reference":
            has_layers = True
    if not open_roles and not has_layers and _asked_alike(open_layers):
        # One round, as most are: none of them can have read another.
        for fields in open_layers:
            fields["layer"] = 1
    elif open_roles and len(chosen) == 1:
        # The only call of a turn answers it.
        open_roles[0]["role"] = "aggregator" if ended else "call"
    elif open_roles or open_layers:
        nodes = [call.node() for call in chosen]
        infer(nodes, _escape)
        answers = ended or any(node.role == "reference" for node in nodes)
        for call, node in zip(chosen, nodes, strict=True):
            fields = call.fields
            fields["layer"] = node.layer
            if fields["role"] is None:
                fields["role"] = node.role if answers else "call"
    for fields in open_roles:
        fields["role_source"] = "inferred"


def _escape(text: str) -> bytes:
    return encode(text)[1:-1]


def _asked_alike(references: list[dict[str, Any]]) -> bool:
    """Return True if calls were all sent the very same request."""
    if not references:
        return True
    first = references[0]["input_messages"]
    return all(fields["input_messages"] is first for fields in references)


def arrange(calls: Sequence[_C], answered: Callable[[_C], bool] | None = None) -> tuple[dict[str, Any], _C | None]:
    """
    Return a turn's record with its calls and their sums, everything else empty, and its aggregator.

    Args:
        calls: The turn's calls, with roles, in the order of submission.
        answered: Returns True for a call whose stream the turn returned.
    """
    aggregators = [call for call in calls if call.is_last and call.fields["role"] == "aggregator"]
    found = aggregators
    if len(found) > 1:
        found = [call for call in found if not call.failed] or aggregators
        if answered is not None:
            found = [call for call in aggregators if answered(call)] or found
    aggregator = found[-1] if found else None
    references: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for call in calls:
        if call is not aggregator:
            (references if call.is_last and call.fields["role"] == "reference" else others).append(call.fields)
    record = {
        **EMPTY_TURN,
        "references": references,
        "aggregator": aggregator.fields if aggregator is not None else None,
        "calls": others,
        "totals": _totals(calls),
    }
    return record, aggregator


_NO_TOKENS = dict.fromkeys(TOKENS)


def _totals(calls: Sequence[RecordedCall]) -> dict[str, Any]:
    """Sum over the calls that asked a model themselves, so that nothing counts twice."""
    own = failed = unpriced = 0
    usage: dict[str, Any] = {}
    total: float | None = None
    for call in calls:
        if call.has_inner:
            continue
        fields = call.fields
        failed += fields["outcome"] in ("error", "crashed")
        if fields["source"] != "provider":
            continue  # a middleware's answer cost nothing; the call that it answers for is an entry itself
        own += 1
        cost = fields["cost_usd"]
        if cost is None:
            unpriced += 1
        else:
            total = cost if total is None else total + cost
        tokens = fields["usage"]
        if tokens and not usage:
            usage = {**_NO_TOKENS, **tokens}
        else:
            for name, known in tokens.items():
                if known is not None:
                    usage[name] = known + (usage.get(name) or 0)
    return {"calls": own, "failed": failed, "usage": usage, "cost_usd": total, "unpriced": unpriced}


# A live turn -------------------------------------------------------------------------------------


def _all_entries(turn: Turn) -> list[Entry]:
    entries: list[Entry] = []
    for slot in turn.calls:
        if slot.parent is None and slot.attempts:
            entries += entries_of(slot)
    entries.sort(key=lambda entry: (entry.slot.order, entry.attempt.number))
    for index, entry in enumerate(entries):
        entry.fields["index"] = index
    return entries


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


def turn_record(turn: Turn, *, ts: float) -> dict[str, Any]:
    """Return the record of a turn but for its writer."""
    entries = _all_entries(turn)
    name_roles(entries)
    record, aggregator = arrange(entries, lambda entry: within(turn.answered_by, entry.slot))
    if not all(slot.settled for slot in turn.calls):
        listing = _Listing(entries)
        for slot in turn.calls:
            slot.listing = listing
    shot: Snapshot | None = turn.memo
    if shot is None and turn.implicit and entries:
        shot = entries[-1].attempt.memo
    record |= known_of(turn, shot)
    record["ts"] = ts
    if turn.tags:
        record["tags"] = encode(record["tags"])
    record["outcome"] = turn.outcome
    if turn.error is not None:
        record["error"] = error_record(turn.error, _credentials(turn, entries))
    record["ended_at"], record["duration_ms"] = turn.clock.ended_at, turn.clock.duration_ms
    record["output"] = _output(turn, aggregator, entries)
    return record


def unrecorded(turn: Turn, error: BaseException, *, ts: float) -> dict[str, Any]:
    """Return a record that says what failed, without any content, where the whole one could not be made."""
    calls = len(turn.calls)
    return {
        **EMPTY_TURN,
        **known_of(turn, None),
        "ts": ts,
        "input_messages": None,
        "outcome": turn.outcome,
        "ended_at": turn.clock.ended_at,
        "duration_ms": turn.clock.duration_ms,
        "tags": {"moa.record_failed": type(error).__qualname__},
        "totals": {**EMPTY_TURN["totals"], "calls": calls, "unpriced": calls},
    }


_KINDS = frozenset({str, int, float, bool, type(None), list, dict})
_nested = itemgetter("usage", "error", "tool_calls", "choices", "params_omitted", "usage_raw")
"""Values of a call that contain others."""


def turn_pieces(record: Mapping[str, Any]) -> list[bytes]:
    """
    Return the record of a turn as JSON, in pieces.

    The whole is encoded at once: each encoding takes some 3 µs, whatever its size. If a call
    contains what the fast encoder does not take, each part is encoded by itself, so that it does
    not cost the others anything.
    """
    ready: list[Raw] = []
    try:
        data = _encoded_at_once(record, ready)
    except Exception:
        ready = []
        aggregator = record["aggregator"]
        parts = {
            **record,
            "references": _array(record["references"]),
            "aggregator": call_json(aggregator) if aggregator is not None else None,
            "calls": _array(record["calls"]),
        }
        data = encode(hollow(parts, parts, ready))
    return pieces_of(data, ready)


def _encoded_at_once(record: Mapping[str, Any], ready: list[Raw]) -> bytes:
    """Return the record with placeholders; `ready` gets the values in the order of their places."""
    rest = hollow(record, ("input_messages", "params"), ready)
    references, aggregator = record["references"], record["aggregator"]
    listed = [*references, *((aggregator,) if aggregator is not None else ()), *record["calls"]]
    calls = [hollow_call(call, ready) for call in listed]
    at = len(references)
    rest["references"] = calls[:at]
    if aggregator is not None:
        rest["aggregator"] = calls[at]
        at += 1
    rest["calls"] = calls[at:]
    if type(record["tags"]) is Raw:
        rest.update(hollow({"tags": record["tags"]}, ("tags",), ready))
    kinds = {*map(type, rest.values())}
    for call in calls:
        kinds.update(map(type, call.values()))
    if not kinds <= _KINDS:
        raise TypeError
    # Flat values are known by their types; the encoder would drain an iterator inside the others.
    return fast_json(rest, [*map(_nested, calls)])


def _array(calls: list[dict[str, Any]]) -> Raw:
    return Raw(b"[%b]" % b",".join(map(call_json, calls)))


def late_records(turn: Turn, slot: CallState, *, ts: float) -> Iterator[Raw]:
    """
    Yield the lines of a call that ended after its turn: its own comes last.

    Before it come its earlier requests and the calls inside it, but for those that the turn's line
    contains whole, and for those that still run and will have a line of their own.
    """
    apart = _apart(slot)
    entries = entries_of(slot, late=True, apart=apart)
    recorded = {entry.attempt.id for entry in entries}
    for entry in entries:
        if entry.slot in apart:
            continue
        listing = _listing_of(entry.slot)
        place = listing.places.get(entry.attempt.id) if listing is not None else None
        if place is not None and place.ended:
            continue
        _place_late(entry, listing, place)
        entry.fields["parent"] = _parent_of(
            entry.slot, recorded if listing is None else recorded | listing.places.keys()
        )
        yield join(
            {
                "schema": LATE_SCHEMA,
                "turn_id": turn.id,
                "session_id": turn.session_id,
                "ts": ts,
                "call": call_json(entry.fields),
            }
        )


def _apart(slot: CallState) -> set[CallState]:
    """Return the calls inside a late one that have lines of their own: they still run, or are being written just now."""
    apart: set[CallState] = set()
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


def _parent_of(slot: CallState, recorded: Collection[str]) -> str | None:
    """Return the id of the request around a call that has a record; one that is one with its outer call has none."""
    around = slot.parent
    while around is not None and around.id not in recorded and around.slot.parent is not None:
        around = around.slot.parent
    return around.id if around is not None else None


def _listing_of(slot: CallState) -> _Listing | None:
    """Return the listing of the turn's line, from a call or from one around it if it began later."""
    around: CallState | None = slot
    while around is not None:
        if around.listing is not None:
            listing: _Listing = around.listing
            return listing
        around = around.parent.slot if around.parent is not None else None
    return None


def _place_late(entry: Entry, listing: _Listing | None, place: _ListedPlace | None) -> None:
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
