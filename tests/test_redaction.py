"""What is written of content: redacted, as sizes, or cut; and what is left alone."""

from __future__ import annotations

import gc
import hashlib
import json
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

import moa_middleware as moa
from moa_middleware._capture import config
from moa_middleware._capture.tracing import content
from moa_middleware._capture.tracing.content import Content
from moa_middleware._capture.tracing.encode import encode
from moa_middleware._capture.tracing.redact import Redactor
from moa_middleware._redaction.inside import unique
from moa_middleware.compat import hermes

MARK = "XQCANARYQX"  # no other text has it by chance, and every encoding of a line leaves it as it is


def canary(name):
    """Return a text that all three rules and every function of the tests know how to take out."""
    return f"{name}.{MARK}@example.com"


def reply(name):
    """Return a completed reply that holds canaries wherever a reply holds content."""
    arguments = json.dumps({canary("key"): [canary("argument")], "n": 3, "text": f'"\\ \n{canary("quoted")}'})
    message = {
        "role": "assistant",
        "content": f"answer to {name}: {canary('output')}",
        "reasoning": canary("reasoning"),
        "refusal": canary("refusal"),
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "send", "arguments": arguments}}],
    }
    choices = [{"index": n, "finish_reason": "stop", "message": message} for n in range(2)]
    return {"choices": choices, "usage": {"prompt_tokens": 7, "completion_tokens": 5, "note": canary("usage")}}


class Odd:
    """A value that no shape understands."""

    def __repr__(self):
        return canary("repr")


@moa.reference(model="m1")
def ask(messages, **options):
    return reply("ask")


@moa.reference(model="m2")
def odd(messages):
    return Odd()


@moa.reference(model="m3")
def refuse(messages):
    raise ValueError(f"{canary('error')} was refused")


@moa.aggregator(model="m4")
def answer(messages, **options):
    yield from ("All of ", canary("stream"), " said so.")


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


@moa.turn(tags={"tenant": canary("tag"), "deep": {canary("tag_key"): [canary("tag_item")]}})
def create(messages, **options):
    ask(messages, **options)
    odd(messages)
    with suppress(ValueError):
        refuse(messages)
    return "".join(answer([*messages, {"role": "user", "content": reply("ask")["choices"][0]["message"]["content"]}]))


@pytest.fixture
def told(trace_dir):
    """Return a function that gives every byte that was written, and every record that was handed out."""
    records = []
    moa.configure(on_turn=records.append)

    def gather():
        gc.collect()
        moa.flush()
        files = [path.read_text() for path in sorted(trace_dir.rglob("*")) if path.is_file()]
        assert files
        return "\n".join([*files, *(json.dumps(record, ensure_ascii=False) for record in records)])

    gather.records = records
    gather.dir = trace_dir
    return gather


# All content --------------------------------------------------------------------------------------

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


# Sizes in place of content ------------------------------------------------------------------------


@moa.reference(model="m")
def echo(messages, **options):
    return messages[-1]["content"]


def say(text):
    """Make a call whose only message is a text."""
    return echo([{"role": "user", "content": text}])


def call_of(record):
    return record["references"][0]


def test_metadata_tells_sizes_and_no_digests(monkeypatch, turns):
    """Of a text its UTF-8 bytes, of anything else those of its JSON; a short text could be guessed from a hash."""
    monkeypatch.setenv("MOA_CAPTURE", "metadata")
    messages = [{"role": "user", "content": "süß"}]

    @moa.turn(tags={"tenant": "a", "dotted.key~": [1, 2], "none": None})
    def create(messages):
        return echo(messages, stop=["x"], temperature=0.5, seed=3)

    create(messages)
    (record,) = turns
    call = call_of(record)
    size = len(json.dumps(messages, separators=(",", ":"), ensure_ascii=False).encode())
    assert {
        "input_messages": {"reason": "metadata", "bytes": size},
        "output": {"reason": "metadata", "bytes": 5},
        "params.stop": {"reason": "metadata", "bytes": 5},
    } == call["omitted"]
    assert {"tenant": None, "dotted.key~": None, "none": None} == record["tags"]
    assert {"input_messages", "output", "tags.tenant", "tags.dotted~1key~0"} == record["omitted"].keys()
    assert 5 == record["omitted"]["tags.dotted~1key~0"]["bytes"]
    assert {"stop": None, "temperature": 0.5, "seed": 3} == call["params"]
    assert (None, None, "inline", "completed") == tuple(
        call[name] for name in ("input_messages", "output", "output_location", "outcome")
    )
    assert "sha256" not in json.dumps(record)


