"""
File-like bodies of replies, which the caller reads: the `StreamingBody` under `body` of Bedrock's `invoke_model`.

The library never reads one itself. The caller has the very object that the SDK made, and the bytes are
looked at as they pass. At the end they are read as one JSON object.
"""

from __future__ import annotations

import inspect
import weakref
from typing import TYPE_CHECKING, Any

from ..flow.outcome import exit_outcome, outcome_of
from ..frames import hide_own_frames
from ..log import count_fault
from ..shapes import bedrock, bedrock_body
from .stream_types import is_file_body, one_per_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..flow.model import Outcome
    from .state import StreamState

__all__ = ["set_counts", "state_of_body", "watch_body"]

_BODY = "_moa_body"
"""Attribute of a body that is looked at."""
_READS = ("read", "read1", "readinto", "readlines")
_AMOUNTS = ("amt", "b")
"""Names of the argument that says how much is read, or into what."""
_MOST = 64 * 1024 * 1024
"""Bytes of a body that are kept until its end; of a longer one nothing is read."""


class _Body:
    """What the bytes of one body say."""

    __slots__ = ("counts", "depth", "kind", "left", "parsed", "pieces", "size", "state")

    def __init__(self, kind: type, state: StreamState) -> None:
        self.kind = kind
        """The body's own class."""
        self.state = state
        self.pieces: list[bytes] = []
        self.size = 0
        self.parsed: Any = None
        """The object in all of the pieces, once it was asked for."""
        self.counts: dict[str, int] | None = None
        """Tokens that the headers of the response name."""
        self.depth = 0
        """How many of its methods are under way: they call each other."""
        self.left: tuple[Outcome, BaseException | None] | None = None
        """How its `with` is being left, which closes it."""

    def take(self, data: bytes) -> None:
        """Keep a piece."""
        self.size += len(data)
        self.parsed = None
        if self.size <= _MOST:
            self.pieces.append(data)
        else:
            self.pieces.clear()

    @property
    def is_whole(self) -> bool:
        """True if the bytes so far are a whole JSON object, so that nothing of the reply is missing."""
        self.parsed = bedrock.json_of(b"".join(self.pieces))
        return self.parsed is not None

    def over(self) -> None:
        """Read the whole, at its end; never raises."""
        try:
            body = bedrock.json_of(b"".join(self.pieces)) if self.parsed is None else self.parsed
            self.pieces.clear()
            if body is None or not bedrock_body.feed_reply(self.state.acc, body, self.counts):
                self.state.acc.unread += 1
        except Exception as error:
            count_fault("body", error)


def watch_body(source: Any, state: StreamState) -> Any:
    """Look at the bytes of a body as they are read, until it is over; returns the body."""
    # As `raw` does it for the responses of httpx, and for the same reasons: the object becomes an instance
    # of a subclass that overrides what reads it, and one of its own class again when the body is over.
    kind = type(source)
    vars(source)[_BODY] = _Body(kind, state)
    source.__class__ = _watched_class(kind)
    there = weakref.ref(source)
    state.add_done_callback(lambda *_: _unwatch(there()))
    state.watch(source)
    return source


def state_of_body(value: Any) -> StreamState | None:
    """Return the state of a body that is looked at, `None` for anything else."""
    body = getattr(value, "__dict__", {}).get(_BODY)
    return body.state if body is not None else None


def set_counts(value: Any, counts: dict[str, int] | None) -> None:
    """Keep the tokens that the headers of a body's response name."""
    vars(value)[_BODY].counts = counts


def _unwatch(source: Any) -> None:
    """Let a body be of its own class again, and the object under it, where a `with` has given that away."""
    body = vars(source).pop(_BODY, None) if source is not None else None
    if body is not None:
        source.__class__ = body.kind
        _unwatch(_under(source))


def _under(source: Any) -> Any:
    raw = vars(source).get("_raw_stream")
    return raw if _BODY in getattr(raw, "__dict__", {}) else None


@one_per_type
def _watched_class(kind: Any) -> Any:
    names: dict[str, Any] = {}
    for name in _READS:
        original = getattr(kind, name, None)
        if original is not None:
            make = _reading_async if inspect.iscoroutinefunction(original) else _reading
            names[name] = make(original, name)
    for name in ("close", "aclose"):
        original = getattr(kind, name, None)
        if original is not None:
            names[name] = (_closing_async if inspect.iscoroutinefunction(original) else _closing)(original)
    if hasattr(kind, "__aenter__"):
        names["__aexit__"] = _leaving_async(kind.__aexit__)
    elif is_file_body(kind):
        names.update(__enter__=_entering(kind.__enter__), __exit__=_leaving(kind.__exit__))
    names.update({name: getattr(kind, name) for name in ("__doc__", "__module__", "__qualname__")})
    return type(kind.__name__, (kind,), names)


def _begun(self: Any) -> _Body | None:
    """Return the body that a method reads or closes, `None` inside another method or when it is over."""
    body: _Body | None = vars(self).get(_BODY)
    if body is None or body.depth or body.state.ended is not None:
        return None
    body.depth += 1
    return body


