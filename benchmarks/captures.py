"""
What this project is measured against: captures that somebody writes by hand in an afternoon.

Each one is right for the streams and replies of the benchmark, and for nothing else: no odd chunk,
no second choice, no `break`, no thread, no fork, no full disk.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["SameFields", "Seed", "TextOnly"]


class TextOnly:
    """The thinnest that is right: a generator that appends deltas, one JSON dump, one append."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def keep(self, record: Any) -> None:
        """Write one line."""
        with open(self.path, "ab") as file:  # noqa: PTH123  # the cheapest there is
            file.write(json.dumps(record).encode() + b"\n")

    def stream(self, request: Any, source: Any) -> Any:
        """Pass the chunks on and keep their text."""
        pieces: list[str] = []
        append = pieces.append
        for chunk in source:
            choices = chunk.choices
            if choices and (text := choices[0].delta.content):
                append(text)
            yield chunk
        self.keep({**request, "output": "".join(pieces)})

    async def astream(self, request: Any, source: Any) -> Any:
        """Do the same for an async stream."""
        pieces: list[str] = []
        append = pieces.append
        async for chunk in source:
            choices = chunk.choices
            if choices and (text := choices[0].delta.content):
                append(text)
            yield chunk
        self.keep({**request, "output": "".join(pieces)})

    def read(self, reply: Any) -> dict[str, Any]:
        """Return what is kept of a whole reply."""
        return {"output": reply.choices[0].message.content}

    def reply(self, request: Any, reply: Any) -> Any:
        """Pass a whole reply on and keep its text."""
        self.keep({**request, **self.read(reply)})
        return reply


class Seed(TextOnly):
    """Writes as Hermes Agent's trace does: `default=str`, not only ASCII, a text file."""

    def keep(self, record: Any) -> None:
        """Write one line."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"ts": time.time(), **record}, ensure_ascii=False, default=str) + "\n")


class SameFields(TextOnly):
    """Reads what this project reads of a chunk of OpenAI's, and writes it."""

    def stream(self, request: Any, source: Any) -> Any:
        """Pass the chunks on and keep what they say."""
        found = _Fields()
        for chunk in source:
            found.feed(chunk)
            yield chunk
        self.keep({**request, **found.record()})

    async def astream(self, request: Any, source: Any) -> Any:
        """Do the same for an async stream."""
        found = _Fields()
        async for chunk in source:
            found.feed(chunk)
            yield chunk
        self.keep({**request, **found.record()})

    def read(self, reply: Any) -> dict[str, Any]:
        """Return what is kept of a whole reply."""
        choice = reply.choices[0]
        message = choice.message
        return {
            "output": message.content,
            "reasoning": getattr(message, "reasoning_content", None),
            "refusal": message.refusal if hasattr(message, "refusal") else None,
            "tool_calls": [call.model_dump() for call in getattr(message, "tool_calls", None) or ()],
            "finish_reason": choice.finish_reason,
            "usage": reply.usage.model_dump() if reply.usage else None,
        }


class _Fields:
    """What the chunks of one stream say."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.tools: dict[int, dict[str, str]] = {}
        self.finish: str | None = None
        self.usage: Any = None

    def feed(self, chunk: Any) -> None:
        if chunk.usage:
            self.usage = chunk.usage
        if not chunk.choices:
            return
        choice = chunk.choices[0]
        delta = choice.delta
        if delta.content:
            self.text.append(delta.content)
        reasoning = getattr(delta, "reasoning_content", None)
        if reasoning:
            self.reasoning.append(reasoning)
        refusal = getattr(delta, "refusal", None)
        if refusal:
            self.refusal.append(refusal)
        for call in getattr(delta, "tool_calls", None) or ():
            kept = self.tools.setdefault(call.index, {"id": "", "name": "", "arguments": ""})
            kept["id"] += call.id or ""
            kept["name"] += call.function.name or ""
            kept["arguments"] += call.function.arguments or ""
        if choice.finish_reason:
            self.finish = choice.finish_reason

    def record(self) -> dict[str, Any]:
        return {
            "output": "".join(self.text),
            "reasoning": "".join(self.reasoning) or None,
            "refusal": "".join(self.refusal) or None,
            "tool_calls": [self.tools[index] for index in sorted(self.tools)],
            "finish_reason": self.finish,
            "usage": vars(self.usage) if self.usage else None,
        }
