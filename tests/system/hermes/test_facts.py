"""What the agent relies on in its client, and what it does with it, one fact at a time."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import openai
import pytest

import moa_middleware as moa
from moa_middleware.testing import Script

from .conftest import IS_ASYNC, QUESTION, World, async_only, now, sync_only, text_of

ASKED = [{"role": "user", "content": QUESTION}]
PLAIN = {"one": "Air.", "two": "Waves.", "aggregator": "Because of the air."}


@pytest.fixture
def loop(home):
    """Return the module of the agent's client, instrumented."""
    from agent import moa_loop

    moa.instrument("hermes")
    return moa_loop


@pytest.fixture
def completions(world, loop):
    """Return a client's completions while the server runs."""
    with world.serving(PLAIN):
        yield loop.MoAClient("team").chat.completions


def test_the_stream_is_the_sdks_own(completions, turns):
    """Its class, its response and what it has not, as the agent's consumer asks for them."""
    stream = now(completions.create(messages=ASKED, stream=True))
    assert isinstance(stream, openai.AsyncStream if IS_ASYNC else openai.Stream)
    assert not hasattr(stream, "choices")
    assert stream.response.status_code == 200
    assert getattr(stream, "response", None).headers["content-type"] == "text/event-stream"
    read = []
    if IS_ASYNC:
        read.append(text_of(stream))
    else:
        thread = threading.Thread(target=lambda: read.append(text_of(stream)))
        thread.start()
        thread.join()
    assert read == [PLAIN["aggregator"]]
    (turn,) = turns
    assert turn["output"] == PLAIN["aggregator"]
    assert turn["outcome"] == "completed"
    assert turn["session_id"] is None


def test_a_consumer_that_breaks_without_closing(completions, turns):
    """The turn waits for the stream to be dropped, and has what was said so far."""
    stream = now(completions.create(messages=ASKED, stream=True))

    async def first(stream):
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                break

    if IS_ASYNC:
        now(first(stream))
    else:
        for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                break
    assert turns == []
    stream = chunk = None
    gc.collect()
    if IS_ASYNC:
        now(asyncio.sleep(0))  # the loop closes what was dropped
    (turn,) = turns
    assert turn["outcome"] == "abandoned"
    assert turn["aggregator"]["output"] == turn["output"] == "Because"
    assert len(turn["references"]) == 2


def test_create_takes_keywords_only(completions, turns):
    """A misuse raises what it raised."""
    with pytest.raises(TypeError, match="positional"):
        now(completions.create(ASKED))
    assert [t["outcome"] for t in turns] == ["error"]


def reply(text):
    """Return a completed response as an adapter of the agent's makes it."""
    message = SimpleNamespace(content=text, tool_calls=None, reasoning=None, role="assistant")
    return SimpleNamespace(choices=[SimpleNamespace(message=message, finish_reason="stop")], usage=None, model="m")


def chunk(text):
    """Return the one chunk that stands for a completed response in later versions."""
    delta = SimpleNamespace(content=text, tool_calls=None, reasoning_content=None)
    return SimpleNamespace(choices=[SimpleNamespace(index=0, delta=delta, finish_reason="stop")], usage=None)


@pytest.mark.parametrize("made", [reply, lambda text: iter((chunk(text),))])
def test_a_stream_that_is_none(world, home, turns, monkeypatch, made):
    """An adapter answers in one piece where a stream was asked for: the agent tells by `choices`."""
    from agent import moa_loop

    there = moa_loop.call_llm
    answer = made("Because.")

    def call_llm(task=None, **kwargs):
        return answer if task == "moa_aggregator" else there(task, **kwargs)

    async def call_llm_async(task=None, **kwargs):
        return answer if task == "moa_aggregator" else await there(task, **kwargs)

    monkeypatch.setattr(moa_loop, "call_llm", call_llm_async if IS_ASYNC else call_llm)
    moa.instrument("hermes")
    with world.serving(PLAIN):
        got = now(moa_loop.MoAClient("team").chat.completions.create(messages=ASKED, stream=True))
    if IS_ASYNC:
        # The later version makes a stream of it itself.
        if not hasattr(got, "__aiter__"):
            pytest.skip("it hands on what it got where that has no choices, as the other case shows")
        assert text_of(got) == "Because."
    elif hasattr(answer, "choices"):
        assert got is answer
    else:
        assert not hasattr(got, "choices")
        assert [c.choices[0].delta.content for c in got] == ["Because."]
    (turn,) = turns
    assert turn["output"] == turn["aggregator"]["output"] == "Because."
    assert turn["aggregator"]["finish_reason"] == "stop"
    assert turn["outcome"] == "completed"


