"""Runs of the whole agent: its user sees what he saw before, and our lines hold every call."""

from __future__ import annotations

import inspect
import threading

import pytest

import moa_middleware as moa
from moa_middleware.testing import Script

from .conftest import IS_ASYNC, QUESTION, Run, at_once, sync_only, text_of

USAGE = {
    "prompt_tokens": 100,
    "completion_tokens": 5,
    "total_tokens": 105,
    "prompt_tokens_details": {"cached_tokens": 40},
}
ANSWER = "Because air scatters short waves most."
TOOL_CALL = {"id": "c1", "type": "function", "function": {"name": "todo", "arguments": "{}"}}


def scripts(aggregator=ANSWER, *, usage_in="tail"):
    """Return two references, one of which is priced and has a cache, and an aggregator."""
    return lambda: {
        "gpt-4o-mini": Script("Air scatters blue light.", usage=USAGE, usage_in=usage_in),
        "two": Script("Short waves.", usage_in=usage_in),
        "aggregator": aggregator,
    }


TWO = ("gpt-4o-mini", "two")


def check_calls(turn, server_url):
    """Assert what holds for every call of a line: request, timing, where it went, and no key."""
    calls = [*turn["references"], *([turn["aggregator"]] if turn["aggregator"] else []), *turn["calls"]]
    for call in calls:
        assert call["input_messages"][-1]["role"] == "user"
        assert turn["started_at"] <= call["started_at"] <= call["ended_at"] <= turn["ended_at"] + 0.001
        assert call["duration_ms"] > 0
        assert call["provider"] == "openai"
        assert call["endpoint"] in (server_url + "/", None)
        assert "api_key" not in call["params"]
    assert "canary" not in repr(turn)
    assert turn["instrumentation_errors"] == 0
    return calls


def check_references(turn, *, usage=True):
    """Assert that the two references are whole."""
    first, second = turn["references"]
    assert [r["label"] for r in (first, second)] == ["openai:gpt-4o-mini", "openai:two"]
    assert [r["model"] for r in (first, second)] == ["gpt-4o-mini", "two"]
    assert [r["output"] for r in (first, second)] == ["Air scatters blue light.", "Short waves."]
    assert [r["outcome"] for r in (first, second)] == ["completed", "completed"]
    assert [r["layer"] for r in (first, second)] == [1, 1]
    for reference in (first, second):
        system, *view = reference["input_messages"]
        assert system["role"] == "system"
        assert system["content"].startswith("You are a reference advisor")
        assert view[0] == {"role": "user", "content": QUESTION}
        assert reference["role"] == "reference"
        assert reference["role_source"] == "declared"
        assert reference["finish_reason"] == "stop"
        assert reference["response_id"].startswith("chatcmpl-")
    if not usage:
        assert [r["usage"] for r in (first, second)] == [{}, {}]
        return
    assert first["usage"]["input_tokens"] == 60
    assert first["usage"]["cache_read_tokens"] == 40
    assert first["usage"]["output_tokens"] == 5
    assert first["usage_raw"]["prompt_tokens"] == 100
    # The agent's own price of its reference, a Decimal there and a number here.
    assert first["cost_usd"] == pytest.approx(1.5e-05)
    assert first["cost_status"] == "estimated"
    assert first["cost_source"] == "official_docs_snapshot"
    assert second["cost_usd"] is None
    assert second["cost_status"] == "unknown"


def check_turn(turn, *, session="s-1"):
    """Assert what holds for every turn of these runs."""
    assert turn["schema"] == "moa-turn/1"
    assert turn["session_id"] == session
    assert turn["preset"] == "team"
    assert turn["input_messages"][0]["role"] == "system"
    # The later version finishes a prepared request twice: the second turn was given the prepared messages.
    asked = turn["input_messages"][1]["content"]
    assert asked == QUESTION or (IS_ASYNC and not turn["references"] and asked.startswith(QUESTION))
    assert not turn["implicit"]


def check_aggregator(turn, *, reads=("Air scatters blue light.", "Short waves.")):
    """Assert that the aggregator's call shows what it read."""
    call = turn["aggregator"]
    assert call["label"] == "openai:aggregator"
    assert call["model"] == "aggregator"
    assert call["role"] == "aggregator"
    last = call["input_messages"][-1]["content"]
    assert all(text in last for text in reads)
    return call


