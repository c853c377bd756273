"""Frameworks on top of an instrumented SDK: each request is recorded once, and the caller sees what it saw before."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections import Counter

import pytest

pytest.importorskip(
    "langchain_openai", reason="frameworks are tested in the environment of tests/environments/frameworks.txt"
)

import dspy
import instructor
import openai
from agents import Agent as OpenaiAgent
from agents import OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner, set_tracing_disabled
from autogen_agentchat.agents import AssistantAgent
from autogen_ext.models.openai import OpenAIChatCompletionClient
from langchain_openai import ChatOpenAI
from llama_index.llms.openai import OpenAI as LlamaOpenAI
from pydantic import BaseModel
from pydantic_ai import Agent as PydanticAgent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.models.openai import OpenAIResponsesModel as PydanticResponses
from pydantic_ai.providers.openai import OpenAIProvider
from smolagents import OpenAIServerModel

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer

MODEL = "gpt-4.1"
QUESTION = "Why is the sky blue?"
ANSWER = "Rayleigh scattering."
AS_JSON = '{"text": "Rayleigh scattering."}'
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
MESSAGES = [{"role": "user", "content": QUESTION}]
KEY = "sk-canary-of-the-tests-0123456789"
OPTIONS = {"api_key": KEY, "max_retries": 0}


_loop = asyncio.Runner()


def in_loop(coroutine):
    """Run a coroutine in the one loop of this module: LangChain keeps an async client for the whole process."""
    return _loop.run(coroutine)


class Answer(BaseModel):
    """What instructor makes of a reply."""

    text: str


def langchain(url, **options):
    return ChatOpenAI(model=MODEL, base_url=url, **OPTIONS, **options)


async def langchain_astream(url):
    return "".join([chunk.content async for chunk in langchain(url).astream(QUESTION)])


def llama(url):
    return LlamaOpenAI(model=MODEL, api_base=url, **OPTIONS)


async def llama_astream(url):
    return "".join([chunk.delta async for chunk in await llama(url).astream_complete(QUESTION)])


def pydantic_ai(url, kind=OpenAIChatModel):
    return PydanticAgent(kind(MODEL, provider=OpenAIProvider(base_url=url, api_key=KEY)))


async def pydantic_ai_stream(url):
    async with pydantic_ai(url).run_stream(QUESTION) as run:
        return "".join([text async for text in run.stream_text(delta=True)])


def agent(url, kind):
    set_tracing_disabled(True)
    return OpenaiAgent(name="a", model=kind(model=MODEL, openai_client=openai.AsyncOpenAI(base_url=url, **OPTIONS)))


async def agent_value(url, kind):
    return (await Runner.run(agent(url, kind), QUESTION)).final_output


async def agent_stream(url, kind):
    run = Runner.run_streamed(agent(url, kind), QUESTION)
    async for _ in run.stream_events():
        pass
    return run.final_output


def structured(url, client):
    return instructor.from_openai(client(base_url=url, **OPTIONS), mode=instructor.Mode.JSON).chat.completions


ASKED = {"model": "json", "messages": MESSAGES, "response_model": Answer}


async def structured_value(url):
    return (await structured(url, openai.AsyncOpenAI).create(**ASKED)).text


def dspy_model(url):
    return dspy.LM(f"openai/{MODEL}", api_base=url, api_key=KEY, cache=False, num_retries=0, engine="litellm")


async def dspy_value(url):
    return (await dspy_model(url).acall(QUESTION))[0]


def autogen(url, **options):
    return AssistantAgent("a", OpenAIChatCompletionClient(model=MODEL, base_url=url, **OPTIONS), **options)


async def autogen_value(url):
    return (await autogen(url).run(task=QUESTION)).messages[-1].content


async def autogen_stream(url):
    events = [event async for event in autogen(url, model_client_stream=True).run_stream(task=QUESTION)]
    return events[-1].messages[-1].content


def smol(url):
    return OpenAIServerModel(MODEL, api_base=url, api_key=KEY)


SMOL_MESSAGES = [{"role": "user", "content": [{"type": "text", "text": QUESTION}]}]

# What is asked, how many requests that is, whether they are streams.
RUNS = {
    "LangChain value": (lambda url: langchain(url).invoke(QUESTION).content, 1, False),
    "LangChain stream": (lambda url: "".join(chunk.content for chunk in langchain(url).stream(QUESTION)), 1, True),
    "LangChain async value": (lambda url: in_loop(langchain(url).ainvoke(QUESTION)).content, 1, False),
    "LangChain async stream": (lambda url: in_loop(langchain_astream(url)), 1, True),
    "LangChain responses": (lambda url: langchain(url, use_responses_api=True).invoke(QUESTION).text, 1, False),
    "LangChain batch": (lambda url: [reply.content for reply in langchain(url).batch([QUESTION] * 3)], 3, False),
    "LlamaIndex value": (lambda url: llama(url).complete(QUESTION).text, 1, False),
    "LlamaIndex stream": (lambda url: "".join(chunk.delta for chunk in llama(url).stream_complete(QUESTION)), 1, True),
    "LlamaIndex async value": (lambda url: in_loop(llama(url).acomplete(QUESTION)).text, 1, False),
    "LlamaIndex async stream": (lambda url: in_loop(llama_astream(url)), 1, True),
    "pydantic-ai value": (lambda url: in_loop(pydantic_ai(url).run(QUESTION)).output, 1, False),
    "pydantic-ai stream": (lambda url: in_loop(pydantic_ai_stream(url)), 1, True),
    "pydantic-ai responses": (lambda url: in_loop(pydantic_ai(url, PydanticResponses).run(QUESTION)).output, 1, False),
    "OpenAI Agents value": (lambda url: in_loop(agent_value(url, OpenAIChatCompletionsModel)), 1, False),
    "OpenAI Agents stream": (lambda url: in_loop(agent_stream(url, OpenAIChatCompletionsModel)), 1, True),
    "OpenAI Agents responses": (lambda url: in_loop(agent_value(url, OpenAIResponsesModel)), 1, False),
    "OpenAI Agents responses stream": (lambda url: in_loop(agent_stream(url, OpenAIResponsesModel)), 1, True),
    "instructor value": (lambda url: structured(url, openai.OpenAI).create(**ASKED).text, 1, False),
    "instructor stream": (lambda url: [*structured(url, openai.OpenAI).create_partial(**ASKED)][-1].text, 1, True),
    "instructor async value": (lambda url: in_loop(structured_value(url)), 1, False),
    "DSPy value": (lambda url: dspy_model(url)(QUESTION)[0], 1, False),
    "DSPy async value": (lambda url: in_loop(dspy_value(url)), 1, False),
    "AutoGen value": (lambda url: in_loop(autogen_value(url)), 1, False),
    "AutoGen stream": (lambda url: in_loop(autogen_stream(url)), 1, True),
    "smolagents value": (lambda url: smol(url).generate(SMOL_MESSAGES).content, 1, False),
    "smolagents stream": (
        lambda url: "".join(d.content or "" for d in smol(url).generate_stream(SMOL_MESSAGES)),
        1,
        True,
    ),
}


@pytest.fixture(scope="module")
def server():
    reply = Script(ANSWER, usage=USAGE, usage_always=True)
    with ScriptedServer({"json": Script(AS_JSON, usage=USAGE, usage_always=True)}, default=reply) as made:
        yield made


@pytest.fixture
def instrumented():
    moa.instrument("openai,litellm")
    yield
    moa.uninstrument()


def calls_of(turn):
    return [*turn["references"], *([turn["aggregator"]] if turn["aggregator"] else []), *turn["calls"]]


@pytest.mark.parametrize("name", RUNS)
def test_each_request_of_a_framework_is_recorded_once(server, turns, name, request):
    """With its prompt, answer and tokens, in the turn around it; untraced and traced, the framework returns the same."""
    run, requests, streams = RUNS[name]
    bare = run(server.base_url)
    request.getfixturevalue("instrumented")
    before = len(server.received)
    with moa.turn():
        traced = run(server.base_url)
    gc.collect()
    assert traced == bare
    assert requests == len(server.received) - before
    (turn,) = turns
    calls = calls_of(turn)
    assert requests == len(calls)
    for call in calls:
        assert ("completed", None, streams) == (call["outcome"], call["error"], call["streamed"])
        assert call["model"].endswith("json" if "instructor" in name else MODEL)
        assert call["output"] == (AS_JSON if "instructor" in name else ANSWER)
        assert QUESTION in str(call["input_messages"])
        assert (11, 7) == (call["usage"]["input_tokens"], call["usage"]["output_tokens"])
    assert KEY not in str(turn)


@pytest.mark.parametrize("name", [name for name in RUNS if name.split()[0] in ("LangChain", "LlamaIndex", "AutoGen")])
def test_a_request_that_fails_below_a_framework_is_an_error_of_the_record(turns, name, instrumented):
    """And the caller gets the framework's own exception."""
    run, requests, _ = RUNS[name]
    outcomes = Counter()
    error = {"message": "no such model", "type": "invalid_request_error"}
    with ScriptedServer({}, default=Script(status=400, error=error)) as server:
        with contextlib.suppress(Exception), moa.turn():
            run(server.base_url)
            outcomes["no exception"] += 1
    assert not outcomes
    (turn,) = turns
    assert {"error"} == {call["outcome"] for call in calls_of(turn)}
    assert 1 <= len(calls_of(turn)) <= requests