def test_a_client_without_init(loop, world, turns):
    """Tests of the agent's, and its swaps, build it by `__new__`; nothing of ours is on it."""
    known = vars(loop.MoAChatCompletions("team"))
    built = loop.MoAChatCompletions.__new__(loop.MoAChatCompletions)
    built.__dict__.update(known)
    with world.serving(PLAIN):
        assert now(built.create(messages=ASKED)).choices[0].message.content == PLAIN["aggregator"]
    assert vars(built).keys() == known.keys()
    (turn,) = turns
    assert turn["preset"] == "team"
    assert [r["label"] for r in turn["references"]] == ["openai:one", "openai:two"]


@pytest.mark.parametrize("stream", [False, True])
def test_the_session_is_that_of_the_agent_that_runs(world, loop, turns, stream):
    """A client may be replaced between turns, and the session too, as compression does."""
    with world.serving(PLAIN):
        agent = world.agent(session="s-1", stream=(lambda _: None) if stream else None)
        now(agent.run_conversation(QUESTION))
        agent.client = loop.MoAClient("team")
        now(agent.run_conversation(QUESTION))
        agent.session_id = "s-2"
        now(agent.run_conversation(QUESTION))
        other = world.agent(session="s-3")
        now(other.run_conversation(QUESTION))
        del agent.client.chat.completions
        agent.client = loop.MoAClient("team")
        now(agent.run_conversation(QUESTION))
    assert [turn["session_id"] for turn in turns] == ["s-1", "s-1", "s-2", "s-3", "s-2"]


@sync_only
def test_a_client_that_is_replaced_while_a_request_is_made(world, loop, turns):
    """The agent makes another one where the connection is stale; that is its client then."""
    with world.serving(PLAIN):
        agent = world.agent(session="s-1", stream=lambda _: None)
        agent._ensure_primary_openai_client = lambda reason: loop.MoAClient("team")
        now(agent.run_conversation(QUESTION))
    assert [turn["session_id"] for turn in turns] == ["s-1"]


def test_middleware_sees_references_and_the_aggregator(world, loop, turns):
    """It may change what they get, and the record shows what they got."""
    seen = []

    def loud(call):
        seen.append((call.role, call.label))
        last = call.messages[-1]
        reply = yield call.replace(messages=[*call.messages[:-1], {**last, "content": last["content"].upper()}])
        assert reply.text

    moa.configure(middleware=[loud])
    with world.serving(PLAIN) as server:
        now(loop.MoAClient("team").chat.completions.create(messages=ASKED))
        sent = [r.body["messages"][-1]["content"] for r in server.received if r.path.endswith("/chat/completions")]
    assert sorted(seen[:2]) == [("reference", "openai:one"), ("reference", "openai:two")]
    assert seen[2:] == [("aggregator", "openai:aggregator")]
    assert sent == [text.upper() for text in sent]
    (turn,) = turns
    assert turn["references"][0]["input_messages"][-1]["content"] == QUESTION.upper()
    assert turn["aggregator"]["input_messages"][-1]["content"] == sent[-1]
    assert turn["input_messages"] == ASKED


def test_later_versions_keep_the_agent_on_the_client(loop, world, turns):
    """The client of one of them knows whose it is."""
    completions = loop.MoAClient("team").chat.completions
    completions._agent = SimpleNamespace(session_id="s-9")
    with world.serving(PLAIN):
        now(completions.create(messages=ASKED))
    assert turns[0]["session_id"] == "s-9"


