"""
Building the record of a turn from its calls.

A call inside a call is folded into it where it is the only one: role, label and output are those of
the outer, the model, the request and the tokens those of the inner one, which is what the model got.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._call import Usage
from .._roles import Node, infer
from .._turn import error_of
from ..records import LATE_SCHEMA, SCHEMA
from ..shapes.reply import read_reply
from .encode import Raw, encode, join

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .._call import Reply
    from .._turn import Attempt, CallSlot, Turn
    from .snapshot import Snapshot

__all__ = ["late_record", "ran_references", "turn_record"]

_EMPTY_LIST = Raw(b"[]")
_EMPTY = Raw(b"{}")
_NULL = Raw(b"null")
_TOKENS = (
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
)
# What a call that wraps a single other one takes from it: that is what the model got and said.
_FROM_INNER = (
    "temperature",
    "input_messages",
    "usage",
    "usage_raw",
    "cost_usd",
    "cost_status",
    "cost_source",
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


class _Entry:
    """One record of a call in the making, and what inference needs of it."""

    __slots__ = ("attempt", "fields", "has_inner", "is_last", "label", "node", "output", "slot")

    def __init__(self, slot: CallSlot, attempt: Attempt, fields: dict[str, Any], *, is_last: bool) -> None:
        self.slot = slot
        self.attempt = attempt
        self.fields = fields
        self.is_last = is_last
        """Whether it is the attempt that the call came down to."""
        self.has_inner = False
        """Whether its tokens are those of several calls inside it, which stand for themselves."""


def usage_dict(usage: Usage | None) -> dict[str, Any]:
    """Return tokens as the record holds them, `{}` where none were reported."""
    return {} if usage is None else {name: getattr(usage, name) for name in _TOKENS}


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
    fields: dict[str, Any] = {
        "label": slot.label,
        "model": slot.model,
        "provider": slot.provider,
        "temperature": shot.temperature if shot else None,
        "input_messages": shot.messages if shot else _NULL,
        "output": reply.text if reply else None,
        "usage": usage_dict(reply.usage) if reply else {},
        "cost_usd": cost,
        "cost_status": "reported" if cost is not None else None,
        "cost_source": reply.source if reply is not None and cost is not None else None,
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
        "error": error_of(reply.error) if reply is not None and reply.error is not None else None,
        "started_at": clock.started_at,
        "ended_at": clock.ended_at if reply else None,
        "duration_ms": clock.duration_ms if reply else None,
        "first_chunk_ms": clock.first_chunk_ms if reply else None,
        "chunks": reply.chunks if reply else None,
        "finish_reason": reply.finish_reason if reply else None,
        "tool_calls": list(reply.tool_calls) if reply else [],
        "reasoning": reply.reasoning if reply else None,
        "refusal": reply.refusal if reply else None,
        "choices": list(reply.choices) if reply is not None and reply.choices else None,
        "params": shot.params if shot else _EMPTY,
        "params_omitted": list(shot.omitted) if shot else [],
        "endpoint": slot.endpoint,
        "response_id": _text(details.get("response_id")),
        "response_model": _text(details.get("response_model")),
        "system_fingerprint": _text(details.get("system_fingerprint")),
        "service_tier": _text(details.get("service_tier")),
        "usage_raw": encode(details.get("usage_raw")),
        "source": reply.source if reply else "provider",
        "late": late,
    }
    unknown = details.get("unknown")
    if unknown is not None and (reply is None or reply.text is None):
        fields["raw"] = unknown
    return fields


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _fold(outer: dict[str, Any], inner: Mapping[str, Any]) -> None:
    """Complete a call's record from the only call inside it."""
    for name in _FROM_INNER:
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


def _entries(slot: CallSlot, *, late: bool = False) -> list[_Entry]:
    """Return the records of a call and of the calls inside it, the call's own last attempt last."""
    entries: list[_Entry] = []
    for attempt in slot.attempts:
        inner: list[_Entry] = []
        settled = [s for s in attempt.inner if s.attempts]
        for child in settled:
            inner += _entries(child, late=late)
        own = _Entry(
            slot,
            attempt,
            _fields(slot, attempt, late=late),
            is_last=attempt is slot.attempts[-1],
        )
        if len(settled) == 1:
            only = inner.pop()
            _fold(own.fields, only.fields)
            own.has_inner = only.has_inner
            for entry in inner:
                entry.is_last = False
        else:
            own.has_inner = bool(settled)
        for entry in inner:
            if len(settled) == 1 and entry.fields["parent"] is None:
                entry.fields["parent"] = attempt.id
        entries += inner
        entries.append(own)
    for entry in entries:
        if entry.slot is not slot:
            entry.is_last = False
    return entries


def _finish(entry: _Entry) -> None:
    fields, slot = entry.fields, entry.slot
    fields["label"] = fields["label"] or fields["model"] or slot.name or None


def _node(entry: _Entry, turn: Turn) -> Node:
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
    )


