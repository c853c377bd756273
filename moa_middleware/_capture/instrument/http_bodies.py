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
    """Return True if the body of a response is still to be read; nothing is read for it, and nothing of it is run."""
    stored = getattr(response, "__dict__", {})
    if "_content_consumed" in stored:  # `requests`
        return not stored["_content_consumed"] and stored.get("_content") is False
    if "is_stream_consumed" in stored:  # httpx
        return not isinstance(stored.get("_content"), bytes)
    # aiohttp keeps the bytes under this name. A transport, or a test, may return an object of its own: without any
    # of the three names nothing is known of how its body is read.
    return hasattr(type(response), "_body") and stored.get("_body") is None


def read_value(carried: HttpReply) -> Reply:
    """Return what a response says whose body is there."""
    response = carried.http_response
    if not hasattr(carried.headers, "get"):
        return new_reply(details={"unknown": _unknown(carried)})
    acc = Accumulator()
    events = BodyEvents(carried.headers, acc.feed, asked=carried.asked)
    content = getattr(response, "__dict__", {}).get("_content") or b""
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
    return new_reply(details={"unknown": _unknown(carried)})


def _unknown(carried: HttpReply) -> dict[str, str]:
    kind = type(carried.http_response)
    return {"type": f"{kind.__module__}.{kind.__qualname__}", "repr": f"HTTP status {carried.status_code}"}
