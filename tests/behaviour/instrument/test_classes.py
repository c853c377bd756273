"""`moa.instrument` on a class or module: its instances, its subclasses, and what its constructors do."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import functools
import pickle
import types

import pytest

import moa_middleware as moa
from moa_middleware._capture import log
from tests.support.instrumented import HELLO, Plain, attributes

# Classes -------------------------------------------------------------------------------------------


def test_a_dotted_path_on_a_class_is_resolved_on_each_instance(turns):
    """After `__init__`, on the attribute that it set; another instance has its own."""

    @moa.client(turn="create", reference="chat.ask")
    class Client:
        def __init__(self, name):
            self.chat = types.SimpleNamespace(ask=lambda messages: name)

        def create(self, messages):
            return self.chat.ask(messages)

    assert ["a", "b"] == [Client(name).create(HELLO) for name in "ab"]
    assert ["a", "b"] == [record["references"][0]["output"] for record in turns]
    assert [1, 1] == [record["totals"]["calls"] for record in turns]


def test_a_dotted_path_is_resolved_after_the_init_of_a_subclass(turns):
    """What the subclass puts in its place after `super().__init__()` is what is traced."""

    @moa.client(turn="chat.create")
    class Base:
        def __init__(self):
            self.chat = None

    class Child(Base):
        def __init__(self):
            super().__init__()
            self.chat = Plain()

    class Grandchild(Child):
        pass

    for cls in (Child, Grandchild):
        assert "plain" == cls().chat.create(HELLO)
    assert 2 == len(turns)


def test_a_path_through_a_property_slot_or_default_is_the_instances(turns):
    """The class has the name, but what it leads to has the instance."""

    class Slotted:
        __slots__ = ("chat",)

        def __init__(self):
            self.chat = Plain()

    class Lazy:
        @functools.cached_property
        def chat(self):
            return Plain()

    @dataclasses.dataclass
    class Data:
        chat: Plain | None = None

    for cls in (Slotted, Lazy, Data):
        moa.instrument(cls, turn="chat.create")
    Slotted().chat.create(HELLO)
    Lazy().chat.create(HELLO)
    Data(Plain()).chat.create(HELLO)
    assert 3 == len(turns)


def test_a_path_that_an_instance_lacks_breaks_no_constructor(caplog):
    """It is logged, and the object is there."""
    log.forget()
    moa.instrument(Plain, turn="chat.create")
    assert "plain" == Plain().create(HELLO)
    assert any("chat.create" in record.getMessage() for record in caplog.records)


def test_arguments_for_new_still_reach_it(turns):
    """A class with `__new__` and without `__init__` is made as before."""

    @moa.client(turn="chat.create")
    class Client:
        def __new__(cls, name, *, flag=False):
            self = super().__new__(cls)
            self.chat = Plain()
            self.name = name
            return self

    assert "a" == Client("a", flag=True).name
    Client("a").chat.create(HELLO)
    assert 1 == len(turns)


def test_cooperative_inits_are_not_skipped():
    """A class without `__init__` of its own still hands on to the next one of the instance's MRO."""

    class Root:
        def __init__(self):
            self.root = True

    @moa.client(turn="chat.create")
    class Left(Root):
        pass

    class Right(Root):
        def __init__(self):
            super().__init__()
            self.right = True
            self.chat = Plain()

    class Both(Left, Right):
        pass

    both = Both()
    assert (True, True) == (both.root, both.right)


def test_constructor_errors_are_those_of_the_class():
    """Too many arguments are a TypeError as before."""

    @moa.client(turn="chat.create")
    class Client:
        pass

    with pytest.raises(TypeError):
        Client(1)


def test_an_override_of_a_subclass_is_a_turn(turns):
    """Also one that was defined before the class was instrumented, and one two levels down."""

    class Base:
        def create(self, messages):
            return "base"

    class Before(Base):
        def create(self, messages):
            return "before"

    moa.client(Base)

    class After(Base):
        def create(self, messages):
            return "after"

    class Deep(After):
        def create(self, messages):
            return "deep"

    for cls in (Base, Before, After, Deep):
        cls().create(HELLO)
    assert ["base", "before", "after", "deep"] == [record["output"] for record in turns]


def test_super_joins_the_same_turn(turns):
    """Three classes deep, and asked twice, it is one record with all the calls."""

    @moa.client(reference="ask")
    class Base:
        def ask(self, messages):
            return "asked"

        def create(self, messages):
            return self.ask(messages)

    class Middle(Base):
        def create(self, messages):
            return super().create(messages) + super().create(messages)

    class Top(Middle):
        def create(self, messages):
            return super().create(messages)

    assert "askedasked" == Top().create(HELLO)
    assert [("askedasked", 2)] == [(record["output"], len(record["references"])) for record in turns]


def test_async_super_joins_the_same_turn(turns):
    """The same for coroutines and for async generators."""

    @moa.client(turn=["create", "stream"], reference="ask")
    class Base:
        async def ask(self, messages):
            return "asked"

        async def create(self, messages):
            return await self.ask(messages)

        async def stream(self, messages):
            yield await self.ask(messages)

    class Child(Base):
        async def create(self, messages):
            return await super().create(messages)

        async def stream(self, messages):
            async for chunk in super().stream(messages):
                yield chunk

    async def main():
        await Child().create(HELLO)
        return [chunk async for chunk in Child().stream(HELLO)]

    assert ["asked"] == asyncio.run(main())
    assert [("asked", 1), ("asked", 1)] == [(r["output"], len(r["references"])) for r in turns]


