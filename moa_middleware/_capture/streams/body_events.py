"""
What the bytes of an HTTP body say: the events of a stream, or one JSON object.

Source of the event format: the WHATWG HTML standard, *Server-sent events*.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..log import count_fault

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BodyEvents"]

_LINES = ("ndjson", "jsonl", "json-seq")
"""In the content type of a body with one JSON object a line; Ollama sends one unless the request says otherwise."""
_MOST = 64 * 1024 * 1024
"""Bytes of a line, or of a body that is not a stream, which are kept until its end; of a longer one nothing is read."""


class BodyEvents:
    """What the bytes of a body say: the events of a stream, or one JSON object."""

    def __init__(self, headers: Any, feed: Callable[[Any], object], *, asked: bool) -> None:
        self.feed = feed
        self.encoded = "content-encoding" in headers
        kind = headers.get("content-type", "").lower()
        # Gateways name a stream as they like; a stream that was asked for may still be one object.
        has_lines = any(word in kind for word in _LINES)
        self.streamed = "event-stream" in kind or has_lines or (asked and "json" not in kind)
        self._pieces: list[bytes] = []
        """Of the line that is not over yet; of the whole body, where that is not a stream."""
        self._size = 0
        """Bytes that came since the last end of a line."""
        self._data: list[bytes] = []
        """Lines of the event that is not over yet."""

    def take(self, data: bytes) -> None:
        """Take a piece of the body in; never raises."""
        try:
            if not self.streamed or (b"\n" not in data and b"\r" not in data):
                self._keep(data)
                return
            data, self._pieces, self._size = b"".join([*self._pieces, data]), [], 0
            # A line ends with any of the three; the next piece may show which of them.
            held = b"\r" if data.endswith(b"\r") else b""
            lines = data[: len(data) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
            self._pieces = [lines.pop() + held]
            for line in lines:
                self._line(line)
        except Exception as error:
            count_fault("body", error)

    def _keep(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= _MOST:
            self._pieces.append(data)  # joined once, where a line ends
        else:
            self._pieces.clear()

    def _line(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            self._data.append(line[5:].removeprefix(b" "))
        elif line.startswith(b"{"):
            self._event(line)  # a line of JSON is an event of its own
        elif not line and self._data:
            data, self._data = b"\n".join(self._data), []
            self._event(data)

    def _event(self, data: bytes) -> None:
        import json  # not with the package, whose import it would make a tenth longer

        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            return  # `[DONE]`, or no JSON
        self.feed(event)

    def flush(self) -> None:
        """Read the event whose last line is there, though not the blank line after it: the caller has seen it."""
        if self._data:
            self._line(b"")

    def over(self) -> None:
        """Read what is left, at the end of the body; never raises."""
        if self.streamed:
            self.take(b"\n\n")
        else:
            self._event(b"".join(self._pieces))