def test_a_reference_that_fails(world, turns):
    """It is a text to the agent, and an error on the line, with the exception that it was."""
    broken = Script(status=401, error={"message": "bad key sk-canary-of-the-tests-0123456789"})
    run = world.twice(lambda: {**PLAIN, "one": broken})
    (turn,) = run.turns
    failed, fine = turn["references"]
    assert failed["output"].startswith("[failed: ")
    assert failed["outcome"] == "error"
    assert failed["error"]["type"] == "openai.AuthenticationError"
    assert "canary" not in failed["error"]["message"]
    assert failed["usage"] == {}
    assert failed["label"] == "openai:one"
    assert fine["outcome"] == "completed"
    assert turn["outcome"] == "completed"
    assert turn["totals"]["failed"] == 1
    note = "[Reference models unavailable: openai:one]" if IS_ASYNC else "[failed: "
    assert note in turn["aggregator"]["input_messages"][-1]["content"]


def test_a_reference_that_is_skipped(loop, world, turns, monkeypatch):
    """The text says so; there was no request."""
    moa.uninstrument("hermes")

    def skipped(slot, ref_messages, **_):
        return "a:b", "[skipped: not today]", None

    async def skipped_async(slot, ref_messages, **_):
        return skipped(slot, ref_messages)

    monkeypatch.setattr(loop, "_run_reference", skipped_async if IS_ASYNC else skipped)
    moa.instrument("hermes")
    with world.serving(PLAIN):
        now(loop.MoAClient("team").chat.completions.create(messages=ASKED))
    (turn,) = turns
    assert [(r["outcome"], r["output"]) for r in turn["references"]] == [("error", "[skipped: not today]")] * 2


def test_the_price_of_a_reference_is_a_number(loop, world, turns):
    """The agent reckons in decimals."""
    with world.serving({**PLAIN, "gpt-4o-mini": "Air."}, references=("gpt-4o-mini",)):
        completions = loop.MoAClient("team").chat.completions
        now(completions.create(messages=ASKED))
        _, price = now(completions.consume_reference_usage())
    assert isinstance(price, Decimal)
    (reference,) = turns[0]["references"]
    assert reference["cost_usd"] == pytest.approx(float(price))
    assert json.loads(json.dumps(turns[0]["totals"]["cost_usd"])) == pytest.approx(float(price))


def test_the_label_has_the_effort_of_the_slot(loop, world, turns):
    """Two slots of one model differ in nothing else."""
    with world.serving(PLAIN, references=("one, reasoning_effort: high", "one")) as server:
        config = world.home / "config.yaml"
        config.write_text(config.read_text().replace("model: aggregator}", "model: aggregator, reasoning_effort: low}"))
        assert server.base_url in config.read_text()
        now(loop.MoAClient("team").chat.completions.create(messages=ASKED))
    (turn,) = turns
    assert [r["label"] for r in turn["references"]] == ["openai:one[reasoning=high]", "openai:one"]
    assert turn["aggregator"]["label"] == "openai:aggregator[reasoning=low]"


def test_one_shot_advice_is_a_turn_too(world, loop, turns):
    """`/moa` asks references and an aggregator for one turn of another model; the agent's own trace leaves it out."""
    from run_agent import AIAgent

    slots = [{"provider": "openai", "model": name} for name in ("one", "two")]
    moa_config = {"reference_models": slots, "aggregator": {"provider": "openai", "model": "aggregator"}}
    with world.serving({**PLAIN, "main": "Blue."}) as server:
        agent = AIAgent(
            provider="openai",
            model="main",
            base_url=server.base_url,
            api_key="sk-none",
            quiet_mode=True,
            session_id="s-7",
            enabled_toolsets=[],
            skip_context_files=True,
            skip_memory=True,
        )
        result = now(agent.run_conversation(QUESTION, moa_config=moa_config))
        assert result["final_response"] == "Blue."
        assert len([r for r in server.received if r.body.get("model") == "main"]) == 1
    (turn,) = turns
    assert turn["session_id"] == "s-7"
    assert [r["output"] for r in turn["references"]] == ["Air.", "Waves."]
    assert turn["aggregator"]["output"] == "Because of the air."
    assert "Aggregator: openai:aggregator" in turn["output"]


