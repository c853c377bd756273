"""
Classes that go on: what a subclass overrides, and what only instances have, is instrumented once it exists.

So a class's `__init_subclass__` is patched, and its `__init__` where a path begins at an instance's
attribute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import wrapt

from ...errors import TargetError
from ..frames import hide_own_frames
from ..log import log
from ..process import ForkSafeLock
from .patch import CallPatch, Patch, Undo, apply_patch, known_patch, sweep, undo
from .paths import is_later, wrap_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ..calls.function import Options
    from ..turns.turn import StackLike

__all__ = ["forget_path", "lock", "watch_class"]

# Not `patch.lock`: under this one attributes of the user's are read, and a property may import. If the
# module is being imported by another thread, that thread may wait for `patch.lock` in an SDK's import
# hook: a deadlock.
lock = ForkSafeLock()
"""Held while an object is instrumented: two threads that instrument the same one make one layer."""


class _SubclassPatch(Patch):
    """A class's `__init_subclass__`: what a subclass overrides is instrumented too."""

    def __init__(
        self, owner: type, name: str, stack: StackLike, kind: str, *, wrap_instance: Callable[..., None]
    ) -> None:
        self.methods: list[tuple[str, Options]] = []
        """Methods that a subclass may override."""
        self.paths: list[tuple[str, Options]] = []
        """Paths that begin at an attribute of an instance."""
        self.wrap_instance = wrap_instance
        """Wraps what one of `paths` leads to from an instance; called like `wrap_at`."""
        super().__init__(owner, name, stack, kind)

    def wrap(self, original: Any) -> Any:
        """Return a hook that calls the class's own, and instruments the subclass."""
        had = original if self.had else None

        def __init_subclass__(sub: type, /, **kwargs: Any) -> None:  # noqa: N807 - its name
            try:
                if had is not None:
                    had.__get__(None, sub)(**kwargs)
                else:
                    # Search for the class again: `dataclass(slots=True)` and attrs replace it by a copy.
                    holder: Any = next(c for c in sub.__mro__ if _has_hook(c, hook))
                    parent: Any = super(holder, sub)
                    parent.__init_subclass__(**kwargs)
            except BaseException as error:
                hide_own_frames(error)
                raise
            if not self.undone:
                with lock:
                    self.instrument_subclass(sub)

        # Stacks wrap each other's hooks. The chain of `__moa_had__` is how a hook finds the class that it
        # belongs to when it is not the outermost, and how `Patch.is_in_place` sees it below others.
        hook: Any = classmethod(__init_subclass__)
        hook.__moa_had__ = had
        return hook

    def add(self, targets: Sequence[tuple[str, Options]]) -> None:
        """Take further targets; those that are known already stay as they are."""
        cls = self.owner
        for path, options in targets:
            into = self.paths if is_later(cls, path) else self.methods
            known = {(other, its.kind) for other, its in into}
            if (into is self.paths or "." not in path) and (path, options.kind) not in known:
                into.append((path, options))
        for sub in _subclasses(cls):
            self.instrument_subclass(sub)
        if self.paths:
            self._watch_init(cls)

    def instrument_subclass(self, sub: type) -> None:
        """Instrument what a subclass overrides; its `super()` call joins the same turn."""
        for path, options in self.methods:
            if callable(getattr(sub, path, None)) and path in vars(sub):
                wrap_at(sub, path, self.stack, options, root=self.owner)
        if self.paths and "__init__" in vars(sub):
            self._watch_init(sub)

    def _watch_init(self, cls: type) -> None:
        """Resolve dotted paths on each instance, after its `__init__`."""
        patch = apply_patch(_InitPatch, cls, "__init__", self.stack, "init", target=self, options=True)
        Undo(self.owner, self.stack, self, patch)

    def resolve(self, instance: Any) -> None:
        """Instrument what the paths of the class lead to from an instance."""
        for path, options in self.paths:
            try:
                with lock:
                    self.wrap_instance(instance, path, self.stack, options, root=self.owner)
            except TargetError as error:
                # Logged, not raised: the user's constructor is running.
                log("moa.target_missing", key=path, target=path, error=str(error))


