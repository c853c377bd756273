"""What middleware knows of a call's surroundings: its session, endpoint and world, and a place to keep things of the turn."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import gc
import pickle
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

import moa_middleware as moa


@pytest.fixture
def seen():
    """Keep the calls that a middleware sees."""
    calls = []

    def keep(call):
        calls.append(call)
        yield call

    moa.configure(middleware=[keep])
    return calls


@moa.reference
def value(prompt):
    return f"an answer to {prompt}"


@moa.reference
async def value_async(prompt):
    return f"an answer to {prompt}"


@moa.reference
def stream(prompt):
    yield from ["an ", "answer"]


@moa.reference
async def stream_async(prompt):
    yield "an answer"


def ask_value():
    value("one")


def ask_async():
    asyncio.run(value_async("one"))


def ask_stream():
    list(stream("one"))


def ask_async_stream():
    async def run():
        return [piece async for piece in stream_async("one")]

    asyncio.run(run())


WORLDS = {"value": (ask_value, False), "async": (ask_async, True), "stream": (ask_stream, False)}
WORLDS["async stream"] = (ask_async_stream, True)


@pytest.mark.parametrize("name", WORLDS)
def test_a_call_says_whether_it_is_async(name, seen):
    """By the kind of its function."""
    ask, is_async = WORLDS[name]
    ask()
    assert [call.is_async for call in seen] == [is_async]
    assert seen[0].replace(label="l").is_async == is_async


def test_a_call_knows_its_session(seen):
    """That of its turn, wherever that comes from."""
    moa.configure(session_id="by default")
    with moa.turn(session_id="s"):
        value("one")
    with moa.turn(session_id="outer"), moa.turn():
        value("two")
    value("three")
    assert [call.session_id for call in seen[:2]] == ["s", "outer"]


@pytest.mark.sdks
def test_a_call_of_an_sdk_knows_its_endpoint(seen):
    """Without what is secret in a URL; a function of the program's own has none."""
    openai = pytest.importorskip("openai")
    client = moa.instrument(openai.OpenAI(api_key="k", base_url="http://user:word@127.0.0.1:9/v1?a=b", max_retries=0))
    with pytest.raises(openai.APIConnectionError):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": "one"}])
    value("two")
    assert [call.endpoint for call in seen] == ["http://127.0.0.1:9/v1/", None]


def test_a_call_that_was_made_by_hand_has_none_of_them():
    """As tests of a middleware make one."""
    call = moa.Call(id="i", turn_id="t")
    assert (call.session_id, call.endpoint, call.turn_state, call.is_async) == (None, None, {}, False)


# The state of a turn ------------------------------------------------------------------------------


class Count:
    """A middleware that counts the calls of each turn."""

    def __init__(self):
        self.found = []

    def __call__(self, call):
        mine = call.turn_state.setdefault(self, [])
        mine.append(call.turn_id)
        yield call
        self.found.append((call.turn_id, len(mine)))


def test_calls_of_one_turn_share_its_state():
    """And those of another turn have their own."""
    first, second = Count(), Count()
    moa.configure(middleware=[first, second])
    for _ in range(2):
        with moa.turn():
            value("one")
            value("two")
    assert [count for _, count in first.found] == [1, 2, 1, 2]
    assert [count for _, count in second.found] == [1, 2, 1, 2]


def test_threads_tasks_and_nested_turns_share_the_state_of_the_outermost():
    """Also where all of them ask for it at the same moment."""
    count = Count()
    moa.configure(middleware=[count], save_traces=True)
    ready = threading.Barrier(8)

    @moa.turn
    def inner(number):
        ready.wait(10)
        return value(number)

    @moa.turn
    def outer():
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(moa.carry(inner), range(8)))
        return asyncio.run(value_async("nine"))

    outer()
    assert max(count for _, count in count.found) == 9


def test_a_call_outside_a_turn_has_a_state_of_its_own():
    """Two calls are two turns."""
    count = Count()
    moa.configure(middleware=[count])
    value("one")
    value("two")
    assert [count for _, count in count.found] == [1, 1]


def test_the_state_goes_with_the_turn():
    """What a middleware kept is freed with the turn, though the middleware lives on."""

    class Kept:
        pass

    gone = []

    def keep(call):
        kept = call.turn_state[keep] = Kept()
        gone.append(weakref.ref(kept))
        yield call

    moa.configure(middleware=[keep])
    with moa.turn():
        value("one")
    gc.collect()
    assert [one() for one in gone] == [None]


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_call_can_be_copied_while_it_runs(copied):
    """A copy has the same fields; one that goes elsewhere is of no turn."""
    found = []

    def keep(call):
        found.append((call, copied(call)))
        dataclasses.asdict(call)
        yield call

    moa.configure(middleware=[keep], save_traces=True)
    with moa.turn(session_id="s"):
        value("one")
    ((call, other),) = found
    assert (other.id, other.turn_id, other.label) == (call.id, call.turn_id, call.label)
    assert other.session_id in (None, "s")


# The turn of a call outside any ---------------------------------------------------------------------


@pytest.mark.parametrize("name", WORLDS)
def test_middleware_sees_the_turn_of_a_call_outside_any(name, turns):
    """Before and after the call, and by a note; the function sees it too, and the caller does not."""
    seen = []

    def keep(call):
        seen.append((moa.current_turn().id, call.turn_id))
        moa.note("before", session=call.session_id)
        yield call
        seen.append((moa.current_turn().id, call.turn_id))

    moa.configure(middleware=[keep], session_id="s")
    WORLDS[name][0]()
    assert moa.current_turn() is None
    (turn,) = turns
    assert seen == [(turn["turn_id"], turn["turn_id"])] * 2
    assert [note["session"] for note in turn["notes"]] == ["s"]


def test_a_call_of_a_middleware_is_a_turn_inside_that_of_the_call(turns):
    """So a guard's request is neither a reference nor the answer of the call that it guards."""

    @moa.aggregator
    def guard(prompt):
        return "fine"

    @moa.aggregator
    def ask(prompt):
        return "an answer"

    def guarded(call):
        if call.label == "ask":
            guard("is it?")
        yield call

    moa.configure(middleware=[guarded])
    ask("one")
    inner, outer = turns
    assert (inner["output"], outer["output"]) == ("fine", "an answer")
    assert inner["parent_turn_id"] == outer["turn_id"]
    assert outer["turns"] == [inner["turn_id"]]
    assert outer["totals"]["calls"] == inner["totals"]["calls"] == 1