def test_plain(world):
    """A reply in one piece."""
    run = world.twice(scripts(), references=TWO)
    assert run.answer == ANSWER
    (turn,) = run.turns
    check_turn(turn)
    check_references(turn)
    call = check_aggregator(turn)
    assert call["output"] == turn["output"] == ANSWER
    # The later version asks for a stream though its user wants none.
    assert call["streamed"] is IS_ASYNC
    assert call["output_location"] == ("inline_from_stream" if IS_ASYNC else "inline")
    assert call["usage"]["output_tokens"] == 6
    assert call["finish_reason"] == "stop"
    assert turn["totals"]["calls"] == len(check_calls(turn, run.url)) == len(run.asked) == 3
    assert turn["totals"]["cost_usd"] == pytest.approx(1.5e-05)
    assert turn["totals"]["unpriced"] == 2
    # What the agent's own trace has, ours has too, but for the words of the reference's own view.
    (own,) = run.own
    for theirs, ours in zip((*own["references"], own["aggregator"]), (*turn["references"], call), strict=True):
        same = ("label", "model", "provider", "temperature", "input_messages", "output")
        if theirs is own["aggregator"] and IS_ASYNC:
            same = same[:-1]  # the agent's trace has no text of a stream that was not watched
        assert {name: theirs[name] for name in same} == {name: ours[name] for name in same}
    assert own["references"][0]["cost_usd"] == "0.000015"


def test_streamed(world):
    """The user gets the pieces as they come; the line has the whole."""
    run = world.twice(scripts(), references=TWO, stream=True)
    assert "".join(run.pieces) == run.answer == ANSWER
    assert len(run.pieces) == 6
    (turn,) = run.turns
    check_turn(turn)
    check_references(turn)
    call = check_aggregator(turn)
    assert call["output"] == turn["output"] == ANSWER
    assert call["output_location"] == "inline_from_stream"
    assert call["streamed"]
    assert call["chunks"] >= 6
    assert 0 < call["first_chunk_ms"] <= call["duration_ms"]
    assert call["usage"]["output_tokens"] == 6
    assert call["finish_reason"] == "stop"
    assert turn["outcome"] == call["outcome"] == "completed"
    assert len(check_calls(turn, run.url)) == len(run.asked) == 3


@pytest.mark.parametrize("stream", [False, True])
def test_without_usage(world, stream):
    """A provider that reports no tokens: the agent's own trace has nothing, ours the whole turn."""
    run = world.twice(scripts(Script(ANSWER, usage_in="none"), usage_in="none"), references=TWO, stream=stream)
    assert run.own == []
    (turn,) = run.turns
    check_turn(turn)
    check_references(turn, usage=False)
    call = check_aggregator(turn)
    assert call["output"] == ANSWER
    assert call["usage"] == {}
    assert call["cost_usd"] is None
    assert turn["totals"]["usage"] == {}
    assert len(check_calls(turn, run.url)) == len(run.asked) == 3


def test_thinking_in_the_text(world):
    """The user, and the agent's own trace, get the text without it; ours has what the model said."""
    pieces = ["<think>", "Rayleigh, ", "I think.", "</think>", "Because ", "of the air."]
    run = world.twice(scripts(Script(pieces=pieces)), references=TWO, stream=True)
    assert run.answer == "".join(run.pieces) == "Because of the air."
    (own,) = run.own
    assert own["aggregator"]["output"] == "Because of the air."
    (turn,) = run.turns
    check_references(turn)
    assert check_aggregator(turn)["output"] == turn["output"] == "".join(pieces)


def test_thinking_beside_the_text(world):
    """Reasoning that the provider shows in a field of its own is kept there."""
    run = world.twice(scripts(Script(ANSWER, reasoning="Rayleigh, I think.")), references=TWO, stream=True)
    (turn,) = run.turns
    call = check_aggregator(turn)
    assert call["output"] == ANSWER
    assert call["reasoning"] == "Rayleigh, I think."


