"""What comes in and goes out of a decorated function stays what it was, whatever kind of thing it is."""

from __future__ import annotations

import asyncio
import contextvars
import copy
import functools
import gc
import inspect
import io
import itertools
import pickle
import threading
import types
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import pytest

import moa_middleware as moa

# Functions of one world inside the other -------------------------------------------------------------


def run_sync(fn):
    """Make a sync function of an async one, as command lines do."""

    @functools.wraps(fn)
    def wrapper(*args):
        return asyncio.run(fn(*args))

    return wrapper


@pytest.mark.parametrize("decorate", [moa.reference, moa.turn])
def test_a_sync_wrapper_of_an_async_function_is_sync(turns, decorate):
    """`wraps` says nothing of what is returned."""

    @decorate
    @run_sync
    async def ask(prompt):
        return "answer"

    assert "answer" == ask("x")
    assert 1 == len(turns)


def test_a_sync_wrapper_that_returns_the_coroutine_is_awaited(turns):
    """What came back decides."""

    async def ask(prompt):
        return "answer"

    @moa.reference
    @functools.wraps(ask)
    def passed(prompt):
        return ask(prompt)

    assert "answer" == asyncio.run(passed("x"))
    assert ["answer"] == [record["references"][0]["output"] for record in turns]


def test_an_async_wrapper_of_a_sync_function_is_async(turns):
    """The other way round."""

    def ask(prompt):
        return "answer"

    @moa.reference
    @functools.wraps(ask)
    async def later(prompt):
        return ask(prompt)

    assert "answer" == asyncio.run(later("x"))
    assert ["answer"] == [record["references"][0]["output"] for record in turns]


@pytest.mark.parametrize("decorate", [moa.reference, moa.turn, moa.aggregator])
def test_a_coroutine_function_refuses_missing_arguments_when_it_is_called(turns, decorate):
    """As without us, and not when its coroutine is awaited: uvicorn tries a call to know a factory."""

    @decorate
    async def ask(model, messages, *, n=1):
        return "x"

    for arguments in ((), ("m",)):
        with pytest.raises(TypeError, match="missing"):
            ask(*arguments)
    assert "x" == asyncio.run(ask("m", messages=[])) == asyncio.run(ask("m", []))
    assert 2 == len(turns)


def test_a_wrapper_that_joins_a_generator_returns_a_string(turns):
    """A middleware's answer too: its caller wants no stream."""

    def pieces(prompt):
        yield "a"
        yield "b"

    @functools.wraps(pieces)
    def joined(prompt):
        return "".join(pieces(prompt))

    assert "ab" == moa.reference(joined)("x")

    def cached(call):
        return moa.Reply(text="cached")
        yield call

    assert "cached" == moa.Stack([cached]).reference(joined)("x")


def test_a_coroutine_is_named_after_its_function(turns):
    """A warning that it was never awaited names the user's function."""

    @moa.reference
    async def ask(prompt):
        return "answer"

    coroutine = ask("x")
    assert ("ask", ask.__qualname__) == (coroutine.__name__, coroutine.__qualname__)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del coroutine
        gc.collect()
    assert "ask" in str(caught[0].message)


# Iterators of messages -------------------------------------------------------------------------------


@moa.reference
def inner(messages):
    return repr(list(messages))


@pytest.mark.parametrize(
    "make", [iter, lambda text: (piece for piece in text), partial(map, str)], ids=["iter", "gen", "map"]
)
def test_what_was_consumed_is_not_given_again(turns, make):
    """A turn that takes the first message passes on the rest."""

    @moa.turn
    def create(messages):
        next(messages)
        return inner(messages)

    assert "['b']" == create(make("ab"))
    assert ["b"] == turns[0]["references"][0]["input_messages"]


def test_two_calls_share_an_iterator(turns):
    """The second gets what the first has left."""

    @moa.reference
    def one(messages):
        return next(messages)

    with moa.turn():
        it = iter("abc")
        assert ["a", "b", "['c']"] == [one(it), one(it), inner(it)]


