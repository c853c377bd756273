"""The trace functions of Hermes Agent, writing our lines: what they wrote before, and when they write nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from decimal import Decimal
from types import SimpleNamespace

import pytest

import moa_middleware as moa
from moa_middleware.compat import hermes

ASKED = [{"role": "system", "content": "You advise."}, {"role": "user", "content": "Why?"}]
READ = [{"role": "user", "content": "Why?\n\nReference 1: Air."}]
USAGE = SimpleNamespace(
    input_tokens=60, output_tokens=5, cache_read_tokens=40, cache_write_tokens=0, reasoning_tokens=2, request_count=1
)
SEED = ["label", "model", "provider", "temperature", "input_messages", "output"]


def accounting(**more):
    """Return what the agent knows of a reference."""
    known = {
        "usage": USAGE,
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


def save(**more):
    """Save a turn as the agent does, changed in some arguments."""
    hermes.save_moa_turn(
        **{
            "session_id": "s-1",
            "preset_name": "team",
            "reference_outputs": [("openrouter:gpt-4o-mini", "Air…", accounting())],
            "aggregator_label": "openrouter:opus",
            "aggregator_model": "opus",
            "aggregator_provider": "openrouter",
            "aggregator_temperature": 0.4,
            "aggregator_input_messages": READ,
            "aggregator_output": "Because of the air.",
            "aggregator_streamed": False,
            **more,
        }
    )


class Client:
    """A client with a turn to be written, as the agent's is after `create`."""

    consume_and_save_trace = hermes.consume_and_save_trace

    def __init__(self, **more):
        self._pending_trace = {
            "preset": "team",
            "reference_outputs": [("openrouter:gpt-4o-mini", "Air…", accounting())],
            "aggregator_slot": {"provider": "openrouter", "model": "opus"},
            "aggregator_temperature": None,
            "aggregator_label": "openrouter:opus",
            "aggregator_input_messages": READ,
            "aggregator_streamed": True,
            "aggregator_output": None,
            **more,
        }


def test_a_turn_is_one_line_with_the_keys_that_were_there(trace_dir, read_lines):
    """Under the session's name, with every word that the models saw and said."""
    save()
    (line,) = read_lines(trace_dir)
    assert (trace_dir / "s-1.jsonl").exists()
    assert (line["session_id"], line["preset"], line["schema"]) == ("s-1", "team", "moa-turn/1")
    (reference,) = line["references"]
    assert [reference[name] for name in SEED] == [
        "openrouter:gpt-4o-mini",
        "gpt-4o-mini",
        "openrouter",
        0.6,
        ASKED,
        "Air scatters blue light.",
    ]
    assert reference["usage"] == {
        "input_tokens": 60,
        "output_tokens": 5,
        "cache_read_tokens": 40,
        "cache_write_tokens": 0,
        "reasoning_tokens": 2,
    }
    assert reference["cost_usd"] == 0.000015
    assert (reference["cost_status"], reference["cost_source"]) == ("estimated", "official_docs_snapshot")
    aggregator = line["aggregator"]
    assert [aggregator[name] for name in SEED] == [
        "openrouter:opus",
        "opus",
        "openrouter",
        0.4,
        READ,
        "Because of the air.",
    ]
    assert aggregator["streamed"] is False
    assert aggregator["output_location"] == "inline"
    assert line["output"] == "Because of the air."
    assert line["totals"]["calls"] == 2
    assert line["totals"]["cost_usd"] == 0.000015
    assert line["totals"]["unpriced"] == 1
    assert line["totals"]["usage"] == reference["usage"]


def test_the_text_of_a_stream_comes_at_the_flush(trace_dir, read_lines):
    """The client has not seen it, its caller has."""
    Client().consume_and_save_trace("s-1", aggregator_output_fallback="Because of the air.")
    (line,) = read_lines(trace_dir)
    assert line["aggregator"]["output"] == line["output"] == "Because of the air."
    assert line["aggregator"]["streamed"] is True
    assert line["aggregator"]["output_location"] == "inline_from_stream"
    assert line["aggregator"]["model"] == "opus"
    assert line["aggregator"]["provider"] == "openrouter"


def test_a_reply_in_one_piece_goes_before_the_other_text(trace_dir, read_lines):
    """What was there at call time is what the aggregator said."""
    client = Client(aggregator_streamed=False, aggregator_output="Because of the air.")
    client.consume_and_save_trace("s-1", aggregator_output_fallback="something else")
    (line,) = read_lines(trace_dir)
    assert line["aggregator"]["output"] == "Because of the air."
    assert line["aggregator"]["output_location"] == "inline"


