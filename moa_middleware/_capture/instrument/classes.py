"""
Instrumenting what somebody else wrote: instances, classes and modules, and putting it all back.

A class goes on: what a subclass overrides, and what only instances have, is instrumented when it
is there.
"""

from __future__ import annotations

from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import wrapt

from ...errors import TargetError
from ..calls.function import Options
from ..log import log
from ..process import ForkSafeLock
from .patch import CallPatch, Patch, known_patch, locked, patches_of, remember, sweep
from .paths import ITSELF, Done, is_later, name_of, undo, walk, wrap_at
from .sdks import SDKS, forget_client, forget_sdk, instrument_client, instrument_sdk, sdk_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..calls.entry import Engine

__all__ = ["forget_path", "instrument", "uninstrument"]

_KNOWN_PATHS = (
    "chat.completions.create",
    "chat.completions.parse",
    "chat.completions.stream",
    "responses.create",
    "responses.parse",
    "responses.stream",
    "messages.create",
    "messages.stream",
    "create",
    "completion",
    "acompletion",
)

_lock = ForkSafeLock()
"""Held while attributes are replaced: two threads that instrument one object make one layer."""


class _SubclassPatch(Patch):
    """A class's `__init_subclass__`: what a subclass overrides is instrumented too."""

    __slots__ = ("methods", "paths")

    methods: list[tuple[str, Options]]
    paths: list[tuple[str, Options]]

    def wrap(self, original: Any) -> Any:
        """Return a hook that does what the class's own did, and instruments the subclass."""
        had = original if self.had else None

        def __init_subclass__(sub: type, /, **kwargs: Any) -> None:  # noqa: N807 - its name
            if had is not None:
                had.__get__(None, sub)(**kwargs)
            else:
                # Not `self.owner`: `dataclass(slots=True)` and attrs make a class anew.
                holder: Any = next(c for c in sub.__mro__ if _has_hook(c, hook))
                parent: Any = super(holder, sub)
                parent.__init_subclass__(**kwargs)
            if not self.undone:
                with _lock:
                    self.instrument_subclass(sub)

        hook: Any = classmethod(__init_subclass__)
        hook.__moa_had__ = had
        return hook

    def add(self, targets: Sequence[tuple[str, Options]]) -> None:
        """Take further targets; those that are known already stay as they are."""
        cls = self.owner
        for path, options in targets:
            into = self.paths if is_later(cls, path) else self.methods
            if (into is self.paths or "." not in path) and (path, options.kind) not in {
                (known, other.kind) for known, other in into
            }:
                into.append((path, options))
        for sub in _subclasses(cls):
            self.instrument_subclass(sub)
        if self.paths:
            self._watch_init(cls)

    def instrument_subclass(self, sub: type) -> None:
        """Instrument what a subclass overrides; its `super()` call joins the same turn."""
        for path, options in self.methods:
            if callable(getattr(sub, path, None)) and path in vars(sub):
                wrap_at(sub, path, self.engine, options, root=self.owner)
        if self.paths and "__init__" in vars(sub):
            self._watch_init(sub)

    def _watch_init(self, cls: type) -> None:
        """Resolve dotted paths on each instance, after its `__init__`."""
        with locked():
            patch = known_patch(cls, "__init__", self.engine, "init")
            if patch is None:
                patch = _InitPatch(cls, "__init__", self.engine, "init")
                remember(patch)
            patch.allow(self, Options("init"))
        Done(self.owner, self.engine, self, patch=patch)

    def resolve(self, instance: Any) -> None:
        """Instrument what the paths of the class lead to from an instance."""
        for path, options in self.paths:
            try:
                with _lock:
                    if path == ITSELF:
                        instrument_client(instance, self.engine, options)
                        Done(self.owner, self.engine, instance, take_back=partial(forget_client, engine=self.engine))
                    else:
                        wrap_at(instance, path, self.engine, options, root=self.owner)
            except TargetError as error:
                # The user's constructor runs: this is no place to raise.
                log("moa.target_missing", key=path, target=path, error=str(error))


def _has_hook(cls: type, hook: Any) -> bool:
    """Whether this is a class's `__init_subclass__`, perhaps under those of other stacks."""
    own = vars(cls).get("__init_subclass__")
    while own is not None and own is not hook:
        own = getattr(own, "__moa_had__", None)
    return own is hook


