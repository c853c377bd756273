"""
The records of calls that end after their turn: each continues the listing of the turn's own line.

What the turn's line says of a call (place, role, layer) holds for its late line too.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from ...records import LATE_SCHEMA
from ..process import claim
from .call_record import entries_of
from .encode import join
from .unread import log_unread

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

    from ..turns.turn import CallState, Turn
    from .encode import Raw
    from .recorded_call import Entry

__all__ = ["Listing", "late_records"]


class _ListedPlace(NamedTuple):
    """How the line of a turn lists a request."""

    number: int
    role: str
    role_source: str
    layer: int | None
    ended: bool


class Listing:
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


def late_records(turn: Turn, call_state: CallState, *, ts: float) -> Iterator[Raw]:
    """
    Yield the lines of a call that ended after its turn: its own comes last.

    Before it come its earlier requests and the calls inside it, but for those that the turn's line
    contains whole, and for those that still run and will have a line of their own.
    """
    apart = _apart(call_state)
    entries = entries_of(call_state, late=True, apart=apart)
    recorded = {entry.attempt.id for entry in entries}
    for entry in entries:
        if entry.call_state in apart:
            continue
        listing = _listing_of(entry.call_state)
        place = listing.places.get(entry.attempt.id) if listing is not None else None
        if place is not None and place.ended:
            continue
        _place_late(entry, listing, place)
        known = recorded if listing is None else recorded | listing.places.keys()
        entry.fields["parent"] = _parent_of(entry.call_state, known)
        log_unread([entry.fields])
        yield join(
            {
                "schema": LATE_SCHEMA,
                "turn_id": turn.id,
                "session_id": turn.session_id,
                "ts": ts,
                "call": join(entry.fields),
            }
        )


def _apart(call_state: CallState) -> set[CallState]:
    """Return the calls inside a late one that have lines of their own: they still run, or are being written just now."""
    apart: set[CallState] = set()
    for attempt in call_state.attempts:
        for inner in attempt.inner:
            # `claim` decides between two threads: the inner call may be ending just now, and the one that takes its flag
            # writes it. Without that a call would be in two lines, or in none
            # (`test_calls_that_end_at_the_same_instant_are_told_once`).
            if not inner.done or not (inner.settled or claim(inner.claimed)):
                inner.apart = True
                apart.add(inner)
            apart |= _apart(inner)
    return apart


def _parent_of(call_state: CallState, recorded: Collection[str]) -> str | None:
    """Return the id of the request around a call that has a record; one that is one with its outer call has none."""
    around = call_state.parent
    while around is not None and around.id not in recorded and around.call_state.parent is not None:
        around = around.call_state.parent
    return around.id if around is not None else None


def _listing_of(call_state: CallState) -> Listing | None:
    """Return the listing of the turn's line, from a call or from one around it if it began later."""
    around: CallState | None = call_state
    while around is not None:
        if around.listing is not None:
            listing: Listing = around.listing
            return listing
        around = around.parent.call_state if around.parent is not None else None
    return None


def _place_late(entry: Entry, listing: Listing | None, place: _ListedPlace | None) -> None:
    """Give a late request the place that the turn's line lists, or the next one."""
    fields = entry.fields
    if listing is None:
        fields["index"] = entry.call_state.order[0]
    else:
        fields["index"] = place.number if place is not None else next(listing.further)
        if place is None and entry.is_last:
            # A further request of a call that is listed: it takes the call's role over.
            place = next((p for a in entry.call_state.attempts if (p := listing.places.get(a.id))), None)
    if place is not None:
        fields["role"], fields["role_source"], fields["layer"] = place.role, place.role_source, place.layer
    if fields["role"] is None:
        # What the turn has read is known only to the turn's line, and that does not list it.
        fields["role"], fields["role_source"] = "call", "unknown" if entry.is_last else "inferred"
    if fields["role"] == "reference" and fields["layer"] is None and place is None:
        fields["layer"] = 1
