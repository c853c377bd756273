"""
The traces behind the examples of the documentation: `python -m tests.support.cli_pages.example` writes them anew.

The real client asks the scripted server, which takes its time. What would tell of a machine (its name,
ports) is replaced; the times are those that were taken.
"""

from __future__ import annotations

import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import openai

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer

HERE = Path(__file__).parent / "example_traces"
REFERENCES = ("gpt-4.1-mini", "claude-sonnet-4", "deepseek-v3")
QUESTIONS = {
    "Why is the sky blue?": (
        "Air scatters blue light far more than red light, so blue reaches us from everywhere.",
        "This is Rayleigh scattering: short waves are scattered most by the molecules of the air.",
        "The sky reflects the sea, as everybody who lives at a coast can tell.",
        (
            "The sky is blue since air scatters blue light far more than red light. "
            "Short waves are scattered most by the molecules of the air, and no sea is needed for it."
        ),
    ),
    "Why do cats purr?": (
        "Cats purr when they are content, and also when they are in pain.",
        "A cat purrs by twitching the muscles of its larynx some twenty-five times a second.",
        "Purring may help bones to heal, since its frequency is that of therapies.",
        (
            "By twitching the muscles of its larynx some twenty-five times a second; and cats purr when they are content, "
            "and also when they are in pain."
        ),
    ),
    "How long is a marathon?": (
        "A marathon is 42.195 kilometres long.",
        "It is 26.2 miles, which is a little more than 42 kilometres.",
        "About 40 kilometres.",
        "A marathon is 42.195 kilometres long, or 26.2 miles.",
    ),
}
PRICES = {"gpt-4.1-mini": 0.0004, "claude-sonnet-4": 0.0031, "gpt-4.1": 0.0092, "gpt-5": 0.0148}


class Ensemble:
    """Three references at once, and an aggregator that streams."""

    def __init__(self, sdk, aggregator):
        self.sdk = moa.instrument(sdk)
        self.aggregator = aggregator
        self.pool = ThreadPoolExecutor(4)
        self.left = []

    @moa.reference
    def ask(self, model, messages):
        return self.sdk.chat.completions.create(model=model, messages=messages)

    @moa.aggregator
    def act(self, messages):
        return self.sdk.chat.completions.create(
            model=self.aggregator, messages=messages, stream=True, stream_options={"include_usage": True}
        )

    @moa.turn
    def create(self, messages, patient=True):
        asked = [self.pool.submit(self.ask, model, messages) for model in REFERENCES]
        told = []
        for future in asked if patient else asked[:2]:
            with suppress(openai.APIError):
                told.append(future.result().choices[0].message.content)
        self.left += asked
        drafts = "\n\n".join(told)
        stream = self.act([{"role": "system", "content": f"Weigh these answers:\n\n{drafts}"}, *messages])
        return "".join(choice.delta.content or "" for chunk in stream for choice in chunk.choices)


def model(body, *, slow):
    """Answer as a model of the example."""
    name = body["model"]
    question = body["messages"][-1]["content"]
    place = REFERENCES.index(name) if name in REFERENCES else 3
    if name == "deepseek-v3" and "cats" in question:
        return Script(status=503, error={"message": "The server is overloaded."}, delay=0.9)
    text = QUESTIONS[question][place]
    usage = {"prompt_tokens": 40 + 17 * place + len(question), "completion_tokens": len(text) // 4}
    if name in PRICES:
        usage["cost"] = PRICES[name] * (1 + len(text) / 500)
    delay = (0.5, 0.8, 1.1 if "marathon" not in question else 2.4, 0.35)[place] * slow
    return Script(text, usage=usage, delay=delay, piece_delay=0.02 if place == 3 else 0)


def run(session, preset, aggregator, slow):
    """Ask all questions in one session."""
    answer = {name: lambda body: model(body, slow=slow) for name in (*REFERENCES, aggregator)}
    with ScriptedServer(answer) as server:
        sdk = openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0)
        client = Ensemble(sdk, aggregator)
        for question in QUESTIONS:
            with moa.tag(session_id=session, preset=preset):
                client.create([{"role": "user", "content": question}], patient="marathon" not in question)
        client.pool.shutdown()
        sdk.close()


def main():
    """Write the traces."""
    shutil.rmtree(HERE, ignore_errors=True)
    moa.configure(save_traces=True, trace_dir=HERE)
    run("bench-1", "trio", "gpt-4.1", 1.0)
    run("bench-2", "trio-large", "gpt-5", 1.3)
    moa.flush()
    for path in HERE.rglob("*.jsonl"):
        lines = path.read_text(encoding="utf-8")
        lines = re.sub(r'"host":"[^"]*"', '"host":"example"', lines)
        lines = re.sub(r"http://127\.0\.0\.1:\d+", "http://127.0.0.1:8000", lines)
        assert all(json.loads(line) for line in lines.splitlines())
        path.write_text(lines, encoding="utf-8")


if __name__ == "__main__":
    main()