@pytest.mark.parametrize("stream", [False, True])
def test_a_tool_loop(world, stream):
    """References run for each state of the task: two turns, each with its calls."""
    steps = [Script("Let me look. ", tool_calls=[TOOL_CALL]), ANSWER]
    run = world.twice(scripts(steps), references=TWO, stream=stream, toolsets=["todo"])
    assert run.answer == ANSWER
    assert run.api_calls == 2
    looks, answers = run.turns
    for turn in run.turns:
        check_turn(turn)
        check_references(turn)
        assert len(check_calls(turn, run.url)) == 3
    call = check_aggregator(looks)
    assert call["output"] == "Let me look. "
    assert call["tool_calls"] == [TOOL_CALL]
    assert call["finish_reason"] == "tool_calls"
    assert [tool["function"]["name"] for tool in call["params"]["tools"]] == ["todo"]
    call = check_aggregator(answers)
    assert call["output"] == ANSWER
    assert call["tool_calls"] == []
    assert [m["role"] for m in answers["input_messages"]] == ["system", "user", "assistant", "tool"]
    assert "called tool: todo" in answers["references"][0]["input_messages"][2]["content"]
    assert len(run.asked) == 6


def test_a_tool_loop_with_references_once(world):
    """The second turn runs no references; the agent's own trace does not have it, and so not the answer."""
    steps = [Script("", tool_calls=[TOOL_CALL]), ANSWER]
    run = world.twice(scripts(steps), references=TWO, stream=True, toolsets=["todo"], fanout="user_turn")
    (own,) = run.own
    assert own["aggregator"]["output"] is None
    looks, answers = run.turns
    check_references(looks)
    assert check_aggregator(looks)["tool_calls"] == [TOOL_CALL]
    assert looks["aggregator"]["output"] in (None, "")
    assert answers["references"] == []
    assert check_aggregator(answers)["output"] == ANSWER
    assert len(run.asked) == 4
    assert sum(turn["totals"]["calls"] for turn in run.turns) == 4


@pytest.fixture
def hurry(monkeypatch):
    """Let the agent wait as long as it likes between tries, which is no time."""
    from agent import conversation_loop

    monkeypatch.setattr(conversation_loop, "jittered_backoff", lambda *_args, **_kwargs: 0.01)


@pytest.mark.parametrize(
    ("broken", "stream", "kind"),
    [
        (Script(status=429, error={"message": "slow down"}), False, "openai.RateLimitError"),
        (Script(status=429, error={"message": "slow down"}), True, "openai.RateLimitError"),
        (Script("Because ", break_after=0), True, "httpx.RemoteProtocolError"),
    ],
)
def test_the_aggregator_fails_and_the_agent_tries_again(world, hurry, broken, stream, kind):
    """Two turns, of which the first has the references and the error: the agent's own trace has neither."""
    run = world.twice(scripts([broken, ANSWER]), references=TWO, stream=stream)
    assert run.answer == ANSWER
    assert run.own == [] or IS_ASYNC  # the later version keeps the trace of the request that it prepared
    failed, again = run.turns
    check_turn(failed)
    check_references(failed)
    assert failed["outcome"] == "error"
    call = check_aggregator(failed)
    assert call["outcome"] == "error"
    assert call["error"]["type"] == failed["error"]["type"] == kind
    assert failed["totals"]["failed"] == 1
    check_turn(again)
    assert again["references"] == []
    assert again["outcome"] == "completed"
    assert check_aggregator(again)["output"] == ANSWER
    assert sum(len(check_calls(turn, run.url)) for turn in run.turns) == len(run.asked) == 4


def test_a_reference_that_is_asked_once_more_on_its_way(world):
    """The agent's `call_llm` repeats a server's error by itself: each request is in the line."""
    broken = Script(status=500, error={"message": "out of order"})

    def fresh():
        return {**scripts()(), "two": [broken, Script("Short waves.")]}

    run = world.twice(fresh, references=TWO)
    (turn,) = run.turns
    check_references(turn)
    first, second = turn["calls"]
    assert first["error"]["type"] == "openai.InternalServerError"
    assert (first["outcome"], second["outcome"], second["output"]) == ("error", "completed", "Short waves.")
    assert {call["parent"] for call in turn["calls"]} == {turn["references"][1]["call_id"]}
    assert turn["totals"]["calls"] == len(run.asked) == 4


