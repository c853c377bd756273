"""
The doses of a test run: quick by default, everything with `--all`, what a quick run leaves out with `--rest`.

A quick run keeps every promise and tries each with fewer examples: Hypothesis draws a fifth of the
examples, of a parametrised test a sample runs that has each value of each parameter, and tests marked `slow`,
`processes` or `browser` are left to the whole run. Tests that are selected by node id, `-k` or `-m` run undiminished.
"""

from __future__ import annotations

import os
import sys
import tempfile
import zlib
from pathlib import Path

import pytest
from hypothesis import settings

ALL = "uv run pytest --all"
"""The command for everything, as the last lines of a quick run print it."""

LEFT_BY_MARK = ("slow", "processes", "browser")
"""Marks of tests that only the whole run takes."""

MARKED_FOLDERS = ("sdks", "hermes")
"""Folders whose tests bear their name as a mark, for `-m`."""

MOST_WORKERS = 4
"""Tests with real processes and deadlines get in each other's way when more of them run at once."""

settings.register_profile("quick", max_examples=20)
settings.register_profile("all", max_examples=100)

left_key = pytest.StashKey[int]()
collected_key = pytest.StashKey[list]()
"""Every item that was collected, for the test that looks at the selection."""


def pytest_addoption(parser):
    """Add `--all` and `--rest`."""
    parser.addoption("--all", action="store_true", help="run every test, in its whole dose; the default is a quick run")
    parser.addoption("--rest", action="store_true", help="run what a quick run leaves out")


def is_quick(config):
    """Return True if the run takes a sample, which is the default."""
    return not config.getoption("all") and not config.getoption("rest")


def is_selected(config):
    """Return True if the user selected tests more precisely than by file."""
    return bool(config.getoption("keyword") or config.getoption("markexpr") or any("::" in arg for arg in config.args))


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """
    Let xdist run the tests on all cores unless the command line says otherwise.

    `addopts = ["-n", ...]` would be an unknown option under `-p no:xdist`, and in the environments that have no xdist.
    """
    option = config.option
    if hasattr(config, "workerinput"):  # a worker, which xdist configures by the same hook
        return
    if getattr(option, "numprocesses", 0) is not None or option.usepdb or option.collectonly or is_selected(config):
        return
    workers = min(len(os.sched_getaffinity(0)), MOST_WORKERS)
    if option.dist == "no" and not option.tx and workers > 1:
        option.numprocesses = workers
        option.dist = "worksteal"


def pytest_configure(config):
    """Choose the profile of Hypothesis, and let the interpreters that tests start find compiled modules."""
    if not config.getoption("--hypothesis-profile", default=None):
        settings.load_profile("quick" if is_quick(config) else "all")
    config.stash[left_key] = 0
    keep_bytecode(config)


def keep_bytecode(config):
    """
    Compile each module once.

    Hundreds of tests start an interpreter. Under PYTHONDONTWRITEBYTECODE, which container images often set, each of
    them would compile every module that it imports: 0.9 of the 1.4 seconds of `import openai`.
    """
    if not sys.dont_write_bytecode:
        return
    cache = getattr(config, "cache", None)
    place = cache.mkdir("pycache") if cache else Path(tempfile.gettempdir()) / f"moa-tests-pycache-{os.getuid()}"
    sys.pycache_prefix = os.environ.setdefault("PYTHONPYCACHEPREFIX", str(place))
    sys.dont_write_bytecode = False
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_report_header(config):
    """Say which doses these are."""
    if is_quick(config):
        return f"doses: quick (everything: {ALL})"
    return "doses: all" if config.getoption("all") else "doses: what a quick run leaves out"


def pytest_itemcollected(item):
    """Mark what lies in a folder that is a mark, before `-m` looks."""
    folders = item.path.relative_to(item.config.rootpath).parts[:-1]
    for name in MARKED_FOLDERS:
        if name in folders:
            item.add_marker(name)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Leave out what a quick run leaves out, and count it; or what a quick run has run."""
    config.stash[collected_key] = [*items]
    if config.getoption("all") or is_selected(config):
        return
    kept = select(items)
    if config.getoption("rest"):
        kept = {item for item in items if item not in kept or is_lessened(item)}
    left = [item for item in items if item not in kept]
    config.hook.pytest_deselected(items=left)
    config.stash[left_key] = len(left) if is_quick(config) else 0
    items[:] = [item for item in items if item in kept]


def select(items):
    """Return the set of items that a quick run takes."""
    kept, crowds = set(), {}
    for item in items:
        if any(item.get_closest_marker(mark) for mark in LEFT_BY_MARK):
            continue
        if hasattr(item, "callspec"):
            crowds.setdefault((item.parent.nodeid, item.originalname), []).append(item)
        else:
            kept.add(item)
    for crowd in crowds.values():
        kept.update(sample(crowd))
    return kept


def is_lessened(item):
    """Return True if a quick run tries less of a test: fewer examples of Hypothesis, or what `quick` decides."""
    return hasattr(getattr(item, "obj", None), "hypothesis") or "quick" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session")
def quick(request):
    """Return True in a quick run: for tests that are shorter there, or fork where others start an interpreter."""
    return is_quick(request.config)


def sample(crowd):
    """
    Yield those items of a parametrised test that show a facet for the first time.

    The order is that of a checksum of the ids: the same on each machine, and spread over the whole crowd. In the order
    of collection the first value of one parameter would get nearly all values of the others.
    """
    seen = set()
    for item in sorted(crowd, key=lambda item: zlib.crc32(item.nodeid.encode())):
        shown = facets_of(item)
        if not shown <= seen:
            seen |= shown
            yield item


def facets_of(item):
    """
    Return what one item shows: its values of each `parametrize` and of each fixture that has parameters.

    `@pytest.mark.crowd(facets=...)` names others: a function of the parameters that returns a tuple, and each distinct
    value at each position of it has to run. Other values are compared by identity, for not all can be hashed; pytest
    keeps them as long as the items.
    """
    params = dict(item.callspec.params)
    if mark := item.get_closest_marker("crowd"):
        return set(enumerate(mark.kwargs["facets"](**params)))
    facets = set()
    for mark in item.iter_markers("parametrize"):
        names = mark.args[0]
        if isinstance(names, str):
            names = [name.strip() for name in names.split(",")]
        facets.add(tuple((name, id(params.pop(name))) for name in names if name in params))
    return facets | {((name, id(value)),) for name, value in params.items()}


def pytest_sessionfinish(session):
    """Tell xdist's controller, which collects nothing itself, what a worker left out."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left"] = session.config.stash[left_key]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """Take over the count of a worker; all workers collect the same."""
    node.config.stash[left_key] = getattr(node, "workeroutput", {}).get("left", node.config.stash[left_key])


def pytest_terminal_summary(terminalreporter, config):
    """Say how much a quick run left out, and how to run it."""
    if left := config.stash[left_key]:
        terminalreporter.write_line(f"quick doses: {left} tests were left out; everything: {ALL}")
