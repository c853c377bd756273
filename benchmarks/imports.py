"""
What importing costs: CPU time inside fresh processes, taken in turns.

Modules are compiled once, before anything is measured, as they are for every user.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from functools import partial
from typing import TYPE_CHECKING

from .measure import Cost, interleave, ratios, spread
from .table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .plan import Plan

__all__ = ["compared", "rows"]

TRACED = """
import moa_middleware
moa_middleware.configure(save_traces=True)
moa_middleware.instrument(client)
with moa_middleware.turn():
    pass
"""
CODE = """{before}
import time
began = time.process_time_ns()
{code}
print(time.process_time_ns() - began)
"""


def seconds_of(code: str, cache: str, before: str = "", python: str = sys.executable) -> Cost:
    """Return the CPU time of a piece of code in a process of its own, whose bytecode is kept in `cache`."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(  # noqa: S603  # this interpreter
        [python, "-c", CODE.format(before=before, code=code)],
        capture_output=True,
        text=True,
        check=True,
        env={**env, "PYTHONPYCACHEPREFIX": cache},
    )
    taken = int(done.stdout)
    return Cost(taken, taken, taken)


def compared(
    plan: Plan, codes: dict[str, str], before: str = "", python: str = sys.executable
) -> dict[str, list[Cost]]:
    """Return what pieces of code take, by name."""
    with tempfile.TemporaryDirectory() as cache:
        for code in codes.values():
            seconds_of(code, cache, before, python)
        samples = {name: partial(seconds_of, code, cache, before, python) for name, code in codes.items()}
        return interleave(samples, plan.pairs)


def rows(plan: Plan) -> Iterator[Row]:
    """Yield what imports cost."""
    codes = {"import wrapt": "import wrapt", "import moa_middleware": "import moa_middleware"}
    found = compared(plan, codes)
    ours, theirs = ([one.process for one in found[name]] for name in ("import moa_middleware", "import wrapt"))
    yield Row(
        "imports", "import moa_middleware: to import wrapt", ratios(ours, theirs), "×", 1.3, plan.beside(found, "ms")
    )
    before = "import openai; client = openai.OpenAI(api_key='k')"
    codes = {"import": "import moa_middleware", "import, configure, instrument, a first turn": TRACED}
    found = compared(plan, codes, before)
    for name, costs in found.items():
        yield Row("imports", f"beside openai: {name}", spread(one.process / 1e6 for one in costs), "ms", 60)
