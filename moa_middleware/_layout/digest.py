"""
The digest at the end of a line, over all bytes before it, and the file of a secret key.

The last key of a line's `writer` is `digest`, and nothing follows: the line ends with `,"digest":"<64 hex
digits>"}}`. It is the SHA-256 (FIPS 180-4) of the bytes before that comma, or their HMAC-SHA-256 (RFC 2104)
with a key. The two keys `integrity` (`digest` or `hmac`) and `digest` are apart, so that no single changed
byte can hide both. This module must not know which line came before another.
"""

from __future__ import annotations

import errno
import hashlib
import hmac
import os
import re
import stat
from typing import Any

__all__ = ["DIGEST", "HMAC", "Key", "digest_in", "end_of", "hasher_of", "is_right", "problem_of", "read_key"]

DIGEST = "digest"
HMAC = "hmac"

_MARK = b',"digest":"'
_CLOSE = b'"}}'
_HEX = 64
_LENGTH = len(_MARK) + _HEX + len(_CLOSE)
_FORM = re.compile(rb"[0-9a-f]{64}")

_LONGEST = 65_536
"""Bytes of a key file at most: anything longer was named by mistake."""
_FLAGS = (
    os.O_RDONLY
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_NONBLOCK", 0)  # a pipe in the file's place must not hold us
    | getattr(os, "O_BINARY", 0)
)
_OTHERS = 0o077
"""The bits of a mode that open a file to other users."""


class Key:
    """
    A secret key. Its bytes are shown nowhere.

    Args:
        secret: All bytes of the file.
        is_open: True if other users may read or write the file.

    Attributes:
        id: Names the key in lines: 8 hex digits of an HMAC, so that another key is not taken for a changed line.
    """

    __slots__ = ("_started", "id", "is_open")

    def __init__(self, secret: bytes, *, is_open: bool = False) -> None:
        self._started = hmac.new(secret, digestmod=hashlib.sha256)
        self.is_open = is_open
        named = self._started.copy()
        named.update(b"moa_middleware key id")
        self.id = named.hexdigest()[:8]

    def __repr__(self) -> str:
        """Name it by its id."""
        return f"<Key {self.id}>"

    def started(self) -> hmac.HMAC:
        """Return an HMAC that has read nothing yet."""
        return self._started.copy()


def read_key(path: os.PathLike[str] | str) -> Key:
    """
    Return the key in a file: all its bytes, a newline at the end among them.

    Raises:
        OSError: The file cannot be read, or is not a regular file.
        ValueError: It is empty, or too long for a key.
    """
    descriptor = os.open(path, _FLAGS)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file")
        with open(descriptor, "rb", closefd=False) as file:
            secret = file.read(_LONGEST + 1)
    finally:
        os.close(descriptor)
    if not secret:
        msg = "is empty"
        raise ValueError(msg)
    if len(secret) > _LONGEST:
        msg = f"has more than {_LONGEST:,} bytes"
        raise ValueError(msg)
    return Key(secret, is_open=os.name == "posix" and bool(status.st_mode & _OTHERS))


def problem_of(error: Exception) -> str:
    """Return what is wrong with a key file, in the words that follow its name."""
    if isinstance(error, FileNotFoundError):
        return "does not exist"
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror or type(error).__name__}"
    return str(error)


def hasher_of(key: Key | None, data: bytes | memoryview) -> Any:
    """Return a hash of `hashlib`, or an HMAC with the key, that has read some bytes."""
    if key is None:
        return hashlib.sha256(data)
    hasher = key.started()
    hasher.update(data)
    return hasher


def end_of(digest: str) -> bytes:
    """Return the end of a line: its digest, and the brackets of `writer` and of the record."""
    return b"%b%b%b" % (_MARK, digest.encode(), _CLOSE)


def digest_in(line: bytes) -> str | None:
    """Return the digest at the end of a line, `None` if it does not end with one."""
    found = line[-_HEX - len(_CLOSE) : -len(_CLOSE)]
    if not line.endswith(_CLOSE) or line[-_LENGTH : -_LENGTH + len(_MARK)] != _MARK or not _FORM.fullmatch(found):
        return None
    return found.decode()


def is_right(line: bytes, digest: str, key: Key | None) -> bool:
    """Return True if a line that ends with a digest has the bytes that it was made of."""
    return hmac.compare_digest(hasher_of(key, memoryview(line)[:-_LENGTH]).hexdigest(), digest)
