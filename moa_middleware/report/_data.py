"""
The page's data of one turn: plain JSON, with all that is inferred worked out.

Without content nothing that anybody said or asked goes in: only names, times, counts, prices and
how the texts compare.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..read import Cost, TurnView, overlap_of
from ..record_classes import CLASSES, CONTENT, is_name
from ._cost_words import cost_words
from ._critical_path import critical_path
from ._grid import similarity
from ._messages import Pool, as_json, tools_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..read import CallView, Fidelity, Span, TokenUsage

__all__ = ["limit_depth", "tokens", "turn_data"]

_DEEPEST = 60
"""Levels of a record that are looked into where it is nested too deeply to be worked with."""
_CALL = "tool call"
"""In place of a tool's name that is not one."""
_EXACT = 2**53
"""Whole numbers that a browser tells from their neighbours."""
_REASONS = frozenset({"metadata", "limit", "redacted", "redactor_failed"})
_PLACES = frozenset(path.partition(".")[0] for path, kind in CLASSES.items() if kind == CONTENT)
"""Keys of a record that hold content; another writer may name anything."""
_SPAN = ("trace_id", "span_id")


def limit_depth(turn: TurnView) -> TurnView:
    """Return a turn without what is nested so deeply that it cannot be compared, redacted or shown."""
    data = _limited(turn.as_dict(), _DEEPEST)
    return TurnView(data, file=turn.file, line=turn.line, number=turn.number, id=turn.id, estimates=turn.estimates)


def _limited(value: Any, levels: int) -> Any:
    if not isinstance(value, dict | list):
        return value
    if not levels:
        return "[nested too deeply]"
    if isinstance(value, dict):
        return {key: _limited(item, levels - 1) for key, item in value.items()}
    return [_limited(item, levels - 1) for item in value]


def turn_data(turn: TurnView, shown: TurnView, file: str, *, content: bool) -> dict[str, Any]:
    """
    Return what the page has of a turn.

    Args:
        turn: The turn as it was read: it is compared, and not shown.
        shown: The turn as it may be shown, for example redacted; it has the same calls.
        file: Name of its file, as it may be shown.
        content: Whether texts go in.
    """
    pool = Pool()
    overlap = turn.overlap()
    answer = shown.answer if content else ""
    if shown is not turn and content:
        paint = overlap_of(answer, [None if one.failed else one.output for one in shown.references])
    else:
        paint = overlap
    spans = turn.timeline()
    path = critical_path(turn, spans)
    by_call = {id(span.call): (span, place in path) for place, span in enumerate(spans)}
    rows = {id(span.call): place for place, span in enumerate(spans)}
    fidelity = turn.fidelity()
    calls: list[dict[str, Any]] = []
    for one, view in zip(turn.all_calls, shown.all_calls, strict=True):
        made = _call(view, by_call.get(id(one)), pool, content=content)
        made["failed"], made["handled"], made["pending"] = one.failed, one.handled, one.pending
        made["row"] = rows.get(id(one))
        place = next((place for place, reference in enumerate(turn.references) if reference is one), None)
        if place is not None:
            made |= {"kind": "reference", "ref": place, **_standing(fidelity[place])}
            made |= {"covered": overlap.covered[place], "unique": overlap.unique[place]}
        elif one is turn.aggregator:
            made["kind"] = "aggregator"
        calls.append(made)
    return {
        "id": shown.id,
        "error": _error(shown, content=content),
        "started": turn.started_at,
        "ended": turn.ended_at,
        "ms": turn.duration_ms,
        "asked": pool.places(shown.input_messages) if content else None,
        "answer": paint.pieces(answer) if content else None,
        "overlap": {name: getattr(overlap, name) for name in ("shared", "novel", "unit", "size", "total")},
        "alike": similarity(turn),
        "calls": calls,
        "usage": tokens(turn.usage),
        "cost": _cost(turn),
        "params": _params(shown.params, content=content),
        "tags": [(key, _word(value)) if content else (key, None) for key, value in shown.tags.items()],
        "notes": [_note(one, content=content) for one in shown.notes],
        "omitted": _omitted(shown.omitted, content=content),
        "implicit": turn.implicit,
        "faults": turn.instrumentation_errors,
        "trace": [(key, _word(value)) for key, value in shown.trace_context.items() if content or key in _SPAN],
        "writer": [(name, _word(getattr(shown.writer, name))) for name in ("version", "host", "pid", "seq")],
        "place": (file, turn.line),
        "schema": shown.schema,
        "messages": pool.messages,
    }


