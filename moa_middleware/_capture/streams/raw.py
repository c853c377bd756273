"""
Raw responses of SDKs, whose body is still to come: `with_raw_response` and `with_streaming_response`.

The response goes to the caller behind a proxy that differs in `parse` only, since a stream may come
out of it. Whoever reads the body instead (`read`, `iter_lines`, `json`, or the HTTP response itself)
reads its bytes, which are looked at as they pass. Source of the event format: the WHATWG HTML
standard, *Server-sent events*.
"""

from __future__ import annotations

import copyreg
import inspect
import sys
import weakref
from typing import TYPE_CHECKING, Any

from ..flow.outcome import exit_outcome, outcome_of
from ..frames import hide_own_frames
from ..shapes.accumulator import Accumulator
from .body_events import BodyEvents
from .http_reply import BODY, HttpReply, failure_of_response, watch_reader, with_response
from .proxy_class import StateProxy, proxy_class
from .stream_types import is_stream, one_per_type

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from types import FrameType

    from ..flow.driver import Ended
    from ..flow.model import Outcome, Reply
    from ..turns.turn import Attempt
    from .state import StreamState

    StreamProxyMaker = Callable[..., Any]

__all__ = ["raw_proxy", "read_body"]


class RawProxy(StateProxy):
    """Base of the classes made by `raw_proxy`."""

    def __init__(self, wrapped: Any, state: StreamState, stream_proxy: StreamProxyMaker) -> None:
        super().__init__(wrapped)
        self._self_state = state
        self._self_stream_proxy = stream_proxy
        self._self_parsed: Any = None
        """A weak reference to the proxy that `parse` returned: the SDK, too, returns one stream."""


def _parse(self: Any, *args: Any, **kwargs: Any) -> Any:
    try:
        parsed = self.__wrapped__.parse(*args, **kwargs)
    except BaseException as error:
        hide_own_frames(error)
        raise
    return _entered(self, self._self_state.entered(parsed)) if _is_new(self, parsed) else _known(self, parsed)


async def _parse_async(self: Any, *args: Any, **kwargs: Any) -> Any:
    try:
        parsed = await self.__wrapped__.parse(*args, **kwargs)
    except BaseException as error:
        hide_own_frames(error)
        raise
    is_new = _is_new(self, parsed)
    return _entered(self, await self._self_state.entered_async(parsed)) if is_new else _known(self, parsed)


def _is_new(self: Any, parsed: Any) -> bool:
    """Return True if `parse` gave a stream for the first time, and the body was not read in another way."""
    if not is_stream(parsed) or self._self_parsed is not None or self._self_state.ended is not None:
        return False
    body = vars(self.__wrapped__.http_response).get(BODY)
    if body is not None:
        body.parsed = True
    return True


def _known(self: Any, parsed: Any) -> Any:
    """Return what the caller gets of a value, or of a stream that is known already."""
    if self._self_parsed is None or not is_stream(parsed):
        return parsed
    made = self._self_parsed()
    if made is None:
        made = self._self_stream_proxy(parsed, self._self_state, keep=self)
        self._self_parsed = weakref.ref(made)
    return made


def _entered(self: Any, ended: Ended) -> Any:
    state: StreamState = self._self_state
    made = ended.value
    if ended.suspended:
        made = self._self_stream_proxy(made, state, keep=self)
        # From here on it is the stream that is dropped or kept; others may hold the response for long.
        state.watch(made)
    self._self_parsed = weakref.ref(made)
    return made


@one_per_type
def _raw_class(kind: Any) -> Any:
    is_async = inspect.iscoroutinefunction(kind.parse)
    return proxy_class(kind, RawProxy, {"parse": _parse_async if is_async else _parse})


def raw_proxy(source: Any, state: StreamState, attempt: Attempt, *, asked: bool, stream_proxy: StreamProxyMaker) -> Any:
    """
    Return a proxy around a raw response, whose body feeds `state` however it is read.

    Args:
        source: The response.
        state: Of the reply.
        attempt: The request.
        asked: Whether a stream was asked for.
        stream_proxy: Makes the proxy of a stream that comes out of the response.
    """
    proxy = _raw_class(type(source))(source, state, stream_proxy)
    # Not the proxy: whoever reads the HTTP response itself may have dropped that.
    state.watch(source.http_response)
    watch = watch_reader if type(source) is HttpReply and source.client == "aiohttp" else _watch
    watch(source.http_response, state, _Body(source.http_response, state, attempt, asked=asked))
    return proxy


