"""
Faults and interrupts at lines of the live wing, one a call; run as a script in a process of its own.

    python -m tests.support.faults.injected interrupt|fault EVERY SEED

It prints, for each kind of call, how many were injected, and what was not as it has to be; of faults also how many
records were lost, how many lines were doubled, and how many faults `moa.status()` counts.
Python 3.11.7 crashes under a trace function in some code with `yield` in a comprehension; only frames of the
package are traced, and each line once a call.
"""

from __future__ import annotations

import gc
import json
import logging
import random
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path

import moa_middleware as moa

WING = str(Path(moa.__file__).parent / "_capture")
TRACING = f"{WING}/tracing"
FAULTS = (RuntimeError, KeyError, OSError, TypeError, MemoryError, RecursionError)

ENTRIES = {"opened", "began", "ended", "closed", "ended_late", "_send"}
"""Functions of the tracing code with a line before their `try`."""


class Own(Exception):
    """What the program's own function raises."""


def run(coroutine):
    """Run a coroutine that awaits nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value


@moa.reference
def ask(prompt):
    return f"answer {prompt}"


@moa.reference
def fails(prompt):
    raise Own(prompt)


@moa.reference
def stream():
    yield "a"
    yield "b"


@moa.reference
async def ask_async(prompt):
    return f"answer {prompt}"


class Client:
    @moa.turn
    def create(self, prompt):
        return ask(prompt)


def block():
    with moa.turn():
        return ask("x")


def error():
    try:
        fails("x")
    except Own as raised:
        return str(raised)


client = Client()
CALLS = {
    "value": lambda: ask("x"),
    "turn": lambda: client.create("x"),
    "stream": lambda: list(stream()),
    "async": lambda: run(ask_async("x")),
    "block": block,
    "error": error,
}
BARE = {"stream": ["a", "b"], "error": "x"}


def injected(call, number, fault, package):
    """
    Make a call, and raise a fault at a line of the package.

    Returns:
        What the call returned or raised, and the line, `None` if the call has fewer.
    """
    count, hit = [0], []

    def traced(frame, event, _argument):
        name = frame.f_code.co_filename
        if not name.startswith(package):
            return None
        if event == "line" and not hit:
            count[0] += 1
            if count[0] == number:
                hit.append(f"{name.removeprefix(WING)}:{frame.f_lineno} {frame.f_code.co_name}")
                raise fault
        return traced

    sys.settrace(traced)
    try:
        result = call()
    except BaseException as raised:
        result = raised
    finally:
        sys.settrace(None)
    return result, hit[0] if hit else None


def interrupts(call, every, first):
    """Interrupt a call at each line in turn; return how many, the lines at which it was kept, those with an open turn."""
    number, count, kept, left = first, 0, [], []
    while True:
        before = moa.status().open_turns
        result, line = injected(call, number, KeyboardInterrupt, WING)
        if line is None:
            return count, kept, left
        count += 1
        # In a finaliser, and in what the collector calls, it is printed by Python and goes no further.
        if not isinstance(result, KeyboardInterrupt) and not line.endswith(("__del__", " _noticed")):
            kept.append(line)
        del result
        if moa.status().open_turns > before:
            gc.collect()
            if moa.status().open_turns > before:
                left.append(line)
        number += every


def lines_of_turns(place):
    """Return how many lines each turn has."""
    moa.flush()
    lines = (line for path in Path(place).glob("*.jsonl") for line in path.open() if line.strip())
    return Counter(json.loads(line)["turn_id"] for line in lines)


def faults(call, bare, place, *, every, first, chance):
    """
    Raise a fault at each line of the tracing code in turn.

    Returns:
        How many were raised, wrong results, lines with an open turn, records that were lost, lines that are there
        again, and faults that `moa.status()` counts. A line is there again where a fault came between its writing and
        the note of it: better twice than lost, and `verify` names it (`E103`).
    """
    number, count, wrong = first, 0, []
    before, known = lines_of_turns(place), moa.status().faults
    while True:
        result, line = injected(call, number, chance.choice(FAULTS), TRACING)
        if line is None:
            break
        count += 1
        if result != bare:
            wrong.append(f"{line}: {result!r}")
        number += every
    gc.collect()
    after = lines_of_turns(place)
    # The last call has fewer lines of code, and was not disturbed.
    lost = count + 1 - len(after.keys() - before.keys())
    doubled = sum(lines - before[turn] - (turn not in before) for turn, lines in after.items())
    left = [moa.status().open_turns] if moa.status().open_turns else []
    return count, wrong, left, lost, doubled, moa.status().faults - known


def functions(lines):
    """Return the names of the functions that lines are in."""
    return {line.partition(": ")[0].rpartition(" ")[2] for line in lines}


def main(what, every, seed):
    """Inject into each kind of call, and print what was found as JSON."""
    warnings.simplefilter("ignore")
    logging.disable()
    sys.unraisablehook = lambda _: None
    chance, every = random.Random(int(seed)), int(every)
    found = {}
    with tempfile.TemporaryDirectory() as place:
        moa.configure(save_traces=True, trace_dir=place, session_id="s")
        for call in CALLS.values():
            call()  # what it imports and caches is there
        for name, call in CALLS.items():
            first = chance.randrange(every) + 1
            if what == "interrupt":
                found[name] = interrupts(call, every, first)
            else:
                found[name] = faults(call, BARE.get(name, "answer x"), place, every=every, first=first, chance=chance)
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