class _InitPatch(Patch):
    """A class's `__init__`, after which an instance has what dotted paths lead to."""

    __slots__ = ()

    def wrap(self, original: Any) -> Any:
        """Return a wrapper that resolves the paths when the instance is there."""

        def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> None:
            if self.had:
                wrapped(*args, **kwargs)
            else:
                self._next_init(instance, args, kwargs)
            mro = type(instance).__mro__
            watched = (cls for cls in mro if known_patch(cls, "__init__", self.engine, "init") is not None)
            if next(watched, None) is not self.owner:
                return  # a subclass's own is still to come to its end
            for cls in mro:
                hook = known_patch(cls, "__init_subclass__", self.engine, "subclass")
                if isinstance(hook, _SubclassPatch):
                    hook.resolve(instance)

        return wrapt.FunctionWrapper(original, wrapper)

    def _next_init(self, instance: Any, args: Any, kwargs: Any) -> None:
        """Do what would happen if the class still had no `__init__`."""
        mro = type(instance).__mro__
        after = mro[mro.index(self.owner) + 1 :]
        new: Any = type(instance).__new__
        if next(cls for cls in after if "__init__" in vars(cls)) is object and new is not object.__new__:
            # The arguments were for `__new__`; `object` minds them once somebody has an `__init__`.
            return
        super(self.owner, instance).__init__(*args, **kwargs)


def _subclasses(cls: type) -> Iterable[type]:
    below: list[type] = type.__subclasses__(cls)
    for sub in below:
        yield sub
        yield from _subclasses(sub)


def instrument(obj: Any, engine: Engine, targets: Sequence[tuple[str, Options]], default: Options) -> None:
    """
    Wrap the targets of `obj`, or every path that is known if there are none.

    Raises:
        TargetError: A target leads nowhere, or no known path is there.
    """
    with _lock:
        sweep()
        if not targets:
            if isinstance(obj, ModuleType) and obj.__name__ in SDKS:
                instrument_sdk(obj.__name__, engine, default)
                return
            if not isinstance(obj, ModuleType) and sdk_of(obj) is not None:
                if not isinstance(obj, type):
                    instrument_client(obj, engine, default)
                    return
                targets = [(ITSELF, default)]
            else:
                targets = _known_targets(obj, default)
        now = [(path, options) for path, options in targets if not is_later(obj, path)]
        for path, _ in now:
            walk(obj, path)  # all of them are right before the first is touched
        for path, options in now:
            wrap_at(obj, path, engine, options)
        if isinstance(obj, type):
            _watch_class(obj, engine, targets)


def _watch_class(cls: type, engine: Engine, targets: Sequence[tuple[str, Options]]) -> None:
    """Go on with subclasses to come, and with what only instances have."""
    with locked():
        hook = known_patch(cls, "__init_subclass__", engine, "subclass")
        if hook is None:
            hook = _SubclassPatch(cls, "__init_subclass__", engine, "subclass")
            hook.methods, hook.paths = [], []
            remember(hook)
        assert isinstance(hook, _SubclassPatch)  # noqa: S101 - it was made here
        hook.allow(cls, Options("subclass"))
    Done(cls, engine, cls, patch=hook)
    hook.add(targets)


def _known_targets(obj: Any, options: Options) -> list[tuple[str, Options]]:
    found = []
    for path in _KNOWN_PATHS:
        if is_later(obj, path):
            if hasattr(obj, path.partition(".")[0]):
                found.append((path, options))
            continue
        try:
            walk(obj, path)
        except TargetError:
            continue
        found.append((path, options))
    if not found:
        msg = (
            f"{name_of(obj)} has none of the known paths ({', '.join(_KNOWN_PATHS)}); "
            'name yours: instrument(obj, turn="…", reference="…", aggregator="…", call="…")'
        )
        raise TargetError(msg)
    return found


def forget_path(root: Any, path: str, kind: str, engine: Engine, *, keep: set[tuple[str, str]]) -> None:
    """
    Undo what `instrument` did to a class or module for one of its paths.

    Args:
        root: The class or module.
        path: The path.
        kind: `turn` or `call`.
        engine: The stack.
        keep: Paths and kinds that somebody else has asked for.
    """
    with _lock:
        hook = known_patch(root, "__init_subclass__", engine, "subclass") if isinstance(root, type) else None
        if isinstance(hook, _SubclassPatch):
            hook.methods = [one for one in hook.methods if (one[0], one[1].kind) != (path, kind)]
            hook.paths = [one for one in hook.paths if (one[0], one[1].kind) != (path, kind)]
            keep = keep | {(other, options.kind) for other, options in (*hook.methods, *hook.paths)}

        def is_mine(done: Done) -> bool:
            patch = done.patch()
            if isinstance(patch, CallPatch):
                return patch.kind == kind and patch.name == path.rpartition(".")[2] and (patch.path, kind) not in keep
            if isinstance(patch, _InitPatch):
                return not any("." in other for other, _ in keep)
            return patch is not None and not keep

        undo(root, engine, is_mine)
        sweep()


def uninstrument(obj: Any, engine: Engine) -> None:
    """Undo what `instrument` did to `obj`, or everything of this stack's if it is `None`."""
    with _lock:
        undo(obj, engine)
        if obj is None:
            forget_client(None, engine)
            forget_sdk(None, engine)
            for patch in patches_of(engine):
                patch.undo()
            return
        forget_client(obj, engine)
        if isinstance(obj, ModuleType):
            forget_sdk(obj.__name__, engine)
        sweep()
