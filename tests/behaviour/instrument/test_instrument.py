"""`moa.instrument` and `moa.uninstrument`: one layer, acting where it was asked to, gone without a trace."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import functools
import gc
import pickle
import subprocess
import sys
import threading
import types
import weakref

import openai
import pytest
import wrapt

import moa_middleware as moa
from moa_middleware._capture import log
from moa_middleware._capture.instrument import patch as _patch
from tests.support.sdk_worlds import MESSAGES, TEXT, world

HELLO = [{"role": "user", "content": "hello"}]


def attributes(*owners):
    """Return the very objects that classes hold: a wrapper compares equal to what it wraps."""
    return [{name: id(value) for name, value in vars(owner).items()} for owner in owners]


# Instances -----------------------------------------------------------------------------------------


class Plain:
    """A client that knows nothing of us."""

    def create(self, messages):
        return "plain"


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


# Once and back -------------------------------------------------------------------------------------


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


# The SDK -------------------------------------------------------------------------------------------


def ask(client):
    return client.chat.completions.create(model="m", messages=MESSAGES).choices[0].message.content


def test_only_the_instrumented_sdk_client_is_traced(turns):
    """Another client of the same class is not, and one `instrument` more is no second layer."""
    with world("mock") as made:
        client, other = made.client(), made.client()
        assert client is moa.instrument(moa.instrument(client))
        assert TEXT == ask(client) == ask(other)
        assert 1 == len(turns)
        moa.uninstrument(client)
        ask(client)
    assert 1 == len(turns)


def test_copies_of_an_sdk_client_are_traced(turns):
    """`with_options()` and `copy()`, and copies of copies; those of another client are not."""
    with world("mock") as made:
        client, other = moa.instrument(made.client()), made.client()
        for copied in (client.with_options(timeout=3), client.copy().with_options(max_retries=0)):
            ask(copied)
        ask(other.with_options(timeout=3))
    assert 2 == len(turns)


def test_copies_of_an_async_sdk_client_are_traced(turns):
    """The same for AsyncOpenAI."""
    with world("mock") as made:
        client = moa.instrument(made.async_client())

        async def main():
            for each in (client, client.with_options(timeout=3)):
                await each.chat.completions.create(model="m", messages=MESSAGES)

        asyncio.run(main())
    assert 2 == len(turns)


def test_an_sdk_class_is_instrumented_for_every_client_to_come(turns):
    """`moa.instrument(openai.OpenAI)`: each client made since is traced, until it is undone."""
    with world("mock") as made:
        before = made.client()
        had = attributes(openai.OpenAI)
        moa.instrument(openai.OpenAI)
        client = made.client()
        assert TEXT == ask(client) == ask(client.with_options(timeout=3))
        ask(before)
        moa.uninstrument(openai.OpenAI)
        ask(client)
    assert 2 == len(turns)
    assert had == attributes(openai.OpenAI)


def test_a_target_on_an_sdk_client_is_a_turn(turns):
    """`instrument(client, turn="chat.completions.create")`."""
    with world("mock") as made:
        client = moa.instrument(made.client(), turn="chat.completions.create")
        ask(client)
    assert [TEXT] == [record["output"] for record in turns]
    assert not turns[0]["implicit"]


def test_uninstrument_puts_the_sdk_back():
    """Its classes have the very functions that they had."""
    from openai.resources.chat.completions import AsyncCompletions, Completions

    owners = (Completions, AsyncCompletions, openai.OpenAI, openai.AsyncOpenAI)
    before = attributes(*owners)
    with world("mock") as made:
        client, later = moa.instrument(made.client()), moa.instrument(made.async_client())
        assert before != attributes(*owners)
        moa.uninstrument(client)
        moa.uninstrument(later)
        assert before[:2] == attributes(Completions, AsyncCompletions)
        moa.instrument(client)
        moa.uninstrument()
    assert before == attributes(*owners)


def test_stacks_whose_clients_are_gone_do_not_pile_up(turns):
    """A stack for each of many clients: what lies on the SDK's class is one wrapper at the end."""
    from openai.resources.chat.completions import Completions

    before = attributes(Completions)
    with world("mock") as made:
        for _ in range(20):
            client = moa.Stack().instrument(made.client())
            ask(client)
            client.close()
            del client
            gc.collect()
        moa.instrument(made.client())
        depth, value = 0, vars(Completions)["create"]
        while id(value) != before[0]["create"]:
            depth, value = depth + 1, value.__wrapped__
    assert (1, 20) == (depth, len(turns))


SCRIPT = """
import sys
import openai, httpx2
import moa_middleware as moa
from moa_middleware.testing import capture_turns

NAME = "openai.resources.chat.completions.completions"
BODY = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [
    {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}]}
transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=BODY, request=request))
client, other, gone = (
    openai.OpenAI(api_key="k", base_url="http://mock/v1", http_client=httpx2.Client(transport=transport))
    for _ in range(3)
)
loaded = set(sys.modules)
for each in (client, gone):
    moa.instrument(each)
moa.uninstrument(gone)
assert "chat" not in vars(client), vars(client)
new = {name for name in set(sys.modules) - loaded if name.startswith("openai.resources")}
assert not new, new
assert NAME not in sys.modules
with capture_turns() as turns:
    for each in (client, other, gone):
        each.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
assert ["hi"] == [turn["output"] for turn in turns], turns
"""


