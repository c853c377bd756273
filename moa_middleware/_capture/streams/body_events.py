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


class BodyEvents:
    """What the bytes of a body say: the events of a stream, or one JSON object."""

    def __init__(self, headers: Any, feed: Callable[[Any], object], *, asked: bool) -> None:
        self.feed = feed
        self.encoded = "content-encoding" in headers
        kind = headers.get("content-type", "").lower()
        # Gateways name a stream as they like; a stream that was asked for may still be one object.
        whole = "json" in kind and not any(word in kind for word in ("ndjson", "jsonl", "json-seq"))
        self.streamed = "event-stream" in kind or (asked and not whole)
        self._pieces: list[bytes] = []
        """Of the line that is not over yet; of the whole body, where that is not a stream."""
        self._data: list[bytes] = []
        """Lines of the event that is not over yet."""

    def take(self, data: bytes) -> None:
        """Take a piece of the body in; never raises."""
        try:
            if not self.streamed or (b"\n" not in data and b"\r" not in data):
                self._pieces.append(data)  # joined once, where a line ends
                return
            data, self._pieces = b"".join([*self._pieces, data]), []
            # A line ends with any of the three; the next piece may show which of them.
            held = b"\r" if data.endswith(b"\r") else b""
            lines = data[: len(data) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
            self._pieces = [lines.pop() + held]
            for line in lines:
                self._line(line)
        except Exception as error:
            count_fault("body", error)

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
