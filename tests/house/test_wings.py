"""The wings above the capture core: one meaning for each class name, no import circles, short import chains."""

from __future__ import annotations

import ast
from collections import defaultdict
from functools import cache

import moa_middleware as moa

from .test_house import PACKAGE, ROOT, modules

WINGS = ("read", "report", "cli", "testing")
CHAIN = 14
"""Files in the longest chain of imports that run, from a verb of the command down."""


def wing_modules():
    """Return the modules of the wings, by their dotted names below the package."""
    return {name: path for name, path in modules() if name.split(".")[0] in WINGS}


def imported(name, path, known, *, for_types):
    """Return the modules of the wings that one imports, at its top or inside a function."""
    tree = ast.parse(path.read_text())
    skipped = set()
    for node in ast.walk(tree):
        if not for_types and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            skipped.update(id(inner) for inner in ast.walk(node))
    package = path.relative_to(PACKAGE).parts[:-1]
    found = set()
    for node in ast.walk(tree):
        if id(node) in skipped or not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        base = package[: len(package) - node.level + 1]
        where = ".".join([*base, *([node.module] if node.module else [])])
        for alias in node.names:
            inner = f"{where}.{alias.name}" if where else alias.name
            found.add(inner if inner in known else where)
    return {one for one in found if one in known and one != name}


def graph(*, for_types):
    """Return what each module of the wings imports of them."""
    known = wing_modules()
    return {name: imported(name, path, known, for_types=for_types) for name, path in known.items()}


def test_a_class_name_has_one_meaning_in_the_wings():
    """No class of the wings has the name of another one, or of a public class of the live wing."""
    places = defaultdict(list)
    for path in wing_modules().values():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(str(path.relative_to(ROOT)))
    assert {} == {name: found for name, found in places.items() if len(found) > 1}
    public = {name for name in moa.__all__ if isinstance(getattr(moa, name), type)}
    assert set() == public & places.keys()


def test_no_module_of_the_wings_imports_itself_by_way_of_others():
    """Imports for the type checkers count: two files that need each other are one."""
    edges = graph(for_types=True)
    left = dict(edges)
    # What imports nothing that is left is in no circle, and neither is what imports only that.
    while free := [name for name, inner in left.items() if not inner & left.keys()]:
        for name in free:
            del left[name]
    assert {} == left


def test_the_chains_of_imports_are_short():
    """What a stranger has to open one after the other to follow a verb down to the keys of a line."""
    edges = graph(for_types=False)

    @cache
    def chain(name):
        return (*max((chain(inner) for inner in edges[name]), key=len, default=()), name)

    longest = max(map(chain, edges), key=len)
    assert len(longest) <= CHAIN, " <- ".join(longest)


def test_report_and_cli_take_only_what_is_public_in_the_reader():
    """A module of another wing that begins with an underscore is that wing's own affair."""
    known = wing_modules()
    for name, path in known.items():
        wing = name.split(".")[0]
        for inner in imported(name, path, known, for_types=True):
            other, _, rest = inner.partition(".")
            if other != wing:
                assert not rest.startswith("_"), f"{name} imports {inner}"
