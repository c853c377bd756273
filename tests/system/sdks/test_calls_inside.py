"""Calls of SDKs inside the call of an SDK: one that a hook, a tool or a callback makes is a call of its own."""

from __future__ import annotations

import asyncio
import sys

import pytest

pytest.importorskip("openai", reason="openai is in the group test")

import httpx
import openai

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer
from tests.support.http_ways import TLS

MESSAGES = [{"role": "user", "content": "count"}]
OTHER = [{"role": "user", "content": "Is 'count' harmful?"}]
TEXT = "One two three."


@pytest.fixture(scope="module")
def server():
    guard = {"guard": Script("No.", usage={"prompt_tokens": 3, "completion_tokens": 1})}
    usage = {"prompt_tokens": 50, "completion_tokens": 7}
    with ScriptedServer(guard, default=Script(TEXT, usage=usage)) as made:
        yield made


def calls_of(turn):
    return [*turn["references"], *turn["calls"], *filter(None, [turn["aggregator"]])]


def entries(turns):
    """Return model, text and tokens of each call, sorted; none may be inside another."""
    calls = [call for turn in turns for call in calls_of(turn)]
    assert {call["parent"] for call in calls} == {None}
    return sorted((call["model"], call["output"] or "", call["usage"]["input_tokens"]) for call in calls)


OUTER, INNER = ("m", TEXT, 50), ("guard", "No.", 3)


def total(turns):
    return sum(turn["totals"]["usage"]["input_tokens"] for turn in turns)


def plain(server):
    return openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0)


def hooked(server, hook):
    """Return a client of openai whose HTTP client runs a function before each request."""
    http = httpx.Client(event_hooks={"request": [lambda _: hook()]}, verify=TLS)
    return openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0, http_client=http)


def ask(client, model="guard", messages=OTHER, **given):
    return client.chat.completions.create(model=model, messages=messages, **given)


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("targets", ["openai", "openai,httpx"])
def test_calls_of_a_hook_are_calls(server, turns, targets, count):
    """Of another client of the same SDK: next to the call, with its own tokens, however many there are."""
    moa.instrument(targets)
    with plain(server) as other, hooked(server, lambda: [ask(other) for _ in range(count)]) as client:
        assert ask(client, "m", MESSAGES).choices[0].message.content == TEXT
    assert entries(turns) == sorted([OUTER, *[INNER] * count])
    assert total(turns) == 50 + 3 * count
    assert {turn["session_id"] for turn in turns} == {turns[0]["session_id"]}


def test_they_belong_to_the_turn_around(server, turns):
    """Of a client whose turn is open: two calls of one turn."""
    moa.instrument("openai")
    with plain(server) as other, hooked(server, lambda: ask(other)) as client, moa.turn():
        ask(client, "m", MESSAGES)
    (turn,) = turns
    assert entries(turns) == sorted([OUTER, INNER])
    assert (turn["totals"]["calls"], turn["totals"]["usage"]["input_tokens"]) == (2, 53)


def test_they_belong_to_the_call_around_that_is_no_sdk(server, turns):
    """A decorated function around both is their sum."""
    moa.instrument("openai")
    with plain(server) as other, hooked(server, lambda: ask(other)) as client:

        @moa.reference
        def wrapper(messages):
            return ask(client, "m", messages).choices[0].message.content

        with moa.turn():
            wrapper(MESSAGES)
    (turn,) = turns
    parents = {call["model"]: call["parent"] for call in calls_of(turn)}
    assert parents["guard"] == parents["m"] is not None
    assert turn["totals"]["usage"]["input_tokens"] == 53


def test_a_decorated_function_in_a_hook_is_a_call(server, turns):
    """A function of the program's is not what an SDK sends its request by."""
    moa.instrument("openai")
    with plain(server) as other:

        @moa.reference(label="guard of mine")
        def check(question):
            return ask(other, messages=[{"role": "user", "content": question}]).choices[0].message.content

        with hooked(server, lambda: check("count")) as client:
            ask(client, "m", MESSAGES)
    assert entries(turns) == sorted([OUTER, INNER])
    assert total(turns) == 53


def test_an_async_hook(server, turns):
    """The call inside is a coroutine of its own."""
    moa.instrument("openai")
    options = {"base_url": server.base_url, "api_key": "k", "max_retries": 0}

    async def main():
        async with openai.AsyncOpenAI(**options) as other:

            async def hook(_):
                await asyncio.gather(ask(other), ask(other))

            http = httpx.AsyncClient(event_hooks={"request": [hook]}, verify=TLS)
            async with openai.AsyncOpenAI(**options, http_client=http) as client:
                return await ask(client, "m", MESSAGES)

    assert asyncio.run(main()).choices[0].message.content == TEXT
    assert entries(turns) == sorted([OUTER, INNER, INNER])
    assert total(turns) == 56


