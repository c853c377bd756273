"""
OpenAI's Responses API: its events, and its completed responses.

Source of the format: the OpenAI API reference, *Responses* and *Responses streaming*. The text is
gathered from the `*.delta` events as they pass, so that a stream that is left early keeps what it
had said; the response that ends a stream brings its status and its usage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import ProviderError
from ..flow.model import Reply
from .choice import Choice, json_text, replaced
from .plain import peek
from .usage import read_cost, read_usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..flow.model import Chunk
    from .replies import Accumulator

__all__ = ["feed", "read", "render_chunk"]

_PREFIX = "response."


def _number(value: Any) -> int:
    return value if type(value) is int else 0


def _text_delta(acc: Accumulator, event: Any) -> None:
    _add(acc.choice(0).text, peek(event, "delta"))


def _reasoning_delta(acc: Accumulator, event: Any) -> None:
    _add(acc.choice(0).reasoning, peek(event, "delta"))


def _refusal_delta(acc: Accumulator, event: Any) -> None:
    _add(acc.choice(0).refusal, peek(event, "delta"))


def _add(pieces: list[str], delta: Any) -> None:
    if isinstance(delta, str) and delta:
        pieces.append(delta)


def _arguments_delta(acc: Accumulator, event: Any) -> None:
    index = _number(peek(event, "output_index"))
    acc.choice(0).add_tool_call({"index": index, "function": {"arguments": peek(event, "delta")}})


def _item_added(acc: Accumulator, event: Any) -> None:
    call = _tool_call(peek(event, "item"))
    if call is not None:
        # Its arguments come in pieces, or with the item when it is done.
        function = {**call["function"], "arguments": ""}
        acc.choice(0).add_tool_call({**call, "index": _number(peek(event, "output_index")), "function": function})


def _item_done(acc: Accumulator, event: Any) -> None:
    call = _tool_call(peek(event, "item"))
    if call is None:
        return
    index = _number(peek(event, "output_index"))
    known = next((tool for tool in acc.choice(0).tools if tool[0] == index), None)
    if known is None:
        acc.choice(0).add_tool_call({**call, "index": index})
    elif not any(known[2]):
        known[2].append(call["function"]["arguments"])


def _began(acc: Accumulator, event: Any) -> None:
    _details(acc.details, peek(event, "response"))


def _over(acc: Accumulator, event: Any) -> None:
    # A single event, for a tap, repeats what others have said.
    _whole(acc, peek(event, "response"), repeats=acc.single)


def _whole(acc: Accumulator, response: Any, *, repeats: bool = False) -> None:
    """Take in the response that ends a stream, or that came in place of one."""
    choice = acc.choice(0)
    said = Choice(0) if repeats else _read_output(response)
    for kind in ("text", "reasoning", "refusal"):
        if not any(getattr(choice, kind)):
            getattr(choice, kind).extend(getattr(said, kind))
    if not choice.tools:
        choice.tools = said.tools
    choice.finish_reason = _finish_reason(response)
    usage = peek(response, "usage")
    if usage is not None:
        acc.usage = usage
    _details(acc.details, response)
    acc.failure = _failure(response)


_EVENTS: dict[str, Callable[[Accumulator, Any], None]] = {
    "response.output_text.delta": _text_delta,
    "response.reasoning_text.delta": _reasoning_delta,
    "response.reasoning_summary_text.delta": _reasoning_delta,
    "response.refusal.delta": _refusal_delta,
    "response.function_call_arguments.delta": _arguments_delta,
    "response.mcp_call_arguments.delta": _arguments_delta,
    "response.custom_tool_call_input.delta": _arguments_delta,
    "response.code_interpreter_call_code.delta": _arguments_delta,
    "response.output_item.added": _item_added,
    "response.output_item.done": _item_done,
    "response.created": _began,
    "response.in_progress": _began,
    "response.queued": _began,
    "response.completed": _over,
    "response.incomplete": _over,
    "response.failed": _over,
    "response.cancelled": _over,
}
"""The others repeat what was said, or tell of progress."""


def feed(acc: Accumulator, chunk: Any) -> bool:
    """Take one event in; `False` if it is not of this shape."""
    kind = peek(chunk, "type")
    if isinstance(kind, str) and kind.startswith(_PREFIX):
        handle = _EVENTS.get(kind)
        if handle is not None:
            handle(acc, chunk)
        return True
    if _is_response(chunk):
        _whole(acc, chunk)
        return True
    error = peek(chunk, "error") or (chunk if kind == "error" else None)
    if error is not None and (kind == "error" or acc.count == 1) and isinstance(peek(error, "message"), str):
        # An event of its own kind, which the SDK passes on; or an error in place of a stream.
        acc.failure = _failure({"error": error})
        return True
    return False


def _is_response(value: Any) -> bool:
    return peek(value, "object") == "response" and isinstance(peek(value, "output"), list | tuple)


def read(value: Any) -> Reply | None:
    """Read a completed response; `None` if it is not of this shape."""
    if not _is_response(value):
        return None
    choice = _read_output(value)
    details: dict[str, Any] = {}
    _details(details, value)
    usage = peek(value, "usage")
    failure = _failure(value)
    return Reply(
        text=choice.joined("text"),
        tool_calls=choice.calls(),
        reasoning=choice.joined("reasoning"),
        refusal=choice.joined("refusal"),
        finish_reason=_finish_reason(value),
        usage=read_usage(usage),
        cost_usd=read_cost(usage),
        outcome="completed" if failure is None else "error",
        error=failure,
        source="provider",
        _details={**details, "usage_raw": usage},
    )


def _details(into: dict[str, Any], response: Any) -> None:
    for name, key in (("id", "response_id"), ("model", "response_model"), ("service_tier", "service_tier")):
        value = peek(response, name)
        if value is not None:
            into[key] = value


def _finish_reason(response: Any) -> str | None:
    """Return why it ended: the reason of an incomplete one, else its status."""
    reason = peek(peek(response, "incomplete_details"), "reason")
    found = reason if isinstance(reason, str) else peek(response, "status")
    return found if isinstance(found, str) else None


def _failure(response: Any) -> ProviderError | None:
    error = peek(response, "error")
    if error is None:
        return None
    words = [peek(error, name) for name in ("code", "message")]
    return ProviderError(": ".join(word for word in words if isinstance(word, str)))


def _read_output(response: Any) -> Choice:
    """Return the items of an output as one choice."""
    choice = Choice(0)
    for item in peek(response, "output") or ():
        kind = peek(item, "type")
        if kind == "message":
            for part in peek(item, "content") or ():
                _add(choice.text, peek(part, "text"))
                _add(choice.refusal, peek(part, "refusal"))
        elif kind == "reasoning":
            for part in (*(peek(item, "summary") or ()), *(peek(item, "content") or ())):
                _add(choice.reasoning, peek(part, "text"))
        else:
            call = _tool_call(item)
            if call is not None:
                choice.add_tool_call(call)
    return choice


def _tool_call(item: Any) -> dict[str, Any] | None:
    """Return an item in the form of a chat's tool call, `None` if it is no call of a tool."""
    kind = peek(item, "type")
    if not isinstance(kind, str) or not kind.endswith("_call"):
        return None
    kind = kind.removesuffix("_call").removesuffix("_tool")
    arguments = next(
        (
            value
            for name in ("arguments", "input", "action", "code", "queries")
            if (value := peek(item, name)) is not None
        ),
        "",
    )
    return {
        "id": peek(item, "call_id") or peek(item, "id"),
        "type": kind,
        "function": {
            "name": peek(item, "name") or kind,
            "arguments": arguments if isinstance(arguments, str) else json_text(arguments),
        },
    }


_TEXTS = {
    "response.output_text.delta": "text",
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.refusal.delta": "refusal",
}


def render_chunk(raw: Any, chunk: Chunk) -> Any:
    """Return a copy of a delta with the text of a changed one, `None` if it is no delta of a text."""
    name = _TEXTS.get(peek(raw, "type") or "")
    return None if name is None else replaced(raw, "delta", getattr(chunk, name))
