"""
The record of a request: one for each attempt of a call, and one for a call with a single other one inside.

There role, label and output are those of the outer call; the model, the request and the tokens are
those of the inner one, which is what the model got.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..._redaction import secrets
from ...records import EMPTY_CALL
from ..shapes.fields import fields_of
from .credentials import hide, texts
from .encode import HOLE, Raw, encode, join
from .entry import Entry
from .snapshot import EMPTY, NULL

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from ..flow.model import Reply, Usage
    from ..flow.outcome import ErrorInfo
    from ..turns.turn import Attempt, CallState
    from .snapshot import Snapshot

__all__ = ["ENCODED", "call_json", "credentials_of", "entries_of", "error_record", "hollow_call"]

ENCODED = ("input_messages", "params", "usage_raw")
"""Keys of a call whose values may be encoded already, in the record's order."""
_WORDS = frozenset({"response_id", "response_model", "system_fingerprint", "service_tier"})
_COST_WORDS = frozenset({"cost_status", "cost_source"})
# What a call around a single other one says itself, where it knows it; else the call inside says it.
_OUTERMOST = ("finish_reason", "reasoning", "refusal", "chunks")


def hollow_call(fields: dict[str, Any], ready: list[Raw]) -> dict[str, Any]:
    """Return the same as `hollow`, for the record of a call of this process, whose places are known."""
    ready += (fields["input_messages"], fields["params"])
    rest = {**fields, "input_messages": HOLE, "params": HOLE}
    usage = fields["usage_raw"]
    if type(usage) is Raw:
        ready.append(usage)
        rest["usage_raw"] = HOLE
    return rest


def call_json(fields: Mapping[str, Any]) -> Raw:
    """Return the record of a call as JSON."""
    return join(fields, ENCODED)


def _usage(usage: Usage) -> dict[str, Any]:
    """Return tokens as the record holds them."""
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
    }


def error_record(error: ErrorInfo, credentials: Sequence[str] = ()) -> dict[str, str]:
    """Return an exception as the record holds it; SDKs put refused keys into their messages."""
    return {"type": error.type, "message": hide(error.message, credentials)}


def credentials_of(attempt: Attempt) -> list[str]:
    """Return the texts that an exception of a request must not quote: its own, and those of the calls inside it."""
    shot: Snapshot | None = attempt.memo
    found = texts(shot.hidden if shot is not None else (), attempt.slot.client)
    found += attempt.slot.turn.hidden
    for inner in attempt.inner:
        for one in inner.attempts:
            found += credentials_of(one)
    return sorted(found, key=len, reverse=True)


def _fields(slot: CallState, attempt: Attempt, *, late: bool) -> dict[str, Any]:
    """Return the record of one attempt, roles and index still open."""
    shot: Snapshot | None = attempt.memo
    clock = attempt.clock
    fields: dict[str, Any] = {
        **EMPTY_CALL,
        "label": attempt.label or slot.label,
        "model": attempt.model or slot.model,
        "provider": attempt.provider or slot.provider,
        "input_messages": NULL,
        "params": EMPTY,
        "streamed": attempt.streamed,
        "call_id": attempt.id,
        "parent": slot.parent.id if slot.parent is not None else None,
        "role": slot.role,
        "role_source": slot.role_source,
        "layer": slot.layer,
        "attempt": attempt.number,
        "started_at": clock.started_at,
        "endpoint": slot.endpoint,
        "late": late,
    }
    if shot is not None:
        fields["temperature"] = shot.temperature
        fields["input_messages"] = shot.messages
        fields["params"] = shot.params
        if shot.omitted:
            fields["params_omitted"] = list(shot.omitted)
    reply = attempt.reply
    if reply is not None and (slot.settled or late or _is_followed(slot, attempt)):
        _add_reply(fields, reply, attempt)
    return fields


def _is_followed(slot: CallState, attempt: Attempt) -> bool:
    """Return True if a further request came after this one, so that it has ended even if its call has not."""
    return len(slot.attempts) > attempt.number


