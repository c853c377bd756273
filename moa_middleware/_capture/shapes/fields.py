"""
The fields of somebody else's object: of a dict, a pydantic model, a look-alike or a plain object.

Two questions are asked of an object, and they differ. `get` and `getter` take whatever it answers,
properties included: they are for objects that are known to be an SDK's reply. `data_of` sees only
what is stored, and runs no code of the object: it is for objects of which nothing is known.
"""

from __future__ import annotations

from functools import lru_cache, partial
from types import GetSetDescriptorType, MemberDescriptorType, SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from ..flow.outcome import is_interrupt

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = [
    "answers_to_every_name",
    "data_of",
    "fields_of",
    "get",
    "getter",
    "has",
    "is_mock",
    "named_fields",
    "of_type",
]

_MOST = 512
"""How many types are remembered, and kept alive, for each fact."""


# What is found out once for a type is found out by a C call afterwards, which enters no frame of ours.
# The number of types is bounded because a program may make classes at run time (a pydantic model for
# each schema), and a cache without a bound would keep all of them alive.
def of_type(fact: Callable[[type], bool]) -> Callable[[type], bool]:
    """Remember what a function says of a type: to ask a pydantic class for what it lacks costs 2 µs each time."""
    return cast("Callable[[type], bool]", lru_cache(maxsize=_MOST)(fact))


@of_type
def answers_to_every_name(kind: type) -> bool:
    """Return True if a class has whatever name it is asked for, by its metaclass: then no name proves anything."""
    return hasattr(kind, "__moa_no_such_name__")


def is_mock(kind: type) -> bool:
    """Return True if it is a class of `unittest.mock`, or one that has any name that is asked for."""
    # A mock has any attribute that is asked for, so each would pass for a stream and for a manager; but
    # people compare mocks by identity (`test_a_mock_comes_back_as_itself`).
    return (hasattr(kind, "mock_calls") and hasattr(kind, "assert_has_calls")) or answers_to_every_name(kind)


_USUAL: tuple[Any, ...] = (object.__getattribute__, SimpleNamespace.__getattribute__)


@of_type
def _is_bare(kind: type) -> bool:
    """Return True if the attributes of such an object are the keys of its `__dict__`, as a `SimpleNamespace`'s are."""
    if kind.__getattribute__ not in _USUAL:
        return False
    found = {name: value for base in reversed(kind.__mro__) for name, value in vars(base).items()}
    # A name of the class's own may be a property, or a default that the object has not overridden: then
    # `getattr` finds it and the `__dict__` does not. Where the class has no such name, both find the
    # same. `__dict__` is a member of the C type in `SimpleNamespace`, and a get-set of Python's elsewhere.
    return (
        isinstance(found.get("__dict__"), GetSetDescriptorType | MemberDescriptorType)
        and "__getattr__" not in found
        and all(name.startswith("__") for name in found)
    )


def fields_of(obj: Any, *, models_only: bool = False) -> Any:
    """
    Return the fields of an object as a dict, where all its attributes are stored in one; else the object.

    A dict beats `getattr` by far: a pydantic model that is asked for what it lacks takes 1 µs.

    Args:
        obj: A dict, a pydantic model, whose extra fields are among the fields, or anything else.
        models_only: Whether a look-alike, whatever its class, is returned as it is.
    """
    if type(obj) is dict:
        return obj
    # Pydantic keeps the fields that a class does not declare, a new key of a provider's or OpenRouter's
    # `cost`, in a dict of their own; it is `None` for a class that allows none.
    try:
        extra = getattr(obj, "__pydantic_extra__", False)
    except BaseException as error:
        if is_interrupt(error):
            raise
        # `__getattr__ = dict.__getitem__` raises a `KeyError`, somebody's property whatever it likes.
        return dict.copy(obj) if issubclass(type(obj), dict) else obj
    if extra is None or type(extra) is dict:
        return {**obj.__dict__, **extra} if extra else obj.__dict__
    if issubclass(type(obj), dict):
        # Hugging Face's objects are dicts as well; a field that the class does not declare is an attribute only.
        own = getattr(obj, "__dict__", None)
        return own if type(own) is dict and own.keys() >= obj.keys() else dict.copy(obj)
    return obj.__dict__ if not models_only and _is_bare(type(obj)) else obj


