"""Classes of the user's, with what reads their objects; and how an object is named that nothing reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..flow.outcome import is_interrupt

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..flow.model import Chunk, Reply

__all__ = ["describe", "register_shape", "registered"]

registered: list[tuple[type, Callable[[Any], Chunk | None] | None, Callable[[Any], Reply | None] | None]] = []
"""Classes of the user's with their readers of a chunk and of a reply, the last registered first."""


def register_shape(
    cls: type, *, chunk: Callable[[Any], Chunk | None] | None = None, reply: Callable[[Any], Reply | None] | None = None
) -> None:
    """
    Teach the library a class of your own.

    Args:
        cls: The class of the objects; subclasses are meant too.
        chunk: Reads one object of a stream into a `Chunk`, `None` for one that carries nothing.
        reply: Reads a value in one piece into a `Reply`, `None` to leave it to the built-in shapes.

    Raises:
        TypeError: If `cls` is not a class.
    """
    if not isinstance(cls, type):
        msg = f"register_shape() takes a class first, got {type(cls).__name__}"
        raise TypeError(msg)
    registered.insert(0, (cls, chunk, reply))


def describe(obj: object) -> dict[str, str]:
    """Return the type of an unknown object and the head of its `repr`, longer than the key `raw` shows it."""
    kind = type(obj)
    name = text = ""
    try:
        name = f"{kind.__module__}.{kind.__qualname__}"
        text = str(repr(obj))
    except BaseException as error:  # code of the object's own, or of its class's
        if is_interrupt(error):
            raise
    return {"type": name, "repr": text[:2000]}
