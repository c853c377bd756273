"""
The registry of targets: what `instrument("openai,pkg.mod:Class.method=turn")` and `MOA_INSTRUMENT` name.

A name means an SDK, or the targets that this package or another one offers; it is loaded when it is
used, since what others offer may be slow to import, or broken. A target is wrapped when its module
is there, now or by a post-import hook, so nothing is imported for it and the order of imports does
not matter. This module must not know who runs the program.
"""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import wrapt

from ...errors import TargetError
from ..flow.chain import name_of
from ..log import log
from ..shapes.fields import SDKS
from . import classes, objects, paths, sdks
from .target import Target, entries_of, read

if TYPE_CHECKING:
    from ..calls.function import Options
    from ..turns.turn import StackLike

__all__ = ["GROUP", "apply", "instrument", "known_names", "uninstrument", "was_asked"]

GROUP = "moa_middleware.targets"
"""Entry-point group in which another package offers a name."""

_OFFERED = {"hermes": f"{__name__.partition('.')[0]}.compat.hermes:TARGETS"}
"""Names that this package has targets for. Not imported: they are on a higher floor."""


# Names ---------------------------------------------------------------------------------------------


class BrokenTargetError(TargetError):
    """The name is known, but its targets cannot be loaded or used."""


def known_names() -> list[str]:
    """Return the names of targets, those of installed packages included."""
    return sorted({*SDKS, *_OFFERED, *(point.name for point in _entry_points())})


def _choices() -> str:
    return f"choose from {', '.join(known_names())}, or write pkg.mod:Class.method=role"


def _entry_points(**of: Any) -> Sequence[Any]:
    from importlib.metadata import entry_points

    try:
        return list(entry_points(group=GROUP, **of))
    except Exception as error:  # the metadata of any installed package may be broken
        log("moa.target_failed", key=GROUP, target=GROUP, error=type(error).__qualname__)
        return []


def _load(name: str) -> list[Any]:
    """
    Return the targets and callables that a name means.

    Raises:
        TargetError: The name is unknown, or it fails to load.
    """
    if name in _OFFERED:
        from importlib.metadata import EntryPoint

        found: Sequence[Any] = [EntryPoint(name, _OFFERED[name], GROUP)]
    else:
        found = _entry_points(name=name)
    if not found:
        msg = f"unknown target {name!r:.80}; {_choices()}"
        raise TargetError(msg)
    try:
        things = found[0].load()
        things = [*things] if isinstance(things, Sequence) else [things]
        if not all(isinstance(thing, Target) or callable(thing) for thing in things):
            raise TypeError
    except Exception as error:
        msg = f"the target {name!r} cannot be used: {found[0].value} raised {type(error).__qualname__}"
        raise BrokenTargetError(msg) from error
    return things


# What a stack was asked for ------------------------------------------------------------------------