def test_other_models_that_the_agent_asks_are_no_turns(world, loop, turns):
    """Its side calls use the same clients; outside a turn they are not ours to record."""
    from agent import auxiliary_client

    with world.serving(PLAIN) as server:
        now(loop.MoAClient("team").chat.completions.create(messages=ASKED))
        how = {"provider": "openai", "model": "one", "base_url": server.base_url, "api_key": "k"}
        found = now(auxiliary_client.call_llm("title_generation", messages=ASKED, **how))
        assert found.choices[0].message.content == "Air."
    assert len(turns) == 1


def test_uninstrumenting_puts_everything_back(world, home, turns):
    """Every attribute is the one that it was, and runs are not recorded any more."""
    import run_agent
    from agent import auxiliary_client, moa_loop

    owners = [moa_loop, moa_loop.MoAChatCompletions, run_agent.AIAgent, auxiliary_client]
    if not IS_ASYNC:
        from tools import thread_context

        owners.append(thread_context)
    completions = openai.resources.chat.completions
    resource = completions.AsyncCompletions if IS_ASYNC else completions.Completions
    before = [dict(vars(owner)) for owner in owners]
    there = vars(resource)["create"]
    for undo in (lambda: moa.uninstrument("hermes"), moa.uninstrument):
        moa.instrument("hermes")
        moa.instrument("hermes")
        assert vars(moa_loop.MoAChatCompletions)["create"] is not before[1]["create"]
        with world.serving(PLAIN):
            now(moa_loop.MoAClient("team").chat.completions.create(messages=ASKED))
            undo()
            now(moa_loop.MoAClient("team").chat.completions.create(messages=ASKED))
        for owner, names in zip(owners, before, strict=True):
            assert {n for n, v in vars(owner).items() if n in names and v is not names[n]} == set()
            assert not isinstance(owner, type) or set(vars(owner)) == set(names)
        assert vars(resource)["create"] is there
    assert len(turns) == 2


def test_off_is_as_if_we_were_not_there(home, tmp_path, monkeypatch):
    """Instrumented, and nobody records: the same, and no directory."""
    monkeypatch.setenv("MOA_TRACE_DIR", str(tmp_path / "traces"))
    world = World(home, [])
    bare = world.run(lambda: PLAIN, stream=True)
    moa.instrument("hermes")
    assert world.run(lambda: PLAIN, stream=True).seen() == bare.seen()
    assert not (tmp_path / "traces").exists()