def test_what_is_not_there_is_not_omitted(turns):
    """A `null` without an entry was `null` before."""
    moa.configure(capture="metadata")

    @moa.reference
    def silent():
        return None

    silent()
    (record,) = turns
    assert "output" not in call_of(record).get("omitted", {})
    assert "input_messages" not in record.get("omitted", {})


# Cut ----------------------------------------------------------------------------------------------


def test_a_long_text_is_cut_at_a_whole_character_and_declared(monkeypatch, turns):
    """With its size and its digest; a text of the very length stays, and so do words of the format."""
    monkeypatch.setenv("MOA_MAX_FIELD_BYTES", "8")
    long, fitting = "€uro €uro €uro", "01234567"
    echo([{"role": "assistant", "content": fitting}, {"role": "user", "content": long}])
    call = call_of(turns[0])
    data = long.encode()
    entry = {"reason": "limit", "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert [fitting, "€uro "] == [message["content"] for message in call["input_messages"]]
    assert "€uro " == call["output"]
    assert {"input_messages.1.content": entry, "output": entry} == call["omitted"]
    assert ["assistant", "user"] == [message["role"] for message in call["input_messages"]]


@given(st.text(), st.integers(1, 40))
def test_whatever_is_cut_is_a_prefix_within_the_limit(text, limit):
    """Whatever the characters are, lone surrogates among them."""
    found, urgent = Content(limit=limit).line(encode({"output": text}))
    record = json.loads(found)
    assert urgent is None
    assert text.startswith(record["output"])
    size = len(text.encode("utf-8", "surrogatepass"))
    kept = len(record["output"].encode("utf-8", "surrogatepass"))
    assert kept <= limit
    assert ("omitted" in record) == (size > limit)
    if size > limit:
        assert kept > limit - 4
        assert size == record["omitted"]["output"]["bytes"]


def test_a_secret_is_taken_out_before_the_cut(turns):
    """Half a secret would match no rule any more."""
    moa.configure(redact="secrets", max_field_bytes=24)
    say("my key: sk-proj-abcDEF1234567890abcdEFGH")
    assert "my key: [secret]" == call_of(turns[0])["output"]


# Redaction ----------------------------------------------------------------------------------------


def redacted(value, **options):
    """Return messages as a record has them."""
    line, urgent = Content(redactor=Redactor(**options)).line(encode({"input_messages": value}))
    assert urgent is None
    return json.loads(line)["input_messages"]


def test_json_in_a_text_stays_json():
    """The texts, keys and numbers inside are changed; what needs no change stays as it was written."""
    arguments = '{"to": "\\u0061lice@example.com", "phone":4915112345678, "x": [1.50, null, "a\\"b\\n@"]}'
    (found,) = redacted([{"arguments": arguments}], rules=["emails", "phones"])
    assert {"to": "[email]", "phone": "[phone]", "x": [1.5, None, 'a"b\n@']} == json.loads(found["arguments"])
    untouched = '{ "a" : 1.50,\n "b":"\\u0061" }'
    assert [untouched] == redacted([untouched], rules=["emails", "secrets", "phones"])
    nested = json.dumps({"body": json.dumps({"mail": "a.b@example.com", "n": 1})})
    (found,) = redacted([nested], rules=["emails"])
    assert {"mail": "[email]", "n": 1} == json.loads(json.loads(found)["body"])


def test_json_that_was_broken_off_is_redacted_as_text():
    """Arguments of a tool call whose stream ended early, and JSON inside other text."""
    (found,) = redacted([{"arguments": '{"to": "alice@example.com", "te'}], rules=["emails"])
    assert '{"to": "[email]", "te' == found["arguments"]
    assert [r'Got {"a": "x\n[email]"}.'] == redacted([r'Got {"a": "x\nalice@example.com"}.'], rules=["emails"])


def test_a_value_is_known_by_its_name():
    """A password has no form of its own; a schema that asks for one holds none."""
    words = {"password": "correct horse", "hint": "correct horse"}
    assert [{**words, "password": "[secret]"}] == redacted([words], rules=["secrets"])
    assert [{"input": {"X-Api-Key": "[secret]"}}] == redacted([{"input": {"X-Api-Key": "abc"}}], rules=["secrets"])
    assert [{"mobile": "[phone]"}] == redacted([{"mobile": "0151 2345678"}], rules=["phones"])
    schema = [{"properties": {"password": {"type": "string", "minLength": 8}}, "required": ["password"]}]
    assert schema == redacted(schema, rules=["secrets", "emails", "phones"])


def test_keys_are_content_too_and_none_is_lost():
    """Two that become the same are numbered."""
    found = redacted([{"a.b@example.com": 1, "c.d@example.com": 2, "other": 3}], rules=["emails"])
    assert [{"[email]": 1, "[email] (2)": 2, "other": 3}] == found


@given(st.lists(st.sampled_from(["a", "a (2)", "a (3)", "b", "b (2)"]), max_size=12))
def test_keys_are_made_different(keys):
    """Whatever they are, and as many as they were."""
    made = unique(keys)
    assert len(made) == len(set(made)) == len(keys)


def test_a_function_gets_each_text_after_the_rules():
    """Texts inside tool arguments, keys that are no words of a format, and figures; not roles, types and ids."""
    seen = set()

    def note(text):
        seen.add(text)
        return text

    arguments = json.dumps({"city": "Bonn", "n": 12})
    call = {"id": "call_9", "type": "function", "function": {"arguments": arguments}}
    messages = [
        {"role": "user", "content": [{"type": "text", "text": "I am a.b@example.com"}], "extra_key": 7},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "made up", "type": "text"},
    ]
    redacted(messages, rules=["emails"], functions=[note])
    assert {"I am [email]", "extra_key", "7", "city", "Bonn", "n", "12", "made up"} == seen


