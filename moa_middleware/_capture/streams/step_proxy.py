"""The bases of the proxies that feed a `StreamState`: what each holds, and how it is reached."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import wrapt

if TYPE_CHECKING:
    from collections.abc import Callable

    from .state import StreamState

__all__ = ["StateProxy", "StreamProxy", "own_state", "step_of"]


class StateProxy(wrapt.BaseObjectProxy):  # type: ignore[type-arg]  # wrapt's cannot be subscribed
    """Base of the proxies that feed a `StreamState`."""

    __moa_proxy__ = True


class StreamProxy(StateProxy):
    """Base of the classes made for streams."""

    __slots__ = ("_self_step",)

    def __init__(self, wrapped: Any, state: StreamState, keep: object = None) -> None:
        super().__init__(wrapped)
        self._self_state = state
        self._self_keep = keep
        self._self_step: Any = None
        """Takes a step, once one was taken."""


step_of: Callable[[Any], Any] = vars(StreamProxy)["_self_step"].__get__
"""For each single step: an attribute of `wrapt`'s proxy takes 90 ns to get, and this 40."""


def own_state(value: object) -> StreamState | None:
    """Return the state behind a proxy of ours, `None` for anything else."""
    if isinstance(value, StateProxy):
        state: StreamState = value._self_state
        return state
    return None
