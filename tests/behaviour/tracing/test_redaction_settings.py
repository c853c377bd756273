"""The settings of redaction: in the environment and in code, right and wrong."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

import moa_middleware as moa
from moa_middleware._capture import config
from tests.support.canaries import call_of, say


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
    """What was to be withheld is unknown; the event names the variable, with its value."""
    monkeypatch.setenv(name, "nonsense")
    records = []
    moa.configure(on_turn=records.append)
    assert "hi" == say("hi")
    assert [] == records
    assert name in caplog.text
    assert 1 == caplog.text.count("'nonsense'")


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
    assert lost <= min(8, faults)
