"""What the settings change in the lines: sizes in place of content, redaction, limits, journals, Hermes' functions."""

# ruff: noqa: D401 - the docstring of a script names its run

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import moa_middleware as moa
from moa_middleware.compat import hermes

from .script import BoomError, chunk, chunks, quietly, reply, script, thing

SECRET = "sk-proj-abcdefghijklmnopqrstuvwxyz0123"
PRIVATE = [
    {"role": "system", "content": f"The key is {SECRET}, keep it."},
    {"role": "user", "content": [{"type": "text", "text": "Write to jane.doe@example.com or +49 170 1234567."}]},
]


def _rich():
    """Run a turn whose line has something under every key."""
    calls = [
        {"id": "t1", "type": "function", "function": {"name": "mail", "arguments": '{"to": "jane.doe@example.com"}'}}
    ]
    message: dict[str, Any] = {
        "content": f"Known: {SECRET}",
        "tool_calls": calls,
        "reasoning_content": "jane.doe@example.com, hm",
    }
    choices: list[dict[str, Any]] = [
        {"index": 0, "finish_reason": "stop", "message": message},
        {"index": 1, "finish_reason": "stop", "message": {"content": None, "refusal": "Not to +49 170 1234567."}},
    ]

    url = {"url": "https://example.org/hats", "title": "To jane.doe@example.com", "start_index": 0, "end_index": 5}
    message |= {
        "annotations": [{"type": "url_citation", "url_citation": url}],
        "executed_tools": [{"type": "search", "output": f"Found {SECRET}"}],
    }
    choices[0] |= {
        "logprobs": {"content": [{"token": "Known", "logprob": -0.5}]},
        "stop_reason": "jane.doe@example.com",
        "content_filter_results": {"custom": {"filtered": False, "quote": "jane.doe@example.com"}},
        "native_finish_reason": "STOP",
    }
    more = {"service_tier": "flex", "provider": "Azure", "created": 1764000000, "total_duration": 5}

    @moa.reference(label="first", tags={"owner": "jane.doe@example.com"})
    def ask(messages, **params):
        return reply(choices=choices, usage={"prompt_tokens": 3, "note": "jane.doe@example.com"}, **more)

    @moa.reference(label="fails")
    def fails(messages):
        raise BoomError(f"jane.doe@example.com may not use {SECRET}")

    @moa.reference(label="odd")
    def odd(messages):
        return SimpleNamespace(unknown="jane.doe@example.com")

    @moa.reference(label="shouts")
    def shouts(messages):
        return ask(messages)["choices"][0]["message"]["content"].upper() + "!"

    @moa.aggregator
    def synthesize(messages):
        yield from chunks("Dear ", "jane.doe@", "example.com, ", "the key is ", SECRET[:10], SECRET[10:], ".")

    @moa.turn(session_id="s-1", preset="team", tags={"mail": "jane.doe@example.com", "n": 4, "deep": {"k": [SECRET]}})
    def create(messages, **params):
        ask(
            messages,
            temperature=0.5,
            stop=["jane.doe@example.com"],
            user="jane.doe@example.com",
            tools=[{"name": SECRET}],
        )
        ask(messages, extra_body={"provider": {"only": ["x"]}, "top_k": 3, "chat_template_kwargs": {"a": SECRET}})
        quietly(lambda: fails(messages))
        odd(messages)
        shouts(messages)
        return synthesize(messages)

    list(create(PRIVATE, temperature=0.3))

    @moa.turn(session_id="s-1")
    def broken(prompt):
        raise BoomError(f"jane.doe@example.com {SECRET}")

    quietly(lambda: broken("Why?"))


@script()
def rich():
    """Nothing is taken out."""
    _rich()


@script(capture="metadata")
def capture_metadata():
    """Sizes in place of content."""
    _rich()


@script(redact="secrets")
def redact_secrets():
    """Credentials are taken out."""
    _rich()


@script(redact="secrets, emails,phones")
def redact_all():
    """Every rule."""
    _rich()


@script(max_field_bytes="24")
def max_field_bytes():
    """Texts are cut, between characters."""
    _rich()
    with moa.turn(session_id="é" * 30):
        moa.reference(lambda prompt: "é" * 30)("😀" * 10)


@script(redact="emails", max_field_bytes="40")
def redact_and_cut():
    """Both."""
    _rich()


@script(redact="secrets")
def redact_functions():
    """Functions of the user's: one that changes, one that fails, one that returns no text."""
    moa.configure(redact=["emails", lambda text: text.replace("key", "K")])
    _rich()

    def broken(text):
        if "Dear" in text:
            raise ValueError("of the redactor")
        return text if "hm" not in text else None

    moa.configure(redact=[broken])
    _rich()


@script(capture="metadata")
def metadata_of_odd_things():
    """Streams with tool calls, late lines, numbers and nothing."""
    piece = {"index": 0, "id": "t1", "type": "function", "function": {"name": "f", "arguments": "{}"}}

    @moa.reference
    def stream(messages):
        yield chunk(choices=[thing({"index": 0, "finish_reason": None, "delta": {"tool_calls": [piece]}})])
        yield from chunks("a")

    kept = []
    with moa.turn(session_id="s-1"):
        list(stream("Why?"))
        kept.append(stream(None))
        next(kept[0])
    list(kept[0])


@script()
def sessions():
    """Names of files."""
    for name in ("s-1", "S 1", "über", "a/b", "..", ".hidden", "x" * 200, "con", "", "_unknown", "lone \ud800"):
        with moa.turn(session_id=name):
            pass


