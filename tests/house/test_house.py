"""The house rules that a machine can check: floors, public names, docstrings, hygiene."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import moa_middleware as moa
from benchmarks.house import circles, declared_order, imports_of, place
from benchmarks.house import modules as house_modules

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "moa_middleware"

UPWARD: set[tuple[str, str]] = set()
"""Imports against the declared order that are put up with, as (importer, imported): none."""
# Files and folders, wherever they are, that run only once traces are on, or never in a host's calls.
NEED_NOT_BE_LIGHT = {
    *("settings", "records", "tracing", "recorder", "config", "program"),
    *("read", "report", "testing", "compat", "cli", "__main__"),
}
ROOMS = {
    *(f"behaviour/{topic}" for topic in ("middleware", "streams", "turns", "threads", "instrument", "tracing", "web")),
    *("read", "report", "cli", "compat", "programs", "house"),
    *(
        f"system/{kind}"
        for kind in ("faults", "processes", "browser", "hermes", "sdks", "sdks/providers", "conformance")
    ),
}
"""Folders of tests, besides those of `tests/unit`, which are the package's."""
HEAVY = {"pydantic", "pydantic_core", "pydantic_settings", "structlog", "platformdirs"}


def modules():
    """Return each module of the package with its dotted name below it."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        yield name.removesuffix(".__init__"), path


def imports(path):
    """Yield the modules that a file imports when it runs, absolute or relative to the package."""
    tree = ast.parse(path.read_text())
    skipped = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            skipped.update(id(inner) for inner in ast.walk(node))
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            where = ".".join([*base, *([node.module] if node.module else [])])
            yield where
            if not node.module:
                yield from (f"{where}.{alias.name}" for alias in node.names)


def runs_upward(one):
    """Return True if an import goes to the same floor or a higher one of the folder that both are in."""
    where = place(one)
    if where is None:
        return False
    order = declared_order()[where[0]]
    return order[where[1]] <= order[where[2]]


@pytest.mark.parametrize("name", [name for name in house_modules() if name])
def test_a_module_imports_only_from_lower_floors(name):
    """At its top, in functions and for type checkers, as `ARCHITECTURE.md` declares it for each folder."""
    upward = {(one.importer, one.imported) for one in imports_of(name) if runs_upward(one)}
    assert not upward - UPWARD


def test_the_known_circles_get_fewer():
    """What no longer runs against the order leaves the list, and each circle has an import on it."""
    found = {(one.importer, one.imported) for name in house_modules() for one in imports_of(name) if runs_upward(one)}
    assert found == UPWARD
    for ring in circles():
        assert any({importer, imported} <= set(ring) for importer, imported in UPWARD), ring


def test_the_declared_order_names_each_module_and_folder_once():
    """None that is missing, and none that is not there."""
    there = {}
    for name in house_modules():
        parts = name.split(".") if name else []
        for depth, part in enumerate(parts):
            there.setdefault("/".join(parts[:depth]), set()).add(part)
    assert there == {folder: set(floors) for folder, floors in declared_order().items()}


@pytest.mark.parametrize("name", [name for name, _ in modules()])
def test_the_live_path_imports_neither_pydantic_nor_structlog(name):
    """What runs in a host's calls while traces are off stays light."""
    if NEED_NOT_BE_LIGHT & set(name.split(".")):
        return
    found = {imported.split(".")[0] for imported in imports(dict(modules())[name])}
    assert not found & (HEAVY | {"openai", "typing_extensions"})


def test_importing_the_package_imports_nothing_heavy():
    """Neither pydantic nor structlog, nor the tracing package."""
    code = (
        "import sys, moa_middleware; print(sorted(set(sys.modules) & "
        f"{HEAVY | {'moa_middleware._capture.tracing', 'moa_middleware.settings', 'openai'}!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "[]\n" == done.stdout


def test_all_is_what_is_there():
    """`__all__` and the public names of the package are the same."""
    submodules = {name.split(".")[0] for name, _ in modules()}
    public = {name for name in vars(moa) if not name.startswith("_")} - submodules
    assert sorted(public | {"__version__"}) == sorted(moa.__all__)
    assert sorted(moa.__all__) == list(moa.__all__)


@pytest.mark.parametrize("name", [name for name, _ in modules()])
def test_each_module_says_what_it_is_for_and_stays_short(name):
    """A docstring, and at most 400 lines."""
    path = dict(modules())[name]
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text))
    assert len(text.splitlines()) <= 400


def test_every_test_says_what_it_shows():
    """A docstring each."""
    for path in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                assert ast.get_docstring(node), f"{path.name}: {node.name}"


def rooms():
    """Return the folders that may contain tests."""
    units = {f"unit/{path.relative_to(PACKAGE).as_posix()}" for path in PACKAGE.rglob("*") if path.is_dir()}
    return ROOMS | units


def test_every_test_is_in_a_room_and_no_file_of_tests_is_long():
    """The rooms are those of CONTRIBUTING; a file of more than 600 lines is cut by topic, and support has no tests."""
    for path in (ROOT / "tests").rglob("*.py"):
        name = path.relative_to(ROOT / "tests").as_posix()
        if path.name.startswith("test_"):
            assert name.rpartition("/")[0] in rooms(), name
        else:
            assert name.startswith("support/") or path.name in ("conftest.py", "__init__.py"), name
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 600, name


def test_nothing_of_ours_prints():
    """Only the command line prints; a library that writes to stdout breaks its host."""
    for name, path in modules():
        if name.startswith(("cli", "__main__")):
            continue
        calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
        assert not any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls), name


def test_the_library_opens_no_connection():
    """Only the scripted server for tests, the demo's client and the host's name touch `socket`."""
    network = {"socket", "http", "urllib", "requests", "httpx", "httpx2", "aiohttp", "ssl", "asyncio.streams"}
    for name, path in modules():
        if name.startswith(("testing", "cli")):
            continue
        found = {imported.split(".")[0] for imported in imports(path)} & network
        allowed = {"_capture.tracing.tracer": {"socket"}, "_capture.shapes.params": {"urllib"}}.get(name, set())
        assert found <= allowed, name
    assert re.search(r"socket\.gethostname\(\)", (PACKAGE / "_capture/tracing/tracer.py").read_text())
    assert "socket." not in (PACKAGE / "_capture/tracing/tracer.py").read_text().replace("socket.gethostname", "")


def test_no_path_of_a_machine_and_no_registry_is_tracked():
    """What is tracked runs anywhere."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    names = listed.stdout.split()
    assert "uv.lock" not in names
    hosts = re.compile("|".join(["pypi" + r"\.org", "python" + "hosted", "npm" + "js", "deb" + r"\.debian"]))
    for name in names:
        path = ROOT / name
        if path.is_file():
            assert not hosts.search(path.read_text(errors="replace")), name
