"""
Replies and chunks that a middleware made, in the form that the caller asked for.

Those of an SDK's client are made by the SDK, in `in_memory_client`; here are those of look-alikes and of
plain functions. The SDK's classes are used where the SDK is loaded; nothing is imported for it.
"""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ...errors import ReplyFormError
from . import anthropic, chat_chunks, formats, plain
from .accumulator import read_chunks
from .choice import replaced
from .chunk_changes import changed_kinds
from .fields import get
from .in_memory_client import can_answer
from .wire import completion, replayed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..flow.model import Call, Chunk, Reply

__all__ = ["has_form", "render", "render_chunk", "without_choice"]


def render_chunk(raw: Any, shown: Chunk, chunk: Chunk) -> Any:
    """
    Return a raw chunk with what a middleware changed in one choice of it.

    Args:
        raw: The raw chunk.
        shown: The choice as the middleware saw it.
        chunk: The choice as the middleware returned it.

    Raises:
        ReplyFormError: The raw chunk has no place for the change.
    """
    if not any(changed_kinds(shown, chunk)):
        return raw
    made = _written(raw, chunk)
    # Read again, since each shape has places for some kinds only: a change that is not there would be a leak.
    now = next((one for one in read_chunks(made) if one.choice == chunk.choice), None) if made is not None else shown
    refused = next(changed_kinds(now or shown.replace(text="", reasoning="", refusal="", tool_calls=()), chunk), None)
    if refused is not None:
        kind = {"tool_calls": "list of tool calls"}.get(refused, refused)
        msg = f"map_chunks: a chunk of type {type(raw).__name__} has no place for another {kind}"
        raise ReplyFormError(msg)
    return made


def _written(raw: Any, chunk: Chunk) -> Any:
    # By the chunk and not by the function: an SDK's look-alike may stream what it likes.
    if get(raw, "choices"):
        return chat_chunks.render_chunk(raw, chunk)
    changed = anthropic.render_chunk(raw, chunk)
    for shape in formats.FORMATS.values():
        changed = shape.render_chunk(raw, chunk) if changed is None else changed
    return plain.render_chunk(raw, chunk) if changed is None else changed


def without_choice(raw: Any, chunk: Chunk) -> Any:
    """Return a raw chunk without one of its choices."""
    for name in ("choices", "candidates"):
        items = get(raw, name)
        if isinstance(items, list | tuple):
            return replaced(raw, [item for item in items if (get(item, "index") or 0) != chunk.choice], name)
    return render_chunk(raw, chunk, chunk.replace(text="", reasoning="", refusal="", tool_calls=()))


class _BothWays:
    """Chunks that are complete already, for a consumer in either world: litellm's streams are both."""

    def __init__(self, chunks: Iterable[Any]) -> None:
        self._chunks = iter(chunks)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._chunks)

    __aiter__ = __iter__

    async def __anext__(self) -> Any:
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration


def _as_look_alike(value: Any) -> Any:
    if isinstance(value, dict):
        return SimpleNamespace(**{key: _as_look_alike(item) for key, item in value.items()})
    return [_as_look_alike(item) for item in value] if isinstance(value, list) else value


def _completion(reply: Reply, call: Call, sdk: str) -> Any:
    """Return a reply as a chat completion, or as its one chunk: of the SDK's own class where the SDK is loaded."""
    payload = completion(reply, call.model, "delta" if call.stream else "message")
    if sdk == "litellm":
        litellm = sys.modules["litellm"]
        make = litellm.ModelResponseStream if call.stream else litellm.ModelResponse
        # litellm's class has no place for a usage that is null.
        return make(**{key: value for key, value in payload.items() if value is not None})
    types = sys.modules.get("openai.types.chat")
    if types is None:
        return _as_look_alike(payload)
    return (types.ChatCompletionChunk if call.stream else types.ChatCompletion).model_validate(payload)


def render(reply: Reply, call: Call, family: str, *, is_async: bool, sdk: str = "") -> Any:
    """
    Return a reply in the form that the caller of a look-alike, or of a plain function, asked for.

    Args:
        reply: The reply.
        call: The call that it answers.
        family: The shape of the function, as `RequestSpec` found it.
        is_async: Whether a stream is to be an async one.
        sdk: Name of the SDK that the function is of, "" for any other.

    Returns:
        A completed response or a string; for a stream, an iterator.
    """
    maker = formats.MAKERS.get(sdk)
    if maker is not None:
        return maker.render(reply, call, is_async=is_async)
    is_chat = family == "openai_chat"
    made = _completion(reply, call, sdk) if is_chat else reply.text
    if not call.stream:
        return made
    chunks = [made] if is_chat or made else []
    if is_chat and sdk == "litellm":
        return _BothWays(chunks)
    return replayed(chunks, is_async=is_async)


_NEEDED = {"openai_chat": "choices", "openai_responses": "output", "anthropic": "content"}


def has_form(value: Any, family: str, owner: object) -> bool:
    """Return True if a raw value is one that such a function returns; a plain function may return any."""
    name = _NEEDED.get(family)
    if name is None:
        return True
    if can_answer(owner, family):
        return hasattr(value, name)
    return get(value, name) is not None
