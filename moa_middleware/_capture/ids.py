"""Identifiers and clocks: UUIDv7 as of RFC 9562, section 5.7, and the two clocks of a record."""

from __future__ import annotations

import os
import sys
import time

from .process import after_fork

__all__ = ["Clock", "trace_context", "uuid7"]

_VARIANT = {figure: "89ab"[int(figure, 16) % 4] for figure in "0123456789abcdef"}
_POOL_SIZE = 64
_tails: list[str] = []
"""Random parts that are ready: asking the kernel for each one costs more than the rest of an id."""


# A child must not repeat the ids of its parent.
after_fork(_tails.clear)


def _fill_pool() -> str:
    """Get random parts from the kernel, and return one of them."""
    random = os.urandom(10 * _POOL_SIZE).hex()
    made = []
    for start in range(0, len(random), 20):
        text = random[start : start + 20]
        made.append(f"-7{text[:3]}-{_VARIANT[text[3]]}{text[4:7]}-{text[7:19]}")
    one = made.pop()
    _tails.extend(made)
    return one


def uuid7() -> str:
    """
    Return a fresh UUIDv7: it sorts by the millisecond in which it was made.

    Its random part is the kernel's, so that forked processes cannot repeat one another.
    """
    # The kernel's random numbers and not Python's: a program that calls `random.seed`, as benchmarks do,
    # would otherwise give its turns the ids of the last run.
    try:
        tail = _tails.pop()  # atomic: two threads, or a finaliser in between, get two
    except IndexError:
        tail = _fill_pool()
    now = time.time_ns() // 1_000_000
    return f"{now >> 16:08x}-{now & 0xFFFF:04x}{tail}"


class Clock:
    """
    When something began and how long it took.

    The start is wall-clock time; durations come from the monotonic clock, which no adjustment of
    the wall clock can bend.
    """

    __slots__ = ("ended_ns", "first_ns", "started_at", "started_ns")

    def __init__(self) -> None:
        self.first_ns: int | None = None
        self.ended_ns: int | None = None
        self.started_at = time.time()
        self.started_ns = time.perf_counter_ns()

    def start(self) -> None:
        """Take the time of the beginning, again if need be."""
        self.started_at = time.time()
        self.started_ns = time.perf_counter_ns()

    def stop(self) -> None:
        """Take the time of the end."""
        self.ended_ns = time.perf_counter_ns()

    @property
    def duration_ms(self) -> float | None:
        """Milliseconds from the beginning to the end, `None` before it."""
        return None if self.ended_ns is None else (self.ended_ns - self.started_ns) / 1e6

    @property
    def first_chunk_ms(self) -> float | None:
        """Milliseconds from the beginning to the first chunk, `None` without one."""
        return None if self.first_ns is None else (self.first_ns - self.started_ns) / 1e6

    @property
    def ended_at(self) -> float | None:
        """Epoch seconds of the end, `None` before it."""
        duration = self.duration_ms
        return None if duration is None else self.started_at + duration / 1e3


def trace_context() -> dict[str, str] | None:
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
