"""
Targets by name: what `instrument("openai,pkg.mod:Class.method=turn")` and `MOA_INSTRUMENT` mean.

A name stands for what an SDK has, or for the targets that this package or another one offers. A
target is wrapped when its module is there, now or by a post-import hook, so nothing is imported for
its sake and the order of imports does not matter. Who runs the program is not known here.
"""

from __future__ import annotations

import atexit
import os
import sys
import weakref
from typing import TYPE_CHECKING, Any

import wrapt

from ...errors import TargetError
from ..calls.function import Options
from ..flow.chain import name_of
from ..log import log
from . import classes, paths, sdks
from .offered import BrokenTargetError, known_names, load
from .patch import sweep
from .target import Target, entries_of, read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..calls.entry import Engine

__all__ = ["apply", "asked", "instrument", "uninstrument"]


class _Waiting:
    """One target that a stack was asked for, until it is undone."""

    __slots__ = ("__weakref__", "default", "engine", "report", "rest", "root", "spelt", "target")

    def __init__(self, target: Target, engine: Engine, default: Options, *, report: bool, spelt: bool) -> None:
        self.target = target
        self.engine = engine
        self.default = default
        self.report = report
        """Whether it is named if it leads nowhere."""
        self.spelt = spelt
        """Whether it was written out, so that a module that is never imported may be a slip of the pen."""
        self.root: Callable[[], Any] = lambda: None
        """The class or module that was instrumented."""
        self.rest = target.path
        """The path from there."""

    def start(self, *, strict: bool) -> None:
        """
        Wrap the target now or when its module is there.

        Raises:
            TargetError: The module is there and the path leads nowhere, if `strict`.
        """
        module = sys.modules.get(self.target.module)
        if module is not None and strict:
            self._wrap(module)
            return
        waiting = weakref.ref(self)  # a hook cannot be taken back, but what it is for may go

        def when_imported(module: Any) -> None:
            found = waiting()
            if found is not None:
                found._wrap_or_log(module)

        wrapt.register_post_import_hook(when_imported, self.target.module)

    def check(self) -> None:
        """
        Find what the target leads to, if its module is there.

        Raises:
            TargetError: It leads nowhere.
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
        classes.instrument(root, self.engine, [(rest, options)], self.default)
        self.root, self.rest = weakref.ref(root), rest

    def _wrap_or_log(self, module: Any) -> None:
        """Wrap the target while the program imports its module, which must not fail for it."""
        name = self.target.name
        try:
            self._wrap(module)
        except TargetError as error:
            if self.report and not self.target.optional:
                log("moa.target_missing", key=name, target=name, error=str(error))
        except Exception as error:
            log("moa.target_failed", key=name, target=name, error=type(error).__qualname__)

    def undo(self) -> None:
        """Put back what was wrapped, as far as no other name needs it."""
        root = self.root()
        if root is not None:
            others = {
                (other.rest, other.target.kind)
                for things in _asked.values()
                for other in things
                if isinstance(other, _Waiting) and other.engine is self.engine and other.root() is root
            }
            classes.forget_path(root, self.rest, self.target.kind, self.engine, keep=others)
            with classes._lock:
                sweep()  # what was replaced for instances that are gone


class _Sdk:
    """An SDK that a stack was asked for."""

    __slots__ = ("engine", "name")

    def __init__(self, name: str, engine: Engine) -> None:
        self.name = name
        self.engine = engine

    def undo(self) -> None:
        """Let the SDK act for nobody any more."""
        sdks.forget_sdk(self.name, self.engine)


class _Custom:
    """What a callable of another package did, and how it says that it is undone."""

    __slots__ = ("back", "engine", "name")

    def __init__(self, name: str, engine: Engine, back: Callable[[], object] | None) -> None:
        self.name = name
        self.engine = engine
        self.back = back

    def undo(self) -> None:
        """Do what the callable has returned, if it has."""
        if self.back is not None:
            try:
                self.back()
            except Exception as error:
                log("moa.target_failed", key=self.name, target=self.name, error=type(error).__qualname__)


_asked: dict[tuple[int, str], list[_Waiting | _Sdk | _Custom]] = {}
"""What was asked for, by stack and name. Each holds its stack, so that no identity is used again."""

_was_asked: set[int] = set()


def asked(engine: Engine) -> bool:
    """Whether a stack was ever asked for a target by name."""
    return id(engine) in _was_asked


def instrument(text: str, engine: Engine, default: Options, *, report: bool = True) -> None:
    """
    Instrument what a comma-separated list names.

    Args:
        text: Names, and targets as `pkg.mod:Class.method=role`.
        engine: The stack.
        default: Options where a target has none.
        report: Whether a target that leads nowhere, once its module is there, is named.

    Raises:
        TargetError: One of them is malformed, unknown or broken, or leads nowhere in a module that
            is there.
    """
    entries = entries_of(text)
    if not entries:
        msg = f"{text!r:.80} names no target; known are {', '.join(known_names())}, and pkg.mod:Class.method=role"
        raise TargetError(msg)
    found: list[tuple[str, Target | None, list[Any]]] = []
    for entry in entries:
        target = read(entry)
        if target is not None:
            _check_role(target, engine, [other for _, other, _ in found])
        found.append((entry, target, load(entry) if target is None and entry not in sdks.SDKS else []))
    ready = [
        _Waiting(target, engine, default, report=report, spelt=True) for _, target, _ in found if target is not None
    ]
    for waiting in ready:
        waiting.check()  # all of them are right before the first is touched
    _was_asked.add(id(engine))
    for waiting in ready:
        _ask(waiting, strict=True)
    for entry, target, things in found:
        if target is not None:
            continue
        if entry in sdks.SDKS:
            sdks.instrument_sdk(entry, engine, default)
            _asked[id(engine), entry] = [_Sdk(entry, engine)]
        else:
            _use(entry, things, engine, default, report=report)


def _check_role(target: Target, engine: Engine, before: Sequence[Target | None]) -> None:
    known = [thing.target for thing in _asked.get((id(engine), target.name), ()) if isinstance(thing, _Waiting)]
    for other in (*known, *before):
        if other is not None and other.name == target.name and (other.role or "call") != (target.role or "call"):
            msg = f"{target.name} is a {other.role or 'call'} already; a function has one role"
            raise TargetError(msg)


def _ask(waiting: _Waiting, *, strict: bool) -> None:
    """Keep a target, and start it; a target that was asked for twice is one layer."""
    waiting.start(strict=strict)
    _asked[id(waiting.engine), waiting.target.name] = [
        waiting
    ]  # the hook of one that was there before, if it still waits, does nothing any more
    if waiting.report:
        _report_at_exit()


def _use(name: str, things: Sequence[Any], engine: Engine, default: Options, *, report: bool) -> None:
    """
    Start what a name stands for.

    Raises:
        TargetError: A callable of another package raised.
    """
    key = id(engine), name
    known = _asked.get(key, [])
    made: list[_Waiting | _Sdk | _Custom] = [thing for thing in known if isinstance(thing, _Custom)]
    again = bool(made)
    for thing in things:
        if isinstance(thing, Target):
            thing.options_over(default)
            made.append(_Waiting(thing, engine, default, report=report, spelt=False))
    _asked[key] = made
    for one in made:
        if isinstance(one, _Waiting):
            one.start(strict=False)
    for thing in things:
        if isinstance(thing, Target) or again:
            continue
        try:
            back = thing(engine)
        except Exception as error:
            msg = f"the target {name!r} cannot be used: `{name_of(thing)}` raised {type(error).__qualname__}"
            raise BrokenTargetError(msg) from error
        made.append(_Custom(name, engine, back if callable(back) else None))


def apply(text: str, engine: Engine, *, report: bool = True) -> None:
    """
    Instrument what a variable of the environment names; what cannot be is logged, and harms nothing.

    Args:
        text: The variable's value.
        engine: The stack.
        report: Whether what is wrong with it is named: a child's parent has done so.
    """
    _was_asked.add(id(engine))
    for entry in entries_of(text):
        try:
            target = read(entry)
            if target is not None:
                _check_role(target, engine, ())
                _ask(_Waiting(target, engine, Options("call"), report=report, spelt=True), strict=False)
            else:
                instrument(entry, engine, Options("call"), report=report)
        except BrokenTargetError as error:
            if report:
                log("moa.target_failed", key=entry, target=entry, error=str(error))
        except TargetError as error:
            if report:
                log("moa.target_unknown", key=entry, target=entry, error=str(error))
        except Exception as error:
            if report:
                log("moa.target_failed", key=entry, target=entry, error=type(error).__qualname__)


def uninstrument(text: str | None, engine: Engine) -> None:
    """
    Undo what `instrument` did for these names, for every name if it is `None`.

    Raises:
        TargetError: One of them is malformed.
    """
    if text is None:
        keys = [key for key in _asked if key[0] == id(engine)]
    else:
        targets = [(entry, read(entry)) for entry in entries_of(text)]
        keys = [(id(engine), target.name if target is not None else entry) for entry, target in targets]
    for key in keys:
        for thing in reversed(_asked.pop(key, [])):
            thing.undo()


_reporting: list[int] = []
"""The process that names at its exit what was never imported: a forked child keeps silent."""


def _report_at_exit() -> None:
    if not _reporting:
        _reporting.append(os.getpid())
        atexit.register(_report_unused)


def _report_unused() -> None:
    """Name each target that was spelt out and whose module was never imported."""
    from pathlib import Path

    ran = Path(sys.argv[0]).stem if sys.argv else ""
    waiting = [one for things in list(_asked.values()) for one in things if isinstance(one, _Waiting) and one.spelt]
    for one in waiting if _reporting == [os.getpid()] else ():
        name, module = one.target.name, one.target.module
        if module not in sys.modules:
            why = "was run as the script, which is __main__" if module == ran else "was never imported"
            log("moa.target_unused", key=name, target=name, error=f"{module} {why}")
