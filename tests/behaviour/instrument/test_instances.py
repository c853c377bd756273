"""`moa.instrument` on one object: it comes back itself, and its neighbours are left alone."""

from __future__ import annotations

import dataclasses
import gc
import types
import weakref

import pytest

import moa_middleware as moa
from tests.support.instrumented import HELLO, Plain


def test_an_instance_comes_back_itself(turns):
    """`instrument` returns the very object, and each `create` is a turn."""
    client = Plain()
    assert client is moa.instrument(client, turn="create")
    assert "plain" == client.create(HELLO)
    assert ["plain"] == [record["output"] for record in turns]


def test_other_instances_of_the_class_are_left_alone(turns):
    """Only the instrumented object is traced."""
    moa.instrument(Plain(), turn="create").create(HELLO)
    Plain().create(HELLO)
    assert 1 == len(turns)


def test_nothing_is_kept_on_the_instance():
    """The instance's own attributes are the same before and after."""
    client = Plain()
    client.name = "a"
    moa.instrument(client, turn="create")
    assert {"name": "a"} == vars(client)


def test_an_instrumented_instance_can_be_collected():
    """Instrumenting keeps no object alive, and nothing about it is remembered."""
    from moa_middleware._capture.instrument import patch

    before = len(patch._undos)
    for _ in range(3):
        client = moa.instrument(Plain(), turn="create")
    gone = weakref.ref(client)
    del client
    gc.collect()
    assert gone() is None
    assert before == len(patch._undos)


def test_an_instance_and_one_of_its_subclass_are_both_traced(turns):
    """A patch that acts for a base's instance does not hide one that is asked for later."""

    class Child(Plain):
        pass

    client, child = Plain(), Child()
    moa.instrument(client, turn="create")
    moa.instrument(child, turn="create")
    client.create(HELLO)
    child.create(HELLO)
    Child().create(HELLO)
    assert 2 == len(turns)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
def test_an_instance_its_class_and_its_base_are_one_layer(turns, order):
    """Whatever is instrumented first, one `create` is one turn."""

    class Base:
        def create(self, messages):
            return "base"

    class Child(Base):
        pass

    child = Child()
    for index in order:
        moa.instrument((child, Child, Base)[index], turn="create")
    child.create(HELLO)
    assert 1 == len(turns)
    moa.uninstrument()
    child.create(HELLO)
    assert 1 == len(turns)
    assert "create" not in vars(Child)
    assert isinstance(vars(Base)["create"], types.FunctionType)


def test_an_attribute_of_the_instance_itself_is_replaced_and_put_back(turns):
    """A function in the instance's dict is wrapped there, and the very function comes back."""
    client = Plain()
    client.ask = own = lambda messages: "own"
    moa.instrument(client, reference="ask")
    assert "own" == client.ask(HELLO)
    assert 1 == len(turns)
    moa.uninstrument(client)
    assert own is client.ask
    assert own is vars(client)["ask"]


def test_a_name_that_getattr_makes_up_can_be_instrumented(turns):
    """A delegating client has no such attribute anywhere; it is put on the instance and removed again."""

    class Delegating:
        def __init__(self):
            self.inner = Plain()

        def __getattr__(self, name):
            return getattr(self.inner, name)

    client = moa.instrument(Delegating(), turn="create")
    assert "plain" == client.create(HELLO)
    assert 1 == len(turns)
    moa.uninstrument(client)
    assert ["inner"] == list(vars(client))


def test_static_and_class_methods_of_an_instance_are_traced(turns):
    """They do not say for whom they were called; the instance's are traced, others' are not."""

    class Client:
        @staticmethod
        def fixed(messages):
            return "fixed"

        @classmethod
        def made(cls, messages):
            return cls.__name__

    client = moa.instrument(Client(), reference=["fixed", "made"])
    assert ("fixed", "Client") == (client.fixed(HELLO), client.made(HELLO))
    assert ("fixed", "Client") == (Client.fixed(HELLO), Client().made(HELLO))
    assert ["fixed", "made"] == [record["references"][0]["label"] for record in turns]
    moa.uninstrument(client)
    assert {} == vars(client)


def test_a_dotted_path_of_an_instance_is_followed(turns):
    """`chat.completions.create` of an object of one's own."""
    client = types.SimpleNamespace(chat=types.SimpleNamespace(completions=Plain()))
    moa.instrument(client, turn="chat.completions.create")
    client.chat.completions.create(HELLO)
    Plain().create(HELLO)
    assert 1 == len(turns)
    moa.uninstrument(client)
    client.chat.completions.create(HELLO)
    assert 1 == len(turns)


def test_objects_that_are_neither_hashable_nor_comparable_are_told_apart(turns):
    """Clients are known by identity: dataclasses compare by value and have no hash."""

    @dataclasses.dataclass
    class Client:
        name: str

        def create(self, messages):
            return self.name

    one, other = Client("same"), Client("same")
    moa.instrument(one, turn="create")
    one.create(HELLO)
    other.create(HELLO)
    assert 1 == len(turns)
