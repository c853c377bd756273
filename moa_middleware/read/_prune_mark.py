"""
The mark that a prune leaves: until when lines may be missing on purpose.

It is in `.pruned` next to the traces, one JSON object. It must not know what is removed, nor who asks.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import UUID

from .._layout.folder import kind_of, open_regular
from ._fields import number

if TYPE_CHECKING:
    from pathlib import Path
    from typing import IO

    from .._layout.folder import Folder

__all__ = ["NAME", "began_before", "mark", "pruned_before"]

NAME = ".pruned"
_LONGEST = 1 << 16
"""Bytes of a mark at most."""
_SHIFT = 80
"""Bits behind the milliseconds of a UUIDv7 (RFC 9562, section 5.7)."""
_VERSION = 7


def pruned_before(folder: Path) -> float:
    """Return when the youngest line may have been written that was removed, in epoch seconds; 0 if none was."""
    try:
        with open_regular(folder / NAME) as file:
            return _before(file)
    except (OSError, ValueError, RecursionError):
        return 0.0


def _before(file: IO[bytes]) -> float:
    """
    Return what a mark says.

    Raises:
        ValueError: It is not a mark.
    """
    found = json.loads(file.read(_LONGEST))
    before = number(found.get("before")) if isinstance(found, dict) else None
    if before is None:
        raise ValueError
    return before


def mark(folder: Folder, before: float) -> str | None:
    """
    Write down that files written last before a moment were removed; where that fails, their lines are reported as missing.

    Args:
        folder: The directory.
        before: In epoch seconds.

    Returns:
        Why the mark cannot be left: something else has its name.
    """
    try:
        kind = kind_of(folder.status(NAME))
        if kind is not None:
            return f"it is {kind}"
        with os.fdopen(folder.open(NAME), "rb") as file:
            before = max(before, _before(file))
    except FileNotFoundError:
        pass
    except (OSError, ValueError, RecursionError):
        return "it is not a mark of moa prune"
    with suppress(OSError):
        # A name that cannot be guessed, and that is made and never opened: a link that was put there would be followed.
        folder.write(NAME, f"{json.dumps({'before': before})}\n".encode(), f"{NAME}.{os.urandom(8).hex()}")
    return None


def began_before(turn_id: str, moment: float) -> bool:
    """Return True if a turn began before a moment, by its id; not so for an id that contains no time."""
    try:
        found = UUID(turn_id)
    except ValueError:
        return False
    return found.version == _VERSION and (found.int >> _SHIFT) / 1000 < moment
