"""
How often roles and layers are inferred right: programs with a known truth, run through the library.

    uv run python -m benchmarks.roles

Each program runs as a turn's function and inside a block, and the lines that were written are compared
with what its calls are. It exits with 1 if a call is wrong, or if less than 93 % are right.
"""

from __future__ import annotations

import argparse
import sys

from tests.support.flows import chance, runner

__all__ = ["main"]

FEWEST = 0.93
"""Share of the calls that have to be right."""


def main() -> int:
    """Print the rates of the corpus and of programs drawn by chance."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.roles", description=__doc__.splitlines()[1])
    parser.add_argument("--only", default="", help="programs whose name contains this")
    parser.add_argument("--chance", type=int, default=500, help="programs drawn by chance (default: 500)")
    parser.add_argument("--first", type=int, default=0, help="number of the first of them (default: 0)")
    parser.add_argument("-v", "--verbose", action="store_true", help="name each call that is not right")
    options = parser.parse_args()
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
