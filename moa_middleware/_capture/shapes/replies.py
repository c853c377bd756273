"""
Reading a reply in one piece, by duck typing, whichever SDK made it.

An object of an unknown class is named, never an error, and no SDK is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..flow.outcome import is_interrupt
from . import anthropic, formats, openai_chat, openai_responses, plain, registry
from .choice import new_reply
from .fields import answers_to_every_name, data_of, fields_of, of_type

if TYPE_CHECKING:
    from ..flow.model import Reply

__all__ = ["is_raw_type", "read_reply"]

_RAW = ("parse", "http_request", "status_code", "headers")


@of_type
def is_raw_type(kind: type) -> bool:
    """Return True if objects of a type are raw responses, around an HTTP response: an SDK's `with_raw_response`."""
    return all(hasattr(kind, name) for name in _RAW) and not answers_to_every_name(kind)


@of_type
def _has_choices(kind: type) -> bool:
    """Return True if `choices` is a property of a class, or has a default there."""
    return hasattr(kind, "choices") and not answers_to_every_name(kind)


def _body_of(value: Any) -> Any:
    """Return the JSON of a raw response's body, `None` where it has not been read, or is not JSON."""
    # The SDK would parse it into its classes, and may read it from the connection: so the bytes that
    # httpx has kept are looked for where it keeps them.
    content = getattr(getattr(value, "http_response", None), "__dict__", {}).get("_content")
    if not isinstance(content, bytes):
        return None
    import json

    try:
        return json.loads(content)
    except ValueError:
        return None


def read_reply(value: Any) -> Reply:
    """Return a value in one piece as a reply that is new; what is not understood is named under `raw`."""
    try:
        for cls, _, read in registry.registered:
            if read is not None and isinstance(value, cls):
                found = read(value)
                if found is not None:
                    return found.replace(source="provider", raw=value)
        if type(value) is str:
            return new_reply(value, raw=value)
        body = _body_of(value) if is_raw_type(type(value)) else None
        if body is None:
            body = value
        # Each shape is asked by the one key that it cannot lack, so that a reply is read by its own shape
        # alone. Chat comes first, as most replies are; plain takes whatever it can.
        fields = body if type(body) is dict else fields_of(body)
        reply = None
        if type(fields) is not dict or "choices" in fields or _has_choices(type(body)):
            reply = openai_chat.read_value(body, fields, value)
        if reply is None:
            data = body if type(body) is dict else data_of(body)
            if data.get("object") == "response":
                reply = openai_responses.read_value(data, value)
            if reply is None and data.get("type") == "message":
                reply = anthropic.read_value(data, value)
            if reply is None and not formats.KEYS.isdisjoint(data):
                readers = (shape.read_value for shape in formats.FORMATS.values() if not shape.KEYS.isdisjoint(data))
                reply = next(filter(None, (read(data, value) for read in readers)), None)
            if reply is None:
                reply = plain.read_value(body, data, value)
        if reply is not None:
            return reply
    except BaseException as error:  # an object that raises when it is read is one that is not understood
        if is_interrupt(error):
            raise
    return new_reply(details={"unknown": registry.describe(value)}, raw=value)
