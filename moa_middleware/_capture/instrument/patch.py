"""
Replacing one attribute, for whom the replacement acts, and putting it back.

A method is replaced on its class, and for an instance the replacement acts only for the objects in
a weak set: nothing is kept on a client, and a copy of one behaves as a copy. An attribute has one
patch for each kind and stack, however often it is asked for; it goes when nobody needs it any more.
"""

from __future__ import annotations

import inspect
import weakref
from typing import TYPE_CHECKING, Any

from ..process import ForkSafeLock

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..turns.stack_like import StackLike

__all__ = [
    "Identities",
    "Patch",
    "Undo",
    "apply_patch",
    "known_patch",
    "lock",
    "patches_of",
    "sweep",
    "undo",
    "undos_of",
]


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
        # The callback holds the dictionary and not the mapping: one that is replaced (`Patch.undo`) may go
        # while its entries wait for their objects.
        key, items = id(obj), self._items
        items[key] = (weakref.ref(obj, lambda _: items.pop(key, None)), value)

    def get(self, obj: Any) -> Any:
        """Return what is kept with an object, `None` if nothing is."""
        # An id is used again once its object is gone, so the object is compared too: the callback that
        # removes the entry may not have run yet.
        found = self._items.get(id(obj))
        return found[1] if found is not None and found[0]() is obj else None

    def discard(self, obj: Any) -> None:
        """Keep nothing with an object any more."""
        if self.get(obj) is not None:
            del self._items[id(obj)]

    def items(self) -> list[tuple[Any, Any]]:
        """Return the objects that are still there, each with what is kept with it."""
        # From a copy: a garbage collection during the loop calls back and removes items.
        found = [(reference(), value) for reference, value in self._items.copy().values()]
        return [(obj, value) for obj, value in found if obj is not None]

    def __len__(self) -> int:
        return len(self._items)


lock = ForkSafeLock()
"""Held while the registry or an attribute changes, and never while foreign code runs that may import."""


class Patch:
    """One attribute of a class, module or instance that was replaced."""

    def __init__(self, owner: Any, name: str, stack: StackLike, kind: str) -> None:
        self.owner = owner
        self.name = name
        self.stack = stack
        self.key = (id(owner), name, id(stack), kind)
        self.global_options: Any = None
        """Options for everyone, `None` if the patch acts for its targets only."""
        self.targets = Identities()
        """Options for single objects, and for the instances of classes that inherit the attribute."""
        self._for_classes = False
        self.undone = False
        self.had = name in vars(owner)
        """True if the attribute was the owner's own, and not inherited."""
        look_up = inspect.getattr_static if isinstance(owner, type) else getattr
        self._original: Any = vars(owner)[name] if self.had else look_up(owner, name)
        # Stacks are undone in any order. If the patch below was undone first, what this one has as its
        # original is a dead wrapper, and `undo` goes on to the original of that one.
        self._below = next((p for p in list(_patches.values()) if p.wrapper is self._original), None)
        """The patch of another stack, or of another kind, that was there before."""
        self.wrapper: Any = self.wrap(self._original)
        setattr(owner, name, self.wrapper)

    def wrap(self, original: Any) -> Any:
        """Return the replacement of the attribute."""
        raise NotImplementedError

    def allow(self, target: Any, options: Any) -> None:
        """Act for one object, for a class that inherits the attribute, or, if the target is the owner, for everyone."""
        with lock:
            if target is self.owner:
                self.global_options = self.global_options or options
            elif self.targets.get(target) is None:
                self.targets.add(target, options)
                self._for_classes = self._for_classes or isinstance(target, type)

    def options_for(self, instance: Any) -> Any:
        """Return the options for an object, `None` if the patch does not act for it."""
        return self.targets.get(instance) or self.shared_options(instance)

    def shared_options(self, instance: Any) -> Any:
        """Return the options for an object that is not a target itself."""
        found = None
        if self._for_classes:
            kind = instance if isinstance(instance, type) else type(instance)
            found = next((o for o in map(self.targets.get, kind.__mro__) if o is not None), None)
        return found or self.global_options

    def revoke(self, target: Any) -> None:
        """Stop acting for a target; the attribute is put back when it was the last."""
        with lock:
            if target is self.owner:
                self.global_options = None
            else:
                self.targets.discard(target)
            if not self.is_used:
                self.undo()

    @property
    def is_used(self) -> bool:
        """Return True if it acts for anybody."""
        return self.global_options is not None or len(self.targets) > 0

    def undo(self) -> None:
        """Put the original back. A wrapper that others have wrapped since stays, and does nothing."""
        with lock:
            self.global_options = None
            self.targets = Identities()
            self.undone = True
            _patches.pop(self.key, None)
            if vars(self.owner).get(self.name) is not self.wrapper:
                # Somebody has wrapped it since, and restoring the original would undo theirs as well.
                return
            lowest = self.lowest
            if lowest.had:
                setattr(self.owner, self.name, lowest._original)
            else:
                delattr(self.owner, self.name)

    @property
    def lowest(self) -> Patch:
        """The patch whose original `undo` puts back: the last of those below that were undone before."""
        last = self
        while last._below is not None and last._below.undone:
            last = last._below
        return last

    @property
    def is_in_place(self) -> bool:
        """Return True if the attribute is still the wrapper, or something around it."""
        # A host may put its own function back while we are not looking (`monkeypatch` does). Then the
        # patch is dead, and `known_patch` must not return it: a new one is needed.
        value = vars(self.owner).get(self.name)
        for _ in range(_DEPTH):
            if value is None or value is self.wrapper:
                break
            value = getattr(value, "__moa_had__", None) or getattr(value, "__wrapped__", None)
        return value is self.wrapper


