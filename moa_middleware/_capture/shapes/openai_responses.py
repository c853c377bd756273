"""
OpenAI's Responses API: its events, and its completed responses.

Source of the format: the OpenAI API reference, *Responses* and *Responses streaming*. The text is
gathered from the `*.delta` events as they pass, so that a stream that is left early keeps what it
had said; the response that ends a stream brings its status and its usage.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from .choice import KINDS, Choice, add_text, details_of, new_reply
from .failure import failure_in, failure_of
from .fields import data_of
from .plain import says
from .response_items import (
    FILTERS,
    PLAIN_MESSAGE,
    PLAIN_PART,
    take_annotation,
    take_logprobs,
    take_output_item,
    take_response,
)
from .tool_calls import json_text
from .usage import read_usage_and_cost

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ...errors import ProviderError
    from ..flow.model import Reply
    from .choice import StreamContent

    Data = Mapping[str, Any]

__all__ = ["ARGUMENTS", "TEXTS", "feed", "is_event", "read_value", "tool_call"]

_PREFIX = "response."


def _index(value: Any) -> int:
    return value if type(value) is int else 0


# Each returns True if the event has the form of the API: a program may have types of its own that begin alike.


def _on_text(kind: str, gathered: StreamContent, event: Data) -> bool:
    text = event.get("delta")
    if not isinstance(text, str):
        return False
    add_text(getattr(gathered.choice(0), kind), text)
    tokens = event.get("logprobs")
    if tokens:
        take_logprobs(gathered.details, _index(event.get("output_index")), tokens)
    return True


def _on_arguments(gathered: StreamContent, event: Data) -> bool:
    index = _index(event.get("output_index"))
    gathered.choice(0).add_tool_call({"index": index, "function": {"arguments": event.get("delta")}})
    return True


def _on_item(gathered: StreamContent, event: Data, *, is_done: bool) -> bool:
    item = data_of(event.get("item"))
    if not item:
        return False
    take_output_item(gathered.details, _index(event.get("output_index")), item)
    call = tool_call(item)
    if call is None:
        return True
    # The item comes with empty arguments. They come in pieces, or with the item when it is done: a server
    # that runs the tool itself (web search, code) sends no pieces.
    function = call["function"]
    index, choice = _index(event.get("output_index")), gathered.choice(0)
    known = choice.tool_call(index) if is_done else None
    if known is None:
        shown = function if is_done else {**function, "arguments": ""}
        choice.add_tool_call({**call, "index": index, "function": shown})
    else:
        # The id may have changed since: a server makes up one for the item that it has only begun.
        known[1].update(id=call["id"], type=call["type"], name=function["name"])
        if not any(known[2]):
            known[2].append(function["arguments"])
    return True


def _on_annotation(gathered: StreamContent, event: Data) -> bool:
    take_annotation(gathered.details, _index(event.get("output_index")), event)
    return event.get("annotation") is not None


def _on_begin(gathered: StreamContent, event: Data) -> bool:
    response = data_of(event.get("response"))
    gathered.details.update(details_of(response))
    take_response(gathered.details, response)
    return bool(response)


def _on_end(gathered: StreamContent, event: Data) -> bool:
    # The last event holds the whole response once more. In a stream it fills in what no delta said (a
    # server that sends no deltas, a text that a proxy dropped). A tap sees this event alone, and would
    # take the whole text for a piece.
    response = data_of(event.get("response"))
    if response:
        _take_response(gathered, response, repeats=gathered.is_single)
    return bool(response)


def _take_response(gathered: StreamContent, response: Data, *, repeats: bool = False) -> None:
    """Take in the response that ends a stream, or that came in place of one."""
    choice = gathered.choice(0)
    whole = Choice(0) if repeats else _read_output(response)[0]
    for kind in KINDS:
        if not any(getattr(choice, kind)):
            getattr(choice, kind).extend(getattr(whole, kind))
    choice.tools = choice.tools or whole.tools
    choice.finish_reason = _finish_reason(response)
    usage = response.get("usage")
    if usage is not None:
        gathered.usage = usage
    gathered.details.update(details_of(response))
    take_response(gathered.details, response)
    gathered.failure = _failure(response)


TEXTS = {
    "response.output_text.delta": "text",
    "response.reasoning_text.delta": "reasoning",
    "response.reasoning_summary_text.delta": "reasoning",
    "response.refusal.delta": "refusal",
}
"""By the types of its events: kinds of text that come in pieces."""
ARGUMENTS = ("function_call_arguments", "mcp_call_arguments", "custom_tool_call_input", "code_interpreter_call_code")
"""Names of the arguments of calls in the types of their events."""
_EVENTS: dict[str, Callable[[StreamContent, Data], bool]] = {
    **{name: partial(_on_text, kind) for name, kind in TEXTS.items()},
    **dict.fromkeys(map("response.{}.delta".format, ARGUMENTS), _on_arguments),
    "response.output_item.added": partial(_on_item, is_done=False),
    "response.output_item.done": partial(_on_item, is_done=True),
    "response.output_text.annotation.added": _on_annotation,
    **dict.fromkeys(("response.created", "response.in_progress", "response.queued"), _on_begin),
    **dict.fromkeys(map("response.{}".format, ("completed", "incomplete", "failed", "cancelled")), _on_end),
}
"""The others repeat what was said, or report progress."""
_OF_EVENTS = frozenset({"sequence_number", "item_id", "output_index"})
"""Of the other events of the API each has one of these keys."""


def is_event(data: Data) -> bool:
    """Return True for the fields of an event of the API, and of a whole response in place of a stream."""
    kind = data.get("type")
    if isinstance(kind, str) and kind.startswith(_PREFIX):
        has_piece = kind.endswith(".delta") and isinstance(data.get("delta"), str) and kind in _EVENTS
        return has_piece or not _OF_EVENTS.isdisjoint(data) or bool(data_of(data.get("response")))
    return data.get("object") == "response" and isinstance(data.get("output"), list | tuple)


def feed(gathered: StreamContent, chunk: Any) -> bool:
    """Take one event in; `False` if it is not of this shape."""
    data = data_of(chunk)
    kind = data.get("type")
    if isinstance(kind, str) and kind.startswith(_PREFIX):
        handle = _EVENTS.get(kind)
        is_ours = not _OF_EVENTS.isdisjoint(data) if handle is None else handle(gathered, data)
        # Of an event of a program's own the text is where such code has it.
        return is_ours or not says(data)
    if data.get("object") == "response" and isinstance(data.get("output"), list | tuple):
        _take_response(gathered, data)
        return True
    # An event of its own kind, of whichever API, in place of a stream or in it: the SDKs raise it, but do not
    # read the lines that a caller reads himself.
    is_error = kind == "error" or data.get("object") == "error"
    is_failure = is_error or "error" in data or "base_resp" in data
    # A program's own event may have a warning next to its text.
    failure = failure_in(data.get) if is_failure and (kind == "error" or not says(data)) else None
    if failure is not None:
        gathered.failure, gathered.is_passing = failure, not is_error
    return failure is not None


def read_value(data: Data, raw: Any) -> Reply | None:
    """
    Read a completed response, of which `object` is "response"; `None` if it is not of this shape.

    Args:
        data: The fields of the response.
        raw: What the function returned.
    """
    if not isinstance(data.get("output"), list | tuple):
        return None
    (choice, more), usage = _read_output(data), data.get("usage")
    choice.finish_reason = _finish_reason(data)
    failure = _failure(data) if data.get("error") is not None or choice.finish_reason == "failed" else None
    details = {**details_of(data), "usage_raw": usage}
    if more:
        take_response(details, data)
    return new_reply(None, choice, (), read_usage_and_cost(usage), details, raw, error=failure)


def _finish_reason(response: Data) -> str | None:
    """Return why it ended: the reason of an incomplete one, else its status."""
    incomplete = response.get("incomplete_details")
    reason = None if incomplete is None else data_of(incomplete).get("reason")
    found = reason if isinstance(reason, str) else response.get("status")
    return found if isinstance(found, str) else None


def _failure(response: Data) -> ProviderError | None:
    """Return why a response failed, `None` if it has not."""
    failure = failure_in(response.get) if response.get("error") is not None else None
    return failure or (failure_of("failed") if response.get("status") == "failed" else None)


def _read_output(response: Data) -> tuple[Choice, bool]:
    """Return the items of an output as one choice, and whether they hold something that is not read here."""
    choice, items, more = Choice(0), response.get("output"), any(map(response.get, FILTERS))
    for item in items if isinstance(items, list | tuple) else ():
        data = data_of(item)
        kind = data.get("type")
        if kind == "message":
            more = more or data.get("phase") is not None or not PLAIN_MESSAGE.issuperset(data)
            parts = data.get("content")
            for part in parts if isinstance(parts, list | tuple) else ():
                found = data_of(part)
                more = more or bool(found.get("annotations") or found.get("logprobs"))
                more = more or not PLAIN_PART.issuperset(found)
                for name in ("text", "refusal"):
                    piece = found.get(name)
                    if piece and isinstance(piece, str):
                        getattr(choice, name).append(piece)
        # The summary is what OpenAI shows of the reasoning; models with open weights put all of it in the content.
        elif kind == "reasoning":
            more = True
            for parts in (data.get("summary"), data.get("content")):
                for part in parts if isinstance(parts, list | tuple) else ():
                    add_text(choice.reasoning, data_of(part).get("text"))
        else:
            more = True
            call = tool_call(data)
            if call is not None:
                choice.add_tool_call(call)
    return choice, more


def tool_call(item: Data) -> dict[str, Any] | None:
    """Return an item in the form of a chat's tool call, `None` if it is not a call of a tool."""
    kind = item.get("type")
    if not isinstance(kind, str) or not kind.endswith("_call"):
        return None
    kind = kind.removesuffix("_call").removesuffix("_tool")
    arguments: Any = ""
    # By the API reference: function and MCP calls have `arguments`, custom tools `input`, computer and
    # shell calls `action` or several `actions`, the code interpreter `code`, file search `queries`, a patch
    # of a file its `operation`.
    for name in ("arguments", "input", "action", "actions", "code", "queries", "operation"):
        if item.get(name) is not None:
            arguments = item.get(name)
            break
    return {
        "id": item.get("call_id") or item.get("id"),
        "type": kind,
        "function": {
            "name": item.get("name") or kind,
            "arguments": arguments if isinstance(arguments, str) else json_text(arguments),
        },
    }
