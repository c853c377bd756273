"""
Mistral's chat, as its SDK has it: the form of OpenAI's chat completions, in a stream inside events.

Source of the format: Mistral's API reference, *Chat completion*. An answer with thinking is a list of
parts, of which those of type `thinking` are reasoning.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from . import chat_chunks, openai_chat
from .fields import data_of
from .wire import body_of_reply, completion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..flow.model import Call, Chunk, Reply
    from .choice import StreamContent

__all__ = ["KEYS", "feed", "messages_from", "messages_of", "read_value", "render", "render_chunk"]

KEYS = frozenset({"data"})
"""See `formats`."""
_PACKAGES = ("mistralai.client", "mistralai")
"""Where the SDK's modules are: the first since version 2."""


def _chunk_in(event: Any) -> Any:
    """Return the chunk in an event of a stream, `None` if it is not one."""
    chunk = data_of(event).get("data")
    return chunk if isinstance(data_of(chunk).get("choices"), list) else None


def feed(gathered: StreamContent, event: Any) -> bool:
    """Take one event in; `False` if it is not of this shape."""
    chunk = _chunk_in(event)
    if chunk is None or not openai_chat.feed(gathered, chunk):
        return False
    gathered.simple = False  # the short path looks for the choices on the event itself
    return True


def read_value(_data: Mapping[str, Any], _raw: Any) -> Reply | None:
    """Return `None`: a whole reply has OpenAI's form, and is read by that."""
    return None


def messages_of(given: Any) -> Any:
    """Return the messages of a request, which are those of any chat."""
    return given


def messages_from(messages: Any) -> Any:
    """Return messages as the SDK takes them."""
    return messages


def render_chunk(raw: Any, chunk: Chunk) -> Any:
    """Return a copy of an event with the text of a changed chunk, `None` if it is not such an event."""
    inner = _chunk_in(raw)
    if inner is None:
        return None
    changed = chat_chunks.render_chunk(inner, chunk)
    return raw if changed is inner else _with(raw, changed)


def _with(event: Any, chunk: Any) -> Any:
    if type(event) is dict:
        return {**event, "data": chunk}
    return type(event).model_construct(**{**vars(event), "data": chunk})


def _module(name: str) -> Any:
    return next(sys.modules[f"{one}.{name}"] for one in _PACKAGES if f"{one}.{name}" in sys.modules)


def render(reply: Reply, call: Call, *, is_async: bool) -> Any:
    """
    Return a reply that a middleware made as the SDK's own object, for a stream as the SDK's own stream.

    Args:
        reply: The reply.
        call: The call that it answers.
        is_async: Whether a stream is to be an async one.
    """
    models = _module("models")
    if not call.stream:
        said = completion(reply, call.model)
        # The SDK's class has no place for an unknown usage.
        said["usage"] = said["usage"] or {}
        return models.ChatCompletionResponse.model_validate(said)
    stream = _module("utils.eventstreaming")
    made = stream.EventStreamAsync if is_async else stream.EventStream
    _, body = body_of_reply(reply, call.model, "openai_chat", stream=True)
    response = stream.httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body)
    return made(response, models.CompletionEvent.model_validate_json, sentinel="[DONE]")