@script(max_file_bytes="3000")
def segments():
    """Files that are sealed."""
    for n in range(6):
        with moa.turn(session_id="s-1"):
            moa.reference(lambda prompt, n=n: f"draft {n}")("Why?")


@script()
def on_turn_and_writer():
    """A writer and a listener of one's own, the writer's faults too."""
    import json

    class Keeps:
        def __init__(self):
            self.lines = []
            self.faults = 1

        def write(self, session_id, line):
            if self.faults and "second" in line.decode():
                self.faults -= 1
                raise OSError("full")
            self.lines.append((session_id, line))

    seen = []
    keeps = Keeps()
    moa.configure(writer=keeps, on_turn=seen.append)
    for text in ("first", "second", "third"):
        with moa.turn(session_id="s-1"):
            moa.reference(lambda prompt: prompt)(text)
    moa.flush()
    moa.configure(writer=None, on_turn=None)
    assert sorted(record["turn_id"] for record in seen) == sorted(
        json.loads(line)["turn_id"] for _, line in keeps.lines
    )
    # A refused line is written with the next one or at the flush, as the clock has it.
    keeps.lines.sort(key=lambda line: [text in line[1].decode() for text in ("third", "second", "first")])
    path = os.environ["MOA_TRACE_DIR"]
    os.makedirs(path, exist_ok=True)
    for name, lines in (
        ("written", [line.decode() for _, line in keeps.lines]),
        ("seen", [json.dumps(one, separators=(",", ":")) + "\n" for one in seen]),
    ):
        with open(os.path.join(path, f"{name}.jsonl"), "w", encoding="utf-8") as file:
            file.writelines(lines)


PROGRAM = """
import os, threading
import moa_middleware as moa

@moa.reference
def ask(prompt, model):
    return {"choices": [{"message": {"content": f"draft of {model}"}, "finish_reason": "stop"}],
            "model": model, "usage": {"prompt_tokens": 4, "completion_tokens": 2}}

@moa.aggregator
def synthesize(prompt):
    yield "One "
    yield "two."

@moa.turn(session_id="s-1", preset="trio", tags={"k": "v"})
def create(prompt):
    ask(prompt, model="model-a")
    ask(prompt, model="model-b")
    stream = synthesize(prompt)
    next(stream)
    with moa.turn(session_id="s-2"):
        ask(prompt, "model-c")
        os._exit(9)

create("Why? jane.doe@example.com")
"""


def _killed():
    program = textwrap.dedent(PROGRAM)
    done = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, timeout=60)
    assert done.returncode == 9, done.stderr.decode()
    recover = [sys.executable, "-m", "moa_middleware", "recover", os.environ["MOA_TRACE_DIR"]]
    done = subprocess.run(recover, check=False, capture_output=True, timeout=60)
    assert b"Traceback" not in done.stderr, done.stderr.decode()


@script(journal="1")
def recovered():
    """What a killed process had finished."""
    _killed()


@script(journal="1", capture="metadata")
def recovered_metadata():
    """The same, with sizes in place of content."""
    _killed()


@script(journal="1")
def journalled():
    """With the journal on, lines are the same."""
    _rich()


ASKED = [{"role": "system", "content": "You advise."}, {"role": "user", "content": "Why?"}]


def _accounting(**more):
    usage = SimpleNamespace(
        input_tokens=60,
        output_tokens=5,
        cache_read_tokens=40,
        cache_write_tokens=0,
        reasoning_tokens=2,
        request_count=1,
    )
    known = {
        "usage": usage,
        "cost_usd": Decimal("0.000015"),
        "cost_status": "estimated",
        "cost_source": "official_docs_snapshot",
        "messages": ASKED,
        "output": "Air scatters blue light.",
        "model": "gpt-4o-mini",
        "provider": "openrouter",
        "temperature": 0.6,
    }
    return SimpleNamespace(**{**known, **more})


@script()
def hermes_functions():
    """Turns as the agent's two functions write them."""
    outputs = [
        ("openrouter:gpt-4o-mini", "Air…", _accounting()),
        ("a:b", "Air.", SimpleNamespace(usage=SimpleNamespace(input_tokens=3, output_tokens=1))),
        ("a:c", "Waves.", None),
        ("a:d", "[failed: timeout]", _accounting(output=None, cost_usd=None, usage=None)),
    ]
    given = {
        "session_id": "s-1",
        "preset_name": "team",
        "reference_outputs": outputs,
        "aggregator_label": "openrouter:opus",
        "aggregator_model": "opus",
        "aggregator_provider": "openrouter",
        "aggregator_temperature": 0.4,
        "aggregator_input_messages": [{"role": "user", "content": "Why?\n\nReference 1: Air."}],
        "aggregator_output": "Because of the air.",
        "aggregator_streamed": False,
    }
    hermes.save_moa_turn(**given)
    hermes.save_moa_turn(**{**given, "aggregator_output": "", "aggregator_streamed": True})
    hermes.save_moa_turn(**{**given, "session_id": None, "reference_outputs": []})
    client = SimpleNamespace(
        _pending_trace={
            "preset": "team",
            "reference_outputs": outputs[:2],
            "aggregator_slot": {"provider": "openrouter", "model": "opus"},
            "aggregator_temperature": None,
            "aggregator_label": "openrouter:opus",
            "aggregator_input_messages": ASKED,
            "aggregator_streamed": True,
            "aggregator_output": None,
        }
    )
    hermes.consume_and_save_trace(client, "s-1", aggregator_output_fallback="Because of the air.")
