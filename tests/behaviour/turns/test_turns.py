"""Turns: what belongs to which, when one is over, and what is late."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer, capture_turns
from tests.conftest import check
from tests.support.sdk_worlds import MESSAGES, PIECES, TEXT, world


def reference(text, *, wait=None):
    """Return a decorated reference that answers `text`."""

    @moa.reference(label=text)
    def ask(messages):
        if wait is not None:
            wait()
        return text

    return ask


def outputs(record):
    return [call["output"] for call in record["references"]]


# Concurrent turns ---------------------------------------------------------------------------------

TURNS, REFERENCES = 8, 3


class Fanout:
    """One client object for all turns; every text is unique, and all references overlap."""

    def __init__(self, barrier):
        self.barrier = barrier

    @moa.reference
    def ask(self, name, messages):
        self.barrier.wait(20)
        return f"{messages[0]['content']}-{name}"

    @moa.aggregator
    def synthesize(self, messages):
        return iter([piece["content"] + ";" for piece in messages])

    @moa.turn
    def create(self, messages):
        with ThreadPoolExecutor() as pool:
            found = list(pool.map(lambda name: self.ask(name, messages), "abc"))
        return self.synthesize([{"role": "user", "content": text} for text in found])


def test_eight_turns_in_threads_on_one_client_do_not_mix(turns):
    """All references of all turns wait on one barrier; each line has its own texts, in order."""
    client = Fanout(threading.Barrier(TURNS * REFERENCES))

    def one(number):
        return "".join(client.create([{"role": "user", "content": f"turn{number}"}]))

    with ThreadPoolExecutor(TURNS) as pool:
        answers = list(pool.map(one, range(TURNS)))
    assert TURNS == len(turns)
    for number, answer in enumerate(answers):
        expected = [f"turn{number}-{name}" for name in "abc"]
        assert ";".join(expected) + ";" == answer
        (mine,) = [r for r in turns if r["input_messages"][0]["content"] == f"turn{number}"]
        assert expected == outputs(mine)
        assert answer == mine["aggregator"]["output"] == mine["output"]
        assert [0, 1, 2] == [call["index"] for call in mine["references"]]
        assert 3 == mine["aggregator"]["index"]


def test_eight_turns_in_asyncio_on_one_client_do_not_mix(turns):
    """The same with gather, nested in gather."""

    class Client:
        def __init__(self):
            self.arrived = 0
            self.all_there = None

        @moa.reference
        async def ask(self, name, messages):
            self.arrived += 1
            if self.arrived == TURNS * REFERENCES:
                self.all_there.set()
            await asyncio.wait_for(self.all_there.wait(), 20)
            return f"{messages[0]['content']}-{name}"

        @moa.aggregator
        async def synthesize(self, messages):
            for message in messages:
                await asyncio.sleep(0)
                yield message["content"] + ";"

        @moa.turn
        async def create(self, messages):
            found = await asyncio.gather(*(self.ask(name, messages) for name in "abc"))
            return self.synthesize([{"role": "user", "content": text} for text in found])

    async def main():
        client = Client()
        client.all_there = asyncio.Event()

        async def one(number):
            stream = await client.create([{"role": "user", "content": f"turn{number}"}])
            return "".join([piece async for piece in stream])

        return await asyncio.gather(*(one(number) for number in range(TURNS)))

    answers = asyncio.run(main())
    assert TURNS == len(turns)
    for number, answer in enumerate(answers):
        (mine,) = [r for r in turns if r["input_messages"][0]["content"] == f"turn{number}"]
        assert [f"turn{number}-{name}" for name in "abc"] == outputs(mine)
        assert answer == mine["aggregator"]["output"] == mine["output"]


def fan_out_bare(ask, items):
    with ThreadPoolExecutor(2) as pool:
        return [one.result() for one in [pool.submit(ask, item) for item in items]]


def fan_out_map(ask, items):
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(ask, items))


def fan_out_carry(ask, items):
    with ThreadPoolExecutor(2) as pool:
        return [one.result() for one in [pool.submit(moa.carry(ask), item) for item in items]]


def fan_out_carry_map(ask, items):
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(moa.carry(ask), items))


def fan_out_threads(ask, items):
    found = {}
    threads = [threading.Thread(target=lambda item=item: found.update({item: ask(item)})) for item in items]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[item] for item in items]


def fan_out_executor(ask, items):
    async def main():
        loop = asyncio.get_running_loop()
        return await asyncio.gather(*(loop.run_in_executor(None, ask, item) for item in items))

    return asyncio.run(main())


def fan_out_to_thread(ask, items):
    async def main():
        return await asyncio.gather(*(asyncio.to_thread(ask, item) for item in items))

    return asyncio.run(main())


FAN_OUTS = [
    fan_out_bare,
    fan_out_map,
    fan_out_carry,
    fan_out_carry_map,
    fan_out_threads,
    fan_out_executor,
    fan_out_to_thread,
]


@pytest.mark.parametrize("fan_out", FAN_OUTS)
def test_references_are_in_their_turn_in_the_order_of_submission(turns, fan_out):
    """The later a reference was submitted, the sooner it ends: the order is that of submission."""
    items = list(range(6))

    @moa.reference(label=lambda item: f"r{item}")
    def ask(item):
        time.sleep(0.002 * (6 - item))
        return f"answer {item}"

    @moa.turn
    def create():
        return ",".join(fan_out(ask, items))

    create()
    (record,) = turns
    if fan_out is not fan_out_to_thread:  # tasks enter in the order in which the loop runs them
        assert [f"r{item}" for item in items] == [call["label"] for call in record["references"]]
    assert sorted(f"answer {item}" for item in items) == sorted(outputs(record))
    assert items == [call["index"] for call in record["references"]]


def test_without_propagation_bare_threads_are_turns_of_their_own(turns, monkeypatch):
    """`MOA_PROPAGATE_THREADS=0` leaves threads alone; `carry` still works."""
    monkeypatch.setenv("MOA_PROPAGATE_THREADS", "0")
    submit = ThreadPoolExecutor.submit

    @moa.turn
    def create():
        with ThreadPoolExecutor(1) as pool:
            pool.submit(reference("bare"), MESSAGES).result()
            pool.submit(moa.carry(reference("carried")), MESSAGES).result()

    create()
    assert submit is ThreadPoolExecutor.submit
    implicit, turn = turns
    assert implicit["implicit"]
    assert ["bare"] == outputs(implicit)
    assert ["carried"] == outputs(turn)


def test_uninstrument_puts_threads_and_pools_back(turns):
    """The patches come with the first traced turn and go with `uninstrument`."""
    before = ThreadPoolExecutor.submit, threading.Thread.start
    with moa.turn():
        assert before[0] is not ThreadPoolExecutor.submit
    moa.uninstrument()
    assert before == (ThreadPoolExecutor.submit, threading.Thread.start)


def test_a_pool_that_was_started_in_a_turn_serves_others_without_it(turns):
    """A worker thread that a turn's submit started does not keep the turn for later work."""
    pool = ThreadPoolExecutor(1)

    @moa.turn
    def create():
        return pool.submit(reference("inside"), MESSAGES).result()

    create()
    pool.submit(reference("outside"), MESSAGES).result()
    pool.shutdown()
    inside, outside = turns
    assert ["inside"] == outputs(inside)
    assert outside["implicit"]
    assert ["outside"] == outputs(outside)


