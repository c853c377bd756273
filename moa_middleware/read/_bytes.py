r"""
One file of a run: opened whether compressed or not, and its lines. It must not know which files a run has.

Lines end at the byte `\n` and nowhere else: U+2028 is text.
"""

from __future__ import annotations

import errno
import gzip
import io
import os
import stat
import tempfile
import time
import zlib
from dataclasses import dataclass, field
from functools import partial
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from ._line_limit import LineLimit

__all__ = ["BAD_FILE", "PROGRESS_STEP", "Member", "copied", "describe_error", "lines", "open_file", "uncompressed"]

_BUFFER = 1 << 20
_GZIP = b"\x1f\x8b"
_PATIENCE = 0.02
"""Seconds for which a line without an end may be one that is being written."""
_FRESH = 2.0
"""Seconds after a write in which there may be such a line."""
PROGRESS_STEP = 8_000_000
"""Bytes that are read between two reports of the progress."""
BAD_FILE = (OSError, EOFError, zlib.error)
"""What reading a file, compressed or not, can raise."""


@dataclass(frozen=True, slots=True)
class Member:
    """One file of a run: a path, or a copy of a stream."""

    name: str
    path: Path | None = None
    copy: IO[bytes] | None = field(default=None, compare=False)
    own: bool = True
    """Whether all of its lines should be of one session; not so for stdin."""


class _TooLong(NamedTuple):
    """In place of a line: its bytes without its newline, and whether it has one."""

    size: int
    ended: bool


def open_file(member: Member) -> IO[bytes]:
    """
    Open a file at its beginning, uncompressed.

    Raises:
        OSError: It cannot be opened, or is no regular file.
    """
    if member.copy is not None:
        return io.BufferedReader(_CopyReader(member.copy), _BUFFER)
    assert member.path is not None  # noqa: S101 - one of both
    # A pipe in a file's place must not hold us.
    descriptor = os.open(member.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0))
    file = cast("io.BufferedReader", open(descriptor, "rb", buffering=_BUFFER))  # noqa: PTH123, SIM115
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "Not a regular file")
    return uncompressed(file)


def uncompressed(file: IO[bytes]) -> IO[bytes]:
    """Return a file that is read uncompressed, whether it is compressed or not; closing it closes the file."""
    if cast("io.BufferedReader", file).peek(2)[:2] == _GZIP:
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


class _CopyReader(io.RawIOBase):
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


def copied(stream: Any) -> IO[bytes]:
    """
    Return an uncompressed copy of a stream on the disk, so that it can be read more than once in constant memory.

    Raises:
        OSError: The stream cannot be read, or the disk is full.
    """
    copy: Any = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - it lives as long as the run
    while data := stream.read(_BUFFER):
        copy.write(data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data)
    copy.seek(0)
    if copy.read(2) == _GZIP:
        copy.seek(0)
        copy = _unpacked(copy)
    return cast("IO[bytes]", copy)


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


def lines(
    file: IO[bytes],
    limit: LineLimit,
    *,
    growing: bool = False,
    skipped: Callable[[int, int, int, str], object] | None = None,
) -> Iterator[tuple[int, int, bytes]]:
    """
    Yield place in bytes, number and bytes of each line that is not blank, without its newline.

    Args:
        file: Uncompressed.
        limit: What is read of a line: a file of another kind may have no line ends, or fill the memory.
        growing: A line without an end may be in the middle of being written: look once more.
        skipped: Called with place, number and bytes of each line beyond the limit, and why it is.

    Raises:
        OSError: The file cannot be read on; also `EOFError` and `zlib.error`.
    """
    offset = 0
    for number, line in enumerate(_whole(file, limit.most, growing=growing), 1):
        if isinstance(line, _TooLong):
            if skipped is not None:
                skipped(offset, number, line.size, limit.why_too_long(line.size))
            offset += line.size + line.ended
            continue
        length = len(line)
        if length > 1:
            if line[-1] == 10:  # noqa: PLR2004 - a newline
                line = line[:-1]  # noqa: PLW2901 - the same line
            why = limit.why_not_parsed(line)
            if why is not None:
                if skipped is not None:
                    skipped(offset, number, len(line), why)
            elif not line.isspace():
                yield offset, number, line
        elif line != b"\n":
            yield offset, number, line
        offset += length


def _is_fresh(file: IO[bytes]) -> bool:
    """Return True if a file was written to just now."""
    return time.time() - os.fstat(file.fileno()).st_mtime < _FRESH


def _whole(file: IO[bytes], longest: int, *, growing: bool) -> Iterator[bytes | _TooLong]:
    """Yield the lines with their newlines; of one that is too long only its size."""
    for line in iter(partial(file.readline, longest + 1), b""):
        if line[-1] == 10:  # noqa: PLR2004 - a newline
            yield line
        elif len(line) > longest:
            size = len(line)
            del line
            yield _past(file, size)
        elif growing and _is_fresh(file):
            rest = line
            while True:
                time.sleep(_PATIENCE)
                more = file.readline(longest)
                rest += more
                if not more or rest.endswith(b"\n") or len(rest) > longest:
                    break
            yield rest
        else:
            yield line


def _past(file: IO[bytes], size: int) -> _TooLong:
    """Go to the end of a line of which so many bytes were read."""
    while more := file.readline(_BUFFER):
        size += len(more)
        if more.endswith(b"\n"):
            return _TooLong(size - 1, ended=True)
    return _TooLong(size, ended=False)


def describe_error(error: BaseException) -> str:
    """Return the cause of a failed reading in words, without the path of the file."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return {"EOFError": "its compressed data ends early", "BadGzipFile": "it is no gzip file"}.get(
        type(error).__name__, f"its compressed data is damaged ({type(error).__name__})"
    )
