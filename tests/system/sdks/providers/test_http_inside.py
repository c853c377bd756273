"""An SDK and the HTTP clients below it: its own requests are one with its call, and what its tools ask is another call."""

from __future__ import annotations

import json

import pytest

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer
from tests.support.http_ways import TLS
from tests.support.loopback import Answer
from tests.support.providers import is_installed

from .test_calls import Wire, calls_of, each_form, prepare_of, run

httpx = pytest.importorskip("httpx", reason="httpx is in the group test")


@each_form
def test_each_form_is_one_call_with_its_http_client(provider, form, turns):
    """Whichever client the SDK sends by: it is instrumented too."""
    moa.instrument("httpx,httpx2,requests,aiohttp")
    wire = Wire(provider)
    run(provider, form, wire, prepare=prepare_of(provider, form))
    assert len(calls_of(turns)) == len(wire.passed) == 1


def _gemini_with(tool):
    """Ask Gemini, which asks for a tool, and then says what the tool has returned."""
    from google.genai import types

    from tests.support.providers.gemini import connect

    def answer(_path, asked):
        parts = [part for content in asked["contents"] for part in content["parts"]]
        returned = [part["functionResponse"]["response"] for part in parts if "functionResponse" in part]
        said = {"text": str(returned)} if returned else {"functionCall": {"name": "look_up", "args": {"word": "moa"}}}
        usage = {"promptTokenCount": 50, "candidatesTokenCount": 7, "totalTokenCount": 57}
        candidate = {"index": 0, "content": {"role": "model", "parts": [said]}, "finishReason": "STOP"}
        return Answer([json.dumps({"candidates": [candidate], "usageMetadata": usage}).encode()])

    def look_up(word: str) -> str:
        """Return what a word means."""
        return tool(word)

    with connect(answer) as client:
        moa.instrument("google-genai,httpx,openai")
        config = types.GenerateContentConfig(tools=[look_up])
        return client.models.generate_content(model="m", contents="what is a moa?", config=config).text


@pytest.fixture
def model():
    """Return the URL of another model."""
    with ScriptedServer({}, default=Script("a bird", usage={"prompt_tokens": 3, "completion_tokens": 1})) as server:
        yield server.base_url


@pytest.mark.skipif(not is_installed("google.genai"), reason="google-genai needs an environment of its own")
def test_a_tool_that_asks_another_model_is_a_call(model, turns):
    """Gemini's SDK runs the functions that it is given, inside its own call."""

    def ask(word):
        body = {"model": "words", "messages": [{"role": "user", "content": word}]}
        got = httpx.post(f"{model}/chat/completions", json=body, verify=TLS)
        return got.json()["choices"][0]["message"]["content"]

    assert "a bird" in _gemini_with(ask)
    calls = [turn["aggregator"] for turn in turns]
    assert [(call["model"], call["provider"], call["usage"]["input_tokens"]) for call in calls] == [
        ("words", "127.0.0.1", 3),
        ("m", "google", 50),
    ]
    assert "a bird" in calls[1]["output"]


@pytest.mark.skipif(not is_installed("boto3"), reason="boto3 needs an environment of its own")
def test_the_bodies_of_invoke_model_are_parsed_once(turns):
    """That of the request and that of the reply: each may have megabytes."""
    import sys

    from tests.support.providers.bedrock import PROVIDER

    form = next(form for form in PROVIDER.forms if form.name == "invoke_claude")
    parsed = []

    def watch(frame, event, _arg):
        if event == "call" and frame.f_code is json.loads.__code__:
            caller = frame.f_back.f_globals["__name__"]
            parsed.extend([caller] if caller.startswith("moa_middleware._capture.shapes") else [])

    sys.setprofile(watch)
    try:
        run(PROVIDER, form, Wire(PROVIDER), prepare=prepare_of(PROVIDER, form))
    finally:
        sys.setprofile(None)
    assert parsed == ["moa_middleware._capture.shapes.bedrock"] * 2
    assert len(calls_of(turns)) == 1