def test_a_thread_object_is_left_as_it_was(turns):
    """Carrying a turn into a thread leaves no trace on the thread object."""
    thread = threading.Thread(target=lambda: None)
    before = set(vars(thread))
    with moa.turn():
        thread.start()
        thread.join()
        assert "run" not in set(vars(thread)) - before
        with pytest.raises(RuntimeError):
            thread.start()
        assert "run" not in vars(thread)


# Late calls ---------------------------------------------------------------------------------------


def test_a_reference_that_ends_after_its_turn_is_kept_as_late(trace_dir, read_lines):
    """The turn lists it without an outcome; a line in `late/` brings the rest."""
    begun, go_on = threading.Event(), threading.Event()

    def wait():
        begun.set()
        go_on.wait(10)

    thread = threading.Thread(target=lambda: reference("slow", wait=wait)(MESSAGES))

    @moa.turn(session_id="s")
    def create():
        thread.start()
        begun.wait(10)
        time.sleep(0.05)
        return reference("fast")(MESSAGES)

    create()
    go_on.set()
    thread.join()
    assert ["late", "s.jsonl"] == sorted(path.name for path in trace_dir.iterdir())
    late, turn = sorted(read_lines(trace_dir), key=lambda record: record["schema"])
    assert "moa-late/1" == late["schema"]
    assert turn["turn_id"] == late["turn_id"]
    assert "s" == late["session_id"]
    slow, fast = turn["references"]
    assert (None, None, None) == (slow["outcome"], slow["output"], slow["ended_at"])
    assert "completed" == fast["outcome"]
    call = late["call"]
    assert slow["call_id"] == call["call_id"]
    assert ("slow", "completed", True) == (call["output"], call["outcome"], call["late"])
    assert call["duration_ms"] > 40


