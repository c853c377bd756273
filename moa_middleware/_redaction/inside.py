"""Rules on a text that is JSON by itself, as the arguments of a tool call are: on each text inside, by its key."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from . import RULES, named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from .steps import Steps

__all__ = ["STRUCTURE", "WORDS", "by_rules", "inside", "unique"]

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
WORDS = frozenset((_KEYS + _VALUES).split())
"""The formats' own words: they say nothing of anybody, so that the user's functions need not see them."""
STRUCTURE = frozenset({"role", "type", "finish_reason", "stop_reason", "status", "media_type", "object"})
_DEEPEST = 8
"""JSON in a text in JSON in a text …: levels that are looked into."""
_SHORTEST = 6
"""Characters below which no rule takes a text without its name: `a@b.de`."""
_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")
_MOST_REMEMBERED = 4096


def by_rules(
    text: str, rules: Sequence[str], name: str | None = None, steps: Steps | None = None, *, depth: int = 0
) -> str:
    """
    Return a text with what rules take out of it marked; of a text that is JSON, of the texts inside.

    Args:
        text: The text.
        rules: Names in `RULES`, in the order in which they are applied.
        name: Its key in the mapping that holds it.
        steps: How much may be looked at, `None` for all.
        depth: How deep it is inside others.

    Raises:
        TooManyStepsError: `steps` is used up.
    """
    if name is not None:
        for rule in rules:
            mark = named(rule, name, text)
            if mark is not None:
                return mark
    if len(text) < _SHORTEST or _NUMBER.fullmatch(text):
        return text
    if depth < _DEEPEST:
        found = inside(text, lambda inner, key: by_rules(inner, rules, key, steps, depth=depth + 1))
        if found is not None:
            return found
    if steps is not None:
        steps.grant(text)
    for rule in rules:
        text = RULES[rule](text, steps)
    return text


def inside(text: str, change: Callable[[str, str | None], str]) -> str | None:
    """
    Return JSON with the texts in it changed, `None` if the text is none, or is nested too deeply.

    Unchanged it stays as it was written.

    Numbers are texts here: in JSON that is quoted a number is a part of the text.
    """
    bare = text.strip()
    if not ((bare.startswith("{") and bare.endswith("}")) or (bare.startswith("[") and bare.endswith("]"))):
        return None
    try:
        value = json.loads(bare, parse_int=_Figures, parse_float=_Figures, object_pairs_hook=_object)
    except (ValueError, RecursionError):
        return None
    walk = _Walk(change)
    try:
        found = walk.value(value, None)
        return json.dumps(found, ensure_ascii=False) if walk.is_changed else text
    except RecursionError:
        return None


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
        return int(figures)
    except ValueError:  # a fraction, or more digits than Python reads
        pass
    try:
        return json.loads(figures)
    except ValueError:
        return figures


class _Walk:
    """
    The texts in a value of JSON, changed one by one; equal ones are changed once.

    Args:
        change: Gets a text and its key, and returns it as it may be written.
    """

    def __init__(self, change: Callable[[str, str | None], str]) -> None:
        self._change = change
        self._known: dict[tuple[str, str | None], str] = {}
        self.is_changed = False

    def value(self, value: Any, name: str | None) -> Any:
        """Return a value changed; `name` is its key."""
        kind = type(value)
        if kind is dict:
            keys = [key if key in WORDS else self._changed(key, None) for key in value]
            items = [self.value(item, key) for key, item in value.items()]
            return dict(zip(unique(keys), items, strict=True))
        if kind is list:
            return [self.value(item, name) for item in value]
        if kind is _Figures:
            figures = str(value)
            found = self._changed(figures, name)
            return _number(figures) if found == figures else found
        if kind is str and value and not (name in STRUCTURE and value in WORDS):
            return self._changed(value, name)
        return value

    def _changed(self, text: str, name: str | None) -> str:
        found = self._known.get((text, name))
        if found is None:
            found = self._change(text, name)
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[text, name] = found
        if found != text:
            self.is_changed = True
        return found


def unique(keys: Iterable[str]) -> list[str]:
    """Return keys that were made alike as different ones, so that no value is lost."""
    taken: set[str] = set()
    # The next number of each key: to count from 2 for each of many equal keys would take quadratic time.
    numbers: dict[str, int] = {}
    made: list[str] = []
    for key in keys:
        found = key
        if key in taken:
            number = numbers.get(key, 2)
            while (found := f"{key} ({number})") in taken:
                number += 1
            numbers[key] = number + 1
        taken.add(found)
        made.append(found)
    return made