@pytest.mark.parametrize("fallback", [None, ""])
def test_a_stream_without_text_points_to_the_session(trace_dir, read_lines, fallback):
    """An empty text counts as missing."""
    Client().consume_and_save_trace("s-1", aggregator_output_fallback=fallback)
    (line,) = read_lines(trace_dir)
    assert line["aggregator"]["output"] is None
    assert line["output"] is None
    assert line["aggregator"]["output_location"] == "assistant_message_in_session_db"


def test_an_empty_text_counts_as_missing(trace_dir, read_lines):
    """Given directly, streamed or not."""
    save(aggregator_output="", aggregator_streamed=True)
    save(aggregator_output="")
    streamed, whole = (line["aggregator"] for line in read_lines(trace_dir))
    assert (streamed["output"], streamed["output_location"]) == (None, "assistant_message_in_session_db")
    assert (whole["output"], whole["output_location"]) == (None, "inline")


def test_a_second_flush_writes_nothing(trace_dir, read_lines):
    """The turn is the client's no more."""
    client = Client()
    client.consume_and_save_trace("s-1", aggregator_output_fallback="Because.")
    client.consume_and_save_trace("s-1", aggregator_output_fallback="Because.")
    assert client._pending_trace is None
    assert len(read_lines(trace_dir)) == 1


@pytest.mark.parametrize("pending", [None, {}, {"preset": "team", "reference_outputs": []}])
def test_a_flush_without_a_turn_does_nothing(trace_dir, pending):
    """There is none, or its aggregator was never asked."""
    client = Client()
    client._pending_trace = pending
    client.consume_and_save_trace("s-1")
    hermes.consume_and_save_trace(SimpleNamespace(), "s-1")
    hermes.consume_and_save_trace(object())
    assert client._pending_trace is None
    assert not trace_dir.exists()


def test_off_makes_no_directory(tmp_path, monkeypatch):
    """With the switch off, unset, or nothing said at all."""
    monkeypatch.setenv("MOA_TRACE_DIR", str(tmp_path / "traces"))
    save()
    Client().consume_and_save_trace("s-1")
    monkeypatch.setenv("MOA_SAVE_TRACES", "0")
    save()
    assert list(tmp_path.iterdir()) == []


def test_accounting_of_older_versions_gives_nulls(trace_dir, read_lines):
    """What an object lacks is not known."""
    save(
        reference_outputs=[
            ("a:b", "Air.", SimpleNamespace(usage=SimpleNamespace(input_tokens=3, output_tokens=1))),
            ("a:c", "Waves.", SimpleNamespace()),
            ("a:d", "Light.", None),
            ("a:e", "Sky.", USAGE),
        ]
    )
    (line,) = read_lines(trace_dir)
    first, *others = line["references"]
    assert first["usage"] == {
        "input_tokens": 3,
        "output_tokens": 1,
        "cache_read_tokens": 0,
        "cache_write_tokens": 0,
        "reasoning_tokens": 0,
    }
    for reference in line["references"]:
        names = (
            "model",
            "provider",
            "temperature",
            "input_messages",
            "output",
            "cost_usd",
            "cost_status",
            "cost_source",
        )
        assert {reference[name] for name in names} == {None}
        assert reference["ended_at"] is None
        assert reference["duration_ms"] is None
    assert [r["usage"] for r in others] == [{}, {}, {}]
    assert [r["label"] for r in line["references"]] == ["a:b", "a:c", "a:d", "a:e"]
    assert [r["index"] for r in line["references"]] == [0, 1, 2, 3]
    assert line["aggregator"]["index"] == 4


def test_times_of_later_versions_are_taken_over(trace_dir, read_lines):
    """Where the accounting has them."""
    timed = accounting(started_at=1000.5, ended_at=1002.0, duration_ms=1500.0)
    save(reference_outputs=[("a:b", "Air.", timed), ("a:c", "Waves.", accounting())])
    (line,) = read_lines(trace_dir)
    first, second = line["references"]
    assert (first["started_at"], first["ended_at"], first["duration_ms"]) == (1000.5, 1002.0, 1500.0)
    assert (second["ended_at"], second["duration_ms"]) == (None, None)
    assert line["started_at"] == 1000.5
    assert second["started_at"] > 1_700_000_000


@pytest.mark.parametrize(
    ("price", "expected"),
    [
        (Decimal("0.25"), 0.25),
        (0.25, 0.25),
        (1, 1.0),
        (None, None),
        (Decimal("NaN"), None),
        (float("inf"), None),
        ("0.25", None),
        (True, None),
    ],
)
def test_a_price_is_a_json_number(trace_dir, read_lines, price, expected):
    """A decimal becomes one; what is none is not known."""
    save(reference_outputs=[("a:b", "Air.", accounting(cost_usd=price))])
    (line,) = read_lines(trace_dir)
    assert line["references"][0]["cost_usd"] == expected
    assert line["totals"]["cost_usd"] == expected


