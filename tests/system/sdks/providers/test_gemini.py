"""What only Gemini's SDK has: contents of every kind, parameters in `config`, blocked prompts, functions that it calls."""

from __future__ import annotations

import asyncio
import json

import pytest

import moa_middleware as moa
from moa_middleware.testing import capture_turns
from tests.support.loopback import Answer

genai = pytest.importorskip("google.genai", reason="google-genai is not installed (it needs an environment of its own)")

from google.genai import types  # noqa: E402

from tests.support.providers import TEXT, gemini  # noqa: E402


@pytest.fixture
def asked():
    return []


@pytest.fixture
def client(asked):
    """Give a client of a server that remembers what it was sent."""

    def answer(path, body):
        asked.append(body)
        return gemini.answer(path, body)

    with gemini.connect(answer) as made:
        yield made


def only(turns):
    [turn] = turns
    assert not turn["instrumentation_errors"]
    return turn["aggregator"]


def ask(client, contents, **config):
    moa.instrument(client)
    with capture_turns() as turns:
        client.models.generate_content(model="m", contents=contents, config=config or None)
    return only(turns)


PART = types.Part(text="why?")
IMAGE = types.Part(inline_data=types.Blob(mime_type="image/png", data=b"png"))
CALL = types.Part(function_call=types.FunctionCall(id="c1", name="f", args={"x": None}))
RESULT = {"function_response": {"id": "c1", "name": "f", "response": {"y": 1}}}


@pytest.mark.parametrize(
    ("contents", "shown"),
    [
        ("why?", [("user", "why?")]),
        (PART, [("user", "why?")]),
        (["why", "not?"], [("user", [{"type": "text", "text": "why"}, {"type": "text", "text": "not?"}])]),
        (types.Content(role="model", parts=[PART]), [("assistant", "why?")]),
        ({"role": "user", "parts": [{"text": "why?"}]}, [("user", "why?")]),
        ([{"role": "user", "parts": [{"text": "why?"}]}, "and?"], [("user", "why?"), ("user", "and?")]),
        ([types.UserContent(parts=["a"]), types.ModelContent(parts=["b"])], [("user", "a"), ("assistant", "b")]),
        (
            [types.UserContent(parts=[PART, IMAGE])],
            [("user", [{"type": "text", "text": "why?"}, {"inline_data": {"mime_type": "image/png", "data": "cG5n"}}])],
        ),
        (
            ["go", types.ModelContent(parts=[CALL]), types.Content(role="user", parts=[types.Part(**RESULT)])],
            [
                ("user", "go"),
                ("assistant", [{"function_call": {"id": "c1", "name": "f", "args": {"x": None}}}]),
                ("user", [RESULT]),
            ],
        ),
    ],
)
def test_contents_of_every_kind_are_messages(client, asked, contents, shown):
    """The model was sent what the record shows; the caller's objects are as they were."""
    before = repr(contents)
    call = ask(client, contents)
    assert [(message["role"], message["content"]) for message in call["input_messages"]] == shown
    assert repr(contents) == before
    assert len(asked) == 1


@pytest.mark.parametrize("make", [dict, types.GenerateContentConfig])
def test_parameters_are_read_from_the_config(client, make):
    """A dict, or an object; what is not set is not there, and what is not known to be harmless is named only."""
    tools = [{"function_declarations": [{"name": "f", "description": "d"}]}]
    given = {"temperature": 0.5, "max_output_tokens": 9, "stop_sequences": ["x"], "seed": 3, "tools": tools}
    config = make(**given, http_options=types.HttpOptions(headers={"x-key": "canary-header"}))
    moa.instrument(client)
    with capture_turns() as turns:
        client.models.generate_content(model="m", contents="q", config=config)
    call = only(turns)
    assert {name: call["params"][name] for name in given if name != "tools"} == {
        k: given[k] for k in given if k != "tools"
    }
    assert call["params"]["tools"][0]["function_declarations"][0]["name"] == "f"
    assert call["temperature"] == 0.5
    assert call["params_omitted"] == ["config.http_options"]
    assert call["params"].keys() == given.keys()
    assert "canary" not in json.dumps(turns)


@pytest.mark.parametrize("system", ["be brief", ["be", "brief"], types.Content(parts=[types.Part(text="be brief")])])
def test_a_system_instruction_is_the_first_message(client, asked, system):
    """In each of the forms that it may have."""
    call = ask(client, "q", system_instruction=system)
    first = call["input_messages"][0]
    texts = first["content"] if isinstance(first["content"], list) else [{"text": first["content"]}]
    assert first["role"] == "system"
    assert [one["text"] for one in texts] == [one["text"] for one in asked[0]["systemInstruction"]["parts"]]


def answering(said):
    def answer(path, _body):
        data = json.dumps(said).encode()
        if "stream" not in path:
            return Answer([data])
        return Answer([b"data: " + data + b"\n\n"], "text/event-stream")

    return answer


BLOCKED = {
    "promptFeedback": {"blockReason": "PROHIBITED_CONTENT", "blockReasonMessage": "No."},
    "usageMetadata": {"promptTokenCount": 7, "totalTokenCount": 7},
    "modelVersion": "gemini-x",
}


