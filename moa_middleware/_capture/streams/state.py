"""
The state of one stream: what is read of it, and how it ends.

Proxies feed it; they pass the same chunk objects, exceptions and return values on. It ends exactly
once, at the first of: exhaustion, an exception, `close`, leaving a `with`, garbage collection,
interpreter exit.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, NamedTuple

from ..flow.driver import Conversation, Ended, NeedsAsync, drive_async, drive_last, drive_sync
from ..flow.outcome import ErrorInfo, error_of, outcome_of
from ..frames import strip_own_frames
from ..log import count_fault, log
from ..process import claim, once, process_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..flow.model import Outcome, Reply
    from ..scope import Scope
    from ..shapes.accumulator import Accumulator
    from ..turns.turn import CallState
    from .taps import Taps

__all__ = ["End", "FutureDone", "ManagerEntered", "StreamState", "finish_broken_off", "follow", "future_done"]


class End(NamedTuple):
    """How a stream ended; sent into the conversation."""

    outcome: Outcome
    error: BaseException | None = None
    listening: bool = False
    """True if the consumer is still there, so that another stream could go on for this one."""


class ManagerEntered(NamedTuple):
    """What a stream manager's enter returned; sent into the conversation."""

    value: Any


class FutureDone(NamedTuple):
    """A future that is done; sent into the conversation."""

    future: Any


def future_done(conversation: Conversation, future: Any) -> None:
    """Take the conversation up from a future's callback."""
    drive_last(conversation, FutureDone(future))


def follow(state: StreamState, conversation: Conversation) -> None:
    """Take the conversation up when another call's stream is over."""
    state.add_done_callback(lambda outcome, error: drive_last(conversation, End(outcome, error)))


_open_streams: dict[int, StreamState] = {}