@sync_only
def test_a_turn_in_two_calls(world, home, turns, monkeypatch):
    """Later versions prepare, measure, perhaps compress, and then ask the aggregator: one line."""
    from agent import moa_loop

    class Later(moa_loop.MoAChatCompletions):
        def create(self, **kwargs):
            prepared = kwargs.pop("_moa_prepared_request", None)
            slots = [{"provider": "openai", "model": name} for name in ("one", "two", "aggregator")]
            if prepared is None:
                messages = kwargs["messages"]
                outputs = moa_loop._run_references_parallel(slots[:2], messages)
                guidance = " and ".join(text for _, text, _ in outputs)
                prepared = {"messages": [*messages, {"role": "user", "content": guidance}], "guidance": guidance}
                if kwargs.pop("_moa_prepare_only", False):
                    return prepared
            return moa_loop.call_llm(
                task="moa_aggregator",
                messages=prepared["messages"],
                stream=bool(kwargs.get("stream")),
                reasoning_config=moa_loop._aggregator_reasoning_config(slots[2]),
                **moa_loop._slot_runtime(slots[2]),
            )

        def prepare(self, messages):
            return self.create(messages=messages, _moa_prepare_only=True)

        def rebase_prepared_request(self, prepared, messages):
            return {**prepared, "messages": [*messages, {"role": "user", "content": prepared["guidance"]}]}

    monkeypatch.setattr(moa_loop, "MoAChatCompletions", Later)
    moa.instrument("hermes")
    with world.serving(PLAIN):
        completions = moa_loop.MoAClient("team").chat.completions
        assert isinstance(completions, Later)
        prepared = completions.prepare(ASKED)
        assert completions.create(messages=[], _moa_prepared_request=prepared).choices[0].message.content
        rebased = completions.rebase_prepared_request(completions.prepare(ASKED), ASKED[:1])
        stream = moa_loop.MoAClient("team").chat.completions.create(
            messages=[], _moa_prepared_request=rebased, stream=True
        )
        assert text_of(stream) == PLAIN["aggregator"]
        now(completions.create(messages=ASKED))
    assert len(turns) == 3
    for turn in turns:
        assert [r["output"] for r in turn["references"]] == ["Air.", "Waves."]
        assert turn["output"] == turn["aggregator"]["output"] == PLAIN["aggregator"]
        assert turn["input_messages"] == ASKED
        assert turn["preset"] == "team"
        assert turn["outcome"] == "completed"


@async_only
@pytest.mark.parametrize("stream", [False, True])
def test_a_turn_in_two_calls_that_are_coroutines(world, loop, turns, stream):
    """Prepared, rebased twice, finished by another client in another task; one is never finished."""
    with world.serving(PLAIN):
        completions, other = (loop.MoAClient("team").chat.completions for _ in range(2))

        async def run():
            first, lost = await completions.prepare(ASKED), await other.prepare(ASKED)
            for _ in range(2):
                first = completions.rebase_prepared_request(first, ASKED)
            reply = await asyncio.ensure_future(other.create(messages=[], stream=stream, _moa_prepared_request=first))
            if not stream:
                return reply.choices[0].message.content, lost
            pieces = [chunk.choices[0].delta.content or "" async for chunk in reply if chunk.choices]
            return "".join(pieces), lost

        text, _lost = now(run())
    assert text == PLAIN["aggregator"]
    assert len(turns) == 1
    moa.flush(open_streams=True)
    whole, lost = turns
    for turn in turns:
        assert [r["label"] for r in turn["references"]] == ["openai:one", "openai:two"]
        assert turn["input_messages"] == ASKED
    assert whole["output"] == whole["aggregator"]["output"] == PLAIN["aggregator"]
    assert (whole["outcome"], lost["outcome"], lost["aggregator"]) == ("completed", "abandoned", None)


@async_only
@pytest.mark.parametrize("mode", ["display", "full"])
def test_the_privacy_filter_is_honoured(world, turns, mode):
    """`moa.privacy_filter`: what the agent's own trace hides is hidden in ours, and more; its user gets it all."""
    email, phone = "jane.doe@example.com", "(555) 123-4567"

    def scripts():
        return {
            "one": Script(f"Ask {email}.", reasoning=f"Perhaps {phone}."),
            "two": Script(status=401, error={"message": f"not for {email}"}),
            "aggregator": Script(f"Write to {email}.", reasoning=f"Or call {phone}."),
        }

    question = f"I am {email}. Whom do I ask?"
    run = world.twice(scripts, question=question, privacy=mode, stream=True)
    assert run.answer == f"Write to {email}."
    (turn,) = run.turns
    text = json.dumps(turn)
    assert email not in text
    assert phone not in text
    assert turn["references"][0]["output"] == "Ask [redacted email]."
    assert turn["references"][0]["reasoning"] == "Perhaps [redacted phone]."
    assert turn["references"][0]["input_messages"][1]["content"] == "I am [redacted email]. Whom do I ask?"
    assert "[redacted email]" in turn["references"][1]["error"]["message"]
    assert turn["aggregator"]["output"] == turn["output"] == "Write to [redacted email]."
    (own,) = run.own
    for theirs, ours in zip(own["references"], turn["references"], strict=True):
        assert theirs["input_messages"] == ours["input_messages"]
        assert theirs["output"] == ours["output"]
    assert own["aggregator"]["input_messages"] == turn["aggregator"]["input_messages"]
    plain = world.run(scripts, question=question, stream=True)
    assert plain.answer == run.answer