def test_several_functions_come_in_order(turns):
    """Each gets what the one before it made."""
    moa.configure(redact=["emails", lambda text: text + "1", lambda text: text + "2"])
    say("a.b@example.com")
    assert "[email]12" == call_of(turns[0])["output"]


def test_a_failing_function_drops_the_text_and_nothing_else(turns):
    """It is `null`, marked and counted; the other texts stand, redacted."""
    before = moa.status().faults

    def picky(text):
        if "bad" in text:
            raise LookupError(text)
        return text.upper()

    moa.configure(redact=picky)
    echo([{"role": "user", "content": "good"}, {"role": "user", "content": "bad"}])
    (record,) = turns
    call = call_of(record)
    assert ["GOOD", None] == [message["content"] for message in call["input_messages"]]
    assert call["output"] is None
    expected = {"reason": "redactor_failed", "bytes": 3}
    assert {"input_messages.1.content": expected, "output": expected} == call["omitted"]
    asked = record["instrumentation_errors"]
    assert asked == moa.status().faults - before
    assert 1 <= asked <= 2, "equal texts under the same key are asked for once"


def test_a_key_that_cannot_be_redacted_takes_its_mapping_along(turns):
    """Its values would stand without a name."""

    def picky(text):
        return text if text != "badkey" else 1 / 0

    moa.configure(redact=picky)
    say({"badkey": "x"})
    call = call_of(turns[0])
    assert call["input_messages"][0]["content"] is None
    assert "redactor_failed" == call["omitted"]["input_messages.0.content"]["reason"]
    assert "badkey" not in json.dumps(call["input_messages"])


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupt_inside_a_function_goes_on_when_the_line_is_written(error, told):
    """The line is there, without the text that was being redacted."""
    armed = [error("now")]

    def interrupted(text):
        if text == "hi" and armed:
            raise armed.pop()
        return text

    moa.configure(redact=interrupted)
    with pytest.raises(error):
        say("hi")
    (line,) = [line for path in told.dir.rglob("*.jsonl") for line in path.read_text().splitlines()]
    record = json.loads(line)
    reasons = {entry["reason"] for part in (record, call_of(record)) for entry in part.get("omitted", {}).values()}
    assert {"redactor_failed"} == reasons
    assert [] == armed
    assert 1 == len(told.records)


