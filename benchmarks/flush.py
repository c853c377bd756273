"""What the end of a turn costs: its line is made and written while the consumer waits for the last `next`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from . import ready
from .contenders import ON, SEED, Contender
from .measure import Cost, cost_of, interleave, ratios, spread
from .table import Row
from .turn import DRAFTS, MODELS, client_class

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .plan import Plan

__all__ = ["rows"]

CHUNKS = 20


class Now:
    """An executor that does things at once: threads are not what is measured here."""

    map = staticmethod(map)


def flushes(plan: Plan, size: int, pairs: int) -> tuple[dict[str, list[Cost]], dict[str, list[Cost]]]:
    """Return what the last step of a turn takes whose line has so many bytes, and what the whole turn does."""
    drafts = sum(map(len, DRAFTS.values()))
    chunks, text = ready.openai_chunks(CHUNKS), ready.text_of(CHUNKS)
    each = max((size - 2 * drafts) // (len(MODELS) + 2), 1)
    # The turn's own request is in our record too; the record by hand has the references' and the aggregator's.
    asked = {ON: ready.messages(each), SEED: ready.messages(each * (len(MODELS) + 2) // (len(MODELS) + 1))}
    parts = {name: Contender(name, plan.directory) for name in (ON, SEED)}
    clients: dict[str, Any] = {name: client_class(name, part)(chunks, Now()) for name, part in parts.items()}

    def sample(name: str, *, whole: bool) -> Cost:
        parts[name].ready()
        if whole:
            cost = cost_of(lambda: list(clients[name].create(asked[name])))
        else:
            steps = iter(clients[name].create(asked[name]))
            for _ in chunks:
                next(steps)
            cost = cost_of(partial(next, steps, None))
        parts[name].check(text, list(DRAFTS.values()))
        written = parts[name].path.stat().st_size  # type: ignore[union-attr]
        assert 0.8 * size < written < 1.3 * size, (name, size, written)
        return cost

    samples = {name: partial(sample, name, whole=False) for name in parts}
    wholes = {f"{name}, whole": partial(sample, name, whole=True) for name in parts}
    found = interleave(samples | wholes, pairs)
    return {name: found[name] for name in samples}, {name: found[f"{name}, whole"] for name in samples}


def rows(plan: Plan) -> Iterator[Row]:
    """Yield what lines cost."""
    for size, limit in ((30_000, None), (500_000, 1.0), (5_000_000, None)):
        found, whole = flushes(plan, size, plan.pairs)
        what = f"flush of {size // 1000} kB"
        ours, theirs = found[ON], found[SEED]
        yield Row("flush", f"{what}, CPU", spread(one.process / 1e6 for one in ours), "ms", limit, plan.beside(found, "ms"))
        yield Row("flush", f"{what}, wall", spread(one.wall / 1e6 for one in ours), "ms", limit)
        share = ratios([one.process for one in ours], [one.process for one in theirs])
        yield Row("flush", f"{what}: to seed's writer, CPU", share, "×", 0.2)
        share = ratios([one.process for one in whole[ON]], [one.process for one in whole[SEED]])
        yield Row("flush", f"{what}, with keeping the requests: to seed's writer", share, "×", None, plan.beside(whole, "ms"))
