"""Traces that the real client wrote, in a directory where tests may damage them."""

from __future__ import annotations

import json
import threading

import pytest

import moa_middleware as moa


def reply(text, **usage):
    usage = {"prompt_tokens": 10, "completion_tokens": 5, **usage}
    return {"choices": [{"message": {"content": text}, "finish_reason": "stop"}], "usage": usage}


class Plain:
    """Two references and an aggregator, without a network."""

    def __init__(self, *answers, cost=None, fails=()):
        self.answers = answers or ("the first reference says so", "the second reference says otherwise")
        self.cost = {} if cost is None else {"cost": cost}
        self.fails = fails

    @moa.reference(model=lambda self, number, messages: f"ref-{number}")
    def ask(self, number, messages):
        if number in self.fails:
            raise ValueError("no answer today")
        return reply(self.answers[number], **self.cost)

    @moa.aggregator(model="agg")
    def synthesize(self, messages):
        return reply(" and ".join(self.answers), **self.cost)

    @moa.turn
    def create(self, messages):
        told = []
        for number in range(len(self.answers)):
            try:
                told.append(self.ask(number, messages)["choices"][0]["message"]["content"])
            except ValueError:
                continue
        return self.synthesize([{"role": "system", "content": "\n\n".join(told)}, *messages])


def late_turn(path):
    """Run a turn that ends before its reference does; return a function that lets that end too."""
    begun, go_on = threading.Event(), threading.Event()

    @moa.reference(model="slow")
    def propose(messages):
        begun.set()
        go_on.wait(20)
        return {"choices": [{"message": {"content": "at last"}}], "usage": {"prompt_tokens": 7, "cost": 0.5}}

    @moa.turn(session_id="s")
    def create(messages):
        thread = threading.Thread(target=propose, args=(messages,))
        thread.start()
        begun.wait(20)
        return thread

    def end():
        go_on.set()
        thread.join()

    moa.configure(save_traces=True, trace_dir=path)
    thread = create(ask())
    return end


def ask(text="Why is the sky blue?"):
    return [{"role": "user", "content": text}]


@pytest.fixture
def desk(tmp_path_factory):
    """Return a directory whose files may be damaged."""
    return tmp_path_factory.mktemp("desk")


@pytest.fixture
def traces(desk):
    """Return a directory with two sessions of three turns, written by the real client."""
    path = desk / "traces"
    moa.configure(save_traces=True, trace_dir=path)
    for number in range(6):
        with moa.tag(session_id=f"s-{number % 2}", preset="duo"):
            Plain(cost=0.25).create(ask(f"Question {number}?"))
    return path


def records(path):
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


def write(path, *lines):
    """Write lines: records, texts or bytes."""
    data = b""
    for one in lines:
        line = json.dumps(one, ensure_ascii=False, separators=(",", ":")) if isinstance(one, dict) else one
        data += (line.encode("utf-8", "surrogatepass") if isinstance(line, str) else line) + b"\n"
    path.write_bytes(data)
    return path


SEED = {
    "ts": 1783000000.5,
    "session_id": "seed",
    "preset": "old",
    "references": [
        {
            "label": "openai:gpt-4.1",
            "model": "gpt-4.1",
            "provider": "openai",
            "temperature": 0.6,
            "input_messages": [{"role": "user", "content": "Why?"}],
            "output": "Because of the scattering of light.",
            "usage": {
                "input_tokens": 100,
                "output_tokens": 20,
                "cache_read_tokens": 3,
                "cache_write_tokens": 0,
                "reasoning_tokens": 0,
            },
            "cost_usd": "0.0012345678901",
            "cost_status": "estimated",
            "cost_source": "table",
        },
        {
            "label": "x:broken",
            "model": "broken",
            "provider": "x",
            "temperature": None,
            "input_messages": [{"role": "user", "content": "Why?"}],
            "output": "[failed: TimeoutError]",
            "usage": {},
            "cost_usd": None,
            "cost_status": None,
            "cost_source": None,
        },
    ],
    "aggregator": {
        "label": "anthropic:claude",
        "model": "claude",
        "provider": "anthropic",
        "temperature": None,
        "input_messages": [
            {"role": "user", "content": "Why?"},
            {"role": "system", "content": "One said: Because of the scattering of light."},
        ],
        "output": "It scatters.",
        "streamed": True,
        "output_location": "inline_from_stream",
    },
}
"""A line as Hermes Agent's `moa_trace.py` writes it: no schema, no times, the price as a text."""