_DEPTH = 1000
"""Wrappers to look through at most, in case they lead back to each other."""


_patches: weakref.WeakValueDictionary[tuple[Any, ...], Patch] = weakref.WeakValueDictionary()
"""Every patch in force. Weakly: a patch lives in its wrapper, and a class that nobody needs may go."""


def apply_patch(
    make: Callable[..., Patch],
    owner: Any,
    name: str,
    stack: StackLike,
    kind: str,
    *,
    target: Any,
    options: Any,
    **of: Any,
) -> Patch:
    """
    Let the patch of an attribute act for a target; it is made if there is none.

    Args:
        make: Makes the patch: a class of patches.
        owner: The class, module or instance whose attribute it is.
        name: The attribute's name.
        stack: The stack.
        kind: `call`, `turn`, or a kind of its own for a class of patches.
        target: The owner for everyone, else one object or class.
        options: The options for the target.
        **of: Further arguments of `make`.

    Returns:
        The patch.
    """
    with lock:  # from finding it to `allow`: a patch without a target may be undone in between
        patch = known_patch(owner, name, stack, kind)
        if patch is None:
            patch = make(owner, name, stack, kind, **of)
            _patches[patch.key] = patch
        patch.allow(target, options)
        return patch


def known_patch(owner: Any, name: str, stack: StackLike, kind: str) -> Patch | None:
    """Return the patch of this attribute, `None` if there is none."""
    found = _patches.get((id(owner), name, id(stack), kind))
    return found if found is not None and found.owner is owner and found.is_in_place else None


def sweep() -> None:
    """Put back what is replaced for nobody any more: the clients that it was for are gone."""
    with lock:
        for patch in list(_patches.values()):
            if not patch.is_used:
                patch.undo()


def patches_of(stack: StackLike | None) -> list[Patch]:
    """Return every patch of a stack, of all stacks if it is `None`."""
    with lock:
        return [patch for patch in list(_patches.values()) if stack is None or patch.stack is stack]


class Undo:
    """How to undo one thing that was done for an object: what acts for a target, a patch or an SDK, has a `revoke`."""

    __slots__ = ("by", "path", "root", "stack", "target")

    def __init__(self, root: Any, stack: StackLike, target: Any, by: Any, path: str = "") -> None:
        # Everything is held weakly. What was instrumented may be collected as if it had not been, and its
        # entry goes with it (tests/behaviour/instrument/test_sdk_clients.py counts the entries).
        key = id(self)
        self.root = _weak(root)
        """The object that `uninstrument` is given."""
        self.stack = stack
        self.path = path
        """The dotted path from the object to what is wrapped, "" for what is replaced for another reason."""
        self.target = _weak(target, lambda _: _undos.pop(key, None))
        self.by: Callable[[], Any] = weakref.ref(by)
        """What acts for the target."""
        _undos[key] = self

    def run(self) -> None:
        """Undo it, if its target is still there."""
        by, target = self.by(), self.target()
        if target is not None and by is not None:
            by.revoke(target)


_undos: dict[int, Undo] = {}
"""Everything that can be undone, oldest first. An entry goes with its target."""


def _weak(obj: Any, gone: Callable[[Any], object] | None = None) -> Callable[[], Any]:
    try:
        return weakref.ref(obj, gone)
    except TypeError:
        return lambda: obj


def undo(obj: Any, stack: StackLike, which: Callable[[Undo], bool] | None = None) -> None:
    """
    Undo what was done for an object, the latest first.

    Args:
        obj: The object, `None` for everything of this stack.
        stack: The stack.
        which: Returns True for what is to be undone; everything without it.
    """
    # The latest first, so that each attribute gets back what it had before its own patch.
    for key, one in reversed(list(_undos.items())):
        if one.stack is stack and (obj is None or one.root() is obj) and (which is None or which(one)):
            _undos.pop(key, None)
            one.run()


def undos_of(stack: StackLike) -> list[Undo]:
    """Return everything of a stack that can be undone, oldest first."""
    return [one for one in list(_undos.values()) if one.stack is stack]