def test_a_late_reference_around_an_instrumented_client_is_one_late_line(turns):
    """What the late reference asks its model after the turn belongs to it."""
    begun, go_on = threading.Event(), threading.Event()

    @moa.reference(label="slow")
    def ask(client):
        begun.set()
        go_on.wait(10)
        return client.chat.completions.create(model="m", messages=MESSAGES)

    with world("mock") as made:
        client = moa.instrument(made.client())

        @moa.turn
        def create():
            thread = threading.Thread(target=ask, args=(client,))
            thread.start()
            begun.wait(10)
            return thread

        thread = create()
        assert 1 == len(turns)
        go_on.set()
        thread.join()
    turn, late = turns
    assert [None] == [call["outcome"] for call in turn["references"]]
    call = late["call"]
    assert ("slow", "m", TEXT) == (call["label"], call["model"], call["output"])
    assert MESSAGES == call["input_messages"]


def test_a_failing_late_reference_keeps_its_error(turns):
    """Its real outcome is in the late line."""
    begun, go_on = threading.Event(), threading.Event()

    @moa.reference
    def ask():
        begun.set()
        go_on.wait(10)
        raise ValueError("too late")

    def quietly():
        with pytest.raises(ValueError, match="too late"):
            ask()

    @moa.turn
    def create():
        thread = threading.Thread(target=quietly)
        thread.start()
        begun.wait(10)
        return thread

    thread = create()
    go_on.set()
    thread.join()
    assert {"type": "ValueError", "message": "too late"} == turns[1]["call"]["error"]


# Nested, implicit, by hand --------------------------------------------------------------------------


def test_a_nested_turn_is_a_line_of_its_own_linked_both_ways(turns):
    """The parent lists the child's id, the child names the parent and inherits its session."""

    @moa.turn
    def inner():
        return reference("inner")(MESSAGES)

    @moa.turn(session_id="s", preset="p")
    def outer():
        reference("outer")(MESSAGES)
        return inner()

    outer()
    child, parent = turns
    assert parent["turn_id"] == child["parent_turn_id"]
    assert [child["turn_id"]] == parent["turns"]
    assert ("s", "p") == (child["session_id"], child["preset"])
    assert ["inner"] == outputs(child)
    assert ["outer"] == outputs(parent)
    assert 1 == parent["totals"]["calls"] == child["totals"]["calls"]


def test_a_nested_turn_names_its_own_session(turns):
    """It is in its parent's session unless it names another."""

    @moa.turn(session_id="mine")
    def inner():
        return "x"

    @moa.turn(session_id="theirs")
    def outer():
        return inner()

    outer()
    assert ["mine", "theirs"] == [record["session_id"] for record in turns]


def test_a_call_outside_a_turn_is_an_implicit_turn(turns):
    """Nothing is lost: a turn of one call."""
    reference("alone")(MESSAGES)
    (record,) = turns
    assert record["implicit"]
    assert ["alone"] == outputs(record)
    assert "alone" == record["output"]
    assert record["aggregator"] is None


def test_a_turn_by_hand_without_calls_lends_and_writes_nothing(turns):
    """It lent session, preset and tags to the turn inside."""

    @moa.turn
    def create():
        return "x"

    with moa.turn(session_id="s", preset="p", tags={"tenant": "a"}) as turn:
        assert turn is moa.current_turn()
        create()
    assert moa.current_turn() is None
    (record,) = turns
    assert ("s", "p", {"tenant": "a"}) == (record["session_id"], record["preset"], record["tags"])
    assert turn.id == record["parent_turn_id"]


