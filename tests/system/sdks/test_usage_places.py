"""Where providers put tokens and prices: by the real SDKs, as values and as streams, left early and read to the end."""

from __future__ import annotations

import asyncio
import json
from contextlib import closing

import groq
import openai
import pytest

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer
from tests.support.sdk_forms import CHAT, MESSAGE, RESPONSE, client_of

COUNTS = {"prompt_tokens": 30, "completion_tokens": 9, "total_tokens": 39, "cached_tokens": 20}
EXPECTED = {
    "input_tokens": 10,
    "output_tokens": 9,
    "cache_read_tokens": 20,
    "cache_write_tokens": None,
    "reasoning_tokens": None,
}


def call_of(turns):
    [turn] = turns
    calls = [*turn["references"], *([turn["aggregator"]] if turn["aggregator"] else []), *turn["calls"]]
    [call] = calls
    return call


def chunk(delta, finish=None, choice=None, **more):
    """Return a chunk of a chat as JSON."""
    item = {"index": 0, "delta": delta, "finish_reason": finish, **(choice or {})}
    head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return json.dumps({**head, "choices": [item], **more})


WORDS = [chunk({"role": "assistant", "content": "one "}, x_groq={"id": "r"}), chunk({"content": "two"})]
LAST = {
    "x_groq": [chunk({}, "stop", x_groq={"id": "r", "usage": COUNTS})],
    "x_groq, with a text": [chunk({"content": "!"}, "stop", x_groq={"id": "r", "usage": COUNTS})],
    "choice": [chunk({}, "stop", choice={"usage": COUNTS})],
    "choice, with a text": [chunk({"content": "!"}, "stop", choice={"usage": COUNTS})],
    "both": [chunk({}, "stop", usage=COUNTS, x_groq={"id": "r", "usage": {"prompt_tokens": 1}})],
    "top": [chunk({}, "stop"), json.dumps({"object": "chat.completion.chunk", "choices": [], "usage": COUNTS})],
}
CLIENTS = {"openai": (openai.OpenAI, openai.AsyncOpenAI), "groq": (groq.Groq, groq.AsyncGroq)}


def made(sdk, server, *, is_async):
    """Return an instrumented client of an SDK."""
    url = server.root_url if sdk == "groq" else server.base_url
    return moa.instrument(CLIENTS[sdk][is_async](base_url=url, api_key="k", max_retries=0))


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("place", LAST)
@pytest.mark.parametrize("sdk", CLIENTS)
def test_the_tokens_of_a_stream(sdk, place, is_async, turns):
    """In the last chunk, wherever the provider has them there."""

    async def drain(client):
        async with client:
            async for _ in await client.chat.completions.create(stream=True, **CHAT):
                pass

    with ScriptedServer({"m": Script(raw_chunks=[*WORDS, *LAST[place]])}) as server:
        client = made(sdk, server, is_async=is_async)
        if is_async:
            asyncio.run(drain(client))
        else:
            list(client.chat.completions.create(stream=True, **CHAT))
    call = call_of(turns)
    assert call["output"].startswith("one two")
    assert call["usage"] == EXPECTED


@pytest.mark.parametrize("sdk", CLIENTS)
def test_a_stream_left_before_its_tokens_has_none(sdk, turns):
    """What did not come is unknown, and the text is kept."""
    with ScriptedServer({"m": Script(raw_chunks=[*WORDS, *LAST["x_groq"]])}) as server:
        client = made(sdk, server, is_async=False)
        with closing(client.chat.completions.create(stream=True, **CHAT)) as stream:
            next(iter(stream))
    call = call_of(turns)
    assert (call["output"], call["usage"]) == ("one ", {})


def completion(choice=None, **more):
    """Return a whole completion."""
    item = {"index": 0, "message": {"role": "assistant", "content": "A hat."}, "finish_reason": "stop"}
    head = {"id": "c", "object": "chat.completion", "created": 1, "model": "m"}
    return {**head, "choices": [{**item, **(choice or {})}], **more}


@pytest.mark.parametrize(
    "reply",
    [
        completion(usage=COUNTS),
        completion(usage=None, x_groq={"id": "r", "usage": COUNTS}),
        completion({"usage": COUNTS}),
        completion({"usage": COUNTS, "message": {"role": "assistant", "content": None, "refusal": "No."}}),
    ],
    ids=["top", "x_groq", "choice", "choice of a refusal"],
)
def test_the_tokens_of_a_value(reply, turns):
    """In the same places, of a dict and of an object of the SDK."""

    @moa.reference
    def ask(messages):
        return reply

    @moa.reference
    def ask_sdk(messages):
        return openai.types.chat.ChatCompletion.model_validate(reply)

    with moa.turn():
        ask([])
        ask_sdk([])
    assert [call["usage"] for call in turns[0]["references"]] == [EXPECTED, EXPECTED]


