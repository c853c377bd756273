"""
Who records the turn that begins now: a tracer, made from the environment and from what was configured.

While the switch is off and nothing was configured, one variable is read a turn, and neither pydantic
nor the tracing package is imported.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from .log import load_for_teardown, log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..records import TurnRecord
    from ..settings import Settings
    from .tracing.content import Content
    from .tracing.proven_line import Proof
    from .tracing.writer import Writer
    from .turns.turn import Recording

__all__ = ["add_turn_listener", "is_recording", "load_recorder", "loaded_outbox", "proof_of", "recording", "state"]

_SWITCH = "MOA_SAVE_TRACES"
VARIABLES = (
    *(_SWITCH, "MOA_TRACE_DIR", "MOA_SESSION_ID", "MOA_TURNS", "MOA_PROPAGATE_THREADS"),
    *("MOA_CAPTURE", "MOA_REDACT", "MOA_MAX_FILE_BYTES", "MOA_MAX_FIELD_BYTES", "MOA_JOURNAL"),
    *("MOA_INTEGRITY", "MOA_INTEGRITY_KEY_FILE"),
)
"""Every variable that a tracer is made from."""
_TARGETS = "MOA_INSTRUMENT"
_OFF = ("", "0", "false", "no", "off", "f", "n")


class _State:
    """What was configured, and the tracer that follows from it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.was_asked_for_targets: Callable[[], bool] = lambda: False
        """Returns True if the program itself has instrumented targets by name. Set by `config`."""
        self.reset()

    is_missed = False
    """True if a call that comes now would have been recorded, had the interpreter not been near its end."""

    def reset(self) -> None:
        """Forget what was configured."""
        self.overrides: dict[str, Any] = {}
        self.defaults: dict[str, Any] = {}
        """What `moa run` sets where neither the environment nor `configure` does."""
        self.named: set[str] = set()
        """Variables that were looked at, so that a misspelt switch is logged while everything is off."""
        self.writer: Writer | None = None
        self.on_turn: Callable[[TurnRecord], object] | None = None
        self.redactors: tuple[Callable[[str], str], ...] = ()
        self.listeners: tuple[Callable[[TurnRecord], object], ...] = ()
        self.changed()

    def end(self, *, is_missed: bool) -> None:
        """Record nothing any more."""
        self.overrides = {"save_traces": False}
        self.is_missed = is_missed

    def changed(self) -> None:
        """Let the next turn make its tracer anew."""
        # The environment is live: a turn compares the values of its variables with those that the tracer
        # was made from. Building the settings anew for each turn would cost 190 µs.
        self.current: tuple[Any, Recording | None] = (None, None)
        """The key that the tracer was made from, and the tracer: one tuple, so that no reader needs a lock."""


state = _State()


def _before_fork() -> None:
    """Let a fork wait for a tracer in the making: a child that inherits a half-done import never ends it."""
    state.lock.acquire(timeout=5)


def _after_fork_in_parent() -> None:
    with suppress(RuntimeError):  # the lock was not acquired in time
        state.lock.release()


def _after_fork_in_child() -> None:
    state.lock = threading.RLock()  # the thread that holds the old one does not exist here


if hasattr(os, "register_at_fork"):  # pragma: no branch - not on Windows
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)


class _Environment:
    """How the variables are read: from the dictionary below `os.environ` where that is CPython's on POSIX."""

    # `os.environ.get` encodes the name, raises and catches a `KeyError`, and decodes the value: 0.7 µs,
    # eleven times a turn. The dictionary holds the encoded pairs, and a lookup there costs a twentieth.
    # It is private, so anything but an exact `dict` falls back to the mapping itself, and so does a
    # mapping that a test or a host has put in the place of `os.environ`
    # (`test_a_mapping_in_the_place_of_the_environment_is_read`).

    __slots__ = ("find", "of", "off", "switch", "variables")

    def __init__(self) -> None:
        self.look(os.environ)

    def look(self, environ: Any) -> None:
        """Decide how to read a mapping."""
        data: Any = getattr(environ, "_data", None)
        is_encoded = type(data) is dict and os.name == "posix"
        self.find: Callable[[Any], Any] = data.get if is_encoded else environ.get
        self.variables: tuple[Any, ...] = tuple(map(os.fsencode, VARIABLES)) if is_encoded else VARIABLES
        self.off: Any = frozenset(map(os.fsencode, _OFF)) if is_encoded else frozenset(_OFF)
        self.switch: Any = self.variables[0]
        self.of = environ


