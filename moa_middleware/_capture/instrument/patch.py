"""
Replacing one attribute and putting it back.

A method is replaced on its class, and for an instance the replacement acts only for the objects in
a weak set: nothing is kept on a client, and a copy of one behaves as a copy. An attribute has one
patch a kind and stack, however often it is asked for; it goes when nobody needs it any more.
"""

from __future__ import annotations

import inspect
import weakref
from typing import TYPE_CHECKING, Any

from ..calls.entry import Instrumented, call_through
from ..calls.function import Known, Options
from ..process import ForkSafeLock
from ..shapes.in_memory_client import MARK

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..calls.entry import Engine

__all__ = ["CallPatch", "Identities", "Patch", "known_patch", "locked", "patch_for", "patches_of", "remember", "sweep"]


class Identities:
    """A weak mapping by identity: clients need be neither hashable nor comparable."""

    __slots__ = ("_items",)

    def __init__(self) -> None:
        self._items: dict[int, tuple[weakref.ref[Any], Any]] = {}

    def add(self, obj: Any, value: Any) -> None:
        """
        Keep `value` with an object as long as that lives.

        Raises:
            TypeError: The object cannot be referenced weakly.
        """
        key, items = id(obj), self._items
        items[key] = (weakref.ref(obj, lambda _: items.pop(key, None)), value)

    def get(self, obj: Any) -> Any:
        """Return what is kept with an object, `None` if nothing is."""
        found = self._items.get(id(obj))
        return found[1] if found is not None and found[0]() is obj else None

    def discard(self, obj: Any) -> None:
        """Keep nothing with an object any more."""
        if self.get(obj) is not None:
            del self._items[id(obj)]

    def items(self) -> list[tuple[Any, Any]]:
        """Return the objects that are still there, each with what is kept with it."""
        # A copy first: a collection while a list is made calls back, and takes items out.
        found = [(reference(), value) for reference, value in self._items.copy().values()]
        return [(obj, value) for obj, value in found if obj is not None]

    def __len__(self) -> int:
        return len(self._items)


_locked = ForkSafeLock()
"""Held while the registry or an attribute changes, and never while foreign code runs that may import."""


class Patch:
    """One attribute of a class, module or instance that was replaced."""

    __slots__ = (
        "__weakref__",
        "_below",
        "_narrowed",
        "_original",
        "engine",
        "everyone",
        "had",
        "key",
        "name",
        "owner",
        "some",
        "undone",
        "wrapper",
    )

    def __init__(self, owner: Any, name: str, engine: Engine, kind: str) -> None:
        self.owner = owner
        self.name = name
        self.engine = engine
        self.key = (id(owner), name, id(engine), kind)
        self.everyone: Options | None = None
        """How it acts for everyone, `None` if it acts for some only."""
        self.some = Identities()
        """How it acts for single objects, and for the instances of classes that inherit it."""
        self._narrowed = False
        self.undone = False
        self.had = name in vars(owner)
        """Whether the owner had it itself, and did not inherit it."""
        if self.had:
            self._original = vars(owner)[name]
        elif isinstance(owner, type):
            self._original = inspect.getattr_static(owner, name)
        else:
            self._original = getattr(owner, name)
        self._below = next((p for p in list(_patches.values()) if p.wrapper is self._original), None)
        """The patch of another stack, or of another kind, that was there before."""
        self.wrapper: Any = self.wrap(self._original)
        setattr(owner, name, self.wrapper)

    def wrap(self, original: Any) -> Any:
        """Return what takes the attribute's place."""
        raise NotImplementedError

    def allow(self, target: Any, options: Options) -> None:
        """Act for one object, for a class that inherits it, or for everyone: that is the owner."""
        with _locked:
            if target is self.owner:
                self.everyone = self.everyone or options
            elif self.some.get(target) is None:
                self.some.add(target, options)
                self._narrowed = self._narrowed or isinstance(target, type)

    def options_for(self, instance: Any) -> Options | None:
        """Return how it acts for an object, `None` if it does not."""
        found: Options | None = self.some.get(instance)
        if found is None and self._narrowed:
            kind = instance if isinstance(instance, type) else type(instance)
            found = next((o for o in map(self.some.get, kind.__mro__) if o is not None), None)
        return found or self.everyone

    def revoke(self, target: Any) -> None:
        """Act for it no more; the attribute is put back when nobody is left."""
        with _locked:
            if target is self.owner:
                self.everyone = None
            else:
                self.some.discard(target)
            if self.everyone is None and not len(self.some):
                self.undo()

    def undo(self) -> None:
        """Put the original back. A wrapper that others have wrapped since stays, and does nothing."""
        with _locked:
            self.everyone = None
            self.some = Identities()
            self.undone = True
            _patches.pop(self.key, None)
            if vars(self.owner).get(self.name) is not self.wrapper:
                return
            last = self
            while last._below is not None and last._below.undone:
                last = last._below
            if last.had:
                setattr(self.owner, self.name, last._original)
            else:
                delattr(self.owner, self.name)

    @property
    def present(self) -> bool:
        """Whether the attribute is still the wrapper, or something around it."""
        value, steps = vars(self.owner).get(self.name), 0
        while value is not None and value is not self.wrapper and steps < _DEPTH:
            value = getattr(value, "__moa_had__", None) or getattr(value, "__wrapped__", None)
            steps += 1
        return value is self.wrapper


