"""
Turns in two calls: the first prepares, and what it returned is handed to the second, which finishes.

Between the two nobody holds the turn but the table here, by the identity of the prepared object.
The table is bounded; a turn that nobody finishes is written as abandoned when it overflows, at a
flush of everything, or at interpreter exit.
"""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING

from ..process import after_fork

if TYPE_CHECKING:
    from ..turns.turn import Turn

__all__ = ["LIMIT", "Prepared", "alias", "drop_all", "find", "is_waiting", "keep"]

LIMIT = 128
"""How many prepared turns are kept for somebody to finish."""


class Prepared:
    """A turn that was prepared, until it is over."""

    __slots__ = ("finisher", "finishers", "things", "turn")

    def __init__(self, turn: Turn, thing: object) -> None:
        self.turn = turn
        self.things = [thing]
        """Keys of this turn. Strong references: `id()` may be reused after an object dies."""
        self.finisher: object = None
        """The call that finishes it; of several, such as retries, the one that began last."""
        self.finishers = 0

    def forget(self) -> None:
        """Take it out of the table: it is over, or nobody may finish it any more."""
        for thing in self.things:
            if _table.get(id(thing)) is self:
                _table.pop(id(thing), None)

    def drop(self) -> None:
        """End the turn as abandoned, unless somebody is about to finish it."""
        if self.finisher is None:
            self.forget()
            self.turn.leave("abandoned")


_table: dict[int, Prepared] = {}
"""By identity, in the order of preparation. Single operations only, so that it needs no lock: a turn
may close inside a finaliser."""


def keep(turn: Turn, thing: object) -> None:
    """Keep an open turn for the call that will finish it with `thing`."""
    # By identity, since what a client hands on may be neither hashable nor comparable. The object is held
    # with its turn: the identity of one that is gone may soon be another object's.
    prepared = Prepared(turn, thing)
    before = _table.get(id(thing))
    if before is not None:
        before.drop()  # the very same object once more: nobody can finish the former turn now
    _table[id(thing)] = prepared
    for oldest in list(_table.values())[: max(0, len(_table) - LIMIT)]:
        oldest.forget()
        oldest.drop()


def alias(thing: object, other: object) -> None:
    """Let a prepared turn be finished with another object too, one that was made of the first."""
    prepared = _table.get(id(thing))
    if prepared is not None and other is not thing:
        prepared.things.append(other)
        _table[id(other)] = prepared


def find(thing: object) -> Prepared | None:
    """Return the turn that was prepared as `thing`, `None` if it is over or not known."""
    prepared = _table.get(id(thing))
    if prepared is None:
        return None
    if not prepared.turn.joinable:
        prepared.forget()
        return None
    return prepared


def is_waiting() -> bool:
    """Return True if there is a prepared turn."""
    return bool(_table)


@atexit.register
def drop_all() -> None:
    """End every turn that waits to be finished, as abandoned."""
    for prepared in list(_table.values()):
        prepared.drop()


# They are the parent's to finish.
after_fork(_table.clear)
