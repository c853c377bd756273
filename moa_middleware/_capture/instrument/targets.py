"""
The registry of targets: what `instrument("openai,pkg.mod:Class.method=turn")` and `MOA_INSTRUMENT` name.

A name means an SDK, or the targets that this package or another one offers; it is loaded when it is
used, since what others offer may be slow to import, or broken. A target is wrapped when its module
is there, now or by a post-import hook, so nothing is imported for it and the order of imports does
not matter. This module must not know who runs the program.
"""

from __future__ import annotations

from functools import partial
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from ...errors import TargetError
from ..flow.chain import name_of
from ..log import log
from ..shapes import catalog
from ..shapes.catalog import SDKS
from . import sdks
from .grammar import entries_of, read, target_of
from .http import CLIENTS, OPTIONS, Filter, instrument_http, problem_of, uninstrument_http
from .offers import BrokenTargetError, choices, load
from .pending import PendingTarget
from .target import Target

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..calls.function import Options
    from ..turns.stack_like import StackLike
    from .grammar import Entry

__all__ = [
    "apply",
    "asked_for",
    "instrument",
    "instrument_class",
    "name_of_module",
    "remember",
    "uninstrument",
    "was_asked",
]


def _undo_plugin(name: str, _stack: StackLike, callback: object) -> None:
    """Call what a plugin's callable has returned, if that can be called."""
    if callable(callback):
        try:
            callback()
        except Exception as error:
            log("moa.target_failed", key=name, target=name, error=type(error).__qualname__)


_asked: dict[tuple[int, str], list[PendingTarget]] = {}
_callbacks: dict[tuple[int, str], list[partial[None]]] = {}
"""
What was done, by stack and name: targets, and functions that undo the rest.

Each of them holds the stack, so that no later stack gets the same id.
"""

_was_asked: set[int] = set()


def was_asked(stack: StackLike) -> bool:
    """Return True if a stack was ever asked for a target by name."""
    return id(stack) in _was_asked


def instrument(text: str, stack: StackLike, default: Options, *, report: bool = True, strict: bool = True) -> None:
    """
    Instrument what a comma-separated list names.

    Args:
        text: Names, and targets as `pkg.mod:Class.method=role`.
        stack: The stack.
        default: Options where a target has none.
        report: Whether to log a target that leads nowhere once its module is there.
        strict: Whether to raise for a target that leads nowhere in a module that is there; it is
            logged otherwise.

    Raises:
        TargetError: One of them is malformed, unknown or broken, or leads nowhere.
    """
    entries = entries_of(text)
    if not entries:
        msg = f"{text!r:.80} names no target; {choices()}"
        raise TargetError(msg)
    _instrument(entries, stack, default, report=report, strict=strict)


def _instrument(entries: Iterable[str], stack: StackLike, default: Options, *, report: bool, strict: bool) -> None:
    """Instrument entries: see `instrument`."""
    # Everything is read, loaded and checked before anything is wrapped: an error in the last entry must
    # not leave the first ones instrumented.
    pending: list[PendingTarget] = []
    named: list[tuple[str, list[Any]]] = []
    filters: list[tuple[str, Filter]] = []
    for text in entries:
        entry = read(text)
        if entry.path is None and entry.name in CLIENTS:
            filters.append((entry.name, _filter_of(entry)))
            continue
        if entry.path is None:
            named.append((entry.name, _things_of(entry)))
            continue
        target = target_of(entry)
        target.options_over(default)  # raises for an option that this version lacks
        _check_role(target, stack, pending)
        pending.append(PendingTarget(target, stack, default, report=report, is_spelt_out=True))
    if strict:
        for one in pending:
            one.check()  # all of them, before the first is wrapped
    _was_asked.add(id(stack))
    for one in pending:
        one.start(strict=strict)
        # The one that it replaces, if it was asked for before, dies here, and its import hook with it.
        _asked[id(stack), one.target.name] = [one]
    for name, which in filters:
        instrument_http(name, stack, default, which)
        _callbacks[id(stack), name] = [partial(uninstrument_http, name, stack)]
    for name, things in named:
        if name in SDKS:
            sdks.instrument_sdk(name, stack, default)
            _callbacks[id(stack), name] = [partial(sdks.uninstrument_sdk, name, stack)]
        else:
            _use(name, things, stack, default, report=report)


def _filter_of(entry: Entry) -> Filter:
    """
    Return which requests of an HTTP client an entry means.

    Raises:
        TargetError: An option is unknown, or has a value that no request has.
    """
    if entry.role is not None:
        entry.fail(entry.role_column, f"{entry.name} takes no role")
    for option in entry.options:
        if option.key not in OPTIONS:
            entry.fail(
                option.column - len(option.key) - 1,
                f"unknown option {option.key!r:.80}; choose from {', '.join(OPTIONS)}",
            )
        problem = problem_of(option.key, option.value)
        if problem is not None:
            entry.fail(option.column, problem)
    return Filter(**{option.key: option.value for option in entry.options})