@pytest.mark.parametrize("streamed", [False, True])
def test_a_blocked_prompt_is_a_call_without_text_and_with_the_reason(streamed):
    """The SDK raises nothing: the call is complete, its finish reason is that of the block."""
    with gemini.connect(answering(BLOCKED)) as client:
        moa.instrument(client)
        with capture_turns() as turns:
            if streamed:
                [*_] = client.models.generate_content_stream(model="m", contents="q")
            else:
                client.models.generate_content(model="m", contents="q")
    call = only(turns)
    assert (call["outcome"], call["error"], call["output"]) == ("completed", None, None)
    assert (call["finish_reason"], call["refusal"]) == ("PROHIBITED_CONTENT", "No.")
    assert call["usage"]["input_tokens"] == 7
    assert "raw" not in call


@pytest.mark.parametrize("streamed", [False, True])
def test_each_candidate_is_a_choice(streamed):
    """A candidate whose index is 0 has none in the JSON."""
    candidates = [
        {
            "content": {"role": "model", "parts": [{"text": text}]},
            "finishReason": "STOP",
            **({"index": at} if at else {}),
        }
        for at, text in enumerate(("one", "two"))
    ]
    with gemini.connect(answering({"candidates": candidates})) as client:
        moa.instrument(client)
        with capture_turns() as turns:
            if streamed:
                [*_] = client.models.generate_content_stream(model="m", contents="q", config={"candidate_count": 2})
            else:
                client.models.generate_content(model="m", contents="q", config={"candidate_count": 2})
    call = only(turns)
    assert call["output"] == "one"
    assert [(one["index"], one["text"]) for one in call["choices"]] == [(0, "one"), (1, "two")]


@pytest.mark.parametrize("finish", ["SAFETY", "RECITATION", "MAX_TOKENS", "A_WORD_OF_TOMORROW"])
def test_a_candidate_without_content_has_its_reason(finish):
    """Filtered answers, and reasons that this version of the SDK does not know."""
    with gemini.connect(answering({"candidates": [{"finishReason": finish}]})) as client:
        call = ask(client, "q")
    assert (call["outcome"], call["output"], call["finish_reason"]) == ("completed", None, finish)


def test_a_chat_that_calls_functions_makes_a_call_for_each_request(asked):
    """The chat sends the function's result in a second request; each is recorded once."""

    def answer(path, body):
        asked.append(body)
        said = gemini.answer(path, body) if len(asked) > 1 else None
        part = {"functionCall": {"name": "weather", "args": {"city": "Paris"}}}
        first = {"candidates": [{"content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}]}
        return said or Answer([json.dumps(first).encode()])

    def weather(city: str) -> str:
        """Return the weather of a city."""
        return f"sun in {city}"

    with gemini.connect(answer) as client:
        moa.instrument(client)
        with capture_turns() as turns, moa.turn():
            chat = client.chats.create(model="m", config={"tools": [weather]})
            chat.send_message("how is it?")
    [turn] = turns
    calls = [*turn["references"], *([turn["aggregator"]] if turn["aggregator"] else []), *turn["calls"]]
    assert len(calls) == len(asked) >= 2
    assert sorted(call["output"] or "" for call in calls)[:2] == ["", TEXT]


def test_a_middleware_changes_parameters_and_the_system_text(client, asked):
    """They go into a copy of the config; the caller's own stays as it is."""

    def other(call):
        messages = [{"role": "system", "content": "be long"}, *call.messages[1:]]
        yield call.replace(messages=messages, params={**call.params, "temperature": 0.9, "seed": 5}, model="n")

    moa.configure(middleware=[other])
    config = types.GenerateContentConfig(system_instruction="be brief", temperature=0.1)
    moa.instrument(client)
    with capture_turns() as turns:
        client.models.generate_content(model="m", contents=[types.UserContent(parts=[PART, IMAGE])], config=config)
    [body] = asked
    assert body["systemInstruction"]["parts"][0]["text"] == "be long"
    assert (body["generationConfig"]["temperature"], body["generationConfig"]["seed"]) == (0.9, 5)
    assert body["contents"][0]["parts"][1]["inlineData"]["data"] == "cG5n"
    assert (config.temperature, config.system_instruction) == (0.1, "be brief")
    assert only(turns)["model"] == "n"


def test_a_middleware_drops_a_parameter_and_the_system_text(client, asked):
    """What is gone from the messages and the parameters is not sent."""

    def other(call):
        yield call.replace(messages=call.messages[1:], params={})

    moa.configure(middleware=[other])
    moa.instrument(client)
    with capture_turns() as turns:
        client.models.generate_content(model="m", contents="q", config={"system_instruction": "s", "temperature": 0.1})
    assert "systemInstruction" not in asked[0]
    assert "temperature" not in asked[0].get("generationConfig", {})
    assert only(turns)["params"] == {}


@pytest.mark.parametrize("what", [genai, "google-genai"], ids=["module", "name"])
def test_the_sdk_is_instrumented_for_all_clients(what):
    """By its module, or by its name."""
    moa.instrument(what)
    with gemini.connect(gemini.answer) as client, capture_turns() as turns:
        client.models.generate_content(model="m", contents="q")
        asyncio.run(client.aio.models.generate_content(model="m", contents="q"))
    assert [turn["aggregator"]["output"] for turn in turns] == [TEXT, TEXT]


def test_another_client_is_left_alone(client):
    """A client and its `aio` share what they are known by; two clients share nothing."""
    moa.instrument(client)
    with gemini.connect(gemini.answer) as other, capture_turns() as turns:
        other.models.generate_content(model="m", contents="q")
        assert turns == []
        asyncio.run(client.aio.models.generate_content(model="m", contents="q"))
        assert len(turns) == 1
        moa.uninstrument(client)
        client.models.generate_content(model="m", contents="q")
    assert len(turns) == 1
