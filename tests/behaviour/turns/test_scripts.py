"""Scripts without an entry point: `with moa.turn():` around them and `moa.instrument(client)`, and nothing else.

The scripts below know nothing of this library. They gather references over several layers in the ways that people do
it and stream an aggregator; the record must be complete and layered all the same.
"""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager

import openai
import pytest

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer

QUESTION = "Why do people like the sea so much?"
SYSTEM = "You have been given responses from several models. Write one answer from them.\nResponses from models:"
ANSWER = "It is the horizon, the sound and the smell of it."
NAMES = ("ada", "ben", "cleo")


def says(model):
    """Return what a reference says; every one says something else."""
    return f"{model[::-1]}, spelt backwards, holds that number {sum(map(ord, model))} explains it."


def messages_for(former):
    """Return the messages of one round: the question, after it the round before, as Together's own script has it."""
    if not former:
        return [{"role": "user", "content": QUESTION}]
    numbered = "\n".join(f"{number}. {text}" for number, text in enumerate(former, 1))
    return [{"role": "system", "content": f"{SYSTEM}\n{numbered}"}, {"role": "user", "content": QUESTION}]


def models_of(layer):
    """Return the names of a round's models."""
    return [f"{name}-{layer}" for name in NAMES]


# --- ways to gather a round -------------------------------------------------------------------------------------------


def ask(client, model, messages):
    """Ask for a value."""
    return client.chat.completions.create(model=model, messages=messages, temperature=0.7).choices[0].message.content


def ask_by_stream(client, model, messages):
    """Ask for a stream, and join it."""
    stream = client.chat.completions.create(model=model, messages=messages, stream=True)
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


async def ask_later(client, model, messages):
    """Ask for a value, in the asynchronous world."""
    reply = await client.chat.completions.create(model=model, messages=messages)
    return reply.choices[0].message.content


def in_a_loop(clients, models, messages):
    return [ask(clients.sync, model, messages) for model in models]


def by_streams(clients, models, messages):
    return [ask_by_stream(clients.sync, model, messages) for model in models]


def in_a_pool(clients, models, messages):
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda model: ask(clients.sync, model, messages), models))


def as_they_come(clients, models, messages):
    with ThreadPoolExecutor() as pool:
        futures = [pool.submit(ask, clients.sync, model, messages) for model in models]
        for future in as_completed(futures):
            future.result()
    return [future.result() for future in futures]


def in_threads(clients, models, messages):
    found = {}
    threads = [
        threading.Thread(target=lambda model=model: found.update({model: ask(clients.sync, model, messages)}))
        for model in models
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [found[model] for model in models]


def gathered(clients, models, messages):
    async def main():
        async with clients.make_async() as client:
            return await asyncio.gather(*(ask_later(client, model, messages) for model in models))

    return asyncio.run(main())


def in_tasks(clients, models, messages):
    async def main():
        async with clients.make_async() as client, asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask_later(client, model, messages)) for model in models]
        return [task.result() for task in tasks]

    return asyncio.run(main())


def to_threads(clients, models, messages):
    async def main():
        return await asyncio.gather(*(asyncio.to_thread(ask, clients.sync, model, messages) for model in models))

    return asyncio.run(main())


def in_the_loops_executor(clients, models, messages):
    async def main():
        loop = asyncio.get_running_loop()
        work = [loop.run_in_executor(None, ask, clients.sync, model, messages) for model in models]
        return await asyncio.gather(*work)

    return asyncio.run(main())


def loops_in_a_pool(clients, models, messages):
    with ThreadPoolExecutor() as pool:
        return [texts[0] for texts in pool.map(lambda model: gathered(clients, [model], messages), models)]


def mixed(clients, models, messages):
    async def main():
        async with clients.make_async() as client:
            first, *others = models
            late = [asyncio.to_thread(ask, clients.sync, model, messages) for model in others]
            return await asyncio.gather(ask_later(client, first, messages), *late)

    return asyncio.run(main())


WAYS = [
    in_a_loop,
    by_streams,
    in_a_pool,
    as_they_come,
    in_threads,
    gathered,
    in_tasks,
    to_threads,
    in_the_loops_executor,
    loops_in_a_pool,
    mixed,
]


# --- the worlds -------------------------------------------------------------------------------------------------------


class Clients:
    """The instrumented clients of one server; asynchronous ones live as long as their loop."""

    def __init__(self, server):
        self.server = server
        self.sync = moa.instrument(openai.OpenAI(**self.options))

    @property
    def options(self):
        return {"base_url": self.server.base_url, "api_key": "test", "max_retries": 0}

    def make_async(self):
        return moa.instrument(openai.AsyncOpenAI(**self.options))


