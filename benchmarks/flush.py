"""What the end of a turn costs: its line is made and written while the consumer waits for the last `next`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from . import ready
from .contenders import ON, SEED, Contender
from .measure import Cost, cost_of, cpu, interleave, ratios, spread
from .mixture import MODELS, Now, client_of
from .table import Row
from .turn import mixture_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .plan import Plan

__all__ = ["rows"]

CHUNKS = 20
WHOLE = "with keeping the requests"
DRAFTS = {model: f"The draft of {model}. " * 5 for model in MODELS}


def flushes(plan: Plan, size: int) -> dict[tuple[str, str], list[Cost]]:
    """Return what the last step of a turn takes whose line has so many bytes, and what the whole turn does."""
    chunks, text = ready.openai_chunks(CHUNKS), ready.text_of(CHUNKS)
    # Our record has the turn's own request beside those of the references and of the aggregator.
    requests = {ON: len(MODELS) + 2, SEED: len(MODELS) + 1}
    frame = {ON: 6500, SEED: 1500}
    asked = {name: ready.messages((size - frame[name]) // count) for name, count in requests.items()}
    parts = {name: Contender(name, plan.directory) for name in requests}
    clients: dict[str, Any] = {name: mixture_of(part)(client_of(chunks, DRAFTS), Now()) for name, part in parts.items()}

    def sample(name: str, what: str) -> Cost:
        part = parts[name]
        part.ready()
        if what == WHOLE:
            cost = cost_of(lambda: list(clients[name].create(asked[name])))
        else:
            steps = iter(clients[name].create(asked[name]))
            for _ in chunks:
                next(steps)
            cost = cost_of(partial(next, steps, None))
        part.check(text, list(DRAFTS.values()))
        assert part.path is not None
        written = part.path.stat().st_size
        assert 0.85 * size < written < 1.15 * size, f"{name}: a line of {written} bytes in place of {size}"
        return cost

    return interleave({(name, what): partial(sample, name, what) for name in parts for what in ("", WHOLE)}, plan.pairs)


def rows(plan: Plan) -> Iterator[Row]:
    """Yield what lines cost."""
    for size, limit, share in ((10_000, None, None), (500_000, 1.0, 0.2), (5_000_000, None, 0.2)):
        found = flushes(plan, size)
        ours, theirs = found[ON, ""], found[SEED, ""]
        beside = plan.beside({ON: ours, SEED: theirs}, "ms")
        whole = {name: found[name, WHOLE] for name in (ON, SEED)}
        what = f"flush of {size // 1000} kB"
        yield Row("flush", f"{what}, CPU", spread(one.process / 1e6 for one in ours), "ms", limit, beside)
        yield Row("flush", f"{what}, wall", spread(one.wall / 1e6 for one in ours), "ms", limit)
        yield Row("flush", f"{what}: to seed's writer", ratios(cpu(ours), cpu(theirs)), "×", share)
        both = ratios(cpu(whole[ON]), cpu(whole[SEED]))
        yield Row("flush", f"{what}, {WHOLE}: to seed's writer", both, "×", None, plan.beside(whole, "ms"))
