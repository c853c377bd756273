"""
The reply of a plain HTTP client, between the client's method and its caller.

The caller gets the client's own response. On its way it is in an `HttpReply`, which looks like an SDK's
raw response, so that its body is read as theirs: at once if it is there, else as its bytes pass.
aiohttp's are watched here, in aiohttp's own reader; the others' in `raw`.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from ..flow.outcome import outcome_of
from ..shapes.failure import failure_of
from .stream_types import one_per_type

if TYPE_CHECKING:
    from ...errors import ProviderError

__all__ = ["BODY", "HttpReply", "failure_of_response", "status_of", "watch_reader", "with_response"]

BODY = "_moa_body"
"""Attribute of a response that is looked at."""
_FAILED = 400
"""The first HTTP status that is a failure, RFC 9110."""


class HttpReply:
    """A response of an HTTP client."""

    __slots__ = ("asked", "client", "headers", "http_request", "http_response", "is_open", "status_code")

    def __init__(self, response: Any, client: str, *, is_open: bool, asked: bool) -> None:
        """
        Take a response.

        Args:
            response: The client's own object.
            client: Name of the client.
            is_open: Whether its body is still to be read.
            asked: Whether a stream was asked for.
        """
        self.http_response = response
        self.http_request = None
        self.client = client
        self.is_open = is_open
        self.asked = asked
        self.headers = getattr(response, "headers", None)
        self.status_code = status_of(response)

    def parse(self) -> Any:
        """Return the response: nothing is parsed."""
        return self.http_response


def status_of(response: Any) -> int:
    """Return the HTTP status of a response, 0 if it is not known."""
    status = getattr(response, "status_code", None) or getattr(response, "status", None)
    return status if type(status) is int else 0


def failure_of_response(response: Any) -> ProviderError | None:
    """Return the HTTP status of a response as a failure, `None` for any below 400."""
    status = status_of(response)
    if status < _FAILED:
        return None
    failure = failure_of(f"HTTP status {status}")
    # As an SDK's exception keeps them: `http_failure` reads the status, the request's id and `retry-after`.
    vars(failure).update(status_code=status, headers=response.headers)
    return failure


def with_response(said: BaseException | None, failure: ProviderError | None) -> BaseException | None:
    """
    Return what the body says of a failure, with what the response says of it.

    Args:
        said: Of the body, `None` if it says nothing.
        failure: What `failure_of_response` has returned.
    """
    if said is None or failure is None:
        return said or failure
    for name, value in vars(failure).items():
        vars(said).setdefault(name, value)
    return said


# aiohttp ------------------------------------------------------------------------------------------


def watch_reader(response: Any, state: Any, body: Any) -> None:
    """
    Look at the bytes of aiohttp's response as the caller reads them, until it is over.

    Args:
        response: An `aiohttp.ClientResponse`, whose `content` is an `aiohttp.StreamReader`.
        state: `StreamState` of the reply.
        body: Takes the bytes.
    """
    # Every way to read the body takes its pieces out of the reader by one method, so this one reader becomes an
    # instance of a subclass that overrides it. The reader has slots and no room for what belongs to it: its class is
    # made for it alone, and holds that. It holds neither the reader nor the response, which go when they are dropped.
    reader = response.content
    kinds = type(response), type(reader)
    body.kind = kinds[0]
    if not getattr(kinds[1], "_read_nowait_chunk", None):  # the reader of a response without a body
        body.over()
        state.end("completed")
        return
    there = weakref.ref(response)

    def is_over(reader: Any) -> bool:
        return bool(reader.is_eof()) and not reader._buffer

    def end() -> None:
        body.over()
        state.end("completed")

    def read_chunk(self: Any, n: int) -> bytes:
        data: bytes = kinds[1]._read_nowait_chunk(self, n)
        body.take(data)
        if is_over(self):
            end()
        return data

    def set_exception(self: Any, exc: BaseException, *cause: Any) -> None:
        kinds[1].set_exception(self, exc, *cause)
        state.end(outcome_of(exc), exc)

    def at_eof() -> None:
        response = there()
        if response is not None and is_over(response.content):
            end()

    names = {name: getattr(kinds[1], name) for name in ("__doc__", "__module__", "__qualname__")}
    names.update(__slots__=(), _read_nowait_chunk=read_chunk, set_exception=set_exception)
    reader.__class__ = type(kinds[1].__name__, (kinds[1],), names)
    vars(response)[BODY] = body
    response.__class__ = _response_class(kinds[0])

    def unwatch(*_: Any) -> None:
        response = there()
        if response is not None and vars(response).pop(BODY, None) is not None:
            response.__class__ = kinds[0]
            response.content.__class__ = kinds[1]

    state.add_done_callback(unwatch)
    reader.on_eof(at_eof)


@one_per_type
def _response_class(kind: Any) -> Any:
    names = {name: getattr(kind, name) for name in ("__doc__", "__module__", "__qualname__")}
    names.update(close=_leaving(kind.close), release=_leaving(kind.release))
    return type(kind.__name__, (kind,), names)


def _leaving(original: Any) -> Any:
    def leave(self: Any) -> Any:
        body = vars(self).get(BODY)
        # Before it: what is left of the body becomes an error of the reader then.
        if body is not None and (how := body.exit_outcome()) is not None:
            body.state.end(how[0], how[1])
        return original(self)

    return leave
