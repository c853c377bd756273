"""The thin path: a decorated client on the real SDK, one line on disk."""

from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

import moa_middleware as moa
from moa_middleware.testing import ScriptedServer


@pytest.mark.parametrize("stream", [False, True])
def test_a_turn_is_one_line(trace_dir, read_lines, stream):
    """Two references in a bare pool and an aggregator make one line with all three."""

    @moa.client
    class Client:
        def __init__(self, sdk):
            self.sdk = sdk

        @moa.reference
        def ask(self, model, messages):
            return self.sdk.chat.completions.create(model=model, messages=messages)

        @moa.aggregator
        def synthesize(self, messages, *, stream=False):
            return self.sdk.chat.completions.create(model="agg", messages=messages, stream=stream)

        def create(self, messages, *, stream=False):
            with ThreadPoolExecutor() as pool:
                asked = [pool.submit(self.ask, model, messages) for model in ("a", "b")]
                answers = [one.result().choices[0].message.content for one in asked]
            content = "\n".join(answers)
            return self.synthesize([*messages, {"role": "user", "content": content}], stream=stream)

    with ScriptedServer({"a": "alpha", "b": "beta", "agg": "the final answer"}) as server:
        sdk = moa.instrument(openai.OpenAI(base_url=server.base_url, api_key="x", max_retries=0))
        answer = Client(sdk).create([{"role": "user", "content": "hi"}], stream=stream)
        if stream:
            for _ in answer:
                pass
    (turn,) = read_lines(trace_dir)
    assert ["alpha", "beta"] == [reference["output"] for reference in turn["references"]]
    assert "the final answer" == turn["aggregator"]["output"] == turn["output"]
    assert "completed" == turn["aggregator"]["outcome"] == turn["outcome"]
    assert [] == turn["calls"]
