"""
The parameters of a function: which names its arguments have, and what is given for those that a call leaves out.

Read once per function. This module must not know what an argument means.
"""

from __future__ import annotations

import copy
import functools
import inspect
from functools import partial
from typing import TYPE_CHECKING, Any

from ...errors import RequestError
from ..log import log
from .fields import get, has

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["SELVES", "SENTINELS", "Argument", "Signature", "follow", "log_dead_end"]

SELVES = ("self", "cls")
"""How the object of a method is named at the beginning of a dotted path, whatever the method calls it."""
SENTINELS = frozenset({"NotGiven", "Omit", "Unset"})
"""Names of the classes of an SDK's words for "not given" (`omit`, `NOT_GIVEN`, Mistral's `UNSET`)."""
# An SDK's sentinels and other objects stand for "not given". Nothing else is kept of what a partial application
# holds either: it may be a client, which would then never be freed.
_KEPT = (bool, int, float, str, list, tuple, dict, type(None))
_PLACEHOLDER = getattr(functools, "Placeholder", object())
"""What a partial application of Python 3.14 holds in the place of an argument that is still to come."""


class Signature:
    """The parameters of one function."""

    __slots__ = ("accepts", "bound", "defaults", "known", "names", "optional", "rest")

    def __init__(self, fn: Callable[..., Any]) -> None:
        parameters = _parameters(fn)
        self.names = tuple(p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))
        """Names of the parameters that take a positional argument."""
        rest = [p.name for p in parameters if p.kind is p.VAR_POSITIONAL]
        self.rest = rest[0] if rest else "args"
        """Name of the parameter that takes all further positional arguments."""
        self.known = frozenset(p.name for p in parameters)
        """Names of all parameters; empty where the signature is not known."""
        anything = not parameters or any(p.kind is p.VAR_KEYWORD for p in parameters)
        self.accepts = None if anything else self.known
        """Names of the arguments that it takes, `None` where it takes any or its signature is not known."""
        self.optional = frozenset(p.name for p in parameters if p.default is not p.empty)
        self.bound = _bound(fn)
        """What partial applications around the function pass by position, by the parameter's name."""
        self.defaults = {p.name: p.default for p in parameters if isinstance(p.default, _KEPT)}
        """The defaults that say something (a model's name, a temperature), and what partial applications pass."""
        if self.defaults.get("stream") is None:
            self.defaults.pop("stream", None)
        self.defaults.update({name: value for name, value in self.bound.items() if isinstance(value, _KEPT)})

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the given arguments by name, without those that an SDK calls not given."""
        named: dict[str, Any] = dict(zip(self.names, args, strict=False)) if args else {}
        if len(args) > len(named):
            named[self.rest] = args[len(named) :]
        named.update(kwargs)
        given = named
        for name, value in named.items():
            # By the class's name: the classes are the SDK's own, one of each SDK, and none is imported here.
            if type(value).__name__ in SENTINELS:
                given = given.copy() if given is named else given
                del given[name]
        return given

    def takes(self, name: str) -> bool:
        """Return True if the function has a parameter of this name, one that a partial application binds too, or takes any."""
        return self.accepts is None or name in self.accepts or name in self.bound

    def leads(self, path: str) -> bool:
        """Return True if a dotted path begins at a parameter, or at the object of the method."""
        head, _, rest = path.partition(".")
        return self.takes(head) or bool(rest and head in SELVES)

    def put(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], path: str, value: Any
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """
        Return the arguments with one of them set, at the place where it was given.

        Args:
            args: The positional arguments.
            kwargs: The keyword arguments.
            path: Name of a parameter, or a dotted path from one; then the argument is replaced by a
                shallow copy, and the caller's own object stays as it is.
            value: The new value.

        Raises:
            RequestError: The path begins at the object of the method, or the argument is bound by a
                partial application.
        """
        name, _, rest = path.partition(".")
        if rest:
            if name in SELVES and name not in self.known:
                msg = f"call.replace: {path} is an attribute of the object and not an argument; it cannot be replaced"
                raise RequestError(msg)
            named = self.defaults | self.bind(args, kwargs)
            value = _changed(named.get(name), rest.split("."), value)
        if name not in kwargs and name in self.names[: len(args)]:
            index = self.names.index(name)
            return (*args[:index], value, *args[index + 1 :]), dict(kwargs)
        if name == self.rest and len(args) > len(self.names):
            return (*args[: len(self.names)], *value), dict(kwargs)
        if name in self.bound:
            msg = f"call.replace: the argument {name!r} is bound by a functools.partial; bind it by keyword there"
            raise RequestError(msg)
        return args, {**kwargs, name: value}

    def without(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], path: str
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments without one of them, or with an empty text where the function needs it."""
        if path in kwargs and (path in self.optional or path not in self.names):
            return args, {name: value for name, value in kwargs.items() if name != path}
        if path in kwargs or "." in path or path in self.names[: len(args)]:
            return self.put(args, kwargs, path, "")
        return args, dict(kwargs)


