"""One run of one scenario in one mode, and all that was seen of it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import json
import logging
import sys
import tempfile
import threading
import time
import traceback
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from ..._capture import recorder
from ._caller import ClientCall, User, run_sync
from ._look import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._caller import Event
    from ._harness import ClientHarness
    from ._scenario import Scenario

__all__ = ["Mode", "ScenarioRun", "Way", "run_once"]

Mode: TypeAlias = Literal["bare", "off", "on"]
Way: TypeAlias = Literal["sync", "async"]

_SCENARIO_SECONDS = 60.0
_WAIT_SECONDS = 2.0
_logger = logging.getLogger("moa_middleware")


@dataclass(slots=True)
class ScenarioRun:
    """
    What was seen of one run.

    Attributes:
        harness: The harness, closed.
        client_calls: The calls, with what their callers saw.
        log: What the caller saw beside the calls.
        failure: What the scenario itself raised.
        open_at_once: Connections open when the caller had left, before any garbage collection.
        open_later: The same after one.
        warned: Warnings.
        printed: Standard output and standard error.
        noise: Exceptions that nobody could catch, and log events of this library.
        lines: The records that were written.
        files: Whether anything was written at all, an empty directory too.
    """

    harness: ClientHarness
    client_calls: list[ClientCall] = field(default_factory=list)
    log: list[Event] = field(default_factory=list)
    failure: str | None = None
    open_at_once: int = 0
    open_later: int = 0
    warned: list[tuple[str, str]] = field(default_factory=list)
    printed: str = ""
    noise: list[str] = field(default_factory=list)
    lines: list[Any] = field(default_factory=list)
    files: bool = False


def run_once(
    scenario: Scenario, make_harness: Callable[[], ClientHarness], way: Way, mode: Mode, like: ScenarioRun | None
) -> ScenarioRun:
    """
    Run a scenario.

    Args:
        scenario: What the caller does.
        make_harness: Makes the harness.
        way: Whether the client is sync or async.
        mode: `bare` is uninstrumented, `off` without traces, `on` with them.
        like: The bare run: this one may leave no more connections open.
    """
    harness = make_harness()
    scenario_run = ScenarioRun(harness)
    with tempfile.TemporaryDirectory(prefix="moa-conformance-") as parent:
        directory = Path(parent, "traces")
        with _traces(directory, on=mode == "on"), _watching(scenario_run):
            harness.open()
            try:
                _drive(scenario, scenario_run, way, mode, like)
            finally:
                harness.close()
            if mode == "on":
                _gather(scenario_run, directory)
        scenario_run.files = directory.exists()
    return scenario_run


def _gather(scenario_run: ScenarioRun, directory: Path) -> None:
    """Read the lines, once the streams that only the collector finds are over."""
    wanted = sum(client_call.expected is not None for client_call in scenario_run.client_calls)
    scenario_run.lines = list(_lines(directory))
    if len(scenario_run.lines) < wanted:
        gc.collect()
        scenario_run.lines = list(_lines(directory))


def _lines(directory: Path) -> Iterator[Any]:
    for path in sorted(directory.rglob("*.jsonl")):
        yield from (json.loads(line) for line in path.read_bytes().split(b"\n") if line)


@contextmanager
def _traces(directory: Path, *, on: bool) -> Iterator[None]:
    """Trace into a directory, or not at all, whatever the environment and `configure` say."""
    state = recorder.state
    with state.lock:
        former = state.overrides, state.writer, state.on_turn, state.listeners
        state.overrides = {"save_traces": on, "trace_dir": directory, "turns": "all", "propagate_threads": True}
        state.writer, state.on_turn, state.listeners = None, None, ()
        state.changed()
    try:
        yield
    finally:
        with state.lock:
            state.overrides, state.writer, state.on_turn, state.listeners = former
            state.changed()


class _NoiseHandler(logging.Handler):
    """Notes what this library logs."""

    def __init__(self, noise: list[str]) -> None:
        super().__init__(logging.WARNING)
        self._noise = noise

    def emit(self, record: logging.LogRecord) -> None:
        """Note one event."""
        self._noise.append(f"logged: {record.getMessage()}")


@contextmanager
def _watching(scenario_run: ScenarioRun) -> Iterator[None]:
    """Note warnings, output, log events and exceptions that nobody can catch; no garbage collection meanwhile."""

    def unraisable(found: Any) -> None:
        scenario_run.noise.append(f"unraisable: {type(found.exc_value).__qualname__}: {found.exc_value}")

    def in_thread(found: Any) -> None:
        scenario_run.noise.append(f"in a thread: {type(found.exc_value).__qualname__}: {found.exc_value}")

    handler = _NoiseHandler(scenario_run.noise)
    hooks = sys.unraisablehook, threading.excepthook
    collects, out = gc.isenabled(), io.StringIO()
    _logger.addHandler(handler)
    sys.unraisablehook, threading.excepthook = unraisable, in_thread
    gc.disable()
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                yield
    finally:
        if collects:
            gc.enable()
        sys.unraisablehook, threading.excepthook = hooks
        _logger.removeHandler(handler)
    scenario_run.printed = out.getvalue()
    # Sockets that a client keeps until it is collected are the client's; connections are counted.
    kinds = [(one.category, str(one.message)) for one in warned if not issubclass(one.category, ResourceWarning)]
    scenario_run.warned = sorted((kind.__qualname__, scenario_run.harness.clean(text)) for kind, text in kinds)


def _drive(scenario: Scenario, scenario_run: ScenarioRun, way: Way, mode: Mode, like: ScenarioRun | None) -> None:
    if way == "sync":
        run_sync(_use(scenario, scenario_run, way, mode, like))
        return

    def noticed(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        del loop
        scenario_run.noise.append(f"in the event loop: {context.get('message')}: {context.get('exception')!r}")

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(noticed)
        async with asyncio.timeout(_SCENARIO_SECONDS):
            await _use(scenario, scenario_run, way, mode, like)

    asyncio.run(main())


async def _use(scenario: Scenario, scenario_run: ScenarioRun, way: Way, mode: Mode, like: ScenarioRun | None) -> None:
    """Make the client, let the caller use it, and see what is left."""
    harness = scenario_run.harness
    try:
        client = harness.make_client() if way == "sync" else harness.make_async_client()
        if mode != "bare":
            client = harness.instrument(client)
    except Exception as error:
        scenario_run.failure = _failure(error)
        return
    user = User(harness, client, is_async=way == "async", instrumented=mode != "bare")
    try:
        try:
            await scenario.body(user)
        except (KeyboardInterrupt, SystemExit):
            raise  # the scenarios catch theirs: it is the developer's
        except BaseException as error:
            scenario_run.failure = _failure(error)
        scenario_run.client_calls, scenario_run.log = user.client_calls, user.log
        user.forget()
        await user.idle()
        scenario_run.open_at_once = _count(harness, None if like is None else like.open_at_once)
        if scenario_run.open_at_once:
            gc.collect()
            await user.idle()
        scenario_run.open_later = _count(harness, None if like is None else like.open_later)
    finally:
        if mode != "bare":
            harness.uninstrument(client)
        await harness.close_client(client)


def _failure(error: BaseException) -> str:
    """Return class, message and place of what a scenario raised, and keep nothing of its frames."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{name_of(type(error))}: {error}{place}"


def _count(harness: ClientHarness, wanted: int | None) -> int:
    """Count the open connections, when their number has come to rest or is no more than wanted."""
    count = harness.open_connections
    if not harness.settle_seconds:
        return count
    if wanted is None:
        for _ in range(5):
            time.sleep(harness.settle_seconds / 5)
            if not (count := harness.open_connections):
                break
        return count
    deadline = time.monotonic() + _WAIT_SECONDS
    while count > wanted and time.monotonic() < deadline:
        time.sleep(0.005)
        count = harness.open_connections
    return count