class StreamState:
    """
    What is known of one stream while it runs.

    It never holds the proxy, which holds it: that would be a cycle.
    """

    # With a cycle, a stream that the consumer drops would live until the collector runs; its SDK's
    # connection would stay open, and its turn open and unwritten, for as long. So neither the state nor
    # what it calls at the end may hold the proxy: a suspended conversation keeps its values in a box
    # that it empties before it waits, and `finish` is let go of when it was called. Guarded by
    # tests/behaviour/streams/test_lifetimes.py, which turns the collector off, and
    # `test_a_dropped_stream_is_final_without_the_collector`.

    __slots__ = (
        "__weakref__",
        "acc",
        "call_state",
        "callbacks",
        "closing",
        "conversation",
        "ended",
        "error",
        "finalizer",
        "finish",
        "inner",
        "leaving",
        "on_chunk",
        "open",
        "owner_pid",
        "readers",
        "reply",
        "scope",
        "suspended",
        "taps",
    )

    def __init__(
        self,
        conversation: Conversation | None,
        acc: Accumulator,
        *,
        finish: Callable[[End], None] | None = None,
        taps: Taps | None = None,
        scope: Scope | None = None,
    ) -> None:
        """
        Begin the state of a stream.

        Args:
            conversation: The conversation that is taken up when the stream is over; `None` with `finish`.
            acc: Reads the chunks.
            finish: Called once when the stream is over, in place of a conversation. It cannot await, and
                nothing can go on in the stream's place.
            taps: See each chunk, or change it.
            scope: Where each step runs, for a source that may make calls of its own.
        """
        self.conversation = conversation
        self.finish = finish
        self.scope = scope
        """Where each step runs; `None` for a stream of an SDK, which makes no calls of its own."""
        self.owner_pid = process_id()
        self.suspended: bool | None = None
        """True if a `for` over it was broken off: it may be taken up again, or never. `None` before its first step."""
        self.leaving = False
        """True if its `with` is being left: what is closed then is closed by that."""
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
        self.call_state: CallState | None = None
        """The call whose stream it is, `None` for a turn's."""
        self.reply: Reply | None = None
        """The whole reply, once the stream is over."""
        self.acc = acc
        self.taps = taps
        self.on_chunk: Callable[[Any], Any] | None = self._tapped if taps is not None else None
        """Feeds a chunk, and returns what goes on; `None` where a chunk is only fed."""
        self.open = once()
        _open_streams[id(self)] = self

    def begin(self, taps: Taps | None = None) -> None:
        """Begin anew, with another source that goes on in place of the first."""
        self.acc = type(self.acc)(tools=self.acc.tools)
        self.tap(taps)
        self.open = once()
        _open_streams[id(self)] = self

    def tap(self, taps: Taps | None) -> None:
        """Show each chunk to these taps from now on."""
        self.taps = taps
        self.on_chunk = self._tapped if taps is not None else None

    def watch(self, proxy: object) -> None:
        """
        End as abandoned when the proxy is collected, or is still there at interpreter exit.

        By `weakref.finalize`, since Python need not call the `__del__` of what is alive at exit.
        """
        if self.finalizer is not None:
            self.finalizer.detach()
        self.finalizer = weakref.finalize(proxy, self.drop)

    def _tapped(self, raw: Any) -> Any:
        self.acc.feed(raw)
        return raw if self.taps is None else self.taps.apply(raw)

    @property
    def mapped(self) -> Accumulator | None:
        """What `map_chunks` made of the stream, None where no middleware may change it."""
        return self.taps.mapped if self.taps is not None else None

    @property
    def delivered(self) -> int:
        """How many chunks the consumer got; `map_chunks` may have dropped some."""
        return (self.mapped or self.acc).count

    def add_done_callback(self, fn: Callable[[Outcome, BaseException | None], None]) -> None:
        """Call `fn` when the stream is over, at once if it is; `error` is all that is left of its exception then."""
        self.callbacks.append(fn)
        if self.ended is not None:
            self._call_back()

    def _call_back(self, error: BaseException | None = None) -> None:
        while self.callbacks and self.ended is not None:
            try:
                fn = self.callbacks.pop(0)
            except IndexError:  # another thread was faster
                return
            fn(self.ended, error)

    # The end. ---------------------------------------------------------------------------------

    def _claim(self, outcome: Outcome, error: BaseException | None, *, listening: bool) -> End | None:
        """Return how the stream ended to the first caller, None to all others and in a forked child."""
        if self.owner_pid != process_id() or not claim(self.open):
            return None
        _open_streams.pop(id(self), None)
        if outcome in ("closed", "abandoned", "completed") and self.acc.failure is not None:
            outcome = "error"
        elif outcome in ("closed", "abandoned") and self.acc.finished:
            # Who leaves after the finish reason of every choice has had the whole answer.
            outcome = "completed"
        return End(outcome, error, listening)

    def _settle(self, end: End) -> None:
        if self.finalizer is not None:
            self.finalizer.detach()
        failure = end.error if end.error is not None else self.acc.failure
        if failure is not None:
            self.error = error_of(failure)
        self.ended = end.outcome
        if self.callbacks:
            self._call_back(end.error)

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

    def _is_news(self, end: End, raised: BaseException) -> bool:
        """Settle after the conversation raised; returns True if the consumer does not have the exception yet."""
        self._settle(end)
        if raised is not end.error:
            return True
        # The caller re-raises it. On its way through the conversation its traceback came to hold frames of
        # ours, and those hold it in their variables: a cycle, and with it the consumer's frames and the
        # stream in them (`test_an_error_of_a_stream_is_no_cycle`).
        strip_own_frames(raised)
        return False

    def end(self, outcome: Outcome, error: BaseException | None = None, *, listening: bool = False) -> Any:
        """
        End the stream, if nobody has; a middleware may put another in its place.

        Returns:
            The source to go on with, `None` if it is over.

        Raises:
            BaseException: What a middleware raised. `error` itself is left to the caller.
        """
        end = self._claim(outcome, error, listening=listening)
        if end is None:
            return None
        if self.inner is not None:
            self.inner.end(outcome, error)
        if self.conversation is None:
            return self._finish(end)
        try:
            ended = drive_sync(self.conversation, end)
        except NeedsAsync:
            self.conversation.close()
            log("moa.middleware_closed", reason="it has to await, and its stream ended in sync code")
            return self._settle(end)
        except BaseException as raised:
            if self._is_news(end, raised):
                raise
            return None
        return ended.value if ended.suspended else self._settle(end)

    async def end_async(self, outcome: Outcome, error: BaseException | None = None, *, listening: bool = False) -> Any:
        """Do the same as `end` where the middleware can await."""
        end = self._claim(outcome, error, listening=listening)
        if end is None:
            return None
        if self.inner is not None:
            await self.inner.end_async(outcome, error)
        if self.conversation is None:
            return self._finish(end)
        try:
            ended = await drive_async(self.conversation, end)
        except BaseException as raised:
            if self._is_news(end, raised):
                raise
            return None
        return ended.value if ended.suspended else self._settle(end)

    def entered(self, value: Any) -> Ended:
        """Take down what a manager's enter or a raw response's `parse` gave; returns what the caller gets of it."""
        if self.conversation is None:
            return Ended(value, suspended=True)
        return drive_sync(self.conversation, ManagerEntered(value))

    async def entered_async(self, value: Any) -> Ended:
        """Do the same as `entered` where the middleware can await."""
        if self.conversation is None:
            return Ended(value, suspended=True)
        return await drive_async(self.conversation, ManagerEntered(value))

    def not_opened(self, error: BaseException) -> Ended:
        """
        Tell the middleware that a stream manager could not be entered; it may send once more.

        Raises:
            BaseException: `error`, or what a middleware raised in its place.
        """
        end = self._claim(outcome_of(error), error, listening=True)
        if end is None or self.conversation is None:
            if end is not None:
                self._finish(end)
            raise error
        try:
            return drive_sync(self.conversation, end)
        except BaseException:
            self._settle(end)
            raise

    async def not_opened_async(self, error: BaseException) -> Ended:
        """Do the same as `not_opened` where the middleware can await."""
        if self.conversation is None:
            return self.not_opened(error)
        end = self._claim(outcome_of(error), error, listening=True)
        if end is None:
            raise error
        try:
            return await drive_async(self.conversation, end)
        except BaseException:
            self._settle(end)
            raise

    def drop(self, outcome: Outcome = "abandoned") -> None:
        """
        End the stream where nobody listens; never raises.

        The finaliser of a proxy comes here.
        """
        # A finaliser runs inside any allocation, in any thread, also in the middle of our own writer. So
        # nothing on this path takes a lock that its thread can hold: a `Lock` would stop the thread for
        # ever, and an `RLock` would let it in between two statements of the block that it guards. Whether
        # the stream is over is one atomic `pop` of a list, and the lines wait in a queue while the writer
        # is at work. In a forked child nothing ends that its parent opened. Guarded by
        # `test_collections_during_writing_neither_hang_nor_lose` and
        # `test_a_fork_with_an_open_stream_writes_nothing_twice` in tests/system/processes/test_processes.py.
        how: tuple[Outcome, BaseException | None] = outcome, None
        if self.closing is not None and outcome == "abandoned":
            how = self.closing
        end = self._claim(*how, listening=False)
        if end is None:
            return
        self.closing = None
        if self.inner is not None:
            self.inner.drop(outcome)
        if self.scope is not None and self.call_state is not None:
            # A user's generator that is dropped takes the streams with it that its frame reads. They would end
            # a moment later, behind their turn, and one request would be a late call as well.
            for call_state in self.call_state.attempts[-1].inner if self.call_state.attempts else ():
                if call_state.stream is not None:
                    call_state.stream.drop(outcome)
        if self.conversation is None:
            self._finish(end)
            return
        drive_last(self.conversation, end)
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