@contextmanager
def serving(**scripts):
    """Serve references that all say something else, and the aggregator."""
    scripts = {"judge": Script(ANSWER, usage_always=True), **scripts}
    with ScriptedServer(scripts, default=lambda body: says(body["model"])) as server:
        clients = Clients(server)
        yield clients
        clients.sync.close()


def check(record, server, layers, *, models=models_of):
    """Assert that a record has every call of a run of so many layers, as the server saw it."""
    expected = [(model, layer) for layer in range(1, layers + 1) for model in models(layer)]
    found = record["references"]
    assert sorted(expected) == sorted((call["model"], call["layer"]) for call in found)
    # Within a round tasks begin in the order in which the loop runs them; rounds follow each other.
    assert [layer for _, layer in expected] == [call["layer"] for call in found]
    assert list(range(len(expected) + 1)) == [call["index"] for call in [*found, record["aggregator"]]]
    assert [] == record["calls"]
    calls = [*found, record["aggregator"]]
    assert {"inferred"} == {call["role_source"] for call in calls}
    assert all(call["role"] == "reference" for call in found)
    assert ("aggregator", None) == (record["aggregator"]["role"], record["aggregator"]["layer"])
    sent = {each.model: each for each in server.sent}
    received = {each.body["model"]: each.body for each in server.received}
    for call in calls:
        assert received[call["model"]]["messages"] == call["input_messages"]
        if call["outcome"] == "completed":
            assert sent[call["model"]].text == call["output"]
            assert (sent[call["model"]].usage is None) is (call["usage"] == {})
    assert len(calls) == record["totals"]["calls"]


def rounds(clients, ways):
    """Run a round each way, and return the last round's texts."""
    former = []
    for layer, way in enumerate(ways, 1):
        former = way(clients, models_of(layer), messages_for(former))
    return former


# --- layers -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_gather_is_layered(turns, way, layers):
    """One, two and three rounds, and a streamed aggregator that is read inside the block."""
    with serving() as clients:
        with moa.turn(session_id="s-1"):
            texts = rounds(clients, [way] * layers)
            assert ANSWER == ask_by_stream(clients.sync, "judge", messages_for(texts))
        (record,) = turns
        check(record, clients.server, layers)
    assert ("s-1", "completed", ANSWER) == (record["session_id"], record["outcome"], record["aggregator"]["output"])
    assert ("stop", True) == (record["aggregator"]["finish_reason"], record["aggregator"]["streamed"])


@pytest.mark.parametrize(
    "ways",
    [(gathered, in_a_pool, to_threads), (in_threads, gathered), (loops_in_a_pool, in_tasks, in_a_loop), (mixed, mixed)],
)
def test_rounds_may_be_gathered_in_different_ways(turns, ways):
    """Synchronous and asynchronous rounds in one turn."""
    with serving() as clients:
        with moa.turn():
            ask_by_stream(clients.sync, "judge", messages_for(rounds(clients, ways)))
        check(turns[0], clients.server, len(ways))


def test_rounds_that_begin_alike_are_told_apart(turns):
    """Replies of two rounds begin with the same words, at the same place of their prompts."""

    def alike(body):
        return f"The sea is a long story, says {body['model']}."

    with serving(**{model: alike for layer in (1, 2) for model in models_of(layer)}) as clients:
        with moa.turn():
            ask_by_stream(clients.sync, "judge", messages_for(rounds(clients, [in_a_pool, in_a_pool])))
        check(turns[0], clients.server, 2)


def test_an_aggregator_alone_is_the_whole_turn(turns):
    """No reference, no layer."""
    with serving() as clients:
        with moa.turn():
            ask_by_stream(clients.sync, "judge", messages_for([]))
        check(turns[0], clients.server, 0)


def test_a_value_aggregates_as_well(turns):
    """The aggregator need not be a stream."""
    with serving() as clients:
        with moa.turn():
            ask(clients.sync, "judge", messages_for(rounds(clients, [in_a_pool, in_a_pool])))
        check(turns[0], clients.server, 2)


def test_references_in_the_users_message_are_found(turns):
    """Many scripts put them behind the question instead of into the system prompt."""
    with serving() as clients:
        with moa.turn():
            texts = in_a_pool(clients, models_of(1), messages_for([]))
            prompt = QUESTION + "\n\n" + "\n---\n".join(texts)
            ask_by_stream(clients.sync, "judge", [{"role": "user", "content": prompt}])
        check(turns[0], clients.server, 1)


