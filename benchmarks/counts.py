"""
Instructions in place of time: what Python executes for a chunk, a call and a turn, the same in each run.

    uv run --group bench python -m benchmarks.counts

Counted are bytecode instructions of all Python code, and calls of functions in Python and in C. It
says nothing of what the latter do, so it is no measure of speed; it shows at once that
something was added to a path that is run for each chunk.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from . import ready
from .contenders import BARE, HAND, OFF, ON, Contender
from .mixture import DRAFTS, Now, client_of, consume
from .turn import INFERRED, mixture_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Count", "count"]

SHORT, LONG = 50, 550
TEXT = "An answer."
REQUEST: dict[str, Any] = {"model": "m", "messages": ready.messages(1000)}


class Count(NamedTuple):
    """What was executed."""

    instructions: float
    calls: float
    """Of functions, in Python and in C."""

    def less(self, other: Count, share: float = 1) -> Count:
        """Return the share of the difference to another."""
        return Count((self.instructions - other.instructions) / share, (self.calls - other.calls) / share)


def count(run: Callable[[], object]) -> Count:
    """Run something twice and count: instructions, then calls."""
    return Count(instructions(run), calls(run))


def calls(run: Callable[[], object]) -> int:
    """Count calls of functions."""
    found = [0]

    def profile(_frame: object, event: str, _: object) -> None:
        if event in ("call", "c_call"):
            found[0] += 1

    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(None)
    return found[0]


def instructions(run: Callable[[], object]) -> int:
    """Count bytecode instructions."""
    if sys.version_info < (3, 12):
        return _traced(run)
    found = [0]

    def one(_code: object, _offset: int) -> None:
        found[0] += 1

    # Since 3.12 the events of `settrace` come late for frames that are entered for the first time.
    monitoring = sys.monitoring
    tool, event = monitoring.PROFILER_ID, monitoring.events.INSTRUCTION
    monitoring.use_tool_id(tool, __name__)
    monitoring.register_callback(tool, event, one)
    monitoring.set_events(tool, event)
    try:
        run()
    finally:
        monitoring.set_events(tool, 0)
        monitoring.free_tool_id(tool)
    return found[0]


def _traced(run: Callable[[], object]) -> int:
    found = [0]

    def trace(frame: Any, event: str, _: object) -> Any:
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        if event == "opcode":
            found[0] += 1
        return trace

    sys.settrace(trace)
    try:
        run()
    finally:
        sys.settrace(None)
    return found[0]


def of_chunk(part: Contender) -> Count:
    """Count what one chunk takes, beyond what its call does."""
    found = {}
    for number in (SHORT, LONG):
        create = part.creates(partial(ready.ready_stream, ready.openai_chunks(number)))

        def run(create: Any = create) -> None:
            for _ in create(stream=True, **REQUEST):
                pass

        found[number] = _settled(part, run)
        part.check(ready.text_of(number))
    return found[LONG].less(found[SHORT], LONG - SHORT)


def of_call(part: Contender) -> Count:
    """Count what one call takes that is answered in one piece."""
    reply = ready.reply(TEXT)
    create = part.creates(lambda: reply)
    found = _settled(part, lambda: create(**REQUEST))
    part.check(TEXT)
    return found


def of_turn(part: Contender) -> Count:
    """Count what one turn takes, its references one after the other."""
    client = mixture_of(part)(client_of(ready.openai_chunks(SHORT), DRAFTS), Now())
    found = _settled(part, lambda: consume(client, REQUEST["messages"], 1))
    part.check(ready.text_of(SHORT), list(DRAFTS.values()))
    return found


def _settled(part: Contender, run: Callable[[], object]) -> Count:
    """Count a later run: the first ones fill caches."""
    part.ready()
    for _ in range(3):
        run()
    return count(run)


def main() -> None:
    for name in [name for name in os.environ if name.startswith("MOA_")]:
        del os.environ[name]
    with tempfile.TemporaryDirectory(prefix="moa-counts-") as directory:
        os.environ["MOA_TRACE_DIR"] = str(Path(directory, "moa"))
        found = {
            what: {name: fn(Contender(name, Path(directory))) for name in names}
            for what, fn, names in (
                ("chunk", of_chunk, (BARE, HAND, OFF, ON)),
                ("call", of_call, (BARE, HAND, OFF, ON)),
                ("turn", of_turn, (BARE, HAND, OFF, ON, INFERRED)),
            )
        }
    told = {what: {name: one._asdict() for name, one in them.items()} for what, them in found.items()}
    print(json.dumps(told, indent=1))


if __name__ == "__main__":
    main()