def test_a_turn_by_hand_closes_with_the_last_stream_begun_in_it(turns):
    """The stream may end after the block."""
    with world("mock") as made:
        client = moa.instrument(made.client())
        with moa.turn():
            reference("first")(MESSAGES)
            stream = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
        assert [] == turns
        for _ in stream:
            pass
    (record,) = turns
    assert TEXT == record["aggregator"]["output"] == record["output"]
    assert ["completed"] == [call["outcome"] for call in record["calls"] + record["references"]]


def test_an_error_in_the_block_keeps_the_stream_and_says_so(turns):
    """The turn's outcome is the block's error, its text is all that passed."""
    with world("mock") as made:
        client = moa.instrument(made.client())
        with pytest.raises(ValueError, match="mine"), moa.turn():
            stream = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
            next(stream)
            raise ValueError("mine")
        stream.close()
    (record,) = turns
    assert ("error", "ValueError") == (record["outcome"], record["error"]["type"])
    assert ("closed", PIECES[0]) == (record["aggregator"]["outcome"], record["aggregator"]["output"])


HOLDERS = {
    "tuple": lambda stream: (stream, {"cost": 1}),
    "holder": lambda stream: SimpleNamespace(body=stream),
    "list": lambda stream: [stream],
    "dict": lambda stream: {"stream": stream},
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_create_that_hands_its_stream_out_in_a_holder_loses_nothing(turns, holder):
    """The turn closes with the aggregator's stream, not with the return."""
    with world("mock") as made:
        client = moa.instrument(made.client())

        @moa.turn
        def create():
            reference("ref")(MESSAGES)
            stream = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
            return HOLDERS[holder](stream)

        held = create()
        assert [] == turns
        (stream,) = [held.body] if holder == "holder" else [held["stream"]] if holder == "dict" else [held[0]]
        text = "".join(c.choices[0].delta.content or "" for c in stream)
    (record,) = turns
    assert TEXT == text == record["aggregator"]["output"] == record["output"]
    assert "completed" == record["outcome"]


@pytest.mark.parametrize("decorated", [False, True])
@pytest.mark.parametrize("holder", HOLDERS)
def test_a_stream_dropped_with_its_holder_ends_at_once(turns, holder, decorated):
    """Nothing of ours keeps the holder, or what is in it, alive."""
    with world("mock") as made:
        client = moa.instrument(made.client())

        def act():
            return HOLDERS[holder](client.chat.completions.create(model="m", messages=MESSAGES, stream=True))

        act = moa.aggregator(act) if decorated else act

        @moa.turn
        def create():
            return act()

        held = create()
        assert [] == turns
        del held
        assert 1 == len(turns)
        held = act()
        del held
    for record in turns:
        assert ("abandoned", "abandoned") == (record["outcome"], record["aggregator"]["outcome"])


def test_reading_a_value_reads_no_property(turns):
    """`.text` of a streaming HTTP response would read the body away from its owner."""

    class Response:
        reads = 0

        @property
        def text(self):
            Response.reads += 1
            return "body"

        content = output = text

    @moa.reference
    def ask():
        return Response()

    ask()
    assert 0 == Response.reads
    assert turns[0]["references"][0]["raw"]["type"].endswith("Response")


def test_the_aggregators_own_stream_is_read_once(turns):
    """A create that returns it adds no proxy, and the turn ends with it."""
    with world("mock") as made:
        client = moa.instrument(made.client())
        inner = []

        @moa.turn
        def create():
            stream = client.chat.completions.create(model="m", messages=MESSAGES, stream=True)
            inner.append(id(stream))
            return stream

        stream = create()
        assert inner == [id(stream)]
        next(stream)
        stream.close()
    (record,) = turns
    assert ("closed", "closed") == (record["outcome"], record["aggregator"]["outcome"])
    assert PIECES[0] == record["output"] == record["aggregator"]["output"]


def test_a_generator_over_the_aggregators_stream_is_recorded_beside_it(turns):
    """The turn has the generator's text, the aggregator its own."""
    with world("mock") as made:
        client = moa.instrument(made.client())

        @moa.turn
        def create():
            for chunk in client.chat.completions.create(model="m", messages=MESSAGES, stream=True):
                yield (chunk.choices[0].delta.content or "").upper()

        assert TEXT.upper() == "".join(create())
    (record,) = turns
    assert TEXT.upper() == record["output"]
    assert TEXT == record["aggregator"]["output"]


def test_one_block_may_be_entered_by_several_tasks_at_once(turns):
    """Nothing of one use is kept on the block."""
    block = moa.turn(session_id="shared")

    async def one(number, mine, later):
        with block as turn:
            await later.wait()
            reference(f"r{number}")(MESSAGES)
            assert turn is moa.current_turn()
        mine.set()

    async def main():
        over = [asyncio.Event() for _ in range(6)]
        over[5].set()
        await asyncio.gather(*(one(number, over[number], over[number + 1]) for number in range(5)))

    asyncio.run(main())
    assert [[f"r{n}"] for n in reversed(range(5))] == [outputs(record) for record in turns]


def test_a_block_left_in_another_thread_closes_its_turn(turns):
    """Fixtures and dependencies leave elsewhere than they entered; that never raises."""
    block = moa.turn()
    block.__enter__()
    reference("there")(MESSAGES)
    thread = threading.Thread(target=block.__exit__, args=(None, None, None))
    thread.start()
    thread.join()
    assert [["there"]] == [outputs(record) for record in turns]
    tag = moa.tag(role="critique")
    tag.__enter__()
    thread = threading.Thread(target=tag.__exit__, args=(None, None, None))
    thread.start()
    thread.join()
    tag.__exit__(None, None, None)


def test_tags_win_over_decorators(turns):
    """`tag` is the strongest word on role, label, layer, session and preset."""

    @moa.turn(session_id="weak", preset="weak")
    def create():
        with moa.tag(role="critique", label="strong", layer=3, tags={"a": 1}):
            return reference("weak")(MESSAGES)

    with moa.tag(session_id="strong", preset="strong"):
        create()
    (record,) = turns
    assert ("strong", "strong") == (record["session_id"], record["preset"])
    (call,) = record["calls"]
    assert ("critique", "tag", "strong", 3) == tuple(call[name] for name in ("role", "role_source", "label", "layer"))


def test_a_tag_is_meant_for_the_call_and_not_for_what_is_inside(turns):
    """A call's body does not inherit the role that the call was tagged with."""

    @moa.reference
    def inner():
        return "inner answer"

    @moa.reference
    def inner_too():
        return "inner too"

    @moa.aggregator
    def outer():
        inner()
        inner_too()
        return "outer answer"

    @moa.turn
    def create():
        with moa.tag(role="critique"):
            return outer()

    create()
    (record,) = turns
    assert ["critique", "reference", "reference"] == [call["role"] for call in record["calls"]] + [
        call["role"] for call in record["references"]
    ]


# Calls inside calls -------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [False, True])
def test_a_reference_around_an_instrumented_client_is_one_record(turns, stream):
    """Label and role of the outer call, model, usage, ids and request of the inner one."""
    usage = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}
    with ScriptedServer({"m": Script("The answer.", usage=usage, usage_always=True)}) as server:
        import openai

        client = moa.instrument(openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0))

        @moa.reference(label="fast")
        def propose(question):
            system = {"role": "system", "content": "Be brief."}
            asked = [system, {"role": "user", "content": question}]
            answer = client.chat.completions.create(model="m", messages=asked, stream=stream, temperature=0.5)
            if stream:
                return "".join(c.choices[0].delta.content or "" for c in answer if c.choices)
            return answer.choices[0].message.content

        @moa.turn
        def create(messages):
            return propose("Why?")

        create(MESSAGES)
    (record,) = turns
    (call,) = record["references"]
    assert ("fast", "reference", "declared", "m") == tuple(
        call[name] for name in ("label", "role", "role_source", "model")
    )
    assert ["system", "user"] == [message["role"] for message in call["input_messages"]]
    assert (10, 4) == (call["usage"]["input_tokens"], call["usage"]["output_tokens"])
    assert (0.5, "openai", "The answer.") == (call["temperature"], call["provider"], call["output"])
    assert call["response_id"].startswith("chatcmpl")
    assert ([], 1, 14) == (
        record["calls"],
        record["totals"]["calls"],
        record["totals"]["usage"]["input_tokens"] + record["totals"]["usage"]["output_tokens"],
    )


