"""
The calls of functions in a reply of Gemini's: whole ones, and those whose arguments come in pieces.

Source of the format: the reference of Vertex AI, `FunctionCall` and `PartialArg`. A piece has a value and its place in the
arguments, a JSON path (RFC 9535); a call that goes on says so, and its later pieces have no name.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .fields import data_of
from .items import listed
from .tool_calls import json_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .choice import Choice

__all__ = ["take_call"]

_OPEN = "gemini_open_calls"
"""In the details of a reply: by choice, the arguments of the call that goes on."""
_STEP = re.compile(r"""\.([^.\[\]'"]+)|\[(\d+)\]|\['((?:[^'\\]|\\.)*)'\]|\["((?:[^"\\]|\\.)*)"\]""")
_VALUES = ("string_value", "number_value", "bool_value")


class _Arguments:
    """The arguments of a call in pieces; as the pieces of a call in `tool_calls`, they are one text of JSON."""

    __slots__ = ("_fields",)

    def __init__(self, whole: Mapping[str, Any]) -> None:
        self._fields: dict[Any, Any] = dict(whole)

    def put(self, path: tuple[Any, ...], value: Any, *, goes_on: bool) -> None:
        """Put a value in its place; a text goes on with the one before it, if that was to go on."""
        at = self._fields
        for step in path[:-1]:
            inner = at.get(step)
            if type(inner) is not dict:
                inner = at[step] = {}
            at = inner
        known = at.get(path[-1])
        if isinstance(value, str):
            if not (isinstance(known, _Text) and known.goes_on):
                known = at[path[-1]] = _Text()
            known.pieces.append(value)
            known.goes_on = goes_on
        else:
            at[path[-1]] = value

    def __iter__(self) -> Iterator[str]:
        yield json_text(_plain(self._fields))

    def append(self, _piece: str) -> None:
        """Take no text: the pieces come with their places."""


class _Text:
    __slots__ = ("goes_on", "pieces")

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.goes_on = False


def _plain(value: Any) -> Any:
    """Return what was put together as values of JSON; an object with numbers as keys is a list."""
    if isinstance(value, _Text):
        return "".join(value.pieces)
    if type(value) is not dict:
        return value
    if value and all(type(key) is int for key in value):
        return [_plain(value[place]) for place in sorted(value)]
    return {str(key): _plain(item) for key, item in value.items()}


def _path(text: Any) -> tuple[Any, ...] | None:
    """Return the steps of a JSON path, `None` if it is not one of a single place."""
    if not isinstance(text, str) or not text.startswith("$"):
        return None
    steps: list[Any] = []
    end = 1
    for found in _STEP.finditer(text, 1):
        if found.start() != end:
            return None
        end = found.end()
        name, number, *quoted = found.groups()
        if number is not None:
            steps.append(int(number))
        else:
            steps.append(name if name is not None else re.sub(r"\\(.)", r"\1", next(filter(None, quoted), "")))
    return tuple(steps) if steps and end == len(text) else None


def take_call(
    details: dict[str, Any], choice: Choice, call: Any, fields_in: Callable[[Any], Mapping[str, Any]]
) -> None:
    """
    Take in the call of a function, or a piece of one.

    Args:
        details: Those of the reply.
        choice: What the candidate has said before.
        call: The call.
        fields_in: Returns the fields of an object under the SDK's names.
    """
    said = fields_in(call)
    calls = details.setdefault(_OPEN, {}) if _OPEN in details or said.get("will_continue") else {}
    arguments = calls.get(choice.index)
    if arguments is None or said.get("name"):
        # Gemini's own API gives no id: an index of ours keeps two of one function apart.
        function = {"name": said.get("name")}
        in_pieces = bool(said.get("will_continue") or said.get("partial_args"))
        if not in_pieces:
            function["arguments"] = said.get("args") or {}
        choice.add_tool_call({"index": len(choice.tools), "id": said.get("id"), "function": function})
        if not in_pieces:
            calls.pop(choice.index, None)
            return
        arguments = calls[choice.index] = _Arguments(data_of(said.get("args")))
        tools: Any = choice.tools
        index, head, _ = tools[-1]
        tools[-1] = (index, head, arguments)
    for one in listed(said.get("partial_args")):
        piece = fields_in(one)
        path = _path(piece.get("json_path"))
        if path is not None:
            value = next((piece[name] for name in _VALUES if piece.get(name) is not None), None)
            arguments.put(path, value, goes_on=piece.get("will_continue") is True)
    if not said.get("will_continue"):
        calls.pop(choice.index, None)
