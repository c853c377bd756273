"""
Raw responses of SDKs, whose body is still to come: `with_raw_response` and `with_streaming_response`.

The response goes to the caller behind a proxy that differs in `parse` only, since a stream may come
out of it. Whoever reads the body instead (`read`, `iter_lines`, `json`, or the HTTP response itself)
reads its bytes, which are looked at as they pass. Source of the event format: the WHATWG HTML
standard, *Server-sent events*.
"""

from __future__ import annotations

import inspect
import json
import sys
import weakref
from typing import TYPE_CHECKING, Any

from ._drive import drive_async, drive_sync
from ._endings import outcome_of
from ._kinds import is_stream
from ._proxy import StateProxy, left, proxy_class, stream_proxy
from ._stream import Entered

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from ._call import Outcome
    from ._drive import Ended
    from ._slot import Attempt
    from ._stream import StreamState

__all__ = ["raw_proxy"]


class RawProxy(StateProxy):
    """Base of the classes made by `raw_proxy`."""

    def __init__(self, wrapped: Any, state: StreamState) -> None:
        super().__init__(wrapped)
        self._self_state = state
        self._self_parsed: Any = None
        """A weak reference to the proxy that `parse` returned: the SDK, too, returns one stream."""


def _parse(self: Any, *args: Any, **kwargs: Any) -> Any:
    parsed = self.__wrapped__.parse(*args, **kwargs)
    if not is_stream(parsed):
        return parsed
    known = _known(self, parsed)
    if known is not None:
        return known
    return _entered(self, drive_sync(self._self_state.talk, Entered(parsed)))


async def _parse_async(self: Any, *args: Any, **kwargs: Any) -> Any:
    parsed = await self.__wrapped__.parse(*args, **kwargs)
    if not is_stream(parsed):
        return parsed
    known = _known(self, parsed)
    if known is not None:
        return known
    return _entered(self, await drive_async(self._self_state.talk, Entered(parsed)))


def _known(self: Any, parsed: Any) -> Any:
    """Return what `parse` has to return for this stream, `None` if it is a new one."""
    state: StreamState = self._self_state
    if self._self_parsed is None:
        if state.ended is not None:
            return parsed  # its body was read in another way
        _untap(self.__wrapped__.http_response, _READING)
        return None
    made = self._self_parsed()
    if made is None:
        made = stream_proxy(parsed, state, keep=self)
        self._self_parsed = weakref.ref(made)
    return made


def _entered(self: Any, ended: Ended) -> Any:
    made = stream_proxy(ended.value, self._self_state, keep=self) if ended.suspended else ended.value
    self._self_parsed = weakref.ref(made)
    return made


_classes: weakref.WeakKeyDictionary[type, Any] = weakref.WeakKeyDictionary()


def raw_proxy(source: Any, state: StreamState, attempt: Attempt) -> Any:
    """Return a proxy around a raw response, whose body feeds `state` however it is read."""
    is_async = inspect.iscoroutinefunction(type(source).parse)
    proxy = proxy_class(type(source), RawProxy, {"parse": _parse_async if is_async else _parse}, _classes)(
        source, state
    )
    state.watch(proxy)
    _tap(source.http_response, state, attempt)
    return proxy


# The body. ----------------------------------------------------------------------------------------


class _Body:
    """What is read of a body: the events of a stream, or one JSON object."""

    def __init__(self, response: Any, state: StreamState, attempt: Attempt) -> None:
        self.state = state
        self.streamed = "text/event-stream" in response.headers.get("content-type", "")
        self.stepping = False
        """Whether a piece is being read: httpx closes a response when it has read the last one."""
        self._rest = b""
        attempt.streamed = self.streamed
        self._handled = id(sys.exc_info()[1])
        """The exception that the caller handles already, whatever becomes of this response."""

    def left(self) -> tuple[Outcome, BaseException | None] | None:
        """
        Return how the response is left, which closes it; `None` if it is read at this moment.

        The SDK closes it itself when all is read. What a `with` tells of an exception it tells the
        SDK's manager only, but Python knows it too.
        """
        if self.stepping:
            return None
        error = sys.exc_info()[1]
        how = left(error if id(error) != self._handled else None)
        if self.state.readers:
            self.state.closing = how
            return None
        return how

    def take(self, data: bytes) -> None:
        """Take a piece of the body in; never raises."""
        self._rest += data
        if not self.streamed:
            return
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            self._line(line)

    def _line(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            try:
                event = json.loads(line[5:])
            except ValueError:
                return  # `[DONE]`
            self.state.acc.feed(event)

    def over(self) -> None:
        """Read what is left, at the end of the body."""
        if self.streamed:
            self._line(self._rest)
            return
        try:
            whole = json.loads(self._rest)
        except ValueError:
            return
        self.state.acc.feed(whole)


_READING = ("iter_bytes", "aiter_bytes")
_CLOSING = ("close", "aclose")


def _untap(response: Any, names: Sequence[str] = (*_READING, *_CLOSING)) -> None:
    if response is not None:
        for name in names:
            vars(response).pop(name, None)


def _tap(response: Any, state: StreamState, attempt: Attempt) -> None:
    """
    Look at the bytes of a response as they pass; every way to read its body goes through these.

    The methods are put on this one response, and taken off when it is over. They hold it weakly: a
    cycle would keep its connection open.
    """
    body = _Body(response, state, attempt)
    there = weakref.ref(response)
    kind = type(response)

    def iter_bytes(*args: Any, **kwargs: Any) -> Iterator[bytes]:
        source = kind.iter_bytes(there(), *args, **kwargs)
        while True:
            body.stepping = True
            try:
                data = next(source)
            except StopIteration:
                break
            except BaseException as error:
                state.end(outcome_of(error), error)
                raise
            finally:
                body.stepping = False
            body.take(data)
            yield data
        body.over()
        state.end("completed")

    async def aiter_bytes(*args: Any, **kwargs: Any) -> AsyncIterator[bytes]:
        source = kind.aiter_bytes(there(), *args, **kwargs)
        while True:
            body.stepping = True
            try:
                data = await anext(source)
            except StopAsyncIteration:
                break
            except BaseException as error:
                await state.end_async(outcome_of(error), error)
                raise
            finally:
                body.stepping = False
            body.take(data)
            yield data
        body.over()
        await state.end_async("completed")

    def close() -> None:
        try:
            kind.close(there())
        finally:
            how = body.left()
            if how is not None:
                state.end(*how)

    async def aclose() -> None:
        try:
            await kind.aclose(there())
        finally:
            how = body.left()
            if how is not None:
                await state.end_async(*how)

    for name, method in zip((*_READING, *_CLOSING), (iter_bytes, aiter_bytes, close, aclose), strict=True):
        setattr(response, name, method)
    state.follow(lambda *_: _untap(there()))