class Argument:
    """
    An option's value that is read from the arguments of the call: `user`, `self.model`, `body.session_id`.

    Args:
        path: The name of a parameter, and attributes below it, or keys where that is a dict.
    """

    __slots__ = ("path",)

    def __init__(self, path: str) -> None:
        self.path = path

    # The receiver is positional, since `self` is among the arguments.
    def __call__(self, /, **given: Any) -> Any:
        """Return the value, `None` if the call has no such argument."""
        value = follow(self.path, given)
        if value is None:
            log_dead_end(self.path, given)
        return value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Argument) and other.path == self.path

    def __hash__(self) -> int:
        return hash(self.path)

    def __repr__(self) -> str:
        return f"Argument({self.path!r})"


def follow(path: str, named: Mapping[str, Any], instance: object = None) -> Any:
    """
    Return what a dotted path leads to, `None` if it leads nowhere.

    Args:
        path: `self.config.model`: attributes, or keys of a dict, from an argument or from the object.
        named: The arguments by name.
        instance: The object of the method, `None` outside one.
    """
    head, *steps = path.split(".")
    value = named.get(head, instance if head in SELVES else None)
    for step in steps:
        value = get(value, step)
    return value


_dead_ends: set[tuple[type, str]] = set()
"""Classes and paths that were logged."""
_MOST = 100


def log_dead_end(path: str, named: Mapping[str, Any], instance: object = None) -> None:
    """
    Log, once for each class, a dotted path that leads nowhere: an object lacks an attribute in it.

    For a path whose value is `None`: whether it was found is not asked before.

    Args:
        path: As in `follow`.
        named: The arguments by name.
        instance: The object of the method, `None` outside one.
    """
    head, *steps = path.split(".")
    value = named.get(head, instance if head in SELVES else None)
    for step in steps:
        kind = type(value)
        if value is None or issubclass(kind, dict):
            return  # an argument that was left out, an attribute that is set later, or a key that may be missing
        if not has(value, step):
            if (kind, path) not in _dead_ends and len(_dead_ends) < _MOST:
                _dead_ends.add((kind, path))
                error = f"{kind.__module__}.{kind.__qualname__} has no {step}"
                log("moa.argument_missing", key=error, path=path, error=error)
            return
        value = get(value, step)


def _changed(holder: Any, steps: list[str], value: Any) -> Any:
    """Return a shallow copy of an object in which a path leads to another value."""
    name, *rest = steps
    if rest:
        value = _changed(get(holder, name), rest, value)
    if isinstance(holder, dict):
        return {**holder, name: value}
    copied = copy.copy(holder)
    try:
        object.__setattr__(copied, name, value)  # a frozen dataclass refuses its own `__setattr__`
    except (AttributeError, TypeError) as error:
        msg = f"call.replace: {name!r} of a {type(holder).__qualname__} cannot be set"
        raise RequestError(msg) from error
    return copied


def _parameters(fn: Any) -> list[inspect.Parameter]:
    """Return the parameters of a function, none where they cannot be found out: `__signature__` may be anything."""
    try:
        return list(inspect.signature(fn).parameters.values())
    except Exception:
        return []


def _bound(fn: Any) -> dict[str, Any]:
    """Return what partial applications pass by position: the signature does not have these parameters any more."""
    if not isinstance(fn, partial):
        return {}
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [p.name for p in _parameters(fn.func) if p.kind in positional]
    passed = {name: value for name, value in zip(names, fn.args, strict=False) if value is not _PLACEHOLDER}
    return _bound(fn.func) | passed
