"""A budget of steps for the rules: counted, and not timed, so that the same text ends in the same way on any machine."""

from __future__ import annotations

__all__ = ["Steps", "TooManyStepsError"]

_FREE = 10_000
_LETTERS = 32


class TooManyStepsError(Exception):
    """A text that has more of what the rules look at than any text that was not made for it."""


class Steps:
    """
    What the rules may still do on the texts of one line; a step is one name with what follows it.

    Each text brings its own share, so that the sum grows with the line. Of texts that were not made to be slow none
    has a name each 32 letters; at some 10 µs a step they take 0.3 s a MB at most.
    """

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = _FREE

    def grant(self, text: str) -> None:
        """Add what a text brings."""
        self._left += 1 + len(text) // _LETTERS

    def take(self, count: int = 1) -> None:
        """
        Count steps.

        Raises:
            TooManyStepsError: None are left.
        """
        self._left -= count
        if self._left < 0:
            self._left = 0
            raise TooManyStepsError
