"""
The calls of tools that one choice of a reply makes, gathered from whole calls and from their pieces.

This module must not know in which format of a provider a call came: the readers bring it into one of those below.
"""

from __future__ import annotations

import re
from typing import Any, TypeAlias

from .fields import fields_of, get

__all__ = ["ToolCall", "ToolCalls", "json_text", "value_of"]

ToolCall: TypeAlias = tuple[Any, dict[str, Any], list[str]]
"""Index in the stream, head of the call, pieces of its arguments."""
_FEW = 8
"""Calls that are looked through one by one: to look them up in a table takes longer to prepare."""
_SCAN = "scan"
"""In the head of a call, once it was asked whether its arguments are complete: what is known of that."""


class ToolCalls(list[ToolCall]):
    """The calls of one choice, in the order in which they began."""

    __slots__ = ("_known",)
    _known: _Known
    """Set when there are more than a few: few replies have many."""

    def add(self, delta: Any) -> None:
        """Take in a tool-call delta, or a whole tool call."""
        function = get(delta, "function")
        index, ident = get(delta, "index"), get(delta, "id")
        ident = str(ident) if ident and isinstance(ident, str | int) else None
        # Several forms come here: OpenAI's, whose name and arguments are under `function`, or under `custom`
        # where the argument is any text; a chat's delta of one, which has an index and a piece of the
        # arguments; Anthropic's and the Responses API's, which their readers bring into OpenAI's form; and
        # LangChain's, which has `args`, in pieces or decoded.
        if function is not None:
            name, arguments = get(function, "name"), get(function, "arguments")
        elif (custom := get(delta, "custom")) is not None:
            name, arguments = get(custom, "name"), get(custom, "input")
        else:
            name, arguments = None, get(delta, "args")
        name = name or get(delta, "name")
        name = name if isinstance(name, str) else ""
        if arguments is not None and not isinstance(arguments, str):
            arguments = json_text(arguments)
        found = self.find(index, ident) if self else None
        if found is None or (name and _begins_another(found, ident, name, arguments)):
            found = (index, {"id": None, "type": "function", "name": None}, [])
            self.append(found)
        head = found[1]
        if ident and not head["id"]:
            head["id"] = ident
            if len(self) > _FEW:
                self._table().by_id[ident] = found
        kind = get(delta, "type")
        if isinstance(kind, str):
            head["type"] = kind
        # MiniMax repeats the whole name in each chunk, others send it in pieces.
        if name and name != head["name"]:
            head["name"] = f"{head['name'] or ''}{name}"
        if arguments is not None:
            found[2].append(arguments)

    def find(self, index: object, ident: str | None = None) -> ToolCall | None:
        """
        Return the call that a piece goes on with, `None` if it begins one.

        Args:
            index: Index of the piece. Pieces of parallel calls come interleaved and differ by it alone.
            ident: Its id, which only the first piece of each has. Without an index a piece goes on with the call
                of its id, or with the last one.
        """
        if len(self) > _FEW:
            if index is None:
                return self._table().by_id.get(ident) if ident else self[-1]
            return self._table().by_index.get(_hashable(index))
        for tool in reversed(self):
            if index is None:
                if not ident or tool[1]["id"] == ident:
                    return tool
            elif tool[0] == index:
                return tool
        return None

    def _table(self) -> _Known:
        """Return where the calls are by index and by id, of two alike the later one."""
        known: _Known | None = getattr(self, "_known", None)
        if known is None:
            known = self._known = _Known()
        for tool in self[known.count :]:
            known.by_index[_hashable(tool[0])] = tool
            if tool[1]["id"]:
                known.by_id[tool[1]["id"]] = tool
        known.count = len(self)
        return known

    def whole(self) -> tuple[dict[str, Any], ...]:
        """Return the calls in OpenAI's form."""
        return tuple(
            {"id": head["id"], "type": head["type"], "function": {"name": head["name"], "arguments": "".join(pieces)}}
            for _, head, pieces in self
        )

    def pieces(self) -> tuple[dict[str, Any], ...]:
        """Return the calls of one chunk as a tap sees them: each with the index that its later pieces have as well."""
        return tuple({"index": tool[0], **call} for tool, call in zip(self, self.whole(), strict=True))