def test_several_inner_calls_stand_beside_the_outer(turns):
    """The outer is the reference, the inner ones are further calls that name it as parent."""
    with world("mock") as made:
        client = moa.instrument(made.client())

        @moa.reference(label="agent")
        def agent():
            for _ in range(2):
                client.chat.completions.create(model="m", messages=MESSAGES)
            return "agent's answer"

        @moa.turn
        def create():
            return agent()

        create()
    (record,) = turns
    (outer,) = record["references"]
    assert ("agent", "agent's answer") == (outer["label"], outer["output"])
    assert [outer["call_id"]] * 2 == [call["parent"] for call in record["calls"]]
    assert [TEXT] * 2 == [call["output"] for call in record["calls"]]
    assert 2 == record["totals"]["calls"]


def test_messages_given_as_a_generator_reach_the_sdk_and_the_record(turns):
    """An argument that is an iterator is passed on through one that keeps what is pulled."""
    with ScriptedServer({"m": "ok"}) as server:
        import openai

        client = moa.instrument(openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0))
        client.chat.completions.create(model="m", messages=(dict(message) for message in MESSAGES * 3))
        assert MESSAGES * 3 == server.received[0].body["messages"]
    (record,) = turns
    assert MESSAGES * 3 == record["aggregator"]["input_messages"]


