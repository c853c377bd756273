"""
A turn, its calls and their requests: what is known of them while they run, and when a turn is over.

A turn closes once, when what it returned is complete. "Closed" is an event: the recorder (`Recording`)
hears of it and reads the calls then. Nothing here writes, encodes or infers.
"""

from __future__ import annotations

import weakref
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from .. import process
from ..flow.outcome import error_of
from ..ids import Clock, trace_context, uuid7
from ..process import after_fork, claim, once
from ..scope import NO_TAGS, Order, Scope, current

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..flow.model import Call, Outcome, Reply
    from ..flow.outcome import ErrorInfo
    from ..scope import Tags
    from ..shapes.request import Request

__all__ = ["Attempt", "CallState", "Recording", "Turn", "current_turn", "open_turns", "turn_for_call"]

_open: dict[str, weakref.ref[Turn]] = {}
"""The turns that are open in this process, by id. Weakly: one whose beginning was interrupted has no end that is seen."""

after_fork(_open.clear)


class Recording(Protocol):
    """A recorder of turns; its methods may be called from any thread and from finalisers."""

    def opened(self, turn: Turn) -> None:
        """Learn that a turn with its request begins."""

    def began(self, attempt: Attempt, request: Call | Request, kwargs: Mapping[str, Any]) -> None:
        """Learn that a request goes out, with these keyword arguments."""

    def ended(self, turn: Turn, call_state: CallState) -> None:
        """Learn that a call of an open turn is about to end."""

    def noted(self, turn: Turn, note: dict[str, Any]) -> None:
        """Learn of a note on an open turn: its `kind`, when it was made, and values of the user's."""

    def secrets_of(self, error: BaseException) -> list[str]:
        """Return what no message may quote of the request that an exception holds."""
        ...

    def closed(self, turn: Turn) -> None:
        """Learn that a turn is over."""

    def ended_late(self, turn: Turn, call_state: CallState) -> None:
        """Learn that a call ended whose turn is over already."""


class Attempt:
    """One request of a call and its reply; a retry is another attempt."""

    # Most of this is seldom known, or needed: the class holds what an attribute is until it is set.
    number = 1
    reply: Reply | None = None
    error: ErrorInfo | None = None
    streamed = False
    model: str | None = None
    label: str | None = None
    provider: str | None = None
    """Where a middleware named others than the call's."""
    messages: Any = None
    """What a middleware sends in place of the call's, `None` if it changed nothing."""
    snapshot: Any = None
    sent: Any = None
    """What the recording keeps with it: the request, as bytes; what an HTTP client has sent for it, in short."""

    def __init__(self, call_state: CallState) -> None:
        self.id = uuid7()
        self.call_state = call_state
        self.clock = Clock()
        self.inner: list[CallState] = []
        """Calls made inside it."""

    def drop_content(self) -> None:
        """Forget what was said; contexts of threads may hold this object for ever."""
        self.reply = self.snapshot = self.error = self.sent = self.messages = None
        self.inner = []


