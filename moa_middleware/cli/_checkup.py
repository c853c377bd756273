"""
The checkup of `moa doctor`: settings, directory, journals, packages and targets, each with what is wrong.

It changes nothing, and knows no screen. What a program says by `moa.configure` cannot be seen from here.
"""

from __future__ import annotations

import ast
import difflib
import os
import platform
import shutil
import stat
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from .._capture.instrument.grammar import entries_of, read, target_of
from .._capture.instrument.offers import known_names
from .._capture.instrument.sdks import known_paths
from .._capture.shapes.catalog import CATALOG, SDKS
from .._layout.digest import HMAC, read_key
from .._variables import cleaned
from .._version import __version__
from ..errors import TargetError
from ..settings import Settings, problems_of
from ._modes import mode_notes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Checkup", "Setting", "check"]

_PREFIX = "MOA_"
_SCARCE = 100_000_000
"""Bytes; a disk with less free space is worth a word."""
_PACKAGES = {
    "": ("pydantic", "pydantic-settings", "structlog", "wrapt", "platformdirs"),
    "cli": ("typer", "rich"),
    "demo": ("openai",),
    "tables": ("pyarrow",),
}
_OFF = frozenset({"", "0", "false", "no", "off", "f", "n"})
"""Words of the switch that are no bad value, where another setting is bad."""


@dataclass(frozen=True, slots=True)
class Setting:
    """
    A setting as the environment gives it.

    Attributes:
        name: Its variable.
        value: In words; empty for none.
        origin: `environment` or `default`.
        problem: What is wrong with it.
    """

    name: str
    value: str
    origin: str
    problem: str | None = None


@dataclass(slots=True)
class Checkup:
    """
    What was found.

    Attributes:
        problems: Why there are no traces, or will be none; each with its mend.
        notes: What else is worth a word.
        settings: Every setting.
        unknown: Variables that begin with `MOA_` and mean nothing.
        directory: What is known of the directory.
        journals: Journals of open turns, by what `moa recover` would do with them.
        packages: Versions by extra and package; `None` is not installed.
        sdks: The same of the SDKs that are known.
        targets: What `MOA_INSTRUMENT` names, each with what is wrong with it or `None`.
        wraps: Of those that name an SDK and are in order, the dotted paths of the methods that they wrap.
        versions: Of this package, Python and the system.
    """

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    settings: list[Setting] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    directory: dict[str, Any] = field(default_factory=dict)
    journals: dict[str, int] = field(default_factory=dict)
    packages: dict[str, dict[str, str | None]] = field(default_factory=dict)
    sdks: dict[str, str | None] = field(default_factory=dict)
    targets: dict[str, str | None] = field(default_factory=dict)
    wraps: dict[str, list[str]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)


def check() -> Checkup:
    """Look at everything."""
    found = Checkup()
    found.versions = {
        "moa_middleware": __version__,
        "python": platform.python_version(),
        "executable": sys.executable,
        "system": platform.platform(),
    }
    folder = _check_settings(found)
    if folder is not None:
        _check_directory(found, folder)
    _check_packages(found)
    _check_targets(found)
    return found


# Settings -----------------------------------------------------------------------------------------


def _check_settings(found: Checkup) -> Path | None:
    """Look at the environment; return the directory of the traces, if it is known."""
    given = {name: value for name, value in os.environ.items() if name.startswith(_PREFIX)}
    known = {f"{_PREFIX}{name.upper()}": field_ for name, field_ in Settings.model_fields.items()}
    settings, wrong = _validated()
    for name, setting in known.items():
        value = given.get(name, "")
        key = name.removeprefix(_PREFIX).lower()
        shown = getattr(settings, key) if settings else value or setting.get_default(call_default_factory=True)
        origin = "environment" if value else "default"
        found.settings.append(
            Setting(name, "" if shown is None or name in wrong else str(shown), origin, wrong.get(name))
        )
        if name in wrong:
            found.problems.append(f"{name} has a bad value, so tracing stays off: {wrong[name]}")
    found.unknown = sorted(given.keys() - known.keys())
    for name in found.unknown:
        near = difflib.get_close_matches(name, known, n=1)
        found.notes.append(f"{name} means nothing{f'; is {near[0]} meant?' if near else ''}")
    _check_switch(found, settings)
    if settings is not None and settings.turns == "fanout":
        found.notes.append("MOA_TURNS=fanout: turns without references are not written")
    if settings is not None:
        _check_key(found, settings)
    return None if settings is None and "MOA_TRACE_DIR" in wrong else _folder(settings)


