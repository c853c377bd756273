"""
Observers: flows that may only look, driven so that nothing they do reaches the caller.

Their exceptions are counted, logged at most once a minute and dropped; after eight in a row an
observer is left out for a minute. What they change is not taken over.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ._call import Call
from ._flow import name_of
from ._log import log

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from ._call import Middleware, Reply

__all__ = ["Observation", "Observer", "faults", "observer"]

_FAULTS_IN_A_ROW = 8
_PAUSE_SECONDS = 60.0
_total = [0]


def observer(fn: Any) -> Any:
    """Mark a middleware as an observer: it may look at calls and replies and cannot break them."""
    fn.__moa_observer__ = True
    return fn


def faults() -> int:
    """Return how often an observer, or the recording, has failed in this process."""
    return _total[0]


def count_fault(name: str, error: BaseException) -> None:
    """Count and log a fault of ours, or of an observer's."""
    _total[0] += 1
    log("moa.observer_failed", key=name, observer=name, error=type(error).__qualname__)


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
        """Whether it is left out for now."""
        return self._until > time.monotonic()

    def failed(self, error: BaseException) -> None:
        """Note a fault."""
        count_fault(self.name, error)
        self._bad += 1
        if self._bad >= _FAULTS_IN_A_ROW:
            self._bad = 0
            self._until = time.monotonic() + _PAUSE_SECONDS
            log("moa.observer_paused", key=self.name, observer=self.name, seconds=_PAUSE_SECONDS)

    def fine(self) -> None:
        """Note a call without a fault."""
        self._bad = 0


class Observation:
    """All observers around one request."""

    __slots__ = ("_live", "_on_fault")

    def __init__(self, observers: Sequence[Observer], call: Call, on_fault: Callable[[], None]) -> None:
        """Start each observer with the call; what it registers on the stream is kept."""
        self._live: list[tuple[Observer, Generator[Any, Any, Any]]] = []
        self._on_fault = on_fault
        for one in observers:
            if one.paused:
                continue
            seen = _seen_by(call, one, on_fault)
            try:
                flow = one.fn(seen)
                if isinstance(next(flow), Call):
                    self._live.append((one, flow))
            except StopIteration:
                one.fine()
            except Exception as error:
                self._fault(one, error)
            finally:
                call._taps.extend(seen._taps)

    def _fault(self, one: Observer, error: BaseException) -> None:
        one.failed(error)
        self._on_fault()

    def end(self, reply: Reply, error: BaseException | None = None) -> None:
        """Give every observer the reply, or throw the exception that came in its place."""
        urgent: BaseException | None = None
        for one, flow in self._live:
            try:
                if error is not None:
                    flow.throw(error)
                else:
                    flow.send(reply)
            except StopIteration:
                one.fine()
            except Exception as raised:
                if raised is error:
                    one.fine()
                else:
                    self._fault(one, raised)
            except BaseException as raised:
                if raised is not error:
                    urgent = raised
            else:
                flow.close()
        self._live = []
        if urgent is not None:
            raise urgent


def _seen_by(call: Call, one: Observer, on_fault: Callable[[], None]) -> Call:
    """Return the call with registrations of its own, whose faults are the observer's."""
    from dataclasses import replace

    def guard(error: BaseException) -> None:
        one.failed(error)
        on_fault()

    class Looking(list[Any]):
        def append(self, tap: Any, /) -> None:
            if tap.kind != "on_chunk":
                msg = f"the observer `{one.name}` may look at chunks, not change or hold them"
                raise TypeError(msg)
            super().append(tap)

    return replace(call, _taps=Looking(), _owner=one.name, _guard=guard)
