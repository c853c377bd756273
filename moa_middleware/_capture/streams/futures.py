"""Small things that both conversations need: futures, awaitables, and following another's stream."""

from __future__ import annotations

from inspect import isawaitable
from typing import TYPE_CHECKING, Any, NamedTuple

from ..flow.driver import drive_last
from ..shapes.fields import of_type
from .state import End

if TYPE_CHECKING:
    from ..flow.driver import Conversation
    from .state import StreamState

__all__ = ["Done", "follow", "future_done", "is_awaitable", "is_future", "outcome_of_future"]


class Done(NamedTuple):
    """A future that is done; sent into the conversation."""

    future: Any


def is_future(value: object) -> bool:
    """Whether a value is a Task or Future, which goes back to the caller as the same object."""
    return _is_future_type(type(value))


@of_type
def _is_future_type(kind: type) -> bool:
    return hasattr(kind, "add_done_callback")


def is_awaitable(value: object) -> bool:
    """Whether a value has to be awaited before there is a reply."""
    return isawaitable(value) and not is_future(value)


def future_done(talk: Conversation, future: Any) -> None:
    """Take the conversation up from a future's callback."""
    drive_last(talk, Done(future))


def outcome_of_future(future: Any) -> tuple[Any, BaseException | None]:
    """Return the result of a future that is done, or its exception."""
    # Asking `exception()` would mark it as retrieved, and asyncio warn nobody that it was not.
    error = getattr(future, "_exception", None)
    if isinstance(error, BaseException):
        return None, error
    try:
        return future.result(), None
    except BaseException as error:
        return None, error


def follow(state: StreamState, talk: Conversation) -> None:
    """Take the conversation up when somebody else's stream is over."""
    state.follow(lambda outcome, error: drive_last(talk, End(outcome, error)))
