"""A stack, as what is below it knows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..flow.model import Middleware
    from ..flow.observers import Observer
    from .turn import Recording

__all__ = ["StackLike"]


class StackLike(Protocol):
    """A stack, as far as wrappers and blocks know it."""

    middleware: Sequence[Middleware]
    observers: Sequence[Observer]

    def recording(self) -> Recording | None:
        """Return who records the turn that begins now, `None` while nothing is recorded."""

    def call_through(  # noqa: PLR0917 - on the path of every call, where keywords cost
        self,
        options: Any,
        cache: dict[str, Any],
        path: str,
        wrapped: Callable[..., Any],
        instance: object,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        """Run one invocation of a wrapped function."""
