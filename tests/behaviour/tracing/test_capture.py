"""What the real SDKs leave in a line that is redacted, or that has sizes only: every API, value and stream."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress

import openai
import pytest

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer

MARK = "XQCANARYQX"  # no other text has it by chance, and every encoding of a line leaves it as it is


def canary(name):
    return f"{name}.{MARK}@example.com"


USER = {"role": "user", "content": f"Ask {canary('user')}"}
SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "description": canary("schema")}}}
FUNCTION = {"name": "send", "description": canary("tool"), "parameters": SCHEMA}
CALLS = (
    {
        "id": "call_1",
        "type": "function",
        "function": {"name": "send", "arguments": json.dumps({"to": canary("argument"), canary("key"): 1})},
    },
)
SCRIPT = Script(f"Answer {canary('answer')} whole.", reasoning=f"Thought {canary('thought')}", tool_calls=CALLS)
SCRIPTS = {
    "m": SCRIPT,
    "refusing": Script("", refusal=f"Not {canary('refusal')}"),
    "broken": Script(status=400, error={"message": f"bad {canary('error')}"}),
    "several": Script(choices=(Script(f"one {canary('first')}"), Script(f"two {canary('second')}"))),
    "cut": Script(f"Begin {canary('begin')} and more words.", break_after=3),
}


def chat(client, model="m", **options):
    return client.chat.completions.create(
        model=model,
        messages=[{"role": "system", "content": canary("system")}, USER],
        tools=[{"type": "function", "function": FUNCTION}],
        stop=[canary("stop")],
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}},
        temperature=0.5,
        **options,
    )


def responses(client, model="m", **options):
    return client.responses.create(
        model=model,
        instructions=canary("instructions"),
        input=[USER],
        tools=[{"type": "function", **FUNCTION}],
        text={"format": {"type": "json_schema", "name": "x", "schema": SCHEMA}},
        prompt={"id": "pmpt_1", "variables": {"who": canary("variable")}},
        temperature=0.5,
        **options,
    )


def messages(client, model="m", **options):
    tool = {"name": "send", "description": canary("tool"), "input_schema": SCHEMA}
    return client.messages.create(
        model=model,
        max_tokens=100,
        system=canary("system"),
        messages=[USER],
        tools=[tool],
        stop_sequences=[canary("stop")],
        temperature=0.5,
        **options,
    )


async def _asynchronously(server):
    client = moa.instrument(openai.AsyncOpenAI(base_url=server.base_url, api_key="k", max_retries=0))
    async for _ in await chat(client, stream=True):
        pass
    await chat(client)


def openai_client(server):
    return moa.instrument(openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0))


def anthropic_client(server):
    anthropic = pytest.importorskip("anthropic")
    return moa.instrument(anthropic.Anthropic(base_url=server.root_url, api_key="k", max_retries=0))


USES = {
    "chat": lambda server: chat(openai_client(server)),
    "chat stream": lambda server: list(chat(openai_client(server), stream=True)),
    "chat stream left": lambda server: next(iter(chat(openai_client(server), stream=True))),
    "chat refused": lambda server: list(chat(openai_client(server), "refusing", stream=True)),
    "chat error": lambda server: chat(openai_client(server), "broken"),
    "chat cut": lambda server: list(chat(openai_client(server), "cut", stream=True)),
    "several choices": lambda server: list(chat(openai_client(server), "several", stream=True, n=2)),
    "raw": lambda server: openai_client(server).chat.completions.with_raw_response.create(model="m", messages=[USER]),
    "async": lambda server: asyncio.run(_asynchronously(server)),
    "responses": lambda server: responses(openai_client(server)),
    "responses stream": lambda server: list(responses(openai_client(server), stream=True)),
    "responses error": lambda server: responses(openai_client(server), "broken"),
    "messages": lambda server: messages(anthropic_client(server)),
    "messages stream": lambda server: list(messages(anthropic_client(server), stream=True)),
    "messages error": lambda server: messages(anthropic_client(server), "broken"),
}


@pytest.mark.parametrize("mode", [{"redact": "emails"}, {"capture": "metadata"}], ids=["redacted", "sizes"])
@pytest.mark.parametrize("use", USES)
def test_no_content_of_a_real_call_gets_past(use, mode, trace_dir, read_lines):
    """The same call without the setting proves that there was something to hide, and everything else is the same."""
    with ScriptedServer(SCRIPTS) as server:
        for options in ({}, mode):
            moa.configure(**options)
            with moa.turn(session_id="after" if options else "before", tags={"who": canary("tag")}):
                with suppress(Exception):
                    USES[use](server)
    plain = (trace_dir / "before.jsonl").read_text()
    assert plain.count(MARK) > 3
    assert MARK not in (trace_dir / "after.jsonl").read_text()
    after, before = read_lines(trace_dir)
    assert [call["outcome"] for call in calls_of(before)] == [call["outcome"] for call in calls_of(after)]
    for one, other in zip(calls_of(before), calls_of(after), strict=True):
        for name in ("model", "usage", "finish_reason", "role", "role_source", "streamed", "output_location", "chunks"):
            assert one[name] == other[name], name
        assert one["params"].keys() == other["params"].keys()
        assert one["params"].get("temperature") == other["params"].get("temperature")
        assert [call["function"]["name"] for call in one["tool_calls"]] == [
            call["function"]["name"] for call in other["tool_calls"]
        ]
        if "redact" in mode:
            assert (one["output"] is None) == (other["output"] is None)
            for call in other["tool_calls"]:
                json.loads(call["function"]["arguments"])
        else:
            gone = ("output", "reasoning", "refusal", "choices", "input_messages")
            assert [None] * len(gone) == [other[name] for name in gone]
            assert {name for name in gone if one[name] is not None} <= other["omitted"].keys()


def calls_of(record):
    return [call for call in (*record["references"], record["aggregator"], *record["calls"]) if call is not None]
