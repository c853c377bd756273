"""What the rules for secrets cost on hostile texts, and how that grows where a text is four times as long."""

from __future__ import annotations

import gc
import time

from moa_middleware._redaction.steps import TooManyStepsError

from . import hostile

GROWTH = 5
"""Of the time, where the text is four times as long."""
NOISE = 0.02
"""Seconds that a machine with other work may add."""
MOST_PER_PROSE = 100
"""Times the cost of prose, which no text may reach. A bounded look ahead for each name is linear too, and was 400."""


def cost(function, text):
    """Return the seconds of the processor that a call takes, and 0 or 1: whether it was stopped by its budget."""
    # The collector looks at all that other tests have left, and that is not the text's doing.
    gc.collect()
    gc.disable()
    began = time.process_time()
    try:
        function(text)
    except TooManyStepsError:
        return time.process_time() - began, 1
    else:
        return time.process_time() - began, 0
    finally:
        gc.enable()


def growth(function, short, long):
    """Return how much longer the long text takes, and its seconds a MB, as the best of five tries."""
    best = (float("inf"), 0.0)
    for _ in range(5):
        less, _ = cost(function, short)
        more, _ = cost(function, long)
        best = min(best, (max(0.0, more - NOISE) / max(less, 1e-6), more / len(long) * 1e6))
        if best[0] <= GROWTH:
            break
    return best


def measure(size, patterns, functions):
    """
    Measure each function on each pattern, in texts of so many letters and of four times as many.

    Returns:
        Of each text its seconds a MB, its growth, and its name; and of those that are too slow growth, function and
        pattern: they grow more than their length, or cost a hundred times what prose does.
    """
    prose = hostile.repeated("lorem ipsum dolor sit amet ", 4 * size)
    usual = {name: max(1e-3, min(cost(function, prose)[0] for _ in range(3))) for name, function in functions.items()}
    figures, wrong = [], []
    for pattern in patterns:
        short, long = hostile.repeated(pattern, size), hostile.repeated(pattern, 4 * size)
        for name, function in functions.items():
            grown, rate = growth(function, short, long)
            figures.append((rate, grown, f"{name}: {pattern}"))
            if grown > GROWTH or rate * len(long) / 1e6 > MOST_PER_PROSE * usual[name]:
                wrong.append((grown, name, pattern))
    return figures, wrong
