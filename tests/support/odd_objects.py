"""Objects that are asked for their attributes and answer in no usual way; each function makes a new one."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import MagicMock, Mock


class Odd(BaseException):
    """Neither an `Exception` nor an interrupt."""


class AttrDict(dict):
    """The usual idiom: a name that is missing is a `KeyError`."""

    __getattr__ = dict.__getitem__


class Raises:
    """Has no attribute, and raises something else than `AttributeError` for each."""

    def __init__(self, error):
        self.__dict__["error"] = error

    def __getattr__(self, name):
        raise self.error("not here")

    def __repr__(self):
        raise self.error("no repr")


class Strict:
    """Has its fields, and raises a `KeyError` for what it lacks, also for special names."""

    def __init__(self, **fields):
        self.__dict__.update(fields)

    def __getattribute__(self, name):
        fields = object.__getattribute__(self, "__dict__")
        if name == "__dict__" or name in fields:
            return fields if name == "__dict__" else fields[name]
        if name in ("__class__", "__repr__"):
            return object.__getattribute__(self, name)
        raise KeyError(name)


class Itself:
    """Every attribute is the object itself."""

    def __getattr__(self, name):
        return self


class Calls:
    """Every attribute can be called."""

    def __getattr__(self, name):
        return lambda *_, **__: None


class _AnyName(type):
    def __getattr__(cls, name):
        return lambda *_, **__: cls


class OfAnyName(metaclass=_AnyName):
    """The class has every name that it is asked for."""

    def __getattr__(self, name):
        return self


class Nothing:
    """Not even its class can be asked for."""

    def __getattribute__(self, name):
        raise RuntimeError(name)


class Lying:
    """Raises where it is asked for its class, as a lazy object may."""

    @property
    def __class__(self):
        raise KeyError("class")


ODD = {
    "AttrDict": lambda: AttrDict(a=1),
    "RuntimeError": lambda: Raises(RuntimeError),
    "KeyError": lambda: Raises(KeyError),
    "BaseException": lambda: Raises(Odd),
    "itself": Itself,
    "callables": Calls,
    "any name": OfAnyName,
    "nothing": Nothing,
    "lying": Lying,
    "mock": Mock,
    "magic mock": MagicMock,
}


def attr_dict(value):
    """Return a value with an `AttrDict` for each dict."""
    if isinstance(value, dict):
        return AttrDict({key: attr_dict(item) for key, item in value.items()})
    return [attr_dict(item) for item in value] if isinstance(value, list) else value


def strict(value):
    """Return a value with a `Strict` for each dict."""
    if isinstance(value, dict):
        return Strict(**{key: strict(item) for key, item in value.items()})
    return [strict(item) for item in value] if isinstance(value, list) else value


def raising(value):
    """Return a value with a namespace for each dict whose class has a property that raises."""
    if isinstance(value, dict):
        return _Raising(**{key: raising(item) for key, item in value.items()})
    return [raising(item) for item in value] if isinstance(value, list) else value


class _Raising(SimpleNamespace):
    @property
    def __pydantic_extra__(self):
        raise Odd("a property")

    @property
    def _hidden_params(self):
        raise RuntimeError("a property")


HOLDERS = {"AttrDict": attr_dict, "strict": strict, "raising property": raising}
"""What makes objects of dicts; all that a dict says can be read from them."""
