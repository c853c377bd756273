"""
The state of one stream, and the transparent proxies that feed it.

A proxy passes the same chunk objects, exceptions and return values; the text is read as it passes.
The state never holds the proxy: that would be a cycle, and the SDK's connection would stay open
until the collector runs. It ends exactly once, at the first of: exhaustion, an exception, `close`,
leaving a `with`, garbage collection, interpreter exit.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import ReplyFormError
from ..flow.driver import Conversation, Ended, NeedsAsync, drive_async, drive_last, drive_sync
from ..flow.model import Chunk, Tap
from ..flow.outcome import ErrorInfo, error_of, outcome_of, without_our_frames
from ..log import count_fault, log
from ..process import claim, once, process_id
from ..shapes.render import render_chunk
from ..shapes.replies import Accumulator, read_chunk
from .kinds import is_stream

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..flow.model import Outcome, Reply
    from ..scope import Scope
    from ..turns.call_state import CallSlot

__all__ = ["DROPPED", "End", "ManagerEntered", "StreamState", "apply_taps", "finish_broken_off"]

DROPPED: Any = object()
"""In place of a chunk that `map_chunks` has dropped."""


class End(NamedTuple):
    """How a stream ended; sent into the conversation."""

    outcome: Outcome
    error: BaseException | None = None
    listening: bool = False
    """Whether the consumer is still there, so that another stream could go on for this one."""


class ManagerEntered(NamedTuple):
    """What a stream manager's enter returned; sent into the conversation."""

    value: Any


_open_streams: dict[int, StreamState] = {}


