"""Checks of the arguments of decorators, stacks and `configure`. Each error says what is wrong and what to write."""

from __future__ import annotations

import inspect
from functools import partialmethod
from typing import TYPE_CHECKING, Any

from ..errors import DecorationError, MiddlewareError, SettingsError, TargetError
from .flow.chain import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TypeAlias

    Redaction: TypeAlias = str | Callable[[str], str]

__all__ = ["PLACES", "check_names", "check_place", "checked", "redaction", "unknown"]

PLACES = ("messages", "system")
"""Options that name where a part of the request is."""


def checked(items: Iterable[Any], what: str) -> tuple[Any, ...]:
    """
    Return middleware as a tuple.

    Raises:
        MiddlewareError: An item cannot be called, or is a generator instead of its function.
    """
    if callable(items) or not hasattr(items, "__iter__"):
        msg = f"{what} takes a list, got {type(items).__name__}" + (f": [{name_of(items)}]" if callable(items) else "")
        raise MiddlewareError(msg)
    result = tuple(items)
    for index, item in enumerate(result):
        if inspect.isgenerator(item):
            msg = f"{what}[{index}] is the generator of `{item.__qualname__}`: give the function, uncalled"
            raise MiddlewareError(msg)
        if not callable(item):
            msg = f"{what}[{index}] is a {type(item).__name__}, which cannot be called"
            raise MiddlewareError(msg)
    return result


def redaction(given: Any) -> tuple[str | None, tuple[Callable[[str], str], ...]]:
    """
    Return the rules and the functions of `configure(redact=…)`; the rules are `None` for the environment's.

    Raises:
        SettingsError: An item is neither a rule nor a function of one text.
    """
    from .._redaction import RULES  # here, because compiling its patterns takes long

    if given is None:
        return None, ()
    several: Any = given
    if isinstance(given, str) or callable(given) or not hasattr(given, "__iter__"):
        several = (given,)
    items: list[Any] = [*several]
    names = [name.strip() for item in items if isinstance(item, str) for name in item.split(",") if name.strip()]
    functions = tuple(item for item in items if not isinstance(item, str))
    for name in names:
        if name.lower() not in RULES:
            msg = f"configure(redact=…): unknown rule {name!r:.80}; choose from {', '.join(RULES)}"
            raise SettingsError(msg)
    for item in functions:
        if not callable(item):
            msg = f"configure(redact=…) takes functions and names of rules, got {type(item).__name__}"
            raise SettingsError(msg)
        if inspect.iscoroutinefunction(item):
            msg = f"configure(redact=…): `{name_of(item)}` is async; give a plain function"
            raise SettingsError(msg)
    return (None if functions and not names else ",".join(names)), functions


def unknown(where: str, name: str, known: Sequence[str]) -> str:
    """Return the message for an unknown keyword."""
    import difflib  # here, because only an error needs it

    near = difflib.get_close_matches(name, known, n=1)
    hint = f", did you mean {near[0]!r}?" if near else ";"
    return f"{where}() got an unknown keyword {name!r}{hint} it takes {', '.join(known)}"


def check_names(name: str, options: Any) -> None:
    """
    Check that the options that say where a part of the request is name a parameter, or a path from one.

    Raises:
        TargetError: One does not.
    """
    for option in PLACES:
        place = getattr(options, option)
        if place is not None and not _is_place(place):
            raise TargetError(_no_place(name, option, place))


def _is_place(place: Any) -> bool:
    return isinstance(place, str) and all(map(str.isidentifier, place.split(".")))


def _no_place(name: str, option: str, place: Any) -> str:
    return f"{name}({option}=…) takes the name of a parameter, or a dotted path from one, not {place!r:.80}"


def check_place(fn: Any, option: str, place: Any, name: str) -> None:
    """
    Check that a function has the parameter at which a part of its request is.

    Args:
        fn: The function.
        option: One of `PLACES`.
        place: Its value: a parameter's name, or a dotted path from one; `None` where it was not
            given.
        name: The decorator or function, for the message.

    Raises:
        DecorationError: It does not have the parameter, or the place is not a dotted name.
    """
    if place is None:
        return
    if not _is_place(place):
        raise DecorationError(_no_place(name, option, place))
    parameters = _parameters(fn)
    head, _, rest = place.partition(".")
    if parameters is None or head in parameters or (rest and head in ("self", "cls")):
        return
    msg = f"{name}({option}={place!r}): `{name_of(fn)}` has no such parameter, it has {', '.join(parameters)}"
    raise DecorationError(msg)


def _parameters(fn: Any) -> Sequence[str] | None:
    """Return the names of a function's parameters, `None` where it takes any."""
    inner = getattr(fn, "__func__", fn)
    inner = inner.func if isinstance(inner, partialmethod) else inner
    # Not every callable has a signature, C functions among them. Then the parameter may be there, and the
    # first call shows it.
    try:
        parameters = inspect.signature(inner).parameters
    except (TypeError, ValueError):
        return None
    return None if any(p.kind is p.VAR_KEYWORD for p in parameters.values()) else [*parameters]