class PendingTarget:
    """One target that a stack was asked for, until it is undone."""

    __slots__ = ("__weakref__", "default", "is_spelt_out", "report", "rest", "root", "stack", "target")

    def __init__(self, target: Target, stack: StackLike, default: Options, *, report: bool, is_spelt_out: bool) -> None:
        self.target = target
        self.stack = stack
        self.default = default
        self.report = report
        """True if to log a path that leads nowhere."""
        self.is_spelt_out = is_spelt_out
        """If true, warn at exit when the module was never imported: likely a typo."""
        self.root: Callable[[], Any] = lambda: None
        """The class or module that was instrumented."""
        self.rest = target.path
        """The path from there."""

    def start(self, *, strict: bool) -> None:
        """
        Wrap the target now or when its module is imported.

        Raises:
            TargetError: The module is there and the path leads nowhere, if `strict`.
        """
        module = sys.modules.get(self.target.module)
        if module is not None and strict:
            self._wrap(module)
            return
        # For a module that is there wrapt runs the hook at once, and the hook logs instead of raising.
        # Weakly: a hook cannot be taken back, but a target that was undone must go.
        pending = weakref.ref(self)

        def when_imported(module: Any) -> None:
            found = pending()
            if found is not None:
                found._wrap_or_log(module)

        wrapt.register_post_import_hook(when_imported, self.target.module)

    def check(self) -> None:
        """
        Follow the path, if the module is there.

        Raises:
            TargetError: The path leads nowhere.
        """
        module = sys.modules.get(self.target.module)
        if module is not None:
            root, rest = self._resolve(module)
            if not paths.is_later(root, rest):
                paths.walk(root, rest)

    def _resolve(self, module: Any) -> tuple[Any, str]:
        """Return the innermost class of the path, or the module, and the path from there."""
        root, rest = module, self.target.path
        while "." in rest:
            name, _, tail = rest.partition(".")
            found = getattr(root, name, None)
            if not isinstance(found, type):
                break
            root, rest = found, tail
        return root, rest

    def _wrap(self, module: Any) -> None:
        root, rest = self._resolve(module)
        options = self.target.options_over(self.default)
        objects.instrument(root, self.stack, [(rest, options)], self.default)
        self.root, self.rest = weakref.ref(root), rest

    def _wrap_or_log(self, module: Any) -> None:
        """Wrap the target while the program imports its module: the import must not fail because of it."""
        name = self.target.name
        try:
            self._wrap(module)
        except TargetError as error:
            if self.report and not self.target.optional:
                log("moa.target_missing", key=name, target=name, error=str(error))
        except Exception as error:
            log("moa.target_failed", key=name, target=name, error=type(error).__qualname__)

    def undo(self) -> None:
        """Put back what was wrapped, unless another name needs it."""
        root = self.root()
        if root is not None:
            # Two names may hold the same function, `hermes` and a target that spells it out: one layer,
            # which stays until both are undone.
            others = {
                (other.rest, other.target.kind)
                for things in _asked.values()
                for other in things
                if other.stack is self.stack and other.root() is root
            }
            classes.forget_path(root, self.rest, self.target.kind, self.stack, keep=others)


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
        msg = f"{text!r:.80} names no target; {_choices()}"
        raise TargetError(msg)
    # Everything is read, loaded and checked before anything is wrapped: an error in the last entry must
    # not leave the first ones instrumented.
    pending: list[PendingTarget] = []
    named: list[tuple[str, list[Any]]] = []
    for entry in entries:
        target = read(entry)
        if target is None:
            named.append((entry, [] if entry in SDKS else _load(entry)))
            continue
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
        if report and not _reporting:
            _reporting.append(os.getpid())
            atexit.register(_report_unused)
    for name, things in named:
        if name in SDKS:
            sdks.instrument_sdk(name, stack, default)
            _callbacks[id(stack), name] = [partial(sdks.uninstrument_sdk, name, stack)]
        else:
            _use(name, things, stack, default, report=report)


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
            instrument(entry, stack, default, report=report, strict=False)
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
        targets = [(entry, read(entry)) for entry in entries_of(text)]
        keys = [(id(stack), target.name if target is not None else entry) for entry, target in targets]
    for key in keys:
        for callback in reversed(_callbacks.pop(key, [])):
            callback()
        for one in reversed(_asked.pop(key, [])):
            one.undo()


_reporting: list[int] = []
"""The process that reports at exit: a forked child keeps silent."""


def _report_unused() -> None:
    """Log each target that was spelt out and whose module was never imported."""
    from pathlib import Path

    # `python app.py` runs the module `app` under the name `__main__`, a usual reason why a target of
    # `app:…` was never met; the message says so.
    ran = Path(sys.argv[0]).stem if sys.argv else ""
    things = [one for things in list(_asked.values()) for one in things]
    for one in things if _reporting == [os.getpid()] else ():
        if one.is_spelt_out and one.target.module not in sys.modules:
            name, module = one.target.name, one.target.module
            why = "was run as the script, which is __main__" if module == ran else "was never imported"
            log("moa.target_unused", key=name, target=name, error=f"{module} {why}")