def _add_reply(fields: dict[str, Any], reply: Reply, attempt: Attempt) -> None:
    """Add what a request returned, and how it ended."""
    text, cost, clock = reply.text, reply.cost_usd, attempt.clock
    details: Mapping[str, Any] = reply._details
    fields["output"] = text
    if text:
        fields["output_location"] = "inline_from_stream" if attempt.streamed else "inline"
    if reply.usage is not None:
        fields["usage"] = _usage(reply.usage)
    if cost is not None:
        fields["cost_usd"], fields["cost_status"], fields["cost_source"] = cost, "reported", reply.source
    for name in _COST_WORDS.intersection(details):
        fields[name] = _text(details[name]) or fields[name]
    fields["outcome"] = reply.outcome
    if attempt.error is not None:
        fields["error"] = error_record(attempt.error, credentials_of(attempt))
    duration = clock.duration_ms
    if duration is not None:
        fields["duration_ms"] = duration
        fields["ended_at"] = clock.started_at + duration / 1e3
    fields["first_chunk_ms"] = clock.first_chunk_ms
    fields["chunks"] = reply.chunks
    fields["finish_reason"] = reply.finish_reason
    if reply.tool_calls:
        fields["tool_calls"] = list(reply.tool_calls)
    fields["reasoning"] = reply.reasoning
    fields["refusal"] = reply.refusal
    if reply.choices:
        fields["choices"] = list(reply.choices)
    for name in _WORDS.intersection(details):
        fields[name] = _text(details[name])
    fields["usage_raw"] = _usage_raw(details.get("usage_raw"))
    fields["source"] = reply.source
    unknown = details.get("unknown")
    if unknown is not None and text is None:
        # Cut after the rules: half a secret has no form by which they could know it.
        fields["raw"] = {name: secrets(value)[:500] for name, value in unknown.items()}


def _usage_raw(value: Any) -> Any:
    """
    Return the provider's usage object.

    That of an SDK contains numbers, and its `model_dump` would take 40 µs: its fields are encoded
    with the rest of the record. Anything else is encoded by itself.
    """
    if value is None:
        return None
    try:
        fields = fields_of(value, models_only=True)
    except Exception:
        return encode(value)
    if type(fields) is not dict:
        return encode(value)
    if _PLAIN.issuperset(map(type, fields.values())) and _STRINGS.issuperset(map(type, fields)):
        return fields
    shown: dict[str, Any] = {}
    for name, part in fields.items():
        if type(name) is not str:
            return encode(value)
        if type(part) not in _PLAIN:
            part = fields_of(part, models_only=True)  # noqa: PLW2901 - the details, a model inside
            if type(part) is not dict:
                return encode(value)
            if not all(type(key) is str and type(item) in _PLAIN for key, item in part.items()):
                return encode(value)
        shown[name] = part
    return shown


_PLAIN = frozenset({bool, int, float, str, type(None)})
_STRINGS = frozenset({str})


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _add_inner(
    fields: dict[str, Any],
    inside: Sequence[tuple[CallState, Attempt]],
    credentials: list[str],
    *,
    ended_ns: int | None,
    late: bool,
) -> None:
    """
    Complete the record of a call from the single call inside it, and from the single one inside that.

    What the model was asked, its name, the provider's ids and the tokens are those of the innermost
    call that knows them. What was returned is the outermost's; if the model said something else,
    that is in `model_output`. An error or cancellation inside a call that completed was handled by
    its function.

    Args:
        fields: The record of the outer call.
        inside: The calls inside it and their requests, the innermost last.
        credentials: Texts that no error may quote.
        ended_ns: When the outer call ended.
        late: Whether they ended after their turn.
    """
    shot: Snapshot | None = inside[-1][1].memo
    fields["temperature"] = shot.temperature if shot is not None else None
    fields["input_messages"] = shot.messages if shot is not None else NULL
    fields["params"] = shot.params if shot is not None else EMPTY
    fields["params_omitted"] = list(shot.omitted) if shot is not None else []
    words: str | None = None
    for slot, attempt in inside:
        # What had not ended when the turn closed is in a late line.
        reply = attempt.reply if slot.settled or late or _is_followed(slot, attempt) else None
        error = attempt.error if reply is not None else None
        was_caught = reply is not None and reply.outcome in ("error", "cancelled")
        if was_caught and attempt.streamed and ended_ns is not None:
            # A stream that ended after its function did was handed out: nobody has caught anything.
            was_caught = (attempt.clock.ended_ns or ended_ns) < ended_ns or bool(fields["output"])
        if fields["outcome"] == "completed" and not fields["output"] and attempt.streamed and not was_caught:
            # Its function handed the inner call's stream out in a holder: the reply ended as that stream did.
            duration = attempt.clock.duration_ms if reply is not None else None
            fields["outcome"] = reply.outcome if reply is not None else None
            fields["error"] = error_record(error, credentials) if error is not None else None
            fields["duration_ms"] = duration
            fields["ended_at"] = attempt.clock.started_at + duration / 1e3 if duration is not None else None
        elif fields["outcome"] == "completed" and reply is not None and was_caught:
            fields["outcome"], fields["handled"] = reply.outcome, True
            fields["error"] = error_record(error, credentials) if error is not None else None
        elif fields["outcome"] == "error" and fields["error"] is None and error is not None:
            fields["error"] = error_record(error, credentials)
        fields["model"] = attempt.model or slot.model or fields["model"]
        fields["endpoint"] = slot.endpoint or fields["endpoint"]
        fields["provider"] = fields["provider"] or attempt.provider or slot.provider
        fields["streamed"] = fields["streamed"] or attempt.streamed
        if reply is not None:
            words = reply.text or words
            _add_inner_reply(fields, reply, attempt)
    if fields["output"]:
        fields["output_location"] = "inline_from_stream" if fields["streamed"] else "inline"
        fields.pop("raw", None)
        if words and words != fields["output"]:
            fields["model_output"] = words


