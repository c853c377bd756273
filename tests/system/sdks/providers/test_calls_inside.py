"""A function that Gemini's SDK runs inside its own call: what it asks by an SDK is a call of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest

pytest.importorskip("google.genai", reason="google-genai needs an environment of its own")

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer
from tests.support.loopback import Answer
from tests.support.providers.gemini import connect

QUESTION = "what is a moa?"


@pytest.fixture(scope="module")
def server():
    with ScriptedServer({}, default=Script("a bird", usage={"prompt_tokens": 3, "completion_tokens": 1})) as made:
        yield made


def _reply(said, tokens):
    usage = {"promptTokenCount": tokens, "candidatesTokenCount": 7, "totalTokenCount": tokens + 7}
    candidate = {"index": 0, "content": {"role": "model", "parts": [said]}, "finishReason": "STOP"}
    return Answer([json.dumps({"candidates": [candidate], "usageMetadata": usage}).encode()])


def answer(path, asked):
    """Ask for the tool, and then say what it has returned; the model `words` answers at once."""
    if "/words:" in path:
        return _reply({"text": "a bird"}, 3)
    parts = [part for content in asked["contents"] for part in content["parts"]]
    returned = [part["functionResponse"]["response"] for part in parts if "functionResponse" in part]
    called = {"functionCall": {"name": "look_up", "args": {"word": "moa"}}}
    return _reply({"text": str(returned)} if returned else called, 50)


def by_openai(server, client, is_async):
    import openai

    kind = openai.AsyncOpenAI if is_async else openai.OpenAI
    other = kind(base_url=server.base_url, api_key="k", max_retries=0)
    return lambda word: other.chat.completions.create(model="words", messages=[{"role": "user", "content": word}])


def by_anthropic(server, client, is_async):
    import anthropic

    kind = anthropic.AsyncAnthropic if is_async else anthropic.Anthropic
    other = kind(base_url=server.root_url, api_key="k", max_retries=0)
    message = {"model": "words", "max_tokens": 9}
    return lambda word: other.messages.create(**message, messages=[{"role": "user", "content": word}])


def by_gemini(server, client, is_async):
    return lambda word: client.models.generate_content(model="words", contents=word)


def by_a_chat_of_gemini(server, client, is_async):
    return lambda word: client.chats.create(model="words").send_message(word)


WAYS = [by_openai, by_anthropic, by_gemini, by_a_chat_of_gemini]


def calls_of(turns):
    return [call for turn in turns for call in [*turn["references"], *turn["calls"], turn["aggregator"]] if call]


def run(server, way, *, is_async=False, count=1, word="moa", chat=False, in_turn=False):
    """Ask Gemini, whose tool asks another model, and return what it says at last."""
    from google.genai import types

    with connect(answer, is_async=is_async) as client:
        ask = way(server, client, is_async)

        def look_up_now(word: str) -> str:
            for _ in range(count):
                ask(given)
            return "a bird"

        async def look_up_later(word: str) -> str:
            for _ in range(count):
                await ask(given)
            return "a bird"

        given = word
        tool = look_up_later if is_async else look_up_now
        tool.__name__ = "look_up"
        # The SDK reads the annotations as they are, and they are strings in this module.
        tool.__annotations__ = {"word": str, "return": str}
        config = types.GenerateContentConfig(tools=[tool])

        def begin():
            if chat:
                return client.chats.create(model="m", config=config).send_message(QUESTION)
            return client.models.generate_content(model="m", contents=QUESTION, config=config)

        async def wait():
            return (await begin()).text

        with moa.turn() if in_turn else contextlib.nullcontext():
            return asyncio.run(wait()) if is_async else begin().text


def check(turns, count=1):
    """Look at every call: its own model, tokens and reply, and no call inside another."""
    calls = calls_of(turns)
    assert {call["parent"] for call in calls} == {None}
    [outer] = [call for call in calls if call["model"] == "m"]
    inner = [call for call in calls if call["model"] == "words"]
    assert (outer["provider"], outer["usage"]["input_tokens"], len(inner)) == ("google", 50, count)
    assert "a bird" in outer["output"]
    assert [(call["output"], call["usage"]["input_tokens"]) for call in inner] == [("a bird", 3)] * count
    assert sum(turn["totals"]["usage"]["input_tokens"] for turn in turns) == 50 + 3 * count
    assert sum(turn["totals"]["calls"] for turn in turns) == len(calls) == 1 + count


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_a_call_of_a_tool_is_a_call(server, turns, way, is_async, count):
    """By another SDK and by the same client, once and twice."""
    moa.instrument("google-genai,openai,anthropic")
    assert "a bird" in run(server, way, is_async=is_async, count=count)
    check(turns, count)


@pytest.mark.parametrize("way", WAYS)
def test_in_a_turn(server, turns, way):
    """Both are calls of the turn."""
    moa.instrument("google-genai,openai,anthropic")
    run(server, way, in_turn=True)
    assert len(turns) == 1
    check(turns)


@pytest.mark.parametrize("way", WAYS)
def test_in_a_chat(server, turns, way):
    """A chat of older versions asks once, and newer ones run the tool between two calls."""
    moa.instrument("google-genai,openai,anthropic")
    run(server, way, chat=True)
    calls = calls_of(turns)
    assert {call["parent"] for call in calls} == {None}
    assert [call["usage"]["input_tokens"] for call in calls if call["model"] == "words"] == [3]
    assert {call["usage"]["input_tokens"] for call in calls if call["model"] == "m"} == {50}


@pytest.mark.parametrize("way", WAYS)
def test_the_same_question_to_another_model_is_a_call(server, turns, way):
    """A tool that hands the caller's words on."""
    moa.instrument("google-genai,openai,anthropic")
    run(server, way, word=QUESTION)
    check(turns)


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_with_http_clients_each_is_one_call(server, turns, way, is_async):
    """The requests below each call are its own."""
    moa.instrument("google-genai,openai,anthropic,httpx,httpx2,requests,aiohttp")
    run(server, way, is_async=is_async)
    # Of Gemini's two requests the second says something that the first did not.
    assert sorted(call["usage"]["input_tokens"] for call in calls_of(turns) if call["model"] == "words") == [3]


@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_middleware_sees_each_call_once(server, turns, way, is_async):
    """That of one stack, on everything."""
    seen = []

    def look(call):
        seen.append(call.model)
        yield call

    moa.configure(middleware=[look])
    moa.instrument("google-genai,openai,anthropic")
    run(server, way, is_async=is_async)
    assert seen == ["m", "words"]
    check(turns)
