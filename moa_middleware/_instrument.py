"""
Instrumenting by dotted path what somebody else wrote: instances, classes and modules.

What one `instrument` did to an object is kept as a list of undoings, weakly by object, so that
`uninstrument` leaves every attribute as it was.
"""

from __future__ import annotations

import weakref
from types import ModuleType
from typing import TYPE_CHECKING, Any

import wrapt

from ._log import log
from ._patch import known_patch, patch_for, patches_of
from ._sdk import forget_client, instrument_client, sdk_of
from ._wrap import layer_of
from .errors import TargetError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ._wrap import Engine, Options

__all__ = ["instrument", "uninstrument"]

_KNOWN_PATHS = (
    "chat.completions.create",
    "chat.completions.parse",
    "create",
    "completion",
    "acompletion",
)

_done: list[tuple[Callable[[], Any], Engine, Callable[[], None]]] = []
"""Weak reference to an instrumented object, the stack, and how to undo it."""


def _name_of(obj: Any) -> str:
    if isinstance(obj, ModuleType):
        return obj.__name__.rpartition(".")[2]
    return obj.__qualname__.rpartition(".")[2] if isinstance(obj, type) else type(obj).__name__


def _walk(obj: Any, path: str) -> tuple[Any, str]:
    """
    Return the owner and the name of what a dotted path leads to.

    Raises:
        TargetError: It leads nowhere, or to something that cannot be called.
    """
    *steps, name = path.split(".")
    owner, so_far = obj, _name_of(obj)
    for step in (*steps, name):
        if not hasattr(owner, step):
            msg = f"{so_far} has no attribute {step!r} (target {path!r})"
            raise TargetError(msg)
        so_far = f"{so_far}.{step}"
        if step is not name:
            owner = getattr(owner, step)
    value = getattr(owner, name)
    if not callable(value):
        msg = f"{so_far} is a {type(value).__name__}, which cannot be called (target {path!r})"
        raise TargetError(msg)
    return owner, name


def _is_later(obj: Any, path: str) -> bool:
    """Whether a path of a class begins at an attribute that its instances get in `__init__`."""
    first, _, rest = path.partition(".")
    return isinstance(obj, type) and bool(rest) and not hasattr(obj, first)


def _weak(obj: Any) -> Callable[[], Any]:
    try:
        return weakref.ref(obj)
    except TypeError:
        return lambda: obj


def _wrap_at(obj: Any, path: str, engine: Engine, options: Options, *, root: Any = None) -> None:
    """
    Wrap what a path leads to; `uninstrument(root)` undoes it, that is `obj` unless it is named.

    Raises:
        TargetError: See `_walk`; or the object can be told apart from others of its class by
            nothing that would not keep it alive.
    """
    owner, name = _walk(obj, path)
    kind = options.kind
    in_own = name in getattr(owner, "__dict__", {})
    if isinstance(owner, type | ModuleType) or in_own:
        place, target = owner, owner
    else:
        place, target = type(owner), owner
        try:
            weakref.ref(owner)
        except TypeError:
            msg = f"{_name_of(owner)} objects cannot be referenced weakly; instrument the class"
            raise TargetError(msg) from None
    known = known_patch(place, name, engine, kind)
    if known is None and layer_of(getattr(owner, name), engine, kind) is not None:
        if place is not owner or in_own:
            return  # decorated already, where it is defined
        if layer_of(vars(owner).get(name), engine, kind) is None and isinstance(owner, type):
            return  # a base class is instrumented, and this one inherits from it
    patch = known or patch_for(place, name, engine, kind=kind, path=path)
    patch.allow(target, options)
    alive = _weak(target)

    def undo() -> None:
        still = alive()
        if still is not None:
            patch.revoke(still)

    _done.append((_weak(obj if root is None else root), engine, undo))


