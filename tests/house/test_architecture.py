"""`ARCHITECTURE.md` against the code: each path, name and test that it names exists, and its tree has every file."""

from __future__ import annotations

import ast
import builtins
import re
from collections import Counter
from functools import cache

import pytest

import moa_middleware as moa
from benchmarks.house import PACKAGE, ROOT, modules
from moa_middleware._capture.recorder import VARIABLES

PAGE = ROOT / "ARCHITECTURE.md"
TEXT = PAGE.read_text(encoding="utf-8")
FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TREE = next(body for label, body in FENCE.findall(TEXT) if label == "tree")
SPANS = re.findall(r"`([^`\n]+)`", FENCE.sub("", TEXT) + TREE)
PATH = re.compile(r"[\w./-]+(?:/|\.(?:py|md|json|toml))(?:::[\w.]+)?")
DOTTED = re.compile(r"(?<![\w/.])[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
NOT_OURS = {"ContextVar", "NotRequired", *vars(builtins)}


@cache
def names_in(path):
    """Return the names that a file defines, and those in its classes, with a dot."""

    def defined(body):
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield node.name, node
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                yield from (
                    (name.id, node) for target in targets for name in ast.walk(target) if type(name) is ast.Name
                )
            elif isinstance(node, ast.If):
                yield from defined(node.body)

    found = set()
    for name, node in defined(ast.parse(path.read_text(encoding="utf-8")).body):
        found.add(name)
        if isinstance(node, ast.ClassDef):
            found.update(f"{name}.{member}" for member, _ in defined(node.body))
    return found


@cache
def names_of_the_package():
    """Return every name that a module of the package defines."""
    return {name for path in modules().values() for name in names_in(path)}


def place_of(path):
    """Return where a path of the page leads, `None` if nowhere: its root is the package, for a few the repository."""
    found = [root / path for root in (PACKAGE, ROOT) if (root / path).exists()]
    return found[0] if found else None


def is_there(name):
    """Return True if a dotted name is one of the package, of its public names, or of Python's builtins."""
    first, _, rest = name.partition(".")
    if first == "moa":
        return hasattr(moa, rest)
    if first == "benchmarks":
        return place_of(f"benchmarks/{rest}.py") is not None
    return name in names_of_the_package() or hasattr(getattr(builtins, first, None), rest)


@pytest.mark.parametrize("span", sorted({span for span in SPANS if PATH.fullmatch(span)}))
def test_each_path_leads_to_what_it_names(span):
    """The file or folder, and the name in it."""
    path, _, name = span.partition("::")
    place = place_of(path)
    assert place is not None, span
    assert place.is_dir() == path.endswith("/") or path == "tests/golden/corpus"
    assert not name or name in names_in(place), span


def test_each_dotted_name_and_each_class_exists():
    """Also those that the page names without their file."""
    spans = [span for span in SPANS if not PATH.fullmatch(span)]
    dotted = {name for span in spans for name in DOTTED.findall(span)}
    assert {name for name in dotted if not is_there(name)} == set()
    words = {span for span in spans if span.isidentifier() and span.lower() != span}
    variables = {word for word in words if word.startswith("MOA_")}
    assert variables - {"MOA_"} <= {*VARIABLES, "MOA_INSTRUMENT"}
    assert words - variables - names_of_the_package() - NOT_OURS == set()


def test_each_invariant_names_tests():
    """One or more test functions in each row; that they exist is asserted above."""
    rows = [line for line in TEXT.partition("\n## Invariants")[2].partition("\n## ")[0].splitlines() if "**" in line]
    assert len(rows) > 20
    for row in rows:
        guards = re.findall(r"`(tests/[\w/]+\.py::\w+)`", row.rpartition(" | ")[2])
        assert guards, row
        assert all(guard.rpartition("::")[2].startswith("test_") for guard in guards), row


def test_the_tree_lists_every_file_once():
    """Each module of the package; a folder's line is that of its `__init__.py`."""
    listed, folders = Counter(), []
    for line in TREE.splitlines():
        indent, name, purpose = re.fullmatch(r"( *)(\S+)  +(\S.*)", line).groups()
        assert purpose
        del folders[len(indent) // 2 :]
        listed["/".join([*folders, name.removesuffix("/")])] += 1
        if name.endswith("/"):
            folders.append(name.removesuffix("/"))
    there = {path.relative_to(PACKAGE).as_posix().removesuffix("/__init__.py") for path in modules().values()}
    assert set(listed) == there - {"__init__.py"}
    assert listed.total() == len(listed)


def test_each_link_leads_somewhere():
    """To a file, or to a heading of the page."""
    headings = {
        re.sub(r"[^\w -]", "", title).lower().replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", FENCE.sub("", TEXT), re.MULTILINE)
    }
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert target.removeprefix("#") in headings if target.startswith("#") else (ROOT / target).exists(), target


def files_with(pattern):
    """Return the files of the live wing whose code has a pattern."""
    wing = PACKAGE / "_capture"
    texts = {path: path.read_text(encoding="utf-8") for path in sorted(wing.rglob("*.py"))}
    return {path.relative_to(PACKAGE).as_posix() for path, text in texts.items() if re.search(pattern, text)}


def test_locks_are_only_where_no_finaliser_comes():
    """A thread that holds one and is interrupted by a finaliser that wants it would wait for ever."""
    makers = {"recorder.py", "process.py", "instrument/patch.py", "instrument/classes.py", "turns/threads.py"}
    found = files_with(r"\b(?:R?Lock|ForkSafeLock|Condition|Semaphore|Event|Queue)\(\)|import queue")
    assert found <= {f"_capture/{name}" for name in makers}


def test_one_context_variable_says_where_the_code_is():
    """And nothing resets it by a token, which raises in another context."""
    assert files_with(r"\bContextVar\(|ContextVar\[[^]]*\] = ") == {"_capture/scope.py"}
    assert files_with(r"\.reset\(\w*token") == set()


def test_the_tests_that_comments_name_exist():
    """A reason in the code names the test that guards it; the test may have been renamed or moved."""
    files = sorted((ROOT / "tests").rglob("*.py"))
    known = {path.relative_to(ROOT).as_posix() for path in files} | {path.stem for path in files}
    functions = {name for path in files for name in re.findall(r"def (test_\w+)", path.read_text(encoding="utf-8"))}
    for path in modules().values():
        text = path.read_text(encoding="utf-8")
        named = {*re.findall(r"\btests/[\w/]+\.py\b", text)}
        named |= {name for name in re.findall(r"`(test_\w+)`", text) if name not in functions}
        assert named <= known, path
