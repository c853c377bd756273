"""Take a conversation up when something else is over: a future, or another call's stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..flow.driver import drive_last
from .state import End

if TYPE_CHECKING:
    from ..flow.driver import Conversation
    from .state import StreamState

__all__ = ["FutureDone", "follow", "future_done"]


class FutureDone(NamedTuple):
    """A future that is done; sent into the conversation."""

    future: Any


def future_done(talk: Conversation, future: Any) -> None:
    """Take the conversation up from a future's callback."""
    drive_last(talk, FutureDone(future))


def follow(state: StreamState, talk: Conversation) -> None:
    """Take the conversation up when somebody else's stream is over."""
    state.add_done_callback(lambda outcome, error: drive_last(talk, End(outcome, error)))