_environment = _Environment()


def _is_on() -> bool:
    """Return True if traces are to be saved, as far as the switch says."""
    if _environment.of is not os.environ:
        _environment.look(os.environ)
    configured: bool | None = state.overrides.get("save_traces")
    if configured is not None:
        return configured
    value = _environment.find(_environment.switch)
    if value is not None and (word := value.strip().lower()):
        return word not in _environment.off
    return "save_traces" in state.defaults


def recording() -> Recording | None:
    """Return who records the turn that begins now."""
    # A tracer is kept as long as the variables are the same. Comparing them at each turn is what lets a
    # test or a notebook set `os.environ` and see the effect, with no call of ours.
    on = _is_on()
    if not on and not state.listeners and state.on_turn is None:
        if not state.named:
            _log_unknown_variables()
        return None
    key = (on, *map(_environment.find, _environment.variables))
    known, tracer = state.current
    return tracer if key == known else _recording_from(key)


def is_recording() -> bool:
    """
    Return True if turns are recorded, without importing what that takes.

    For what runs at the end of the process: an import there may evaluate a text, after which CPython
    (3.11 to 3.13) no longer ends as after Ctrl-C.
    """
    if "moa_middleware._capture.tracing.tracer" in sys.modules:
        return recording() is not None
    return _is_on() or bool(state.listeners) or state.on_turn is not None


def _recording_from(key: tuple[Any, ...]) -> Recording | None:
    """Make the tracer of new settings. A fault is logged, and nothing is recorded."""
    try:
        _log_unknown_variables()
        with state.lock:
            tracer = _tracer(saving=key[0])
        state.current = (key, tracer)
        return tracer
    except Exception as error:
        log("moa.tracing_off", key="fault", error=type(error).__qualname__)
        return None


def load_recorder() -> None:
    """
    Import what a tracer needs, if turns are to be recorded.

    Decorators and `configure` call it, so that no first turn has to: importing takes a tenth of a
    second, and a turn may begin in a running event loop. Only modules are loaded. The settings are
    read at the first turn, since the program may still change them.
    """
    is_loaded = "moa_middleware._capture.tracing.tracer" in sys.modules
    if is_loaded or not (_is_on() or state.listeners or state.on_turn is not None):
        return
    # What is wrong is logged at the first turn, which imports once more.
    # Under the lock that a fork waits for: a child that inherited a half-done import would hang.
    with suppress(Exception), state.lock:
        import concurrent.futures.thread  # noqa: F401 - `turns.threads` wraps its pool at the first turn

        from .. import settings  # noqa: F401
        from .tracing import tracer, writer  # noqa: F401

        names = ("capture", "redact", "max_field_bytes")
        if state.redactors or any(name in state.overrides or os.environ.get(f"MOA_{name.upper()}") for name in names):
            from .tracing import content, redact  # noqa: F401


@atexit.register
def _load_for_teardown() -> None:
    """Have all that is needed to record what finalisers call later, when Python imports nothing any more."""
    # One of the last functions that run at exit, since this module is imported early and they run in reverse.
    if "moa_middleware._capture.tracing.tracer" in sys.modules and recording() is not None:
        load_for_teardown()
        weakref.finalize(state, bool).detach()  # the first of a process imports a module