# The body. ----------------------------------------------------------------------------------------


def _in_exit() -> bool:
    """Return True if a response is closed by leaving a `with`."""
    # The SDK's `__exit__` gets the exception of the block and passes none of it on to `close`. While it
    # runs, Python handles that exception, so `sys.exc_info` has it; but the same is true of a `close` in
    # an `except` block of the consumer's, whose exception did not end the stream. The frames show which.
    frame: FrameType | None = sys._getframe(1)
    for _ in range(_FRAMES):
        frame = frame.f_back if frame is not None else None
        if frame is not None and frame.f_code.co_name in ("__exit__", "__aexit__"):
            return True
    return False


_FRAMES = 5
"""From an SDK's manager to the response that it closes."""


class _Body(BodyEvents):
    """A body that is read now, by the caller or by code that it passes the response to."""

    def __init__(self, response: Any, state: StreamState, attempt: Attempt, *, asked: bool) -> None:
        super().__init__(response.headers, self._fed, asked=asked)
        self.state = state
        self.kind: Any = None
        """The response's own class."""
        # An SDK raises for such a status; a program with an HTTP client may not.
        self.failure = state.acc.failure = failure_of_response(response)
        self.parsed = False
        """True if a stream came out of it, which is read in its place."""
        self.stepping = False
        """True if a piece is being read: httpx closes a response when it has read the last one."""
        attempt.streamed = self.streamed
        self._handled = id(sys.exc_info()[1])
        """The exception that the caller handles already, whatever becomes of this response."""

    def over(self) -> None:
        """Read what is left, at the end of the body; never raises."""
        if self.failure is not None:
            self.state.acc.failure = None  # what the body says of it is more
        super().over()
        self.state.acc.failure = with_response(self.state.acc.failure, self.failure)

    def _fed(self, event: Any) -> None:
        (self.state.on_chunk or self.state.acc.feed)(event)

    def exit_outcome(self) -> tuple[Outcome, BaseException | None] | None:
        """
        Return how the response is left, which closes it; None if it is read at this moment.

        The SDK closes it itself when all is read.
        """
        if self.stepping:
            return None
        self.flush()
        error = sys.exc_info()[1] if _in_exit() else None
        how = exit_outcome(error if id(error) != self._handled else None)
        if not self.state.readers:
            return how
        self.state.closing = how
        return None


def read_body(source: Any, *, asked: bool) -> tuple[Reply, bool]:
    """Return what a raw response says whose body is there, and whether that was a stream."""
    response, acc = source.http_response, Accumulator()
    events = BodyEvents(response.headers, acc.feed, asked=asked)
    events.take(response.content)
    events.over()
    reply = acc.reply()
    return (reply if events.streamed else reply.replace(chunks=None)), events.streamed


def _unwatch(response: Any) -> None:
    """Let a response be of its own class again."""
    body = vars(response).pop(BODY, None) if response is not None else None
    if body is not None:
        response.__class__ = body.kind


def _watch(response: Any, state: StreamState, body: _Body) -> None:
    """Look at the bytes of a response as they pass, until it is over."""
    # The response is not wrapped: the SDK holds it too, reads it behind any proxy of ours, and so may
    # the caller (`response.http_response`). Every way to read its body goes through six methods, so
    # this one object becomes an instance of a subclass that overrides them, by an assignment to its
    # `__class__`, and an instance of its own class again when the body is over. What else was tried:
    # methods put on the object itself are a cycle with it, which keeps its connection open until the
    # collector runs; methods that hold it weakly lose it while it is collected, which is when httpx
    # closes it; and a patch of the class would look at every response of the process. The subclass has
    # the name, the module and the docstring of the class, `isinstance` holds, and a pickle names the
    # class itself (`_reduce`). Guarded by `test_a_raw_response_is_of_its_own_class_again` and
    # `test_a_raw_response_in_a_cycle_is_closed_when_it_is_collected` in tests/system/sdks/test_details.py.
    body.kind = type(response)
    vars(response)[BODY] = body
    response.__class__ = _watched_class(body.kind)
    there = weakref.ref(response)
    state.add_done_callback(lambda *_: _unwatch(there()))


