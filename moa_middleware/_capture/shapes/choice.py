"""What one choice has said so far, in whichever format it came."""

from __future__ import annotations

from copy import copy
from typing import Any

from .usage import get

__all__ = ["Choice", "json_text", "replaced", "texts_of"]


class Choice:
    """What one choice has said so far."""

    __slots__ = ("began", "finish_reason", "index", "reasoning", "refusal", "speaker", "spoke", "text", "tools")

    def __init__(self, index: int) -> None:
        self.index = index
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.tools: list[tuple[Any, dict[str, Any], list[str]]] = []
        """Index in the stream, head of the call, pieces of its arguments."""
        self.finish_reason: str | None = None
        self.speaker: str | None = None
        """Who says it, where a stream names several."""
        self.began = self.spoke = 0
        """Places of its first and its last piece among those of all speakers."""

    def add_tool_call(self, delta: Any) -> None:
        """Take in a tool-call delta, or a whole tool call."""
        function = get(delta, "function")
        index, ident = get(delta, "index"), get(delta, "id")
        if not isinstance(ident, str | int):
            ident = None
        name = get(function, "name") or get(delta, "name")
        # LangChain's calls have `args`, in pieces or decoded.
        arguments = get(function, "arguments") if function is not None else get(delta, "args")
        found: tuple[Any, dict[str, Any], list[str]] | None = None
        for tool in reversed(self.tools):
            # No index: it goes on with the last call unless it names itself.
            if (index is None and not ident) or (index is not None and tool[0] == index):
                found = tool
                break
        # Ollama sends every call under index 0: another id there is another call.
        if found is None or (ident and found[1]["id"] and found[1]["id"] != str(ident)):
            found = (index, {"id": None, "type": "function", "name": None}, [])
            self.tools.append(found)
        head = found[1]
        if ident:
            head["id"] = str(ident)
        kind = get(delta, "type")
        if isinstance(kind, str):
            head["type"] = kind
        if isinstance(name, str) and name:
            # MiniMax repeats the whole name in each chunk, so it is set and not joined.
            head["name"] = name
        if isinstance(arguments, str):
            found[2].append(arguments)
        elif arguments is not None:
            found[2].append(json_text(arguments))

    def joined(self, kind: str) -> str | None:
        """Return one kind of text, `None` if there was none."""
        pieces: list[Any] = getattr(self, kind)
        if not pieces:
            return None
        try:
            return "".join(pieces)
        except TypeError:  # a content that is a list of parts
            return "".join(text for piece in list(pieces) for text in texts_of(piece)) or None

    def calls(self) -> tuple[dict[str, Any], ...]:
        """Return the tool calls in OpenAI's form."""
        return tuple(
            {"id": head["id"], "type": head["type"], "function": {"name": head["name"], "arguments": "".join(pieces)}}
            for _, head, pieces in self.tools
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the choice as the record's `choices` hold it."""
        return {
            **({"model": self.speaker} if self.speaker is not None else {}),
            "index": self.index,
            "text": self.joined("text"),
            "reasoning": self.joined("reasoning"),
            "refusal": self.joined("refusal"),
            "tool_calls": list(self.calls()),
            "finish_reason": self.finish_reason,
        }


def texts_of(content: Any) -> list[str]:
    """Return the text of a content, which is a string or a list of parts."""
    if isinstance(content, str):
        return [content] if content else []
    if isinstance(content, list):
        return [text for part in content if isinstance(text := get(part, "text"), str) and text]
    return []


def json_text(value: Any) -> str:
    """Return a value as JSON, a pydantic model as its fields, what else JSON does not know as a string."""
    import json

    return json.dumps(value, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    return dump() if callable(dump) else str(value)


def replaced(obj: Any, name: str, value: Any) -> Any:
    """Return a copy of a chunk with another value under one name; the SDK's own object stays as it is."""
    if isinstance(obj, dict):
        return {**obj, name: value}
    made = copy(obj)
    setattr(made, name, value)
    return made
