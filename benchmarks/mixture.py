"""
The Mixture-of-Agents client that everybody watches: references in threads, an aggregator that streams.

It knows nothing of who watches it, and needs nothing but the SDK: it runs in the environments of
other tracers too.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from . import ready

__all__ = ["DRAFTS", "MODELS", "Mixture", "Now", "client_of", "consume"]

MODELS = ("model-a", "model-b", "model-c", "model-d")
DRAFTS = {model: f"The draft of {model}. " + "It says a thing or two. " * 80 for model in MODELS}
JUDGE = "model-e"


class Now:
    """An executor that does things at once, where threads are not what is measured."""

    map = staticmethod(map)


class _Completions:
    def __init__(self, chunks: list[Any], drafts: dict[str, str]) -> None:
        self._chunks = chunks
        self._replies = {model: ready.reply(text) for model, text in drafts.items()}

    def create(self, *, model: str, messages: Any, stream: bool = False) -> Any:
        return ready.ready_stream(self._chunks) if stream else self._replies[model]


def client_of(chunks: list[Any], drafts: dict[str, str]) -> Any:
    """Return a client of the SDK's form; each is of a class of its own, so that no other is instrumented with it."""
    kind = type("Completions", (_Completions,), {"create": _copy(_Completions.create)})
    return SimpleNamespace(chat=SimpleNamespace(completions=kind(chunks, drafts)))


def _copy(fn: Any) -> Any:
    copied = type(fn)(fn.__code__, fn.__globals__, fn.__name__, fn.__defaults__, fn.__closure__)
    copied.__kwdefaults__ = fn.__kwdefaults__
    return copied


class Mixture:
    """As the README shows it, but that its pool stays: making threads is not what is compared."""

    def __init__(self, sdk: Any, pool: Any) -> None:
        self.sdk = sdk
        self.pool = pool

    def ask(self, model: str, messages: Any) -> Any:
        """Ask one reference."""
        return self.sdk.chat.completions.create(model=model, messages=messages)

    def synthesize(self, messages: Any) -> Any:
        """Ask the aggregator."""
        return self.sdk.chat.completions.create(model=JUDGE, messages=messages, stream=True)

    def gather(self, messages: Any) -> tuple[list[Any], list[Any]]:
        """Return the references' replies, and what the aggregator is asked."""
        replies = list(self.pool.map(lambda model: self.ask(model, messages), MODELS))
        drafts = "\n\n".join(reply.choices[0].message.content for reply in replies)
        return replies, [*messages, {"role": "user", "content": f"Combine:\n\n{drafts}"}]

    def create(self, messages: Any) -> Any:
        """Return the aggregator's stream."""
        return self.synthesize(self.gather(messages)[1])


def consume(client: Any, messages: Any, count: int) -> None:
    """Run so many turns to the end of their streams."""
    for _ in range(count):
        for _ in client.create(messages):
            pass
