"""Calls inside calls, and the roles and layers that a turn's calls get."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer
from tests.support.sdk_worlds import MESSAGES, TEXT, world

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
