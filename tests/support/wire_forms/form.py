"""One reply as its bytes come over the wire."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

APIS = ("chat", "text", "responses", "messages")
"""Chat completions, the completions before them, Responses, and Anthropic's Messages."""


class WireForm(NamedTuple):
    """A body as a provider sends it."""

    name: str
    api: str
    body: bytes
    streamed: bool
    status: int
    pinned: dict[str, Any]
    """Fields of the truth that are written by hand, in place of those that the parser finds."""
    sdks: tuple[str, ...]
    """SDKs that ask for it, by name."""

    def __str__(self):
        return self.name

    @property
    def family(self):
        """API, whether it is a stream, and what the form is about: the first word of its name that says so."""
        words = [word for word in self.name.split("-") if word not in {*APIS, "stream", "message", "response", "no"}]
        return self.api, self.streamed, words[0].removesuffix("s") if words else ""


_SDKS = {"chat": ("openai",), "text": ("openai",), "responses": ("openai",), "messages": ("anthropic",)}


def value(name, api, body, *, status=200, sdks=None, **pinned):
    """Return a reply in one piece; `body` is its JSON, or its bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    return WireForm(name, api, data, False, status, pinned, sdks or _SDKS[api])


def stream(name, api, events, *, done=True, sdks=None, newline="\n", **pinned):
    """
    Return a reply as server-sent events.

    Args:
        name: Of the form.
        api: One of `APIS`.
        events: The JSON of each event, or the text of lines as they are (comments, pings).
        done: Whether a chat stream ends with `[DONE]`.
        sdks: SDKs that ask for it.
        newline: The end of a line.
        pinned: Fields of the truth, by hand.
    """
    blocks = []
    for event in events:
        if isinstance(event, str):
            blocks.append(event)
            continue
        # The two APIs whose events have a type name it on a line of its own too.
        named = f"event: {event['type']}\n" if api in {"responses", "messages"} and "type" in event else ""
        blocks.append(f"{named}data: {json.dumps(event, ensure_ascii=False)}")
    if done and api in {"chat", "text"}:
        blocks.append("data: [DONE]")
    text = "".join(f"{block}\n\n" for block in blocks).replace("\n", newline)
    return WireForm(name, api, text.encode(), True, 200, pinned, sdks or _SDKS[api])
