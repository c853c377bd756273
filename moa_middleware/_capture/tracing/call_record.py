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
from ..turns.roles import Node
from .credentials import hide, texts
from .encode import Raw, encode, join
from .snapshot import NULL

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from ..flow.model import Reply, Usage
    from ..flow.outcome import ErrorInfo
    from ..turns.call_state import Attempt, CallSlot
    from .snapshot import Snapshot

__all__ = ["ENCODED", "Entry", "RecordedCall", "call_json", "credentials_of", "entries_of", "error_record", "within"]

ENCODED = ("input_messages", "params", "usage_raw")
"""Keys of a call whose values may be encoded already, in the record's order."""
_WORDS = ("response_id", "response_model", "system_fingerprint", "service_tier")
# What a call that wraps a single other one takes from it: that is what the model got and said.
_FROM_INNER = (
    "temperature",
    "input_messages",
    "usage_raw",
    "params",
    "params_omitted",
    "endpoint",
    "response_id",
    "response_model",
    "system_fingerprint",
    "service_tier",
)
_FROM_INNER_IF_NONE = (
    "model",
    "provider",
    "output",
    "finish_reason",
    "tool_calls",
    "reasoning",
    "refusal",
    "choices",
    "first_chunk_ms",
    "chunks",
)


class RecordedCall:
    """
    One record of a call, and what its turn's record needs to know of it.

    Args:
        fields: The record.
        is_last: Whether it is the attempt that a call of the turn's own returned.
        has_inner: Whether its tokens are those of several calls inside it, which are counted themselves.
    """

    __slots__ = ("fields", "has_inner", "is_last")

    def __init__(self, fields: dict[str, Any], *, is_last: bool = True, has_inner: bool = False) -> None:
        self.fields = fields
        self.is_last = is_last
        self.has_inner = has_inner

    def node(self) -> Node:
        """Return the call as inference needs it, from its record alone."""
        fields = self.fields
        started = int(fields["started_at"] * 1e9)
        duration = fields["duration_ms"]
        return Node(
            input=b"" if fields["input_messages"] is None else encode(fields["input_messages"]),
            output=fields["output"],
            started_ns=started,
            ended_ns=None if duration is None else started + int(duration * 1e6),
            failed=fields["outcome"] in ("error", None),
            answered=False,
            role=fields["role"],
            layer=fields["layer"],
        )


class Entry(RecordedCall):
    """The record of an attempt of this process."""

    __slots__ = ("attempt", "slot")

    def __init__(self, slot: CallSlot, attempt: Attempt, fields: dict[str, Any], *, is_last: bool) -> None:
        super().__init__(fields, is_last=is_last)
        self.slot = slot
        self.attempt = attempt

    def node(self) -> Node:
        """Return the call as inference needs it: by exact times, and with what its turn returned."""
        attempt, slot, fields = self.attempt, self.slot, self.fields
        reply, clock, returned = attempt.reply, attempt.clock, slot.turn.returned
        answered = within(slot.turn.answered_by, slot)
        if not answered and returned is not None and reply is not None:
            raw = reply.raw
            answered = raw is not None and (raw is returned or (type(returned) is str and returned == reply.text))
        return Node(
            input=fields["input_messages"],
            output=fields["output"],
            started_ns=clock.started_ns,
            ended_ns=clock.ended_ns if slot.settled else None,
            failed=fields["outcome"] in ("error", None),
            answered=answered,
            role=fields["role"],
            layer=fields["layer"],
            others=tuple(choice["text"] for choice in reply.choices if choice["text"]) if reply is not None else (),
        )


def within(slot: CallSlot | None, outer: CallSlot) -> bool:
    """Return True if a call is another one, or was made inside it."""
    while slot is not None:
        if slot is outer:
            return True
        slot = slot.parent.slot if slot.parent is not None else None
    return False


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


def error_record(error: ErrorInfo, told: Sequence[str] = ()) -> dict[str, str]:
    """Return an exception as the record holds it; SDKs put refused keys into their messages."""
    return {"type": error.type, "message": hide(error.message, told)}


