"""A whole MoA turn: references in threads, and an aggregator whose reply is streamed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any

import moa_middleware as moa

from . import ready
from .contenders import BARE, HAND, MIDDLEWARE, OFF, ON, SAME, SEED, Contender
from .measure import Cost, cost_of, cpu, interleave, ratios
from .mixture import DRAFTS, MODELS, Mixture, client_of, consume
from .table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .captures import TextOnly
    from .plan import Plan

__all__ = ["mixture_of", "rows"]

CHUNKS = 500
INFERRED = "moa, on, roles inferred"


def decorated(stack: Any) -> Any:
    """Return the client with the decorators of a stack."""

    @stack.client
    class Decorated(Mixture):
        @stack.reference
        def ask(self, model: str, messages: Any) -> Any:
            return super().ask(model, messages)

        @stack.aggregator
        def synthesize(self, messages: Any) -> Any:
            return super().synthesize(messages)

        def create(self, messages: Any) -> Any:
            return super().create(messages)

    return Decorated


class Inferred(Mixture):
    """The client as it is, over an instrumented SDK: the roles of its calls are found by data flow."""

    def __init__(self, sdk: Any, pool: Any) -> None:
        super().__init__(moa.instrument(sdk), pool)

    @moa.turn
    def create(self, messages: Any) -> Any:
        return super().create(messages)


def by_hand(capture: TextOnly) -> Any:
    """Return a client that writes its turns itself."""

    class Written(Mixture):
        def create(self, messages: Any) -> Any:
            replies, final = self.gather(messages)
            references = [
                {"model": model, "input_messages": messages, **capture.read(reply)}
                for model, reply in zip(MODELS, replies, strict=True)
            ]
            return capture.stream({"references": references, "input_messages": final}, self.synthesize(final))

    return Written


def mixture_of(part: Contender) -> Any:
    """Return the class of one contender's client."""
    if part.capture is not None:
        return by_hand(part.capture)
    if part.name == INFERRED:
        return Inferred
    return Mixture if part.stack is None else decorated(part.stack)


def turns(plan: Plan, size: int, names: tuple[str, ...], *, count: int = 10) -> dict[str, list[Cost]]:
    """Return what one turn takes, by contender and round."""
    parts = {name: Contender(name, plan.directory) for name in names}
    chunks, text = ready.openai_chunks(CHUNKS), ready.text_of(CHUNKS)
    messages = ready.messages(size)
    with ThreadPoolExecutor(len(MODELS)) as pool:
        clients = {name: mixture_of(part)(client_of(chunks, DRAFTS), pool) for name, part in parts.items()}

        def sample(name: str) -> Cost:
            parts[name].ready()
            cost = cost_of(partial(consume, clients[name], messages, count)).per(count)
            parts[name].check(text, list(DRAFTS.values()))
            return cost

        return interleave({name: partial(sample, name) for name in names}, plan.pairs)


def rows(plan: Plan) -> Iterator[Row]:
    """Yield what turns cost."""
    names = (BARE, HAND, SAME, SEED, OFF, ON, MIDDLEWARE, INFERRED)
    for size, limit in ((8000, 1.25), (1000, None), (60_000, None)):
        found = turns(plan, size, names)
        ours, hand = cpu(found[ON]), cpu(found[HAND])
        what = f"MoA turn, prompt of {size // 1000} kB"
        yield Row("turn", f"{what}: to by hand, text only", ratios(ours, hand), "×", limit, plan.beside(found))
        yield Row(
            "turn", f"{what}, roles inferred: to by hand, text only", ratios(cpu(found[INFERRED]), hand), "×", limit
        )
        yield Row("turn", f"{what}: to by hand, same fields", ratios(ours, cpu(found[SAME])), "×")
        yield Row("turn", f"{what}: to seed's writer", ratios(ours, cpu(found[SEED])), "×")