def test_a_function_that_asks_a_traced_model_does_not_ask_for_ever(told):
    """The line of its own call would be redacted by it in turn: there the texts are dropped."""

    @moa.reference(model="judge")
    def judge(messages):
        return "fine"

    moa.configure(redact=lambda text: judge([{"role": "user", "content": text}]) and "judged")
    say(canary("question"))
    models = [call_of(record)["model"] for record in told.records]
    assert {"judge", "m"} == set(models)
    assert "judged" == call_of(told.records[models.index("m")])["output"]
    assert call_of(told.records[models.index("judge")])["output"] is None
    assert MARK not in told()


def test_a_fault_of_ours_costs_the_content_and_not_the_line(told, monkeypatch):
    """What cannot be redacted for whatever reason is withheld."""

    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(content._Edited, "make", broken)
    moa.configure(redact="emails")
    say(canary("question"))
    assert "redactor_failed" == call_of(told.records[0])["omitted"]["output"]["reason"]
    assert MARK not in told()


def test_the_minimal_record_says_what_failed(told, monkeypatch):
    """Its tag is a word of ours."""
    from moa_middleware._capture.tracing import turn_record as record

    def broken(*_args, **_kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(record, "turn_record", broken)
    moa.configure(capture="metadata")
    say("x")
    assert {"moa.record_failed": "ZeroDivisionError"} == told.records[0]["tags"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_what_holds_nothing_to_redact_comes_out_as_it_was(value):
    """A line is the same after a function that changes nothing, whatever JSON is in it."""
    line = encode({"input_messages": value, "tags": {"x": value}, "output": None})
    found, _ = Content(redactor=Redactor(functions=[str])).line(line)
    assert json.loads(line) == json.loads(found)


@given(JSON)
def test_nothing_but_null_is_left_of_content_by_metadata(value):
    """Whatever it is."""
    found = json.loads(Content(metadata=True).line(encode({"input_messages": value, "output": None}))[0])
    assert found["input_messages"] is None
    assert ("omitted" in found) == (value is not None)


def test_integers_of_any_length_pass():
    """Python's `json` does not read more than 4,300 digits, so they become a text."""
    line = b'{"input_messages":[' + b"9" * 5000 + b',"a.b@example.com"]}'
    found, _ = Content(redactor=Redactor(rules=["emails"])).line(line)
    assert ["9" * 5000, "[email]"] == json.loads(found)["input_messages"]


# Settings -----------------------------------------------------------------------------------------


def in_force():
    """Return what would be done to the lines of the next turn."""
    recording = config.recording()
    return None if recording is None else recording._content


def redactor():
    """Return rules and functions in force."""
    found = in_force()._redactor
    return found.rules, found.functions


def test_with_nothing_configured_there_is_nothing_to_do(turns, monkeypatch):
    """One check a line is the whole cost."""
    assert in_force() is None
    monkeypatch.setenv("MOA_CAPTURE", "full")
    monkeypatch.setenv("MOA_REDACT", " , ")
    assert in_force() is None


@pytest.mark.parametrize(
    "text", ["secrets,emails,phones", " Phones , SECRETS,,emails ", "emails,phones,secrets,emails"]
)
def test_rules_are_named_in_the_environment_in_any_order(text, turns, monkeypatch):
    """They are applied in one order."""
    monkeypatch.setenv("MOA_REDACT", text)
    assert (("secrets", "emails", "phones"), ()) == redactor()


def test_a_function_adds_to_the_rules_of_the_environment(turns, monkeypatch):
    """Names in code stand in their place, an empty list for none, and `None` follows the environment again."""
    monkeypatch.setenv("MOA_REDACT", "emails")
    moa.configure(redact=str.upper)
    assert (("emails",), (str.upper,)) == redactor()
    moa.configure(redact=["secrets", str.upper])
    assert (("secrets",), (str.upper,)) == redactor()
    moa.configure(redact="phones")
    assert (("phones",), ()) == redactor()
    moa.configure(redact=[])
    assert in_force() is None
    moa.configure(redact=None)
    assert (("emails",), ()) == redactor()


async def _async(text):
    return text


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"redact": "names"}, "unknown rule 'names'"),
        ({"redact": 5}, "int"),
        ({"redact": ["emails", 5]}, "int"),
        ({"redact": _async}, "async"),
        ({"capture": "some"}, "capture"),
        ({"max_field_bytes": 0}, "max_field_bytes"),
    ],
)
def test_a_bad_argument_is_a_clear_error_and_changes_nothing(given, word, turns):
    """What was in force stays in force."""
    moa.configure(redact="emails")
    with pytest.raises(moa.SettingsError, match=re.escape(word)):
        moa.configure(**given)
    assert (("emails",), ()) == redactor()