class CallState:
    """One call, with all its attempts."""

    role: str | None = None
    role_source: str | None = None
    label: str | None = None
    layer: int | None = None
    model: str | None = None
    provider: str | None = None
    endpoint: str | None = None
    client: object = None
    """The SDK's client, whose keys an exception may quote."""
    name = ""
    """Name of the function."""
    function: Any = None
    """What is known of it, where middleware sees the call."""
    sends = False
    """True if it is an SDK's or an HTTP client's, which sends requests itself."""
    tags: Mapping[str, Any] = MappingProxyType({})
    request: Request | None = None
    chosen: Attempt | None = None
    """The attempt whose reply the caller got, where that is known; else it is the last."""
    stream: Any = None
    """State of its stream while that is open."""
    stack: object = None
    """The stack that it went through."""
    done = False
    never_ran = False
    """True if its function is a generator that was dropped before its first step."""
    settled = False
    """True if it had ended when its turn closed."""
    listing: Any = None
    """How the turn's line lists its calls, kept while there are late ones."""
    apart = False
    """True if it has a late line of its own, which still needs its content."""

    def __init__(self, turn: Turn, parent: Attempt | None, order: Order | None) -> None:
        self.turn = turn
        # A call of a nested turn is its own turn's, not an inner call of the one around.
        self.parent = parent if parent is not None and parent.call_state.turn is turn else None
        self.order = (order or turn.order).take()
        self.attempts: list[Attempt] = []
        self.claimed = once()
        if self.parent is not None:
            self.parent.inner.append(self)
        if turn.recording is not None and not turn.over:
            turn.calls.append(self)

    def __reduce__(self) -> Any:
        return type(None), ()  # middleware may copy the call that it sees, which holds this: the copy is of no turn

    @property
    def final(self) -> Attempt:
        """The attempt that the call came down to."""
        return self.chosen or self.attempts[-1]

    @property
    def outermost(self) -> CallState:
        """The call around the calls around this one, itself if there is none."""
        call_state = self
        while call_state.parent is not None:
            call_state = call_state.parent.call_state
        return call_state

    def attempt(self) -> Attempt:
        """Begin a further request."""
        attempt = Attempt(self)
        if self.attempts:
            attempt.number = len(self.attempts) + 1
        self.attempts.append(attempt)
        return attempt

    def finish(self) -> None:
        """End the call: the recording is told while the turn is open, and of a late one with the calls inside it."""
        turn = self.turn
        if turn.recording is not None and not turn.over and turn.alive_in == process.pid:
            try:
                turn.recording.ended(turn, self)
            finally:
                self._end()
        else:
            self._end()

    def _end(self) -> None:
        self.done = True
        self.stream = None
        turn = self.turn
        if self.parent is not None and not self.parent.call_state.done:
            return  # that one is completed from it
        if turn.recording is None:
            self.drop_content()
        elif turn.over and turn.alive and claim(self.claimed):
            try:
                turn.recording.ended_late(turn, self)
            finally:
                self.drop_content()

    def drop_content(self) -> None:
        """Forget the requests and those of the calls inside, as far as they have ended."""
        attempts, self.attempts = self.attempts, []
        self.chosen = self.request = self.client = None
        for attempt in attempts:
            for call_state in attempt.inner:
                if call_state.done and not call_state.apart:
                    call_state.drop_content()
            attempt.drop_content()