PRICES = {
    "openrouter": ({"cost": 0.002, "cost_details": {"upstream_inference_cost": None}}, 0.002),
    "openrouter, own credits": (
        {"cost": 0.002, "is_byok": False, "cost_details": {"upstream_inference_cost": 0.002}},
        0.002,
    ),
    "openrouter, own key": ({"cost": 0.5, "is_byok": True, "cost_details": {"upstream_inference_cost": 10.0}}, 10.5),
    "openrouter, own key, no fee": (
        {"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.25}},
        0.25,
    ),
    "openrouter, before is_byok": ({"cost": 0.5, "cost_details": {"upstream_inference_cost": 10.0}}, 10.5),
    "perplexity": ({"cost": {"input_tokens_cost": 0.001, "request_cost": 0.005, "total_cost": 0.006}}, 0.006),
    "perplexity, in dollars": ({"cost": {"currency": "USD", "total_cost": 0.006}}, 0.006),
    "another currency": ({"cost": {"currency": "EUR", "total_cost": 0.006}}, None),
    "xai": ({"cost_in_usd_ticks": 37_756_000}, 0.0037756),
    "xai, nothing": ({"cost_in_usd_ticks": 0}, 0.0),
    "text": ({"cost": "0.002"}, 0.002),
    "words": ({"cost": "free"}, None),
    "switch": ({"cost": True}, None),
    "not finite": ({"cost": 1e999}, None),
    "below zero ticks": ({"cost_in_usd_ticks": "many"}, None),
    "too large": ({"cost": 10**400}, None),
}


@pytest.mark.parametrize("stream", [False, True], ids=["value", "stream"])
@pytest.mark.parametrize("name", PRICES)
def test_a_price_in_the_form_of_each_provider(name, stream, turns):
    """In US dollars; what is not a price leaves it unknown, and the tokens are right all the same."""
    price, expected = PRICES[name]
    usage = {"prompt_tokens": 30, "completion_tokens": 9, "total_tokens": 39, **price}
    with ScriptedServer({"m": Script("A hat.", usage=usage, usage_always=True)}) as server:
        client = made("openai", server, is_async=False)
        reply = client.chat.completions.create(stream=stream, **CHAT)
        if stream:
            list(reply)
    call = call_of(turns)
    assert call["cost_usd"] == (None if expected is None else pytest.approx(expected, rel=1e-12))
    assert (call["usage"]["input_tokens"], call["usage"]["output_tokens"]) == (30, 9)
    assert call["cost_status"] == (None if expected is None else "reported")


STEP = {"cache_read_input_tokens": 0, "cache_creation_input_tokens": 0}
ITERATIONS = {
    "input_tokens": 130,
    "output_tokens": 90,
    "output_tokens_details": {"thinking_tokens": 40},
    **STEP,
    "iterations": [
        {"type": "compaction", "input_tokens": 55_000, "output_tokens": 196, **STEP},
        {"type": "message", "model": "m", "input_tokens": 130, "output_tokens": 90, **STEP},
        {"type": "advisor_message", "model": "other", "input_tokens": 900, "output_tokens": 70, **STEP},
    ],
}


@pytest.mark.parametrize("stream", [False, True], ids=["value", "stream"])
@pytest.mark.parametrize("is_beta", [False, True], ids=["messages", "beta"])
def test_the_iterations_of_a_message(is_beta, stream, turns):
    """Those of the call's own model are its tokens; all are in the provider's own usage."""
    with ScriptedServer({"m": Script("A hat.", usage=ITERATIONS, usage_in="finish")}) as server:
        client = moa.instrument(client_of("anthropic", server))
        messages = client.beta.messages if is_beta else client.messages
        reply = messages.create(stream=stream, **MESSAGE)
        if stream:
            list(reply)
    call = call_of(turns)
    assert call["usage"] == {
        "input_tokens": 55_130,
        "output_tokens": 286,
        "cache_read_tokens": 0,
        "cache_write_tokens": 0,
        "reasoning_tokens": 40,
    }
    assert [step["output_tokens"] for step in call["usage_raw"]["iterations"]] == [196, 90, 70]


@pytest.mark.parametrize("stream", [False, True], ids=["value", "stream"])
@pytest.mark.parametrize("api", ["messages", "responses"])
def test_a_gateways_price_in_other_forms(api, stream, turns):
    """OpenRouter offers the Messages and the Responses API too."""
    usage = {"input_tokens": 30, "output_tokens": 9, "cost": 0.25}
    with ScriptedServer({"m": Script("A hat.", usage=usage, usage_in="finish")}) as server:
        if api == "messages":
            reply = moa.instrument(client_of("anthropic", server)).messages.create(stream=stream, **MESSAGE)
        else:
            reply = moa.instrument(client_of("openai", server)).responses.create(stream=stream, **RESPONSE)
        if stream:
            list(reply)
    call = call_of(turns)
    assert (call["cost_usd"], call["usage"]["input_tokens"]) == (0.25, 30)
