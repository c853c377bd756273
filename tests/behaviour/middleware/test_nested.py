"""Middleware of calls inside calls."""

import contextlib

import openai
import pytest

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer, capture_turns


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("on", [False, True])
def test_a_call_inside_a_call_passes_the_middleware_once(stream, on):
    """A decorated function around an instrumented client: one retry, one price, one redaction."""
    seen = []

    def count(call):
        reply = yield call
        seen.append((call.role, call.label, reply.usage.output_tokens if reply.usage else None))

    with ScriptedServer({"m": Script("ok then", usage_always=True)}) as server:
        stack = moa.Stack([count])
        client = stack.instrument(openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0))

        @stack.reference(label="mine")
        def ask(messages):
            reply = client.chat.completions.create(model="m", messages=messages, stream=stream)
            if stream:
                return "".join(c.choices[0].delta.content or "" for c in reply if c.choices)
            return reply.choices[0].message.content

        with capture_turns() if on else contextlib.nullcontext():
            assert "ok then" == ask([{"role": "user", "content": "q"}])
        stack.uninstrument()
        client.close()
    assert [("reference", "mine", 2)] == seen


def test_a_library_with_a_stack_of_its_own_keeps_its_middleware():
    """Once for each stack."""
    seen = []

    def note(name):
        def middleware(call):
            seen.append((name, call.parent is not None))
            yield call

        return middleware

    inner = moa.Stack([note("inner")]).reference(lambda: "x")
    outer = moa.Stack([note("outer")]).reference(inner)
    outer()
    assert [("outer", False), ("inner", True)] == seen
