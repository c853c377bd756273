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

from ._fields import number

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["began_before", "mark", "pruned_before"]

_NAME = ".pruned"
_SHIFT = 80
"""Bits behind the milliseconds of a UUIDv7 (RFC 9562, section 5.7)."""
_VERSION = 7


def pruned_before(folder: Path) -> float:
    """Return when the youngest line may have been written that was removed, in epoch seconds; 0 if none was."""
    try:
        found = json.loads((folder / _NAME).read_bytes())
    except (OSError, ValueError, RecursionError):
        return 0.0
    return number(found.get("before")) or 0.0 if isinstance(found, dict) else 0.0


def mark(folder: Path, before: float) -> None:
    """
    Take down that files written last before a moment were removed; where that fails, lines are missed later on.

    Args:
        folder: The directory.
        before: In epoch seconds.
    """
    before = max(before, pruned_before(folder))
    new = folder / f"{_NAME}.{os.getpid()}"
    with suppress(OSError):
        new.touch(mode=0o600)
        new.write_text(f"{json.dumps({'before': before})}\n", encoding="ascii")
        new.replace(folder / _NAME)


def began_before(turn_id: str, moment: float) -> bool:
    """Return True if a turn began before a moment, by its id; not so for an id that contains no time."""
    try:
        found = UUID(turn_id)
    except ValueError:
        return False
    return found.version == _VERSION and (found.int >> _SHIFT) / 1000 < moment