def test_one_model_may_be_every_reference(turns):
    """Self-MoA: one model, many samples, each of which says something else."""
    samples = [f"Sample {number} of a model that is asked three times." for number in range(3)]
    with serving(one=samples) as clients:
        with moa.turn():
            texts = in_a_loop(clients, ["one"] * 3, messages_for([]))
            ask_by_stream(clients.sync, "judge", messages_for(texts))
    (record,) = turns
    assert [("one", 1, text) for text in samples] == [
        (call["model"], call["layer"], call["output"]) for call in record["references"]
    ]
    assert "judge" == record["aggregator"]["model"]


def test_a_reference_that_failed_belongs_to_its_round(turns):
    """The script goes on without it, as scripts do."""
    with serving(**{"ben-1": Script(status=429, error={"message": "slow down"})}) as clients:
        with moa.turn():
            texts = []
            for model in models_of(1):
                try:
                    texts.append(ask(clients.sync, model, messages_for([])))
                except openai.RateLimitError:
                    continue
            ask_by_stream(clients.sync, "judge", messages_for(texts))
    (record,) = turns
    assert [("ada-1", 1, "completed"), ("ben-1", 1, "error"), ("cleo-1", 1, "completed")] == [
        (call["model"], call["layer"], call["outcome"]) for call in record["references"]
    ]
    assert ("openai.RateLimitError", 1) == (record["references"][1]["error"]["type"], record["totals"]["failed"])


def test_exceptions_that_were_gathered_are_references_too(turns):
    """`gather(return_exceptions=True)`, the usual way to live with failures."""

    async def main(clients):
        async with clients.make_async() as client:
            work = [ask_later(client, model, messages_for([])) for model in models_of(1)]
            found = await asyncio.gather(*work, return_exceptions=True)
            texts = [each for each in found if isinstance(each, str)]
            stream = await client.chat.completions.create(model="judge", messages=messages_for(texts), stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

    with serving(**{"cleo-1": Script(status=500)}) as clients:
        with moa.turn():
            assert ANSWER == asyncio.run(main(clients))
    (record,) = turns
    assert {("ada-1", "completed"), ("ben-1", "completed"), ("cleo-1", "error")} == {
        (call["model"], call["outcome"]) for call in record["references"]
    }
    assert "judge" == record["aggregator"]["model"]


# --- the aggregator's stream ------------------------------------------------------------------------------------------


def read_to_the_end(stream):
    for _ in stream:
        pass


def break_off(stream):
    for number, _ in enumerate(stream):
        if number == 3:
            break


def close_early(stream):
    next(stream)
    next(stream)
    stream.close()


def leave_its_with(stream):
    with stream:
        next(stream)
        next(stream)


def fail_inside(stream):
    with pytest.raises(ZeroDivisionError), stream:
        for _ in stream:
            1 / 0


@pytest.mark.parametrize(
    ("consume", "outcome", "output"),
    [
        (read_to_the_end, "completed", ANSWER),
        (break_off, "abandoned", "It is the"),
        (close_early, "closed", "It"),
        (leave_its_with, "closed", "It"),
        (fail_inside, "consumer_error", ""),
    ],
)
@pytest.mark.parametrize("inside", [True, False], ids=["inside", "after"])
def test_however_the_stream_ends_the_record_is_layered(turns, consume, outcome, output, inside):
    """Read inside the block or after it: one line, all references, and the text so far."""
    with serving() as clients:
        with moa.turn():
            texts = rounds(clients, [gathered, in_a_pool])
            stream = clients.sync.chat.completions.create(model="judge", messages=messages_for(texts), stream=True)
            if inside:
                consume(stream)
                del stream
        if not inside:
            assert [] == turns
            consume(stream)
            del stream
        gc.collect()
        (record,) = turns
        check(record, clients.server, 2)
    assert (outcome, output) == (record["aggregator"]["outcome"], record["aggregator"]["output"] or "")


def test_a_stream_that_breaks_keeps_its_references(turns):
    """The provider's connection is lost in mid-answer."""
    with serving(judge=Script(ANSWER, break_after=3)) as clients:
        with moa.turn(), pytest.raises(Exception, match=r"Connection error|peer closed"):
            ask_by_stream(clients.sync, "judge", messages_for(rounds(clients, [in_a_pool])))
        (record,) = turns
        check(record, clients.server, 1)
    assert ("error", "It is the") == (record["aggregator"]["outcome"], record["aggregator"]["output"])


def test_an_asynchronous_stream_aggregates_as_well(turns):
    """The whole script in one loop, as Together's is."""

    async def main(clients):
        async with clients.make_async() as client:
            former = []
            for layer in (1, 2):
                work = [ask_later(client, model, messages_for(former)) for model in models_of(layer)]
                former = await asyncio.gather(*work)
            stream = await client.chat.completions.create(model="judge", messages=messages_for(former), stream=True)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])

    with serving() as clients:
        with moa.turn():
            assert ANSWER == asyncio.run(main(clients))
        check(turns[0], clients.server, 2)


