"""The house rules that a machine can check: floors, public names, docstrings, hygiene."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import moa_middleware as moa

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "moa_middleware"

# A module imports only from lower floors, at its top or inside a function; imports for the type
# checkers are free. One line a floor.
FLOORS = [
    {
        "errors",
        "records",
        "_patterns",
        "_version",
        "_ids",
        "_endings",
        "_urls",
        "_unsafe",
        "_types",
        "_processes",
        "_session_names",
    },
    {"settings", "_call", "_scope"},
    {"_made"},
    {"_flow", "_roles", "shapes", "_slot"},
    {"_turn"},
    {"_log"},
    {"_drive", "_observe"},
    {"_stream", "_options"},
    {"_step_proxy"},
    {"_steps", "_futures", "_kinds"},
    {"_held", "_prepared", "_loops"},
    {"_proxy"},
    {"_raw"},
    {"_request_talk", "_turn_talk", "_answering"},
    {"_call_talk"},
    {"_wrap", "_threads"},
    {"_patch", "_blocks", "_checks", "_target"},
    {"_paths"},
    {"_sdk"},
    {"_instrument", "_offered"},
    {"_targets"},
    {"_stack"},
    {"tracing", "middleware", "read"},
    {"_default"},
    {"_status"},
    {"testing", "compat", "_run", "report"},
    {"cli"},
    {"__main__"},
]
FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}
LIGHT = FLOOR["_stack"]
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


@pytest.mark.parametrize("name", [name for name, _ in modules() if name != "__init__"])
def test_a_module_imports_only_from_lower_floors(name):
    """Two wings on one ground floor; capture and reading know nothing of each other."""
    path = dict(modules())[name]
    unit = name.split(".")[0]
    assert unit in FLOOR, f"{name} has no floor yet"
    for imported in imports(path):
        parts = imported.split(".")
        if parts[0] != "moa_middleware" or len(parts) == 1:
            continue
        assert parts[1] == unit or FLOOR[parts[1]] < FLOOR[unit], f"{name} imports {imported}"


@pytest.mark.parametrize("name", [name for name, _ in modules()])
def test_the_live_path_imports_neither_pydantic_nor_structlog(name):
    """Floors below the tracing package stay light, but for `settings` and `records`."""
    unit = name.split(".")[0]
    if FLOOR.get(unit, LIGHT) > LIGHT or unit in ("settings", "records"):
        return
    found = {imported.split(".")[0] for imported in imports(dict(modules())[name])}
    assert not found & (HEAVY | {"openai", "typing_extensions"})


def test_importing_the_package_imports_nothing_heavy():
    """Neither pydantic nor structlog, nor the tracing package."""
    code = (
        "import sys, moa_middleware; print(sorted(set(sys.modules) & "
        f"{HEAVY | {'moa_middleware.tracing', 'moa_middleware.settings', 'openai'}!r}))"
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
        allowed = {"tracing.observer": {"socket"}, "_urls": {"urllib"}}.get(name, set())
        assert found <= allowed, name
    assert re.search(r"socket\.gethostname\(\)", (PACKAGE / "tracing/observer.py").read_text())
    assert "socket." not in (PACKAGE / "tracing/observer.py").read_text().replace("socket.gethostname", "")


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