class StreamState:
    """What is known of one stream while it runs."""

    __slots__ = (
        "__weakref__",
        "acc",
        "callbacks",
        "closing",
        "ended",
        "error",
        "finalizer",
        "finish",
        "inner",
        "leaving",
        "mapped",
        "on_chunk",
        "open",
        "owner_pid",
        "readers",
        "reply",
        "scope",
        "slot",
        "suspended",
        "talk",
        "taps",
        "tools",
    )

    def __init__(
        self,
        talk: Conversation | None,
        *,
        finish: Callable[[End], None] | None = None,
        taps: Sequence[Tap] = (),
        scope: Scope | None = None,
        tools: bool = True,
    ) -> None:
        """
        Begin the state of a stream.

        Args:
            talk: The conversation that is taken up when the stream is over; `None` with `finish`.
            finish: Called once when the stream is over, in place of a conversation. It cannot await, and
                nothing can go on in the stream's place.
            taps: What is shown each chunk, outermost first.
            scope: Where each step runs, for a source that may make calls of its own.
            tools: False if the request offers no tools, so that no chunk holds a tool call.
        """
        self.talk = talk
        self.finish = finish
        self.tools = tools
        self.scope = scope
        """Where each step runs; `None` for a stream of an SDK, which makes no calls of its own."""
        self.owner_pid = process_id()
        self.suspended = False
        """Whether a `for` over it was broken off: it may be taken up again, or never."""
        self.leaving = False
        """Whether its `with` is being left: what is closed then is closed by that."""
        self.closing: tuple[Outcome, BaseException | None] | None = None
        """How what it reads from was left while somebody read it; that counts if it goes no further."""
        self.inner: StreamState | None = None
        """The stream of a call inside, which ends with this one."""
        self.readers = 0
        """
        Steps and loops that are under way. No other thread and no signal comes between the two halves
        of a `+=` where there is a GIL; elsewhere two threads in one stream may miscount.
        """
        self.ended: Outcome | None = None
        self.error: ErrorInfo | None = None
        self.callbacks: list[Callable[[Outcome, BaseException | None], None]] = []
        self.finalizer: weakref.finalize[Any, Any] | None = None
        self.slot: CallSlot | None = None
        """The call whose stream it is, `None` for a turn's."""
        self.reply: Reply | None = None
        """What it came to, once it is over."""
        self.begin(taps)

    def begin(self, taps: Sequence[Tap] = ()) -> None:
        """Begin with a source, or with another one that goes on in its place."""
        self.acc = Accumulator(tools=self.tools)
        self.taps = [tap for tap in reversed(taps) if tap.kind != "buffer"]
        self.mapped = Accumulator() if any(t.kind == "map_chunks" for t in self.taps) else None
        self.on_chunk: Callable[[Any], Any] | None = None
        if self.taps:
            self.on_chunk = self._tapped
        self.open = once()
        _open_streams[id(self)] = self

    def watch(self, proxy: object) -> None:
        """End as abandoned when the proxy is collected, or is still there at interpreter exit."""
        if self.finalizer is not None:
            self.finalizer.detach()
        self.finalizer = weakref.finalize(proxy, self.drop)

    def _tapped(self, raw: Any) -> Any:
        """Feed a chunk, show it to the taps from the wire outwards, return what goes on."""
        self.acc.feed(raw)
        out = apply_taps(raw, self.taps)
        if self.mapped is not None and out is not DROPPED:
            self.mapped.feed(out)
        return out

    @property
    def delivered(self) -> int:
        """How many chunks the consumer got; `map_chunks` may have dropped some."""
        return self.acc.count if self.mapped is None else self.mapped.count

    def add_done_callback(self, fn: Callable[[Outcome, BaseException | None], None]) -> None:
        """Call `fn` when the stream is over, at once if it is; `error` is all that is left of its exception then."""
        self.callbacks.append(fn)
        if self.ended is not None:
            self._tell()

    def _tell(self, error: BaseException | None = None) -> None:
        while self.callbacks and self.ended is not None:
            try:
                fn = self.callbacks.pop(0)
            except IndexError:  # another thread was faster
                return
            fn(self.ended, error)

    def _verdict(self, outcome: Outcome) -> Outcome:
        """Whoever leaves after the finish reason of every choice has had the whole answer."""
        if outcome in ("closed", "abandoned", "completed") and self.acc.failure is not None:
            return "error"
        if outcome in ("closed", "abandoned") and self.acc.finished:
            return "completed"
        return outcome

    def _settle(self, end: End) -> None:
        if self.finalizer is not None:
            self.finalizer.detach()
        self.error = error_of(end.error or self.acc.failure)
        self.ended = end.outcome
        self._tell(end.error)

    def _finish(self, end: End) -> None:
        """Call the plain function that waits for the end; what it raises is a fault of ours, not the consumer's."""
        finish, self.finish = self.finish, None
        try:
            if finish is not None:
                finish(end)
        except Exception as error:
            count_fault("stream", error)
        finally:
            self._settle(end)

    def _claim(self) -> bool:
        if self.owner_pid != process_id() or not claim(self.open):
            return False
        _open_streams.pop(id(self), None)
        return True

    def end(self, outcome: Outcome, error: BaseException | None = None, *, listening: bool = False) -> Any:
        """
        End the stream, if nobody has; a middleware may put another in its place.

        Returns:
            The source to go on with, `None` if it is over.

        Raises:
            BaseException: What a middleware raised. `error` itself is left to the caller.
        """
        if not self._claim():
            return None
        if self.inner is not None:
            self.inner.end(outcome, error)
        end = End(self._verdict(outcome), error, listening)
        if self.talk is None:
            return self._finish(end)
        try:
            ended = drive_sync(self.talk, end)
        except NeedsAsync:
            self.talk.close()
            log("moa.middleware_closed", reason="it has to await, and its stream ended in sync code")
        except BaseException as raised:
            self._settle(end)
            if raised is not error:
                raise
            without_our_frames(raised)
            return None
        else:
            if ended.suspended:
                return ended.value
        self._settle(end)
        return None

    async def end_async(self, outcome: Outcome, error: BaseException | None = None, *, listening: bool = False) -> Any:
        """Do the same as `end` where the middleware can await."""
        if not self._claim():
            return None
        if self.inner is not None:
            await self.inner.end_async(outcome, error)
        end = End(self._verdict(outcome), error, listening)
        if self.talk is None:
            return self._finish(end)
        try:
            ended = await drive_async(self.talk, end)
        except BaseException as raised:
            self._settle(end)
            if raised is not error:
                raise
            without_our_frames(raised)
            return None
        if ended.suspended:
            return ended.value
        self._settle(end)
        return None

    def not_opened(self, error: BaseException) -> Ended:
        """
        Tell the middleware that a stream manager could not be entered; it may send once more.

        Raises:
            BaseException: `error`, or what a middleware raised in its place.
        """
        end = End(outcome_of(error), error, listening=True)
        if not self._claim():
            raise error
        if self.talk is None:
            self._finish(end)
            raise error
        try:
            return drive_sync(self.talk, end)
        except BaseException:
            self._settle(end)
            raise

    async def not_opened_async(self, error: BaseException) -> Ended:
        """Do the same as `not_opened` where the middleware can await."""
        end = End(outcome_of(error), error, listening=True)
        if not self._claim():
            raise error
        if self.talk is None:
            self._finish(end)
            raise error
        try:
            return await drive_async(self.talk, end)
        except BaseException:
            self._settle(end)
            raise

    def entered(self, value: Any) -> Ended:
        """Take down what a manager's enter or a raw response's `parse` gave; returns what the caller gets of it."""
        if self.talk is None:
            return Ended(value, suspended=is_stream(value))
        return drive_sync(self.talk, ManagerEntered(value))

    async def entered_async(self, value: Any) -> Ended:
        """Do the same as `entered` where the middleware can await."""
        if self.talk is None:
            return Ended(value, suspended=is_stream(value))
        return await drive_async(self.talk, ManagerEntered(value))

    def drop(self, outcome: Outcome = "abandoned") -> None:
        """
        End the stream where nobody listens; never raises.

        A finaliser may run inside any allocation and in any thread: nothing on this path takes a
        lock that its thread can hold.
        """
        if not self._claim():
            return
        if self.inner is not None:
            self.inner.drop(outcome)
        error: BaseException | None = None
        if self.closing is not None and outcome == "abandoned":
            outcome, error = self.closing
        self.closing = None
        end = End(self._verdict(outcome), error)
        if self.talk is None:
            self._finish(end)
            return
        drive_last(self.talk, end)
        self._settle(end)


def finish_broken_off(*, everything: bool = False) -> int:
    """
    End the streams that were broken off and not taken up again; returns how many.

    Args:
        everything: End those too that are open, because the process is about to.
    """
    states = [s for s in list(_open_streams.values()) if everything or s.suspended]
    for state in states:
        state.drop()
    return len(states)


def apply_taps(raw: Any, taps: Sequence[Tap]) -> Any:
    """Show a chunk to the taps, innermost first; returns what goes on, or `DROPPED`."""
    view = shown = read_chunk(raw)
    for tap in taps:
        try:
            result = tap.fn(view)
        except Exception as error:
            if tap.guard is None:
                error.add_note(f"raised by a tap of the middleware `{tap.owner}`")
                raise
            tap.guard(error)
            continue
        if tap.kind != "map_chunks":
            continue
        if result is None:
            return DROPPED
        if isinstance(result, str):
            # The same text is no change: the very chunk goes on, also one without a text.
            view = view.replace(text=result) if result != view.text else view
        elif isinstance(result, Chunk):
            view = result
        else:
            msg = f"`{tap.owner}`: map_chunks takes a Chunk, a str or None, got {type(result).__name__}"
            raise ReplyFormError(msg)
    return raw if view is shown else render_chunk(raw, view)