def test_the_request_is_what_it_was_when_the_call_began(turns):
    """Later changes of the caller's list are not in the record."""
    messages = [{"role": "user", "content": "before"}]

    @moa.reference
    def ask(messages):
        messages[0]["content"] = "after"
        return "x"

    ask(messages)
    assert [{"role": "user", "content": "before"}] == turns[0]["references"][0]["input_messages"]


# Roles and layers -----------------------------------------------------------------------------------


def test_an_unchanged_script_yields_a_layered_record(turns):
    """Two rounds of references and an aggregator, nothing named, one `with moa.turn()` around it."""
    answers = {
        "a1": "Alpha believes it is the weather.",
        "b1": "Beta blames the economy at large.",
        "a2": "Having read both, alpha now agrees.",
        "b2": "Having read both, beta disagrees.",
        "agg": "It is a bit of everything.",
    }
    with ScriptedServer(answers) as server:
        import openai

        client = moa.instrument(openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0))

        def ask(model, content):
            reply = client.chat.completions.create(model=model, messages=[{"role": "user", "content": content}])
            return reply.choices[0].message.content

        with moa.turn(), ThreadPoolExecutor() as pool:
            first = list(pool.map(ask, ["a1", "b1"], ["Why?"] * 2))
            second = list(pool.map(ask, ["a2", "b2"], ["Why? " + " ".join(first)] * 2))
            ask("agg", "Why? " + " ".join(second))
    (record,) = turns
    assert [("a1", 1), ("b1", 1), ("a2", 2), ("b2", 2)] == [
        (call["model"], call["layer"]) for call in record["references"]
    ]
    assert "agg" == record["aggregator"]["model"]
    assert {"inferred"} == {call["role_source"] for call in [*record["references"], record["aggregator"]]}


def test_a_conversation_is_no_ensemble(turns):
    """An output that comes back as an assistant message is an earlier step."""
    with world("mock") as made:
        client = moa.instrument(made.client())
        with moa.turn():
            messages = list(MESSAGES)
            for _ in range(2):
                reply = client.chat.completions.create(model="m", messages=messages)
                messages.append({"role": "assistant", "content": reply.choices[0].message.content})
                messages.append({"role": "user", "content": "and?"})
    (record,) = turns
    assert ([], ["call"]) == (record["references"], [call["role"] for call in record["calls"]])
    assert 1 == record["aggregator"]["index"]


# Off ----------------------------------------------------------------------------------------------


def test_the_switch_is_live_between_two_turns(tmp_path, monkeypatch, read_lines):
    """On for one turn, off for the next, on again: it is read at each turn's start."""
    monkeypatch.setenv("MOA_TRACE_DIR", str(tmp_path / "t"))
    for number, on in enumerate(["1", "0", "true", "off", ""]):
        monkeypatch.setenv("MOA_SAVE_TRACES", on)
        reference(f"r{number}")(MESSAGES)
    assert [["r0"], ["r2"]] == [outputs(record) for record in read_lines(tmp_path)]


