"""What is installed beside `openai`, counted from what this environment knows of its distributions."""

from __future__ import annotations

import sys
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING

from packaging.requirements import Requirement

import moa_middleware

from .table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .plan import Plan

__all__ = ["closure", "rows", "size_of"]


def closure(name: str, found: dict[str, Distribution] | None = None) -> dict[str, Distribution]:
    """Return a distribution and all that it requires, without extras."""
    found = {} if found is None else found
    try:
        one = distribution(name)
    except PackageNotFoundError:
        return found
    key = one.metadata["Name"].lower().replace("_", "-")
    if key in found:
        return found
    found[key] = one
    for text in one.requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            closure(requirement.name, found)
    return found


def size_of(one: Distribution) -> int:
    """Return the bytes of its files, without bytecode."""
    if one.metadata["Name"] == "moa-middleware":  # which is installed as a link to its sources
        paths = Path(moa_middleware.__file__).parent.rglob("*")
        return sum(path.stat().st_size for path in paths if path.is_file() and path.suffix != ".pyc")
    paths = [Path(str(one.locate_file(file))) for file in one.files or () if file.suffix != ".pyc"]
    return sum(path.stat().st_size for path in paths if path.is_file())


def rows(plan: Plan) -> Iterator[Row]:
    """Yield what is installed."""
    theirs = closure("openai")
    ours = {name: one for name, one in closure("moa-middleware").items() if name not in theirs}
    sizes = {name: size_of(one) for name, one in ours.items()}
    note = ", ".join(f"{name} {size / 1e6:.2g} MB" for name, size in sorted(sizes.items()))
    where = f"Python {sys.version_info[0]}.{sys.version_info[1]}"
    yield Row("footprint", "packages beside openai", plan.exactly(len(ours)), "", 6, f"itself included; {where}")
    yield Row("footprint", "packages beside openai, size", plan.exactly(sum(sizes.values()) / 1e6), "MB", 3, note)
