"""Canaries in every key that is content: in the line, the late line, the journal and the report, none gets past."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

import moa_middleware as moa
from moa_middleware import report
from moa_middleware.record_classes import CLASSES, CONTENT, UNREDACTABLE
from tests.support.canaries import MARK, ask, canary, odd, refuse, reply

OPTIONS = {"stop": [canary("stop")], "tools": [{"type": "function", "function": {"name": canary("tools")}}]}
MESSAGES = [{"role": "user", "content": canary("question")}]
MODES = {
    "emails": {"redact": "emails"},
    "a function": {"redact": lambda text: text.replace(MARK, "-")},
    "failing": {"redact": lambda text: 1 / 0},
    "metadata": {"capture": "metadata"},
}
KEYS = {path.partition(".")[0] for path, kind in CLASSES.items() if kind == CONTENT}


@moa.reference(model="m5")
def shout(messages, **options):
    """Return something else than the model said."""
    return f"{ask(messages, **options)['choices'][0]['message']['content'].upper()}! {canary('shout')}"


def note():
    """Make a note with a text, a key and a number of the user's."""
    moa.note("vote", said=canary("note"), scores={canary("note_key"): 1})


def ask_all():
    """Make a note and calls that fill each key that is content."""
    note()
    ask(MESSAGES, **OPTIONS)
    odd(MESSAGES)
    shout(MESSAGES)
    with suppress(ValueError):
        refuse(MESSAGES)


def line():
    """Write the line of a turn."""
    moa.turn(tags={"tenant": canary("tag")})(ask_all)()


def late_line():
    """Write the late lines of calls that outlive their turn."""
    go = threading.Event()
    carried = moa.carry(ask_all)

    def slow():
        go.wait(10)
        carried()

    with ThreadPoolExecutor() as pool:

        @moa.turn(tags={"tenant": canary("tag")})
        def early():
            nonlocal carried
            note()
            carried = moa.carry(ask_all)
            pool.submit(slow)

        early()
        go.set()


def written(told):
    """Return the records of all files."""
    found = [json.loads(one) for path in told.dir.rglob("*.jsonl") for one in path.read_text().splitlines()]
    return [*found, *(record["call"] for record in found if "call" in record)]


def keys_with_canaries(records):
    """Return the keys of turns and calls whose value has a canary."""
    found = set()
    for record in records:
        calls = [*record.get("references", ()), *record.get("calls", ()), record.get("aggregator") or {}, record]
        for part in [*calls, record.get("turn") or {}]:
            found |= {key for key, value in part.items() if MARK in json.dumps(value)}
    return found


def journal(told, seen):
    """Write a journal, and keep what is in it while its turn is open."""

    @moa.turn(tags={"tenant": canary("tag")})
    def create():
        ask_all()
        seen.append("".join(path.read_text() for path in (told.dir / "open").glob("*.jsonl")))

    create()


@pytest.mark.parametrize("write", [line, late_line])
def test_every_key_that_is_content_has_a_canary(write, told):
    """Otherwise the tests below would prove nothing of a key that is new."""
    write()
    told()
    assert keys_with_canaries(written(told)) >= KEYS


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("write", [line, late_line])
def test_none_gets_past_into_a_line(write, mode, told):
    """Under a rule, a function, one that fails, and in metadata."""
    moa.configure(**MODES[mode])
    write()
    assert MARK not in told()


@pytest.mark.parametrize("mode", MODES)
def test_none_gets_past_into_a_journal(mode, told):
    """What is kept of an open turn."""
    moa.configure(journal=True)
    plain, seen = [], []
    journal(told, plain)
    assert {f'"{key}":' for key in KEYS} <= {f'"{key}":' for key in KEYS if f'"{key}":' in plain[0]}
    assert MARK in plain[0]
    moa.configure(**MODES[mode])
    journal(told, seen)
    assert seen[0]
    assert MARK not in seen[0]


def free(name):
    """Return a text with a canary that is no name."""
    return f"because of {canary(name)} {canary(name)} and so on"


def chatty_reply():
    """Return a reply with canaries wherever a provider has a word, a name or a key of its own."""
    call = {"id": free("call"), "type": free("kind"), "function": {"name": free("function"), "arguments": "{}"}}
    note = {"type": free("citation"), "url": "https://example.org", "start_index": 0, "end_index": 1}
    message = {"role": "assistant", "content": "a", "tool_calls": [call], "annotations": [note]}
    choice = {"index": 0, "message": message, "finish_reason": free("finish")}
    choice["native_finish_reason"] = free("native")
    choice["content_filter_results"] = {free("filter"): {"score": 0.5}, free("other"): {"long": "x " * 200_000}}
    head = {name: free(name) for name in ("id", "model", "system_fingerprint", "service_tier", "provider")}
    times = {"time_info": {free("time"): 0.5, "total_time": 2.0}}
    usage = {"prompt_tokens": 7, "completion_tokens": 5, free("usage"): 3}
    return {**head, **times, "object": "chat.completion", "choices": [choice], "usage": usage}


