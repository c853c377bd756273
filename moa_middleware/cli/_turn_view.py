"""The view of a turn on the screen: its head, its calls, its texts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic_core import to_json

from ..errors import QueryError
from ..read import content_text
from ._format import count_text, counted, duration_text, time_text
from ._marks import call_word, name_of, role_of, turn_mark
from ._text import one_line, safe_text
from ._turn_row import question_of
from ._waterfall import show_figures, show_waterfall

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ..read import CallView, Cost, TurnView
    from ._screen import Screen

__all__ = ["one_call", "show_call", "show_turn"]

_LINES = 3
"""Lines of a text that are shown of it, unless the whole is asked for."""


def one_call(turn: TurnView, name: str) -> CallView:
    """
    Return the call of a turn that is named.

    Args:
        turn: The turn.
        name: `agg`, `ref:N` with the reference's place from 0, or the beginning of a `call_id`.

    Raises:
        QueryError: There is none, or there are several.
    """
    if name in ("agg", "aggregator") and turn.aggregator is not None:
        return turn.aggregator
    if name in ("agg", "aggregator"):
        raise QueryError(f"{turn.name} has no aggregator, or it is unknown which call that is")
    role, _, place = name.partition(":")
    if role in ("ref", "reference") and place.isascii() and place.isdigit():
        if int(place[:9]) < len(turn.references):
            return turn.references[int(place[:9])]
        raise QueryError(f"{turn.name} has {counted(len(turn.references), 'reference')}, numbered from 0")
    found = [call for call in turn.all_calls if name and (call.call_id or "").startswith(name)]
    if len(found) == 1:
        return found[0]
    many = f"{len(found)} calls of" if found else "no call of"
    raise QueryError(f"{many} {turn.name} begin with {name!r}: need agg, ref:N, or the beginning of a call_id")


def show_turn(
    screen: Screen, turn: TurnView, inner: Sequence[TurnView], outer: TurnView | None, *, full: bool, inputs: bool
) -> None:
    """
    Print a turn.

    Args:
        screen: Where to print.
        turn: The turn.
        inner: The turns inside it.
        outer: The turn around it.
        full: Texts whole.
        inputs: What each model saw, too.
    """
    _head(screen, turn)
    for one in inner:
        outcome = one_line(one.outcome or "?", 40)
        screen.line(("inside    ", "dim"), one_line(one.name), (f"  {outcome}, {one.cost}", "dim"))
    if outer is not None:
        screen.line(("inside of ", "dim"), one_line(outer.name))
    screen.line()
    spans = turn.timeline()
    show_waterfall(screen, turn, spans)
    screen.line()
    show_figures(screen, turn, spans)
    shown = {id(one.call) for one in spans}
    for call in turn.all_calls:
        if id(call) in shown and call is not turn.aggregator:
            _show_reply(screen, call, role_of(call, turn), full=full, inputs=inputs)
    if turn.aggregator is not None:
        _show_reply(screen, turn.aggregator, "agg", full=full, inputs=inputs)
    if turn.output is not None and (turn.aggregator is None or turn.output != turn.aggregator.output):
        screen.heading("answer")
        _text(screen, turn.output, full=full)


def _tells_no_tokens(call: CallView) -> bool:
    asked = call.source in (None, "provider")
    return asked and call.usage.input_tokens is None and call.usage.output_tokens is None


def _head(screen: Screen, turn: TurnView) -> None:
    mark, style = turn_mark(turn, ascii_only=screen.ascii)
    outcome = one_line(turn.outcome or "ended", 40)
    screen.line((one_line(turn.name), "bold"), "  ", (f"{mark} {outcome}", style), f"  {time_text(turn.at)}")
    usage = turn.usage
    known = usage.input_tokens is not None or usage.output_tokens is not None
    least = ">= " if known and any(_tells_no_tokens(call) for call in turn.requests) else ""
    parts = [
        counted(turn.call_count, "call"),
        *(
            f"{count:,} {what}"
            for count, what in (
                (turn.failed_calls, "failed"),
                (turn.handled_calls, "handled"),
                (turn.late_calls, "late"),
                (turn.pending_calls, "never ended"),
            )
            if count
        ),
        duration_text(turn.duration_ms),
        f"{least}{count_text(usage.input_tokens)} tokens in, {least}{count_text(usage.output_tokens)} out",
    ]
    for name, value in (("id", turn.id), ("preset", turn.preset)):
        if value:
            screen.line((name.ljust(10), "dim"), one_line(value), wrap=False)
    screen.line(("calls     ", "dim"), ", ".join(parts))
    named = turn.nesting().named
    unknown = sum(named(call).role_source == "unknown" for call in turn.requests)
    if unknown:
        screen.line(("roles     ", "dim"), f"unknown of {counted(unknown, 'call')}; moa.tag(role=…) declares them")
    screen.line(("cost      ", "dim"), (str(turn.cost), "bold"))
    if turn.tags:
        tags = ", ".join(f"{one_line(str(key), 60)}={one_line(str(value), 60)}" for key, value in turn.tags.items())
        screen.line(("tags      ", "dim"), tags)
    for note in turn.notes:
        screen.line(("note      ", "dim"), _note(note))
    screen.line(("question  ", "dim"), question_of(turn, 300))
    if turn.error is not None:
        screen.line(("error     ", "dim"), (_error(turn), "red"))
    if turn.instrumentation_errors:
        screen.line(
            ("faults    ", "dim"), counted(turn.instrumentation_errors, "fault"), " of observers or the tracing"
        )


def _cost_of(turn: TurnView, call: CallView) -> Cost | None:
    """Return what a call of a turn cost, `None` if it is the sum of others and not listed."""
    return next((span.cost for span in turn.timeline() if span.call is call), None)


def _error(of: TurnView | CallView) -> str:
    error = of.error
    if error is None:
        return ""
    facts = " ".join(str(fact) for fact in (error.status, error.code) if fact is not None)
    message = error.message if error.message is not None else "(withheld)"
    return one_line(f"{error.type}{f' ({facts})' if facts else ''}: {message}")


def _show_reply(screen: Screen, call: CallView, role: str, *, full: bool, inputs: bool) -> None:
    screen.heading(f"{one_line(role, 100)}  {one_line(name_of(call), 100)}")
    if inputs:
        _messages(screen, call.input_messages, full=full)
    if call.error is not None:
        screen.line((_error(call), "red"))
    if call.output:
        _text(screen, call.output, full=full)
    elif "output" in call.omitted:
        screen.line(("the text is withheld", "dim"))
    elif call.error is None and not call.tool_calls:
        screen.line(("no text", "dim"))
    if call.refusal:
        screen.line(("refused: ", "yellow"), one_line(call.refusal))
    for source in call.citations:
        screen.line(("cites ", "dim"), _citation(source if isinstance(source, dict) else {}))
    for tool in call.tool_calls:
        function = tool.get("function") if isinstance(tool, dict) else None
        function = function if isinstance(function, dict) else tool if isinstance(tool, dict) else {}
        screen.line(("calls ", "dim"), one_line(f"{function.get('name')} {function.get('arguments', '')}", 300))


def _note(note: Any) -> str:
    """Return a note of the client on one line: its kind, and its values as JSON."""
    if not isinstance(note, dict):
        return one_line(to_json(note).decode(), 300)
    rest = {key: value for key, value in note.items() if key not in ("kind", "at")}
    return one_line(f"{note.get('kind')} {to_json(rest).decode() if rest else ''}".rstrip(), 300)


def _type_of(part: Any) -> str:
    return str(part.get("type", "part")) if isinstance(part, dict) else "part"


def _citation(source: dict[str, Any]) -> str:
    """Return a source on one line: its title, and where it is."""
    words = [source.get(name) for name in ("title", "url", "file_id", "quote")]
    return one_line(" · ".join(word for word in words if isinstance(word, str)) or "(withheld)", 300)


def _messages(screen: Screen, messages: Any, *, full: bool) -> None:
    if not isinstance(messages, list):
        messages = [messages] if messages is not None else []
    for one in messages:
        role = one.get("role") if isinstance(one, dict) else None
        screen.line((f"saw {one_line(str(role or 'message'), 40)}", "cyan"))
        _text(screen, content_text(one.get("content") if isinstance(one, dict) else one), full=full)
    screen.line(("said", "cyan"))


def _text(screen: Screen, text: str, *, full: bool) -> None:
    """Print a text: whole, or its beginning and how much more there is."""
    if full:
        screen.line(safe_text(text))
        return
    width = screen.width if screen.wraps else 100
    head = one_line(text, width * _LINES)
    lines = text.count("\n")
    screen.line(head)
    if len(text) > width * _LINES:
        more = f"{len(text):,} characters in {counted(lines + 1, 'line')}; --full shows all"
        screen.line((more, "dim"))


def show_call(screen: Screen, turn: TurnView, call: CallView) -> None:
    """Print one call with its texts whole."""
    screen.line((one_line(f"{turn.name}  {role_of(call, turn)}"), "bold"), f"  {one_line(name_of(call))}")
    rows = (
        ("id", call.call_id),
        ("ended", f"{call_word(call)} after {duration_text(call.duration_ms)}"),
        ("began", time_text(call.started_at)),
        ("first", duration_text(call.first_chunk_ms) if call.first_chunk_ms is not None else None),
        ("tokens", f"{count_text(call.usage.input_tokens)} in, {count_text(call.usage.output_tokens)} out"),
        ("cost", str(cost) if (cost := _cost_of(turn, call)) is not None else None),
        ("finish", call.finish_reason),
        ("endpoint", call.endpoint),
        ("reply", call.response_id),
        ("served by", " · ".join(value for value in call.served_by.values() if isinstance(value, str)) or None),
        ("request", call.error.request_id if call.error is not None else None),
        ("parts", ", ".join(map(_type_of, call.parts)) or None),
        ("stopped", call.stop_sequence),
        ("params", ", ".join(f"{key}={value}" for key, value in call.params.items()) or None),
    )
    for name, value in rows:
        if value:
            screen.line((name.ljust(10), "dim"), one_line(value))
    _show_reply(screen, call, role_of(call, turn), full=True, inputs=True)
    if call.reasoning:
        screen.heading("reasoning")
        _text(screen, call.reasoning, full=True)
