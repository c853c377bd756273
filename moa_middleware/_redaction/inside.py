"""Rules on a text that is JSON by itself, as the arguments of a tool call are: on each text inside, by its key."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from . import RULES, named

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

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


def by_rules(text: str, rules: Sequence[str], name: str | None = None, depth: int = 0) -> str:
    """
    Return a text with what rules take out of it marked; of a text that is JSON, of the texts inside.

    Args:
        text: The text.
        rules: Names in `RULES`, in the order in which they are applied.
        name: Its key in the mapping that holds it.
        depth: How deep it is inside others.
    """
    if name is not None:
        for rule in rules:
            mark = named(rule, name, text)
            if mark is not None:
                return mark
    if depth < _DEEPEST:
        found = inside(text, lambda inner, key: by_rules(inner, rules, key, depth + 1))
        if found is not None:
            return found
    for rule in rules:
        text = RULES[rule](text)
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
    changed = [False]
    try:
        found = _walk(value, None, change, changed)
        return json.dumps(found, ensure_ascii=False) if changed[0] else text
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
        return json.loads(figures)
    except ValueError:  # more digits than Python reads
        return figures


def _walk(value: Any, name: str | None, change: Callable[[str, str | None], str], changed: list[bool]) -> Any:
    kind = type(value)
    if kind is dict:
        keys = []
        for key in value:
            found = key if key in WORDS else change(key, None)
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
    if kind is str and value and not (name in STRUCTURE and value in WORDS):
        found = change(value, name)
        changed[0] = changed[0] or found != value
        return found
    return value


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