class Turn:
    """
    One execution of a Mixture-of-Agents client's `create`.

    Attributes:
        id: UUIDv7 of the turn.
        session_id: The session that it belongs to; it names the file.
        preset: Name of the ensemble.
        tags: The caller's own tags.
        parent: The turn around this one.
        implicit: Whether it was opened for a single call outside any turn.
    """

    # Most of this is seldom known, or needed: the class holds what an attribute is until it is set.
    outcome: Outcome = "completed"
    error: ErrorInfo | None = None
    reply: Reply | None = None
    """What the turn itself returned."""
    returned: Any = None
    """The value, where it is not a stream."""
    answered_by: CallState | None = None
    """The call whose own stream was returned."""
    faults = 0
    journalled = True
    """True while a journal may keep its calls: until its line is written."""
    snapshot: Any = None
    last_encoded: Any = None
    """What the recording keeps of the last request, to know it again."""
    store: Any = None
    held = 0  # bytes of its requests; `store` is where a large turn has them, `None` if that is the memory
    trace_context: dict[str, str] | None = None
    redacts: Callable[[], Sequence[Callable[[str], str]]] | None = None
    """Returns the functions that its texts pass before they are written; asked at each line."""
    over = False
    notes: list[Any] | None = None
    """What the recording keeps of the notes on it."""

    def __init__(
        self,
        tags: Tags,
        recording: Recording | None,
        *,
        by_hand: bool = False,
        implicit: bool = False,
        request: Request | None = None,
    ) -> None:
        here = current()
        parent = here.turn if here is not None else None
        if here is not None:
            # A block opened by hand names its own; a decorator's default yields to a tag around it.
            tags = tags.within(here.tags) if by_hand else here.tags.within(tags)
        self.parent: Turn | None = parent if parent is not None and parent.joinable else None
        self.id = uuid7()
        self.session_id, self.preset = tags.session_id, tags.preset
        if self.parent is not None:
            self.session_id = self.parent.session_id if self.session_id is None else self.session_id
            self.preset = self.parent.preset if self.preset is None else self.preset
            self.redacts = self.parent.redacts
        self.tags: Mapping[str, Any] = dict(tags.own)
        self.by_hand = by_hand
        self.implicit = implicit
        self.recording = recording
        self.request = request
        self.calls: list[CallState] = []
        self.turns: list[str] = []
        self.order = Order()
        self.frames: list[tuple[int, str, object]] = []
        """Instance, method name and function of each frame that is this turn (`super().create`)."""
        self.secrets: list[str] = []
        """Secrets of nested turns; removed from this turn's error message before it is written."""
        self._claimed = once()
        self.alive_in = process.pid
        self.clock = Clock()
        _open[self.id] = weakref.ref(self)
        if recording is not None:
            self.trace_context = trace_context()
            if self.parent is not None:
                self.parent.turns.append(self.id)
            recording.opened(self)

    def __repr__(self) -> str:
        """Name the turn without any content."""
        return f"<Turn {self.id} {'over' if self.over else 'open'}>"

    @property
    def alive(self) -> bool:
        """Return True if this process opened the turn; a forked child has only a copy of it."""
        return self.alive_in == process.pid

    @property
    def joinable(self) -> bool:
        """Return True if calls made here and now belong to it."""
        return not self.over and self.alive_in == process.pid

    def scope(self, parent: Attempt | None = None, order: Order | None = None) -> Scope:
        """Return the scope of the turn's body, or of a call's body in it."""
        here = current()
        return Scope(self, here.tags.for_body() if here is not None else NO_TAGS, parent, order or self.order)

    def awaited(self) -> CallState | None:
        """
        Return the call whose open stream this turn has to wait for, if there is one.

        It is the aggregator's, else the one begun last that is no reference: a `create` that hands
        its stream out inside a tuple or a holder loses nothing.
        """
        answered = self.answered_by
        if answered is not None and answered.stream is not None and not answered.done:
            return answered
        open_calls = [call_state for call_state in self.calls if call_state.stream is not None and not call_state.done]
        for call_state in reversed(open_calls):
            if "aggregator" in (call_state.role, call_state.outermost.role):
                return call_state
        for call_state in reversed(open_calls):
            if call_state.outermost.role != "reference" or self.by_hand:
                return call_state
        return None

    def leave(self, outcome: Outcome, error: BaseException | ErrorInfo | None = None) -> None:
        """End the turn's body: it closes now, or with the stream that it waits for."""
        call_state = self.awaited() if self.alive and self.recording is not None else None
        state = call_state.stream if call_state is not None else None
        if state is None:
            self.close(outcome, error)
            return
        self.answered_by = self.answered_by or call_state
        # What was returned holds the stream; a turn that held it would keep it from ever ending.
        self.returned = None
        # Words only: the exception holds the frame of the body by its traceback, and with that the very
        # stream. It would then never be dropped, and a turn that waits for it never be written.
        known = error_of(error)

        def with_its_stream(ended: Outcome, failure: BaseException | None) -> None:
            if outcome == "completed":
                self.close(ended, state.error if failure is None else failure)
            else:
                self.close(outcome, known)

        state.add_done_callback(with_its_stream)

    def close(self, outcome: Outcome, error: BaseException | ErrorInfo | None = None) -> None:
        """Close the turn, once; the recording is told."""
        if not claim(self._claimed) or not self.alive:
            return
        try:  # an interrupt goes on when the line is written
            self.outcome = outcome
            self.clock.stop()
            self.error = error_of(error) if self.recording is not None else None
        finally:
            self.over = True
            _open.pop(self.id, None)
            # Calls end in other threads while the turn closes. Each has a flag that is taken once: by the turn,
            # which then writes the call in its line, or by the call itself, which then writes a late line.
            # From here on a call that ends is late; one that has ended is ours if we are first to say so.
            try:
                for call_state in self.calls:
                    call_state.settled = call_state.done and claim(call_state.claimed)
            finally:
                try:
                    if self.recording is not None:
                        self.recording.closed(self)
                finally:
                    self._drop_content()

    def _drop_content(self) -> None:
        for call_state in self.calls:
            # What a late call, or one inside it, still has to tell is dropped with its late line.
            around: CallState | None = call_state
            while around is not None and around.settled:
                around = around.parent.call_state if around.parent is not None else None
            if around is None:
                call_state.drop_content()
        self.calls, self.frames, self.secrets = [], [], []
        self.request = self.reply = self.returned = self.error = self.snapshot = self.last_encoded = None
        self.answered_by = self.store = None


def open_turns() -> int:
    """Return how many turns are open in this process."""
    return sum(turn() is not None for turn in list(_open.values()))


def turn_for_call(here: Scope | None) -> Turn | None:
    """Return the turn that a call made in this scope belongs to, `None` outside one."""
    turn: Turn | None = here.turn if here is not None else None
    if here is None or turn is None or turn.alive_in != process.pid:
        return None
    if here.parent is None and turn.implicit:
        return None  # of a middleware around the only call of the turn: what it calls has a turn of its own, inside
    if not turn.over or (here.parent is not None and not here.parent.call_state.done):
        # The second: a reference that is late itself still asks its model.
        return turn
    return None


def current_turn() -> Turn | None:
    """Return the turn that the running code belongs to, `None` outside one."""
    here = current()
    turn: Turn | None = here.turn if here is not None else None
    return turn if turn is not None and turn.joinable else None
