r"""
The files of a run and their order. It must not know what a line says.

A session's file is read behind its sealed segments. `late/` is joined, `open/` (journals) is not
read. Lines end at the byte `\n` and nowhere else: U+2028 is text.
"""

from __future__ import annotations

import glob
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from ..errors import QueryError, UnreadableError
from ._bytes import Member, copied, open_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["LATE", "OPEN", "Base", "Input", "Source", "is_trace", "names_in", "opened", "order", "resolve", "traces_in"]

LATE = "late"
OPEN = "open"
Opened: TypeAlias = "tuple[Member, IO[bytes] | OSError]"
"""A file that is open, or why it is not."""
_ENDINGS = (".jsonl", ".jsonl.gz")
_SEGMENT = re.compile(r"(?P<base>.+)~s(?P<number>[1-9][0-9]{0,15})")

Source: TypeAlias = "str | os.PathLike[str] | IO[bytes] | IO[str] | None"
"""A file, a directory, a glob pattern, `-` for stdin, or an open file; `None` is the settings' `trace_dir`."""


@dataclass(frozen=True, slots=True)
class Base:
    """
    A session's file in a directory, which may have segments and late lines.

    Attributes:
        folder: The directory.
        stem: The file's name without its ending.
        only: The one file that was named, `None` for the session's file with its segments.
        names: The files, as they were when the directory was listed.
    """

    folder: Path
    stem: str
    only: Path | None = None
    names: tuple[str, ...] = ()


@dataclass(slots=True)
class Input:
    """One thing that was named: a directory, files, or a stream."""

    name: str
    folder: Path | None = None
    files: tuple[Path, ...] = ()
    stream: IO[Any] | None = None
    copy: IO[bytes] | None = None

    def copied(self) -> IO[bytes]:
        """
        Return the copy of the stream, which is made when it is first asked for.

        Raises:
            OSError: The stream cannot be read, or the disk is full.
        """
        if self.copy is None:
            self.copy = copied(self.stream)
        return self.copy

    def bases(self) -> list[Base]:
        """
        Return the sessions' files, in the order of their names.

        Raises:
            OSError: The directory cannot be read.
        """
        if self.folder is not None:
            stems: dict[str, list[str]] = {}
            for name in traces_in(self.folder):
                stems.setdefault(order(name)[0], []).append(name)
            return [Base(self.folder, stem, None, tuple(names)) for stem, names in sorted(stems.items())]
        return [Base(path.parent, order(path.name)[0], path) for path in self.files]


def is_trace(name: str) -> bool:
    """Return True if a file is a trace, by its name."""
    return name.endswith(_ENDINGS) and not name.startswith(".")


def names_in(folder: Path) -> list[str]:
    """
    Return the names in a directory, sorted.

    Raises:
        OSError: It cannot be read.
    """
    return sorted(path.name for path in folder.iterdir())


def traces_in(folder: Path) -> list[str]:
    """
    Return the names of the traces in a directory, sorted; a directory in it is none, whatever its name.

    Raises:
        OSError: It cannot be read.
    """
    return [name for name in names_in(folder) if is_trace(name) and not _is_folder(folder / name)]


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False  # the directory around it may not be entered, which opening it will tell


def order(name: str) -> tuple[str, float]:
    """Return stem and place of a file: segments in the order of their numbers, the file that grows behind them."""
    stem = name
    for ending in reversed(_ENDINGS):
        if name.endswith(ending):
            stem = name.removesuffix(ending)
            break
    found = _SEGMENT.fullmatch(stem)
    return (stem, float("inf")) if found is None else (found["base"], int(found["number"]))


def resolve(source: Source | Iterable[Source]) -> list[Input]:
    """
    Return what a source means.

    Raises:
        UnreadableError: It names nothing, or what it names cannot be opened.
        QueryError: It is no source.
    """
    if source is None:
        return [_of_path(_trace_dir(), "MOA_TRACE_DIR")]
    if isinstance(source, str | os.PathLike):
        return [_of_path(os.fspath(source), "")]
    if hasattr(source, "read"):
        return [_of_stream(source)]
    if isinstance(source, bytes) or not hasattr(source, "__iter__"):
        raise QueryError(f"need a path, an open file, or several of these, not {type(source).__name__}")
    return [one for part in source for one in resolve(part)]  # pyright: ignore[reportArgumentType] - text is no iterable here


