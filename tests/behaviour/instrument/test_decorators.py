"""The decorators: on everything that can be called, keeping what it was, and telling who it was."""

from __future__ import annotations

import asyncio
import copy
import functools
import inspect
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import typing
from abc import ABC, abstractmethod
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

import moa_middleware as moa
from moa_middleware.testing import capture_turns

HELLO = [{"role": "user", "content": "hello"}]

# Things to call: each says `model` twice. They stand on module level, as pickle wants it. ------------


@moa.reference
def propose(model, messages=HELLO):
    """Say the model's name twice."""
    return model * 2


@moa.reference()
async def apropose(model, messages=HELLO):
    return model * 2


@moa.reference
def generate(model, messages=HELLO):
    yield model
    yield model


@moa.reference
async def agenerate(model, messages=HELLO):
    yield model
    yield model


@moa.turn(session_id="s")
def answer(model, messages=HELLO):
    return propose(model, messages)


def undecorated(model, messages=HELLO):
    return model * 2


def outputs(turns):
    """Return what the one call of each turn said."""
    return [(record["references"] or [record["aggregator"]])[0]["output"] for record in turns]


class Proposer:
    """A callable object."""

    def __init__(self, times=2):
        self.times = times

    def __call__(self, model, messages=HELLO):
        return model * self.times


class AsyncProposer:
    async def __call__(self, model, messages=HELLO):
        return model * 2


partial = moa.reference(functools.partial(undecorated, messages=HELLO))
apartial = moa.reference(functools.partial(apropose.__wrapped__, messages=HELLO))
agpartial = moa.reference(functools.partial(agenerate.__wrapped__, messages=HELLO))
callable_object = moa.reference(Proposer())
async_object = moa.reference(AsyncProposer())
traced = moa.reference(undecorated)


class Ensemble:
    """Methods of every kind."""

    def __init__(self, name="e"):
        self.name = name

    @moa.reference
    def method(self, model, messages=HELLO):
        return model * 2

    @moa.reference
    async def amethod(self, model, messages=HELLO):
        return model * 2

    @classmethod
    @moa.reference
    def class_inside(cls, model, messages=HELLO):
        return model * 2

    @moa.reference
    @classmethod
    def class_outside(cls, model, messages=HELLO):
        return model * 2

    @staticmethod
    @moa.reference
    def static_inside(model, messages=HELLO):
        return model * 2

    @moa.reference
    @staticmethod
    def static_outside(model, messages=HELLO):
        return model * 2

    partial = moa.reference(functools.partial(undecorated))
    object = moa.reference(Proposer())

    @moa.turn
    def create(self, model):
        return self.method(model)


ENSEMBLE = Ensemble()
CALLS = {
    "function": propose,
    "async": apropose,
    "generator": generate,
    "async generator": agenerate,
    "partial": partial,
    "async partial": apartial,
    "async generator partial": agpartial,
    "callable object": callable_object,
    "async callable object": async_object,
    "method": ENSEMBLE.method,
    "unbound method": functools.partial(Ensemble.method, ENSEMBLE),
    "async method": ENSEMBLE.amethod,
    "class method": Ensemble.class_inside,
    "class method outside": ENSEMBLE.class_outside,
    "static method": Ensemble.static_inside,
    "static method outside": ENSEMBLE.static_outside,
    "partial in a class": ENSEMBLE.partial,
    "object in a class": ENSEMBLE.object,
}


def result_of(value):
    """Return the text of a value, coroutine or stream."""
    if hasattr(value, "__anext__"):

        async def join():
            return "".join([chunk async for chunk in value])

        return asyncio.run(join())
    if inspect.isawaitable(value):

        async def get():
            return await value

        return asyncio.run(get())
    return value if isinstance(value, str) else "".join(value)


