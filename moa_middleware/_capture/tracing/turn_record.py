"""
The record of a turn, from the records of its calls.

Roles and layers that nobody declared are inferred here, and sums are made over the calls that asked
a model themselves. Every record of a turn is arranged by `arrange`: those of live turns, recovered
ones, and those that the trace functions of Hermes Agent write.
"""

from __future__ import annotations

import marshal
from functools import partial
from itertools import chain, repeat
from operator import attrgetter, is_not, itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

from ...records import EMPTY_TURN, TOKENS
from ..log import count_fault
from ..shapes.parts import choose_text, is_answer, read_parts, reply_text, said_in, texts_in, unnamed
from ..shapes.replies import read_reply
from ..turns.roles import infer
from .call_record import bare_entry, credentials_of, entries_of, error_record
from .encode import DIGITS, HOLE, HOLE_JSON, Raw, decode, encode, has_long_number, pieces_of, to_bytes
from .late_record import Listing
from .recorded_call import Entry, RecordedCall, is_failed, within
from .snapshot import known_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..flow.model import Reply
    from ..turns.turn import Turn
    from .snapshot import Snapshot

__all__ = ["arrange", "name_roles", "ran_references", "turn_pieces", "turn_record", "unrecorded"]


_C = TypeVar("_C", bound=RecordedCall)


# Any turn ----------------------------------------------------------------------------------------


