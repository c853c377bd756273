"""
Responses of web frameworks whose body is made later, by an iterator that they hold.

No framework is imported. A response is known by names of its class (`stream_types.body_attribute`),
and what is followed is the iterator: the response itself stays the same object.
"""

from __future__ import annotations

import codecs
import re
from contextlib import suppress
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any

from ..log import count_fault
from ..shapes.fields import data_of, of_type
from .body_events import BodyEvents
from .stream_types import names_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..shapes.accumulator import Accumulator

__all__ = ["Body", "BodyText", "body_of", "with_body"]


class Body:
    """The iterator of a response's body, and where it is held."""

    __slots__ = ("attribute", "content_type", "owner", "response", "source")

    def __init__(self, response: object, owner: object, attribute: str) -> None:
        self.response = response
        self.owner = owner
        self.attribute = attribute
        self.source: Any = vars(owner)[attribute]
        self.content_type = ""
        with suppress(Exception):  # of a class of the user's, whose headers may be anything
            self.content_type = str(getattr(response, "headers", {}).get("content-type") or "")

    def put(self, proxy: Any) -> None:
        """Let the response hold a proxy of its iterator."""
        source = self.source
        vars(self.owner)[self.attribute] = proxy
        # Django keeps the `close` of what it was given in a list. Called there, it would close the
        # generator behind the proxy's back, outside the turn.
        closers = vars(self.response).get("_resource_closers")
        if type(closers) is list:
            closers[:] = [proxy.close if getattr(fn, "__self__", None) is source else fn for fn in closers]


def body_of(response: object, attribute: str) -> Body | None:
    """
    Return the iterator that a response holds, `None` if its body is there already, or is a file.

    Args:
        response: An object of a type that `body_attribute` knows.
        attribute: What `body_attribute` said.
    """
    owner: Any = response
    try:
        fields = vars(owner)
    except Exception:
        return None  # slots, or a `__dict__` of its own
    source = fields.get(attribute)
    # A file is sent by the server itself where it can, and then no iterator is read.
    if source is None or fields.get("direct_passthrough") or fields.get("file_to_stream") is not None:
        return None
    if attribute == "response" and "iter" in getattr(source, "__dict__", ()):  # Quart's body, around an iterator
        owner, attribute = source, "iter"
        source = vars(owner)[attribute]
    kind = type(source)
    if kind in (list, tuple, str, bytes, bytearray) or hasattr(kind, "read") or not _is_iterable_type(kind):
        return None
    return Body(response, owner, attribute)


@of_type
def _is_iterable_type(kind: type) -> bool:
    names = names_of(kind)
    return not names.isdisjoint(("__iter__", "__aiter__")) and names.isdisjoint(("filelike", "make_conditional"))


def with_body(value: tuple[Any, ...], follow: Callable[[Any, str], Any]) -> tuple[Any, ...] | None:
    """
    Return a view's `(generator, status, headers)` with its generator followed, `None` for any other tuple.

    Flask and Quart make the response from such a tuple, which cannot be changed in place.

    Args:
        value: What the view returned.
        follow: Takes the generator and the content type, and returns what the server gets.
    """
    first, *rest = value or (None,)
    is_view = type(first) in _GENERATORS and len(rest) in (1, 2)
    if not is_view or not all(isinstance(item, _ON_RESPONSES) for item in rest):
        return None
    content_type = ""
    for item in rest:
        pairs = item.items() if isinstance(item, dict) else item if isinstance(item, list) else ()
        for name, text in pairs:
            if str(name).lower() == "content-type":
                content_type = str(text)
    return (follow(first, content_type), *rest)


_GENERATORS = (GeneratorType, AsyncGeneratorType)
_ON_RESPONSES = (int, str, dict, list)
"""What a view may give for the status, and for the headers."""


class BodyText(BodyEvents):
    """
    The text of a body, read from its chunks as they pass.

    Server-sent events and JSON are read as a generator's own events are. A body that is neither
    these nor text, such as an image, has no text.
    """

    def __init__(self, acc: Accumulator, content_type: str) -> None:
        kind = content_type.lower()
        super().__init__({"content-type": kind}, acc.feed, asked=True)
        self.count = 0
        """Number of chunks that the server took."""
        self._has_events = any(word in kind for word in ("event-stream", "json"))
        self._is_text = not kind or kind.startswith("text/")
        self._is_framed: bool | None = None
        """True if strings are parts of the wire format, and not the data of one event each."""
        self._decode = _decoder_of(kind)("replace").decode

    def take_chunk(self, chunk: Any) -> Any:
        """Take a chunk in, and return it; never raises."""
        self.count += 1
        try:
            self._take(chunk)
        except Exception as error:
            count_fault("body", error)
        return chunk

    def _take(self, chunk: Any) -> None:
        if isinstance(chunk, bytes | bytearray | memoryview):
            if self._has_events:
                self.take(bytes(chunk))
            elif self._is_text and (text := self._decode(bytes(chunk))):
                self.feed(text)
        elif isinstance(chunk, str):
            if not self._has_events:
                self.feed(chunk)
                return
            if self._is_framed is None and chunk.strip():  # else an empty line, which keeps the connection open
                self._is_framed = not self.streamed or chunk.lstrip().startswith(_FIELDS)
            if self._is_framed or self._is_framed is None:
                self.take(chunk.encode(errors="replace"))
            else:
                self._event(chunk.encode(errors="replace"))
        else:
            # An event as an object, of sse-starlette or FastAPI; any other object is read as a generator's own.
            data = data_of(chunk).get("data") if self._has_events else chunk
            if isinstance(data, str):
                self._event(data.encode(errors="replace"))
            elif data is not None:
                self.feed(data)

    def _event(self, data: bytes) -> None:
        import json

        if data.strip() in {b"[DONE]", b""}:
            return
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            if self.streamed:  # words, and not JSON
                self.feed(data.decode(errors="replace"))
            return
        self.feed(event if isinstance(event, dict | str) else data.decode(errors="replace"))


def _decoder_of(content_type: str) -> Any:
    """Return the incremental decoder of a content type's charset, that of UTF-8 if it names none that is known."""
    found = re.search(r"charset=[\s\"']*([\w.:-]+)", content_type)
    try:
        return codecs.getincrementaldecoder(found[1] if found else "utf-8")
    except LookupError:
        return codecs.getincrementaldecoder("utf-8")


_FIELDS = ("data:", "event:", "id:", "retry:", ":")
"""How a line of server-sent events begins."""
