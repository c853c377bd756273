"""
A turn and the calls in it: what is known of them while they run, and when a turn is over.

A turn closes once, when what it returned is complete. "Closed" is an event: whoever records
(`Recording`) is told of it and reads the calls then. Nothing here writes, encodes or infers.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Protocol

from .. import process
from ..flow.outcome import error_of
from ..ids import Clock, uuid7
from ..process import after_fork, claim, once
from ..scope import NO_TAGS, Order, Scope, current

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..flow.model import Call, Middleware, Outcome, Reply
    from ..flow.observers import Observer
    from ..flow.outcome import ErrorInfo
    from ..scope import Tags
    from ..shapes.request import Request
    from .call_state import Attempt, CallState

__all__ = ["Recording", "StackLike", "Turn", "current_turn", "open_turns", "turn_for_call"]

_open: set[str] = set()
"""Ids of the turns that are open in this process."""

after_fork(_open.clear)


class Recording(Protocol):
    """Whoever keeps turns; the methods may be called from any thread and from finalisers."""

    def opened(self, turn: Turn) -> None:
        """Learn that a turn with its request begins."""

    def began(self, attempt: Attempt, request: Call | Request, kwargs: Mapping[str, Any]) -> None:
        """Learn that a request goes out, with these keyword arguments."""

    def ended(self, turn: Turn, slot: CallState) -> None:
        """Learn that a call of an open turn is about to end."""

    def closed(self, turn: Turn) -> None:
        """Learn that a turn is over."""

    def ended_late(self, turn: Turn, slot: CallState) -> None:
        """Learn that a call ended whose turn is over already."""


class StackLike(Protocol):
    """A stack, as far as wrappers and blocks know it."""

    middleware: Sequence[Middleware]
    observers: Sequence[Observer]

    def recording(self) -> Recording | None:
        """Return who records the turn that begins now, `None` while nobody does."""

    def call_through(  # noqa: PLR0917 - on the path of every call, where keywords cost
        self,
        options: Any,
        cache: dict[str, Any],
        path: str,
        wrapped: Callable[..., Any],
        instance: object,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Run one invocation of a wrapped function."""


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

    # Most of this is not known, or never needed, for most turns: the class holds what an attribute
    # is until somebody sets it.
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
    memo: Any = None
    shared: Any = None
    """What the recording keeps of the last request, to know it again."""
    trace_context: dict[str, str] | None = None
    over = False

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
        self.parent = parent if parent is not None and parent.joinable else None
        self.id = uuid7()
        self.session_id, self.preset = tags.session_id, tags.preset
        if self.parent is not None:
            self.session_id = self.parent.session_id if self.session_id is None else self.session_id
            self.preset = self.parent.preset if self.preset is None else self.preset
        self.tags: Mapping[str, Any] = dict(tags.own)
        self.by_hand = by_hand
        self.implicit = implicit
        self.recording = recording
        self.request = request
        self.calls: list[CallState] = []
        self.turns: list[str] = []
        self.order = Order()
        self.entered: list[tuple[int, str, object]] = []
        """Instance, method name and function of each frame that is this turn (`super().create`)."""
        self.hidden: list[str] = []
        """Secrets of nested turns; removed from this turn's error message before it is written."""
        self._claimed = once()
        self.alive_in = process.pid
        self.clock = Clock()
        _open.add(self.id)
        if recording is not None:
            self.trace_context = _trace_context()
            if self.parent is not None:
                self.parent.turns.append(self.id)
            recording.opened(self)

    def __repr__(self) -> str:
        """Name the turn without any content."""
        return f"<Turn {self.id} {'over' if self.over else 'open'}>"

    @property
    def alive(self) -> bool:
        """Whether this process opened the turn; a forked child has only a copy of it."""
        return self.alive_in == process.pid

    @property
    def joinable(self) -> bool:
        """Whether calls made here and now belong to it."""
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
        open_slots = [slot for slot in self.calls if slot.stream is not None and not slot.done]
        for slot in reversed(open_slots):
            if "aggregator" in (slot.role, slot.outermost.role):
                return slot
        for slot in reversed(open_slots):
            if slot.outermost.role != "reference" or self.by_hand:
                return slot
        return None

    def leave(self, outcome: Outcome, error: BaseException | ErrorInfo | None = None) -> None:
        """End the turn's body: it closes now, or with the stream that it waits for."""
        slot = self.awaited() if self.alive and self.recording is not None else None
        state = slot.stream if slot is not None else None
        if state is None:
            self.close(outcome, error)
            return
        self.answered_by = self.answered_by or slot
        # What was returned holds the stream; a turn that held it would keep it from ever ending.
        self.returned = None
        # Words only: the exception holds the frame of the body, and with that the very stream.
        known = error_of(error)

        def with_its_stream(ended: Outcome, failure: BaseException | None) -> None:
            if outcome == "completed":
                self.close(ended, failure or state.error)
            else:
                self.close(outcome, known)

        state.add_done_callback(with_its_stream)

    def close(self, outcome: Outcome, error: BaseException | ErrorInfo | None = None) -> None:
        """Close the turn, once; the recording is told."""
        if not claim(self._claimed):
            return
        if not self.alive:
            return
        self.clock.stop()
        self.outcome = outcome
        self.error = error_of(error) if self.recording is not None else None
        self.over = True
        _open.discard(self.id)
        # From here on a call that ends is late; one that has ended is ours if we are first to say so.
        for slot in self.calls:
            slot.settled = slot.done and claim(slot.claimed)
        try:
            if self.recording is not None:
                self.recording.closed(self)
        finally:
            self._drop_content()

    def _drop_content(self) -> None:
        for slot in self.calls:
            # What a late call, or one inside it, still has to tell is dropped with its late line.
            around: CallState | None = slot
            while around is not None and around.settled:
                around = around.parent.slot if around.parent is not None else None
            if around is None:
                slot.drop_content()
        self.calls = []
        self.entered, self.hidden = [], []
        self.request = self.reply = self.returned = self.error = self.memo = self.shared = None
        self.answered_by = None


def open_turns() -> int:
    """Return how many turns are open in this process."""
    return len(_open)


def turn_for_call(here: Scope | None) -> Turn | None:
    """Return the turn that a call made in this scope belongs to, `None` outside one."""
    turn = here.turn if here is not None else None
    if here is None or turn is None or turn.alive_in != process.pid:
        return None
    if not turn.over or (here.parent is not None and not here.parent.slot.done):
        # The second: a reference that is late itself still asks its model.
        return turn
    return None


def current_turn() -> Turn | None:
    """Return the turn that the running code belongs to, `None` outside one."""
    here = current()
    turn = here.turn if here is not None else None
    return turn if turn is not None and turn.joinable else None


def _trace_context() -> dict[str, str] | None:
    """Return the ids of OpenTelemetry's active span, if the host uses it."""
    api = sys.modules.get("opentelemetry.trace")
    if api is None:
        return None
    try:
        context = api.get_current_span().get_span_context()
        if not context.is_valid:
            return None
        return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
    except Exception:
        return None
