"""A turn in two calls: `create` prepares, gives an object back, and is called once more with it."""

from __future__ import annotations

import asyncio
import gc
import os
import re
import subprocess
import sys
import threading
from pathlib import Path
from textwrap import dedent

import pytest

import moa_middleware as moa
from moa_middleware._capture.calls import prepared as _prepared
from moa_middleware._capture.calls.function import Options
from moa_middleware._capture.config import default_stack
from moa_middleware._capture.instrument import objects


def half(prepare_only=False, prepared=None):
    """Tell the halves of a turn apart, as an option of `create`."""
    return True if prepare_only else prepared


def two_phased(cls):
    """Instrument a client whose turns may be made in two calls."""
    targets = [
        ("create", Options("turn", session_id=lambda self: self.session, prepares=half)),
        ("ask", Options("call", role="reference")),
        ("act", Options("call", role="aggregator")),
    ]
    objects.instrument(cls, default_stack, targets, Options("call"))
    return cls


def made():
    """Return a client whose `create` can be called once, or twice."""

    class Mixture:
        session = "s-1"

        def ask(self, model, messages):
            return f"{model} thinks of {messages[-1]['content']}"

        def act(self, messages, *, stream=False, fails=False):
            if fails:
                raise ConnectionError("the line is dead")
            text = "So " + messages[-1]["content"]
            return iter(re.findall(r"\S+ ?", text)) if stream else text

        def create(self, *, messages=None, stream=False, prepare_only=False, prepared=None, fails=False):
            if prepared is None:
                drafts = [self.ask(model, messages) for model in ("a", "b")]
                prepared = {"messages": [*messages, {"role": "user", "content": " and ".join(drafts)}]}
                if prepare_only:
                    return prepared
            return self.act(prepared["messages"], stream=stream, fails=fails)

        def prepare(self, messages):
            return self.create(messages=messages, prepare_only=True)

    return two_phased(Mixture)


def asked(text):
    """Return a question."""
    return [{"role": "user", "content": text}]


def shown(turn):
    """Return what a line tells of its calls."""
    return [r["output"] for r in turn["references"]], turn["aggregator"] and turn["aggregator"]["output"]


BOTH = (["a thinks of hay", "b thinks of hay"], "So a thinks of hay and b thinks of hay")


def test_two_calls_are_one_turn(turns):
    """The references of the first, the aggregator of the second, the start of the first."""
    client = made()()
    prepared = client.create(messages=asked("hay"), prepare_only=True)
    assert turns == []
    assert moa.status().open_turns == 1
    between = moa.current_turn()
    assert client.create(prepared=prepared) == BOTH[1]

    (turn,) = turns
    assert between is None
    assert shown(turn) == BOTH
    assert turn["outcome"] == "completed"
    assert turn["output"] == BOTH[1]
    assert turn["session_id"] == "s-1"
    assert turn["input_messages"] == asked("hay")
    assert turn["started_at"] <= turn["references"][0]["started_at"]
    assert turn["ended_at"] >= turn["aggregator"]["ended_at"]
    assert [c["index"] for c in (*turn["references"], turn["aggregator"])] == [0, 1, 2]
    assert moa.status().open_turns == 0


def test_the_second_call_may_stream(turns):
    """The turn ends with the stream, and with it closes."""
    client = made()()
    stream = client.create(prepared=client.prepare(asked("hay")), stream=True)
    assert turns == []
    assert "".join(stream) == BOTH[1]
    (turn,) = turns
    assert shown(turn)[0] == BOTH[0]
    assert turn["aggregator"]["streamed"]
    assert turn["outcome"] == "completed"


def test_a_turn_in_one_call_is_as_it_was(turns):
    """A client that can do both is asked for neither."""
    assert made()().create(messages=asked("hay")) == BOTH[1]
    (turn,) = turns
    assert shown(turn) == BOTH


def test_a_client_that_prepares_inside_its_own_create_has_one_turn(turns):
    """The inner call goes on in the turn around it, both ways."""

    class Outer(made()):
        def create(self, *, messages=None, prepare_only=False, prepared=None):
            if prepare_only or prepared is not None:
                return super().create(messages=messages, prepare_only=prepare_only, prepared=prepared)
            return self.create(prepared=self.prepare(messages))

    assert Outer().create(messages=asked("hay")) == BOTH[1]
    (turn,) = turns
    assert shown(turn) == BOTH
    assert turn["turns"] == []
    assert turn["parent_turn_id"] is None


def test_another_thread_and_another_client_may_finish(turns):
    """The turn goes with the prepared object; the client that made it may be gone."""
    cls = made()
    client = cls()
    prepared = client.prepare(asked("hay"))
    del client
    gc.collect()
    later = cls.__new__(cls)
    cls().create(messages=asked("straw"))
    said = []
    thread = threading.Thread(target=lambda: said.append(later.create(prepared=prepared)))
    thread.start()
    thread.join()
    assert said == [BOTH[1]]
    straw, hay = turns
    assert shown(straw) == (["a thinks of straw", "b thinks of straw"], "So a thinks of straw and b thinks of straw")
    assert shown(hay) == BOTH
    assert straw["turn_id"] != hay["turn_id"]
    assert hay["started_at"] < straw["started_at"]


