"""The Arrow tables of a run: turns, their calls, and the messages that went in and came out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic_core import to_json

from ..errors import ExtraMissingError
from ._cost import cost_of
from ._prompt import messages_of, texts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ._call import CallView
    from ._turn import TurnView

__all__ = ["Tables", "tables"]

_ROWS = 1000
"""Turns that are gathered as Python objects before they become columns."""
_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")


_OBJECTS = ("citations", "parts", "filters", "timings")
"""Keys of a call whose column is JSON, `null` where the reply holds none."""


class Tables(NamedTuple):
    """
    A run as `pyarrow.Table` objects; `turn` joins them, `call` the last two.

    Attributes:
        turns: One row a turn.
        calls: One row a call, further calls and late ones among them; `is_request` is false for those that
            are the sum of others.
        messages: One row a message of a call: its prompt in order, then its output with the role
            `assistant` and `is_output`.
    """

    turns: Any
    calls: Any
    messages: Any


_TURN = {
    "turn": "string",
    "turn_id": "string",
    "session_id": "string",
    "number": "int64",
    "preset": "string",
    "outcome": "string",
    "failed": "bool",
    "error_type": "string",
    "error_message": "string",
    "ts": "double",
    "started_at": "double",
    "ended_at": "double",
    "duration_ms": "double",
    "output": "string",
    "parent_turn_id": "string",
    "implicit": "bool",
    "tags": "string",
    "notes": "string",
    "calls": "int64",
    "failed_calls": "int64",
    "handled_calls": "int64",
    "late_calls": "int64",
    "pending_calls": "int64",
    "cost_usd": "double",
    "unpriced": "int64",
    "estimated_usd": "double",
    "estimated": "int64",
    "price_table": "string",
    **dict.fromkeys(_TOKENS, "int64"),
    "file": "string",
    "line": "int64",
}
_CALL = {
    "turn": "string",
    "call": "int64",
    "call_id": "string",
    "parent": "string",
    "role": "string",
    "role_source": "string",
    "layer": "int64",
    "index": "int64",
    "attempt": "int64",
    "label": "string",
    "model": "string",
    "provider": "string",
    "temperature": "double",
    "outcome": "string",
    "failed": "bool",
    "handled": "bool",
    "error_type": "string",
    "error_message": "string",
    "error_status": "int64",
    "error_code": "string",
    "error_request_id": "string",
    "error_retry_after": "double",
    "started_at": "double",
    "ended_at": "double",
    "duration_ms": "double",
    "first_chunk_ms": "double",
    "chunks": "int64",
    "streamed": "bool",
    "late": "bool",
    "is_request": "bool",
    "source": "string",
    "cost_usd": "double",
    "cost_status": "string",
    "estimated_usd": "double",
    **dict.fromkeys(_TOKENS, "int64"),
    "finish_reason": "string",
    "output": "string",
    "reasoning": "string",
    "refusal": "string",
    "tool_calls": "string",
    "params": "string",
    "endpoint": "string",
    "response_id": "string",
    "response_model": "string",
    "system_fingerprint": "string",
    "service_tier": "string",
    "served_by_provider": "string",
    "served_by_region": "string",
    "native_finish_reason": "string",
    "stop_sequence": "string",
    "created": "double",
    **dict.fromkeys(_OBJECTS, "string"),
}
_MESSAGE = {
    "turn": "string",
    "call": "int64",
    "message": "int64",
    "role": "string",
    "text": "string",
    "is_output": "bool",
    "content": "string",
}


def tables(turns: Iterable[TurnView]) -> Tables:
    """
    Return turns as tables: see `Run.tables`.

    Raises:
        ExtraMissingError: pyarrow is not installed.
    """
    try:
        import pyarrow as pa
    except ImportError:
        raise ExtraMissingError('Run.tables needs the extra "tables": pip install "moa-middleware[tables]"') from None
    builders = [_TableBuilder(pa, columns) for columns in (_TURN, _CALL, _MESSAGE)]
    turn_table, call_table, message_table = builders
    for count, turn in enumerate(turns, 1):
        turn_table.rows.append(_turn_row(turn))
        requests = {id(call) for call in turn.requests}
        for number, call in enumerate(turn.all_calls):
            call_table.rows.append(_call_row(turn, number, call, is_request=id(call) in requests))
            message_table.rows.extend(_message_rows(turn, number, call))
        if not count % _ROWS:
            for builder in builders:
                builder.flush()
    return Tables(*(builder.table() for builder in builders))


class _TableBuilder:
    """One table in the making."""

    def __init__(self, pa: Any, columns: dict[str, str]) -> None:
        kinds = {"string": pa.large_string(), "int64": pa.int64(), "double": pa.float64(), "bool": pa.bool_()}
        self._pa = pa
        self._schema = pa.schema([(name, kinds[kind]) for name, kind in columns.items()])
        self._batches: list[Any] = []
        self.rows: list[dict[str, Any]] = []

    def flush(self) -> None:
        """Make columns of the rows so far."""
        self._batches.append(self._pa.RecordBatch.from_pylist(self.rows, schema=self._schema))
        self.rows.clear()

    def table(self) -> Any:
        """Return the table."""
        self.flush()
        return self._pa.Table.from_batches(self._batches, schema=self._schema)


def _turn_row(turn: TurnView) -> dict[str, Any]:
    cost, usage, error = turn.cost, turn.usage, turn.error
    return {
        **{name: _clean(getattr(turn, name)) for name in ("turn_id", "session_id", "preset", "outcome", "output")},
        **{name: getattr(turn, name) for name in ("ts", "started_at", "ended_at", "duration_ms", "number", "line")},
        **{name: getattr(turn, name) for name in ("failed", "failed_calls", "handled_calls")},
        **{name: getattr(turn, name) for name in ("late_calls", "pending_calls", "implicit")},
        **{name: _whole(getattr(usage, name)) for name in _TOKENS},
        "turn": _clean(turn.id),
        "error_type": _clean(error.type) if error else None,
        "error_message": _clean(error.message) if error else None,
        "parent_turn_id": _clean(turn.parent_turn_id),
        "tags": _json(turn.tags),
        "notes": _json(turn.notes),
        "calls": turn.call_count,
        "cost_usd": cost.known_usd,
        "unpriced": cost.unpriced,
        **{name: getattr(cost, name) for name in ("estimated_usd", "estimated", "price_table")},
        "file": _clean(turn.file),
    }


def _call_row(turn: TurnView, number: int, call: CallView, *, is_request: bool) -> dict[str, Any]:
    usage, error = call.usage, call.error
    row: dict[str, Any] = {name: _value(getattr(call, name)) for name in _CALL if hasattr(type(call), name)}
    row |= {name: _whole(getattr(usage, name)) for name in _TOKENS}
    row |= {
        "turn": _clean(turn.id),
        "call": number,
        "error_type": _clean(error.type) if error else None,
        "error_message": _clean(error.message) if error else None,
        "error_status": _whole(error.status) if error else None,
        "error_code": _clean(error.code) if error else None,
        "error_request_id": _clean(error.request_id) if error else None,
        "error_retry_after": error.retry_after if error else None,
        "served_by_provider": _text_in(call.served_by, "provider"),
        "served_by_region": _text_in(call.served_by, "region"),
        "native_finish_reason": _text_in(call.served_by, "native_finish_reason"),
        **{name: _json(found) if (found := getattr(call, name)) else None for name in _OBJECTS},
        "is_request": is_request,
        "estimated_usd": cost_of((call,), estimate=turn.estimates and is_request).estimated_usd,
        "tool_calls": _json(call.tool_calls),
        "params": _json(call.params),
    }
    return row


def _message_rows(turn: TurnView, number: int, call: CallView) -> Iterator[dict[str, Any]]:
    place = 0
    for place, message in enumerate(messages_of(call.input_messages), 1):
        role = message.get("role") if isinstance(message, dict) else "user"
        yield {
            "turn": _clean(turn.id),
            "call": number,
            "message": place - 1,
            "role": _clean(role) if isinstance(role, str) else None,
            "text": _clean("\n".join(texts_of(message))),
            "is_output": False,
            "content": _json(message),
        }
    if call.output is not None:
        yield {
            "turn": _clean(turn.id),
            "call": number,
            "message": place,
            "role": "assistant",
            "text": _clean(call.output),
            "is_output": True,
            "content": None,
        }


def _value(value: Any) -> Any:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, bool):
        return value
    return _whole(value) if isinstance(value, int) else value


def _clean(text: str | None) -> str | None:
    """Return a text that Arrow takes: lone surrogates are shown as escapes."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()


def _text_in(fields: Mapping[str, Any], name: str) -> str | None:
    value = fields.get(name)
    return _clean(value) if isinstance(value, str) else None


def _whole(value: int | None) -> int | None:
    return value if value is not None and -(2**63) <= value < 2**63 else None


def _json(value: Any) -> str:
    try:
        return to_json(value).decode()
    except ValueError:
        import json

        return json.dumps(value, default=str)