def name_roles(
    calls: Sequence[RecordedCall], *, ended: bool = True, returned: object = None, text: str | None = None
) -> None:
    """
    Infer the roles and layers that nobody declared, in place.

    Args:
        calls: The turn's calls, in the order of submission.
        ended: Whether the turn came to its end. Without references nothing shows that the last call
            of another was to answer it.
        returned: The value that the turn returned, `None` if it is unknown or a stream.
        text: The text of what it returned.
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
    if not (open_roles or has_layers) and len({*map(id, map(_request_of, open_layers))}) <= 1:
        # One round, as most are: none of them can have read another.
        for fields in open_layers:
            fields["layer"] = 1
    elif open_roles and len(chosen) == 1:
        # The only call of a turn answers it.
        open_roles[0]["role"] = "aggregator" if ended else "call"
        open_roles[0]["role_source"] = "inferred" if ended else "unknown"
    elif open_roles or open_layers:
        nodes = [call.node() for call in chosen]
        infer(nodes, lambda text: encode(text)[1:-1], returned=returned, text=text)
        answers = ended or any(node.role == "reference" for node in nodes)
        for call, node in zip(chosen, nodes, strict=True):
            fields = call.fields
            fields["layer"] = node.layer
            if fields["role"] is None:
                fields["role"] = node.role if answers else "call"
                fields["role_source"] = "inferred" if answers and node.known else "unknown"


_request_of = itemgetter("input_messages")


def arrange(calls: Sequence[_C], answered: Callable[[_C], bool] | None = None) -> tuple[dict[str, Any], _C | None]:
    """
    Return a turn's record with its calls and their sums, everything else empty, and its aggregator.

    Args:
        calls: The turn's calls, with roles, in the order of submission.
        answered: Returns True for a call whose stream the turn returned.
    """
    references: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    aggregators: list[_C] = []
    for call in calls:
        fields = call.fields
        role = fields["role"] if call.is_last else None
        if role == "reference":
            references.append(fields)
            continue
        others.append(fields)
        if role == "aggregator":
            aggregators.append(call)
    found = aggregators
    if len(found) > 1:
        found = [call for call in found if not call.failed] or aggregators
        if answered is not None:
            found = [call for call in aggregators if answered(call)] or found
    aggregator = found[-1] if found else None
    if aggregator is not None:
        others.remove(aggregator.fields)
    record: dict[str, Any] = dict(
        EMPTY_TURN,
        references=references,
        aggregator=aggregator.fields if aggregator is not None else None,
        calls=others,
        totals=_totals(calls),
    )
    return record, aggregator


_NO_TOKENS = dict.fromkeys(TOKENS)
_is_known: Any = partial(is_not, None)


def _totals(calls: Sequence[RecordedCall]) -> dict[str, Any]:
    """Sum over the calls that asked a model themselves, so that nothing counts twice."""
    own = failed = unpriced = no_usage = unread = 0
    reported: list[dict[str, Any]] = []
    total: float | None = None
    for call in calls:
        if call.has_inner:
            continue
        fields = call.fields
        failed += fields["outcome"] != "completed" and is_failed(fields)
        unread += "raw" in fields
        if fields["source"] != "provider":
            continue  # a middleware's answer cost nothing; the call that it answers for is an entry itself
        own += 1
        cost = fields["cost_usd"]
        if cost is None:
            unpriced += 1
        else:
            total = cost if total is None else total + cost
        used = fields["usage"]
        if used:
            reported.append(used)
        if not used or (used.get("input_tokens") is None and used.get("output_tokens") is None):
            no_usage += 1
    usage = {**_NO_TOKENS, **reported[0]} if reported else {}
    if len(reported) > 1:
        for name in dict.fromkeys(chain(TOKENS, *reported)):
            known: list[Any] = [*filter(_is_known, map(dict.get, reported, repeat(name)))]
            usage[name] = sum(known) if known else None
    totals = {"calls": own, "failed": failed, "usage": usage, "cost_usd": total, "unpriced": unpriced}
    if no_usage:
        totals["no_usage"] = no_usage
    if unread:
        totals["unread"] = unread
    return totals


# A live turn -------------------------------------------------------------------------------------


_submission: Any = attrgetter("call_state.order", "attempt.number")


def _all_entries(turn: Turn) -> list[Entry]:
    entries: list[Entry] = []
    for call_state in turn.calls:
        if call_state.parent is None and call_state.attempts:
            try:
                entries += entries_of(call_state)
            except Exception as error:
                # A fault of ours, or a reply of a reader of the user's: it costs what is known of this call alone.
                count_fault("tracing", error)
                turn.faults += 1
                entries.append(bare_entry(call_state))
    # Calls are listed as they were submitted, not as they ended: threads and tasks end in any order, and
    # records of the same program shall be comparable line by line.
    if len(entries) > 1:
        entries.sort(key=_submission)
    for index, entry in enumerate(entries):
        entry.fields["index"] = index
    return entries


def _output(turn: Turn, reply: Reply | None, aggregator: Entry | None, entries: list[Entry]) -> str | None:
    """Return the text in what the turn returned, else the aggregator's, or that of the turn's only call."""
    if reply is not None and turn.returned is not None:
        is_known, text = _found_in(turn, read_parts(turn.returned, reply), aggregator, entries)
        if text is not None or not is_known:
            return text
    # A turn that is a single call outside any decorator has no aggregator by declaration, but its only call
    # is what it returned.
    if aggregator is None and turn.implicit:
        aggregator = next((entry for entry in entries if entry.is_last), None)
    return aggregator.fields["output"] if aggregator is not None else None


def _found_in(turn: Turn, reply: Reply, aggregator: Entry | None, entries: list[Entry]) -> tuple[bool, str | None]:
    """
    Return the text of a turn that returned it in a container, and before it whether that is known.

    It is the aggregator's words, else what is not a name. Of several texts it is one that some call
    has said: the longest may be a disclaimer, and then no text is known to be the answer.
    """
    if "texts" not in reply._details:
        return True, reply.text
    if aggregator is not None and isinstance(reply.raw, int | float):
        return True, None  # a program's exit code
    names = _names_of(turn, entries)
    choose_text(reply, names)
    words = aggregator.fields["output"] if aggregator is not None else None
    text = reply_text(reply.raw, words) if words else None
    texts = unnamed(reply, names)
    if text is None and len(texts) > 1:
        # What was asked last is likelier the answer than what it was made from.
        text = said_in(texts, (words for entry in reversed(entries) for words in _said(entry)))
        if text is None:
            return False, None
        if reply.choices:
            text = reply.text  # of a list or a dict all of them
    return True, text if text is not None else reply.text


def _said(entry: Entry) -> list[str]:
    """Return what a call's model said: its output, what was made of that, and its further choices."""
    fields = entry.fields
    return [*filter(None, (fields["output"], fields.get("model_output"), *map(_text, fields["choices"] or ())))]


_text: Any = itemgetter("text")


def _names_of(turn: Turn, entries: list[Entry]) -> set[str | None]:
    """Return the texts that are never what a turn answered: who was asked, and what the turn was given."""
    names = {turn.session_id, turn.preset}
    for entry in entries:
        names.update(map(entry.fields.__getitem__, ("label", "model", "provider")))
    if turn.request is not None:
        names.add(turn.request.model)
        messages = turn.request.messages
        if isinstance(messages, list):
            messages = [message for message in messages if not is_answer(message)]
        names.update(texts_in((messages, turn.request.params)))
    return names


def ran_references(turn: Turn) -> bool:
    """Return True if a turn ran references, or made a call whose role is still open."""
    return any(call_state.role in (None, "reference") for call_state in turn.calls if call_state.attempts)


_settled = attrgetter("settled")


