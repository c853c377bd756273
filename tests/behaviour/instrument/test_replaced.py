"""A client whose instances have another `create` than their class is recorded as a turn, once."""

from __future__ import annotations

import asyncio
import copy
import inspect
import pickle
import traceback
from dataclasses import dataclass, field
from functools import cached_property, partial

import pytest
from structlog.testing import capture_logs

import moa_middleware as moa

ANSWER = "a long answer to "


class Other:
    def answer(self, prompt):
        return ANSWER + prompt


class Plain:
    """What the clients below share: a method of their own."""

    def create(self, prompt):
        return ANSWER + prompt

    def _v2(self, prompt):
        return ANSWER + prompt


class Method(Plain):
    def __init__(self):
        self.create = self._v2


class Partial(Plain):
    def __init__(self):
        self.create = partial(self._v2)


class Lambda(Plain):
    def __init__(self):
        self.create = lambda prompt: ANSWER + prompt


class OfAnother(Plain):
    def __init__(self):
        self.create = Other().answer


class AroundItsOwn(Plain):
    def __init__(self):
        own = self.create
        self.create = lambda prompt: [own(prompt)][0]


class PartialOfItsOwn(Plain):
    def __init__(self):
        self.create = partial(self.create)


class CallsTheClasss(Plain):
    def __init__(self):
        self.create = lambda prompt: type(self).create(self, prompt)


class Itself(Plain):
    def __init__(self):
        self.create = self.create


class BySetattr(Plain):
    def __init__(self):
        setattr(self, "create", self._v2)


class InAHelper(Plain):
    def __init__(self):
        self._set_up()

    def _set_up(self):
        self.create = self._v2


class OnlyThere:
    def __init__(self):
        self.create = lambda prompt: ANSWER + prompt


class Slots:
    __slots__ = ("create",)

    def __init__(self):
        self.create = lambda prompt: ANSWER + prompt


class Cached:
    @cached_property
    def create(self):
        return lambda prompt: ANSWER + prompt


class Checked(cached_property):
    """A cached property that does more: it counts how often it was asked."""

    asked = 0

    def __get__(self, instance, owner=None):
        self.asked += 1
        return super().__get__(instance, owner)


class CachedByAnother:
    @Checked
    def create(self):
        return lambda prompt: ANSWER + prompt


class Made:
    def __getattr__(self, name):
        if name == "create":
            return lambda prompt: ANSWER + prompt
        raise AttributeError(name)


class Inherits(Method):
    def __init__(self):
        super().__init__()
        self.more = 1


class SubOfSub(Inherits):
    pass


@dataclass
class Data(Plain):
    name: str = "duo"
    made: list = field(default_factory=list)

    def __post_init__(self):
        self.create = self._v2


FORMS = [
    *(Method, Partial, Lambda, OfAnother, AroundItsOwn, PartialOfItsOwn, CallsTheClasss, Itself, BySetattr, InAHelper),
    *(OnlyThere, Slots, Cached, CachedByAnother, Made, Inherits, SubOfSub, Data),
]


def fresh(kind):
    """Return a class like another, without what an earlier test did to that: its bases are copied too."""
    bases = tuple(fresh(base) if base is not object else base for base in kind.__bases__)
    left_out = ("__dict__", "__weakref__", "create") if kind is Slots else ("__dict__", "__weakref__")
    names = {name: value for name, value in vars(kind).items() if name not in left_out}
    if kind in (Cached, CachedByAnother):
        made = vars(kind)["create"]
        names["create"] = type(made)(made.func)
    return type(kind)(kind.__name__, bases, names)


@pytest.mark.parametrize("by", ["client", "instrument"])
@pytest.mark.parametrize("kind", FORMS, ids=lambda kind: kind.__name__)
def test_a_create_of_the_instance_is_the_turn_once(turns, kind, by):
    """However it is made, and also where it calls the one of the class."""
    if kind in (Inherits, SubOfSub):  # `super().__init__` refers to the class itself
        kind = moa.client(kind)
    else:
        kind = moa.client(fresh(kind)) if by == "client" else moa.instrument(fresh(kind), turn="create")
    first, second = kind(), kind()
    assert [ANSWER + "p", ANSWER + "q"] == [first.create("p"), second.create("q")]
    assert [(False, ANSWER + "p"), (False, ANSWER + "q")] == [(line["implicit"], line["output"]) for line in turns]
    assert 2 == len({line["turn_id"] for line in turns})
    moa.uninstrument(kind)
    assert [ANSWER + "p", ANSWER + "q"] == [first.create("p"), kind().create("q")]
    assert 2 == len(turns)


def test_an_instance_whose_method_was_replaced_later(turns):
    """It is instrumented by itself, and what it calls of its class joins the turn."""
    client = moa.client(fresh(Plain))()
    own = client.create
    client.create = lambda prompt: own(prompt) and type(client).create(client, prompt)
    moa.instrument(client, turn="create")
    assert ANSWER + "p" == client.create("p")
    assert [False] == [line["implicit"] for line in turns]
    moa.uninstrument(client)
    assert "<lambda>" == client.create.__name__