@sync_only
def test_a_request_that_is_sent_once_more_on_its_way(world):
    """The agent's `call_llm` repeats a server's error by itself: each request is in the line."""
    broken = Script(status=500, error={"message": "out of order"})
    run = world.twice(scripts([broken, ANSWER]), references=TWO)
    (turn,) = run.turns
    check_references(turn)
    assert check_aggregator(turn)["output"] == ANSWER
    first, second = turn["calls"]
    assert first["outcome"] == "error"
    assert first["error"]["type"] == "openai.InternalServerError"
    assert second["output"] == ANSWER
    assert {call["parent"] for call in turn["calls"]} == {turn["aggregator"]["call_id"]}
    assert turn["totals"]["calls"] == len(run.asked) == 4


def test_eight_agents_at_the_same_time(world):
    """Each turn has its own references, its own answer and its own session."""

    def said(body):
        (word,) = {w for w in " ".join(str(m["content"]) for m in body["messages"]).split() if w.startswith("word-")}
        return f"{body['model']} on {word}"

    def scripts():
        return {"one": said, "two": said, "aggregator": said}

    def eight():
        run = Run()
        answers = {}
        with world.serving(scripts()) as server:
            barrier = threading.Barrier(8)

            def one(number):
                pieces = []
                agent = world.agent(session=f"s-{number}", stream=pieces.append)
                if not IS_ASYNC:
                    barrier.wait(60)
                result = agent.run_conversation(f"What is word-{number} ?")

                async def keep():
                    answers[number] = (await result)["final_response"], pieces

                if inspect.isawaitable(result):
                    return keep()
                answers[number] = result["final_response"], pieces
                return None

            at_once(*(lambda n=n: one(n) for n in range(8)))
            run.answer = [answers[number] for number in range(8)]
            run.asked = [r.body["model"] for r in server.received if r.path.endswith("/chat/completions")]
        return run

    bare = eight()
    moa.instrument("hermes")
    run = eight()
    assert run.answer == bare.answer
    assert sorted(run.asked) == sorted(bare.asked)
    assert len(world.turns) == 8
    for number, turn in enumerate(sorted(world.turns, key=lambda t: t["session_id"])):
        assert turn["session_id"] == f"s-{number}"
        assert [r["output"] for r in turn["references"]] == [f"one on word-{number}", f"two on word-{number}"]
        assert turn["aggregator"]["output"] == turn["output"] == f"aggregator on word-{number}"
        assert f"one on word-{number}" in turn["aggregator"]["input_messages"][-1]["content"]
        assert run.answer[number][0] == turn["output"]


def test_eight_threads_on_one_client(world):
    """The agent's client keeps one pending turn, and loses the others; ours are whole. Tasks do the same."""
    from agent.moa_loop import MoAClient

    def said(body):
        (word,) = {w for w in " ".join(str(m["content"]) for m in body["messages"]).split() if w.startswith("word-")}
        return f"{body['model']} on {word}"

    moa.instrument("hermes")
    with world.serving({"one": said, "two": said, "aggregator": said}):
        client = MoAClient("team")
        barrier = threading.Barrier(8)

        def one(number):
            barrier.wait(60)
            messages = [{"role": "user", "content": f"What is word-{number} ?"}]
            stream = client.chat.completions.create(messages=messages, stream=True)
            assert text_of(stream) == f"aggregator on word-{number}"
            client.consume_and_save_trace(f"s-{number}")

        async def one_of_tasks(number):
            messages = [{"role": "user", "content": f"What is word-{number} ?"}]
            stream = await client.chat.completions.create(messages=messages, stream=True)
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
            assert "".join(pieces) == f"aggregator on word-{number}"
            await client.consume_and_save_trace(f"s-{number}")

        at_once(*(lambda n=n: (one_of_tasks if IS_ASYNC else one)(n) for n in range(8)))
    assert len(world.turns) == 8
    for turn in world.turns:
        word = turn["input_messages"][0]["content"].split()[2]
        assert [r["output"] for r in turn["references"]] == [f"one on {word}", f"two on {word}"]
        assert turn["output"] == f"aggregator on {word}"
