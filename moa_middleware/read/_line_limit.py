"""
How much of a line is read: its bytes, and the values that its JSON would become. It must not know files.

A file of 60 kB can unpack to a line of 64 MB, and one of nothing but brackets becomes objects of 40 times its size. So
values are counted before a line is parsed.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from ..errors import QueryError

__all__ = ["LineLimit"]

_DEFAULT = 1 << 26
_LEAST = 1024
_BYTES_OF_VALUE = 32
"""Bytes of a line for each value that it may have; a line of this library has some 100."""
_TEXT_OR_VALUE = re.compile(rb'"(?:[^"\\]++|\\(?:.|\Z))*+(?:"|\Z)|[,\[{]', re.DOTALL)


class LineLimit(NamedTuple):
    """
    The limit of a reading.

    Attributes:
        most: Bytes of a line; it may have one value for each 32 of them.
    """

    most: int = _DEFAULT

    @classmethod
    def of(cls, most: int | None) -> LineLimit:
        """
        Return a limit that was asked for, the default for `None`.

        Raises:
            QueryError: It is less than a line needs.
        """
        if most is None:
            return cls()
        if type(most) is not int or most < _LEAST:
            raise QueryError(f"`max_line_bytes` is a number of bytes, {_LEAST:,} or more, and not {most!r}")
        return cls(most)

    def why_too_long(self, size: int) -> str:
        """Return why a line of so many bytes is skipped."""
        return f"it has {size:,} bytes, and {self.most:,} are read (--max-line-bytes)"

    def why_not_parsed(self, line: bytes) -> str | None:
        """Return why a line is not parsed, `None` if it may be."""
        most = self.most // _BYTES_OF_VALUE
        # A value takes a byte, so nearly every line is known by its length.
        if len(line) <= most or line.count(b",") + line.count(b"[") + line.count(b"{") <= most:
            return None
        # What is counted may be in texts, as prose and code have it.
        values = 0
        for found in _TEXT_OR_VALUE.finditer(line):
            if found.end() - found.start() == 1 and line[found.start()] != 34:  # noqa: PLR2004 - a quote
                values += 1
                if values > most:
                    return (
                        f"it has more than {most:,} values, which is one for each {_BYTES_OF_VALUE} of --max-line-bytes"
                    )
        return None
