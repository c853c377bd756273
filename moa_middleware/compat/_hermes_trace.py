"""
The trace functions of Hermes Agent, writing `moa-turn/1` lines through our writer.

They tell what their caller knows: no tool calls, no tokens of the aggregator, no times unless the
accounting has them. What they write is what the functions that they stand for wrote, under the same
keys.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from .._capture.ids import uuid7
from .._capture.log import count_fault
from .._capture.recorder import recording
from .._redaction.messages import without_secrets
from ..records import EMPTY_CALL
from ._hermes_values import failure_of, number, tokens_of

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["consume_and_save_trace", "save_moa_turn"]

_IN_SESSION_DB = "assistant_message_in_session_db"


def save_moa_turn(
    *,
    session_id: str | None,
    preset_name: str,
    reference_outputs: Sequence[tuple[str, str, Any]],
    aggregator_label: str,
    aggregator_model: str | None,
    aggregator_provider: str | None,
    aggregator_temperature: Any,
    aggregator_input_messages: Any,
    aggregator_output: str | None,
    aggregator_streamed: bool,
) -> None:
    """
    Write one turn's line, if traces are on; never raises.

    The whole record is made of the arguments: it is not part of a turn that is open. A time that
    the accounting does not have is that of this call where the record must have one.

    Args:
        session_id: Names the file.
        preset_name: Name of the ensemble.
        reference_outputs: Label, text and accounting of each reference. Of the accounting
            `usage`, `cost_usd`, `cost_status`, `cost_source`, `messages`, `output`, `model`,
            `provider`, `temperature`, `started_at`, `ended_at` and `duration_ms` are read; what it
            lacks is `null`.
        aggregator_label: `provider:model`.
        aggregator_model: Name of the model.
        aggregator_provider: Name of the provider.
        aggregator_temperature: As it was sent, `None` if it was not.
        aggregator_input_messages: What the aggregator got.
        aggregator_output: Its text; an empty one counts as missing.
        aggregator_streamed: Whether it was streamed. If so and the text is missing,
            `output_location` is `assistant_message_in_session_db`.
    """
    try:
        tracer: Any = recording()
        if tracer is None:
            return
        if tracer._fanout_only and not reference_outputs:
            return
        text = aggregator_output or None
        ts = time.time()
        references = [
            _reference(index, *(*reference, None, None, None)[:3], ts)  # older ones come without accounting
            for index, reference in enumerate(reference_outputs)
        ]
        where = "inline" if not aggregator_streamed else "inline_from_stream" if text else _IN_SESSION_DB
        aggregator = {
            **_call("aggregator", len(references), ts),
            "label": _text(aggregator_label),
            "model": _text(aggregator_model),
            "provider": _text(aggregator_provider),
            "temperature": number(aggregator_temperature),
            "input_messages": aggregator_input_messages,
            "output": _text(text),
            "streamed": bool(aggregator_streamed),
            "output_location": where,
        }
        _write(tracer, session_id, preset_name, references, aggregator)
    except Exception as error:
        count_fault("compat.hermes", error)


def consume_and_save_trace(
    holder: Any, session_id: str | None = None, aggregator_output_fallback: str | None = None
) -> None:
    """
    Write the turn that a client holds in `_pending_trace`, once; never raises.

    It can stand in a class as the method that it replaces. A client whose turn is written, or that
    has none, is left alone.

    Args:
        holder: The client. Its `_pending_trace` is a mapping with `preset`, `reference_outputs`,
            `aggregator_slot`, `aggregator_temperature`, `aggregator_label`,
            `aggregator_input_messages`, `aggregator_output` and `aggregator_streamed`; it is `None`
            afterwards.
        session_id: Names the file.
        aggregator_output_fallback: The text that was streamed, which the client has not seen; an
            inline `aggregator_output` goes before it.
    """
    try:
        pending = getattr(holder, "_pending_trace", None)
        if pending is None:
            return
        holder._pending_trace = None
        if not pending or "aggregator_input_messages" not in pending:
            return
        slot = pending.get("aggregator_slot") or {}
        output = pending.get("aggregator_output")
        if output is None and aggregator_output_fallback:
            output = aggregator_output_fallback
        save_moa_turn(
            session_id=session_id,
            preset_name=pending.get("preset", ""),
            reference_outputs=pending.get("reference_outputs", []),
            aggregator_label=pending.get("aggregator_label", ""),
            aggregator_model=slot.get("model"),
            aggregator_provider=slot.get("provider"),
            aggregator_temperature=pending.get("aggregator_temperature"),
            aggregator_input_messages=pending.get("aggregator_input_messages"),
            aggregator_output=output,
            aggregator_streamed=bool(pending.get("aggregator_streamed")),
        )
    except Exception as error:
        count_fault("compat.hermes", error)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    try:
        return str(value)
    except Exception:  # what it says costs no more than itself
        return f"<{type(value).__qualname__}>"


def _call(role: str, index: int, ts: float) -> dict[str, Any]:
    """Return the record of a call of which nothing is known but its place."""
    return {
        **EMPTY_CALL,
        "call_id": uuid7(),
        "role": role,
        "role_source": "declared",
        "layer": 1 if role == "reference" else None,
        "index": index,
        "outcome": "completed",
        "started_at": ts,
    }


def _reference(index: int, label: Any, shown: Any, accounting: Any, ts: float) -> dict[str, Any]:
    """Return the record of a reference; `shown` may be a shortened text, its accounting has the whole."""

    def known(name: str) -> Any:
        try:
            return getattr(accounting, name, None)
        except Exception:
            return None

    output = _text(known("output"))
    failure = failure_of(output if output is not None else shown)
    started = number(known("started_at"))
    return {
        **_call("reference", index, ts),
        "label": _text(label),
        "model": _text(known("model")),
        "provider": _text(known("provider")),
        "temperature": number(known("temperature")),
        "input_messages": known("messages"),
        "output": output,
        "usage": tokens_of(accounting),
        "cost_usd": number(known("cost_usd")),
        "cost_status": _text(known("cost_status")),
        "cost_source": _text(known("cost_source")),
        "output_location": "inline" if output else "absent",
        "outcome": "completed" if failure is None else "error",
        "error": None if failure is None else {"type": failure[0], "message": without_secrets(failure[1])},
        "started_at": ts if started is None else started,
        "ended_at": number(known("ended_at")),
        "duration_ms": number(known("duration_ms")),
    }


def _write(
    tracer: Any, session_id: str | None, preset: Any, references: list[dict[str, Any]], aggregator: dict[str, Any]
) -> None:
    from .._capture.tracing.encode import encode
    from .._capture.tracing.recorded_call import RecordedCall
    from .._capture.tracing.turn_record import arrange

    session = _text(session_id) if session_id else tracer._session_id
    calls = [*references, aggregator]
    record, _ = arrange([RecordedCall(fields, is_last=True, has_inner=False) for fields in calls])
    record["ts"] = time.time()
    record["turn_id"], record["session_id"], record["preset"] = uuid7(), session, _text(preset)
    record["started_at"] = min(call["started_at"] for call in calls)
    record["output"] = aggregator["output"]
    record["writer"] = tracer._writer_fields([])
    tracer._put(session, bytes(encode(record)))
