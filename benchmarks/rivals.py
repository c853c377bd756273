"""
Other tracers, the newest of each, in environments of their own that are made for the purpose.

Each runs in its own process, since it patches the SDK; the processes run in turns. They export to
files. Nothing is sent anywhere, but the packages are installed from the index that uv is set up with.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import openai

from .footprint import closure
from .imports import compared
from .measure import Cost, cpu, interleave, ratios, spread
from .rival_worker import NAMES
from .table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .plan import Plan

__all__ = ["rows"]

ROOT = Path(__file__).parent.parent
PACKAGES = {"langfuse": ("langfuse",), "openinference": ("openinference-instrumentation-openai", "opentelemetry-sdk")}
IMPORTS = {
    "langfuse": "import langfuse, langfuse.openai",
    "openinference": "import openinference.instrumentation.openai, opentelemetry.sdk.trace.export",
}
LISTED = """
import json
from importlib.metadata import distributions
found = {}
for one in distributions():
    files = [one.locate_file(file) for file in one.files or () if file.suffix != ".pyc"]
    found[one.metadata["Name"].lower().replace("_", "-")] = sum(f.stat().st_size for f in files if f.is_file())
print(json.dumps(found))
"""


def environment(plan: Plan, name: str) -> str:
    """Install a rival, with the SDK as it is here; returns its interpreter."""
    place = plan.directory / f"env-{name}"
    python = place / "bin" / "python"
    commands = (
        ["uv", "venv", "--quiet", "--python", sys.executable, str(place)],
        ["uv", "pip", "install", "--quiet", "--python", str(python), f"openai=={openai.__version__}", *PACKAGES[name]],
    )
    for command in commands:
        subprocess.run(command, check=True)  # noqa: S603  # uv
    return str(python)


class Process:
    """A worker that waits for orders."""

    def __init__(self, plan: Plan, name: str, python: str) -> None:
        command = [python, "-m", "benchmarks.rival_worker", name, str(plan.directory)]
        self.process = subprocess.Popen(  # noqa: S603  # our own module
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ}
        )
        self.version = self.read()
        self.name = f"{name} {self.version}"

    def read(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            msg = f"the process of {self.process.args!r} is gone"
            raise RuntimeError(msg)
        return json.loads(line)

    def ask(self, order: str) -> Cost:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{order}\n")
        self.process.stdin.flush()
        return Cost(*self.read())

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def beyond(found: dict[str, list[Cost]], name: str, bare: str) -> list[float]:
    """Return what one takes beyond the SDK's own, round by round."""
    return [one - other for one, other in zip(cpu(found[name]), cpu(found[bare]), strict=True)]


def rows(plan: Plan) -> Iterator[Row]:
    """Yield how other tracers compare."""
    pythons = {name: environment(plan, name) for name in PACKAGES}
    workers = [Process(plan, name, pythons.get(name, sys.executable)) for name in NAMES]
    try:
        bare, ours, *rivals = [worker.name for worker in workers]
        orders = (
            ("chunks", "OpenAI chunk, for", 0.4, "ns"),
            ("turn", "MoA turn, prompt of 8 kB", 0.25, "µs"),
            ("call", "call, not streamed", None, "µs"),
        )
        for order, what, limit, unit in orders:
            found = interleave({worker.name: partial(worker.ask, order) for worker in workers}, plan.pairs)
            added = {name: beyond(found, name, bare) for name in (ours, *rivals)}
            best = min(rivals, key=lambda name: median(added[name]))
            told = plan.beside(found, unit)
            yield Row("rivals", f"{what}, added: to {best}", ratios(added[ours], added[best]), "×", limit, told)
            for other in rivals:
                if other != best:
                    yield Row("rivals", f"{what}, added: to {other}", ratios(added[ours], added[other]), "×")
    finally:
        for worker in workers:
            worker.close()
    theirs = closure("openai")
    for name, python in pythons.items():
        done = subprocess.run([python, "-c", LISTED], capture_output=True, text=True, check=True)  # noqa: S603
        sizes = {one: size for one, size in json.loads(done.stdout).items() if one not in theirs}
        costs = compared(plan, {name: IMPORTS[name]}, "import openai", python)[name]
        told = f"{len(sizes)} packages beside openai, {sum(sizes.values()) / 1e6:.1f} MB"
        yield Row("rivals", f"import {name}, CPU", spread(one / 1e6 for one in cpu(costs)), "ms", None, told)