@one_per_type
def _watched_class(kind: Any) -> Any:
    # The third is of `requests`, whose other ways to read a body go through it.
    names: dict[str, Any] = {
        n: _reading(kind, n) for n in ("iter_bytes", "iter_raw", "iter_content") if hasattr(kind, n)
    }
    names.update({n: _reading_async(kind, n) for n in ("aiter_bytes", "aiter_raw") if hasattr(kind, n)})
    names.update({name: getattr(kind, name) for name in ("__doc__", "__module__", "__qualname__")})
    names.update(close=_closing(kind.close), __reduce_ex__=_reduce)
    if hasattr(kind, "aclose"):
        names["aclose"] = _closing_async(kind.aclose)
    return type(kind.__name__, (kind,), names)


def _reduce(self: Any, _protocol: Any) -> Any:
    """Pickle a response as one of its own class, by the function that pickle itself uses."""
    # First: `requests` reads the rest of the body for the state, and at its end nothing looks at the response any more.
    kind = vars(self)[BODY].kind
    state = {name: value for name, value in self.__getstate__().items() if name != BODY}
    return copyreg._reconstructor, (kind, object, None), state  # type: ignore[attr-defined]


def _body_to_read(response: Any, name: str) -> _Body | None:
    """Return the body that a method of a response reads, None if it is read in another way, or compressed."""
    body: _Body | None = vars(response).get(BODY)
    # `iter_bytes` steps through `iter_raw`: only the outer one of the two is looked at. Raw bytes of an
    # encoded body cannot be read.
    is_other = body is None or body.parsed or body.stepping or (body.encoded and name.endswith("_raw"))
    return None if is_other else body


def _reading(kind: Any, name: str) -> Any:
    original = getattr(kind, name)

    def read(self: Any, *args: Any, **kwargs: Any) -> Iterator[bytes]:
        # Not a generator itself: one method of `requests` checks its arguments when it is called.
        return _steps(self, name, original(self, *args, **kwargs))

    return read


def _steps(response: Any, name: str, source: Iterator[Any]) -> Iterator[Any]:
    body = _body_to_read(response, name)
    if body is None:
        yield from source
        return
    body.stepping = True
    try:
        for data in source:
            body.stepping = False
            # `iter_content(decode_unicode=True)` of `requests` yields strings.
            body.take(data.encode(response.encoding or "utf-8") if type(data) is str else data)
            yield data  # what the consumer raises here is not the body's error
            body.stepping = True
    except BaseException as error:
        if body.stepping:
            body.state.end(outcome_of(error), error)
        hide_own_frames(error)
        raise
    finally:
        body.stepping = False
    body.over()
    body.state.end("completed")


def _reading_async(kind: Any, name: str) -> Any:
    original = getattr(kind, name)

    async def read(self: Any, *args: Any, **kwargs: Any) -> AsyncIterator[bytes]:
        source = original(self, *args, **kwargs)
        body = _body_to_read(self, name)
        if body is None:
            async for data in source:
                yield data
            return
        body.stepping = True
        try:
            async for data in source:
                body.stepping = False
                body.take(data)
                yield data
                body.stepping = True
        except BaseException as error:
            if body.stepping:
                await body.state.end_async(outcome_of(error), error)
            hide_own_frames(error)
            raise
        finally:
            body.stepping = False
        body.over()
        await body.state.end_async("completed")

    return read


def _closing(original: Any) -> Any:
    def close(self: Any) -> None:
        body: _Body | None = vars(self).get(BODY)
        try:
            original(self)
        finally:
            if body is not None and (how := body.exit_outcome()) is not None:
                body.state.end(how[0], how[1])

    return close


def _closing_async(original: Any) -> Any:
    async def aclose(self: Any) -> None:
        body: _Body | None = vars(self).get(BODY)
        try:
            await original(self)
        finally:
            if body is not None and (how := body.exit_outcome()) is not None:
                await body.state.end_async(how[0], how[1])

    return aclose