def _check_key(found: Checkup, settings: Settings) -> None:
    path = settings.integrity_key_file
    if settings.integrity == HMAC and path is not None:
        with suppress(OSError, ValueError):  # it was read a moment ago
            if read_key(path).is_open:
                found.notes.append(f"the key file {path} is open to other users; chmod 600 closes it")


def _validated() -> tuple[Settings | None, Mapping[str, str]]:
    """Return the settings, or what is wrong with them by variable."""
    try:
        return Settings(), {}
    except ValidationError as error:
        return None, problems_of(error)


def _folder(settings: Settings | None) -> Path | None:
    if settings is not None:
        return settings.trace_dir
    try:
        # Another setting is bad; this one may be looked at all the same.
        return Settings.model_construct().trace_dir if not os.environ.get("MOA_TRACE_DIR") else _expanded()
    except (OSError, RuntimeError):
        return None


def _expanded() -> Path:
    return Path(os.path.expandvars(cleaned(os.environ["MOA_TRACE_DIR"]))).expanduser()


def _check_switch(found: Checkup, settings: Settings | None) -> None:
    given = os.environ.get("MOA_SAVE_TRACES", "")
    off = cleaned(given).lower() in _OFF if settings is None else not settings.save_traces
    if off:
        state = f"MOA_SAVE_TRACES is {given!r}" if given else "MOA_SAVE_TRACES is not set"
        found.problems.append(
            f"traces are off: {state}; set it to 1, or call moa.configure(save_traces=True) in the program"
        )


# Directory ----------------------------------------------------------------------------------------


def _check_directory(found: Checkup, folder: Path) -> None:
    there = next((one for one in (folder, *folder.absolute().parents) if os.path.lexists(one)), Path("/"))
    directory: dict[str, Any] = {"path": str(folder), "exists": there == folder}
    found.directory = directory
    if not there.is_dir():
        found.problems.append(f"{there} is no directory, so traces cannot be written below it: set MOA_TRACE_DIR")
        return
    directory["writable"] = os.access(there, os.W_OK | os.X_OK)
    if not directory["writable"]:
        found.problems.append(f"{there} cannot be written by this user: set MOA_TRACE_DIR, or mend its mode")
    try:
        directory["free_bytes"] = shutil.disk_usage(there).free
    except OSError as error:
        found.notes.append(f"the free space of {there} cannot be told: {error.strerror}")
    else:
        if directory["free_bytes"] < _SCARCE:
            found.problems.append(f"{there} has little space left: {directory['free_bytes']:,} bytes")
    if there != folder:
        found.notes.append(f"{folder} does not exist yet: it is made when the first turn is written")
        return
    directory["mode"] = f"{stat.S_IMODE(folder.stat().st_mode):04o}"
    try:
        found.notes += mode_notes(folder)
        _count_files(directory, folder)
    except OSError as error:
        found.problems.append(f"{folder} cannot be read: {error.strerror}")
        return
    _check_journals(found, folder)
    _check_newest(found, folder)


def _check_newest(found: Checkup, folder: Path) -> None:
    """Look into the file that was written last, if it is not large: what was not recorded shows there."""
    from ..read import verify

    with suppress(OSError, ValueError):
        files = [path for path in folder.glob("*.jsonl") if path.is_file()]
        newest = max(files, key=lambda path: path.stat().st_mtime, default=None)
        if newest is None or newest.stat().st_size > _LARGE:
            return
        counts = verify(newest, semantics=False).notice_counts
        if counts.get("N301"):
            found.notes.append(f"{newest.name}: turns without a call (N301): {counts['N301']}; moa verify lists them")
        if counts.get("N302"):
            found.notes.append(f"{newest.name}: replies that were not understood (N302); moa verify lists them")


_LARGE = 10_000_000
"""Bytes; a larger file is not read."""


def _count_files(directory: dict[str, Any], folder: Path) -> None:
    directory.update(files=0, bytes=0, newest=None)
    for path in folder.iterdir():
        # One that is gone meanwhile, or a link that leads nowhere, says nothing of the directory.
        with suppress(OSError):
            status = path.stat()
            if path.name.endswith((".jsonl", ".jsonl.gz")) and stat.S_ISREG(status.st_mode):
                directory["files"] += 1
                directory["bytes"] += status.st_size
                directory["newest"] = max(directory["newest"] or 0.0, status.st_mtime)
    if directory["newest"] is not None:
        directory["newest_seconds_ago"] = max(0.0, time.time() - directory["newest"])