def _read(self: Any, body: _Body, name: str, args: tuple[Any, ...], got: Any) -> bool:
    """Take in what a method has read; returns True if that was the end."""
    if name == "readinto":
        data, wanted = bytes(args[0][:got]), len(args[0])
    elif name == "readlines":
        data, wanted = b"".join(got), -1
    else:
        size = args[0] if args else None
        data, wanted = got, -1 if size is None or size < 0 else size
        if name == "read1" and wanted < 0:
            wanted = len(got) or 1  # what is there, however much
    body.take(data)
    # A caller that knows the length reads no further.
    length = vars(self).get("_content_length")
    is_all = length is not None and str(length).isdecimal() and body.size >= int(length)
    if not (wanted < 0 or (wanted and not data) or is_all):
        return False
    body.over()
    return True


def _given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """Return the argument of a method that says how much it reads, by position; urllib3's have others too."""
    return args or tuple(kwargs[name] for name in _AMOUNTS if name in kwargs)


def _finish(body: _Body, how: tuple[Outcome, BaseException | None]) -> tuple[Outcome, BaseException | None]:
    """
    Return how a body ended that is closed, which may have been read to its end without a sign of that.

    urllib3's own ways to read, under a `with`, stop at the length that the server named.
    """
    if body.state.ended is None and body.pieces and _safely(getattr, body, "is_whole"):
        body.over()
        return "completed", None
    return how


def _reading(original: Any, name: str) -> Any:
    def read(self: Any, *args: Any, **kwargs: Any) -> Any:
        body = _begun(self)
        if body is None:
            return original(self, *args, **kwargs)
        try:
            got = original(self, *args, **kwargs)
        except BaseException as error:
            body.state.end(outcome_of(error), error)
            hide_own_frames(error)
            raise
        finally:
            body.depth -= 1
        if _safely(_read, self, body, name, _given(args, kwargs), got):
            body.state.end("completed")
        return got

    return _like(read, original)


def _reading_async(original: Any, name: str) -> Any:
    async def read(self: Any, *args: Any, **kwargs: Any) -> Any:
        body = _begun(self)
        if body is None:
            return await original(self, *args, **kwargs)
        try:
            got = await original(self, *args, **kwargs)
        except BaseException as error:
            await body.state.end_async(outcome_of(error), error)
            hide_own_frames(error)
            raise
        finally:
            body.depth -= 1
        if _safely(_read, self, body, name, _given(args, kwargs), got):
            await body.state.end_async("completed")
        return got

    return _like(read, original)


def _closing(original: Any) -> Any:
    def close(self: Any, *args: Any) -> Any:
        body = _begun(self)
        try:
            return original(self, *args)
        finally:
            if body is not None:
                body.depth -= 1
                body.state.end(*_finish(body, body.left or ("closed", None)))

    return _like(close, original)


def _closing_async(original: Any) -> Any:
    async def close(self: Any, *args: Any) -> Any:
        body = _begun(self)
        try:
            return await original(self, *args)
        finally:
            if body is not None:
                body.depth -= 1
                await body.state.end_async(*_finish(body, body.left or ("closed", None)))

    return _like(close, original)


def _entering(original: Any) -> Any:
    def enter(self: Any) -> Any:
        # What a `with` gives is the object under the body, which is read past it.
        raw, body = original(self), vars(self).get(_BODY)
        if body is not None and _BODY not in getattr(raw, "__dict__", {_BODY: None}):
            _safely(_watch_under, raw, body)
        return raw

    return _like(enter, original)


def _watch_under(raw: Any, body: _Body) -> None:
    under = _Body(type(raw), body.state)
    under.counts = body.counts
    vars(raw)[_BODY] = under
    raw.__class__ = _watched_class(under.kind)


def _leaving(original: Any) -> Any:
    def leave(self: Any, kind: Any, error: Any, trace: Any) -> Any:
        body = vars(self).get(_BODY)
        how, under = exit_outcome(error), _under(self)
        both = [one for one in (body, vars(under).get(_BODY) if under is not None else None) if one is not None]
        for one in both:
            how = _finish(one, how)
        for one in both:
            one.left = how
        try:
            return original(self, kind, error, trace)
        finally:
            if body is not None:
                body.state.end(*how)

    return _like(leave, original)


def _leaving_async(original: Any) -> Any:
    async def leave(self: Any, kind: Any, error: Any, trace: Any) -> Any:
        body = vars(self).get(_BODY)
        if body is not None:
            body.left = exit_outcome(error)
        return await original(self, kind, error, trace)

    return _like(leave, original)


def _safely(fn: Callable[..., Any], *args: Any) -> Any:
    """Call a function of ours whose fault must not reach the caller."""
    try:
        return fn(*args)
    except Exception as error:
        count_fault("body", error)
        return None


def _like(made: Any, original: Any) -> Any:
    """Return a method under the name of the one that it overrides."""
    for name in ("__name__", "__qualname__", "__doc__", "__module__"):
        setattr(made, name, getattr(original, name, None))
    return made