@pytest.mark.parametrize("kind", CALLS)
def test_everything_that_can_be_called_is_a_reference(turns, kind):
    """One call, one record, with its model, its request and its text; and the caller gets the same."""
    assert "mm" == result_of(CALLS[kind]("m"))
    (record,) = turns
    (call,) = record["references"] or [record["aggregator"]]
    assert ("mm", "m", HELLO) == (call["output"], call["model"], call["input_messages"])
    assert ("reference", "declared", "completed") == (call["role"], call["role_source"], call["outcome"])
    assert 0 == record["instrumentation_errors"]


@pytest.mark.parametrize("kind", CALLS)
def test_off_is_straight_through(kind):
    """With nothing to do, the function's own coroutine or generator comes back."""
    value = CALLS[kind]("m")
    assert type(value).__name__ in ("str", "coroutine", "generator", "async_generator")
    assert "mm" == result_of(value)


@pytest.mark.parametrize("decorate", [moa.turn, moa.turn(), moa.turn(preset="p")], ids=["bare", "called", "said"])
@pytest.mark.parametrize(
    "fn",
    [propose, apropose, generate, agenerate, partial, callable_object],
    ids=["def", "async def", "generator", "async generator", "partial", "object"],
)
def test_everything_that_can_be_called_is_a_turn(turns, decorate, fn):
    """Bare, with parentheses, with options."""
    assert "mm" == result_of(decorate(fn.__wrapped__)("m"))
    (record,) = turns
    assert ("mm", False, "completed") == (record["output"], record["implicit"], record["outcome"])


# What a function was, it stays ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "fn",
    [propose, apropose, generate, agenerate, answer, Ensemble.method, Ensemble.amethod],
    ids=lambda fn: fn.__qualname__,
)
def test_introspection_finds_the_function(fn):
    """Name, module, doc, signature, source, annotations and kind are those of the function."""
    bare = inspect.unwrap(fn)
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__defaults__", "__annotations__"):
        assert getattr(bare, name) == getattr(fn, name)
    assert inspect.signature(bare) == inspect.signature(fn)
    assert inspect.getsource(bare) == inspect.getsource(fn)
    for asks in (
        inspect.isfunction,
        inspect.isroutine,
        inspect.iscoroutinefunction,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
        asyncio.iscoroutinefunction,
        callable,
    ):
        assert asks(bare) == asks(fn), asks
    assert typing.get_type_hints(bare) == typing.get_type_hints(fn)


def test_a_bound_method_is_a_bound_method():
    """`__self__`, `__func__`, its signature, and that it equals itself."""
    bound = ENSEMBLE.method
    assert inspect.ismethod(bound)
    assert ENSEMBLE is bound.__self__
    assert ["model", "messages"] == list(inspect.signature(bound).parameters)
    assert ENSEMBLE.method == ENSEMBLE.method
    assert 1 == len({ENSEMBLE.method, ENSEMBLE.method})


def test_attributes_of_a_function_stay_and_can_be_set():
    """Other decorators leave marks on functions."""

    def fn():
        """Do nothing."""

    fn.mark = 1
    decorated = moa.reference(fn)
    decorated.other = 2
    assert (1, 2) == (decorated.mark, fn.other)


def test_an_abstract_method_stays_abstract():
    """Under the decorator and above it."""

    class Base(ABC):
        @moa.turn
        @abstractmethod
        def create(self): ...

        @abstractmethod
        @moa.reference
        def ask(self): ...

    assert frozenset({"create", "ask"}) == Base.__abstractmethods__
    with pytest.raises(TypeError, match="abstract"):
        Base()


def test_a_context_manager_function_stays_one(turns):
    """It is made of a generator function, and what it returns has to be entered."""

    @moa.reference
    @contextmanager
    def fn(messages):
        yield ["a", "b"]

    with fn(HELLO) as pieces:
        assert ["a", "b"] == pieces
    assert [0] == [record["instrumentation_errors"] for record in turns]

    def answer_itself(call):
        return iter(["short"])
        yield call

    moa.configure(middleware=[answer_itself])
    with pytest.raises(moa.ReplyFormError):
        fn(HELLO)


