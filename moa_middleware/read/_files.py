r"""
Which files a run has, in which order, and the lines of one: it must not know what a line says.

A session's file is read behind its sealed segments. `late/` is joined, `open/` (journals) is not
read. Lines end at the byte `\n` and nowhere else: U+2028 is text.
"""

from __future__ import annotations

import errno
import glob
import gzip
import io
import os
import re
import stat
import sys
import tempfile
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeAlias, cast

from ..errors import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "BAD_FILE",
    "LATE",
    "OPEN",
    "Base",
    "Input",
    "Member",
    "Source",
    "is_trace",
    "lines",
    "names_in",
    "open_file",
    "opened",
    "order",
    "resolve",
]

LATE = "late"
OPEN = "open"
_BUFFER = 1 << 20
_ENDINGS = (".jsonl", ".jsonl.gz")
_SEGMENT = re.compile(r"(?P<base>.+)~s(?P<number>[1-9][0-9]{0,15})")
_GZIP = b"\x1f\x8b"
_PATIENCE = 0.02
"""Seconds for which a line without an end may be one that is being written."""
_FRESH = 2.0
"""Seconds after a write in which there may be such a line."""
BAD_FILE = (OSError, EOFError, zlib.error)
"""What reading a file, compressed or not, can raise."""

Source: TypeAlias = "str | os.PathLike[str] | IO[bytes] | IO[str] | None"
"""A file, a directory, a glob pattern, `-` for stdin, or an open file; `None` is the settings' `trace_dir`."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a run: a path, or a copy of a stream."""

    name: str
    path: Path | None = None
    copy: IO[bytes] | None = field(default=None, compare=False)
    own: bool = True
    """Whether all of its lines should be of one session; not so for stdin."""


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

    def bases(self) -> list[Base]:
        """
        Return the sessions' files, in the order of their names.

        Raises:
            OSError: The directory cannot be read.
        """
        if self.folder is not None:
            stems: dict[str, list[str]] = {}
            for name in names_in(self.folder):
                if is_trace(name) and not (self.folder / name).is_dir():
                    stems.setdefault(order(name)[0], []).append(name)
            return [Base(self.folder, stem, None, tuple(names)) for stem, names in sorted(stems.items())]
        return [Base(path.parent, order(path.name)[0], path) for path in self.files]


def is_trace(name: str) -> bool:
    """Whether a file is a trace, by its name."""
    return name.endswith(_ENDINGS) and not name.startswith(".")


