"""
The default stack, what is configured of it, and the counters of this process.

What the environment says is in `recorder`; what is configured here goes over it.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import SettingsError
from .calls import prepared
from .checks import checked, redaction
from .instrument import report, targets
from .log import faults
from .recorder import load_recorder, loaded_outbox, recording, state
from .shapes.registry import registered
from .stack import Stack
from .streams.state import finish_broken_off
from .teardown import at_teardown
from .turns.turn import current_turn, open_turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, MutableMapping

    from ..records import TurnRecord
    from .checks import Redaction
    from .flow.model import Middleware
    from .tracing.writer import Writer

__all__ = ["Status", "add_turn_ids", "configure", "default_stack", "flush", "reset", "status"]

default_stack = Stack()

# Handed down: the recorder is on a lower floor, and must not know the default stack or its targets.
state.was_asked_for_targets = lambda: targets.was_asked(default_stack)


class _Unset:
    def __repr__(self) -> str:
        return "<as it is>"


_UNSET: Any = _Unset()
_NO_SETTINGS = ("middleware", "observers", "writer", "on_turn")
"""Arguments of `configure` that no variable of the environment sets."""


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
    integrity: str | None = _UNSET,
    integrity_key_file: str | os.PathLike[str] | None = _UNSET,
    middleware: Iterable[Middleware] = _UNSET,
    observers: Iterable[Middleware] = _UNSET,
    writer: Writer | None = _UNSET,
    on_turn: Callable[[TurnRecord], object] | None = _UNSET,
) -> None:
    """
    Set or override what the environment sets; it takes effect with the next turn.

    Arguments that are not given leave their setting as it is. A setting given as `None` follows the
    environment again.

    Args:
        save_traces: Write traces.
        trace_dir: Directory of the traces.
        session_id: Session of turns that name none.
        turns: `all`, or `fanout` for only those that ran references.
        propagate_threads: Carry turns into bare threads and executors.
        capture: `full`, or `metadata` for sizes in place of content.
        redact: Redaction of the texts that are written: functions that take a text and return one,
            names of rules (`secrets`, `emails`, `phones`), or several of both. Functions run after
            the rules. Without a name the rules are those of the environment.
        max_field_bytes: Maximum length of a written text, in UTF-8 bytes.
        max_file_bytes: Maximum size of a file. One that would exceed it is renamed first, to
            `<session>~s<number>.jsonl`.
        journal: Keep the calls of open turns on disk, for `moa recover`. Ignored with a `writer`.
        integrity: `off`, `digest` or `hmac`: what each line proves, of itself and of those before it.
        integrity_key_file: File of the key for `hmac`.
        middleware: Middleware of the default stack, the first outermost.
        observers: Observers of the default stack.
        writer: Receives the lines instead of files: any object with
            `write(session_id: str | None, line: bytes)`.
        on_turn: Called with each turn's record when it closes, also while traces are not saved.

    Raises:
        SettingsError: A value cannot be used.
        MiddlewareError: A middleware cannot be called.
    """
    # First of all, while the arguments are the only local variables.
    given = {name: value for name, value in locals().items() if value is not _UNSET and name not in _NO_SETTINGS}
    redactors = state.redactors
    if redact is not _UNSET:
        given["redact"], redactors = redaction(redact)
    overrides = {name: value for name, value in {**state.overrides, **given}.items() if value is not None}
    # Checked now, so that the error is raised at the line that made it. Pydantic is imported for it, but
    # not where a program only sets middleware or a writer.
    if overrides != state.overrides and overrides:
        _validate(overrides)
    if writer is not _UNSET and writer is not None and not callable(getattr(writer, "write", None)):
        msg = f"configure(writer=…) takes an object with write(session_id, line), got {type(writer).__name__}"
        raise SettingsError(msg)
    if on_turn is not _UNSET and on_turn is not None and not callable(on_turn):
        msg = f"configure(on_turn=…) takes a function, got {type(on_turn).__name__}"
        raise SettingsError(msg)
    # Everything is checked before anything changes, so that an error leaves all as it was.
    default_stack.replace(
        middleware=None if middleware is _UNSET else checked(middleware, "middleware"),
        observers=None if observers is _UNSET else checked(observers, "observers"),
    )
    with state.lock:
        state.overrides = overrides
        if writer is not _UNSET:
            state.writer = writer
        if on_turn is not _UNSET:
            state.on_turn = on_turn
        state.redactors = redactors
        state.changed()
    load_recorder()


def _validate(overrides: dict[str, Any]) -> None:
    """
    Check each value on its own, so that the message names the argument.

    Raises:
        SettingsError: A value cannot be used.
    """
    from pydantic import ValidationError

    from ..settings import Settings, words_of

    # `Settings(**overrides)` would read the environment too, and what is wrong there is not this call's
    # fault: it is logged at the first turn. So each value is assigned to a copy that has read nothing.
    validate = Settings.__pydantic_validator__.validate_assignment
    blank = Settings.model_construct(integrity=overrides.get("integrity", "off"))
    for name, value in overrides.items():
        try:
            validate(blank.model_copy(), name, value)
        except ValidationError as error:
            problem = error.errors(include_url=False)[0]
            # The key itself may have been given in place of its path.
            shown = "…" if name == "integrity_key_file" else f"{value!r:.80}"
            msg = f"configure({name}={shown}): {words_of(problem)}"
            raise SettingsError(msg) from None
    if overrides.get("integrity") == "hmac" and not (
        overrides.get("integrity_key_file") or os.environ.get("MOA_INTEGRITY_KEY_FILE")
    ):
        msg = "configure(integrity='hmac') needs integrity_key_file=… too: the file of a key"
        raise SettingsError(msg)


def reset() -> None:
    """Forget what was configured and the lines that wait; for tests."""
    outbox = loaded_outbox()
    if outbox is not None:
        outbox.forget()
    with state.lock:
        state.reset()
    default_stack.replace(middleware=(), observers=())


def _let_go() -> None:
    """Let go of what the program has configured: a writer's own `__del__` may flush what it holds."""
    is_missed = state.current[1] is not None
    reset()
    registered.clear()
    state.end(is_missed=is_missed)


