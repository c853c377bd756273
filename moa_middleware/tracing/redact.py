"""
The redaction of texts: the rules that were named, then the user's own functions.

It knows texts and values made of them, not records. A function of the user's that fails, or that gives
no text, fails the text: nobody can say then what may be written.
"""

from __future__ import annotations

import json
import re
import threading
from typing import TYPE_CHECKING, Any

from .._observe import count_fault
from .._patterns import RULES, named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["RedactionError", "Redactor", "Run", "is_word", "unique"]

_QUOTED = frozenset({"arguments", "partial_json"})
"""Keys whose text is JSON by contract: the functions get the texts inside it."""
_KEYS = """
additionalProperties anyOf arguments audio cache_control call_id choices content data default description detail enum
file file_data file_id file_url filename finish_reason format function functions id image_url index input input_audio
input_text is_error items json_schema max_length maximum media_type message messages min_length minimum model name
object oneOf output output_text parameters partial_json parts pattern properties raw reasoning reasoning_content refusal
repr required role schema signature source status strict stop_reason summary system text thinking title tool_call_id
tool_calls tool_choice tool_use_id tools type url
"""
_VALUES = """
array assistant base64 boolean completed content_filter custom developer end_turn ephemeral function function_call
function_call_output image image_url input_audio input_image input_text integer json_object json_schema length max_tokens
message null number object output_text reasoning redacted_thinking refusal stop stop_sequence string system text thinking
tool tool_calls tool_result tool_use user
"""
_WORDS = frozenset((_KEYS + _VALUES).split())
"""The formats' own words: they say nothing of anybody, so that the user's functions need not see them."""
_STRUCTURE = frozenset({"role", "type", "finish_reason", "stop_reason", "status", "media_type", "object"})
_IDS = frozenset({"id", "tool_call_id", "call_id", "tool_use_id"})
_ID = re.compile(r"(?:call|toolu|fc|msg|rs|resp|chatcmpl)[_-][A-Za-z0-9_-]{1,100}")
"""An id that a provider made: it ties a tool's result to its call."""
_MOST_REMEMBERED = 4096
_DEEPEST = 8
"""JSON in a text in JSON in a text …: levels that are looked into."""


class RedactionError(Exception):
    """A text that nobody could redact."""


class _Busy(threading.local):
    """Whether this thread is inside a function of the user's already."""

    def __init__(self) -> None:
        self.inside = False


_busy = _Busy()


class Redactor:
    """
    What was asked for.

    Args:
        rules: Names in `_patterns.RULES`, in the order in which they are applied.
        functions: Take a text and return the text that may be written; after the rules.
    """

    def __init__(self, rules: Sequence[str] = (), functions: Sequence[Callable[[str], str]] = ()) -> None:
        self.rules = tuple(rules)
        self.functions = tuple(functions)

    def run(self) -> Run:
        """Return a fresh run, for one line."""
        return Run(self)


class Run:
    """
    One redactor over the texts of one line; equal texts are asked for once.

    Attributes:
        faults: How often a function failed.
        urgent: What interrupted the program inside one: to be raised when the line is written.
    """

    __slots__ = ("_known", "_redactor", "faults", "urgent")

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._known: dict[tuple[str, str | None], str | None] = {}
        self.faults = 0
        self.urgent: BaseException | None = None

    def text(self, text: str, name: str | None = None) -> str:
        """
        Return a text as it may be written.

        Args:
            text: The text.
            name: Its key in the mapping that holds it.

        Raises:
            RedactionError: A function failed on it.
        """
        if not text:
            return text
        known = (text, name)
        if known not in self._known:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            try:
                self._known[known] = self._with_functions(self._with_rules(text, name, 0), name)
            except RedactionError:
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
        return key if key in _WORDS else self.text(key)

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

    # The rules -----------------------------------------------------------------------------------

    def _with_rules(self, text: str, name: str | None, depth: int) -> str:
        rules = self._redactor.rules
        if not rules:
            return text
        if name is not None:
            for rule in rules:
                mark = named(rule, name, text)
                if mark is not None:
                    return mark
        if depth < _DEEPEST:
            found = _inside(text, lambda inner, key: self._with_rules(inner, key, depth + 1))
            if found is not None:
                return found
        for rule in rules:
            text = RULES[rule](text)
        return text

    # The user's functions ------------------------------------------------------------------------

    def _with_functions(self, text: str, name: str | None) -> str:
        functions = self._redactor.functions
        if not functions:
            return text
        if name in _QUOTED:
            found = _inside(text, lambda inner, _: self._call(inner))
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


def _inside(text: str, change: Callable[[str, str | None], str]) -> str | None:
    """
    Return JSON with the texts in it changed, `None` if the text is none; unchanged it stays as it was written.

    Numbers are texts here: in JSON that is quoted a number is a part of the text.
    """
    bare = text.strip()
    if not ((bare.startswith("{") and bare.endswith("}")) or (bare.startswith("[") and bare.endswith("]"))):
        return None
    try:
        value = json.loads(bare, parse_int=_Figures, parse_float=_Figures, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        return None
    changed = [False]
    found = _walk(value, None, change, changed)
    if not changed[0]:
        return text
    return json.dumps(found, ensure_ascii=False)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """
    Return an object of JSON.

    Raises:
        ValueError: A key stands there twice: what the first one holds would not be looked at.
    """
    found = dict(pairs)
    if len(found) != len(pairs):
        msg = "a key stands there twice"
        raise ValueError(msg)
    return found


class _Figures(str):
    """A number as it was written."""

    __slots__ = ()


def _number(figures: str) -> Any:
    try:
        return json.loads(figures)
    except ValueError:  # more digits than Python reads
        return figures


def _walk(value: Any, name: str | None, change: Callable[[str, str | None], str], changed: list[bool]) -> Any:
    kind = type(value)
    if kind is dict:
        keys = []
        for key in value:
            found = key if key in _WORDS else change(key, None)
            changed[0] = changed[0] or found != key
            keys.append(found)
        items = [_walk(item, key, change, changed) for key, item in value.items()]
        return dict(zip(unique(keys), items, strict=True))
    if kind is list:
        return [_walk(item, name, change, changed) for item in value]
    if kind is _Figures:
        figures = str(value)
        found = change(figures, name)
        if found == figures:
            return _number(figures)
        changed[0] = True
        return found
    if kind is str and value and not (name in _STRUCTURE and value in _WORDS):
        found = change(value, name)
        changed[0] = changed[0] or found != value
        return found
    return value


def is_word(text: str, name: str | None) -> bool:
    """Whether a text under this key is a word of a format, or an id that a provider made: no content."""
    return (name in _STRUCTURE and text in _WORDS) or (name in _IDS and _ID.fullmatch(text) is not None)


def unique(keys: Iterable[str]) -> list[str]:
    """Return keys that were made alike as different ones, so that no value is lost."""
    seen: dict[str, int] = {}
    made: list[str] = []
    for key in keys:
        number = seen[key] = seen.get(key, 0) + 1
        found = key if number == 1 else f"{key} ({number})"
        while number > 1 and found in seen:
            number += 1
            found = f"{key} ({number})"
        seen.setdefault(found, 1)
        made.append(found)
    return made
