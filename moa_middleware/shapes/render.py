"""
Replies and chunks that a middleware made, in the form that the caller asked for.

The SDK's own classes are used where the SDK is loaded; nothing is imported for it.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from ..errors import ReplyFormError
from . import openai_chat, plain
from .usage import get

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from .._call import Call, Chunk, Reply

__all__ = ["has_form", "render", "render_chunk", "replay", "replay_async"]


def render_chunk(raw: Any, chunk: Chunk) -> Any:
    """
    Return a raw chunk with another text.

    Raises:
        ReplyFormError: The raw chunk has no place for a text.
    """
    if get(raw, "choices"):
        return openai_chat.render_chunk(raw, chunk)
    changed = plain.render_chunk(raw, chunk)
    if changed is None:
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


def render(reply: Reply, call: Call, family: str, *, owner: object, is_async: bool) -> Any:
    """
    Return a reply in the form that the caller asked for.

    Args:
        reply: The reply.
        call: The call that it answers.
        family: The shape of the function, as `RequestSpec` found it.
        owner: The object whose method was called, for the SDK's client.
        is_async: Whether a stream is to be an async one.

    Returns:
        A completed response or a string; for a stream, the SDK's stream or an iterator.
    """
    if family == "openai_chat":
        if not call.stream:
            return openai_chat.render_value(reply, call.model)
        chunks = openai_chat.render_chunks(reply, call.model)
        stream = _sdk_stream(chunks, owner, is_async=is_async)
        if stream is not None:
            return stream
    elif not call.stream:
        return reply.text
    else:
        chunks = [reply.text] if reply.text else []
    return replay_async(chunks) if is_async else replay(chunks)


def has_form(value: Any, family: str, owner: object) -> bool:
    """Whether a raw value, no stream, is one that such a function returns; of a plain one it is not known."""
    if family != "openai_chat":
        return True
    if _sdk_client(owner) is not None:
        return hasattr(value, "choices")
    return get(value, "choices") is not None


def _sdk_client(owner: object) -> Any:
    """Return the client of the `openai` SDK whose resource this is, `None` for another object."""
    client = getattr(owner, "_client", None)
    openai = sys.modules.get("openai")
    return client if openai is not None and isinstance(client, openai.OpenAI | openai.AsyncOpenAI) else None


def _sdk_stream(chunks: list[Any], owner: object, *, is_async: bool) -> Any:
    """
    Return the `openai` SDK's own stream over these chunks, `None` for another SDK.

    It reads them from a response in memory, so that `with`, `close` and `.response` are real.
    """
    client = _sdk_client(owner)
    if client is None:
        return None
    openai = sys.modules["openai"]
    http = next(
        sys.modules[root]
        for kind in type(client._client).__mro__
        if (root := kind.__module__.partition(".")[0]) in ("httpx", "httpx2")
    )
    events = [json.dumps(chunk.to_dict(mode="json")) for chunk in chunks]
    body = "".join(f"data: {event}\n\n" for event in [*events, "[DONE]"])
    response = http.Response(
        200,
        headers={"content-type": "text/event-stream"},
        content=body.encode(),
        request=http.Request("POST", client.base_url),
    )
    kind = openai.AsyncStream if is_async else openai.Stream
    return kind(cast_to=openai.types.chat.ChatCompletionChunk, response=response, client=client)