def _things_of(entry: Entry) -> list[Any]:
    """
    Return the targets and callables that a name means, none for an SDK.

    Raises:
        TargetError: The name is unknown, takes no options, or fails to load.
    """
    if entry.role is not None:
        entry.fail(entry.role_column, "only moa run makes a program a turn; here, decorate its function")
    things = [] if entry.name in SDKS else load(entry.name)
    if entry.options:
        option = entry.options[0]
        entry.fail(option.column - len(option.key) - 1, f"{entry.name} takes no options")
    return things


def name_of_module(obj: object) -> str | None:
    """Return the name of the SDK or HTTP client whose module this is, `None` for anything else."""
    name = getattr(obj, "__name__", None) if issubclass(type(obj), ModuleType) else None
    if not isinstance(name, str):
        return None
    return name if name in CLIENTS else catalog.name_of(name)


def instrument_class(target: Target, cls: Any, stack: StackLike, default: Options) -> None:
    """
    Instrument a class that was defined just now, in a module that is still being run.

    Args:
        target: Its path begins with the class's name.
        cls: The class.
        stack: The stack.
        default: Options where the target has none.

    Raises:
        TargetError: The path leads nowhere, or the target has another role already.
    """
    _check_role(target, stack)
    pending = PendingTarget(target, stack, default, report=True, is_spelt_out=True)
    pending._wrap(SimpleNamespace(**{target.path.partition(".")[0]: cls}))
    remember(pending)


def remember(pending: PendingTarget) -> None:
    """Keep a target that was wrapped otherwise, as one that its stack was asked for."""
    _asked[id(pending.stack), pending.target.name] = [pending]


def _check_role(target: Target, stack: StackLike, pending: Sequence[PendingTarget] = ()) -> None:
    """
    Check that a target has one role, among what the stack was asked for and what is to follow.

    Raises:
        TargetError: It has another role already.
    """
    for other in (*_asked.get((id(stack), target.name), ()), *pending):
        if other.target.name == target.name and (other.target.role or "call") != (target.role or "call"):
            msg = f"{target.name} is a {other.target.role or 'call'} already; a function has one role"
            raise TargetError(msg)


def _use(name: str, things: Sequence[Any], stack: StackLike, default: Options, *, report: bool) -> None:
    """
    Wrap the targets of a name, and call its callables, unless that was done before.

    Raises:
        TargetError: An option is unknown, or a callable of another package raised.
    """
    key = id(stack), name
    targets = [thing for thing in things if isinstance(thing, Target)]
    for target in targets:
        target.options_over(default)  # raises for an unknown option, before the first is wrapped
    # In the registry before they start: a target whose module is there is wrapped at once, and `undo` of
    # another name must see that this one needs it.
    _asked[key] = [PendingTarget(target, stack, default, report=report, is_spelt_out=False) for target in targets]
    for one in _asked[key]:
        one.start(strict=False)
    has_run = bool(_callbacks.get(key))
    for thing in things:
        if isinstance(thing, Target) or has_run:
            continue
        try:
            callback = thing(stack)
        except Exception as error:
            msg = f"the target {name!r} cannot be used: `{name_of(thing)}` raised {type(error).__qualname__}"
            raise BrokenTargetError(msg) from error
        _callbacks.setdefault(key, []).append(partial(_undo_plugin, name, stack, callback))


def apply(text: str, stack: StackLike, default: Options, *, report: bool = True) -> None:
    """
    Instrument what a variable of the environment names. Errors are logged and not raised.

    Args:
        text: The variable's value.
        stack: The stack.
        default: Options where a target has none.
        report: Whether to log errors. A child process does not: its parent has.
    """
    _was_asked.add(id(stack))
    for entry in entries_of(text):
        try:
            _instrument([entry], stack, default, report=report, strict=False)
        except Exception as error:
            is_unknown = isinstance(error, TargetError) and not isinstance(error, BrokenTargetError)
            text_of_error = str(error) if isinstance(error, TargetError) else type(error).__qualname__
            if report and is_unknown:
                log("moa.target_unknown", key=entry, target=entry, error=text_of_error)
            elif report:
                log("moa.target_failed", key=entry, target=entry, error=text_of_error)


def uninstrument(text: str | None, stack: StackLike) -> None:
    """
    Undo what `instrument` did for these names, for every name if it is `None`.

    Raises:
        TargetError: One of them is malformed.
    """
    if text is None:
        keys = [key for key in {**_asked, **_callbacks} if key[0] == id(stack)]
    else:
        entries = [*map(read, entries_of(text))]
        keys = [(id(stack), one.name if one.path is None else f"{one.name}:{one.path}") for one in entries]
    for key in keys:
        for callback in reversed(_callbacks.pop(key, [])):
            callback()
        for one in reversed(_asked.pop(key, [])):
            one.undo(other for things in _asked.values() for other in things)


def asked_for(stack: StackLike) -> tuple[list[PendingTarget], dict[str, list[PendingTarget]]]:
    """Return the targets that a stack was asked for: those that were spelt out, and those by name."""
    mine = [(name, things) for (of, name), things in list(_asked.items()) if of == id(stack)]
    spelt_out = [one for _, things in mine for one in things if one.is_spelt_out]
    named = {name: things for name, things in mine if not any(one.is_spelt_out for one in things)}
    return spelt_out, named | {
        name: [] for of, name in list(_callbacks) if of == id(stack) and (name in SDKS or name in CLIENTS)
    }
