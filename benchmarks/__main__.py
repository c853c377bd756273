"""
What the library costs, beside captures by hand and beside other tracers.

    uv run --group bench python -m benchmarks

It exits with 1 if a limit is not met.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from .measure import FEWEST
from .plan import Plan
from .table import Row, as_json, as_markdown, as_text, write_markdown

PARTS = ("chunks", "generators", "calls", "roads", "turn", "flush", "memory", "growth", "sdk", "imports", "footprint")
RIVALS = "rivals"
RESULTS = Path(__file__).with_name("RESULTS.md")


def about(pairs: int) -> list[str]:
    """Return what the figures rest on."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("moa-middleware", "openai", "pydantic-core", "wrapt"))
    few = "" if pairs >= FEWEST else f", too few to be quoted: {FEWEST} are the least"
    day, load = time.strftime("%Y-%m-%d", time.gmtime()), os.getloadavg()[0]
    return [
        f"{day}, {platform.system()} {platform.machine()}, {os.cpu_count()} cores, load {load:.1f} at the end",
        f"Python {platform.python_version()}, {versions}",
        f"{pairs} interleaved pairs{few}",
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", action="append", choices=(*PARTS, RIVALS), help="this part; may be given several times"
    )
    parser.add_argument("--pairs", type=int, default=41, help="interleaved rounds (default: 41)")
    parser.add_argument("--quick", action="store_true", help="few rounds, small sizes: a look, no result")
    parser.add_argument("--rivals", action="store_true", help="other tracers too; installs them in a temporary place")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too")
    parser.add_argument("--markdown", action="store_true", help="write the tables into benchmarks/RESULTS.md")
    options = parser.parse_args()
    for name in [name for name in os.environ if name.startswith("MOA_")]:
        del os.environ[name]
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="moa-bench-") as directory:
        os.environ["MOA_TRACE_DIR"] = str(Path(directory, "moa"))
        plan = Plan(Path(directory), 7 if options.quick else options.pairs, quick=options.quick)
        names = list(options.only or PARTS)
        if options.rivals and RIVALS not in names:
            names.append(RIVALS)
        for name in names:
            began = time.monotonic()
            for row in importlib.import_module(f".{name}", __package__).rows(plan):
                rows.append(row)
                print(".", end="", file=sys.stderr, flush=True)
            print(f" {name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    told = about(plan.pairs)
    if options.markdown:
        write_markdown(RESULTS, as_markdown(rows, told))
    else:
        print("\n".join([*told, "", as_text(rows)]))
    if options.json:
        options.json.write_text(as_json(rows, {"about": told, "pairs": plan.pairs}) + "\n")
    return int(any(row.met is False for row in rows))


if __name__ == "__main__":
    sys.exit(main())