def _check_journals(found: Checkup, folder: Path) -> None:
    from .._capture.tracing.recover import recover
    from .._capture.tracing.writer import FileWriter

    try:
        for one in recover(FileWriter(folder), dry_run=True):
            found.journals[one.what] = found.journals.get(one.what, 0) + 1
    except OSError as error:
        found.notes.append(f"the journals cannot be read: {error.strerror}")
    dead = found.journals.get("recovered", 0)
    if dead:
        found.notes.append(f"{dead} of the turns in journals are of dead processes: moa recover writes them")


# Packages and targets -----------------------------------------------------------------------------


def _version_of(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _check_packages(found: Checkup) -> None:
    for extra, names in _PACKAGES.items():
        found.packages[extra] = {name: _version_of(name) for name in names}
    found.sdks = {name: _version_of(name) or _version_of(CATALOG[name].modules[0]) for name in sorted(SDKS)}


def _check_targets(found: Checkup) -> None:
    entries = entries_of(os.environ.get("MOA_INSTRUMENT", ""))
    if not entries:
        return
    names = known_names()
    for entry in entries:
        problem = _target_problem(entry, names)
        found.targets[entry] = problem or _missing_module(entry)
        if problem:
            found.problems.append(f"MOA_INSTRUMENT: {problem}")
        elif found.targets[entry]:
            found.notes.append(f"MOA_INSTRUMENT: {found.targets[entry]}")
        elif read(entry).name in SDKS:
            found.wraps[entry] = known_paths(read(entry).name)
    if "openai" in entries and "litellm" not in entries and _version_of("litellm"):
        found.notes.append("litellm is installed and does not use the openai SDK for each provider: name litellm too")
    found.notes.append(
        "MOA_INSTRUMENT is for moa run, and for programs that pass it to moa.instrument; moa.instrumented shows what was "
        "wrapped, and moa.status().targets_held which functions others hold since before"
    )


def _target_problem(entry: str, names: list[str], find: Callable[[str], object] = find_spec) -> str | None:
    """Return what is wrong with an entry, as far as that can be told without importing what it names."""
    try:
        parts = read(entry)
        if parts.path is None:
            if parts.name not in names and parts.role is None:
                known = ", ".join(names)
                return f"unknown target {parts.name!r:.80}; choose from {known}, or write pkg.mod:Class.method=role"
            package = CATALOG[parts.name].modules[0] if parts.name in SDKS else ""
            return f"{entry} is not installed" if package and not _has(package, find) else None
        target = target_of(parts)
    except TargetError as error:
        return str(error)
    name = target.path.partition(".")[0]
    source = _source_of(target.module) if target.module != "__main__" else None
    defined = _names_in(source) if source is not None else set()
    if source is None or not defined or name in defined:
        return None
    return f"{entry}: {source} defines no {name}"


def _has(package: str, find: Callable[[str], object]) -> bool:
    """Return True if a package is installed; `find_spec` imports the parent of one that has a parent."""
    try:
        return find(package) is not None
    except ImportError:
        return False


def _missing_module(entry: str) -> str | None:
    """Return that the module of an entry was not found, where it was looked for, and that it may be found later."""
    parts = read(entry)
    package = parts.name.partition(".")[0]
    if parts.path is None or package == "__main__" or _source_of(package) is not None or _is_found(package):
        return None
    return (
        f"{entry}: there is no module {package} in {Path.cwd()} or installed; moa run adds the script's own directory"
    )


def _is_found(package: str) -> bool:
    try:
        return Path(package).is_dir() or find_spec(package) is not None
    except (ImportError, ValueError):
        return False


def _source_of(module: str) -> Path | None:
    """Return the source of a module, `None` if it is not found without importing anything."""
    package, *rest = module.split(".")
    folders = [Path(package)]
    with suppress(ImportError, ValueError):
        spec = find_spec(package)
        if spec is not None and spec.submodule_search_locations is not None:
            folders += map(Path, spec.submodule_search_locations)
        elif spec is not None and spec.origin is not None and spec.origin.endswith(".py"):
            folders.append(Path(spec.origin).with_suffix(""))
    for folder in folders:
        path = folder.joinpath(*rest)
        for one in (path.with_name(f"{path.name}.py"), path / "__init__.py"):
            if one.is_file():
                return one
    return None


def _names_in(source: Path) -> set[str]:
    """Return every name that a module may define; none if its source does not say."""
    try:
        nodes = [*ast.walk(ast.parse(source.read_bytes()))]
    except (OSError, ValueError, SyntaxError, RecursionError):
        return set()
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name.partition(".")[0])
    # They make names that are not written in the source.
    return set() if names & {"*", "__getattr__", "globals", "setattr", "exec", "vars"} else names