def _log_unknown_variables() -> None:
    """Log each `MOA_` variable that means nothing, or nothing here, once; or that calls are missed at the end."""
    named = state.named
    named.add("")
    if state.is_missed:
        log("moa.trace_lost", key="teardown", reason="called by a finaliser when most of Python was gone")
        return
    if os.environ.get(_TARGETS, "").strip() and _TARGETS not in named and not state.was_asked_for_targets():
        log("moa.targets_ignored", name=_TARGETS, reason="it is for `python -m moa_middleware run`")
    named.add(_TARGETS)
    for name in os.environ:
        if name.startswith("MOA_") and name not in VARIABLES and name not in named:
            named.add(name)
            log("moa.unknown_setting", key=name, name=name)


def _tracer(*, saving: bool) -> Recording | None:
    # Here, because a program that records nothing must not wait for the import of pydantic and of the
    # tracing package (`test_nothing_heavy_is_imported_while_traces_are_off`).
    from .tracing.tracer import Tracer
    from .tracing.writer import FileWriter

    settings = _settings()
    listeners = [fn for fn in (*state.listeners, state.on_turn) if fn is not None]
    saving = saving and settings is not None and settings.save_traces
    if settings is None or not (saving or listeners):
        # Not for listeners alone either: without its settings a record could hold what it must not.
        return None
    writer: Writer | None = None
    if saving:
        writer = state.writer or FileWriter(settings.trace_dir, max_file_bytes=settings.max_file_bytes)
    return Tracer(
        writer=writer,
        listeners=listeners,
        session_id=settings.session_id,
        fanout_only=settings.turns == "fanout",
        propagate_threads=settings.propagate_threads,
        content=_content(settings),
        journal=settings.journal,
        proof=proof_of(settings, writer),
    )


def _content(settings: Settings) -> Content | None:
    """Return how content is written, `None` for all of it as it is."""
    metadata, limit, rules = settings.capture == "metadata", settings.max_field_bytes, settings.rules
    if not (metadata or limit or rules or state.redactors):
        return None
    from .tracing.content import Content
    from .tracing.redact import Redactor

    return Content(metadata=metadata, limit=limit, redactor=Redactor(rules, state.redactors))


def proof_of(settings: Settings, writer: Writer | None) -> Proof | None:
    """
    Return how lines for a writer are proven, `None` if they are not; log it if others can read the key.

    Raises:
        OSError: The key cannot be read any more.
        ValueError: It is empty by now.
    """
    if writer is None or settings.integrity == "off":
        return None
    from .._layout.digest import read_key
    from .tracing.proven_line import Proof

    path = settings.integrity_key_file if settings.integrity == "hmac" else None
    key = None if path is None else read_key(path)
    if key is not None and key.is_open:
        log("moa.key_file_open", name="MOA_INTEGRITY_KEY_FILE", fix="chmod 600 it")
    return Proof(writer, key)


def _settings() -> Settings | None:
    """Return the settings in force. A bad one is logged and keeps tracing off."""
    from pydantic import ValidationError

    from .._variables import cleaned
    from ..settings import Settings, describe_problem

    defaults = state.defaults
    defaults = {name: defaults[name] for name in defaults if not cleaned(os.environ.get(f"MOA_{name.upper()}", ""))}
    try:
        return Settings(**{**defaults, **state.overrides})
    except ValidationError as error:
        problem = describe_problem(error)
        log("moa.tracing_off", key=problem, reason=problem)
        return None


@contextmanager
def add_turn_listener(listener: Callable[[TurnRecord], object]) -> Iterator[None]:
    """Call `listener` with the record of each turn that begins within; used by the testing helpers."""
    with state.lock:
        state.listeners = (*state.listeners, listener)
        state.changed()
    try:
        yield
    finally:
        with state.lock:
            # One of them, and not all that are equal: two blocks may add the same listener, and each of
            # them takes away its own.
            left = list(state.listeners)
            left.remove(listener)
            state.listeners = tuple(left)
            state.changed()


def loaded_outbox() -> Any:
    """Return the module that sends lines, `None` while nothing was traced: asking does not import it."""
    return sys.modules.get("moa_middleware._capture.tracing.outbox")
