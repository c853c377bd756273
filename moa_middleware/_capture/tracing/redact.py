"""
The redaction of texts: the rules that were named, then the user's own functions.

It knows texts and values made of them, not records. A function of the user's that fails, or that gives
no text, fails the text: nobody can say then what may be written.
"""

from __future__ import annotations

import json
import re
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from ..._redaction.inside import STRUCTURE, WORDS, by_rules, inside
from ..._redaction.steps import Steps, TooManyStepsError
from ..log import count_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["LineRedaction", "RedactionError", "Redactor", "is_word"]

_QUOTED = frozenset({"arguments", "partial_json"})
"""Keys whose text is JSON by contract: the functions get the texts inside it."""
_IDS = frozenset({"id", "tool_call_id", "call_id", "tool_use_id"})
_ID = re.compile(r"(?:call|toolu|fc|msg|rs|resp|chatcmpl)[_-][A-Za-z0-9_-]{1,100}")
"""An id that a provider made: it ties a tool's result to its call."""
_MOST_REMEMBERED = 4096


class RedactionError(Exception):
    """A text that could not be redacted."""


class _Busy(threading.local):
    inside = False
    """True while this thread is inside a function of the user's."""


_busy = _Busy()


class Redactor(NamedTuple):
    """
    What was asked for.

    Attributes:
        rules: Names in `_redaction.RULES`, in the order in which they are applied.
        functions: Take a text and return the text that may be written; after the rules.
    """

    rules: Sequence[str] = ()
    functions: Sequence[Callable[[str], str]] = ()


class LineRedaction:
    """
    One redactor over the texts of one line; equal texts are asked for once.

    Attributes:
        faults: How often a function failed.
        urgent: What interrupted the program inside one: to be raised when the line is written.
    """

    faults = 0
    urgent: BaseException | None = None

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._known: dict[tuple[str, str | None], str | None] = {}
        self._steps = Steps()

    @property
    def is_active(self) -> bool:
        """True if there is a rule or a function."""
        return bool(self._redactor.rules or self._redactor.functions)

    def text(self, text: str, name: str | None = None) -> str:
        """
        Return a text as it may be written.

        Args:
            text: The text.
            name: Its key in the mapping that holds it.

        Raises:
            RedactionError: A function failed on it, or it was made to hold the rules up.
        """
        if not text:
            return text
        known = (text, name)
        if known not in self._known:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            rules = self._redactor.rules
            try:
                shown = by_rules(text, rules, name, self._steps) if rules else text
                self._known[known] = self._with_functions(shown, name)
            except (RedactionError, TooManyStepsError):
                self._known[known] = None
        found = self._known[known]
        if found is None:
            raise RedactionError
        return found

    def key(self, key: str) -> str:
        """
        Return the key of a mapping as it may be written; the formats' own words stay.

        Raises:
            RedactionError: A function failed on it.
        """
        return key if key in WORDS else self.text(key)

    def number(self, number: float, name: str | None = None) -> Any:
        """
        Return a number, or the text in place of its figures.

        Raises:
            RedactionError: A function failed on it.
        """
        if name == "index":
            return number
        figures = json.dumps(number)
        found = self.text(figures, name)
        return number if found == figures else found

    # The user's functions ------------------------------------------------------------------------

    def _with_functions(self, text: str, name: str | None) -> str:
        functions = self._redactor.functions
        if not functions:
            return text
        if name in _QUOTED:
            found = inside(text, lambda inner, _: self._call(inner))
            if found is not None:
                return found
        return self._call(text)

    def _call(self, text: str) -> str:
        if _busy.inside:
            # It asked a model that is traced itself: that line would ask it in turn, and so on.
            raise RedactionError
        _busy.inside = True
        try:
            for function in self._redactor.functions:
                found: Any = function(text)
                if not isinstance(found, str):
                    self._fault(TypeError())
                    raise RedactionError
                text = str.__str__(found)
        except RedactionError:
            raise
        except Exception as error:
            self._fault(error)
            raise RedactionError from None
        except BaseException as error:
            self.urgent = error
            raise RedactionError from None
        else:
            return text
        finally:
            _busy.inside = False

    def _fault(self, error: BaseException) -> None:
        self.faults += 1
        count_fault("redact", error)


def is_word(text: str, name: str | None) -> bool:
    """Return True if a text under this key is a word of a format, or an id that a provider made: no content."""
    return (name in STRUCTURE and text in WORDS) or (name in _IDS and _ID.fullmatch(text) is not None)
