"""
How the class of a transparent proxy is made: one class per wrapped type, from a table of methods, cached.

A method is there only if the wrapped object has it, and is async only if that one is, so that code
which looks before it leaps sees no difference.
"""

from __future__ import annotations

import inspect
from copy import copy, deepcopy
from types import FunctionType
from typing import TYPE_CHECKING, Any

import wrapt

from ..teardown import at_teardown

if TYPE_CHECKING:
    from .state import StreamState

__all__ = ["ASYNC_CLOSE", "StateProxy", "TransparentProxy", "forward", "own_state", "proxy_class"]

ASYNC_CLOSE = "close, as a coroutine function"
"""Key of a table, for the `close` of types where that is a coroutine function."""

# wrapt's proxy always has these. `contextlib.closing`, SDKs and users ask with `hasattr` whether a
# stream can be entered or measured, and must not find what the wrapped object lacks. Their lookups go
# to the type, so that it takes a class per wrapped type to answer them (tests/behaviour/streams/test_proxies.py).
_CONTEXT = ("__enter__", "__exit__", "__aenter__", "__aexit__")
_CONTAINER = ("__len__", "__getitem__", "__setitem__", "__delitem__", "__contains__", "__reversed__")


class TransparentProxy(wrapt.BaseObjectProxy):  # type: ignore[type-arg]  # wrapt's cannot be subscribed
    """Base of all proxies of streams."""

    __moa_proxy__ = True


class StateProxy(TransparentProxy):
    """Base of the proxies that feed a `StreamState`."""

    _self_helper: Any = None
    """For a manager: a weak reference to the SDK's helper that came of entering it, if one did."""
    _self_entered = True
    """For a manager: whether it is the wrapped one that was entered, and not one of a resend."""


def own_state(value: object) -> StreamState | None:
    """Return the state behind a proxy of ours, None for anything else."""
    if isinstance(value, StateProxy):
        state: StreamState = value._self_state
        return state
    return None


def forward(name: str) -> Any:
    """Return a method that calls the wrapped object's own."""

    def pass_on(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(self.__wrapped__, name)(*args, **kwargs)

    return pass_on


class _Absent:
    """A name that the wrapped object does not have."""

    def __set_name__(self, _owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        msg = f"{owner.__name__ if owner else 'object'!r} object has no attribute {self.name!r}"
        raise AttributeError(msg)


def _contains(self: Any, item: Any) -> bool:
    return any(item is chunk or item == chunk for chunk in self)


_OTHERS = {"__await__": forward("__await__"), "__call__": forward("__call__")}
# A proxy travels as what it is in place of: it copies and pickles where that does.
_ALWAYS = {
    "__reduce_ex__": forward("__reduce_ex__"),
    "__reduce__": forward("__reduce__"),
    "__repr__": lambda self: repr(self.__wrapped__),
    "__copy__": lambda self: copy(self.__wrapped__),
    "__deepcopy__": lambda self, memo: deepcopy(self.__wrapped__, memo),
}


def _has(kind: type, name: str) -> bool:
    """Return True if instances of a type have a method; `hasattr` finds those of its metaclass too."""
    return any(name in vars(cls) for cls in kind.__mro__)


def proxy_class(kind: type, base: type, table: dict[str, Any]) -> type:
    """Return the proxy's class for objects of a type, with those of the table's methods that they have."""
    names: dict[str, Any] = {"__module__": base.__module__, "__doc__": kind.__doc__, **_ALWAYS}
    names.update({name: fn for name, fn in {**table, **_OTHERS}.items() if _has(kind, name)})
    close = getattr(kind, "close", None)
    if "close" in names and inspect.iscoroutinefunction(inspect.unwrap(close)):  # type: ignore[arg-type]
        names["close"] = table[ASYNC_CLOSE]
    names.update({name: _Absent() for name in _CONTEXT if not _has(kind, name)})
    # `None` is the data model's way to say "not this one"; ABCs such as `Sized` ask for it.
    names.update({name: None for name in _CONTAINER if not _has(kind, name)})
    if _has(kind, "__iter__") and not _has(kind, "__contains__"):
        names["__contains__"] = _contains  # `in` goes through whatever can be iterated
    return type(kind.__name__, (base,), names)


# Streams that are open when the interpreter ends are over after its functions of `atexit`. A finaliser of the
# program may close one afterwards, or read the rest, when parts of the standard library are gone that our methods
# need (`inspect`, `contextlib`, `weakref`).
def _pass_on_what_is_over() -> None:
    """Let each proxy whose stream is over pass everything on, and do nothing of its own."""
    for base in StateProxy.__subclasses__():
        for cls in base.__subclasses__():
            for name, own in list(vars(cls).items()):
                if type(own) is FunctionType and name not in _ALWAYS:
                    setattr(cls, name, _passing_on(name, own))


def _passing_on(name: str, own: Any) -> Any:
    def pass_on(self: Any, *args: Any) -> Any:
        if self._self_state.ended is None:
            return own(self, *args)
        return getattr(self.__wrapped__, name)(*args)

    return pass_on


at_teardown(_pass_on_what_is_over)
