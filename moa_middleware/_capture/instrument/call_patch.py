"""A function that has become a call or a turn: by its attribute, and by its other names."""

from __future__ import annotations

import sys
import weakref
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ..shapes.catalog import sdk_of_module
from ..shapes.in_memory_client import MARK
from .aliases import Aliases
from .function_proxy import Instrumented
from .inside import call_inside
from .patch import Patch, lock

if TYPE_CHECKING:
    from ..shapes.catalog import Methods
    from ..turns.stack_like import StackLike

__all__ = ["CallPatch", "unnamed", "unsearched"]


class CallPatch(Patch):
    """
    A function that has become a call or a turn.

    Args:
        owner: The class, module or instance whose attribute it is.
        name: The attribute's name.
        stack: The stack.
        kind: `turn` or `call`.
        path: Dotted path by which it was found.
        row: What the catalog of SDKs says of the function, `None` for most.
        link: Attribute by which the method's object leads to a target, a client of an SDK; "" where the object
            is the target itself.
    """

    def __init__(
        self,
        owner: Any,
        name: str,
        stack: StackLike,
        kind: str,
        *,
        path: str,
        link: str = "",
        row: Methods | None = None,
    ) -> None:
        self.kind = kind
        self.path = path
        self.link = link
        self.row = row
        self.cache: dict[str, Any] = {}
        """What is known of the function, empty before its first call that was recorded."""
        self.aliases: Aliases | None = None
        """Other names for the function, once somebody was seen to hold it."""
        self.places: list[str] = []
        """Where else it is held, as far as that was looked for; these calls are not recorded."""
        count = _references(owner, name)
        super().__init__(owner, name, stack, kind)
        self._held = 0 if count is None else count - _ALONE - (self._below is not None)
        """How many more references to the function there were than the attribute that was replaced."""

    def wrap(self, original: Any) -> Any:
        """Return a wrapper that acts for the targets."""
        # A partial application: calling it enters no frame.
        wrapper = partial(self.stack.call_through, self._options_of_call, self.cache, self.path)
        row = self.row
        if row is not None and (row.inside or row.returns_coroutine):
            wrapper = partial(call_inside, wrapper, row)
        return Instrumented(original, wrapper, stack=self.stack, kind=self.kind, patch=self)

    def _options_of_call(self, instance: Any) -> Any:
        """Return the options for a call of an object's method, `None` if the patch does not act for the object."""
        # `MARK`: the in-memory client by which a middleware's reply gets the SDK's form. Its calls are
        # no requests to a model.
        try:
            client = getattr(instance, self.link or "_client", None)
        except Exception:  # a dict whose attributes are its keys raises a `KeyError`, a property whatever it likes
            client = None
        whom = client if self.link else instance
        # `Identities.get` without its frame: most calls are those of one object that was instrumented.
        entry = self.targets._items.get(id(whom))
        options = entry[1] if entry is not None and entry[0]() is whom else self.shared_options(whom)
        if options is None or getattr(client, MARK, False):
            return None
        return options

    @property
    def title(self) -> str:
        """The function as a target is written, `pkg.mod:Class.method`."""
        module = _module_of(self.owner)
        if isinstance(self.owner, ModuleType):
            return f"{module}:{self.name}"
        kind = self.owner if isinstance(self.owner, type) else type(self.owner)
        return f"{module}:{kind.__qualname__}.{self.name}"

    @property
    def function(self) -> Any:
        """The function that others may hold."""
        return _function_of(self._original)

    def is_own(self, place: str) -> bool:
        """Return True if a place is of no interest: an SDK holds its own functions in many, and so do we."""
        words = place.replace("a default of ", "").replace("the closure of ", "").replace("an attribute of ", "")
        sdk = sdk_of_module(words)
        return words.partition(".")[0] == _OURS or (sdk != "" and sdk == sdk_of_module(_module_of(self.owner)))

    def allow(self, target: Any, options: Any) -> None:
        """Act for a target, and for everyone by its other names too."""
        super().allow(target, options)
        original = self.function
        if getattr(options, "alone", False):
            return  # an offered target says which of the names it means: those of Hermes Agent's side calls stay
        if target is not self.owner or self._held <= 0 or self.aliases is not None or issubclass(type(original), type):
            return
        if not issubclass(type(self.owner), type | ModuleType):
            return  # what one instance has: under its other names the function is not this instance's
        wrapper = self.wrapper if original is self._original else getattr(self.owner, self.name)
        # An SDK's own names are left alone: its functions call each other, and a retry inside would be a
        # call of its own all at once.
        module = _module_of(self.owner)
        sdk = sdk_of_module(module)
        self.aliases = Aliases(original, wrapper, None if sdk else module.partition(".")[0], sdk=sdk)
        self.places = [place for place in self.aliases.others if not self.is_own(place)]
        if self._held > self.aliases.count + len(self.aliases.others):
            unsearched.add(self)
        elif self.places:
            unnamed.add(self)

    def undo(self) -> None:
        """Put the original back, also under its other names."""
        with lock:
            super().undo()
            self.places = []
            if self.aliases is not None:
                self.aliases.undo(_function_of(self.lowest._original))


unsearched: weakref.WeakSet[CallPatch] = weakref.WeakSet()
"""Patches whose functions somebody holds who is not known yet (`held`)."""
unnamed: weakref.WeakSet[CallPatch] = weakref.WeakSet()
"""Patches whose holders are known and were not logged yet."""


def _module_of(owner: Any) -> str:
    if isinstance(owner, ModuleType):
        return owner.__name__
    return (owner if isinstance(owner, type) else type(owner)).__module__


def _function_of(value: Any) -> Any:
    """Return the function in a class or static method."""
    return value.__func__ if isinstance(value, classmethod | staticmethod) else value


def _references(owner: Any, name: str) -> int | None:
    """Return how many references there are to an attribute's function, `None` if it is not the owner's own."""
    # Looking for those who hold a function visits all objects of the process. Most functions are held by
    # nothing but their module or class, and counting references shows that at once.
    names = getattr(owner, "__dict__", {})
    return sys.getrefcount(_function_of(names[name])) if name in names else None


_OURS = __name__.partition(".")[0]


class _Probe:
    def alone(self) -> None:
        """Be held by nothing but the class."""


_ALONE = _references(_Probe, "alone") or 0
"""The count of a function that nothing else holds, which differs between versions of Python."""
