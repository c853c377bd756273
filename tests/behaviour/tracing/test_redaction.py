"""Canaries in every place that holds content: redacted, none is found anywhere."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import moa_middleware as moa
from moa_middleware.compat import hermes
from tests.support.canaries import MARK, canary, create, refuse, reply

OPTIONS = {
    "temperature": 0.5,
    "reasoning_effort": "low",
    "stop": [canary("stop")],
    "tool_choice": "auto",
    "tools": [{"type": "function", "function": {"name": "send", "description": canary("tools")}}],
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {canary("schema"): 1}}},
    "extra_body": {"top_k": 5, "chat_template_kwargs": {"persona": canary("template")}},
}
MESSAGES = [
    {"role": "system", "content": canary("system")},
    {"role": "user", "content": [{"type": "text", "text": canary("part")}]},
    {"role": "assistant", "content": None, "tool_calls": reply("x")["choices"][0]["message"]["tool_calls"]},
    {"role": "tool", "tool_call_id": "call_1", "content": json.dumps({"to": canary("result")})},
]
MODES = {
    "emails": {"redact": "emails"},
    "all rules": {"redact": ["secrets", "emails", "phones"]},
    "a function": {"redact": lambda text: text.replace(MARK, "-")},
    "a function and rules": {"redact": ["secrets, phones", lambda text: text.replace(MARK, "-")]},
    "nothing left": {"redact": lambda _: "***"},
    "failing": {"redact": lambda text: 1 / 0},
    "no text": {"redact": lambda text: None},
    "metadata": {"capture": "metadata"},
    "metadata and more": {"capture": "metadata", "redact": "emails", "max_field_bytes": 10},
    "cut": {"redact": "emails", "max_field_bytes": 12},
}


@pytest.mark.parametrize("mode", MODES)
def test_no_content_of_any_kind_gets_past(mode, told):
    """Messages, parameters, answers, tool calls, choices, usage, raw values, errors and tags: in the file and in `on_turn`."""
    with pytest.raises(ValueError, match="error"):
        refuse(MESSAGES)
    assert MARK in (plain := told()), "otherwise nothing would be proved"
    for name in ("system", "part", "quoted", "result", "error"):
        assert f"{name}.{MARK}" in plain
    for path in told.dir.rglob("*.jsonl"):
        path.unlink()
    told.records.clear()
    moa.configure(**MODES[mode])
    returned = create(MESSAGES, **OPTIONS)
    assert MARK in returned
    assert MARK not in told()
    (record,) = told.records
    assert ["m1", "m2", "m3"] == [call["model"] for call in record["references"]]
    assert "m4" == record["aggregator"]["model"]
    assert (7, 5) == tuple(record["references"][0]["usage"][name] for name in ("input_tokens", "output_tokens"))
    if mode not in ("failing", "no text"):  # there a key of the provider's cannot be written
        assert {"prompt_tokens": 7, "completion_tokens": 5}.items() <= record["references"][0]["usage_raw"].items()
    assert 0.5 == record["references"][0]["params"]["temperature"]
    assert "low" == record["references"][0]["params"]["reasoning_effort"]
    assert 5 == record["references"][0]["params"]["extra_body"]["top_k"]
    (call,) = record["references"][0]["tool_calls"]
    assert ("call_1", "send") == (call["id"], call["function"]["name"])


def test_a_late_line_is_redacted_too(told, read_lines):
    """A call that outlives its turn has a line of its own."""
    go = threading.Event()

    @moa.reference
    def slow(messages):
        go.wait(10)
        return canary("late")

    with ThreadPoolExecutor() as pool:

        @moa.turn
        def early(messages):
            pool.submit(slow, [{"role": "user", "content": canary("question")}])
            return "early"

        moa.configure(redact="emails")
        early("hi")
        go.set()
    late = [record for record in read_lines(told.dir) if record["schema"] == "moa-late/1"]
    assert "[email]" == late[0]["call"]["output"]
    assert MARK not in told()


@pytest.mark.parametrize("capture", ["metadata", "full"])
def test_a_late_line_tells_sizes_too(capture, told, read_lines):
    """As the line of its turn does."""
    go = threading.Event()

    @moa.reference
    def slow(messages):
        go.wait(10)
        return "late"

    moa.configure(capture=capture)
    with ThreadPoolExecutor() as pool:

        @moa.turn
        def early(messages):
            pool.submit(slow, "q")
            return "early"

        early("hi")
        go.set()
    (call,) = [record["call"] for record in read_lines(told.dir) if record["schema"] == "moa-late/1"]
    if capture == "full":
        assert ("late", False) == (call["output"], "omitted" in call)
    else:
        assert (None, {"reason": "metadata", "bytes": 4}) == (call["output"], call["omitted"]["output"])


def test_the_live_path_sees_the_live_content(told):
    """Middleware, observers, the caller and the inference of roles: only what is written is changed."""
    seen = []

    def look(call):
        seen.append(str(call.messages))
        found = yield call
        seen.append(found.text)

    moa.configure(redact="emails", middleware=[look], observers=[look])

    class Client:
        def create(self, *, messages):
            return f"Re: {messages[-1]['content']}"

    client = moa.instrument(Client(), call="create")

    @moa.turn
    def unnamed(messages):
        first = client.create(messages=messages)
        return client.create(messages=[{"role": "user", "content": f"Sum up: {first}"}])

    assert unnamed([{"role": "user", "content": canary("question")}]).startswith("Re: Sum up")
    assert 8 == len(seen)
    assert all(MARK in text for text in seen)
    (record,) = told.records
    (reference,) = record["references"]
    assert ("inferred", "Re: [email]") == (reference["role_source"], reference["output"])
    assert ("inferred", "Re: Sum up: Re: [email]") == (record["aggregator"]["role_source"], record["output"])
    assert MARK not in told()


def test_compatibility_functions_write_redacted_lines(told):
    """Those that make a record of their own write it through the same place."""
    moa.configure(redact="emails")
    hermes.save_moa_turn(
        session_id="s",
        preset_name="p",
        reference_outputs=[("a", canary("output"), None)],
        aggregator_label="x:y",
        aggregator_model="y",
        aggregator_provider="x",
        aggregator_temperature=None,
        aggregator_input_messages=[{"role": "user", "content": canary("input")}],
        aggregator_output=canary("answer"),
        aggregator_streamed=False,
    )
    assert "[email]" == told.records[0]["aggregator"]["output"]
    assert MARK not in told()


def test_logs_and_reprs_hold_no_content(told, caplog, capsys):
    """Also where the redactor itself quotes what it failed on."""

    def quoting(text):
        raise ValueError(text)

    moa.configure(redact=quoting)
    with pytest.raises(ValueError, match="error"):
        refuse(MESSAGES)
    everything = caplog.text + "".join(capsys.readouterr()) + repr(moa.status()) + told()
    assert MARK not in everything
    assert "moa.observer_failed" in caplog.text
    assert moa.status().faults > 0
