"""A whole MoA turn: references in threads, and an aggregator whose reply is streamed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import moa_middleware as moa

from . import ready
from .captures import SameFields, Seed, TextOnly
from .contenders import BARE, HAND, MIDDLEWARE, OFF, ON, SAME, SEED, Contender
from .measure import Cost, cost_of, interleave, ratios
from .table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .plan import Plan

__all__ = ["rows"]

MODELS = ("model-a", "model-b", "model-c", "model-d")
CHUNKS = 500
DRAFTS = {model: f"The draft of {model}. " + "It says a thing or two. " * 80 for model in MODELS}


class Mixture:
    """A client as the README shows it, over ready-made replies."""

    def __init__(self, chunks: list[Any], pool: Any) -> None:
        self.replies = {model: ready.reply(text) for model, text in DRAFTS.items()}
        self.chunks = chunks
        self.pool = pool

    def ask(self, model: str, messages: Any) -> Any:
        return self.replies[model]

    def synthesize(self, messages: Any) -> Any:
        return ready.ready_stream(self.chunks)

    def create(self, messages: Any) -> Any:
        replies = list(self.pool.map(lambda model: self.ask(model, messages), MODELS))
        drafts = "\n\n".join(reply.choices[0].message.content for reply in replies)
        return self.synthesize([*messages, {"role": "user", "content": f"Combine:\n\n{drafts}"}])


def traced(stack: Any) -> Any:
    """Return the same client with the decorators of a stack."""

    @stack.client
    class Traced(Mixture):
        @stack.reference
        def ask(self, model: str, messages: Any) -> Any:
            return self.replies[model]

        @stack.aggregator
        def synthesize(self, messages: Any) -> Any:
            return ready.ready_stream(self.chunks)

        def create(self, messages: Any) -> Any:
            return super().create(messages)

    return Traced


def by_hand(kind: type[TextOnly], path: Path) -> Any:
    """Return the same client that writes its turn itself."""
    capture = kind(path)

    class Written(Mixture):
        def create(self, messages: Any) -> Any:
            replies = list(self.pool.map(lambda model: self.ask(model, messages), MODELS))
            drafts = "\n\n".join(reply.choices[0].message.content for reply in replies)
            final = [*messages, {"role": "user", "content": f"Combine:\n\n{drafts}"}]
            references = [
                {"model": model, "input_messages": messages, **capture.read(reply)}
                for model, reply in zip(MODELS, replies, strict=True)
            ]
            return capture.stream({"references": references, "input_messages": final}, self.synthesize(final))

    return Written


def client_class(name: str, part: Contender) -> Any:
    """Return the client of one contender."""
    kinds = {HAND: TextOnly, SAME: SameFields, SEED: Seed}
    if name in kinds and part.path is not None:
        return by_hand(kinds[name], part.path)
    return Mixture if name == BARE else traced(part.stack)


def consume(client: Any, messages: Any, count: int) -> None:
    for _ in range(count):
        for _ in client.create(messages):
            pass


def turns(plan: Plan, size: int, names: tuple[str, ...], *, count: int = 10) -> dict[str, list[Cost]]:
    """Return what one turn takes, by contender and round."""
    parts = {name: Contender(name, plan.directory) for name in names}
    chunks, text = ready.openai_chunks(CHUNKS), ready.text_of(CHUNKS)
    messages = ready.messages(size)
    with ThreadPoolExecutor(len(MODELS)) as pool:
        clients = {name: client_class(name, part)(chunks, pool) for name, part in parts.items()}

        def sample(name: str) -> Cost:
            parts[name].ready()
            cost = cost_of(partial(consume, clients[name], messages, count)).per(count)
            parts[name].check(text, list(DRAFTS.values()))
            return cost

        return interleave({name: partial(sample, name) for name in names}, plan.pairs)


def cpu(costs: list[Cost]) -> list[float]:
    return [one.process for one in costs]


def rows(plan: Plan) -> Iterator[Row]:
    """Yield what turns cost."""
    names = (BARE, HAND, SAME, SEED, OFF, ON, MIDDLEWARE)
    for size, limit in ((8000, 1.25), (1000, None), (60_000, None)):
        found = turns(plan, size, names)
        what = f"MoA turn, {size // 1000} kB prompt"
        yield Row("turn", f"{what}: to by hand, text only", ratios(cpu(found[ON]), cpu(found[HAND])), "×", limit, plan.beside(found))
        yield Row("turn", f"{what}: to seed's writer", ratios(cpu(found[ON]), cpu(found[SEED])), "×")
        yield Row("turn", f"{what}: to by hand, same fields", ratios(cpu(found[ON]), cpu(found[SAME])), "×")
