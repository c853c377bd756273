"""How a call, a stream or a turn ended, and what is kept of the exception that ended it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, final

from ..frames import traceback_of
from .http_failure import facts_of, without_headers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .model import Outcome

__all__ = ["ErrorInfo", "error_of", "exit_outcome", "is_interrupt", "outcome_of", "program_outcome"]

_OURS = __name__.partition(".flow")[0]
"""The package of the live wing."""
_CANCELS = frozenset({"CancelledError", "Cancelled"})


# An exception may have a `__class__` that raises, which `isinstance` asks for, and its class a metaclass that does.
# So the type is compared, and its name is read by the descriptor of `type`.
_name_of: Callable[[type], str] = vars(type)["__name__"].__get__


def outcome_of(error: BaseException) -> Outcome:
    """Return how something ended that raised `error`."""
    kind = type(error)
    if issubclass(kind, GeneratorExit):
        return "abandoned"
    if issubclass(kind, (KeyboardInterrupt, SystemExit)) or _name_of(kind) in _CANCELS:
        return "cancelled"
    return "error"


def is_interrupt(error: BaseException) -> bool:
    """
    Return True if an exception that came up while we read somebody's object interrupts the program.

    A property may raise anything, also what is not an `Exception`. That is the object's affair, and not
    the caller's. What was raised in our own frames, though, came from outside: a signal, a timeout, a
    greenlet that is killed.
    """
    if issubclass(type(error), Exception):
        return False
    if outcome_of(error) != "error":
        return True
    trace = traceback_of(error)
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is None or trace.tb_frame.f_globals.get("__name__", "").startswith(_OURS)


def exit_outcome(error: BaseException | None, helper: object = None) -> tuple[Outcome, BaseException | None]:
    """
    Return how a `with` block ended.

    Args:
        error: The exception that left it.
        helper: The SDK's object that was read in it: what that raises is not the consumer's.
    """
    if error is None or issubclass(type(error), GeneratorExit):
        return "closed", None
    outcome = outcome_of(error)
    if outcome == "error" and not _came_from(error, helper):
        outcome = "consumer_error"
    return outcome, error


def _came_from(error: BaseException, helper: object) -> bool:
    """Return True if an exception passed a method of an object."""
    # By `self` in the frames and not by their modules: the consumer may have methods of a class of the SDK's
    # on the stack as well, of another object.
    trace = traceback_of(error) if helper is not None else None
    while trace is not None:
        if trace.tb_frame.f_locals.get("self") is helper:
            return True
        trace = trace.tb_next
    return False


def program_outcome(error: BaseException | None) -> tuple[Outcome, ErrorInfo | None]:
    """
    Return how a program, or a cell of a notebook, ended.

    To exit with code 0 is a normal end, and with another one an error.

    Args:
        error: What was not caught.
    """
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "completed", None
    # Words only. The exception holds the frames of the whole program.
    return "error" if issubclass(type(error), SystemExit) else outcome_of(error), error_of(error)


@final
class ErrorInfo(NamedTuple):
    """What is kept of an exception. The exception itself holds every frame that it passed, with the streams there."""

    type: str
    message: str
    facts: Mapping[str, Any] = {}
    """What it says of the HTTP response behind it: further keys of an `ErrorRecord`."""


def error_of(error: BaseException | ErrorInfo | None) -> ErrorInfo | None:
    """Return an exception as a record holds it: its type with the module, and its message."""
    if error is None or type(error) is ErrorInfo:
        return error
    kind = type(error)
    try:
        name, module = kind.__qualname__, kind.__module__
        if module != "builtins":
            name = f"{module}.{name}"
    except Exception:
        name = _name_of(kind)
    # `__str__` of an SDK's exception may read its response, which is closed by now, and raise in turn.
    try:
        message = without_headers(str(error), error)
    except Exception:
        message = ""
    return ErrorInfo(name, message, facts_of(error))