def test_super_in_a_class_method_joins_the_same_turn(turns):
    """The class itself is who the turn is told by."""

    @moa.client
    class Base:
        @classmethod
        def create(cls, messages):
            return cls.__name__

    class Child(Base):
        @classmethod
        def create(cls, messages):
            return super().create(messages)

    assert "Child" == Child.create(HELLO)
    assert 1 == len(turns)


def test_super_in_a_class_method_joins_whichever_decorator_is_inside(turns):
    """From Python 3.13 on a class method calls the decorator inside it with the class, and does not bind it."""

    class Base:
        @classmethod
        @moa.turn
        def inside(cls, messages):
            return cls.__name__

        @moa.turn
        @classmethod
        def outside(cls, messages):
            return cls.__name__

    class Child(Base):
        @classmethod
        @moa.turn
        def inside(cls, messages):
            return super().inside(messages)

        @moa.turn
        @classmethod
        def outside(cls, messages):
            return super().outside(messages)

    assert ["Child", "Child"] == [Child.inside(HELLO), Child().inside(HELLO)]
    assert ["Child", "Child"] == [Child.outside(HELLO), Child().outside(HELLO)]
    assert 4 == len(turns)


def test_a_recursion_is_a_nested_turn(turns):
    """`self.create()` inside `create` is another turn, also where `super()` lies between."""

    @moa.client
    class Base:
        def create(self, messages, depth=1):
            return self.create(messages, depth=depth - 1) if depth else "deep"

    class Child(Base):
        def create(self, messages, depth=1):
            return super().create(messages, depth=depth)

    for cls in (Base, Child):
        turns.clear()
        cls().create(HELLO)
        inner, outer = turns
        assert outer["turn_id"] == inner["parent_turn_id"]
        assert [inner["turn_id"]] == outer["turns"]


def test_another_object_of_the_class_is_a_nested_turn(turns):
    """A client that asks a client of its own class is two turns."""

    @moa.client
    class Client:
        def __init__(self, inner=None):
            self.inner = inner

        def create(self, messages):
            return self.inner.create(messages) if self.inner else "x"

    Client(Client()).create(HELLO)
    assert 2 == len(turns)


def test_the_users_init_subclass_still_runs():
    """With its keywords, and for the very subclass."""
    seen = []

    @moa.client
    class Base:
        def __init_subclass__(cls, flag=0, **kwargs):
            super().__init_subclass__(**kwargs)
            seen.append((cls.__name__, flag))

        def create(self, messages):
            return "x"

    class Child(Base, flag=3):
        pass

    class Grandchild(Child):
        pass

    assert [("Child", 3), ("Grandchild", 0)] == seen


def test_a_class_without_the_keyword_still_refuses_it():
    """`class Child(Base, flag=1)` is a TypeError as before."""
    moa.client(type("Base", (), {"create": lambda self, messages: "x"}))

    @moa.client
    class Base:
        def create(self, messages):
            return "x"

    with pytest.raises(TypeError):

        class Child(Base, flag=1):
            pass


def test_a_subclass_may_switch_the_method_off():
    """`create = None` in a subclass is no error at its definition."""

    @moa.client
    class Base:
        def create(self, messages):
            return "x"

    class Child(Base):
        create = None

    assert Child.create is None


@pytest.mark.parametrize("slots", [False, True])
def test_dataclasses_may_be_decorated_above_and_below(turns, slots):
    """`dataclass(slots=True)` makes the class anew; subclasses of that one work too."""

    @dataclasses.dataclass(slots=slots)
    @moa.client
    class Client:
        name: str

        def create(self, messages):
            return self.name

    @moa.client
    @dataclasses.dataclass(slots=slots)
    class Below:
        name: str

        def create(self, messages):
            return self.name

    class Child(Client):
        def create(self, messages):
            return super().create(messages)

    for cls in (Client, Below, Child):
        assert "n" == cls("n").create(HELLO)
    assert 3 == len(turns)


def test_objects_made_without_init_are_traced(turns):
    """`__new__` alone, `copy`, `deepcopy` and `pickle` make clients whose turns are recorded."""
    made = PickledClient.__new__(PickledClient)
    made.name = "new"
    for client in (made, copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        moa.client(PickledClient)
        assert "new" == client.create(HELLO)
    assert 4 == len(turns)


class PickledClient:
    def __init__(self, name):
        self.name = name

    def create(self, messages):
        return self.name


def test_a_partial_method_and_a_nested_class_can_be_named(turns):
    """Targets of every shape: a partialmethod, and a method of a class inside the class."""

    class Client:
        class chat:
            @staticmethod
            def ask(messages):
                return "asked"

        def _ask(self, model, messages):
            return model

        fast = functools.partialmethod(_ask, "fast")

    before = attributes(Client)
    moa.instrument(Client, reference=["fast", "chat.ask"])
    assert ("fast", "asked") == (Client().fast(HELLO), Client.chat.ask(HELLO))
    assert ["fast", "asked"] == [record["references"][0]["output"] for record in turns]
    moa.uninstrument(Client)
    assert before == attributes(Client)


# Modules -------------------------------------------------------------------------------------------


def test_a_module_is_instrumented_by_name(turns):
    """Its functions, and methods of its classes."""
    module = types.ModuleType("somebodys")
    module.answer = answer = lambda messages: module.propose("m", messages)
    module.propose = lambda model, messages: model
    module.Client = type("Client", (), {"create": lambda self, messages: "c"})
    assert module is moa.instrument(module, turn=["answer", "Client.create"], reference="propose")
    assert ("m", "c") == (module.answer(HELLO), module.Client().create(HELLO))
    assert [1, 0] == [len(record["references"]) for record in turns]
    moa.uninstrument(module)
    assert answer is module.answer
    assert isinstance(vars(module.Client)["create"], types.FunctionType)
