"""
Hermes Agent's privacy filter (`moa.privacy_filter`), on what is written of a turn.

The agent resolves its mode at each turn and redacts its own trace by it. So do our lines: each text
passes the agent's own function. Only what is written changes, never what a model or a user gets.
"""

from __future__ import annotations

import sys
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LOOP", "PrivacyFilter"]

LOOP = "agent.moa_loop"
"""The module of the agent's Mixture-of-Agents client."""


class PrivacyFilter:
    """
    The filter of one turn; called, it returns the functions that its texts pass.

    Each turn has its own, since the mode is read from the agent's configuration at each turn and one
    process may have turns with and without. Once it was on for a turn it stays on.

    Args:
        completions: The agent's completions object, if the turn is one of its calls. It has the
            mode as an attribute.
        is_prepared: Whether the turn began with a request that was prepared before, so that the mode
            is not resolved any more.
    """

    __slots__ = ("__weakref__", "_completions", "_is_known", "_is_on")

    def __init__(self, completions: Any = None, *, is_prepared: bool = False) -> None:
        # Weakly, where that is possible: contexts of threads may hold a turn, and with it this, for ever.
        try:
            self._completions: Callable[[], Any] = weakref.ref(completions)
        except TypeError:
            self._completions = lambda: completions
        self._is_on = False
        self._is_known = False
        if is_prepared:
            self.resolved(self._mode())

    def resolved(self, mode: object) -> None:
        """Learn the mode that the agent has resolved for this turn: `''`, `display` or `full`."""
        self._is_known = True
        self._is_on = self._is_on or bool(mode)

    def __call__(self) -> tuple[Callable[[str], str], ...]:
        """Return the functions that each text passes before it is written, in their order."""
        if self._is_known or self._is_on:
            return (_redact,) if self._is_on else ()
        # A version that resolves a mode has not done so yet, or failed to. What is written now cannot be
        # taken back, so it is filtered.
        if hasattr(sys.modules.get(LOOP), "_moa_privacy_mode"):
            return (_redact,)
        self._is_on = bool(self._mode())
        return (_redact,) if self._is_on else ()

    def _mode(self) -> object:
        try:
            return getattr(self._completions(), "_privacy_mode", "")
        except Exception:  # a property of a later version: unknown then, so it is on
            return "unknown"


def _redact(text: str) -> str:
    """
    Return a text as the agent's own trace has it.

    Raises:
        AttributeError: This version has a filter and not this function; the text is withheld then.
    """
    # Looked up at each text: the agent's function may be replaced while it runs.
    redacted: str = sys.modules[LOOP]._redact_reference_text(text)
    return redacted