def _add_inner_reply(fields: dict[str, Any], reply: Reply, attempt: Attempt) -> None:
    details: Mapping[str, Any] = reply._details
    for name in _WORDS:
        fields[name] = _text(details.get(name)) or fields[name]
    if details.get("usage_raw") is not None:
        fields["usage_raw"] = _usage_raw(details["usage_raw"])
    if reply.usage is not None:
        fields["usage"] = _usage(reply.usage)
    # The outer call may know the price (litellm) where the provider reports none.
    cost = reply.cost_usd
    if cost is not None or fields["cost_usd"] is None:
        fields["cost_usd"] = cost
        status, source = ("reported", reply.source) if cost is not None else (None, None)
        fields["cost_status"] = _text(details.get("cost_status")) or status or fields["cost_status"]
        fields["cost_source"] = _text(details.get("cost_source")) or source or fields["cost_source"]
    fields["output"] = fields["output"] or reply.text
    for name in _OUTERMOST:
        if not fields[name]:
            fields[name] = getattr(reply, name)
    if not fields["first_chunk_ms"]:
        fields["first_chunk_ms"] = attempt.clock.first_chunk_ms
    if not fields["tool_calls"]:
        fields["tool_calls"] = list(reply.tool_calls)
    if not fields["choices"] and reply.choices:
        fields["choices"] = list(reply.choices)
    if fields["source"] == "provider":
        fields["source"] = reply.source


def entries_of(slot: CallState, *, late: bool = False, apart: Collection[CallState] = ()) -> list[Entry]:
    """
    Return the records of a call and of the calls inside it.

    Those that are `apart` have a line of their own.
    """
    entries: list[Entry] = []
    for attempt in slot.attempts:
        entries += _entries_of_request(slot, attempt, late=late, apart=apart)
    for entry in entries:
        if entry.slot is not slot:
            entry.is_last = False
    return entries


def _entries_of_request(slot: CallState, attempt: Attempt, *, late: bool, apart: Collection[CallState]) -> list[Entry]:
    """Return the record of a request, behind those of the calls inside it that are not one with it."""
    entries: list[Entry] = []
    inside: list[tuple[CallState, Attempt]] = []
    inner = [call for call in attempt.inner if call.attempts] if attempt.inner else []
    while len(inner) == 1 and inner[0] not in apart:
        (call,) = inner
        for earlier in call.attempts:
            if earlier is not call.final:
                entries += _entries_of_request(call, earlier, late=late, apart=apart)
        inside.append((call, call.final))
        inner = [call for call in call.final.inner if call.attempts]
    for call in inner:
        entries += entries_of(call, late=late, apart=apart)
    fields = _fields(slot, attempt, late=late)
    if inside:
        credentials = credentials_of(attempt) if _failed(inside) else []
        _add_inner(fields, inside, credentials, ended_ns=attempt.clock.ended_ns, late=late)
        # The requests that are one with this one have no record, so no id either.
        ids = {request.id for _, request in inside}
        for entry in entries:
            if entry.fields["parent"] in ids:
                entry.fields["parent"] = attempt.id
    fields["label"] = fields["label"] or fields["model"] or slot.name or None
    entries.append(Entry(slot, attempt, fields, is_last=attempt is slot.final, has_inner=bool(inner)))
    return entries


def _failed(requests: Iterable[tuple[CallState, Attempt]]) -> bool:
    return any(request.error is not None for _, request in requests)
