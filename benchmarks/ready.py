"""
Ready-made requests, replies and chunks, so that what is measured is not the SDK's own parsing.

The replies are the SDK's own classes, and so are the streams: only their source is a list. A few
chunks are used over and over, as warm in the cache as a chunk that has just been parsed.
"""

from __future__ import annotations

import json
from itertools import cycle, islice
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from openai import AsyncStream, Stream
from openai.types.chat import ChatCompletion, ChatCompletionChunk

try:
    import httpx2 as httpx
except ImportError:
    import httpx

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "OwnStream",
    "Ready",
    "ReadyAsync",
    "events",
    "httpx",
    "messages",
    "one_chunk",
    "openai_chunks",
    "plain_chunks",
    "ready_async_stream",
    "ready_stream",
    "reply",
    "text_of",
]

WORDS = [f"word{number:02d} " for number in range(62)]
USAGE = {"prompt_tokens": 120, "completion_tokens": 60, "total_tokens": 180}


def text_of(count: int) -> str:
    """Return the text that a stream of so many chunks carries; its first and its last two have none."""
    return "".join(islice(cycle(WORDS), count - 3))


def _body(delta: dict[str, Any] | None, finish: str | None = None, usage: Any = None) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}]
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m-1",
        "system_fingerprint": "fp",
        "choices": choices,
        "usage": usage,
    }


def _in_a_row(kind: Any, count: int) -> list[Any]:
    first = kind(_body({"role": "assistant", "content": ""}))
    middle = [kind(_body({"content": word})) for word in WORDS]
    last = [kind(_body({}, "stop")), kind(_body(None, usage=USAGE))]
    return [first, *islice(cycle(middle), count - 3), *last]


def openai_chunks(count: int) -> list[Any]:
    """Return the chunks of a stream, as the SDK makes them."""
    return _in_a_row(_constructed, count)


def _constructed(body: dict[str, Any]) -> Any:
    return ChatCompletionChunk.construct(**body)


def one_chunk(text: str) -> Any:
    """Return a chunk that nobody else holds."""
    return _constructed(_body({"content": text}))


def events(count: int) -> bytes:
    """Return the body of a stream of so many chunks, as a server sends it."""
    lines = [f"data: {json.dumps(body)}\n\n" for body in _in_a_row(dict, count)]
    return "".join([*lines, "data: [DONE]\n\n"]).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return SimpleNamespace(**{"content": None} | {key: _plain(one) for key, one in value.items()})
    return [_plain(one) for one in value] if isinstance(value, list) else value


def plain_chunks(count: int) -> list[Any]:
    """Return the chunks of a stream, as plain objects of the same form."""
    return _in_a_row(_plain, count)


def ready_stream(chunks: Iterable[Any]) -> Any:
    """Return the SDK's stream over chunks that are there."""
    stream: Any = Stream.__new__(Stream)
    stream.response = httpx.Response(200)
    stream._iterator = iter(chunks)
    return stream


async def _each(chunks: list[Any]) -> Any:
    for chunk in chunks:
        yield chunk


def ready_async_stream(chunks: list[Any]) -> Any:
    """Return the SDK's async stream over chunks that are there."""
    stream: Any = AsyncStream.__new__(AsyncStream)
    stream.response = httpx.Response(200)
    stream._iterator = _each(chunks)
    return stream


class OwnStream:
    """A stream of a class that is no SDK's: it may make calls of its own while it is read."""

    def __init__(self, chunks: list[Any]) -> None:
        self._iterator = iter(chunks)

    def __iter__(self) -> Any:
        yield from self._iterator

    def __next__(self) -> Any:
        return next(self._iterator)


def reply(text: str) -> Any:
    """Return a whole reply, as the SDK makes it."""
    return ChatCompletion.construct(
        id="chatcmpl-1",
        object="chat.completion",
        created=1,
        model="m-1",
        choices=[{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        usage=USAGE,
    )


TALK = """All models see this sentence; "some" answer it, in 2 or 3 lines:
* `f(x)` is "y" where x > 0 — the café’s price, 3 €
"""
"""What prompts and answers are made of: quotes, line breaks, Markdown, and a sign beyond ASCII now and then."""


def messages(size: int, *, each: int = 2000) -> list[dict[str, str]]:
    """Return messages of so many bytes in all, of `each` bytes at most."""
    text = TALK * (each // len(TALK) + 1)
    text = text[:each]
    count, rest = divmod(size, len(text.encode()))
    texts = [text] * count + ([text[:rest]] if rest else [])
    return [{"role": "user" if n % 2 == 0 else "assistant", "content": one} for n, one in enumerate(texts)]


class Ready:
    """
    A client of the SDK's form whose replies are there; each is of a class of its own.

    Args:
        answer: Called for each request; returns the reply or the stream.
    """

    def __init__(self, answer: Any) -> None:
        class Completions:
            def create(
                self, *, model: str, messages: Any, stream: bool = False, temperature: float | None = None
            ) -> Any:
                return answer()

        self.chat = SimpleNamespace(completions=Completions())


class ReadyAsync:
    """The same, to be awaited."""

    def __init__(self, answer: Any) -> None:
        class Completions:
            async def create(
                self, *, model: str, messages: Any, stream: bool = False, temperature: float | None = None
            ) -> Any:
                return answer()

        self.chat = SimpleNamespace(completions=Completions())