def test_other_decorators_may_stand_above_and_below(turns):
    """`functools.wraps`, `lru_cache` and `singledispatch` keep working."""

    def loud(fn):
        @functools.wraps(fn)
        def wrapper(*args, **kwargs):
            return fn(*args, **kwargs).upper()

        return wrapper

    assert "MM" == moa.reference(loud(undecorated))("m")
    assert "MM" == loud(moa.reference(undecorated))("m")
    cached = functools.lru_cache(moa.reference(lambda model: model * 2))
    assert "mm" == cached("m") == cached("m")
    assert 3 == len(turns)
    assert ["MM", "mm", "mm"] == [record["references"][0]["output"] for record in turns]


def test_decorating_twice_is_one_layer(turns):
    """Of the same role; under somebody else's wrapper it is another call, and one record with it."""

    @functools.wraps(propose)
    def between(*args, **kwargs):
        return propose(*args, **kwargs)

    assert propose is moa.reference(propose)
    with moa.turn():
        moa.reference(between)("m")
    assert [1] == [record["totals"]["calls"] for record in turns]


def test_a_function_has_one_role(turns):
    """Another decorator of the same stack is refused; one around a wrapper of it has its own role."""
    with pytest.raises(moa.DecorationError, match=r"@moa\.aggregator: `propose` is a reference .* already"):
        moa.aggregator(propose)

    @moa.aggregator
    @functools.wraps(propose)
    def retrying(*args, **kwargs):
        propose(*args, **kwargs)
        return propose(*args, **kwargs)

    with moa.turn():
        assert "mm" == retrying("m")
    assert "mm" == turns[0]["aggregator"]["output"]


def test_the_same_errors_come_out():
    """A wrong call is the function's own TypeError, bare, off and on."""
    seen = []
    for fn, on in ((undecorated, False), (traced, False), (traced, True)):
        with capture_turns() if on else capture_nothing():
            with pytest.raises(TypeError) as caught:
                fn(models="m")
        seen.append(str(caught.value))
    assert 1 == len(set(seen))


class capture_nothing:
    def __enter__(self):
        return []

    def __exit__(self, *_):
        return None


# Pickling and copying -------------------------------------------------------------------------------

PICKLED = {
    "function": propose,
    "turn": answer,
    "partial": partial,
    "callable object": callable_object,
    "under another name": traced,
    "bound method": ENSEMBLE.method,
    "turn method": ENSEMBLE.create,
    "class method": Ensemble.class_inside,
    "class method outside": Ensemble.class_outside,
    "static method": Ensemble.static_inside,
    "static method outside": Ensemble.static_outside,
    "partial of it": functools.partial(propose, "m"),
}


@pytest.mark.parametrize("kind", PICKLED)
@pytest.mark.parametrize("protocol", [4, pickle.HIGHEST_PROTOCOL])
def test_decorated_functions_pickle_and_stay_decorated(turns, kind, protocol):
    """What comes back does the same and is recorded the same."""
    fn = pickle.loads(pickle.dumps(PICKLED[kind], protocol))
    assert "mm" == (fn() if kind == "partial of it" else fn("m"))
    assert 1 == len(turns)


def test_a_function_is_pickled_by_its_name():
    """The very object comes back, as with bare functions."""
    assert propose is pickle.loads(pickle.dumps(propose))


def test_a_local_function_cannot_be_pickled_as_before():
    """The error is pickle's own."""

    @moa.reference
    def local(model):
        return model

    with pytest.raises((pickle.PicklingError, AttributeError), match="local"):
        pickle.dumps(local)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("on", [False, True])
def test_a_process_pool_runs_decorated_functions(trace_dir, monkeypatch, method, on):
    """Functions, bound methods and turns, with traces off and on."""
    if not on:
        monkeypatch.setenv("MOA_SAVE_TRACES", "0")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        futures = [pool.submit(fn, "m") for fn in (propose, answer, ENSEMBLE.method, partial, traced)]
        assert ["mm"] * 5 == [future.result(timeout=60) for future in futures]
    assert on == trace_dir.exists()