def test_a_middleware_that_reads_the_messages_leaves_them_to_the_sdk(turns):
    """And a resend gets them from where the call began."""

    def looks(call):
        assert ["b", "c"] == list(call.messages)
        yield call
        yield call

    ask = moa.Stack([looks]).reference(lambda messages: "".join([*messages]))

    @moa.turn
    def create(messages):
        next(messages)
        return ask(messages)

    assert "bc" == create(iter("abc"))


def test_a_file_as_input_stays_one(turns):
    """It has `__next__`, and `read`."""
    file = io.StringIO("hello")

    @moa.reference
    def ask(input):  # noqa: A002 - the name of OpenAI's parameter
        assert input is file
        return input.read()

    assert "hello" == ask(file)
    assert "hello" == turns[0]["references"][0]["output"]


def test_an_iterator_of_a_class_of_the_users_is_left_alone(turns):
    """It is neither replaced nor read."""

    class Mine:
        def __iter__(self):
            return self

        def __next__(self):
            raise AssertionError("read")

    mine = Mine()
    moa.reference(lambda messages: messages)(mine)
    assert 1 == len(turns)


def test_a_generator_stays_a_generator(turns):
    """`send`, `throw`, `close`, its state and its copies by `tee` work."""

    def source():
        got = yield "a"
        try:
            yield got
        except KeyError:
            yield "thrown"

    @moa.reference
    def ask(messages):
        assert inspect.isgenerator(messages)
        said = [next(messages), messages.send("sent"), messages.throw(KeyError("x"))]
        messages.close()
        assert inspect.GEN_CLOSED == inspect.getgeneratorstate(messages)
        return repr(said)

    assert "['a', 'sent', 'thrown']" == ask(source())
    assert ["a", "sent", "thrown"] == turns[0]["references"][0]["input_messages"]

    @moa.reference
    def twice(messages):
        first, second = itertools.tee(messages)
        return repr([list(first), list(second), list(copy.copy(second))])

    assert "[['a', 'b'], ['a', 'b'], []]" == twice(iter("ab"))


def test_an_iterator_can_be_copied_and_pickled(turns):
    """As a list's iterator can; the copy has what is left."""

    @moa.reference
    def ask(messages):
        next(messages)
        copies = [copy.deepcopy(messages), pickle.loads(pickle.dumps(messages)), messages]
        return repr([list(each) for each in copies])

    assert "[['b', 'c'], ['b', 'c'], ['b', 'c']]" == ask(iter(["a", "b", "c"]))


# Awaitables ------------------------------------------------------------------------------------------


def test_a_generator_based_coroutine_is_awaited(turns):
    """`types.coroutine` functions have no `__await__`."""

    @types.coroutine
    def ask(prompt):
        yield from asyncio.sleep(0).__await__()
        return "answer"

    async def main():
        return await moa.reference(ask)("x"), await moa.turn(ask)("x")

    assert ("answer", "answer") == asyncio.run(main())
    assert "answer" == turns[0]["references"][0]["output"]


class Twice:
    """An awaitable that may be awaited again."""

    def __await__(self):
        yield from asyncio.sleep(0).__await__()
        return 42


def test_an_awaitable_may_be_awaited_twice(turns):
    """The second time is its own business."""

    async def main():
        made = moa.reference(lambda prompt: Twice())("x")
        return await made, await made

    assert (42, 42) == asyncio.run(main())
    assert 1 == len(turns)


def test_an_awaitable_may_be_entered(turns):
    """As aiohttp's requests are: the call has an outcome."""
    left = []

    class Request(Twice):
        async def __aenter__(self):
            return "entered"

        async def __aexit__(self, *error):
            left.append(error[0])

    async def main():
        async with moa.reference(lambda prompt: Request())("x") as got:
            return got

    assert "entered" == asyncio.run(main())
    assert [None] == left
    assert ["completed"] == [record["references"][0]["outcome"] for record in turns]


