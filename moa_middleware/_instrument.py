"""
Instrumenting by dotted path what somebody else wrote: instances, classes and modules.

What one `instrument` did to an object is kept as a list of undoings, weakly by object, so that
`uninstrument` leaves every attribute as it was.
"""

from __future__ import annotations

import inspect
import os
import threading
import weakref
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

import wrapt

from ._log import log
from ._options import Options
from ._patch import Patch, known_patch, patch_for, patches_of, remember, sweep
from ._sdk import forget_client, instrument_client, sdk_of
from ._wrap import layer_of
from .errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ._wrap import Engine

__all__ = ["instrument", "uninstrument"]

_KNOWN_PATHS = ("chat.completions.create", "chat.completions.parse", "create", "completion", "acompletion")

_HEAP_TYPE = 1 << 9
_IMMUTABLE_TYPE = 1 << 8
"""Flags of a class, see `PyTypeObject.tp_flags`: attributes of other classes cannot be set."""

_lock = threading.RLock()
"""Held while attributes are replaced: two threads that instrument one object make one layer."""


def _new_lock() -> None:
    """Let a forked child not wait for a lock whose holder it does not have."""
    global _lock  # noqa: PLW0603 - one lock a process
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):  # pragma: no branch - not on Windows
    os.register_at_fork(after_in_child=_new_lock)


class _Done:
    """One thing that was done for an object: a patch acts for a target since."""

    __slots__ = ("engine", "patch", "root", "target")

    def __init__(self, root: Any, engine: Engine, patch: Patch, target: Any) -> None:
        key = id(self)
        self.root = _weak(root)
        self.engine = engine
        self.patch = weakref.ref(patch)
        self.target = _weak(target, lambda _: _done.pop(key, None))
        _done[key] = self

    def undo(self) -> None:
        """Let the patch act for the target no more."""
        patch, target = self.patch(), self.target()
        if patch is not None and target is not None:
            patch.revoke(target)


_done: dict[int, _Done] = {}


def _weak(obj: Any, gone: Callable[[Any], object] | None = None) -> Callable[[], Any]:
    try:
        return weakref.ref(obj, gone)
    except TypeError:
        return lambda: obj


def _name_of(obj: Any) -> str:
    if isinstance(obj, ModuleType):
        return obj.__name__.rpartition(".")[2]
    return obj.__qualname__.rpartition(".")[2] if isinstance(obj, type) else type(obj).__name__


def _walk(obj: Any, path: str) -> tuple[Any, str]:
    """
    Return the owner and the name of what a dotted path leads to.

    Raises:
        TargetError: It leads nowhere, to something that cannot be called, or through something
            that is another object each time.
    """
    *steps, name = path.split(".")
    owner, so_far, fresh = obj, _name_of(obj), ""
    for step in steps:
        found = _step(owner, step, so_far, path)
        so_far = f"{so_far}.{step}"
        if found is not getattr(owner, step):
            fresh = fresh or so_far
        owner = found
    value = _step(owner, name, so_far, path)
    if not callable(value):
        msg = f"{so_far}.{name} is a {type(value).__name__}, which cannot be called (target {path!r})"
        raise TargetError(msg)
    if fresh:
        msg = f"{fresh} is a new object each time: instrument the class {_name_of(type(owner))} (target {path!r})"
        raise TargetError(msg)
    return owner, name


