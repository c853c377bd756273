"""A script whose functions and classes go to another process by value: `by_value_program.py PICKLER FILE`."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import pickle
import sys
from typing import Generic, TypeVar

import moa_middleware as moa
from moa_middleware import reference, tag

T = TypeVar("T")
ANSWER = "a long answer to "


@moa.reference(label="mine", layer=2)
def ask(prompt):
    return ANSWER + prompt


@moa.aggregator(label=lambda prompt: f"label of {prompt}")
async def ask_later(prompt):
    return ANSWER + prompt


@moa.reference(label="mine")
def stream(prompt):
    yield ANSWER
    yield prompt


@moa.reference(label="mine")
async def stream_later(prompt):
    yield ANSWER
    yield prompt


@moa.turn(preset="duo")
def create(prompt):
    return ask(prompt)


@moa.reference
def recursive(prompt, level=2):
    return recursive(prompt, level - 1) if level else ANSWER + prompt


@moa.turn
def uses_tag(prompt):
    with tag(label="tagged"):
        return ask.__wrapped__(prompt) and plain_inside(prompt)


def plain_inside(prompt):
    return reference(lambda prompt: ANSWER + prompt)(prompt)


def hidden(prompt):
    return ANSWER + prompt


traced = moa.reference(label="mine")(hidden)
anonymous = moa.reference(label="mine")(lambda prompt: ANSWER + prompt)
bound_partial = functools.partial(ask, prompt="p")
inner_partial = moa.reference(label="mine")(functools.partial(hidden))


def make():
    prefix = ANSWER

    @moa.reference(label="mine")
    def local(prompt):
        return prefix + prompt

    return local


@moa.client(preset="client")
class Client:
    def __init__(self, prefix=ANSWER):
        self.prefix = prefix

    @moa.reference(label="mine")
    def ask(self, prompt):
        return self.prefix + prompt

    @classmethod
    @moa.reference(label="mine")
    def of_class(cls, prompt):
        return ANSWER + prompt

    @moa.reference(label="mine")
    @staticmethod
    def static(prompt):
        return ANSWER + prompt

    @staticmethod
    @moa.reference(label="mine")
    def static_inside(prompt):
        return ANSWER + prompt

    def create(self, prompt):
        return self.ask(prompt)


class Sub(Client):
    def create(self, prompt):
        return super().create(prompt)


class Base:
    def create(self, prompt):
        return ask(prompt)


@moa.client
class Inherits(Base):
    pass


class ByName:
    def ask(self, prompt):
        return ANSWER + prompt

    def create(self, prompt):
        return self.ask(prompt)


moa.instrument(ByName, turn="create", reference="ask")


class Instance:
    def create(self, prompt):
        return ANSWER + prompt


instance = moa.instrument(Instance(), turn="create")


class Inner:
    def create(self, prompt):
        return ask(prompt)


@moa.client(turn="inner.create")
class Dotted:
    def __init__(self):
        self.inner = Inner()


@moa.client(turn="inner.create")
class DottedInherits(Dotted):
    pass


@moa.client
class Hooked:
    subs = ()

    def __init_subclass__(cls):
        cls.subs = (*cls.subs, cls.__name__)

    def create(self, prompt):
        return ask(prompt)


class HookedSub(Hooked):
    pass


@moa.client
@dataclasses.dataclass
class Data:
    prefix: str = ANSWER

    def create(self, prompt):
        return ask(prompt)


@moa.client
@dataclasses.dataclass(slots=True, weakref_slot=True)
class Slotted:
    prefix: str = ANSWER

    def create(self, prompt):
        return ask(prompt)


@moa.client
class Typed(Generic[T]):
    def create(self, prompt: T) -> T:
        return ask(prompt)


def in_order(call):
    reply = yield call
    return reply.text + "!"


own_stack = moa.Stack([in_order])


@own_stack.reference(label="mine")
def on_own_stack(prompt):
    return ANSWER + prompt


def subclass_there(prompt):
    class There(Client):
        def create(self, prompt):
            return super().create(prompt)

    return There().create(prompt)


def instance_there(prompt):
    return Dotted().inner.create(prompt)


def subs_there(prompt):
    class There(HookedSub):
        pass

    return " ".join(There.subs)


client = Client()
CASES = {
    # name: (object, how it is called, lines, label of its first reference)
    "function": (ask, "", 1, "mine"),
    "coroutine function": (ask_later, "await", 1, "label of p"),
    "generator function": (stream, "list", 1, "mine"),
    "async generator function": (stream_later, "async list", 1, "mine"),
    "turn": (create, "", 1, "mine"),
    "recursive function": (recursive, "", 1, "recursive"),
    "decorator and tag by their own names": (uses_tag, "", 1, "tagged"),
    "under another name": (traced, "", 1, "mine"),
    "lambda": (anonymous, "", 1, "mine"),
    "plain lambda around one": (lambda prompt: [ask(prompt)][0], "", 1, "mine"),
    "partial of one": (bound_partial, "bare", 1, "mine"),
    "of a partial": (inner_partial, "", 1, "mine"),
    "local function": (make(), "", 1, "mine"),
    "class": (Client, "create", 1, "mine"),
    "instance": (client, "method", 1, "mine"),
    "bound method": (client.create, "", 1, "mine"),
    "bound reference": (client.ask, "", 1, "mine"),
    "function of a class": (Client.ask, "self", 1, "mine"),
    "class method": (Client.of_class, "", 1, "mine"),
    "static method": (Client.static, "", 1, "mine"),
    "static method inside": (Client.static_inside, "", 1, "mine"),
    "subclass": (Sub, "create", 1, "mine"),
    "instance of a subclass": (Sub(), "method", 1, "mine"),
    "inherited turn": (Inherits(), "method", 1, "mine"),
    "instrumented class": (ByName, "create", 1, "ask"),
    "instrumented instance": (instance, "method", 0, None),
    "dotted path": (Dotted, "inner", 1, "mine"),
    "instance with a dotted path": (Dotted(), "inner of", 1, "mine"),
    "dotted path of a subclass": (DottedInherits, "inner", 1, "mine"),
    "class with a hook of its own": (Hooked, "create", 1, "mine"),
    "dataclass": (Data(), "method", 1, "mine"),
    "dataclass with slots": (Slotted(), "method", 1, "mine"),
    "generic class": (Typed[str](), "method", 1, "mine"),
    "stack of its own": (on_own_stack, "", 1, "mine"),
    "subclass made there": (subclass_there, "", 1, "mine"),
    "instance made there": (instance_there, "", 1, "mine"),
    "hook called there": (subs_there, "", 0, None),
    "holder of them": ({"ask": [ask], "client": client}, "holder", 1, "mine"),
}

if __name__ == "__main__":
    pickler = importlib.import_module(sys.argv[1])
    if sys.argv[1] == "dill":
        pickler.settings["recurse"] = True  # else it leaves the globals of functions here
    found = {}
    for name, (value, how, *_) in CASES.items():
        try:
            found[name] = (how, pickler.dumps(value), None)
        except Exception as error:
            found[name] = (how, b"", f"{type(error).__name__}: {error}")
    with open(sys.argv[2], "wb") as file:
        pickle.dump(found, file)
