"""
Who holds a function: the places, as the garbage collector knows them.

Only types, identities and names of attributes and globals are read: no code of a holder's runs, and
no value or key is shown. A search visits every object of the process, 20 ms for a hundred thousand;
who asks for one bounds that.
"""

from __future__ import annotations

import gc
from types import (
    AsyncGeneratorType,
    CellType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import TYPE_CHECKING, Any

from .aliases import globals_of, modules

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["places"]

_LEVELS = 4
"""Containers inside containers that are looked through, for example a list in an instance's dictionary."""
_OURS = (__name__.partition(".")[0], "wrapt")
_SUSPENDED = {GeneratorType: "gi_code", CoroutineType: "cr_code", AsyncGeneratorType: "ag_code"}
_CONTAINERS = frozenset({"builtins", "collections", "functools"})
"""Modules of types that say nothing of where they are."""
_MODULE = type.__dict__["__module__"]
_QUALNAME = type.__dict__["__qualname__"]


class _Sought:
    """An object whose holders are looked for at one level."""

    __slots__ = ("attributes", "held", "of", "words")

    def __init__(self, held: Any, words: str) -> None:
        self.held = held
        self.words = words
        """What it is, if it has no better name; "" for a function."""
        self.of: set[int] = set()
        """The functions that it leads to, by their indices."""
        self.attributes: set[str] = set()
        """The names under which it holds them, if it should be the dictionary of an instance or class."""


def places(objects: Sequence[Any]) -> list[list[str]]:
    """
    Return where each of several functions is held, in words: `app.HANDLERS`, `flask.app.Flask.view_functions`.

    Args:
        objects: The functions. Module globals that hold them directly are not listed.
    """
    found: list[set[str]] = [set() for _ in objects]
    names = {id(globals_of(module)): name for name, module in modules()}
    sought: dict[int, _Sought] = {}
    for index, one in enumerate(objects):
        sought.setdefault(id(one), _Sought(one, "")).of.add(index)
    seen: set[int] = set()
    for _ in range(_LEVELS):
        further: dict[int, _Sought] = {}
        placed: set[int] = set()
        # Python 3.13 copies its arguments, so that the tuple of the call is a holder like any other there.
        arguments = tuple(one.held for one in sought.values())
        for holder in gc.get_referrers(*arguments):
            kind = type(holder)
            if kind is FrameType or kind is _Sought or holder is objects or holder is arguments:
                continue
            for key in {id(one) for one in gc.get_referents(holder)} & sought.keys():
                one = sought[key]
                place = _place(holder, one, names)
                if place:
                    for index in one.of:
                        found[index].add(place)
                elif place is None and id(holder) not in seen:
                    following = further.setdefault(id(holder), _Sought(holder, one.words or _words(kind)))
                    following.of |= one.of
                    following.attributes |= _keys(holder, one.held)
                placed.add(key)
        # What no object holds is in a local variable, or is being called just now.
        _name(found, [one for key, one in sought.items() if key not in placed])
        seen |= further.keys()
        sought = further
        if not sought:
            break
    _name(found, sought.values())
    return [sorted(one) for one in found]


def _name(found: list[set[str]], unplaced: Any) -> None:
    for one in unplaced:
        for index in one.of:
            found[index] |= {one.words} - {""}


def _text(descriptor: Any, kind: type) -> str:
    text = descriptor.__get__(kind)
    return text if isinstance(text, str) else ""


def _type_name(kind: type) -> str:
    return f"{_text(_MODULE, kind)}.{_text(_QUALNAME, kind)}".removeprefix("builtins.")


def _words(kind: type) -> str:
    return "a bound method" if kind is MethodType else f"a {_type_name(kind)}"


def _keys(holder: Any, held: Any) -> set[str]:
    if type(holder) is not dict:
        return set()
    return {key for key, value in list(holder.items()) if value is held and type(key) is str}


def _place(holder: Any, one: _Sought, names: dict[int, str]) -> str | None:
    """Return where a holder is, "" if it does not count, `None` if that is still to be found out."""
    kind, held = type(holder), one.held
    if kind is dict:
        where = names.get(id(holder))
        if where is None:
            return None
        # A global that holds the function itself is known to `Aliases`.
        return f"{where}.{min(_keys(holder, held), default='?')}" if one.words else ""
    if kind is FunctionType:
        return f"{_part(holder, held)} of {holder.__module__}.{holder.__qualname__}"
    if kind in _SUSPENDED:
        code = getattr(holder, _SUSPENDED[kind])
        return f"a variable of {code.co_qualname}"
    if kind in (CellType, MethodType):
        return None
    module = _text(_MODULE, kind)
    if module.startswith(_OURS) or kind.__name__ == "ReferenceType" or issubclass(kind, ModuleType):
        return ""
    if issubclass(kind, type):
        return _with_attribute(_type_name(holder), one.attributes)
    if module in _CONTAINERS:
        return None
    return _with_attribute(_type_name(kind), _attributes(holder, one))


def _part(fn: FunctionType, held: Any) -> str:
    if fn.__defaults__ is held or fn.__kwdefaults__ is held:
        return "a default"
    return "the closure" if fn.__closure__ is held else "an attribute"


def _with_attribute(name: str, attributes: set[str]) -> str:
    return f"{name}.{min(attributes)}" if attributes else name


def _attributes(holder: Any, one: _Sought) -> set[str]:
    """Return the names of the attributes of an instance that hold an object, or are in the dictionary that does."""
    try:
        names = object.__getattribute__(holder, "__dict__")
    except AttributeError:
        names = None
    if names is one.held:
        return one.attributes
    found = _keys(names, one.held)
    for cls in type.__dict__["__mro__"].__get__(type(holder)):
        for name, member in list(type.__getattribute__(cls, "__dict__").items()):
            if type(member) is MemberDescriptorType:
                try:
                    if member.__get__(holder) is one.held:
                        found.add(name)
                except AttributeError:
                    continue  # the slot is empty
    return found