@pytest.mark.parametrize("mark", ["failed", "skipped"])
def test_a_failed_reference_is_an_error(trace_dir, read_lines, mark):
    """It is a text to the agent; the key in it is not for the file's error."""
    text = f"[{mark}: no such model, key sk-1234567890abcdefghij]"
    save(reference_outputs=[("a:b", text, accounting(output=text, usage=None)), ("a:c", "x", accounting())])
    (line,) = read_lines(trace_dir)
    failed, fine = line["references"]
    assert failed["outcome"] == "error"
    assert failed["error"]["type"] == mark
    assert failed["error"]["message"] == "no such model, key [secret]"
    assert failed["output"] == text
    assert failed["usage"] == {}
    assert (fine["outcome"], fine["error"]) == ("completed", None)
    assert line["totals"]["failed"] == 1


def test_a_turn_without_a_session(trace_dir, read_lines, monkeypatch):
    """It goes where every turn without one goes, or where the settings say."""
    save(session_id=None)
    save(session_id="")
    assert [line["session_id"] for line in read_lines(trace_dir)] == [None, None]
    assert [path.name for path in trace_dir.iterdir()] == ["unknown-session.jsonl"]
    monkeypatch.setenv("MOA_SESSION_ID", "mine")
    save(session_id=None)
    assert (trace_dir / "mine.jsonl").exists()


def test_sessions_do_not_share_a_file(trace_dir, read_lines):
    """Ids that a file name cannot hold are told apart, as those of all turns."""
    save(session_id="a/b")
    save(session_id="a_b")
    assert len(list(trace_dir.iterdir())) == 2
    assert {line["session_id"] for line in read_lines(trace_dir)} == {"a/b", "a_b"}


def test_turns_of_references_only(trace_dir, read_lines, monkeypatch):
    """`MOA_TURNS=fanout` leaves out a turn without any."""
    monkeypatch.setenv("MOA_TURNS", "fanout")
    save(reference_outputs=[])
    save()
    assert len(read_lines(trace_dir)) == 1


def test_listeners_get_it_too(turns):
    """As every record, without a file."""
    save()
    (turn,) = turns
    assert turn["output"] == "Because of the air."
    moa.configure(on_turn=turns.append)
    save()
    assert len(turns) == 3


@pytest.mark.parametrize("text", ["a\ud800b", "a\u2028b", "a\x00b", "é" * 10])
def test_every_text_can_be_written(trace_dir, text):
    """Also one that no UTF-8 can hold; the turn is there, in one line."""
    save(aggregator_output=text, aggregator_input_messages=[{"role": "user", "content": object(), "n": float("nan")}])
    (file,) = trace_dir.iterdir()
    (line,) = file.read_bytes().splitlines()
    assert json.loads(line)["output"] == text


def test_it_never_raises(trace_dir):
    """A turn must not break over its trace; the fault is counted."""
    before = moa.status().faults
    save(reference_outputs=5)
    Client(reference_outputs=5).consume_and_save_trace("s-1")
    assert moa.status().faults == before + 2
    assert not trace_dir.exists()


class Raising:
    """Says nothing of itself."""

    def __str__(self):
        raise ValueError

    __repr__ = __str__
    output = "what it said"
    usage = cost_usd = property(lambda self: 1 / 0)


@pytest.mark.parametrize(
    "odd",
    [
        {"reference_outputs": [("a", "what it said")]},
        {"reference_outputs": [("a", "b", Raising())]},
        {"reference_outputs": [(Raising(), "what it said", None)]},
        {"aggregator_temperature": 10**400},
        {"aggregator_label": Raising()},
    ],
)
def test_an_odd_part_costs_only_itself(trace_dir, read_lines, odd):
    """The turn is written without it."""
    save(**odd)
    (turn,) = read_lines(trace_dir)
    assert turn["output"]
    assert "reference_outputs" not in odd or 1 == len(turn["references"])


def test_a_disk_that_refuses_does_not_raise(tmp_path, monkeypatch):
    """It is counted, as with every line."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MOA_SAVE_TRACES", "1")
    monkeypatch.setenv("MOA_TRACE_DIR", str(tmp_path / "file" / "below"))
    before = moa.status().refused
    save()
    assert moa.status().refused == before + 1


def test_it_is_no_part_of_an_open_turn(trace_dir, read_lines):
    """The line is made of the arguments alone."""
    with moa.turn(session_id="outer"):
        save()
    (line,) = read_lines(trace_dir)
    assert line["session_id"] == "s-1"
    assert line["parent_turn_id"] is None


def test_the_target_imports_nothing():
    """The agent may come later, or never; until then it costs nothing."""
    code = (
        "import sys, moa_middleware as moa; moa.instrument('hermes'); moa.instrument('hermes'); "
        "print(sorted(set(sys.modules) & {'agent', 'run_agent', 'tools', 'openai', 'pydantic', 'structlog'})); "
        "moa.uninstrument('hermes')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert done.stderr == ""