@pytest.mark.parametrize("name", ["MOA_REDACT", "MOA_CAPTURE", "MOA_MAX_FIELD_BYTES", "MOA_TURNS"])
def test_listeners_get_nothing_either_while_a_setting_is_bad(name, monkeypatch, caplog):
    """Nobody knows what was to be withheld; the event names the variable and not its value."""
    monkeypatch.setenv(name, "nonsense")
    records = []
    moa.configure(on_turn=records.append)
    assert "hi" == say("hi")
    assert [] == records
    assert name in caplog.text
    assert "nonsense" not in caplog.text


def test_a_change_of_the_environment_holds_for_the_next_turn(turns, monkeypatch):
    """The variables are read at the start of each turn."""
    for value, expected in [("", "a.b@example.com"), ("emails", "[email]"), ("", "a.b@example.com")]:
        monkeypatch.setenv("MOA_REDACT", value)
        say("a.b@example.com")
        assert expected == call_of(turns[-1])["output"]


@pytest.mark.parametrize("setting", [{"redact": "emails"}, {"capture": "metadata"}])
def test_a_tag_of_a_name_of_ours_is_a_tag(setting, told):
    """Whatever a user calls a tag, its value is content."""
    moa.configure(**setting)
    with moa.turn(tags={"moa.record_failed": "ann@example.com"}):
        moa.reference(lambda: "said")()
    assert "ann@example.com" not in told()


@pytest.mark.parametrize(
    "text",
    [
        '{"to": "ann@example.com", "to": "nobody"}',
        '[{"a": {"x": "ann@example.com", "x": 1}}]',
        '{"ann@example.com": 1, "ann@example.com": 2}',
    ],
)
def test_json_with_a_key_twice_hides_nothing(told, text):
    """What the first one holds is read by nobody who parses it, and by everybody who looks."""
    moa.configure(redact=["emails"])
    moa.reference(lambda: text)()
    assert "ann@example.com" not in told()


def test_a_secret_at_the_cut_of_an_unknown_object_is_not_halved(told):
    """The rule sees more than is written."""
    for padding in range(440, 500, 4):

        class Odd:
            def __repr__(self):
                return f"{'x' * padding} sk-proj-{'a1B2c3D4' * 6} and more"

        def make(odd=Odd):
            return odd()

        moa.reference(make)()
    assert "a1B2" not in told()


@pytest.mark.parametrize("setting", [{}, {"redact": "emails"}, {"capture": "metadata"}])
def test_no_depth_of_the_stack_costs_the_line(setting, trace_dir):
    """
    A turn that closes where hardly any stack is left is written all the same, perhaps without its content.

    Where not even its request can be read, the caller has its value, and the loss is counted.
    """
    program = f"""
import sys
import moa_middleware as moa
moa.configure(save_traces=True, trace_dir={str(trace_dir)!r}, **{setting!r})

@moa.turn
def create(messages):
    return ask(messages)

@moa.reference
def ask(messages):
    return "an answer that is long enough"

def deep(levels, messages):
    return deep(levels - 1, messages) if levels else create(messages)

messages = [{{"role": "user", "content": "hi", "deep": None}}]
inner = messages[0]
for _ in range(100):
    inner["deep"] = inner = {{"a": 1, "deep": None}}
create(messages)
sys.setrecursionlimit(400)
came_back = 1
for levels in range(150, 390):
    try:
        deep(levels, messages)
        came_back += 1
    except RecursionError:
        pass
sys.setrecursionlimit(2000)
print(came_back, moa.status().faults)
assert not moa.flush().waiting
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=120)
    came_back, faults = map(int, done.stdout.split())
    lost = came_back - len([line for line in (trace_dir / "unknown-session.jsonl").read_bytes().splitlines() if line])
    assert lost <= min(3, faults)