class _ClassHook:
    """What goes on after a class was instrumented: its subclasses, and paths of its instances."""

    def __init__(self, cls: type, engine: Engine, targets: Sequence[tuple[str, Options]]) -> None:
        self.cls = cls
        self.engine = engine
        self.methods = [(path, options) for path, options in targets if "." not in path]
        self.paths = [(path, options) for path, options in targets if _is_later(cls, path)]
        self.active = True
        self._inits: list[tuple[type, Any, Any]] = []
        self._had = vars(cls).get("__init_subclass__")
        self._hook = self._install()
        for sub in _subclasses(cls):
            self._subclass(sub)
        if self.paths:
            self._watch_init(cls)
        _done.append((_weak(cls), engine, self.undo))

    def _install(self) -> Any:
        cls, had = self.cls, self._had

        def __init_subclass__(sub: type, **kwargs: Any) -> None:  # noqa: N807 - its name
            if had is not None:
                had.__func__(sub, **kwargs)
            else:
                super(cls, sub).__init_subclass__(**kwargs)
            if self.active:
                self._subclass(sub)

        hook = classmethod(__init_subclass__)
        cls.__init_subclass__ = hook  # type: ignore[assignment]
        return hook

    def _subclass(self, sub: type) -> None:
        """Instrument what a subclass overrides; its `super()` call joins the same turn."""
        for path, options in self.methods:
            if path in vars(sub):
                _wrap_at(sub, path, self.engine, options, root=self.cls)
        if self.paths and "__init__" in vars(sub):
            self._watch_init(sub)

    def _watch_init(self, cls: type) -> None:
        """Resolve dotted paths on each instance, after the `__init__` of its own class."""
        had = vars(cls).get("__init__")

        def after_init(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> None:
            wrapped(*args, **kwargs)
            outermost = next(c for c in type(instance).__mro__ if "__init__" in vars(c))
            if self.active and outermost is cls:
                self._resolve(instance)

        wrapper = wrapt.FunctionWrapper(cls.__init__, after_init)  # type: ignore[misc]
        cls.__init__ = wrapper  # type: ignore[misc]
        self._inits.append((cls, had, wrapper))

    def _resolve(self, instance: Any) -> None:
        for path, options in self.paths:
            try:
                _wrap_at(instance, path, self.engine, options, root=self.cls)
            except TargetError as error:
                # The user's constructor runs: this is no place to raise.
                log("moa.target_missing", key=path, target=path, error=str(error))

    def undo(self) -> None:
        """Leave the class and its subclasses as they were."""
        self.active = False
        if vars(self.cls).get("__init_subclass__") is self._hook:
            if self._had is not None:
                self.cls.__init_subclass__ = self._had
            else:
                del self.cls.__init_subclass__
        for cls, had, wrapper in self._inits:
            if vars(cls).get("__init__") is not wrapper:
                continue
            if had is not None:
                cls.__init__ = had  # type: ignore[misc]
            else:
                del cls.__init__  # type: ignore[misc]


def _subclasses(cls: type) -> Iterable[type]:
    for sub in type.__subclasses__(cls):
        yield sub
        yield from _subclasses(sub)


def instrument(obj: Any, engine: Engine, targets: Sequence[tuple[str, Options]], default: Options) -> None:
    """
    Wrap the targets of `obj`, or every path that is known if there are none.

    Raises:
        TargetError: A target leads nowhere, or no known path is there.
    """
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
        _ClassHook(obj, engine, targets)


def _known_targets(obj: Any, options: Options) -> list[tuple[str, Options]]:
    found = []
    for path in _KNOWN_PATHS:
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
    forget_client(obj, engine)
    kept = []
    for entry in _done:
        alive, of, undo = entry
        if of is engine and (obj is None or alive() is obj):
            undo()
        elif alive() is not None:
            kept.append(entry)
    _done[:] = kept
    for patch in patches_of(engine):
        if obj is None:
            patch.undo()
        elif patch.some.get(obj) is not None:
            patch.revoke(obj)
