"""
The figures of the house: names, floors, circles, import chains, long files, doubled names, comments and code lines.

    uv run python -m benchmarks.house

The order of the floors is declared in `ARCHITECTURE.md`, in a block labelled `floors`:

    1 errors records
    2 settings
    3 _capture
      _capture/1 process ids
      _capture/2 flow
        _capture/flow/1 model

A line is a floor, of the package or of a folder of it, and the names on it; the indentation is free.
A module imports only from lower floors of the folder that it shares with what it imports, imports
for type checkers included. `tests/house/test_house.py` asserts it.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections import defaultdict
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path
from typing import NamedTuple

__all__ = ["PACKAGE", "ROOT", "Import", "circles", "declared_order", "imports_of", "modules", "place"]

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "moa_middleware"
NAME = PACKAGE.name
LONGEST = 400
_DUNDER = frozenset({"__init__", "__main__", "__pycache__", "_version", "py.typed"})
_NOT_LIVE = frozenset({"__init__", "__main__", "_version", "errors", "records", "settings"})
_LIVE_FOLDERS = frozenset({"_capture", "shapes", "tracing"})
_FLOOR = re.compile(r"(?:(?P<folder>[\w/]+)/)?(?P<number>\d+)\s+(?P<names>\S.*)")


class Import(NamedTuple):
    """One import of a module of the package."""

    importer: str
    imported: str
    typing_only: bool
    """True if it stands below `if TYPE_CHECKING:`."""


@cache
def modules() -> dict[str, Path]:
    """Return the file of each module by its dotted name; a folder's `__init__` has the folder's, the package's ""."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def imports_of(name: str) -> tuple[Import, ...]:
    """Return what a module imports from the package, at its top, in functions and for type checkers."""
    path = modules()[name]
    tree = _tree(path)
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for body in node.body
        for inner in ast.walk(body)
    }
    folder = (NAME, *path.relative_to(PACKAGE).parts[:-1])
    found: dict[str, bool] = {}
    for node in ast.walk(tree):
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = folder[: len(folder) - node.level + 1] if node.level else ()
            where = ".".join([*base, *([node.module] if node.module else [])])
            targets = [f"{where}.{alias.name}" for alias in node.names]
        for target in targets:
            module = _module_of(target)
            if module is not None and module != name:
                found[module] = found.get(module, True) and id(node) in typing_only
    return tuple(Import(name, module, only) for module, only in sorted(found.items()))


def _module_of(target: str) -> str | None:
    """Return the module of ours that an absolute name is, or is in."""
    first, *parts = target.split(".")
    if first != NAME:
        return None
    while ".".join(parts) not in modules():
        parts.pop()
    return ".".join(parts)


def place(one: Import) -> tuple[str, str, str] | None:
    """
    Return the folder that both share, and the names in it of the importer and of the imported.

    It is `None` where no floor speaks: a folder's `__init__` is above all that is in the folder, and
    below all that imports it from outside.
    """
    importer, imported = one.importer.split("."), one.imported.split(".")
    if not one.importer or not one.imported:
        return None
    common = 0
    while common < min(len(importer), len(imported)) and importer[common] == imported[common]:
        common += 1
    if common in (len(importer), len(imported)):
        return None
    return "/".join(importer[:common]), importer[common], imported[common]


# The declared order ----------------------------------------------------------------------------------


