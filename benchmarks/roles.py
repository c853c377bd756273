"""
How often roles and layers are inferred right: programs with a known truth, run through the library.

    uv run python -m benchmarks.roles

Each program runs as a turn's function and inside a block, and the lines that were written are compared
with what its calls are. It exits with 1 if a call is wrong, or if less than 93 % are right. With `--cost`
it prints what inference alone takes.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from functools import partial
from random import Random

from moa_middleware._capture.tracing.encode import encode
from moa_middleware._capture.turns.evidence import Node
from moa_middleware._capture.turns.roles import infer
from tests.support.flows import chance, runner

__all__ = ["main"]

FEWEST = 0.93
"""Share of the calls that have to be right."""


QUESTION, ANSWER = 8000, 1500
"""Characters of a prompt and of an answer whose cost is measured."""
WORDS = "boat crane harbour storm winter insurer keeper mast hull tide ferry market carpenter painter railway".split()  # noqa: SIM905


def _text(size, seed):
    random = Random(seed)  # noqa: S311 - the same text in each run
    words = " ".join(f"{random.choice(WORDS)}{random.randrange(100)}" for _ in range(size // 4))
    return words[:size].replace(" boat", "\nBoat").strip()


def _asked(*texts):
    return bytes(encode([{"role": "user", "content": text} for text in texts]))


def _nodes(layers, width, change):
    """Return the calls of a turn: layers of references with one prompt, and an aggregator."""
    question, texts, made = _text(QUESTION, 0), [], []
    for layer in range(layers):
        prompt = _asked(question, *map(change, texts))
        texts = [_text(ANSWER, f"{layer}/{place}") for place in range(width)]
        made += [(prompt, text, layer) for text in texts]
    made.append((_asked(question, *map(change, texts)), _text(ANSWER, "last"), layers))
    return [partial(Node, asked, text, 20 * at, 20 * at + 10, False, False, None, None) for asked, text, at in made]


def print_costs(rounds=2000):
    """Print the median time of `infer`, in microseconds."""
    cases = {
        "4 references": (1, 4, str),
        "3 layers of 4": (3, 4, str),
        "4 references, quoted line by line": (1, 4, lambda text: text.replace("\n", "\n> ")),
        "4 references, in other letters": (1, 4, str.swapcase),
    }
    for what, (layers, width, change) in cases.items():
        makers, took = _nodes(layers, width, change), []
        for _ in range(rounds):
            nodes = [make() for make in makers]
            began = time.perf_counter_ns()
            infer(nodes, lambda text: encode(text)[1:-1])
            took.append(time.perf_counter_ns() - began)
        print(f"{what:34} {statistics.median(took) / 1e3:6.0f} µs")


def main() -> int:
    """Print the rates of the corpus and of programs drawn by chance."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.roles", description=(__doc__ or "").splitlines()[1])
    parser.add_argument("--only", default="", help="programs whose name contains this")
    parser.add_argument("--chance", type=int, default=500, help="programs drawn by chance (default: 500)")
    parser.add_argument("--first", type=int, default=0, help="number of the first of them (default: 0)")
    parser.add_argument("-v", "--verbose", action="store_true", help="name each call that is not right")
    parser.add_argument("--cost", action="store_true", help="print what inference takes, and nothing else")
    options = parser.parse_args()
    if options.cost:
        print_costs()
        return 0
    known = [flow for name, flow in runner.load().items() if options.only in name]
    drawn = [chance.flow(number) for number in range(options.first, options.first + options.chance)]
    is_met = True
    for what, flows in (("corpus", known), ("by chance", drawn)):
        if not flows:
            continue
        verdicts = runner.judge(flows)
        rates = runner.rates(verdicts)
        share = rates["right"] / len(verdicts)
        unmarked = sum(one.said == "C" and not one.known and one.rate == "right" for one in verdicts)
        ways = len({(one.flow, one.way) for one in verdicts})
        print(
            f"{what:10} {len(flows)} programs, {ways} runs, {len(verdicts)} calls: {rates['right']} right ({share:.1%}), "
            f"{rates['unknown']} unknown, {rates['wrong']} wrong; {unmarked} of the right are calls marked unknown"
        )
        is_met = is_met and not rates["wrong"] and share >= FEWEST
        for one in verdicts:
            if one.rate == "wrong" or (options.verbose and one.rate != "right"):
                said = one.said if one.known else f"{one.said}?"
                print(f"  {one.rate:8} {one.flow} {one.way} call {one.call}: {one.truth}, recorded {said}")
    return 0 if is_met else 1


if __name__ == "__main__":
    sys.exit(main())
