"""What importing costs: CPU time inside fresh processes, taken in turns."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

from .measure import Cost, interleave, ratios, spread
from .table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .plan import Plan

__all__ = ["rows"]

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


def seconds_of(code: str, before: str = "", python: str = sys.executable) -> Cost:
    """Return the CPU time of a piece of code in a process of its own."""
    done = subprocess.run(  # noqa: S603  # this interpreter
        [python, "-c", CODE.format(before=before, code=code)], capture_output=True, text=True, check=True
    )
    taken = int(done.stdout)
    return Cost(taken, taken, taken)


def rows(plan: Plan) -> Iterator[Row]:
    """Yield what imports cost."""
    codes = {"import wrapt": "import wrapt", "import moa_middleware": "import moa_middleware"}
    found = interleave({name: partial(seconds_of, code) for name, code in codes.items()}, plan.pairs)
    ours, theirs = ([one.process for one in found[name]] for name in ("import moa_middleware", "import wrapt"))
    yield Row(
        "imports", "import moa_middleware: to import wrapt", ratios(ours, theirs), "×", 1.3, plan.beside(found, "ms")
    )
    before = "import openai; client = openai.OpenAI(api_key='k')"
    codes = {"import": "import moa_middleware", "import, configure, instrument, a first turn": TRACED}
    found = interleave({name: partial(seconds_of, code, before) for name, code in codes.items()}, plan.pairs)
    for name, costs in found.items():
        yield Row("imports", f"beside openai: {name}", spread(one.process / 1e6 for one in costs), "ms", 60)