def names_in(folder: Path) -> list[str]:
    """
    Return the names in a directory, sorted.

    Raises:
        OSError: It cannot be read.
    """
    return sorted(path.name for path in folder.iterdir())


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
    """
    if source is None:
        return [_of_path(_trace_dir(), "MOA_TRACE_DIR")]
    if isinstance(source, str | os.PathLike):
        return [_of_path(os.fspath(source), "")]
    if hasattr(source, "read"):
        return [_of_stream(source)]
    return [one for part in source for one in resolve(part)]  # pyright: ignore[reportArgumentType] - text is no iterable here


def _trace_dir() -> str:
    from pydantic import ValidationError

    from ..errors import SettingsError
    from ..settings import Settings, describe_problem

    try:
        return os.fspath(Settings().trace_dir)
    except ValidationError as error:
        raise SettingsError(describe_problem(error)) from None


def _of_path(name: str, said: str) -> Input:
    if name == "-":
        return Input("-", stream=sys.stdin.buffer)
    path = Path(name)
    try:
        if path.is_dir():
            names_in(path)
            return Input(name, folder=path)
        if path.exists() and not path.is_file():
            return _of_stream(path.open("rb"))  # a pipe, `<(zcat …)` say
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
    hint = f"; {said} names it" if said else ""
    raise UnreadableError(f"{name} does not exist{hint}")


def _of_stream(stream: Any) -> Input:
    name = getattr(stream, "name", None)
    return Input(name if isinstance(name, str) else "<stream>", stream=stream)


def _unreadable(name: str, error: OSError) -> UnreadableError:
    return UnreadableError(f"{name} cannot be read: {error.strerror or type(error).__name__}")


# Opening ------------------------------------------------------------------------------------------


def open_file(member: Member) -> IO[bytes]:
    """
    Open a file at its beginning, uncompressed.

    Raises:
        OSError: It cannot be opened, or is no regular file.
    """
    if member.copy is not None:
        return io.BufferedReader(_Copy(member.copy), _BUFFER)
    assert member.path is not None  # noqa: S101 - one of both
    # A pipe in a file's place must not hold us.
    descriptor = os.open(member.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    file = cast("io.BufferedReader", open(descriptor, "rb", buffering=_BUFFER))  # noqa: PTH123, SIM115
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "Not a regular file")
    head = file.peek(2)[:2]
    if head == _GZIP:
        return io.BufferedReader(_Gzip(file), _BUFFER)
    return file


class _Gzip(gzip.GzipFile):
    """A compressed file that closes the file below it too."""

    def __init__(self, below: IO[bytes]) -> None:
        super().__init__(fileobj=below, mode="rb")
        self._below = below

    def close(self) -> None:
        super().close()
        self._below.close()


class _Copy(io.RawIOBase):
    """A reader of a copy with a place of its own, so that several readings may go on at once."""

    def __init__(self, copy: IO[bytes]) -> None:
        self._copy = copy
        self._at = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if hasattr(os, "pread"):
            data = os.pread(self._copy.fileno(), len(buffer), self._at)
        else:  # pragma: no cover - Windows
            self._copy.seek(self._at)
            data = self._copy.read(len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence:
            raise io.UnsupportedOperation
        self._at = offset
        return offset


def copied(given: Input) -> IO[bytes]:
    """
    Return a copy of a stream on the disk, so that it can be read more than once in constant memory.

    Raises:
        OSError: The stream cannot be read, or the disk is full.
    """
    if given.copy is None:
        stream: Any = given.stream
        copy: Any = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it lives as long as the run
        while data := stream.read(_BUFFER):
            copy.write(data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data)
        copy.seek(0)
        if copy.read(2) == _GZIP:
            copy.seek(0)
            copy = _unpacked(copy)
        given.copy = copy
        return cast("IO[bytes]", copy)
    return given.copy


def _unpacked(packed: Any) -> Any:
    copy = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it lives as long as the run
    with gzip.GzipFile(fileobj=packed, mode="rb") as file:
        try:
            while data := file.read(_BUFFER):
                copy.write(data)
        except BAD_FILE:
            # What could be unpacked stands; the torn line at its end is found.
            return copy
    return copy


def lines(file: IO[bytes], *, growing: bool = False) -> Iterator[tuple[int, int, bytes]]:
    """
    Yield place in bytes, number and bytes of each line that is not blank, without its newline.

    Args:
        file: Uncompressed.
        growing: A line without an end may be in the middle of being written: look once more.

    Raises:
        OSError: The file cannot be read on; also `EOFError` and `zlib.error`.
    """
    offset = 0
    for number, line in enumerate(_whole(file, growing=growing), 1):
        length = len(line)
        if length > 1:
            if line[-1] == 10:  # noqa: PLR2004 - a newline
                line = line[:-1]  # noqa: PLW2901 - the same line
            if not line.isspace():
                yield offset, number, line
        elif line != b"\n":
            yield offset, number, line
        offset += length


def _is_fresh(file: IO[bytes]) -> bool:
    """Whether a file was written to just now."""
    return time.time() - os.fstat(file.fileno()).st_mtime < _FRESH


def _whole(file: IO[bytes], *, growing: bool) -> Iterator[bytes]:
    for line in file:
        if growing and line[-1] != 10 and _is_fresh(file):  # noqa: PLR2004 - a newline
            rest = line
            while True:
                time.sleep(_PATIENCE)
                more = file.readline()
                rest += more
                if not more or rest.endswith(b"\n"):
                    break
            yield rest
        else:
            yield line


def opened(given: Input) -> Iterator[tuple[Base | None, list[tuple[Member, IO[bytes] | OSError]]]]:
    """
    Yield the sessions of an input, each with its files, open or why not, the oldest segment first.

    Raises:
        OSError: It cannot be read.
    """
    if given.stream is not None:
        member = Member(given.name, None, copied(given), own=given.name != "-")
        yield None, [(member, open_file(member))]
        return
    for base in given.bases():
        if base.only is None:
            yield base, _session(base)
        else:
            yield base, [_try(base.only)]


def _try(path: Path) -> tuple[Member, IO[bytes] | OSError]:
    member = Member(os.fspath(path), path)
    try:
        return member, open_file(member)
    except OSError as error:
        return member, error


def _session(base: Base) -> list[tuple[Member, IO[bytes] | OSError]]:
    """
    Open the files of a session.

    That which grows is opened before the segments are listed: if it is sealed meanwhile it is among
    them, and not read twice.
    """
    grows = base.folder / f"{base.stem}.jsonl"
    last = _try(grows)
    found: list[tuple[Member, IO[bytes] | OSError]] = []
    for name in _segments(base):
        one = _try(base.folder / name)
        if isinstance(one[1], FileNotFoundError) or _same(one[1], last[1]):
            continue
        found.append(one)
    return found if isinstance(last[1], FileNotFoundError) else [*found, last]


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