def test_super_of_a_client_that_is_replaced(turns):
    """A subclass replaces it in its own `__init__`, the decorated base does not."""

    @moa.client
    class Base:
        def create(self, prompt):
            return ANSWER + prompt

    class Sub(Base):
        def __init__(self):
            self.create = lambda prompt: super(Sub, self).create(prompt)

    assert ANSWER + "p" == Sub().create("p")
    assert ANSWER + "q" == Base().create("q")
    assert [False, False] == [line["implicit"] for line in turns]


def test_references_inside_belong_to_it(turns):
    """In a coroutine function too."""

    @moa.client
    class Client:
        def __init__(self):
            self.create = self._both

        @moa.reference
        async def ask(self, prompt):
            return ANSWER + prompt

        async def _both(self, prompt):
            return " ".join(await asyncio.gather(self.ask(prompt), self.ask(prompt)))

        async def create(self, prompt):
            raise NotImplementedError

    assert inspect.iscoroutinefunction(Client().create)
    assert f"{ANSWER}p {ANSWER}p" == asyncio.run(Client().create("p"))
    (line,) = turns
    assert 2 == len(line["references"])


def test_a_stream_of_it_ends_the_turn(turns):
    """The turn is over when its stream is."""

    @moa.client
    class Client:
        def __init__(self):
            self.create = self._stream

        def _stream(self, prompt):
            yield ANSWER
            yield prompt

        def create(self, prompt):
            raise NotImplementedError

    stream = Client().create("p")
    assert ANSWER == next(stream)
    assert not turns
    assert ["p"] == list(stream)
    assert [ANSWER + "p"] == [line["output"] for line in turns]


def test_an_agent_that_calls_itself_begins_a_turn_inside(turns):
    """Not the class's own, but the same function once more."""

    @moa.client
    class Client:
        def __init__(self):
            self.create = self._v2

        def _v2(self, prompt):
            return ANSWER + prompt if prompt == "done" else self.create("done")

        def create(self, prompt):
            raise NotImplementedError

    assert ANSWER + "done" == Client().create("p")
    inner, outer = turns
    assert inner["parent_turn_id"] == outer["turn_id"]


def test_what_cannot_be_wrapped_is_named(turns):
    """The instance has none, or refuses to have one set: an event, and the program goes on."""

    @moa.client
    class Missing:
        def __init__(self, *, fails):
            if not fails:
                self.create = lambda prompt: ANSWER + prompt

    @moa.client
    @dataclass(frozen=True)
    class Frozen:
        def __post_init__(self):
            object.__setattr__(self, "create", lambda prompt: ANSWER + prompt)

        def create(self, prompt):
            raise NotImplementedError

    with capture_logs() as logs:
        Missing(fails=True)
        assert ANSWER + "p" == Frozen().create("p")
    assert ["moa.target_missing"] * 2 == [entry["event"] for entry in logs]
    assert ["create"] * 2 == [entry["target"] for entry in logs]


def test_a_class_without_it_is_still_refused():
    """Neither a method nor anything that sets one."""

    class Nothing:
        def __init__(self):
            self.other = 1

    with pytest.raises(moa.TargetError, match="create"):
        moa.client(Nothing)


def test_a_class_that_replaces_nothing_keeps_its_constructor():
    """Nothing is patched for it."""

    @moa.client
    class Client:
        def create(self, prompt):
            return ANSWER + prompt

    assert "__init__" not in vars(Client)


@pytest.mark.parametrize("slots", [False, True])
def test_a_dataclass_above_the_decorator_still_makes_its_constructor(turns, slots):
    """Its fields are set, and what `__post_init__` replaces is the turn."""

    @dataclass(slots=slots)
    @moa.client
    class Client(Plain):
        name: str
        create: object = None

        def __post_init__(self):
            self.create = lambda prompt: self.name + prompt

    assert "a long answer to p" == Client("a long answer to ").create("p")
    assert slots or 1 == len(turns)


class Copied(Plain):
    def __init__(self):
        self.create = self._v2


def test_copies_are_those_of_the_bare_client(turns):
    """A deep copy's method is bound to the copy, and a pickle comes back."""
    client = moa.client(Copied)()
    for other in (copy.deepcopy(client), pickle.loads(pickle.dumps(client))):
        assert other.create.__self__ is other
        assert ANSWER + "p" == other.create("p")
    assert copy.copy(client).create.__self__ is client
    assert 2 == len(turns)


def test_its_traceback_is_that_of_the_bare_client():
    """No frame of ours, also in what makes it."""

    @moa.client
    class Client:
        def __init__(self):
            self.create = self._fails

        def _fails(self):
            raise ValueError

        def create(self):
            pass

    with pytest.raises(ValueError) as caught:
        Client().create()
    names = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert ["test_its_traceback_is_that_of_the_bare_client", "_fails"] == names


def test_a_cached_property_of_another_class_stays_one():
    """Its class does what it did, and the original is back afterwards."""
    kind = fresh(CachedByAnother)
    original = vars(kind)["create"]
    moa.client(kind)
    wrapped = vars(kind)["create"]
    assert Checked is type(wrapped)
    kind().create("p")
    assert 1 == wrapped.asked
    assert original.func is copy.copy(wrapped.func)  # by what pickling uses too
    moa.uninstrument(kind)
    assert original is vars(kind)["create"]
