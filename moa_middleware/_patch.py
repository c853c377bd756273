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

from ._wrap import Instrumented, Known, Options, call_through

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._wrap import Engine

__all__ = ["CallPatch", "Identities", "Patch", "patch_for"]


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

    def __len__(self) -> int:
        return len(self._items)


class Patch:
    """One attribute of a class, module or instance that was replaced."""

    __slots__ = ("_had", "_original", "engine", "everyone", "key", "name", "owner", "some", "wrapper")

    def __init__(self, owner: Any, name: str, engine: Engine, key: tuple[Any, ...]) -> None:
        self.owner = owner
        self.name = name
        self.engine = engine
        self.key = key
        self.everyone: Options | None = None
        """How it acts for everyone, `None` if it acts for some only."""
        self.some = Identities()
        self._had = name in vars(owner)
        self._original = vars(owner)[name] if self._had else inspect.getattr_static(owner, name)
        self.wrapper = self.wrap(self._original)
        setattr(owner, name, self.wrapper)

    def wrap(self, original: Any) -> Any:
        """Return what takes the attribute's place."""
        raise NotImplementedError

    def allow(self, target: Any, options: Options) -> None:
        """Act for one object, or for everyone if `target` is the owner itself."""
        if target is self.owner:
            self.everyone = self.everyone or options
        elif self.some.get(target) is None:
            self.some.add(target, options)

    def revoke(self, target: Any) -> None:
        """Act for it no more; the attribute is put back when nobody is left."""
        if target is self.owner:
            self.everyone = None
        else:
            self.some.discard(target)
        if self.everyone is None and not len(self.some):
            self.undo()

    def undo(self) -> None:
        """Put the original back. A wrapper that others have wrapped since stays, and does nothing."""
        self.everyone = None
        self.some = Identities()
        _patches.pop(self.key, None)
        if vars(self.owner).get(self.name) is not self.wrapper:
            return
        if self._had:
            setattr(self.owner, self.name, self._original)
        else:
            delattr(self.owner, self.name)


class CallPatch(Patch):
    """A function that has become a call or a turn."""

    __slots__ = ("kind", "path", "via")

    def __init__(
        self,
        owner: Any,
        name: str,
        engine: Engine,
        key: tuple[Any, ...],
        *,
        kind: str,
        path: str,
        via: Callable[[Any], Any] | None,
    ) -> None:
        self.kind = kind
        self.path = path
        self.via = via
        """From the object whose method is called to the one that was instrumented."""
        super().__init__(owner, name, engine, key)

    def wrap(self, original: Any) -> Any:
        """Return a wrapper that acts for those who are allowed."""
        caches: dict[int, dict[str, Known]] = {}

        def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            options = self.everyone
            if options is None:
                options = self.some.get(self.via(instance) if self.via else instance)
                if options is None:
                    return wrapped(*args, **kwargs)
            cache = caches.setdefault(id(options), {})
            return call_through(self.engine, options, cache, self.path, wrapped, instance, args, kwargs)

        return Instrumented(original, wrapper, engine=self.engine, options=Options(self.kind))


_patches: dict[tuple[Any, ...], Patch] = {}


def patch_for(
    owner: Any,
    name: str,
    engine: Engine,
    *,
    kind: str,
    path: str = "",
    via: Callable[[Any], Any] | None = None,
) -> CallPatch:
    """Return the patch of this attribute, made if there is none."""
    key = (id(owner), name, id(engine), kind)
    found = _patches.get(key)
    if isinstance(found, CallPatch) and found.owner is owner:
        return found
    made = CallPatch(owner, name, engine, key, kind=kind, path=path, via=via)
    _patches[key] = made
    return made


def known_patch(owner: Any, name: str, engine: Engine, kind: str) -> Patch | None:
    """Return the patch of this attribute, `None` if there is none."""
    found = _patches.get((id(owner), name, id(engine), kind))
    return found if found is not None and found.owner is owner else None


def remember(patch: Patch) -> None:
    """Keep a patch of another class than `CallPatch`."""
    _patches[patch.key] = patch


def patches_of(engine: Engine) -> list[Patch]:
    """Return every patch of a stack."""
    return [patch for patch in list(_patches.values()) if patch.engine is engine]
