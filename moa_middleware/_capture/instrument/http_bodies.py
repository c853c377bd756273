"""The bodies of HTTP responses that are there as a whole."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..shapes.accumulator import Accumulator
from ..shapes.choice import new_reply
from ..shapes.replies import read_reply
from ..streams.body_events import BodyEvents
from ..streams.http_reply import failure_of_response, with_response

if TYPE_CHECKING:
    from ..flow.model import Reply
    from ..streams.http_reply import HttpReply

__all__ = ["is_open", "read_value"]


def is_open(response: Any) -> bool:
    """Return True if the body of a response is still to be read; nothing is read for it."""
    stored = vars(response)
    if "_content_consumed" in stored:  # `requests`
        return not stored["_content_consumed"] and stored.get("_content") is False
    # httpx keeps the bytes under the first name, aiohttp under the second.
    return not isinstance(stored.get("_content"), bytes) and stored.get("_body") is None


def read_value(carried: HttpReply) -> Reply:
    """Return what a response says whose body is there."""
    response = carried.http_response
    acc = Accumulator()
    events = BodyEvents(carried.headers, acc.feed, asked=carried.asked)
    content = vars(response).get("_content") or b""
    if events.streamed:
        events.take(content)
        events.over()
        reply = acc.reply()
    else:
        reply = _read_whole(content, carried)
    error: Any = with_response(reply.error, failure_of_response(response))
    if error is not None:
        reply = replace(reply, outcome="error", error=error)
    return replace(reply, raw=None)


def _read_whole(content: bytes, carried: HttpReply) -> Reply:
    import json

    try:
        body = json.loads(content)
    except (ValueError, RecursionError):
        body = None
    if isinstance(body, dict):
        return read_reply(body)
    kind = type(carried.http_response)
    unknown = {"type": f"{kind.__module__}.{kind.__qualname__}", "repr": f"HTTP status {carried.status_code}"}
    return new_reply(details={"unknown": unknown})