def chatty_stream():
    """Yield the same as a chunk."""
    reply = chatty_reply()
    [choice] = reply["choices"]
    yield {**reply, "choices": [{**choice, "delta": choice.pop("message")}]}


def chatty_responses():
    """Return a response of another API, of which the same holds."""
    call = {"type": "x_call", "id": free("item"), "name": free("function"), "call_id": free("call"), "arguments": "{}"}
    text = {"type": "output_text", "text": "a", "annotations": [{"type": free("note"), "index": 3}]}
    message = {"type": "message", "role": "assistant", "content": [text]}
    filters = [{free("filter"): 1}]
    head = {"id": free("id"), "status": free("status"), "model": free("model"), "content_filters": filters}
    return {**head, "object": "response", "output": [message, call], "usage": {"input_tokens": 1, free("usage"): 2}}


def chatty_message():
    """Return a message of a third."""
    call = {"type": "tool_use", "id": free("call"), "name": free("function"), "input": {}}
    content = [{"type": "text", "text": "a", "citations": [{"type": free("citation"), "cited_text": "a"}]}, call]
    usage = {"input_tokens": 1, "inference_geo": free("region"), "service_tier": free("tier"), free("usage"): 3}
    head = {"id": free("id"), "model": free("model"), "stop_reason": free("finish"), "usage": usage}
    return {**head, "type": "message", "role": "assistant", "content": content}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("made", [chatty_reply, chatty_stream, chatty_responses, chatty_message])
def test_words_of_a_provider_that_are_no_words_are_content(made, mode, told):
    """A reason, an id, a name or a key that is a sentence may quote anything; numbers stay."""
    chatty = moa.reference(model="m")(made)
    for found in (chatty(), *(chatty() if made is chatty_stream else ())):
        assert found
    assert MARK in told()
    found = [one for record in told.records for one in (*record["references"], record["aggregator"]) if one]
    assert any(MARK in (one["finish_reason"] or "") for one in found)
    told.records.clear()
    for path in told.dir.rglob("*.jsonl"):
        path.unlink()
    moa.configure(**MODES[mode])
    [*chatty()] if made is chatty_stream else chatty()
    assert MARK not in told()
    [call] = [one for record in told.records for one in (*record["references"], record["aggregator"]) if one]
    assert "completed" == call["outcome"]
    assert call["usage"]["input_tokens"]
    if mode != "failing":
        assert not {2, 3}.isdisjoint(call["usage_raw"].values())
    if mode in {"metadata", "failing"}:
        assert call["finish_reason"] is None
        assert "finish_reason" in call["omitted"]


@pytest.mark.parametrize("how", [{"redact": ["emails"]}, {"content": False}], ids=["rules", "without content"])
def test_none_gets_past_into_a_report(how, told):
    """The page of a run that was recorded with all of its content."""
    line()
    for make in (chatty_reply, chatty_responses, chatty_message):
        moa.reference(model="m")(make)()
    page = told.dir.parent / "run.html"
    report.write(told.dir, page)
    assert MARK in page.read_text()
    report.write(told.dir, page, **how)
    assert MARK not in page.read_text()


@pytest.mark.parametrize("mode", MODES)
def test_pieces_of_texts_are_withheld_where_anything_is_redacted(mode, told):
    """No rule finds a secret in the tokens of `logprobs`."""
    moa.configure(**MODES[mode])
    line()
    told()
    [call] = [one for one in told.records[0]["references"] if one["model"] == "m1"][:1]
    for key in UNREDACTABLE:
        assert call[key] is None
        assert ("metadata" if mode == "metadata" else "redacted") == call["omitted"][key]["reason"]


def test_figures_stay(told):
    """Names, scores and times are no content."""
    moa.configure(capture="metadata")
    line()
    told()
    call = told.records[0]["references"][0]
    assert {"provider": "Azure", "native_finish_reason": "STOP"} == call["served_by"]
    assert (1764000000, {"total_duration": 5}) == (call["created"], call["timings"])
    assert {"filtered": True, "quote": None} == call["filters"]["content_filter_results"]["custom"]
    assert {"citations.0.title", "parts", "logprobs", "stop_sequence"} <= call["omitted"].keys()


def test_a_text_that_is_too_long_is_left_out_as_a_whole(told):
    """In the half of a secret no rule would know its form; its size and digest say what is missing."""
    long = "hat " * 100_000

    @moa.reference(model="m")
    def long_result(messages):
        made = reply("x")
        made["choices"][0]["message"]["executed_tools"] = [{"type": "search", "output": long}, {"output": "short"}]
        return made

    long_result(MESSAGES)
    told()
    [call] = told.records[0]["references"] or [told.records[0]["aggregator"]]
    first, second = call["parts"][0]["executed_tools"]
    assert ({"type": "search", "output": None}, {"output": "short"}) == (first, second)
    why = call["omitted"]["parts.0.executed_tools.0.output"]
    assert ("limit", len(long)) == (why["reason"], why["bytes"])
