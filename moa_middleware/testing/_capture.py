"""The records of the turns of a block, without a file."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from .._capture.recorder import add_turn_listener

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..records import TurnRecord

__all__ = ["capture_turns"]


@contextmanager
def capture_turns() -> Iterator[list[TurnRecord]]:
    """
    Gather the record of each turn that closes within the block.

    It works whether traces are saved or not, and makes no file or directory. Lines of late calls
    are among them: their `schema` is `moa-late/1`.

    Yields:
        A list that grows as turns close, each entry as its line would be.
    """
    turns: list[TurnRecord] = []
    with add_turn_listener(turns.append):
        yield turns