def credentials_of(attempt: Attempt) -> list[str]:
    """Return the texts that an exception of a request must not tell: its own, and those of the calls inside it."""
    shot: Snapshot | None = attempt.memo
    found = texts(shot.hidden if shot is not None else (), attempt.slot.client)
    found += attempt.slot.turn.hidden
    for inner in attempt.inner:
        for one in inner.attempts:
            found += credentials_of(one)
    return sorted(found, key=len, reverse=True)


def _fields(slot: CallSlot, attempt: Attempt, *, late: bool) -> dict[str, Any]:
    """Return the record of one attempt, roles and index still open."""
    shot: Snapshot | None = attempt.memo
    clock = attempt.clock
    fields: dict[str, Any] = {
        **EMPTY_CALL,
        "label": slot.label,
        "model": slot.model,
        "provider": slot.provider,
        "input_messages": NULL,
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
    if slot.settled or late or len(slot.attempts) > attempt.number:
        reply = attempt.reply
        if reply is not None:
            _add_reply(fields, reply, attempt)
    return fields


def _add_reply(fields: dict[str, Any], reply: Reply, attempt: Attempt) -> None:
    """Add what a request returned, and how it ended."""
    text, cost, clock = reply.text, reply.cost_usd, attempt.clock
    details: Mapping[str, Any] = reply._details
    fields["output"] = text
    if text:
        fields["output_location"] = "inline_from_stream" if attempt.streamed else "inline"
    if reply.usage is not None:
        fields["usage"] = _usage(reply.usage)
    fields["cost_usd"] = cost
    fields["cost_status"] = _text(details.get("cost_status")) or ("reported" if cost is not None else None)
    fields["cost_source"] = _text(details.get("cost_source")) or (reply.source if cost is not None else None)
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
    for name in _WORDS:
        if name in details:
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


def _fold(outer: dict[str, Any], inner: Mapping[str, Any]) -> None:
    """Complete a call's record from the only call inside it."""
    for name in _FROM_INNER:
        outer[name] = inner[name]
    # The outer may know the price (litellm), or the tokens, where the provider told neither.
    outer["usage"] = inner["usage"] or outer["usage"]
    if inner["cost_usd"] is not None or outer["cost_usd"] is None:
        for name in ("cost_usd", "cost_status", "cost_source"):
            outer[name] = inner[name] or outer[name]
    if outer["outcome"] == "error" and outer["error"] is None:
        outer["error"] = inner["error"]
    if outer["outcome"] == "completed" and not outer["output"] and inner["streamed"]:
        # It handed the inner call's stream out in a holder: the reply ended as that stream did.
        for name in ("outcome", "error", "ended_at", "duration_ms"):
            outer[name] = inner[name]
    for name in _FROM_INNER_IF_NONE:
        if not outer[name]:
            outer[name] = inner[name]
    if inner["model"]:
        outer["model"] = inner["model"]
    outer["streamed"] = outer["streamed"] or inner["streamed"]
    if outer["output"]:
        outer["output_location"] = "inline_from_stream" if outer["streamed"] else "inline"
        outer.pop("raw", None)
    if outer["source"] == "provider":
        outer["source"] = inner["source"]


def entries_of(slot: CallSlot, *, late: bool = False, apart: Collection[CallSlot] = ()) -> list[Entry]:
    """
    Return the records of a call and of the calls inside it.

    Those that are `apart` have a line of their own.
    """
    entries: list[Entry] = []
    for attempt in slot.attempts:
        inner: list[Entry] = []
        settled = [s for s in attempt.inner if s.attempts]
        for child in settled:
            inner += entries_of(child, late=late, apart=apart)
        own = Entry(slot, attempt, _fields(slot, attempt, late=late), is_last=attempt is slot.final)
        if len(settled) == 1 and settled[0] not in apart:
            only = next(entry for entry in inner if entry.is_last)
            inner.remove(only)
            _fold(own.fields, only.fields)
            own.has_inner = only.has_inner
            for entry in inner:
                entry.is_last = False
        else:
            own.has_inner = bool(settled)
        for entry in inner:
            if len(settled) == 1 and settled[0] not in apart and entry.fields["parent"] is None:
                entry.fields["parent"] = attempt.id
        entries += inner
        entries.append(own)
    for entry in entries:
        fields = entry.fields
        fields["label"] = fields["label"] or fields["model"] or entry.slot.name or None
        if entry.slot is not slot:
            entry.is_last = False
    return entries
