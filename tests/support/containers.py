"""Containers of messages, as programs have them: each is a function of a list of dicts, and makes a new one each time."""

from __future__ import annotations

import types
from collections import ChainMap, OrderedDict, UserDict, UserList, deque
from collections.abc import Mapping, Sequence

import pydantic


class OwnSequence(Sequence):
    """A sequence by `__getitem__` and `__len__`; counts its walks."""

    def __init__(self, items):
        self.items = items
        self.walks = 0

    def __getitem__(self, index):
        self.walks += index == 0
        return self.items[index]

    def __len__(self):
        return len(self.items)


class OwnIterable:
    """Something that can be walked once or often, and counts it."""

    def __init__(self, items):
        self.items = items
        self.walks = 0

    def __iter__(self):
        self.walks += 1
        return iter(self.items)


class OwnIterator:
    """An iterator of a class of the user's: what was taken from it is gone."""

    def __init__(self, items):
        self.items = list(items)
        self.taken = 0

    def __iter__(self):
        return self

    def __next__(self):
        if self.taken == len(self.items):
            raise StopIteration
        self.taken += 1
        return self.items[self.taken - 1]


class OwnMapping(Mapping):
    """A mapping by `__getitem__`."""

    def __init__(self, items):
        self.items_of = dict(items)

    def __getitem__(self, key):
        return self.items_of[key]

    def __iter__(self):
        return iter(self.items_of)

    def __len__(self):
        return len(self.items_of)


class Lazy(pydantic.BaseModel):
    """Holds what is iterated as pydantic's lazy `ValidatorIterator`."""

    items: pydantic.SkipValidation[object] = None


def lazily(items):
    """Return pydantic's own lazy iterator of items."""
    return pydantic.TypeAdapter(__import__("typing").Iterable[dict]).validate_python(items)


class Message(pydantic.BaseModel):
    """A message of a program that validates what it gets."""

    model_config = pydantic.ConfigDict(extra="allow")


def generator(items):
    """Return a generator of items."""
    return (item for item in items)


SEQUENCES = {
    "tuple": tuple,
    "deque": deque,
    "UserList": UserList,
    "dict.values()": lambda items: dict(enumerate(items)).values(),
    "own sequence": OwnSequence,
    "own iterable": OwnIterable,
    "own iterator": OwnIterator,
    "generator": generator,
    "map": lambda items: map(dict, items),
    "ValidatorIterator": lazily,
}
MAPPINGS = {
    "OrderedDict": OrderedDict,
    "UserDict": UserDict,
    "ChainMap": lambda message: ChainMap({"role": message["role"]}, message),
    "MappingProxyType": types.MappingProxyType,
    "own mapping": OwnMapping,
    "pydantic": lambda message: Message(**message),
}


def with_lists(value, make):
    """Return a message in which each list is made anew; the message itself stays a dict."""
    return {key: make(item) if isinstance(item, list) else item for key, item in value.items()}


CONTAINERS = {
    **{f"messages in {name}": make for name, make in SEQUENCES.items()},
    **{
        f"message as {name}": lambda items, make=make: [make(item) for item in items] for name, make in MAPPINGS.items()
    },
    **{
        f"parts in {name}": lambda items, make=make: [with_lists(item, make) for item in items]
        for name, make in SEQUENCES.items()
    },
    "everything": lambda items: OwnIterator([UserDict(with_lists(item, generator)) for item in items]),
}
