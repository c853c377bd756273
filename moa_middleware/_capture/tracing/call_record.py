"""
One record for each request of a call, and how calls inside a call are folded into it.

Where a call holds a single other one, they are one record: role, label and output are those of the
outer, the model, the request and the tokens those of the inner one, which is what the model got.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..._redaction import secrets
from ..shapes.fields import fields_of
from .credentials import hide, texts
from .encode import Raw, encode

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from ..flow.model import Reply, Usage
    from ..flow.outcome import ErrorInfo
    from ..turns.call_state import Attempt, CallSlot
    from .snapshot import Snapshot

__all__ = ["EMPTY", "NULL", "TOKENS", "Entry", "credentials_of", "entries_of", "error_record"]

EMPTY = Raw(b"{}")
NULL = Raw(b"null")
TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
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


class Entry:
    """One record of a call in the making, and what inference needs of it."""

    __slots__ = ("attempt", "fields", "has_inner", "is_last", "slot")

    def __init__(self, slot: CallSlot, attempt: Attempt, fields: dict[str, Any], *, is_last: bool) -> None:
        self.slot = slot
        self.attempt = attempt
        self.fields = fields
        self.is_last = is_last
        """Whether it is the attempt that the call came down to."""
        self.has_inner = False
        """Whether its tokens are those of several calls inside it, which stand for themselves."""


def _usage(usage: Usage | None) -> dict[str, Any]:
    """Return tokens as the record holds them, `{}` where none were reported."""
    if usage is None:
        return {}
    return {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "reasoning_tokens": usage.reasoning_tokens,
    }


def error_record(error: ErrorInfo | None, told: Sequence[str] = ()) -> dict[str, str] | None:
    """Return an exception as the record holds it; SDKs put refused keys into their messages."""
    if error is None:
        return None
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


def _location(reply: Reply | None, *, streamed: bool) -> str:
    if reply is None or not reply.text:
        return "absent"
    return "inline_from_stream" if streamed else "inline"


def _fields(slot: CallSlot, attempt: Attempt, *, late: bool) -> dict[str, Any]:
    """Return the record of one attempt, roles and index still open."""
    settled = slot.settled or late
    reply = attempt.reply if settled or len(slot.attempts) > attempt.number else None
    details: Mapping[str, Any] = reply._details if reply is not None else {}
    shot: Snapshot | None = attempt.memo
    clock = attempt.clock
    cost = reply.cost_usd if reply is not None else None
    duration = clock.duration_ms if reply else None
    fields: dict[str, Any] = {
        "label": slot.label,
        "model": slot.model,
        "provider": slot.provider,
        "temperature": shot.temperature if shot else None,
        "input_messages": shot.messages if shot else NULL,
        "output": reply.text if reply else None,
        "usage": _usage(reply.usage) if reply else {},
        "cost_usd": cost,
        "cost_status": _text(details.get("cost_status")) or ("reported" if cost is not None else None),
        "cost_source": _text(details.get("cost_source"))
        or (reply.source if reply is not None and cost is not None else None),
        "streamed": attempt.streamed,
        "output_location": _location(reply, streamed=attempt.streamed),
        "call_id": attempt.id,
        "parent": slot.parent.id if slot.parent is not None else None,
        "role": slot.role,
        "role_source": slot.role_source,
        "layer": slot.layer,
        "index": 0,
        "attempt": attempt.number,
        "outcome": reply.outcome if reply else None,
        "error": error_record(attempt.error, credentials_of(attempt)) if reply is not None and attempt.error else None,
        "started_at": clock.started_at,
        "ended_at": clock.started_at + duration / 1e3 if duration is not None else None,
        "duration_ms": duration,
        "first_chunk_ms": clock.first_chunk_ms if reply else None,
        "chunks": reply.chunks if reply else None,
        "finish_reason": reply.finish_reason if reply else None,
        "tool_calls": list(reply.tool_calls) if reply else [],
        "reasoning": reply.reasoning if reply else None,
        "refusal": reply.refusal if reply else None,
        "choices": list(reply.choices) if reply is not None and reply.choices else None,
        "params": shot.params if shot else EMPTY,
        "params_omitted": list(shot.omitted) if shot else [],
        "endpoint": slot.endpoint,
        "response_id": _text(details.get("response_id")),
        "response_model": _text(details.get("response_model")),
        "system_fingerprint": _text(details.get("system_fingerprint")),
        "service_tier": _text(details.get("service_tier")),
        "usage_raw": _usage_raw(details.get("usage_raw")),
        "source": reply.source if reply else "provider",
        "late": late,
    }
    unknown = details.get("unknown")
    if unknown is not None and (reply is None or reply.text is None):
        # Cut behind the rule: half a secret has no form that it could be known by.
        fields["raw"] = {name: secrets(text)[:500] for name, text in unknown.items()}
    return fields


def _usage_raw(value: Any) -> Any:
    """
    Return the provider's own object.

    That of an SDK holds numbers, and its `model_dump` would cost 40 µs; the fields of such a one are
    encoded with the rest of the record, anything else by itself.
    """
    if value is None:
        return None
    try:
        fields = fields_of(value, models_only=True)
    except Exception:
        return encode(value)
    if type(fields) is not dict:
        return encode(value)
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
    Return the records of a call and of the calls inside it, the attempt that it came down to last.

    Those that are `apart` have a record of their own.
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
        if entry.slot is not slot:
            entry.is_last = False
    return entries
