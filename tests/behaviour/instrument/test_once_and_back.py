"""`moa.instrument` twice is one layer, and `moa.uninstrument` leaves nothing behind."""

from __future__ import annotations

import gc
import sys
import threading
import types
import weakref

import pytest

import moa_middleware as moa
from moa_middleware._capture.instrument import patch as _patch
from tests.support.instrumented import HELLO, Plain, attributes


@pytest.mark.parametrize("target", ["instance", "class", "module"])
def test_instrumenting_twice_is_one_layer_and_goes_at_once(turns, target):
    """Twice the same is one record a call, and one `uninstrument` puts the original back."""
    fake, owner, obj, path = _target(target)
    before = vars(owner)["create"]
    names_before = set(vars(owner))
    for _ in range(2):
        assert obj is moa.instrument(obj, turn=path)
    fake()
    assert 1 == len(turns)
    moa.uninstrument(obj)
    fake()
    assert 1 == len(turns)
    assert before is vars(owner)["create"]
    assert names_before == set(vars(owner))


def _target(kind):
    class Client:
        def create(self, messages):
            return "x"

    if kind == "module":
        module = types.ModuleType("somebodys")
        module.create = lambda messages: "x"
        return (lambda: module.create(HELLO)), module, module, "create"
    client = Client()
    return (lambda: client.create(HELLO)), Client, client if kind == "instance" else Client, "create"


def test_uninstrument_puts_the_class_back_as_it_was():
    """Methods, an inherited `create`, `__init_subclass__` and `__init__`: nothing of ours is left."""

    class Base:
        def create(self, messages):
            return "base"

    class Client(Base):
        def ask(self, messages):
            return "ask"

    class Own(Base):
        def __init__(self):
            self.chat = Plain()

        def __init_subclass__(cls, **kwargs):
            super().__init_subclass__(**kwargs)

    before = attributes(Base, Client, Own)
    moa.client(reference="ask")(Client)
    moa.client(reference="chat.create")(Own)
    moa.client(turn="create", reference="chat.create")(Client)
    moa.client(Base)

    class Child(Own):
        def __init__(self):
            super().__init__()

        def create(self, messages):
            return "child"

    moa.uninstrument()
    assert before == attributes(Base, Client, Own)
    assert isinstance(vars(Child)["create"], types.FunctionType)
    assert isinstance(vars(Child)["__init__"], types.FunctionType)


@pytest.mark.parametrize("first", [0, 1])
def test_two_stacks_come_off_in_any_order(first):
    """The original is back although the other stack's wrapper lay over it."""

    class Client:
        def create(self, messages):
            return "x"

    before = attributes(Client)
    stacks = [moa.Stack(), moa.Stack()]
    for stack in stacks:
        stack.client(reference="chat.create")(Client)
    stacks[first].uninstrument()
    stacks[1 - first].uninstrument()
    assert before == attributes(Client)


def test_a_turn_and_a_call_on_one_method_come_off_together(turns):
    """Two kinds are two layers: the turn and the call in it; both go."""

    class Client:
        def create(self, messages):
            return "x"

    original = Client.create
    moa.instrument(Client, turn="create")
    moa.instrument(Client, aggregator="create")
    moa.uninstrument(Client)
    assert original is Client.create


def test_what_was_wrapped_by_others_since_stays_wrapped(turns):
    """A wrapper that somebody put around ours is not torn off; ours does nothing any more."""

    class Client:
        def create(self, messages):
            return "x"

    moa.instrument(Client, turn="create")
    ours = Client.create
    Client.create = theirs = lambda self, messages: ours(self, messages) + "!"
    moa.uninstrument(Client)
    assert theirs is Client.create
    assert "x!" == Client().create(HELLO)
    assert [] == turns


def test_what_was_replaced_since_is_instrumented_anew(turns):
    """A new function under the name is traced when it is asked for again."""

    class Client:
        def create(self, messages):
            return "old"

    moa.instrument(Client, turn="create")
    Client.create = new = lambda self, messages: "new"
    moa.instrument(Client, turn="create")
    assert "new" == Client().create(HELLO)
    assert ["new"] == [record["output"] for record in turns]
    moa.uninstrument()
    assert new is Client.create


def test_uninstrumenting_one_leaves_the_others(turns):
    """An instance goes, its neighbour and the class stay instrumented."""
    one, other = moa.instrument(Plain(), turn="create"), moa.instrument(Plain(), turn="create")
    moa.uninstrument(one)
    one.create(HELLO)
    other.create(HELLO)
    assert 1 == len(turns)


def test_uninstrumenting_what_never_was_instrumented_is_no_error():
    """It does nothing, whatever it is given."""
    for obj in (Plain(), Plain, sys, 5):
        assert moa.uninstrument(obj) is None


def test_threads_that_instrument_one_class_make_one_layer(turns):
    """Eight threads at once; one `create` is one turn, and one `uninstrument` is enough."""

    class Client:
        def create(self, messages):
            return "x"

    original = Client.create
    start = threading.Barrier(8)

    def work():
        start.wait()
        moa.instrument(Client, turn="create")

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    Client().create(HELLO)
    assert 1 == len(turns)
    moa.uninstrument(Client)
    assert original is Client.create


def test_a_class_that_nobody_needs_is_collected():
    """Classes made and decorated in a function do not stay for ever."""

    def make():
        @moa.client(reference="chat.create")
        class Client:
            def create(self, messages):
                return "x"

        return weakref.ref(Client)

    gone = make()
    gc.collect()
    assert gone() is None
    assert all(patch.owner is not None for patch in _patch._patches.values())
