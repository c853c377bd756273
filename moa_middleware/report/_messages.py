"""
The page's messages of a prompt: role, text, and what is not text, in one form for all SDKs.

The forms are those of the SDKs, and anything may be anything: what is not known is shown as JSON.
"""

from __future__ import annotations

import json
from typing import Any

from ..read import messages_of

__all__ = ["Pool", "as_json", "tools_of"]

_LONGEST = 2000
"""Characters of a text that is not prose (for example an image in base64), which are shown."""
_PROSE = frozenset({"text", "input_text", "output_text"})
_KNOWN = frozenset({"role", "content", "tool_calls", "tool_call_id", "name", "type", "call_id", "id", "status"})


class Pool:
    """The different messages of a turn, each once: its calls were mostly asked the same."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self._known: dict[str, int] = {}

    def places(self, prompt: Any) -> list[int]:
        """Return the places of a prompt's messages."""
        found = []
        for one in messages_of(prompt):
            key = json.dumps(one, sort_keys=True, default=str)
            place = self._known.get(key)
            if place is None:
                place = self._known[key] = len(self.messages)
                self.messages.append(_message(one))
            found.append(place)
        return found


def _message(message: Any) -> dict[str, Any]:
    """Return `role`, `text`, and `more`: pairs of a name and a text."""
    if not isinstance(message, dict):
        return {"role": None, "text": message if isinstance(message, str) else as_json(message), "more": []}
    texts: list[str] = []
    more: list[tuple[str, str]] = []
    content = message.get("content")
    for part in content if isinstance(content, list) else [content]:
        if isinstance(part, str):
            texts.append(part)
        elif isinstance(part, dict) and _kind(part, "text") in _PROSE and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif part is not None:
            more.append((_kind(part), as_json(part)))
    more += tools_of(message.get("tool_calls"))
    if isinstance(message.get("name"), str):
        more.append(("name", message["name"]))
    rest = {key: value for key, value in message.items() if key not in _KNOWN and value not in (None, [], {})}
    if rest:
        more.append(("also", as_json(rest)))
    for key in ("tool_call_id", "call_id"):
        if isinstance(message.get(key), str):
            more.append(("answers", message[key]))
    role = message.get("role", message.get("type"))
    return {"role": role if isinstance(role, str) else None, "text": "\n".join(texts), "more": more}


def _kind(part: Any, default: str = "data") -> str:
    kind = part.get("type", default) if isinstance(part, dict) else None
    return kind if isinstance(kind, str) else "data"


def tools_of(calls: Any) -> list[tuple[str, str]]:
    """Return the tool calls of a message or a reply: name and arguments of each."""
    found = []
    for one in calls if isinstance(calls, list) else []:
        function = one.get("function", one) if isinstance(one, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            found.append(("tool call", as_json(one)))
            continue
        given = function.get("arguments", function.get("input"))
        found.append((function["name"], given if isinstance(given, str) else as_json(given)))
    return found


def as_json(value: Any) -> str:
    """Return a value as JSON to be read, its long texts cut."""
    return json.dumps(_cut(value), indent=1, ensure_ascii=False, default=str)


def _cut(value: Any) -> Any:
    if isinstance(value, str) and len(value) > _LONGEST:
        return f"{value[:_LONGEST]}… ({len(value) - _LONGEST:,} more characters are in the trace)"
    if isinstance(value, dict):
        return {key: _cut(item) for key, item in value.items()}
    return [_cut(item) for item in value] if isinstance(value, list) else value