_DEPTH = 1000
"""Wrappers that `present` looks through at most, in case they lead back to each other."""


class CallPatch(Patch):
    """A function that has become a call or a turn."""

    __slots__ = ("kind", "path", "via")

    def __init__(
        self, owner: Any, name: str, engine: Engine, *, kind: str, path: str, via: Callable[[Any], Any] | None
    ) -> None:
        self.kind = kind
        self.path = path
        self.via = via
        """From the object whose method is called to the one that was instrumented."""
        super().__init__(owner, name, engine, kind)

    def wrap(self, original: Any) -> Any:
        """Return a wrapper that acts for those who are allowed."""
        cache: dict[str, Known] = {}

        def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            options = self.options_for(self.via(instance) if self.via else instance)
            if options is None or getattr(getattr(instance, "_client", None), MARK, False):
                return wrapped(*args, **kwargs)
            return call_through(self.engine, options, cache, self.path, wrapped, instance, args, kwargs)

        return Instrumented(original, wrapper, engine=self.engine, options=Options(self.kind), patch=self)


_patches: weakref.WeakValueDictionary[tuple[Any, ...], Patch] = weakref.WeakValueDictionary()
"""Every patch in force. Weakly: a patch lives in its wrapper, and a class that nobody needs may go."""


def patch_for(
    owner: Any, name: str, engine: Engine, *, kind: str, path: str = "", via: Callable[[Any], Any] | None = None
) -> Patch:
    """Return the patch of this attribute, made if there is none."""
    with _locked:
        found = known_patch(owner, name, engine, kind)
        if found is None:
            found = CallPatch(owner, name, engine, kind=kind, path=path, via=via)
            remember(found)
        return found


def locked() -> ForkSafeLock:
    """Return the lock to hold from finding a patch to letting it act: without a target it may be undone between."""
    return _locked


def known_patch(owner: Any, name: str, engine: Engine, kind: str) -> Patch | None:
    """Return the patch of this attribute, `None` if there is none."""
    found = _patches.get((id(owner), name, id(engine), kind))
    return found if found is not None and found.owner is owner and found.present else None


def remember(patch: Patch) -> None:
    """Keep a patch, weakly."""
    with _locked:
        _patches[patch.key] = patch


def sweep() -> None:
    """Put back what is replaced for nobody any more: the clients that it was for are gone."""
    with _locked:
        for patch in list(_patches.values()):
            if patch.everyone is None and not len(patch.some):
                patch.undo()


def patches_of(engine: Engine) -> list[Patch]:
    """Return every patch of a stack."""
    with _locked:
        return [patch for patch in list(_patches.values()) if patch.engine is engine]