def _call(call: CallView, timed: tuple[Span, bool] | None, pool: Pool, *, content: bool) -> dict[str, Any]:
    span, on_path = timed or (None, False)
    return {
        "kind": "call",
        "ref": None,
        "id": call.call_id,
        "parent": call.parent,
        "name": call.name,
        "model": call.model,
        "provider": call.provider,
        "role": call.role,
        "role_source": call.role_source,
        "layer": call.layer,
        "attempt": call.attempt,
        "outcome": call.outcome,
        "late": call.late,
        "error": _error(call, content=content),
        "asked": span is not None and not span.inside,
        "depth": span.depth if span else 0,
        "start": span.start_ms if span else None,
        "end": span.end_ms if span else None,
        "slack": span.slack_ms if span else None,
        "critical": on_path,
        "ms": call.duration_ms,
        "first": call.first_chunk_ms,
        "chunks": call.chunks,
        "streamed": call.streamed,
        "usage": tokens(span.usage if span else call.usage),
        "usd": span.cost.total_usd if span and (span.inside or call.cost_usd is None) else call.cost_usd,
        "cost": _price(call, span),
        "share": span.cost_share if span else None,
        "priced_by": span.cost.price_table if span and span.cost.estimated and not span.inside else call.cost_source,
        "source": call.source,
        "finish": _named(call.finish_reason, content=content),
        "answered_by": _named(call.response_model, "response_model", content=content),
        "endpoint": call.endpoint if content else None,
        "params": _params(call.params, content=content),
        "params_omitted": call.params_omitted,
        "omitted": _omitted(call.omitted, content=content),
        "length": None if call.output is None else len(call.output),
        "saw": pool.places(call.input_messages) if content else None,
        "said": call.output if content else None,
        "reasoning": call.reasoning if content else None,
        "refusal": call.refusal if content else None,
        "served": [
            word
            for name, value in call.served_by.items()
            if value is not None and (word := _named(_word(value), f"served_by.{name}", content=content)) is not None
        ],
        "fault": [_word(fact) for fact in (call.error.status, call.error.code) if fact is not None]
        if call.error
        else [],
        "cites": [_cited(one) for one in call.citations] if content else [],
        "parts": [as_json(one) for one in call.parts] if content else [],
        "tools": [
            (name, arguments) if content else (name if is_name(name) else _CALL, None)
            for name, arguments in tools_of(call.tool_calls)
        ],
        "choices": [as_json(one) for one in call.choices] if content else [],
        "raw": as_json(call.raw_reply) if content and call.raw_reply is not None else None,
    }


def _named(text: str | None, path: str = "", *, content: bool) -> str | None:
    """Return a name of a provider's, without content only if it has the form of one."""
    return text if content or text is None or is_name(text, path) else None


def _note(note: Any, *, content: bool) -> tuple[str, str | None]:
    """Return the kind of a note, and its values as JSON."""
    known = note if isinstance(note, dict) else {}
    values = {key: value for key, value in known.items() if key not in ("kind", "at")}
    return _word(known.get("kind")), as_json(values) if content else None


def _cited(citation: Any) -> str:
    """Return a source as one text."""
    known = citation if isinstance(citation, dict) else {}
    words = [known.get(name) for name in ("title", "url", "file_id", "quote")]
    return " · ".join(word for word in words if isinstance(word, str))


def _price(call: CallView, span: Span | None) -> str | None:
    cost = Cost(call.cost_usd)
    if span is not None and (span.inside or call.cost_usd is None):  # the sum of the requests inside, or an estimate
        cost = span.cost
    return None if cost.total_usd is None else cost_words(cost)


def tokens(usage: TokenUsage) -> dict[str, int | str | None]:
    """Return tokens; more than a browser can count is told as text."""
    return {
        name: count if count is None or abs(count) <= _EXACT else str(count) for name, count in asdict(usage).items()
    }


def _standing(fidelity: Fidelity) -> dict[str, Any]:
    return {"standing": fidelity.status, "fidelity": str(fidelity), "kept": fidelity.kept, "why": fidelity.reason}


def _error(one: TurnView | CallView, *, content: bool) -> tuple[str, str | None] | None:
    error = one.error
    return None if error is None else (error.type, error.message if content else None)


def _cost(turn: TurnView) -> dict[str, Any]:
    cost = turn.cost
    return {"text": str(cost), "usd": cost.total_usd, "unpriced": cost.unknown}


def _params(params: Mapping[str, Any], *, content: bool) -> list[tuple[str, str | None]]:
    """Return parameters; without content only the values that can hold no text."""
    return [
        (key, _word(value) if content or value is None or isinstance(value, bool | int | float) else None)
        for key, value in params.items()
    ]


def _omitted(omitted: Mapping[str, Any], *, content: bool) -> list[tuple[str, str, int | None]]:
    """Return where something is missing, why, and its bytes; the names inside a message are content."""
    found = []
    for path, why in omitted.items():
        why = why if isinstance(why, dict) else {}  # noqa: PLW2901 - a file may hold anything
        size, reason = why.get("bytes"), str(why.get("reason", "?"))
        if not content:
            path = path.partition(".")[0]  # noqa: PLW2901 - the beginning of it
            path, reason = path if path in _PLACES else "?", reason if reason in _REASONS else "?"  # noqa: PLW2901 - so
        found.append((path, reason, size if isinstance(size, int) else None))
    return found


def _word(value: Any) -> str:
    return value if isinstance(value, str) else as_json(value)
