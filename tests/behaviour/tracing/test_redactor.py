"""The redactor: rules, functions of the user's, keys, and faults."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import moa_middleware as moa
from moa_middleware._capture.tracing import content
from moa_middleware._capture.tracing.content import Content
from moa_middleware._capture.tracing.encode import encode
from moa_middleware._capture.tracing.redact import Redactor
from moa_middleware._redaction.inside import unique
from tests.support.canaries import MARK, call_of, canary, echo, say


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