@cache
def declared_order() -> dict[str, dict[str, int]]:
    """
    Return the floor of each name by its folder, "" for the package itself.

    Raises:
        ValueError: `ARCHITECTURE.md` has no block of floors, a line that is not a floor, floors out of
            order, or a name twice.
    """
    text = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    block = re.search(r"^```floors\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    if block is None:
        msg = "ARCHITECTURE.md has no block labelled `floors`"
        raise ValueError(msg)
    order: dict[str, dict[str, int]] = defaultdict(dict)
    for line in block[1].splitlines():
        found = _FLOOR.fullmatch(line.strip())
        folder = (found["folder"] or "") if found else ""
        if found is None or int(found["number"]) != max(order[folder].values(), default=0) + 1:
            msg = f"ARCHITECTURE.md, floors: {line!r} is not the next floor of {folder or 'the package'}"
            raise ValueError(msg)
        for name in found["names"].split():
            if name in order[folder]:
                msg = f"ARCHITECTURE.md, floors: {name} is named twice in {folder or 'the package'}"
                raise ValueError(msg)
            order[folder][name] = int(found["number"])
    return dict(order)


# Circles and chains ----------------------------------------------------------------------------------


def circles(*, typing: bool = True) -> list[list[str]]:
    """Return the groups of modules that import each other in a circle."""
    return [group for group in _components(_graph(typing=typing)) if len(group) > 1]


def _graph(*, typing: bool) -> dict[str, set[str]]:
    graph: dict[str, set[str]] = {name: set() for name in modules()}
    for name in modules():
        for one in imports_of(name):
            if typing or not one.typing_only:
                graph[name] |= {one.imported, *_folders_entered(name, one.imported)}
    return graph


def _folders_entered(importer: str, imported: str) -> set[str]:
    """Return the folders whose `__init__` runs with an import, but for those that the importer is in."""
    parts = imported.split(".")
    above = {".".join(parts[:end]) for end in range(1, len(parts))}
    return {folder for folder in above if not f"{importer}.".startswith(f"{folder}.")}


def _components(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the strongly connected components: nodes that reach each other share one."""
    reached = {name: _reach(graph, name) for name in graph}
    found: dict[str, list[str]] = {}
    for name in graph:
        if name not in found:
            group = sorted({name} | {other for other in reached[name] if name in reached[other]})
            found |= dict.fromkeys(group, group)
    return [group for name, group in found.items() if group[0] == name]


def _reach(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    todo = [start]
    while todo:
        for name in graph[todo.pop()] - seen:
            seen.add(name)
            todo.append(name)
    return seen


def longest_chain(start: str | None = None) -> list[str]:
    """Return the longest chain of runtime imports in files; modules of a circle count one after the other."""
    graph = _graph(typing=False)
    group_of = {name: tuple(group) for group in _components(graph) for name in group}
    condensed: dict[tuple[str, ...], set[tuple[str, ...]]] = {group: set() for group in group_of.values()}
    for name, imported in graph.items():
        condensed[group_of[name]] |= {group_of[other] for other in imported} - {group_of[name]}
    longest: dict[tuple[str, ...], list[str]] = {}
    for group in TopologicalSorter(condensed).static_order():
        below = max((longest[other] for other in condensed[group]), key=len, default=[])
        longest[group] = [*group, *below]
    return longest[group_of[start]] if start is not None else max(longest.values(), key=len)


# Lines -----------------------------------------------------------------------------------------------


class Lines(NamedTuple):
    """Counts of lines."""

    all: int = 0
    comments: int = 0
    """Lines that are nothing but a comment."""
    code: int = 0
    """Neither blank, nor comment, nor docstring; docstrings of attributes are docstrings too."""

    def plus(self, other: Lines) -> Lines:
        """Return the sum."""
        return Lines(self.all + other.all, self.comments + other.comments, self.code + other.code)


_NO_CODE = frozenset(
    {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
)


def lines_of(source: str) -> Lines:
    """Count the lines of a source."""
    documented: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            documented.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    comments, code = set(), set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comments.add(token.start[0])
        elif token.type not in _NO_CODE:
            code.update(range(token.start[0], token.end[0] + 1))
    return Lines(len(source.splitlines()), len(comments - code - documented), len(code - documented))


def is_live(path: str) -> bool:
    """
    Return True if a file, relative to the package, belongs to the live wing.

    It is `_capture/`, and whatever has not moved there yet: the modules in the root, `shapes/` and
    `tracing/`. `_layout` counts too, since it holds what was in these.
    """
    first, *rest = Path(path).with_suffix("").parts
    return first in _LIVE_FOLDERS if rest else first not in _NOT_LIVE


def live_lines() -> dict[str, Lines]:
    """Return the lines of the live wing by folder."""
    found: dict[str, Lines] = defaultdict(Lines)
    for path in modules().values():
        below = path.relative_to(PACKAGE)
        if is_live(str(below)):
            found[str(below.parent)] = found[str(below.parent)].plus(lines_of(path.read_text(encoding="utf-8")))
    return dict(found)


BASELINE = Lines(15049, 169, 10020)
"""The live wing at 489c4e8, before it was moved."""


# The figures -----------------------------------------------------------------------------------------


def root_names() -> list[str]:
    """Return the names in the package's root, dunder files, `_version` and `py.typed` aside."""
    return sorted({path.stem if path.suffix == ".py" else path.name for path in PACKAGE.iterdir()} - _DUNDER)


def doubled_classes() -> dict[str, list[str]]:
    """Return the names of classes that are defined in more than one module, with these."""
    found: dict[str, list[str]] = defaultdict(list)
    for name, path in modules().items():
        for node in {node.name for node in ast.walk(_tree(path)) if isinstance(node, ast.ClassDef)}:
            found[node].append(name)
    return {name: where for name, where in sorted(found.items()) if len(where) > 1}


def floors() -> dict[str, int]:
    """Return how many floors each folder has, "" being the package."""
    return {folder: max(names.values()) for folder, names in declared_order().items()}


def long_files() -> list[str]:
    """Return the files of more than 400 lines."""
    return [name for name, path in modules().items() if len(path.read_text(encoding="utf-8").splitlines()) > LONGEST]


def undocumented() -> list[str]:
    """Return the modules without docstring."""
    return [name or "__init__" for name, path in modules().items() if not ast.get_docstring(_tree(path))]


def main() -> None:
    """Print every figure next to its goal."""
    names, doubled, rings = root_names(), doubled_classes(), circles()
    chain, from_init = longest_chain(), longest_chain("")
    by_floor = floors()
    lines = live_lines()
    total = Lines()
    for one in lines.values():
        total = total.plus(one)
    wing = {folder: number for folder, number in by_floor.items() if folder.startswith("_capture/")}
    rows: list[tuple[str, object, str]] = [
        ("names in the package root, dunder files aside", len(names), "13"),
        ("floors of the package", by_floor[""], "8"),
        ("floors of _capture", by_floor.get("_capture", "none yet"), "10"),
        ("floors of its folders, at most", max(wing.values(), default="none yet"), "-"),
        ("circles, imports for type checkers counted", len(rings), "0"),
        ("circles at run time", len(circles(typing=False)), "0"),
        ("longest runtime import chain, files", len(chain), "18"),
        ("the same from __init__", len(from_init), "13"),
        (f"files over {LONGEST} lines", len(long_files()), "0"),
        ("files without docstring", len(undocumented()), "0"),
        ("class names of more than one meaning", len(doubled), "0"),
        ("comment lines in the live wing", f"{total.comments / total.all:.1%}", "4.0%"),
        ("code lines in the live wing", total.code, f"{int(BASELINE.code * 0.85)}, 15% below {BASELINE.code}"),
        ("code lines to the baseline", f"{total.code / BASELINE.code - 1:+.1%}", "-15.0%"),
    ]
    for what, found, goal in rows:
        print(f"{found!s:>10}  {what} (goal: {goal})")
    print("\nlive wing by folder: lines, comments, code")
    for folder, one in sorted(lines.items()):
        print(f"  {one.all:6} {one.comments:5} {one.code:6}  {folder}")
    for what, items in (
        ("longest chain", [" > ".join(name or "__init__" for name in chain)]),
        ("from __init__", [" > ".join(name or "__init__" for name in from_init)]),
        ("circles", [", ".join(ring) for ring in rings]),
        ("class names of more than one meaning", [f"{name}: {', '.join(where)}" for name, where in doubled.items()]),
        ("files over 400 lines", long_files()),
        ("files without docstring", undocumented()),
    ):
        print(f"\n{what}:" + "".join(f"\n  {item}" for item in items or ["none"]))


if __name__ == "__main__":
    sys.exit(main())