@async_only
@pytest.mark.parametrize("mode", ["", "display"])
def test_the_privacy_filter_of_one_shot_advice(world, loop, turns, mode):
    """The agent writes no trace of `/moa`, so there its mode `display` has nothing to do; our line has."""
    email = "jane.doe@example.com"
    slots = [{"provider": "openai", "model": name} for name in ("one", "two")]
    with world.serving({"one": email, "two": "Waves.", "aggregator": f"Ask {email}."}, privacy=mode):
        advice = now(
            loop.aggregate_moa_context(
                user_prompt=f"I am {email}.",
                api_messages=[{"role": "user", "content": f"I am {email}."}],
                reference_models=slots,
                aggregator={"provider": "openai", "model": "aggregator"},
            )
        )
    assert f"Ask {email}." in advice
    (turn,) = turns
    hidden = "[redacted email]" if mode else email
    assert (email in json.dumps(turn)) is (not mode)
    assert [r["output"] for r in turn["references"]] == [hidden, "Waves."]
    assert turn["aggregator"]["output"] == f"Ask {hidden}."


@async_only
def test_an_interrupt_cancels_references(world, loop, turns):
    """The agent cancels what still runs and asks the aggregator without it: that reference is cancelled in the line."""
    release, asked = threading.Event(), threading.Event()

    def hangs(_body):
        asked.set()
        return Script("Too late.", wait=lambda: release.wait(30))

    agent = SimpleNamespace(session_id="s-8", _interrupt_requested=False)

    async def run():
        task = asyncio.ensure_future(loop.MoAClient("team", agent=agent).chat.completions.create(messages=ASKED))
        while not (asked.is_set() and "one" in {sent.model for sent in server.sent}):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)  # until the client has read it
        agent._interrupt_requested = True
        return await task

    with world.serving({**PLAIN, "two": hangs}) as server:
        reply = now(run())
        release.set()
    assert reply.choices[0].message.content == PLAIN["aggregator"]
    (turn,) = turns
    assert (turn["session_id"], turn["outcome"], turn["output"]) == ("s-8", "completed", PLAIN["aggregator"])
    assert [(r["label"], r["outcome"]) for r in turn["references"]] == [
        ("openai:one", "completed"),
        ("openai:two", "cancelled"),
    ]
    assert "Air." in turn["aggregator"]["input_messages"][-1]["content"]


SCRIPT = """
import asyncio, inspect, sys
from run_agent import AIAgent
agent = AIAgent(provider="moa", model="team", quiet_mode=True, session_id="s-1", enabled_toolsets=[],
                skip_context_files=True, skip_memory=True)
result = agent.run_conversation(sys.argv[1])
print((asyncio.run(result) if inspect.isawaitable(result) else result)["final_response"])
"""


def test_without_a_line_of_code(world, trace_dir, read_lines, tmp_path):
    """`MOA_INSTRUMENT=hermes` in the environment of a program that knows nothing of us."""
    script = tmp_path / "app.py"
    script.write_text(SCRIPT)
    with world.serving(PLAIN):
        environment = {**os.environ, "MOA_INSTRUMENT": "hermes", "PYTHONPATH": str(Path(moa.__file__).parent.parent)}
        done = subprocess.run(
            [sys.executable, "-m", "moa_middleware", "run", str(script), QUESTION],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == PLAIN["aggregator"]
    (turn,) = read_lines(trace_dir)
    assert (trace_dir / "s-1.jsonl").exists()
    assert [r["output"] for r in turn["references"]] == ["Air.", "Waves."]
    assert turn["output"] == PLAIN["aggregator"]
    assert "canary" not in (trace_dir / "s-1.jsonl").read_text() + done.stderr
