"""
The default stack, and who records turns: settings from the environment under those of `configure`.

While the switch is off and nothing was configured, one environment variable is read a turn, and
neither pydantic nor the tracing package is imported.
"""

from __future__ import annotations

import os
import sys
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from ..errors import SettingsError
from .checks import checked, redaction
from .instrument import targets
from .log import log
from .stack import Stack, set_recording_source
from .turns.turn import current_turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, MutableMapping

    from ..records import TurnRecord
    from ..settings import Settings
    from .checks import Redaction
    from .flow.model import Middleware
    from .tracing.content import Content
    from .tracing.writer import Writer
    from .turns.turn import Recording

__all__ = ["add_turn_ids", "configure", "default_stack", "listening", "loaded_outbox", "recording"]

default_stack = Stack()

_SWITCH = "MOA_SAVE_TRACES"
_VARIABLES = (
    _SWITCH,
    "MOA_TRACE_DIR",
    "MOA_SESSION_ID",
    "MOA_TURNS",
    "MOA_PROPAGATE_THREADS",
    "MOA_CAPTURE",
    "MOA_REDACT",
    "MOA_MAX_FILE_BYTES",
    "MOA_MAX_FIELD_BYTES",
    "MOA_JOURNAL",
)
_TARGETS = "MOA_INSTRUMENT"
_OFF = frozenset({"", "0", "false", "no", "off", "f", "n"})


class _Unset:
    def __repr__(self) -> str:
        return "<as it is>"


_UNSET: Any = _Unset()


_named: set[str] = set()
"""Variables that were looked at, so that a misspelt switch is named while everything is off."""


