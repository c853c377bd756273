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

TRACED = "import moa_middleware; moa_middleware.configure(save_traces=True); moa_middleware.instrument(client)"
CODE = """{before}
import time
began = time.process_time_ns()
{code}
print(time.process_time_ns() - began)
"""


def seconds_of(code: str, before: str = "") -> Cost:
    """Return the CPU time of a piece of code in a process of its own."""
    done = subprocess.run(  # noqa: S603  # this interpreter
        [sys.executable, "-c", CODE.format(before=before, code=code)], capture_output=True, text=True, check=True
    )
    taken = int(done.stdout)
    return Cost(taken, taken, taken)


def rows(plan: Plan) -> Iterator[Row]:
    """Yield what imports cost."""
    codes = {"import wrapt": "import wrapt", "import moa_middleware": "import moa_middleware"}
    found = interleave({name: partial(seconds_of, code) for name, code in codes.items()}, plan.pairs)
    ours, theirs = ([one.process for one in found[name]] for name in ("import moa_middleware", "import wrapt"))
    yield Row("imports", "import moa_middleware: to import wrapt", ratios(ours, theirs), "×", 1.3, plan.beside(found, "ms"))
    before = "import openai\nclient = openai.OpenAI(api_key='k')"
    found = interleave({"beside openai": partial(seconds_of, TRACED, before)}, plan.pairs)
    taken = spread(one.process / 1e6 for one in found["beside openai"])
    yield Row("imports", "beside openai: import, configure and instrument, CPU", taken, "ms", 60)
