"""Checks of the arguments of decorators, stacks and `configure`. Each error says what is wrong and what to write."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from ..errors import DecorationError, MiddlewareError, SettingsError
from .flow.chain import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TypeAlias

    Redaction: TypeAlias = str | Callable[[str], str]

__all__ = ["check_parameter", "checked", "redaction", "unknown"]


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


def check_parameter(fn: Any, parameter: str, name: str) -> None:
    """
    Check that a function has the parameter that holds the request.

    Raises:
        DecorationError: It does not.
    """
    # Not every callable has a signature, C functions among them. Then the parameter may be there, and the
    # first call shows it.
    try:
        parameters = inspect.signature(getattr(fn, "__func__", fn)).parameters
    except (TypeError, ValueError):
        return
    if parameter in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    msg = f"@{name}(messages={parameter!r}): `{name_of(fn)}` has no such parameter, it has {', '.join(parameters)}"
    raise DecorationError(msg)