def test_a_failed_task_that_nobody_reads_is_still_reported(turns):
    """Asyncio tells its handler, with tracing on as off."""
    told = []

    async def fails():
        raise KeyError("lost")

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
        task = moa.reference(lambda prompt: asyncio.ensure_future(fails()))("x")
        await asyncio.wait([task])
        del task
        await asyncio.sleep(0)
        gc.collect()

    asyncio.run(main())
    assert ["Task exception was never retrieved"] == told
    assert ["error"] == [record["references"][0]["outcome"] for record in turns]


# Requests and replies --------------------------------------------------------------------------------


def test_the_truth_of_a_stream_argument_is_not_asked(turns):
    """An array raises there."""

    class Odd:
        def __bool__(self):
            raise ValueError("ambiguous")

    assert "x" == moa.reference(lambda messages, stream: "x")("hi", Odd())
    assert ["x"] == [record["references"][0]["output"] for record in turns]


def test_a_property_is_read_once(turns):
    """It may cost something, or change."""
    read = []

    class Result:
        @property
        def choices(self):
            read.append(1)
            return [{"message": {"content": "text"}}]

    moa.reference(lambda messages: Result())("hi")
    assert ([1], "text") == (read, turns[0]["references"][0]["output"])


def _result():
    return SimpleNamespace(content="Hello world", finish_reason="stop")


# Threads and contexts --------------------------------------------------------------------------------


@moa.reference
def ask(messages, label):
    return label


def test_a_turn_block_left_in_another_context_loses_no_turn(turns):
    """The oldest is closed first."""
    block = moa.turn()
    contexts = contextvars.copy_context(), contextvars.copy_context()
    for n, context in enumerate(contexts):
        context.run(block.__enter__)
        context.run(ask, "hi", str(n))
    block.__exit__(None, None, None)
    block.__exit__(None, None, None)
    assert ["0", "1"] == [record["references"][0]["output"] for record in turns]


def test_a_turn_block_left_from_outside_and_inside_closes_each_turn(turns):
    """Whichever was closed from outside is not closed twice."""
    block = moa.turn()
    contexts = contextvars.copy_context(), contextvars.copy_context()
    for context in contexts:
        context.run(block.__enter__)
        context.run(ask, "hi", "x")
    block.__exit__(None, None, None)
    contexts[0].run(block.__exit__, None, None, None)
    assert 2 == len(turns)


def test_a_thread_that_refuses_attributes_starts(turns):
    """It runs as it does without us, and within the turn."""

    class Strict(threading.Thread):
        def __setattr__(self, name, value):
            if name == "run":
                raise AttributeError(name)
            super().__setattr__(name, value)

        def run(self):
            ask("hi", "x")

    with moa.turn():
        thread = Strict()
        thread.start()
        thread.join()
    assert "run" not in vars(thread)
    assert [1] == [len(record["references"]) for record in turns]


def test_to_thread_keeps_the_order_of_submission(turns):
    """The number is reserved there, whichever runs first."""
    gates = [threading.Event() for _ in range(3)]

    def work(n):
        if n < 2:
            gates[n + 1].wait(5)
        ask("hi", str(n))
        gates[n].set()

    @moa.turn
    async def create():
        await asyncio.gather(*(asyncio.to_thread(work, n) for n in range(3)))

    asyncio.run(create())
    found = sorted(turns[0]["references"], key=lambda call: call["index"])
    assert ["0", "1", "2"] == [call["output"] for call in found]


def test_a_context_of_another_turn_is_kept(turns):
    """A pool that is given a context works in it."""
    with moa.turn(session_id="a"):
        context = contextvars.copy_context()
        with ThreadPoolExecutor(1) as pool, moa.turn(session_id="b"):
            pool.submit(context.run, ask, "hi", "x").result()
    assert ["a"] == [record["session_id"] for record in turns]