def _has_hook(cls: type, hook: Any) -> bool:
    """Return True if this is a class's `__init_subclass__`, perhaps under those of other stacks."""
    own = vars(cls).get("__init_subclass__")
    while own is not None and own is not hook:
        own = getattr(own, "__moa_had__", None)
    return own is hook


class _InitPatch(Patch):
    """A class's `__init__`. After it an instance has the attributes that dotted paths begin at."""

    def wrap(self, original: Any) -> Any:
        """Return a wrapper that resolves the paths on the new instance."""

        def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> None:
            try:
                if self.had:
                    wrapped(*args, **kwargs)
                else:
                    self._next_init(instance, args, kwargs)
            except BaseException as error:
                hide_own_frames(error)
                raise
            # `super().__init__()` runs this wrapper once for each class that is watched. Only the most
            # derived one resolves the paths: before it returns, attributes may be missing.
            mro = type(instance).__mro__
            watched = (cls for cls in mro if known_patch(cls, "__init__", self.stack, "init") is not None)
            if next(watched, None) is not self.owner:
                return  # the `__init__` of a subclass is still running
            for cls in mro:
                hook = known_patch(cls, "__init_subclass__", self.stack, "subclass")
                if isinstance(hook, _SubclassPatch):
                    hook.resolve(instance)

        return wrapt.FunctionWrapper(original, wrapper)

    def _next_init(self, instance: Any, args: Any, kwargs: Any) -> None:
        """Call the next `__init__`, as if the class still had none."""
        mro = type(instance).__mro__
        after = mro[mro.index(self.owner) + 1 :]
        new: Any = type(instance).__new__
        if next(cls for cls in after if "__init__" in vars(cls)) is object and new is not object.__new__:
            # The arguments were for `__new__`. `object.__init__` accepts them as long as no class has an
            # `__init__` of its own, which this one has since it is patched.
            return
        super(self.owner, instance).__init__(*args, **kwargs)


def _subclasses(cls: type) -> Iterable[type]:
    below: list[type] = type.__subclasses__(cls)
    for sub in below:
        yield sub
        yield from _subclasses(sub)


def watch_class(
    cls: type, stack: StackLike, targets: Sequence[tuple[str, Options]], wrap_instance: Callable[..., None] = wrap_at
) -> None:
    """
    Instrument subclasses to come, and what only instances have.

    Args:
        cls: The class.
        stack: The stack.
        targets: Paths, each with its options.
        wrap_instance: Wraps what a path leads to from an instance; called like `wrap_at`.
    """
    kind, of = "subclass", {"target": cls, "options": True, "wrap_instance": wrap_instance}
    hook: Any = apply_patch(_SubclassPatch, cls, "__init_subclass__", stack, kind, **of)
    Undo(cls, stack, cls, hook)
    hook.add(targets)


def forget_path(root: Any, path: str, kind: str, stack: StackLike, *, keep: set[tuple[str, str]]) -> None:
    """
    Undo what was done to a class or module for one path.

    Args:
        root: The class or module.
        path: The path.
        kind: `turn` or `call`.
        stack: The stack.
        keep: Paths and kinds that are still needed.
    """
    with lock:
        hook = known_patch(root, "__init_subclass__", stack, "subclass") if isinstance(root, type) else None
        if isinstance(hook, _SubclassPatch):
            hook.methods = [one for one in hook.methods if (one[0], one[1].kind) != (path, kind)]
            hook.paths = [one for one in hook.paths if (one[0], one[1].kind) != (path, kind)]
            keep = keep | {(other, options.kind) for other, options in (*hook.methods, *hook.paths)}

        def is_mine(done: Undo) -> bool:
            patch = done.by()
            if isinstance(patch, CallPatch):
                return patch.kind == kind and patch.name == path.rpartition(".")[2] and (patch.path, kind) not in keep
            if isinstance(patch, _InitPatch):
                return not any("." in other for other, _ in keep)
            return isinstance(patch, Patch) and not keep

        undo(root, stack, is_mine)
        sweep()
