"""
Iterators of messages on their way to the SDK, which keep what is pulled from them.

Only Python's own iterators: one of a class of the user's may be a file or a socket.
"""

from __future__ import annotations

import itertools
from copy import deepcopy
from types import GeneratorType
from typing import Any

import wrapt

__all__ = ["Recorder", "recorder_of"]

# The types of Python's own iterators, found by making one of each: most have no name that could be
# imported. An iterator of a class of the user's may be a file or a socket, so only these are recorded.
_ITERABLES: tuple[Any, ...] = ([], (), {}, {}.values(), {}.items(), set(), "", "é", range(0), range(1 << 70))
_ITERATORS = frozenset(
    (
        *(type(iter(made)) for made in _ITERABLES),
        *(map, filter, zip, enumerate, reversed, type(reversed([])), type(reversed({}))),
        *(kind for kind in vars(itertools).values() if isinstance(kind, type) and hasattr(kind, "__next__")),
    )
)


class Recorder(wrapt.BaseObjectProxy):  # type: ignore[type-arg]  # wrapt's C types are untyped
    """
    An iterator of messages on its way to the SDK, which keeps what is pulled from it.

    `rewind` lets a further request of the same call read the same messages from where the call
    found them.
    """

    def __init__(self, source: Any, system: Any = None) -> None:
        super().__init__(source)
        self._self_items: list[Any] = []
        self._self_position = 0
        self._self_head = [] if system is None else [{"role": "system", "content": system}]

    @property
    def items(self) -> list[Any]:
        """What was pulled so far, after what the model reads before it."""
        return [*self._self_head, *self._self_items]

    def __iter__(self) -> Recorder:
        return self

    def __next__(self) -> Any:
        if self._self_position == len(self._self_items):
            self._self_items.append(next(self.__wrapped__))
        item = self._self_items[self._self_position]
        self._self_position += 1
        return item

    def __copy__(self) -> Recorder:
        # Wrapt refuses to copy a proxy, and Python to copy a generator, but `itertools.tee` asks for a copy:
        # both read on from here, and what either pulls is kept.
        made = type(self)(self.__wrapped__)
        made._self_items, made._self_position = self._self_items, self._self_position
        made._self_head = self._self_head
        return made

    def __deepcopy__(self, memo: Any) -> Any:
        make, rest = self.__reduce_ex__(2)
        return make(*deepcopy(rest, memo))

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return itertools.chain, (self._self_items[self._self_position :], self.__wrapped__)

    def rewind(self) -> None:
        """Start again at the first message."""
        self._self_position = 0


class _GeneratorRecorder(Recorder):
    """The same for a generator, which can be sent to as well; `close` is its own."""

    def send(self, value: Any) -> Any:
        if value is None:
            return next(self)
        return self._kept(self.__wrapped__.send(value))

    def throw(self, *error: Any) -> Any:
        return self._kept(self.__wrapped__.throw(*error))

    def _kept(self, item: Any) -> Any:
        self._self_items.append(item)
        self._self_position = len(self._self_items)
        return item


def recorder_of(messages: Any, system: Any = None) -> Recorder | None:
    """
    Return an iterator of messages as one that keeps what is pulled, `None` for anything else.

    Args:
        messages: The messages.
        system: What the model reads before them, where that is an argument of its own.

    A file, or an iterator of a class of the user's own, is passed on as it is and never read.
    """
    kind = type(messages)
    if kind is GeneratorType or kind is _GeneratorRecorder:
        return _GeneratorRecorder(messages, system)
    return Recorder(messages, system) if kind in _ITERATORS or kind is Recorder else None