def named_fields(obj: Any, names: Sequence[str]) -> dict[str, Any]:
    """
    Return the fields of an object as a dict, empty for `None`.

    Args:
        obj: The object.
        names: What it is asked for, where its fields are not in a dict already.
    """
    if obj is None:
        return {}
    fields = fields_of(obj)
    return fields if type(fields) is dict else {name: get(obj, name) for name in names}


def get(obj: Any, name: str) -> Any:
    """Return a key of a mapping or an attribute of anything else, `None` where it has none."""
    if issubclass(type(obj), dict):
        return dict.get(obj, name) if type(obj) is dict else fields_of(obj).get(name)
    try:
        return getattr(obj, name, None)
    except BaseException as error:  # a property, or a `__getattr__`, of the user's
        if is_interrupt(error):
            raise
        return None


def has(obj: Any, name: str) -> bool:
    """Return True if an object has an attribute, False also where it raises whatever it likes."""
    try:
        return hasattr(obj, name)
    except BaseException as error:
        if is_interrupt(error):
            raise
        return False


def getter(obj: Any) -> Callable[[str], Any]:
    """Return a function that looks names up as `get` does, for an object of which many are asked."""
    try:
        is_bare_model = not getattr(obj, "__pydantic_extra__", True)
    except BaseException as error:
        if is_interrupt(error):
            raise
        is_bare_model = False
    # The first is a model without extra fields, as most are: `fields_of` without its call.
    fields = obj.__dict__ if is_bare_model else obj if type(obj) is dict else fields_of(obj)
    return fields.get if type(fields) is dict else partial(get, fields)


@lru_cache(maxsize=_MOST)
def _slots_of(kind: type) -> tuple[tuple[str, ...] | None, Any]:
    """
    Return the names of a class's slots, and the descriptor of those fields that a pydantic class does not declare.

    The names are `None` for a proxy: what it has is not its own. The descriptor is `None` for other classes.
    """
    if any("__object_proxy__" in vars(base) for base in kind.__mro__):
        return None, None
    # By the class and not by `dir`, which asks the metaclass; a base's slot that a subclass hides behind
    # a property is not data any more, so later classes override earlier ones.
    found = {name: value for base in reversed(kind.__mro__) for name, value in vars(base).items()}
    members = {name: value for name, value in found.items() if isinstance(value, MemberDescriptorType)}
    return tuple(name for name in members if not name.startswith("__")), members.get("__pydantic_extra__")


def data_of(obj: Any) -> Mapping[str, Any]:
    """
    Return the keys of a dict or the data attributes of an object, empty where it has none.

    Those of a pydantic model include what its class does not declare: a provider's new keys, and all of
    an item of a type that the SDK is too old to know. Properties are left alone: `.text` and `.content`
    of an HTTP response read its body, and a stream that was read here would be empty for its owner.
    """
    kind: Any = type(obj)
    if issubclass(kind, dict):
        return cast("Mapping[str, Any]", obj)
    slots, undeclared = _slots_of(kind)
    if slots is None:
        return {}
    # Without the object's own `__getattribute__` and `__getattr__`.
    try:
        stored = object.__getattribute__(obj, "__dict__")
        extra = None if undeclared is None else undeclared.__get__(obj)
    except Exception:  # it has slots, or `__dict__` is a property; or the model was made without `__init__`
        stored = extra = None
    stored = stored if type(stored) is dict else {}
    if extra and type(extra) is dict:
        stored = {**stored, **extra}
    if not slots:
        return stored
    found = {}
    for name in slots:
        try:
            found[name] = object.__getattribute__(obj, name)
        except AttributeError:  # never filled
            found[name] = None
    return {**found, **stored}