@pytest.mark.parametrize("inner", [False, True])
@pytest.mark.parametrize("outer", [False, True])
def test_streams(server, turns, outer, inner):
    """Either call, or both, may be streamed."""
    moa.instrument("openai")
    asked = {"stream_options": {"include_usage": True}}

    def hook():
        made = ask(other, stream=True, **asked) if inner else ask(other)
        if inner:
            assert len(list(made)) > 1

    with plain(server) as other, hooked(server, hook) as client:
        made = ask(client, "m", MESSAGES, stream=True, **asked) if outer else ask(client, "m", MESSAGES)
        if outer:
            list(made)
    assert entries(turns) == sorted([OUTER, INNER])
    assert total(turns) == 53


def test_a_call_inside_the_loop_over_a_stream(server, turns):
    """The consumer is outside the call whose stream it reads."""
    moa.instrument("openai")
    with plain(server) as client, moa.turn():
        for at, _ in enumerate(ask(client, "m", MESSAGES, stream=True, stream_options={"include_usage": True})):
            if not at:
                ask(client)
    assert entries(turns) == sorted([OUTER, INNER])
    assert total(turns) == 53


def test_middleware_sees_each_call_once(server, turns):
    """That of the stack, of both calls; it may change what is sent."""
    seen = []

    def look(call):
        seen.append(call.model)
        yield call

    stack = moa.Stack([look])
    with plain(server) as other, hooked(server, lambda: ask(other)) as client:
        stack.instrument(client)
        stack.instrument(other)
        ask(client, "m", MESSAGES)
    assert seen == ["m", "guard"]
    assert entries(turns) == sorted([OUTER, INNER])


@pytest.mark.parametrize("rewrites", [False, True])
def test_two_stacks_on_one_client_are_one_call(server, turns, rewrites):
    """Two layers around one call, also where the outer one sends something else; a hook's call has both layers too."""
    seen = []

    def change(call):
        yield call.replace(messages=[{"role": "user", "content": "else"}]) if rewrites else call

    def look(call):
        seen.append(call.model)
        yield call

    once = []

    def hook():
        if not once:
            once.append(True)
            ask(client)

    with hooked(server, hook) as client:
        moa.Stack([look]).instrument(client)
        moa.Stack([change]).instrument(client)
        ask(client, "m", MESSAGES)
    assert seen == ["m", "guard"]
    assert entries(turns) == sorted([OUTER, INNER])


def test_an_error_of_a_call_inside(server, turns):
    """It is an error of the call inside; the SDK may wrap it as it likes."""
    moa.instrument("openai")
    with plain(server) as other:

        def hook():
            with pytest.raises(TypeError):
                other.chat.completions.create(model="guard", messages=OTHER, nonsense=1)

        with hooked(server, hook) as client:
            ask(client, "m", MESSAGES)
    outcomes = {call["model"]: call["outcome"] for turn in turns for call in calls_of(turn)}
    assert outcomes == {"m": "completed", "guard": "error"}


def _http_of(anthropic):
    """Return the library that this version sends by."""
    return getattr(sys.modules["anthropic._base_client"], "httpx2", httpx)


def test_a_hook_of_anthropic(server, turns):
    """Another SDK around, openai's inside."""
    anthropic = pytest.importorskip("anthropic")
    moa.instrument("anthropic,openai")
    with plain(server) as other:
        http = _http_of(anthropic).Client(event_hooks={"request": [lambda _: ask(other)]}, verify=TLS)
        options = {"base_url": server.root_url, "api_key": "k", "max_retries": 0, "http_client": http}
        with anthropic.Anthropic(**options) as client:
            client.messages.create(model="m", messages=MESSAGES, max_tokens=9)
    assert entries(turns) == sorted([OUTER, INNER])


def test_a_tool_runner_of_anthropic(server, turns):
    """Its tools run between its calls, or inside them: each call is one record with its tokens."""
    anthropic = pytest.importorskip("anthropic")
    if not hasattr(anthropic.resources.beta.messages.Messages, "tool_runner"):
        pytest.skip("this version of anthropic has no tool runner")
    moa.instrument("anthropic,openai")
    call = {"id": "t", "type": "function", "function": {"name": "look_up", "arguments": '{"word": "moa"}'}}
    usage = {"prompt_tokens": 50, "completion_tokens": 7}
    with ScriptedServer({"m": [Script(tool_calls=[call], usage=usage), Script("a bird", usage=usage)]}) as made:
        options = {"base_url": made.root_url, "api_key": "k", "max_retries": 0}
        with plain(server) as other, anthropic.Anthropic(**options) as client:

            @anthropic.beta_tool
            def look_up(word: str) -> str:
                """Return what a word means."""
                return ask(other, messages=[{"role": "user", "content": word}]).choices[0].message.content

            runner = client.beta.messages.tool_runner(model="m", messages=MESSAGES, max_tokens=9, tools=[look_up])
            assert runner.until_done().content[0].text == "a bird"
    assert [(model, tokens) for model, _, tokens in entries(turns)] == [("guard", 3), ("m", 50), ("m", 50)]
    assert total(turns) == 103