def _trace_dir() -> str:
    from pydantic import ValidationError

    from ..errors import SettingsError
    from ..settings import Settings, describe_problem

    try:
        return os.fspath(Settings().trace_dir)
    except ValidationError as error:
        raise SettingsError(describe_problem(error)) from None


def _of_path(name: str, setting: str) -> Input:
    if not name:
        raise QueryError("need a path; this one is empty")
    if name == "-":
        return Input("-", stream=sys.stdin.buffer)
    path = Path(name)
    try:
        if path.is_dir():
            names_in(path)
            return Input(name, folder=path)
        if path.exists() and not path.is_file():
            return _of_stream(path.open("rb"))  # a pipe, for example `<(zcat …)`
        if path.exists() or path.is_symlink():
            with path.open("rb"):
                return Input(name, files=(path,))
    except OSError as error:
        raise _unreadable(name, error) from None
    if glob.has_magic(name):
        # `Path.glob` takes no absolute pattern.
        matches = map(Path, glob.glob(name, recursive=True))  # noqa: PTH207
        found = [one for one in matches if is_trace(one.name) and one.parent.name != OPEN and not one.is_dir()]
        # Late lines are joined from beside the files; they are read as files only where nothing else is named.
        own = [one for one in found if one.parent.name != LATE] or found
        if own:
            return Input(name, files=tuple(sorted(own, key=lambda one: (one.parent, *order(one.name)))))
        raise UnreadableError(f"{name!r} matches no .jsonl or .jsonl.gz file")
    hint = f"; {setting} names it" if setting else ""
    raise UnreadableError(f"{name} does not exist{hint}")


def _of_stream(stream: Any) -> Input:
    name = getattr(stream, "name", None)
    return Input(name if isinstance(name, str) else "<stream>", stream=stream)


def _unreadable(name: str, error: OSError) -> UnreadableError:
    return UnreadableError(f"{name} cannot be read: {error.strerror or type(error).__name__}")


def opened(given: Input) -> Iterator[tuple[Base | None, Iterator[Opened]]]:
    """
    Yield the sessions of an input, each with its files, open or why not, the oldest segment first.

    A file is opened when it is asked for, since a session may have more segments than a process may
    open; whoever asks closes it.

    Raises:
        OSError: It cannot be read.
    """
    if given.stream is not None:
        member = Member(given.name, None, given.copied(), own=given.name != "-")
        yield None, iter([(member, open_file(member))])
        return
    for base in given.bases():
        yield base, _session(base) if base.only is None else iter([_try(base.only)])


def _try(path: Path) -> Opened:
    member = Member(os.fspath(path), path)
    try:
        return member, open_file(member)
    except OSError as error:
        return member, error


def _session(base: Base) -> Iterator[Opened]:
    """
    Open the files of a session.

    That which grows is opened before the segments are listed: if it is sealed meanwhile it is among
    them, and not read twice.
    """
    grows = base.folder / f"{base.stem}.jsonl"
    last = _try(grows)
    try:
        for name in _segments(base):
            one = _try(base.folder / name)
            if isinstance(one[1], FileNotFoundError) and f"{name}.gz" not in base.names:
                one = _try(base.folder / f"{name}.gz")  # it was compressed since
            if isinstance(one[1], FileNotFoundError) or _same(one[1], last[1]):
                continue
            yield one
        if not isinstance(last[1], FileNotFoundError) and not _is_folder(grows):
            yield last
    finally:
        if not isinstance(last[1], OSError):
            last[1].close()


def _segments(base: Base) -> list[str]:
    """Return the other files of a session, those that were sealed since the directory was listed among them."""
    names = [name for name in base.names if name != f"{base.stem}.jsonl"]
    sealed = max((int(at) for name in names if (at := order(name)[1]) != float("inf")), default=0)
    while (base.folder / (name := f"{base.stem}~s{sealed + 1}.jsonl")).exists():
        names.append(name)
        sealed += 1
    return sorted(names, key=lambda one: (order(one)[1], one))


def _same(one: IO[bytes] | OSError, other: IO[bytes] | OSError) -> bool:
    if isinstance(one, OSError):
        return False
    same = not isinstance(other, OSError) and os.path.samestat(os.fstat(one.fileno()), os.fstat(other.fileno()))
    if same:
        one.close()
    return same
