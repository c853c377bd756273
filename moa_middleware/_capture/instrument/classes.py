"""
Classes that go on: what a subclass overrides, and what only instances have, is instrumented once it exists.

So a class's `__init_subclass__` is patched, and its `__init__` where a path begins at an instance's
attribute.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import wrapt

from ...errors import TargetError
from ..frames import hide_own_frames
from ..log import log
from ..process import ForkSafeLock
from .by_value import by_value_pickler, class_for_picklers, goes_by_name, is_dill
from .call_patch import CallPatch
from .own import is_assigned, wrap_makers, wrap_own
from .patch import Patch, Undo, apply_patch, known_patch, sweep, undo
from .paths import ITSELF, is_later, name_of, wrap_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ..calls.function import Options
    from ..turns.stack_like import StackLike

__all__ = ["forget_path", "lock", "watch_class"]

# Not `patch.lock`: under this one attributes of the user's are read, and a property may import. If the
# module is being imported by another thread, that thread may wait for `patch.lock` in an SDK's import
# hook: a deadlock.
lock = ForkSafeLock()
"""Held while an object is instrumented: two threads that instrument the same one make one layer."""


_CONSTRUCTORS = ("__init__", "__post_init__", "__attrs_post_init__")
"""After which an instance has its attributes; the latter two are called by the `__init__` that is made for a class."""


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
        hook: Any = _Hook(__init_subclass__)
        hook.__moa_had__ = had
        hook.patch = self
        return hook

    def add(self, targets: Sequence[tuple[str, Options]]) -> None:
        """Take further targets; those that are known already stay as they are."""
        cls = self.owner
        for path, options in targets:
            into = self.paths if is_later(cls, path) else self.methods
            known = {(other, its.kind) for other, its in into}
            if (into is self.paths or "." not in path) and (path, options.kind) not in known:
                into.append((path, options))
            if path and "." not in path:
                wrap_makers(cls, path, self.stack, options)
        self._find_assigned(cls)
        for sub in _subclasses(cls):
            self.instrument_subclass(sub)
        if self.paths:
            self.watch_init(cls)

    def _find_assigned(self, cls: type) -> bool:
        """Take down which methods the instances of a class replace; returns True if there are any."""
        known = {(path, options.kind) for path, options in self.paths}
        found = [one for one in self.methods if (one[0], one[1].kind) not in known and is_assigned(cls, one[0])]
        self.paths += found
        return bool(found)

    def instrument_subclass(self, sub: type) -> None:
        """Instrument what a subclass overrides; its `super()` call joins the same turn."""
        if self._find_assigned(sub):
            self.watch_init(self.owner)
        for path, options in self.methods:
            if callable(getattr(sub, path, None)) and path in vars(sub):
                wrap_at(sub, path, self.stack, options, root=self.owner)
        if self.paths and not vars(sub).keys().isdisjoint(_CONSTRUCTORS):
            self.watch_init(sub)

    def watch_init(self, cls: type, name: str = "") -> None:
        """Resolve what only instances have on each of them, after its `__init__`."""
        # `dataclass` and attrs make an `__init__` unless there is one. For a class that they are still to see,
        # one of ours would be that, and the fields would not be set.
        later = [] if "__init__" in vars(cls) else [name for name in _CONSTRUCTORS[1:] if hasattr(cls, name)]
        name = name or (later[0] if later else "__init__")
        patch = apply_patch(_InitPatch, cls, name, self.stack, "init", target=self, options=True)
        Undo(self.owner, self.stack, self, patch)

    def resolve(self, instance: Any) -> None:
        """Instrument what the paths of the class lead to from an instance."""
        for path, options in self.paths:
            try:
                with lock:
                    if path == ITSELF or "." in path:
                        self.wrap_instance(instance, path, self.stack, options, root=self.owner)
                    elif not wrap_own(instance, path, self, options):
                        raise TargetError(f"{name_of(instance)} has no attribute {path!r}")
            except Exception as error:
                # Logged, not raised: the user's constructor is running. An error of the object's own, whose
                # text may have content, is named by its type.
                said = str(error) if isinstance(error, TargetError) else type(error).__qualname__
                log("moa.target_missing", key=f"{name_of(instance)}.{path}", target=path, error=said)

    def acts(self, path: str, options: Options) -> bool:
        """Return True as long as an attribute of instances is to be a call or turn."""
        return not self.undone and (path, options) in self.paths


class _Hook(classmethod):  # type: ignore[type-arg]  # of any class
    """The `__init_subclass__` of a class that is instrumented; it is pickled as: instrument the class again."""

    patch: _SubclassPatch

    def __reduce_ex__(self, _protocol: Any) -> Any:
        patch, had = self.patch, self.__moa_had__  # type: ignore[attr-defined]  # set where it is made
        if patch.undone:
            return _without, (had,)
        # What the class has itself is wrapped where it is pickled; what it inherits was wrapped on a base.
        inherited = [one for one in patch.methods if one[0] not in vars(patch.owner)]
        of = (had, patch.stack, patch.methods, patch.paths, inherited, patch.wrap_instance)
        if is_dill(by_value_pickler(sys._getframe(1))):
            return _Pending, (of,)
        return _watched_again, (patch.owner, of)


class _Init(wrapt.FunctionWrapper):  # type: ignore[type-arg]  # wrapt's cannot be subscribed
    """The `__init__` of a class whose instances have something to instrument."""

    _self_patch: _InitPatch

    __class__ = class_for_picklers  # pyright: ignore[reportIncompatibleMethodOverride]

    def __reduce_ex__(self, _protocol: Any) -> Any:
        patch, pickler = self._self_patch, by_value_pickler(sys._getframe(1))
        if pickler is None:  # by its name, as a function is pickled
            return self.__qualname__
        had = (self.__wrapped__,) if patch.had else ()
        if is_dill(pickler) or patch.undone:
            return _without, had
        hooks = [hook.wrapper for hook, _ in patch.targets.items() if not goes_by_name(hook.owner, pickler)]
        return _init_again, (patch.owner, patch.name, had, hooks)


class _Absent:
    """In place of an attribute that a class does not have: it goes when the class has been made."""

    def __set_name__(self, owner: type, name: str) -> None:
        if vars(owner).get(name) is self:
            delattr(owner, name)


class _Pending:
    """
    In place of a hook, until the class has been made: then it is instrumented again.

    dill makes a class from a finished namespace, and cannot pickle what leads from there to the class.
    """

    def __init__(self, of: Any) -> None:
        self.of = of

    def __set_name__(self, owner: type, name: str) -> None:
        delattr(owner, name)
        if isinstance(vars(owner).get("__init__"), _Absent):
            del owner.__init__  # type: ignore[misc]  # its own, and no subclass's
        _watched_again(owner, self.of)
        hook = vars(owner)[name].patch
        if hook.paths:
            hook.watch_init(owner)


def _without(had: Any = None) -> Any:
    """Return what an attribute was without us."""
    return _Absent() if had is None else had


def _watched_again(cls: Any, of: tuple[Any, ...]) -> Any:
    """Watch a class again in another process, whose own attributes may not be there yet; returns its hook."""
    had, stack, methods, paths, inherited, wrap_instance = of
    if had is not None:
        cls.__init_subclass__ = had
    hook = _hook_of(cls, stack, wrap_instance)
    hook.methods, hook.paths = methods, paths
    for path, options in inherited:
        wrap_at(cls, path, stack, options)
    return vars(cls)["__init_subclass__"]


def _init_again(cls: Any, name: str, had: tuple[Any, ...], hooks: list[Any]) -> Any:
    """Resolve paths on instances again, in another process; returns the `__init__`, or what is called by it."""
    if had:
        setattr(cls, name, had[0])
    for hook in hooks:
        hook.patch.watch_init(cls, name)
    return vars(cls)[name]


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
            watched = (cls for cls in mro if known_patch(cls, self.name, self.stack, "init") is not None)
            if next(watched, None) is not self.owner:
                return  # the `__init__` of a subclass is still running
            for cls in mro:
                hook = known_patch(cls, "__init_subclass__", self.stack, "subclass")
                if isinstance(hook, _SubclassPatch):
                    hook.resolve(instance)

        made = _Init(original, wrapper)
        made._self_patch = self
        return made

    def _next_init(self, instance: Any, args: Any, kwargs: Any) -> None:
        """Call the next `__init__`, as if the class still had none."""
        mro = type(instance).__mro__
        after = mro[mro.index(self.owner) + 1 :]
        new: Any = type(instance).__new__
        if self.name != "__init__":
            getattr(super(self.owner, instance), self.name)(*args, **kwargs)
            return
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
    _hook_of(cls, stack, wrap_instance).add(targets)


def _hook_of(cls: type, stack: StackLike, wrap_instance: Callable[..., None]) -> Any:
    """Return the patch of a class's `__init_subclass__`, which is made if there is none."""
    kind, of = "subclass", {"target": cls, "options": True, "wrap_instance": wrap_instance}
    hook = apply_patch(_SubclassPatch, cls, "__init_subclass__", stack, kind, **of)
    Undo(cls, stack, cls, hook)
    return hook


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