def test_carry_keeps_the_kind_of_a_function(turns):
    """A coroutine function stays one; generators step inside the turn."""

    async def later(label):
        await asyncio.sleep(0)
        return ask("hi", label)

    def steps():
        got = yield ask("hi", "g1")
        yield ask("hi", got)
        return "end"

    async def asteps():
        got = yield ask("hi", "a1")
        yield ask("hi", got)

    with moa.turn():
        carried, stepping, astepping = moa.carry(later), moa.carry(steps), moa.carry(asteps)
        empty = contextvars.Context()
        assert inspect.iscoroutinefunction(carried)

        async def read():
            made = astepping()
            return [await made.asend(None), await made.asend("a2"), *[x async for x in made]]

        def follow():
            made = stepping()
            said = [next(made), made.send("g2")]
            with pytest.raises(StopIteration, match="end"):
                next(made)
            return said

        assert "c" == empty.run(asyncio.run, carried("c"))
        assert ["g1", "g2"] == empty.run(follow)
        assert ["a1", "a2"] == empty.run(asyncio.run, read())
    assert [5] == [len(record["references"]) for record in turns]
    assert 1 == len(turns)


# Results after the text ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chunks", "text"),
    [
        (["Hello ", "world", _result()], "Hello world"),
        ([{"delta": "Hello "}, {"delta": "world"}, {"type": "done", "content": "Hello world!"}], "Hello world"),
        ([{"delta": "Hello"}, {"type": "response.output_text.done", "text": "Hello"}], "Hello"),
        ([{"type": "done", "content": "Hello"}], "Hello"),
        ([{"type": "message.completed", "text": text} for text in ("One.", "Two.")], "One.Two."),
        (["a", "b", "ab"], "abab"),
        ([{"delta": "ha"}, {"delta": "ha"}], "haha"),
        ([{"text": "", "content": "abc"}], "abc"),
        ([{"text": ""}], ""),
    ],
)
def test_a_result_after_the_text_is_not_text_again(turns, chunks, text):
    """It says what was said; strings and deltas that repeat are text."""

    @moa.reference
    def answer(messages):
        yield from chunks

    list(answer("hi"))
    found = turns[0]["references"][0]
    assert text == found["output"]
    if chunks[-1] == _result():
        assert "stop" == found["finish_reason"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"text": "abc", "choices": [1, 2]}, "abc"),
        ({"text": "abc", "choices": [{"label": "yes"}]}, "abc"),
        ({"text": "abc", "choices": "yes no"}, "abc"),
        ({"text": "abc", "choices": []}, "abc"),
        ({"text": "", "content": "abc"}, "abc"),
        ({"choices": [{"text": "abc"}]}, "abc"),
    ],
)
def test_choices_that_are_no_replies_hide_no_text(turns, value, text):
    """In a value, and in a chunk."""

    def stream(messages):
        yield value

    with moa.turn():
        moa.reference(lambda messages: value)("hi")
        list(moa.reference(stream)("hi"))
    assert [text, text] == [call["output"] for call in turns[0]["references"]]


def test_a_function_call_of_the_old_form_is_a_tool_call(turns):
    """In one piece, and in pieces."""
    function = {"name": "look", "arguments": '{"a": 1}'}

    def stream(messages):
        for piece in ({"name": "look", "arguments": ""}, {"arguments": '{"a":'}, {"arguments": " 1}"}):
            yield {"choices": [{"delta": {"content": None, "function_call": piece}}]}

    with moa.turn():
        moa.reference(lambda messages: {"choices": [{"message": {"content": None, "function_call": function}}]})("hi")
        list(moa.reference(stream)("hi"))
    want = [{"id": None, "type": "function", "function": function}]
    assert [want, want] == [call["tool_calls"] for call in turns[0]["references"]]