def test_the_sdk_is_not_touched_until_it_is_used():
    """`client.chat` is not loaded by instrument; when its module comes, the right clients are traced."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert ("", 0) == (done.stderr, done.returncode)


MANY = """
import sys
import openai, httpx2
import moa_middleware as moa
from moa_middleware.testing import capture_turns

BODY = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [
    {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}]}
transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=BODY, request=request))
client = openai.OpenAI(api_key="k", base_url="http://mock/v1", http_client=httpx2.Client(transport=transport))
stacks = [moa.Stack() for _ in range(40)]
for stack in stacks:
    stack.instrument(openai)
with capture_turns() as turns:
    client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
assert ["hi"] == [turn["output"] for turn in turns], turns
for stack in stacks:
    stack.uninstrument()
assert not hasattr(type(client.chat.completions).create, "_self_wrapper")
"""


def test_a_call_passes_forty_stacks_on_one_sdk_class():
    """It returns and is one turn. When each layer doubled what a missing name costs, the first call did not."""
    done = subprocess.run([sys.executable, "-c", MANY], capture_output=True, text=True, check=False, timeout=120)
    assert ("", 0) == (done.stderr, done.returncode)


def test_a_missing_name_is_asked_of_the_original_once_a_layer_at_most():
    """Under 40 stacks, on the function and on the bound method: two for each below would be 2 ** 40."""
    asked = []

    class Original:
        """A function that says what it is asked for and lacks; bound to an instance it is another."""

        def __call__(self, messages):
            return "original"

        def __get__(self, instance, _owner=None):
            return self if instance is None else Original()

        def __getattr__(self, name):
            asked.append(name)
            raise AttributeError(name)

    client = type("Client", (), {"create": Original()})
    stacks = [moa.Stack() for _ in range(40)]
    for stack in stacks:
        stack.instrument(client, call="create")
    for create in (vars(client)["create"], client().create):
        assert isinstance(create, wrapt.BaseObjectProxy)
        asked.clear()
        assert not hasattr(create, "missing")
        assert {"missing"} == set(asked)
        assert len(asked) <= 1 + len(stacks)
    for stack in stacks:
        stack.uninstrument()


# Errors --------------------------------------------------------------------------------------------


class Faulty:
    number = 3

    class chat:
        """It has no `create`."""

    def create(self, messages):
        return "x"

    @property
    def fresh(self):
        return Plain()


@pytest.mark.parametrize(
    ("obj", "targets", "words"),
    [
        (Faulty(), {"turn": "crate"}, "Faulty has no attribute 'crate' (target 'crate')"),
        (Faulty(), {"turn": "chat.create"}, "Faulty.chat has no attribute 'create' (target 'chat.create')"),
        (Faulty, {"turn": "chat.create"}, "Faulty.chat has no attribute 'create'"),
        (Faulty(), {"reference": ["create", "number"]}, "Faulty.number is a int, which cannot be called"),
        (Faulty(), {"turn": "fresh.create"}, "Faulty.fresh is a new object each time: instrument the class Plain"),
        (types.ModuleType("a.b"), {"turn": "run"}, "b has no attribute 'run' (target 'run')"),
        (types.SimpleNamespace(), {}, "SimpleNamespace has none of the known paths (chat.completions.create,"),
        (5, {}, "int has none of the known paths"),
        (5, {"turn": "bit_length"}, "int.bit_length cannot be replaced"),
    ],
)
def test_a_target_that_leads_nowhere_names_the_culprit(obj, targets, words):
    """The message says what has no such attribute, and nothing was touched."""
    before = attributes(Faulty)
    with pytest.raises(moa.TargetError) as caught:
        moa.instrument(obj, **targets)
    assert words in str(caught.value)
    assert isinstance(caught.value, LookupError)
    assert before == attributes(Faulty)


def test_an_object_that_cannot_be_referenced_weakly_is_refused_by_name():
    """A slotted client could not be told apart; the message says what to do."""

    class Slotted:
        __slots__ = ()

        def create(self, messages):
            return "x"

    with pytest.raises(moa.TargetError, match="Slotted objects cannot be referenced weakly"):
        moa.instrument(Slotted(), turn="create")


def test_an_unknown_keyword_is_an_error_that_names_it():
    """`turns=` instead of `turn=`, for `instrument` and for `client`."""
    with pytest.raises(TypeError, match=r"instrument.*'turns'"):
        moa.instrument(Plain(), turns="create")
    with pytest.raises(TypeError, match=r"client.*'turns'"):
        moa.client(turns="create")