class _State:
    """What was configured, and the tracer that follows from it."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.reset()

    def reset(self) -> None:
        """Forget what was configured."""
        self.overrides: dict[str, Any] = {}
        _named.clear()
        self.writer: Writer | None = None
        self.on_turn: Callable[[TurnRecord], object] | None = None
        self.redactors: tuple[Callable[[str], str], ...] = ()
        self.listeners: tuple[Callable[[TurnRecord], object], ...] = ()
        self.changed()

    def changed(self) -> None:
        """Let the next turn make its tracer anew."""
        self.current: tuple[Any, Recording | None] = (None, None)
        """What the tracer was made from, and the tracer: one tuple, so that no reader needs a lock."""


_state = _State()


def _hold_still() -> None:
    """Let a fork wait for a tracer in the making: a child that inherits an import half done never ends it."""
    _state.lock.acquire(timeout=5)


def _go_on() -> None:
    with suppress(RuntimeError):  # not to be had in time
        _state.lock.release()


def _new_lock() -> None:
    _state.lock = threading.RLock()  # the child does not have its holder


if hasattr(os, "register_at_fork"):  # pragma: no branch - not on Windows
    os.register_at_fork(before=_hold_still, after_in_parent=_go_on, after_in_child=_new_lock)


def recording() -> Recording | None:
    """Return who records the turn that begins now."""
    explicit = _state.overrides.get("save_traces")
    if explicit is None:
        value = os.environ.get(_SWITCH)
        on = value is not None and value.strip().lower() not in _OFF
    else:
        on = explicit
    if not on and not _state.listeners and _state.on_turn is None:
        if not _named:
            _name_unknown()
        return None
    key = (on, *map(os.environ.get, _VARIABLES))
    current = _state.current
    if key == current[0]:
        return current[1]
    try:
        _name_unknown()
        with _state.lock:
            tracer = _tracer(saving=on)
        _state.current = (key, tracer)
        return tracer
    except Exception as error:
        log("moa.tracing_off", key="fault", error=type(error).__qualname__)
        return None


def _name_unknown() -> None:
    """Name each `MOA_` variable that means nothing, or nothing here, once."""
    _named.add("")
    if os.environ.get(_TARGETS, "").strip() and _TARGETS not in _named and not targets.asked(default_stack):
        log("moa.targets_ignored", name=_TARGETS, reason="it is for `python -m moa_middleware run`")
    _named.add(_TARGETS)
    for name in os.environ:
        if name.startswith("MOA_") and name not in _VARIABLES and name not in _named:
            _named.add(name)
            log("moa.unknown_setting", key=name, name=name)


def _tracer(*, saving: bool) -> Recording | None:
    from .tracing.tracer import Tracer
    from .tracing.writer import FileWriter

    settings = _settings()
    listeners = [*_state.listeners]
    if _state.on_turn is not None:
        listeners.append(_state.on_turn)
    saving = saving and settings is not None and settings.save_traces
    if settings is None or not (saving or listeners):
        # Also the listeners': without its settings a record could tell what must not be told.
        return None
    writer: Writer | None = None
    if saving:
        writer = _state.writer or FileWriter(settings.trace_dir, max_file_bytes=settings.max_file_bytes)
    return Tracer(
        writer=writer,
        listeners=listeners,
        session_id=settings.session_id,
        fanout_only=settings.turns == "fanout",
        propagate_threads=settings.propagate_threads,
        content=_content(settings),
        journal=settings.journal,
    )


def _content(settings: Settings) -> Content | None:
    """Return what is written of content, `None` for all of it."""
    metadata, limit, rules = settings.capture == "metadata", settings.max_field_bytes, settings.rules
    if not (metadata or limit or rules or _state.redactors):
        return None
    from .tracing.content import Content
    from .tracing.redact import Redactor

    return Content(metadata=metadata, limit=limit, redactor=Redactor(rules, _state.redactors))


def _settings() -> Settings | None:
    """Return the settings in force; a bad one is logged and keeps tracing off."""
    from pydantic import ValidationError

    from ..settings import Settings, describe_problem

    try:
        return Settings(**_state.overrides)
    except ValidationError as error:
        problem = describe_problem(error)
        log("moa.tracing_off", key=problem, reason=problem)
        return None


set_recording_source(recording)


def configure(
    *,
    save_traces: bool | None = _UNSET,
    trace_dir: str | os.PathLike[str] | None = _UNSET,
    session_id: str | None = _UNSET,
    turns: str | None = _UNSET,
    propagate_threads: bool | None = _UNSET,
    capture: str | None = _UNSET,
    redact: Redaction | Iterable[Redaction] | None = _UNSET,
    max_field_bytes: int | None = _UNSET,
    max_file_bytes: int | None = _UNSET,
    journal: bool | None = _UNSET,
    middleware: Iterable[Middleware] = _UNSET,
    observers: Iterable[Middleware] = _UNSET,
    writer: Writer | None = _UNSET,
    on_turn: Callable[[TurnRecord], object] | None = _UNSET,
) -> None:
    """
    Set what the environment does not, or say otherwise.

    What is named is replaced, what is not named stays as it is; a setting given as `None` follows
    the environment again. It takes effect with the next turn.

    Args:
        save_traces: Write traces.
        trace_dir: Directory of the traces.
        session_id: Session of turns that name none.
        turns: `all`, or `fanout` for those only that ran references.
        propagate_threads: Carry turns into bare threads and executors.
        capture: `full`, or `metadata` for sizes in place of content.
        redact: What changes the texts that are written: functions that take a text and return one,
            names of rules (`secrets`, `emails`, `phones`), or several of both. Functions come after
            the rules. Without a name the rules are those of the environment.
        max_field_bytes: UTF-8 bytes of a text that are written at most.
        max_file_bytes: A file that would grow above it is renamed first, to `<session>~s<number>.jsonl`.
        journal: Keep the calls of open turns on the disk, for `moa recover`; a writer of your own has none.
        middleware: Of the default stack, the first outermost.
        observers: Of the default stack.
        writer: Takes the lines in place of the files: any object with
            `write(session_id: str | None, line: bytes)`.
        on_turn: Called with each turn's record when it closes, also while traces are not saved.

    Raises:
        SettingsError: A value cannot be used.
        MiddlewareError: A middleware cannot be called.
    """
    given = {
        "save_traces": save_traces,
        "trace_dir": trace_dir,
        "session_id": session_id,
        "turns": turns,
        "propagate_threads": propagate_threads,
        "capture": capture,
        "max_field_bytes": max_field_bytes,
        "max_file_bytes": max_file_bytes,
        "journal": journal,
    }
    redactors = _state.redactors
    if redact is not _UNSET:
        given["redact"], redactors = redaction(redact)
    overrides = dict(_state.overrides)
    for name, value in given.items():
        if value is _UNSET:
            continue
        overrides.pop(name, None)
        if value is not None:
            overrides[name] = value
    if overrides != _state.overrides and overrides:
        overrides = _validated(overrides)
    if writer is not _UNSET and writer is not None and not callable(getattr(writer, "write", None)):
        msg = f"configure(writer=…) takes an object with write(session_id, line), got {type(writer).__name__}"
        raise SettingsError(msg)
    if on_turn is not _UNSET and on_turn is not None and not callable(on_turn):
        msg = f"configure(on_turn=…) takes a function, got {type(on_turn).__name__}"
        raise SettingsError(msg)
    default_stack.replace(
        middleware=None if middleware is _UNSET else checked(middleware, "middleware"),
        observers=None if observers is _UNSET else checked(observers, "observers"),
    )
    with _state.lock:
        _state.overrides = overrides
        if writer is not _UNSET:
            _state.writer = writer
        if on_turn is not _UNSET:
            _state.on_turn = on_turn
        _state.redactors = redactors
        _state.changed()


def _validated(overrides: dict[str, Any]) -> dict[str, Any]:
    """
    Return the values as the settings hold them.

    Raises:
        SettingsError: One of them cannot be used.
    """
    from pydantic import ValidationError

    from ..settings import Settings

    validate = Settings.__pydantic_validator__.validate_assignment
    blank = Settings.model_construct()
    result: dict[str, Any] = {}
    for name, value in overrides.items():
        try:
            validate(blank.model_copy(), name, value)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]["msg"]
            msg = f"configure({name}={value!r:.80}): {problem}"
            raise SettingsError(msg) from None
        result[name] = value
    return result


@contextmanager
def listening(listener: Callable[[TurnRecord], object]) -> Iterator[None]:
    """Call `listener` with each turn's record that opens within; used by the testing helpers."""
    with _state.lock:
        _state.listeners = (*_state.listeners, listener)
        _state.changed()
    try:
        yield
    finally:
        with _state.lock:
            left = list(_state.listeners)
            left.remove(listener)
            _state.listeners = tuple(left)
            _state.changed()


def reset() -> None:
    """Forget what was configured, and what waits to be written; for tests."""
    outbox = loaded_outbox()
    if outbox is not None:
        outbox.forget()
    with _state.lock:
        _state.reset()
    default_stack.replace(middleware=(), observers=())


def loaded_outbox() -> Any:
    """Return the module that lines leave by, `None` while nothing was traced: it is not imported for the asking."""
    return sys.modules.get("moa_middleware._capture.tracing.outbox")


def add_turn_ids(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """
    Add `moa_turn_id` and `moa_session_id` to the host's own log events: a structlog processor.

    Outside a turn the event passes unchanged, and so does a key that the host has set itself.
    """
    turn = current_turn()
    if turn is not None:
        event.setdefault("moa_turn_id", turn.id)
        if turn.session_id is not None:
            event.setdefault("moa_session_id", turn.session_id)
    return event