def test_off_makes_no_directory_and_returns_the_functions_own_objects(tmp_path, monkeypatch):
    """No directory, no file, no proxy."""
    monkeypatch.setenv("MOA_TRACE_DIR", str(tmp_path / "t"))

    @moa.reference
    def ask():
        return iter("abc")

    assert type(iter("abc")) is type(ask())
    assert [] == list(tmp_path.iterdir())


def test_fanout_records_only_turns_that_ran_references(turns, monkeypatch):
    """`MOA_TURNS=fanout`, as the seed did."""
    monkeypatch.setenv("MOA_TURNS", "fanout")

    @moa.turn
    def create(messages, *, cached):
        return "cached" if cached else reference("fresh")(messages)

    create(MESSAGES, cached=True)
    create(MESSAGES, cached=False)
    create(MESSAGES, cached=True)
    assert [["fresh"]] == [outputs(record) for record in turns]


def test_each_create_is_a_turn_also_without_references(turns):
    """A cache hit of the client's own is a turn without calls."""

    @moa.turn
    def create(messages):
        return "cached"

    create(MESSAGES)
    assert [([], None, "cached")] == [(r["references"], r["aggregator"], r["output"]) for r in turns]


def test_capture_turns_may_nest():
    """Each block gets the turns that opened within it."""
    with capture_turns() as outer:
        reference("one")(MESSAGES)
        with capture_turns() as inner:
            reference("two")(MESSAGES)
    assert [["one"], ["two"]] == [outputs(record) for record in outer]
    assert [["two"]] == [outputs(record) for record in inner]
    for record in outer:
        check(record)


def test_a_turn_by_hand_may_be_entered_by_async_with(turns):
    """As a user of async code would write it."""

    async def main():
        async with moa.turn(session_id="s"):
            reference("inside")(MESSAGES)

    asyncio.run(main())
    assert [("s", ["inside"])] == [(record["session_id"], outputs(record)) for record in turns]


def test_a_function_is_no_tag_of_a_block():
    """It has no arguments to call it with."""
    with pytest.raises(moa.TagError, match="is for decorators"), moa.turn(session_id=lambda user: user):
        pass


def test_nested_calls_outside_a_turn_are_one_implicit_turn(turns):
    """The inner call does not end the turn that was opened for the outer."""

    @moa.reference(label="inner")
    def inner():
        return "inner answer"

    @moa.reference(label="outer")
    def outer():
        return inner().upper()

    outer()
    (record,) = turns
    (call,) = record["references"]
    assert ("outer", "INNER ANSWER", "completed") == (call["label"], call["output"], call["outcome"])


def test_a_turn_that_returns_a_stream_manager_ends_with_its_stream(turns):
    """Entered and read; entered for a value; never entered."""

    @moa.turn
    @contextlib.contextmanager
    def streams():
        yield iter(["a", "b"])

    @moa.turn
    @contextlib.contextmanager
    def values():
        yield "whole"

    with streams() as stream:
        assert ["a", "b"] == list(stream)
    with values() as value:
        assert "whole" == value
    streams()
    assert [("completed", "ab"), ("completed", "whole"), ("abandoned", None)] == [
        (record["outcome"], record["output"]) for record in turns
    ]


def test_an_async_turn_that_returns_a_stream_manager_ends_with_its_stream(turns):
    """The same for `async with`."""

    @moa.turn
    @contextlib.asynccontextmanager
    async def streams():
        async def pieces():
            yield "a"
            yield "b"

        yield pieces()

    async def main():
        async with streams() as stream:
            return [piece async for piece in stream]

    assert ["a", "b"] == asyncio.run(main())
    assert [("completed", "ab")] == [(record["outcome"], record["output"]) for record in turns]


def test_a_turn_whose_awaitable_is_never_awaited_is_abandoned(turns):
    """What was opened is closed when the last reference goes."""

    class Later:
        def __await__(self):
            yield

    @moa.turn
    def create():
        return Later()

    create()
    gc.collect()
    assert ["abandoned"] == [record["outcome"] for record in turns]