def _step(owner: Any, name: str, so_far: str, path: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError:
        msg = f"{so_far} has no attribute {name!r} (target {path!r})"
        raise TargetError(msg) from None


def _is_later(obj: Any, path: str) -> bool:
    """Whether a path of a class begins at an attribute that only its instances have."""
    first, _, rest = path.partition(".")
    if not isinstance(obj, type) or not rest:
        return False
    there = inspect.getattr_static(obj, first, None)
    # A property, a slot, a cached property: the class has it, but not what it leads to.
    method = isinstance(there, FunctionType | classmethod | staticmethod)
    return there is None or (hasattr(type(there), "__get__") and not method)


def _place(owner: Any, name: str) -> Any:
    """
    Return where an attribute is to be replaced: where it is defined, if that will do.

    So there is one layer, whether the class, a base or an instance is named, and in what order.
    """
    if isinstance(owner, ModuleType) or name in getattr(owner, "__dict__", {}):
        return owner
    kind = owner if isinstance(owner, type) else type(owner)
    where = next((cls for cls in kind.__mro__ if name in vars(cls)), None)
    if where is None or not where.__flags__ & _HEAP_TYPE or where.__flags__ & _IMMUTABLE_TYPE:
        return owner
    # These do not tell the wrapper for whom they were called.
    unbound = staticmethod if isinstance(owner, type) else (staticmethod, classmethod)
    return owner if isinstance(vars(where)[name], unbound) else where


def _wrap_at(obj: Any, path: str, engine: Engine, options: Options, *, root: Any = None) -> None:
    """
    Wrap what a path leads to; `uninstrument(root)` undoes it, that is `obj` unless it is named.

    Raises:
        TargetError: See `_walk`; or the object can be told apart from others of its class by
            nothing that would not keep it alive.
    """
    owner, name = _walk(obj, path)
    kind = options.kind
    place = _place(owner, name)
    layer = layer_of(inspect.getattr_static(owner, name, None), engine, kind)
    if layer is not None:
        by = layer._self_patch
        if by is None or (by.owner is not place and by.options_for(owner) is not None):
            return  # decorated already, where it is defined
    if not isinstance(owner, type | ModuleType):
        try:
            weakref.ref(owner)
        except TypeError:
            if place is not owner:
                msg = f"{_name_of(owner)} objects cannot be referenced weakly; instrument the class"
                raise TargetError(msg) from None
    patch = known_patch(place, name, engine, kind)
    if patch is None:
        try:
            patch = patch_for(place, name, engine, kind=kind, path=path)
        except (AttributeError, TypeError, ValueError) as error:
            msg = f"{_name_of(place)}.{name} cannot be replaced: {error} (target {path!r})"
            raise TargetError(msg) from error
    patch.allow(owner, options)
    _Done(obj if root is None else root, engine, patch, owner)


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
            into = self.paths if _is_later(cls, path) else self.methods
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
                _wrap_at(sub, path, self.engine, options, root=self.owner)
        if self.paths and "__init__" in vars(sub):
            self._watch_init(sub)

    def _watch_init(self, cls: type) -> None:
        """Resolve dotted paths on each instance, after its `__init__`."""
        patch = known_patch(cls, "__init__", self.engine, "init")
        if patch is None:
            patch = _InitPatch(cls, "__init__", self.engine, "init")
            remember(patch)
        patch.allow(self, Options("init"))
        _Done(self.owner, self.engine, patch, self)

    def resolve(self, instance: Any) -> None:
        """Instrument what the paths of the class lead to from an instance."""
        for path, options in self.paths:
            try:
                with _lock:
                    _wrap_at(instance, path, self.engine, options, root=self.owner)
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
            if not isinstance(obj, type | ModuleType) and sdk_of(obj) is not None:
                instrument_client(obj, engine, default)
                return
            targets = _known_targets(obj, default)
        now = [(path, options) for path, options in targets if not _is_later(obj, path)]
        for path, _ in now:
            _walk(obj, path)  # all of them are right before the first is touched
        for path, options in now:
            _wrap_at(obj, path, engine, options)
        if isinstance(obj, type):
            _watch_class(obj, engine, targets)


def _watch_class(cls: type, engine: Engine, targets: Sequence[tuple[str, Options]]) -> None:
    """Go on with subclasses to come, and with what only instances have."""
    hook = known_patch(cls, "__init_subclass__", engine, "subclass")
    if hook is None:
        hook = _SubclassPatch(cls, "__init_subclass__", engine, "subclass")
        hook.methods, hook.paths = [], []
        remember(hook)
    assert isinstance(hook, _SubclassPatch)  # noqa: S101 - it was made here
    hook.allow(cls, Options("subclass"))
    _Done(cls, engine, hook, cls)
    hook.add(targets)


def _known_targets(obj: Any, options: Options) -> list[tuple[str, Options]]:
    found = []
    for path in _KNOWN_PATHS:
        if _is_later(obj, path):
            if hasattr(obj, path.partition(".")[0]):
                found.append((path, options))
            continue
        try:
            _walk(obj, path)
        except TargetError:
            continue
        found.append((path, options))
    if not found:
        msg = (
            f"{_name_of(obj)} has none of the known paths ({', '.join(_KNOWN_PATHS)}); "
            'name yours: instrument(obj, turn="…", reference="…", aggregator="…", call="…")'
        )
        raise TargetError(msg)
    return found


def uninstrument(obj: Any, engine: Engine) -> None:
    """Undo what `instrument` did to `obj`, or everything of this stack's if it is `None`."""
    with _lock:
        forget_client(obj, engine)
        for key, done in reversed(list(_done.items())):
            if done.engine is engine and (obj is None or done.root() is obj):
                _done.pop(key, None)
                done.undo()
        for patch in patches_of(engine):
            if obj is None:
                patch.undo()
            elif patch.some.get(obj) is not None:
                patch.revoke(obj)