def test_the_sdks_stream_manager_aggregates_as_well(turns):
    """`chat.completions.stream()`, with its events."""
    with serving() as clients:
        with moa.turn():
            texts = rounds(clients, [in_a_pool])
            with clients.sync.chat.completions.stream(model="judge", messages=messages_for(texts)) as stream:
                deltas = [event.delta for event in stream if event.type == "content.delta"]
        assert ANSWER == "".join(deltas)
        check(turns[0], clients.server, 1)


def test_the_stream_may_be_read_by_another_thread(turns):
    """A user interface reads in a thread of its own."""
    with serving() as clients:
        with moa.turn():
            texts = rounds(clients, [gathered])
            stream = clients.sync.chat.completions.create(model="judge", messages=messages_for(texts), stream=True)
        reader = threading.Thread(target=read_to_the_end, args=(stream,))
        reader.start()
        reader.join()
        check(turns[0], clients.server, 1)
    assert ANSWER == turns[0]["aggregator"]["output"]


# --- several turns ----------------------------------------------------------------------------------------------------


def test_one_block_a_question(turns):
    """A script that answers several questions one after the other has one line each."""
    with serving() as clients:
        for number in range(3):
            with moa.turn(session_id="s", tags={"number": number}):
                ask_by_stream(clients.sync, "judge", messages_for(rounds(clients, [in_a_pool, gathered])))
    assert [0, 1, 2] == [record["tags"]["number"] for record in turns]
    for record in turns:
        assert [1, 1, 1, 2, 2, 2] == [call["layer"] for call in record["references"]]


def test_concurrent_questions_do_not_mix(turns):
    """A block in each of several tasks, and in each of several threads, on one client."""
    with serving() as clients:

        def answer(number):
            with moa.turn(session_id=f"thread-{number}"):
                messages = [{"role": "user", "content": f"Question {number}, please."}]
                with ThreadPoolExecutor() as pool:
                    texts = list(pool.map(lambda model: ask(clients.sync, model, messages), models_of(number)))
                return ask_by_stream(clients.sync, "judge", messages_for(texts))

        async def answer_later(client, number):
            with moa.turn(session_id=f"task-{number}"):
                messages = [{"role": "user", "content": f"Question {number}, please."}]
                work = [ask_later(client, model, messages) for model in models_of(number)]
                return await ask_later(client, "judge", messages_for(await asyncio.gather(*work)))

        async def main():
            async with clients.make_async() as client:
                return await asyncio.gather(*(answer_later(client, number) for number in range(4)))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(answer, range(4)))
        asyncio.run(main())
    assert sorted(f"{kind}-{number}" for kind in ("thread", "task") for number in range(4)) == sorted(
        record["session_id"] for record in turns
    )
    for record in turns:
        number = int(record["session_id"].partition("-")[2])
        assert sorted(models_of(number)) == sorted(call["model"] for call in record["references"])
        assert ("judge", {1}) == (record["aggregator"]["model"], {call["layer"] for call in record["references"]})


def test_a_pool_that_outlives_its_turns_serves_each(turns):
    """One pool for the whole program, as servers have it."""
    with serving() as clients, ThreadPoolExecutor(3) as pool:
        for number in range(3):
            with moa.turn(session_id=str(number)):
                futures = [pool.submit(ask, clients.sync, model, messages_for([])) for model in models_of(number)]
                texts = [future.result() for future in futures]
                ask_by_stream(clients.sync, "judge", messages_for(texts))
    for number, record in enumerate(turns):
        assert (str(number), models_of(number)) == (
            record["session_id"],
            [call["model"] for call in record["references"]],
        )


def test_the_script_gets_the_same_with_and_without(tmp_path, monkeypatch):
    """Texts, pieces and the number of requests are those of the script alone."""

    def script(client):
        with ThreadPoolExecutor() as pool:
            texts = list(pool.map(lambda model: ask(client, model, messages_for([])), models_of(1)))
        stream = client.chat.completions.create(model="judge", messages=messages_for(texts), stream=True)
        return texts, [chunk.model_dump(exclude={"id", "created"}) for chunk in stream]

    seen = []
    for traced in (False, True):
        monkeypatch.setenv("MOA_SAVE_TRACES", "1" if traced else "0")
        monkeypatch.setenv("MOA_TRACE_DIR", str(tmp_path / "traces"))
        with serving() as clients:
            client = clients.sync if traced else openai.OpenAI(**clients.options)
            if traced:
                with moa.turn():
                    result = script(client)
            else:
                result = script(client)
            seen.append((result, sorted(received.body["model"] for received in clients.server.received)))
    assert seen[0] == seen[1]
    assert 1 == len(list((tmp_path / "traces").glob("*.jsonl")))
