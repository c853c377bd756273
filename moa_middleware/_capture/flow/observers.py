"""
Observers: read-only flows, driven so that nothing they do reaches the caller.

Their exceptions are counted, logged at most once a minute and dropped; after eight in a row an
observer is left out for a minute. What they change is ignored.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from ...errors import DecorationError
from ..log import count_fault, log
from .chain import name_of
from .model import Call

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from .model import Middleware, Reply

__all__ = ["NOBODY", "Observation", "Observer", "observer"]

F = TypeVar("F", bound="Middleware")

_FAULTS_IN_A_ROW = 8
_PAUSE_SECONDS = 60.0


def observer(fn: F) -> F:
    """
    Mark a middleware as an observer: it sees calls and replies and cannot break them.

    Raises:
        DecorationError: The mark cannot be set, as on a bound method; name it in
            `configure(observers=…)` or `Stack(observers=…)`.
    """
    try:
        fn.__moa_observer__ = True  # type: ignore[attr-defined]  # functions and objects take attributes
    except AttributeError:
        msg = f"`{name_of(fn)}` takes no mark as an observer: give it as observers=[…]"
        raise DecorationError(msg) from None
    return fn


class Observer:
    """One observer of a stack, with its health."""

    __slots__ = ("_bad", "_until", "fn", "name")

    def __init__(self, fn: Middleware) -> None:
        self.fn = fn
        self.name = name_of(fn)
        self._bad = 0
        self._until = 0.0

    @property
    def paused(self) -> bool:
        """Return True if it is left out for now."""
        return self._until > time.monotonic()

    def failed(self, error: BaseException) -> None:
        """Note a fault."""
        count_fault(self.name, error)
        self._bad += 1
        # An observer that fails at each call would cost time and log space in all of them. It is tried
        # again after a pause, since what it needs may be back: a disk, a server.
        if self._bad >= _FAULTS_IN_A_ROW:
            self._bad = 0
            self._until = time.monotonic() + _PAUSE_SECONDS
            log("moa.observer_paused", key=self.name, observer=self.name, seconds=_PAUSE_SECONDS)

    def fine(self) -> None:
        """Note a call without a fault."""
        self._bad = 0


class ObserverRun:
    """One observer around one request."""

    __slots__ = ("_on_fault", "failed", "flow", "observer")

    def __init__(self, observer: Observer, on_fault: Callable[[], None]) -> None:
        self.observer = observer
        self.flow: Any = None
        self.failed = False
        self._on_fault = on_fault

    def fault(self, error: BaseException) -> None:
        self.failed = True
        self.observer.failed(error)
        self._on_fault()

    def fine(self) -> None:
        if not self.failed:
            self.observer.fine()

    def _refuse(self, flow: Generator[Any, Any, Any], effect: object) -> None:
        """Note that it asked for more than a look."""
        flow.close()
        name, kind = self.observer.name, type(effect).__name__
        self.fault(TypeError(f"the observer `{name}` may only look: it yields its call, once, and got to {kind}"))

    def begin(self, call: Call) -> bool:
        """Show it the call; return True if it waits for the reply."""
        # It gets a copy of the call, with a list of its own for what it registers: neither a change of the
        # call nor a tap that would change chunks can reach the stream.
        taps = _ReadOnlyTaps(self)
        try:
            flow = self.observer.fn(replace(call, _taps=taps, _outer=0, _owner=self.observer.name, _guard=self.fault))
            effect = next(flow)
            if isinstance(effect, Call):
                self.flow = flow
                return True
            self._refuse(flow, effect)
        except StopIteration:
            self.fine()
        except Exception as error:
            self.fault(error)
        finally:
            call._taps.extend(taps)
        return False

    def end(self, reply: Reply, error: BaseException | None) -> None:
        """Give it the reply, or throw the exception that came in its place."""
        flow, self.flow = self.flow, None
        try:
            effect = flow.throw(error) if error is not None else flow.send(reply)
            self._refuse(flow, effect)
        except StopIteration:
            self.fine()
        except Exception as raised:
            # An observer that lets the call's own exception pass through its `yield` is in good health.
            # A StopIteration cannot leave a generator: Python wraps the function's own in a RuntimeError.
            if raised is error or (issubclass(type(error), StopIteration) and raised.__cause__ is error):
                self.fine()
            else:
                self.fault(raised)


class Observation:
    """All observers around one request."""

    __slots__ = ("_live", "_on_fault")

    def __init__(self, on_fault: Callable[[], None]) -> None:
        self._live: list[ObserverRun] = []
        self._on_fault = on_fault

    def begin(self, observers: Sequence[Observer], call: Call) -> None:
        """Start each observer with the call, and keep what it registers on the stream."""
        for one in observers:
            if not one.paused:
                run = ObserverRun(one, self._on_fault)
                if run.begin(call):
                    self._live.append(run)

    def end(self, reply: Reply, error: BaseException | None = None) -> None:
        """Give every observer the reply, or throw the exception that came in its place."""
        # Every observer gets its turn, also after one that raised Ctrl-C. `ObserverRun.end` drops ordinary
        # exceptions, so what arrives here must not be dropped; the last one goes on.
        urgent: BaseException | None = None
        for run in self._live:
            try:
                run.end(reply, error)
            except BaseException as raised:
                if raised is not error:
                    urgent = raised
        self._live = []
        if urgent is not None:
            try:
                raise urgent
            finally:
                urgent = None  # its traceback holds this frame: without this, a cycle that keeps the reply


NOBODY = Observation(lambda: None)
"""No-op for requests without observers."""


class _ReadOnlyTaps(list[Any]):
    """The registrations of an observer: it may see chunks, and nothing else."""

    def __init__(self, run: ObserverRun) -> None:
        super().__init__()
        self._run = run

    def insert(self, index: Any, tap: Any, /) -> None:
        one = self._run.observer
        if tap.kind != "on_chunk":
            msg = f"the observer `{one.name}` may look at chunks, not change or hold them"
            raise TypeError(msg)

        def look(chunk: Any) -> None:
            if not one.paused:
                tap.fn(chunk)

        super().insert(index, tap._replace(fn=look))