def test_a_process_pool_may_be_asked_inside_a_turn(trace_dir, read_lines):
    """The call in the child is a turn of its own there; nothing is lost, nothing hangs."""

    @moa.turn
    def outer():
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            return pool.submit(propose, "m").result(timeout=60)

    assert "mm" == outer()
    records = {record["implicit"]: record for record in read_lines(trace_dir)}
    assert ["mm"] == outputs([records[True]])
    assert "mm" == records[False]["output"]


@pytest.mark.parametrize("copying", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_copies_of_functions_are_themselves(copying):
    """As copies of bare functions are; so an object that holds one can be copied."""
    assert propose is copying(propose)
    assert [propose] == copying([propose])


@pytest.mark.parametrize("copying", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_copies_of_callable_objects_are_copies(turns, copying):
    """Their state is their own, and they are recorded still."""
    fn = moa.reference(Proposer())
    other = copying(fn)
    other.times = 3
    assert ("mm", "mmm") == (fn("m"), other("m"))
    assert 2 == len(turns)


def test_a_deep_copy_of_a_bound_method_belongs_to_the_copy():
    """`deepcopy` copies the object that a method is bound to."""
    ensemble = Ensemble()
    bound = copy.deepcopy(ensemble.method)
    assert bound.__self__ is not ensemble
    assert copy.copy(ensemble.method).__self__ is ensemble


def test_copies_of_clients_are_clients(turns):
    """`copy`, `deepcopy`, `pickle` and `__new__`: each is traced, and they do not share a turn."""
    clients = [copy.copy(ENSEMBLE), copy.deepcopy(ENSEMBLE), pickle.loads(pickle.dumps(ENSEMBLE))]
    for client in [*clients, Ensemble.__new__(Ensemble)]:
        assert "mm" == client.create("m")
    assert 4 == len({record["turn_id"] for record in turns})
    assert [1] * 4 == [len(record["references"]) for record in turns]


# By what comes back ---------------------------------------------------------------------------------


@pytest.mark.parametrize("decorate", [moa.aggregator, moa.turn], ids=["aggregator", "turn"])
@pytest.mark.parametrize("mode", ["bare", "off", "on"])
def test_a_task_comes_back_itself(decorate, mode):
    """A `def` that returns a task, gives the very task, which ends the call when it is done."""

    async def main():
        made = []

        def start(model):
            made.append(asyncio.create_task(apropose.__wrapped__(model)))
            return made[0]

        fn = start if mode == "bare" else decorate(start)
        got = fn("m")
        assert got is made[0]
        return await got

    with capture_turns() if mode == "on" else capture_nothing() as found:
        assert "mm" == asyncio.run(main())
    assert (["mm"] if mode == "on" else []) == [record["output"] for record in found]


@pytest.mark.parametrize("decorate", [moa.aggregator, moa.turn], ids=["aggregator", "turn"])
def test_futures_come_back_themselves(turns, decorate):
    """A pool's future, one that is done, and one that fails."""
    done, failed = Future(), Future()
    done.set_result("done")
    failed.set_exception(KeyError("gone"))
    with ThreadPoolExecutor() as pool:
        later = pool.submit(lambda: "later")
        for future in (done, failed, later):
            assert future is decorate(lambda messages, future=future: future)(HELLO)
    assert ["completed", "error", "completed"] == [record["outcome"] for record in turns]
    assert ["done", None, "later"] == [record["output"] for record in turns]


def test_an_awaitable_object_keeps_its_type(turns):
    """It is still an instance of its class, and can be awaited."""

    class Query:
        kind = "query"

        def __await__(self):
            yield from asyncio.sleep(0).__await__()
            return "mm"

    async def main():
        query = moa.reference(lambda model: Query())("m")
        assert isinstance(query, Query)
        assert "query" == query.kind
        return await query

    assert "mm" == asyncio.run(main())
    assert ["mm"] == outputs(turns)


def test_a_coroutine_that_is_never_awaited_is_no_record(turns):
    """Nothing has begun, so nothing is recorded; the warning is Python's."""
    with pytest.warns(RuntimeWarning, match="never awaited"):
        apropose("m")
    assert [] == turns


def test_a_def_that_returns_a_coroutine_is_awaited(turns):
    """`AsyncOpenAI…create` is such a one: no coroutine function, but its result is awaited."""

    @moa.reference
    def start(model):
        return apropose.__wrapped__(model)

    assert not inspect.iscoroutinefunction(start)
    assert "mm" == asyncio.run(start("m"))
    assert ["mm"] == outputs(turns)


def test_gather_in_an_async_turn_needs_nothing_more(turns):
    """The references are of the turn, in the order in which they were asked."""

    @moa.turn
    async def ask_all(messages):
        return "".join(await asyncio.gather(*(apropose(model) for model in "abc")))

    assert "aabbcc" == asyncio.run(ask_all(HELLO))
    (record,) = turns
    assert ["a", "b", "c"] == [call["model"] for call in record["references"]]


def test_the_turn_is_current_in_the_body_and_only_there(turns):
    """For functions, coroutines and threads."""
    seen = []

    @moa.turn
    def body():
        seen.append(moa.current_turn().id)

    @moa.turn
    async def abody():
        await asyncio.sleep(0)
        seen.append(moa.current_turn().id)

    async def main():
        await asyncio.gather(abody(), abody())
        assert moa.current_turn() is None

    body()
    assert moa.current_turn() is None
    asyncio.run(main())
    assert {record["turn_id"] for record in turns} == set(seen)
    assert 3 == len(set(seen))


def test_one_client_in_many_threads_never_mixes(turns):
    """Twenty turns at once on one object: each has its own call, and nobody else's."""
    start = threading.Barrier(20)

    def work(model):
        start.wait()
        ENSEMBLE.create(model)

    threads = [threading.Thread(target=work, args=(f"model-{n}",)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 20 == len(turns)
    for record in turns:
        (call,) = record["references"]
        assert call["model"] * 2 == call["output"] == record["output"]


# Options --------------------------------------------------------------------------------------------


def one(turns):
    """Return the record of the one turn, and its one call."""
    (record,) = turns
    (call,) = record["references"] or [record["aggregator"]]
    return record, call


def test_options_may_be_values(turns):
    """Label, layer, model, provider, session, preset and tags."""

    @moa.reference(label="l", layer=2, model="m", provider="p", session_id="s", preset="x", tags={"a": 1})
    def fn(messages):
        return "out"

    fn(HELLO)
    record, call = one(turns)
    assert ("l", 2, "m", "p") == (call["label"], call["layer"], call["model"], call["provider"])
    assert ("s", "x", {"a": 1}) == (record["session_id"], record["preset"], record["tags"])


def test_options_may_be_functions_of_the_bound_arguments(turns):
    """Positional or by keyword, with defaults, `self` among them; they take what they name."""

    class Client:
        preset_name = "deep"

        @moa.reference(
            label=lambda model, **_: model.upper(),
            layer=lambda layer: layer,
            provider=lambda **named: ",".join(sorted(named)),
            session_id=lambda self, model: f"{self.preset_name}-{model}",
        )
        def ask(self, model, messages, layer=3, other=None):
            return "out"

        @moa.turn(preset=lambda self, **_: self.preset_name, session_id=lambda messages, **_: len(messages))
        def create(self, messages):
            return "out"

    Client().ask("m", messages=HELLO)
    record, call = one(turns)
    assert ("M", 3, "layer,messages,model,other,self") == (call["label"], call["layer"], call["provider"])
    assert "deep-m" == record["session_id"]
    turns.clear()
    Client().create(HELLO)
    assert ("deep", "1") == (turns[0]["preset"], turns[0]["session_id"])


def test_defaults_of_the_function_are_part_of_the_request(turns):
    """A model, a temperature and messages that the caller left to the function."""

    @moa.reference
    def ask(messages=HELLO, model="deep", *, temperature=0.5, client=object()):
        return "out"

    ask()
    ask(model="other", temperature=1)
    (first,), (second,) = (record["references"] for record in turns)
    assert ("deep", 0.5, HELLO) == (first["model"], first["temperature"], first["input_messages"])
    assert ("other", 1) == (second["model"], second["temperature"])


def test_options_by_name_may_be_functions(turns):
    """`moa.client(preset=…)` and `moa.instrument(obj, session_id=…)`."""

    @moa.client(preset=lambda self, **_: self.name, session_id=lambda messages, **_: messages[0]["content"])
    class Client:
        name = "deep"

        def create(self, messages):
            return "out"

    Client().create(HELLO)
    assert ("deep", "hello") == (turns[0]["preset"], turns[0]["session_id"])


FAULTY = {
    "raises": lambda: 1 / 0,
    "asks for more": lambda nothing: nothing,
    "asks for a keyword": lambda *, x: x,
    "takes it for a dict": lambda model: model["x"],
}


@pytest.mark.parametrize("faulty", FAULTY.values(), ids=FAULTY)
def test_a_failing_option_function_costs_nothing(turns, faulty):
    """The call is made and recorded, without that option; the fault is counted."""
    before = moa.status().faults

    @moa.reference(label=faulty, layer=faulty, session_id=faulty)
    def fn(model):
        return "out"

    @moa.turn(preset=faulty)
    def create(model):
        return fn(model)

    assert "out" == create("m")
    (record,) = turns
    assert ("m", None) == (record["references"][0]["label"], record["preset"])
    assert moa.status().faults >= before + 3


def test_an_option_function_that_says_nonsense_costs_nothing(turns):
    """A layer that is no round is left out; a label that is no text becomes one."""

    @moa.reference(label=lambda **_: 7, layer=lambda **_: "first")
    def fn(model):
        return "out"

    fn("m")
    _, call = one(turns)
    assert "7" == call["label"]
    assert call["layer"] in (None, 1)


def test_the_parameter_of_the_request_can_be_named(turns):
    """`messages="conversation"`, for a call and for a turn."""

    @moa.reference(messages="conversation")
    def ask(query, conversation):
        return "out"

    @moa.turn(messages="conversation")
    def create(query, conversation):
        return ask(query, conversation)

    create("q", HELLO)
    (record,) = turns
    assert HELLO == record["input_messages"] == record["references"][0]["input_messages"]


def test_a_tag_goes_before_the_decorators_word(turns):
    """`moa.tag` is nearer to the call than what was said when the function was defined."""

    @moa.reference(label="l", layer=1)
    def fn(model):
        return "out"

    with moa.tag(role="critic", label="tagged", layer=2, session_id="t"):
        fn("m")
    (record,) = turns
    call = record["aggregator"] or (record["references"] + record["calls"])[0]
    assert ("critic", "tag", "tagged", 2) == (call["role"], call["role_source"], call["label"], call["layer"])
    assert "t" == record["session_id"]


# Clients by name ------------------------------------------------------------------------------------


def test_a_class_is_decorated_by_the_names_of_its_methods(turns):
    """`@moa.client(turn="create", reference="_run_reference", aggregator="_act")`."""

    @moa.client(turn="create", reference="_run_reference", aggregator="_act")
    class Legacy:
        def _run_reference(self, model, messages):
            return f"{model} says"

        def _act(self, messages):
            yield "the "
            yield "answer"

        def create(self, messages):
            drafts = [self._run_reference(model, messages) for model in "ab"]
            return self._act([*messages, {"role": "user", "content": " ".join(drafts)}])

    assert "the answer" == "".join(Legacy().create(HELLO))
    (record,) = turns
    assert ["a says", "b says"] == [call["output"] for call in record["references"]]
    assert "the answer" == record["aggregator"]["output"] == record["output"]


def test_a_decorated_class_is_the_class():
    """The same object, its constructor, its name; subclasses and `isinstance` as before."""

    class Client:
        def __init__(self, name, *, depth=1):
            self.name = name

        def create(self, messages):
            return "x"

    signature = inspect.signature(Client)
    assert Client is moa.client(Client)
    assert signature == inspect.signature(Client)
    assert isinstance(type("Child", (Client,), {})("n"), Client)


def test_a_client_may_have_decorated_methods_too(turns):
    """`@moa.client` over `@moa.turn` and `@moa.reference` is one layer each."""

    @moa.client(reference="ask")
    class Client:
        @moa.reference(label="l")
        def ask(self, messages):
            return "x"

        @moa.turn(preset="p")
        def create(self, messages):
            return self.ask(messages)

    Client().create(HELLO)
    (record,) = turns
    assert ("p", 1, "l") == (record["preset"], record["totals"]["calls"], record["references"][0]["label"])


# A stack of one's own -------------------------------------------------------------------------------


def test_a_stack_has_every_decorator(turns):
    """Its middleware runs around its own calls, once for those inside each other; the default stack's does not."""
    seen = []

    def mine(call):
        seen.append(call.role)
        yield call

    def theirs(call):
        raise AssertionError("the default stack's")
        yield call

    moa.configure(middleware=[theirs])
    stack = moa.Stack([mine])

    @stack.client(reference="ask")
    class Client:
        def ask(self, messages):
            return "x"

        @stack.aggregator
        def act(self, messages):
            return self.ask(messages)

        def create(self, messages):
            return self.act(messages)

    client = stack.instrument(Client(), turn="create")
    client.create(HELLO)
    stack.turn(stack.reference(lambda messages: "y"))(HELLO)
    with stack.turn():
        client.ask(HELLO)
    assert ["aggregator", "reference", "reference"] == seen
    assert 3 == len(turns)
    stack.uninstrument()
    client.create(HELLO)


# Errors ---------------------------------------------------------------------------------------------


class NotAClient:
    def ask(self):
        return "x"


def _flow(call):
    yield call


MISTAKES = [
    (lambda: moa.reference(5), moa.DecorationError, "@moa.reference cannot wrap a int: it is not callable"),
    (lambda: moa.turn("create"), moa.DecorationError, "@moa.turn cannot wrap a str: it is not callable"),
    (lambda: moa.aggregator(property(len)), moa.DecorationError, "@moa.aggregator cannot wrap a property"),
    (lambda: moa.reference(label="l")([]), moa.DecorationError, "@moa.reference cannot wrap a list"),
    (lambda: moa.turn(preset="p")(3), moa.DecorationError, "@moa.turn cannot wrap a int"),
    (
        lambda: moa.turn(NotAClient),
        moa.DecorationError,
        "@moa.turn is for functions and methods, `NotAClient` is a class: use moa.client",
    ),
    (lambda: moa.reference(NotAClient), moa.DecorationError, "`NotAClient` is a class: use its method"),
    (lambda: moa.client(_flow), moa.DecorationError, "@moa.client is for classes, got a function: use moa.turn"),
    (lambda: moa.client(turn="ask")(3), moa.DecorationError, "@moa.client is for classes, got a int"),
    (lambda: moa.client(NotAClient), moa.TargetError, "NotAClient has no attribute 'create' (target 'create')"),
    (lambda: moa.client(turn="ask", reference="aks")(NotAClient), moa.TargetError, "no attribute 'aks'"),
    (lambda: moa.reference(lable="l"), moa.DecorationError, "unknown keyword 'lable', did you mean 'label'?"),
    (lambda: moa.aggregator(depth=1), moa.DecorationError, "aggregator() got an unknown keyword 'depth'; it takes"),
    (lambda: moa.reference(layer=0), moa.TagError, "reference(layer=…) takes a round of references, an int from 1"),
    (lambda: moa.reference(layer="1"), moa.TagError, "reference(layer=…)"),
    (lambda: moa.aggregator(tags=["a"]), moa.TagError, "aggregator(tags=…) takes a dict with str keys, got list"),
    (lambda: moa.turn(label="l"), moa.TagError, "turn() got an unknown keyword 'label'"),
    (lambda: moa.turn(sesion_id="s"), moa.TagError, "'sesion_id', did you mean 'session_id'?"),
    (lambda: moa.turn(session_id=3), moa.TagError, "turn(session_id=…) takes a str, got int"),
    (lambda: moa.turn(tags={1: 2}), moa.TagError, "turn(tags=…) takes a dict with str keys"),
    (lambda: moa.tag(tenant="a"), moa.TagError, "tag() got an unknown tag 'tenant' (your own go in tags={…})"),
    (lambda: moa.tag(rol="reference"), moa.TagError, "unknown tag 'rol', did you mean 'role'?"),
    (lambda: moa.tag(role=3), moa.TagError, "tag(role=…) takes a str, got int"),
    (lambda: moa.tag(layer=True), moa.TagError, "tag(layer=…) takes a round of references, an int from 1, got True"),
    (lambda: moa.Stack([_flow(None)]), moa.MiddlewareError, "middleware[0] is the generator of `_flow`"),
    (lambda: moa.Stack([_flow, 3]), moa.MiddlewareError, "middleware[1] is a int, which cannot be called"),
    (lambda: moa.Stack(observers=["x"]), moa.MiddlewareError, "observers[0] is a str, which cannot be called"),
]


@pytest.mark.parametrize(("wrong", "kind", "words"), MISTAKES, ids=[words for _, _, words in MISTAKES])
def test_bad_input_gets_an_error_that_names_the_culprit(wrong, kind, words):
    """At the place of the mistake, one class a misuse, below `MoaError`."""
    with pytest.raises(kind) as caught:
        wrong()
    assert words in str(caught.value)
    assert isinstance(caught.value, moa.MoaError)


# What a first turn has to import -------------------------------------------------------------------

LOADED = """
import os, sys
import moa_middleware as moa

def loaded():
    return "moa_middleware._capture.tracing.tracer" in sys.modules

assert not loaded()
exec(sys.argv[1])
print(loaded())
exec(sys.argv[2])
before = set(sys.modules)
with moa.turn() as turn:
    assert turn.recording is not None
print(sorted(name for name in set(sys.modules) - before if name.startswith(("moa_middleware", "pydantic"))))
"""
ON = "os.environ['MOA_SAVE_TRACES'] = '1'"


@pytest.mark.parametrize(
    ("first", "loaded", "then"),
    [
        (f"{ON}\nmoa.reference(lambda messages: 'x')", True, ""),
        (f"{ON}\nmoa.turn(session_id='s')(lambda messages: 'x')", True, ""),
        (f"{ON}\nmoa.instrument('openai')", True, ""),
        ("moa.configure(save_traces=True)", True, ""),
        ("moa.configure(on_turn=print)", True, ""),
        ("moa.reference(lambda messages: 'x')", False, f"{ON}\nmoa.reference(lambda messages: 'y')"),
        (f"{ON}\nmoa.configure(save_traces=False); moa.turn(len)", False, "moa.configure(save_traces=None)"),
    ],
)
def test_the_tracer_is_imported_where_the_decorator_runs(tmp_path, first, loaded, then):
    """While turns are recorded, and not before: the first turn may begin in a running event loop, and imports nothing."""
    env = {**os.environ, "MOA_TRACE_DIR": str(tmp_path)}
    env.pop("MOA_SAVE_TRACES", None)
    command = [sys.executable, "-c", LOADED, first, then]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=env)
    said = done.stdout.splitlines()
    assert [str(loaded), "[]"] == said[:2]