def test_eight_threads_on_one_client_finish_their_own(turns):
    """Halves are paired by the object, whatever runs at the same time."""
    client = made()()
    barrier = threading.Barrier(8)

    def one(word):
        prepared = client.prepare(asked(word))
        barrier.wait(10)
        client.create(prepared=prepared)

    threads = [threading.Thread(target=one, args=(f"w{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(turns) == 8
    for turn in turns:
        word = turn["input_messages"][0]["content"]
        assert shown(turn) == (
            [f"a thinks of {word}", f"b thinks of {word}"],
            f"So a thinks of {word} and b thinks of {word}",
        )


def test_async_halves_are_one_turn(turns):
    """An awaited `create` prepares and finishes the same way, also in another task."""

    class Mixture:
        session = "s-1"

        async def ask(self, model, messages):
            return f"{model} thinks of {messages[-1]['content']}"

        async def act(self, messages):
            return "So " + messages[-1]["content"]

        async def create(self, *, messages=None, prepare_only=False, prepared=None):
            if prepare_only:
                drafts = await asyncio.gather(*(self.ask(model, messages) for model in ("a", "b")))
                return {"messages": asked(" and ".join(drafts))}
            return await self.act(prepared["messages"])

    two_phased(Mixture)

    async def main():
        client = Mixture()
        prepared = await client.create(messages=asked("hay"), prepare_only=True)
        return await asyncio.create_task(client.create(prepared=prepared))

    assert asyncio.run(main()) == BOTH[1]
    (turn,) = turns
    assert shown(turn) == BOTH


def test_a_future_may_bring_the_prepared_object(turns):
    """It is kept when the future is done."""

    class Mixture(made()):
        def create(self, *, messages=None, prepare_only=False, prepared=None):
            if not prepare_only:
                return self.act(prepared["messages"])

            async def later():
                return {"messages": asked(self.ask("a", messages))}

            return asyncio.ensure_future(later())

    async def main():
        client = Mixture()
        return client.create(prepared=await client.create(messages=asked("hay"), prepare_only=True))

    assert asyncio.run(main()) == "So a thinks of hay"
    (turn,) = turns
    assert shown(turn) == (["a thinks of hay"], "So a thinks of hay")


def test_a_second_use_after_the_end_is_a_turn_of_its_own(turns):
    """A retry whose first request failed: the turn was over."""
    client = made()()
    prepared = client.prepare(asked("hay"))
    with pytest.raises(ConnectionError):
        client.create(prepared=prepared, fails=True)
    assert client.create(prepared=prepared) == BOTH[1]
    failed, again = turns
    assert failed["outcome"] == "error"
    assert shown(failed) == (BOTH[0], None)
    assert failed["error"]["message"] == "the line is dead"
    assert again["outcome"] == "completed"
    assert shown(again) == ([], BOTH[1])
    assert failed["turn_id"] != again["turn_id"]


def test_a_second_use_while_the_first_is_open_is_the_same_turn(turns):
    """A retry of a stream that hangs: the one begun last is the turn's answer."""
    client = made()()
    prepared = client.prepare(asked("hay"))
    hangs = client.create(prepared=prepared, stream=True)
    next(hangs)
    assert client.create(prepared=prepared) == BOTH[1]
    assert [t["schema"] for t in turns] == ["moa-turn/1"]
    assert shown(turns[0]) == BOTH
    assert turns[0]["outcome"] == "completed"
    assert turns[0]["output"] == BOTH[1]
    (open_call,) = turns[0]["calls"]
    assert open_call["role"] == "aggregator"
    assert open_call["outcome"] is None
    hangs = None
    gc.collect()
    late = turns[1]
    assert late["schema"] == "moa-late/1"
    assert late["call"]["call_id"] == open_call["call_id"]
    assert late["call"]["outcome"] == "abandoned"
    assert late["call"]["output"] == "So "


def test_a_first_try_that_ends_before_the_second_is_in_the_same_line(turns):
    """The turn waits for the one begun last."""
    client = made()()
    prepared = client.prepare(asked("hay"))
    first = client.create(prepared=prepared, stream=True)
    second = client.create(prepared=prepared, stream=True)
    assert "".join(first) == BOTH[1]
    assert turns == []
    assert "".join(second) == BOTH[1]
    (turn,) = turns
    assert turn["outcome"] == "completed"
    assert shown(turn) == BOTH
    assert [c["outcome"] for c in turn["calls"]] == ["completed"]


def test_an_object_made_of_the_prepared_one_can_stand_for_it(turns):
    """A client that rebuilds its request says so by `alias`."""
    client = made()()
    prepared = client.prepare(asked("hay"))
    rebuilt = {**prepared}
    _prepared.alias(prepared, rebuilt)
    assert client.create(prepared=rebuilt) == BOTH[1]
    (turn,) = turns
    assert shown(turn) == BOTH
    _prepared.alias({}, {})
    assert not _prepared.is_waiting()


def test_an_object_that_nobody_prepared_begins_a_turn(turns):
    """It was prepared while nobody recorded, or in another process."""
    assert made()().create(prepared={"messages": asked("hay")}) == "So hay"
    (turn,) = turns
    assert shown(turn) == ([], "So hay")


def test_a_preparation_that_fails_ends_the_turn(turns):
    """There is nothing to finish it with."""

    class Broken(made()):
        def ask(self, model, messages):
            raise LookupError("no such model")

    with pytest.raises(LookupError):
        Broken().prepare(asked("hay"))
    (turn,) = turns
    assert turn["outcome"] == "error"
    assert turn["references"][0]["outcome"] == "error"


def test_a_preparation_that_brings_nothing_ends_the_turn(turns):
    """`None` is no object to go on with."""

    class Shy(made()):
        def create(self, *, messages=None, prepare_only=False, prepared=None):
            self.ask("a", messages)

    Shy().prepare(asked("hay"))
    (turn,) = turns
    assert turn["outcome"] == "completed"
    assert shown(turn) == (["a thinks of hay"], None)


def test_an_option_that_fails_costs_nothing(turns):
    """The call is a turn of its own, and the fault is counted."""
    cls = type("Mixture", (made(),), {})

    class Other(cls):
        def create(self, *, messages=None):
            return "fine"

    before = moa.status().faults
    objects.instrument(
        Other, default_stack, [("create", Options("turn", prepares=lambda messages: 1 / 0))], Options("call")
    )
    # The option of the base class came first, and stays.
    assert Other().create(messages=asked("hay")) == "fine"

    class Alone:
        def create(self, *, messages=None):
            return "fine"

    objects.instrument(
        Alone, default_stack, [("create", Options("turn", prepares=lambda messages: 1 / 0))], Options("call")
    )
    assert Alone().create(messages=asked("hay")) == "fine"
    assert [t["outcome"] for t in turns] == ["completed", "completed"]
    assert moa.status().faults == before + 1


def test_nobody_finishes_and_the_table_overflows(turns):
    """The oldest is written as abandoned; nothing is lost, and the table stays small."""
    client = made()()
    kept = [client.prepare(asked(f"w{n}")) for n in range(_prepared.LIMIT + 2)]
    assert len(kept) == _prepared.LIMIT + 2
    assert moa.status().open_turns == _prepared.LIMIT
    assert [t["outcome"] for t in turns] == ["abandoned"] * 2
    assert [shown(t)[0] for t in turns] == [[f"a thinks of w{n}", f"b thinks of w{n}"] for n in range(2)]
    moa.flush(open_streams=True)
    assert len(turns) == _prepared.LIMIT + 2
    assert moa.status().open_turns == 0
    assert client.create(prepared=kept[-1]).startswith("So")
    assert shown(turns[-1])[0] == []


def test_flush_ends_what_nobody_finishes(turns):
    """Everything that is open, because the process is about to end; a plain flush leaves it."""
    client = made()()
    kept = client.prepare(asked("hay"))
    moa.flush()
    assert turns == []
    moa.flush(open_streams=True)
    (turn,) = turns
    assert turn["outcome"] == "abandoned"
    assert shown(turn) == (BOTH[0], None)
    assert kept


def test_flush_leaves_a_turn_that_is_being_finished(turns):
    """Its second call runs in another thread at that moment."""
    cls = made()
    inside, go = threading.Event(), threading.Event()

    class Slow(cls):
        def act(self, messages, *, stream=False, fails=False):
            inside.set()
            assert go.wait(10)
            return "late"

    client = Slow()
    prepared = client.prepare(asked("hay"))
    thread = threading.Thread(target=lambda: client.create(prepared=prepared))
    thread.start()
    assert inside.wait(10)
    moa.flush(open_streams=True)
    assert turns == []
    go.set()
    thread.join()
    (turn,) = turns
    assert turn["outcome"] == "completed"
    assert shown(turn) == (BOTH[0], "late")


SCRIPT = """
    import os, sys
    sys.path.insert(0, {root!r})
    from tests.behaviour.turns.test_two_phase import made, asked
    client = made()()
    kept = client.prepare(asked("hay"))
    {then}
"""


@pytest.mark.parametrize("then", ["", "pid = os.fork()\nif pid: os.waitpid(pid, 0)"])
def test_the_end_of_the_process_ends_it(trace_dir, read_lines, then):
    """It is written at interpreter exit, by the process that began it and by no other."""
    root = str(Path(__file__).parents[3])
    code = dedent(SCRIPT).format(root=root, then=then)
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, env=dict(os.environ))
    (turn,) = read_lines(trace_dir)
    assert turn["outcome"] == "abandoned"
    assert shown(turn) == (BOTH[0], None)


def test_the_second_call_finishes_though_nobody_records_any_more(trace_dir, read_lines, monkeypatch):
    """Tracing was turned off between the halves: the turn that was on record is whole."""
    client = made()()
    prepared = client.prepare(asked("hay"))
    monkeypatch.setenv("MOA_SAVE_TRACES", "0")
    assert client.create(prepared=prepared) == BOTH[1]
    client.create(prepared=client.prepare(asked("straw")))
    (turn,) = read_lines(trace_dir)
    assert shown(turn) == BOTH