def _is_within(slot: CallSlot | None, outer: CallSlot) -> bool:
    while slot is not None:
        if slot is outer:
            return True
        slot = slot.parent.slot if slot.parent is not None else None
    return False


def _escape(text: str) -> bytes:
    return encode(text)[1:-1]


def _in_order(entries: Iterable[_Entry]) -> list[_Entry]:
    ordered = sorted(entries, key=lambda e: (e.slot.order, e.attempt.number))
    for index, entry in enumerate(ordered):
        entry.fields["index"] = index
    return ordered


def _all_entries(turn: Turn) -> list[_Entry]:
    entries: list[_Entry] = []
    for slot in turn.calls:
        if slot.parent is None and slot.attempts:
            entries += _entries(slot)
    return _in_order(entries)


def _name_roles(turn: Turn, entries: list[_Entry]) -> None:
    """Infer what nobody named, and choose the one aggregator of the record."""
    chosen = [entry for entry in entries if entry.is_last]
    open_roles = [e for e in chosen if e.slot.role is None]
    open_layers = [e for e in chosen if e.slot.role == "reference" and e.slot.layer is None]
    if open_roles or open_layers:
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


def _split(turn: Turn, entries: list[_Entry]) -> tuple[list[_Entry], _Entry | None, list[_Entry]]:
    """Return references, the aggregator and the further calls."""
    references, others = [], []
    aggregators: list[_Entry] = []
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


def _totals(entries: list[_Entry]) -> dict[str, Any]:
    """Sum over the calls that asked a model themselves, so that nothing counts twice."""
    own = [entry.fields for entry in entries if not entry.has_inner]
    usages = [fields["usage"] for fields in own if fields["usage"]]
    usage: dict[str, Any] = {}
    if usages:
        for name in _TOKENS:
            known = [u[name] for u in usages if u.get(name) is not None]
            usage[name] = sum(known) if known else None
    costs = [fields["cost_usd"] for fields in own if fields["cost_usd"] is not None]
    return {
        "calls": len(own),
        "failed": sum(fields["outcome"] in ("error", "crashed") for fields in own),
        "usage": usage,
        "cost_usd": sum(costs) if costs else None,
        "unpriced": len(own) - len(costs),
    }


def _output(turn: Turn, aggregator: _Entry | None) -> str | None:
    """Return the text of what the turn returned, else the aggregator's."""
    reply = turn.reply
    if reply is None and turn.returned is not None:
        reply = read_reply(turn.returned)
    if reply is not None and reply.text is not None:
        return reply.text
    return aggregator.fields["output"] if aggregator is not None else None


def _list(entries: list[_Entry]) -> Raw:
    if not entries:
        return _EMPTY_LIST
    return Raw(b"[" + b",".join(join(entry.fields) for entry in entries) + b"]")


def ran_references(turn: Turn) -> bool:
    """Whether a turn ran references, or made a call whose role is still open."""
    return any(slot.role in (None, "reference") for slot in turn.calls if slot.attempts)


def turn_record(turn: Turn, *, ts: float, writer: Mapping[str, Any]) -> tuple[Raw, int]:
    """Return the line of a turn, without its newline, and how many references it has."""
    entries = _all_entries(turn)
    _name_roles(turn, entries)
    references, aggregator, others = _split(turn, entries)
    shot: Snapshot | None = turn.memo
    line = join(
        {
            "schema": SCHEMA,
            "ts": ts,
            "turn_id": turn.id,
            "session_id": turn.session_id,
            "preset": turn.preset,
            "outcome": turn.outcome,
            "error": error_of(turn.error) if turn.error is not None else None,
            "started_at": turn.clock.started_at,
            "ended_at": turn.clock.ended_at,
            "duration_ms": turn.clock.duration_ms,
            "input_messages": shot.messages if shot else _NULL,
            "params": shot.params if shot else _EMPTY,
            "output": _output(turn, aggregator),
            "references": _list(references),
            "aggregator": join(aggregator.fields) if aggregator is not None else _NULL,
            "calls": _list(others),
            "parent_turn_id": turn.parent.id if turn.parent is not None else None,
            "turns": list(turn.turns),
            "tags": encode(dict(turn.tags)),
            "totals": _totals(entries),
            "implicit": turn.implicit,
            "instrumentation_errors": turn.faults,
            "trace_context": turn.trace_context,
            "writer": dict(writer),
        }
    )
    return line, len(references)


def late_record(turn: Turn, slot: CallSlot, *, ts: float) -> Raw:
    """Return the line of a call that ended after its turn."""
    entries = _entries(slot, late=True)
    entry = entries[-1]
    fields = entry.fields
    fields["role"] = fields["role"] or "call"
    fields["role_source"] = fields["role_source"] or "inferred"
    if fields["role"] == "reference" and fields["layer"] is None:
        fields["layer"] = 1
    fields["index"] = slot.order[0]
    _finish(entry)
    return join(
        {
            "schema": LATE_SCHEMA,
            "turn_id": turn.id,
            "session_id": turn.session_id,
            "ts": ts,
            "call": join(fields),
        }
    )