def turn_record(turn: Turn, *, ts: float) -> dict[str, Any]:
    """Return the record of a turn but for its writer."""
    entries = _all_entries(turn)
    if turn.store is not None:
        turn.store.check(turn, [entry.fields for entry in entries])
    reply = turn.reply
    if reply is None and turn.returned is not None:
        reply = read_reply(turn.returned)
    elif reply is not None and "texts" in reply._details:
        choose_text(reply, _names_of(turn, entries))
    text = reply.text if reply is not None else None
    try:
        name_roles(entries, returned=turn.returned, text=text)
    except Exception as error:
        count_fault("tracing", error)
        turn.faults += 1
    record, aggregator = arrange(entries, lambda entry: within(turn.answered_by, entry.call_state))
    # Some call still runs. Its late line has to continue this listing: the same place, and the role that
    # was inferred with all calls in view, which one call alone could not show.
    if not all(map(_settled, turn.calls)):
        listing = Listing(entries)
        for call_state in turn.calls:
            call_state.listing = listing
    shot: Snapshot | None = turn.snapshot
    if shot is None and turn.implicit and entries:
        shot = entries[-1].attempt.snapshot
    clock = turn.clock
    duration = clock.duration_ms
    record.update(
        known_of(turn, shot),
        ts=ts,
        outcome=turn.outcome,
        ended_at=clock.started_at + duration / 1e3 if duration is not None else None,
        duration_ms=duration,
        output=text if text is not None else _output(turn, reply, aggregator, entries),
    )
    if turn.tags:
        record["tags"] = encode(record["tags"])
    if turn.error is not None:
        record["error"] = error_record(turn.error, _credentials(turn, entries))
    if turn.notes:
        del record["writer"]  # the caller adds it, as the last key
        record["notes"] = [*map(decode, turn.notes)]
    return record


def unrecorded(turn: Turn, error: BaseException, *, ts: float) -> dict[str, Any]:
    """Return a record that says what failed, without any content, where the whole one could not be made."""
    calls = len(turn.calls)
    return {
        **EMPTY_TURN,
        **known_of(turn, None),
        "ts": ts,
        "input_messages": None,
        "params": {},
        "outcome": turn.outcome,
        "ended_at": turn.clock.ended_at,
        "duration_ms": turn.clock.duration_ms,
        "tags": {"moa.record_failed": type(error).__qualname__},
        "totals": {**EMPTY_TURN["totals"], "calls": calls, "unpriced": calls, "no_usage": calls},
    }


_KINDS = frozenset({str, int, float, bool, type(None), list, dict})
_nested = itemgetter("usage", "error", "tool_calls", "choices", "params_omitted", "usage_raw")
"""Values of a call that contain others."""


def turn_pieces(record: dict[str, Any]) -> list[bytes]:
    """
    Return the record of a turn as JSON, in pieces; it has placeholders afterwards.

    The whole is encoded at once: each encoding takes some 3 µs, whatever its size. If a call
    contains what the fast encoder does not take, each call is encoded by itself, so that it does
    not cost the others anything.
    """
    references, aggregator, others = record["references"], record["aggregator"], record["calls"]
    answer = [aggregator] if aggregator is not None else []
    calls = [*references, *answer, *others]
    # What is long (messages, params) was encoded at call entry and is only a placeholder here: `split` and
    # `join` put it in its place, so that no megabyte is encoded, or escaped, twice. The order is that of
    # the places in the line.
    ready: list[bytes] = [record["input_messages"], record["params"]]
    record["input_messages"] = record["params"] = HOLE
    for fields in calls:
        ready += (fields["input_messages"], fields["params"])
        fields["input_messages"] = fields["params"] = HOLE
        if type(fields["usage_raw"]) is Raw:
            ready.append(fields["usage_raw"])
            fields["usage_raw"] = HOLE
    if type(record["tags"]) is Raw:
        ready.append(record["tags"])
        record["tags"] = HOLE
    try:
        # Flat values are known by their types; the encoder would drain an iterator inside the others.
        if not _KINDS.issuperset(map(type, chain(record.values(), *map(dict.values, calls)))):
            raise TypeError
        marshal.dumps([*map(_nested, calls)])
        data = to_bytes(record)
        if len(data) > DIGITS and has_long_number(data):
            raise ValueError
    except Exception:
        parts = [HOLE_JSON, HOLE_JSON, *map(encode, calls), HOLE_JSON]
        record["references"], record["calls"] = [HOLE] * len(references), [HOLE] * len(others)
        record["aggregator"] = HOLE if answer else None
        data = b"".join(pieces_of(encode(record), parts if record["tags"] == HOLE else parts[:-1]))
    return pieces_of(data, ready)


def _credentials(turn: Turn, entries: list[Entry]) -> list[str]:
    """Return what the exception of a turn may quote: it is mostly that of one of its calls, or of a turn inside it."""
    found = [text for entry in entries if entry.attempt.error is not None for text in credentials_of(entry.attempt)]
    found += turn.secrets
    if turn.parent is not None:
        turn.parent.secrets += found
    return found