at_teardown(_let_go, last=True)


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


class Status(NamedTuple):
    """
    The counters of this process.

    Attributes:
        written: Lines written.
        refused: Lines that the writer refused at first. They wait, were written later, or are lost.
        waiting: Lines that wait to be written.
        open_turns: Turns that are open.
        faults: Faults of observers and of the recording. None of them reached a call.
        lost: Refused lines that were dropped because too many waited.
        saving: True if a turn that begins now will be written. A bad setting keeps it false.
        turns_without_calls: Recorded turns in which no call was recorded, nor a turn.
        unread_replies: Replies of recorded calls that were not understood.
        targets_unused: Targets that the default stack was asked for by name, and of which no call was
            recorded so far in this process; unknown, so empty, while nothing is recorded, and once the
            process has forked.
        targets_held: Functions that others hold since before they were wrapped, each with the places,
            `app:ask (app.HANDLERS)`: calls by way of these are not recorded.
        diverted: Lines written to a file of their own, since another user's file, a link or the like was in the
            place of theirs, in a directory that others may write to.
    """

    written: int
    refused: int
    waiting: int
    open_turns: int
    faults: int
    lost: int = 0
    saving: bool = False
    turns_without_calls: int = 0
    unread_replies: int = 0
    targets_unused: tuple[str, ...] = ()
    targets_held: tuple[str, ...] = ()
    diverted: int = 0


def status() -> Status:
    """Return the counters of this process."""
    return _status(look=True)


def _status(*, look: bool) -> Status:
    # The tracer is asked and not the switch: a bad setting keeps tracing off whatever the switch says,
    # and nobody should find that out from an empty directory.
    tracer: Any = recording()
    saving = tracer is not None and tracer.writes_lines
    outbox = loaded_outbox()
    written = refused = waiting = lost = apart = 0
    if outbox is not None:
        tally = outbox.tally
        written, refused, waiting, lost = tally.written, tally.refused, outbox.waiting(), tally.lost
        apart = outbox.diverted()
    unused, places, empty, unread, *_ = report.findings(default_stack, look=look)
    held = tuple(f"{name} ({where})" for name, where in places.items())
    targets = tuple(unused), held
    return Status(written, refused, waiting, open_turns(), faults(), lost, saving, empty, unread, *targets, apart)


def flush(*, open_streams: bool = False) -> Status:
    """
    Finish streams that were left by `break`, and write every line that waits.

    For notebooks, where such a stream stays alive in a variable, and for handlers of SIGTERM.

    Args:
        open_streams: Finish every open stream, because the process is about to end without Python's
            own exit (`os._exit`).

    Returns:
        The counters afterwards.
    """
    finish_broken_off(everything=open_streams)
    if open_streams:
        prepared.drop_all()
    outbox = loaded_outbox()
    if outbox is not None:
        outbox.flush()
    # In a handler of SIGTERM, perhaps: no search through all objects.
    return _status(look=False)
