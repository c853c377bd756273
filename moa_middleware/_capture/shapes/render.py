"""
Replies and chunks that a middleware made, in the form that the caller asked for.

Those of an SDK's client are made by the SDK, in `in_memory_client`; here are those of look-alikes and of
plain functions. The SDK's classes are used where the SDK is loaded; nothing is imported for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import ReplyFormError
from . import anthropic, openai_chat, openai_responses, plain
from .fields import get
from .in_memory_client import can_answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from ..flow.model import Call, Chunk, Reply

__all__ = ["has_form", "render", "render_chunk", "replay", "replay_async"]


def render_chunk(raw: Any, chunk: Chunk) -> Any:
    """
    Return a raw chunk with another text.

    Raises:
        ReplyFormError: The raw chunk has no place for a text.
    """
    # By the chunk and not by the function: an SDK's look-alike may stream what it likes.
    if get(raw, "choices"):
        return openai_chat.render_chunk(raw, chunk)
    changed = openai_responses.render_chunk(raw, chunk) or anthropic.render_chunk(raw, chunk)
    if changed is None:
        changed = plain.render_chunk(raw, chunk)
    if changed is None:
        # The events of an SDK that carry no text (a start, a ping) pass every tap, and a tap that returns
        # one with an empty text means to leave it alone.
        if not chunk.text:
            return raw
        msg = f"map_chunks: a chunk of type {type(raw).__name__} has no place for another text"
        raise ReplyFormError(msg)
    return changed


def replay(chunks: Iterable[Any]) -> Iterator[Any]:
    """Yield chunks that are complete already."""
    yield from chunks


async def replay_async(chunks: Iterable[Any]) -> AsyncIterator[Any]:
    """Yield chunks that are complete already, to an async consumer."""
    for chunk in chunks:
        yield chunk


class _BothWays:
    """Chunks that are complete already, for a consumer in either world: litellm's streams are both."""

    def __init__(self, chunks: Iterable[Any]) -> None:
        self._chunks = iter(chunks)

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._chunks)

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration


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
    if family == "openai_chat":
        if not call.stream:
            return openai_chat.render_value(reply, call.model, sdk)
        chunks = openai_chat.render_chunks(reply, call.model, sdk)
        if sdk == "litellm":
            return _BothWays(chunks)
    elif not call.stream:
        return reply.text
    else:
        chunks = [reply.text] if reply.text else []
    return replay_async(chunks) if is_async else replay(chunks)


_NEEDED = {"openai_chat": "choices", "openai_responses": "output", "anthropic": "content"}


def has_form(value: Any, family: str, owner: object) -> bool:
    """Return True if a raw value is one that such a function returns; a plain function may return any."""
    name = _NEEDED.get(family)
    if name is None:
        return True
    if can_answer(owner, family):
        return hasattr(value, name)
    return get(value, name) is not None