class _Known:
    """The calls of a reply that has many."""

    __slots__ = ("by_id", "by_index", "count")

    def __init__(self) -> None:
        self.count = 0
        self.by_index: dict[Any, ToolCall] = {}
        self.by_id: dict[str, ToolCall] = {}


def _hashable(value: Any) -> Any:
    """Return an index as a key: a server may send anything in its place."""
    try:
        hash(value)
    except TypeError:
        return repr(value)
    return value


def _begins_another(found: ToolCall, ident: str | None, name: str, arguments: str | None) -> bool:
    """
    Return True if a piece with a name belongs to another call than the one that its index or its place names.

    Args:
        found: That call.
        ident: The id of the piece.
        name: Its name.
        arguments: Its arguments.
    """
    # Ollama sends every call under index 0, Gemini's endpoint has sent calls without index. Of a call whose
    # pieces have a new id each, as some gateways send it, only the first has a name.
    _, head, pieces = found
    if ident and head["id"] and head["id"] != ident:
        return name != head["name"] or not pieces or _is_complete(found)
    return bool(arguments and arguments.strip()) and not (ident and head["id"]) and _is_complete(found)


def _is_complete(call: ToolCall) -> bool:
    """Return True if the arguments of a call so far are a JSON value."""
    _, head, pieces = call
    scan = head.get(_SCAN)
    if scan is None:
        scan = head[_SCAN] = _Scan()
    return bool(scan.is_complete(pieces))


class _Scan:
    """
    Whether a text in pieces is a JSON value by now.

    A server that repeats the name in each piece makes this a question of each piece: so each is looked at once,
    and the whole is parsed only where its brackets and quotes are closed.
    """

    __slots__ = ("_count", "_depth", "_has_ended", "_is_escaped", "_is_in_text", "_is_scalar", "_is_value")

    def __init__(self) -> None:
        self._count = self._depth = 0
        self._is_in_text = self._is_escaped = self._is_value = False
        self._is_scalar = True
        """True before the first bracket or quote: a number or a word may always go on."""
        self._has_ended = False
        """True if everything was closed, and the text was parsed: no further piece makes a value of it."""

    def is_complete(self, pieces: list[str]) -> bool:
        """Return True if the pieces so far are a JSON value."""
        new = pieces[self._count :]
        self._count = len(pieces)
        if self._has_ended:
            self._is_value = self._is_value and not any(map(str.strip, new))
            return self._is_value
        for piece in new:
            self._take(piece)
        if self._depth or self._is_in_text:
            return False
        if self._is_scalar:
            return len(pieces) <= _SCALAR and _is_json("".join(pieces))
        self._has_ended, self._is_value = True, _is_json("".join(pieces))
        return self._is_value

    def _take(self, piece: str) -> None:
        if self._is_escaped and piece:
            piece, self._is_escaped = piece[1:], False
        for mark in _MARKS.findall(piece):
            if mark[0] == "\\":
                self._is_escaped = len(mark) == 1  # what it escapes is in the next piece
                continue
            self._is_scalar = False
            if mark == '"':
                self._is_in_text = not self._is_in_text
            elif not self._is_in_text:
                self._depth += 1 if mark in "{[" else -1


_MARKS = re.compile(r"""\\.?|["{}\[\]]""", re.DOTALL)
_SCALAR = 64
"""Pieces of a number or a word."""


def _is_json(text: str) -> bool:
    import json

    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


# `json` is imported here and not with the package: few calls have arguments that are not text already.
def json_text(value: Any) -> str:
    """Return a value as JSON, a model or a look-alike as its fields, what else JSON does not know as a string."""
    import json

    return json.dumps(value, ensure_ascii=False, default=_as_json)


def value_of(text: str) -> Any:
    """Return what a text says as JSON, the text itself if it is not JSON."""
    import json

    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _as_json(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    if not callable(dump):
        fields = fields_of(value)
        return fields if type(fields) is dict else str(value)
    # Only what the provider sent: the rest of the fields are the class's defaults, which its raw JSON lacks.
    try:
        return dump(by_alias=True, exclude_unset=True, warnings=False)
    except TypeError:  # a look-alike's, without parameters
        return dump()
