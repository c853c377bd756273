"""Settings from the environment and from code, the log, and what may not be shown there."""

from __future__ import annotations

import logging
import os
from collections import UserDict

import pytest

import moa_middleware as moa
from moa_middleware._capture.tracing.writer import FileWriter
from tests.support.plain_calls import Memory, ask

# Settings -----------------------------------------------------------------------------------------


BAD = {
    "MOA_SAVE_TRACES": "perhaps",
    "MOA_TURNS": "some",
    "MOA_PROPAGATE_THREADS": "maybe",
    "MOA_REDACT": "emails, names",
    "MOA_CAPTURE": "sizes\n",
    "MOA_MAX_FIELD_BYTES": "0",
    "MOA_MAX_FILE_BYTES": "10MB",
    "MOA_JOURNAL": "'2'",
    "MOA_TRACE_DIR": "~nobody_such/x",
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_or_unfinished_setting_keeps_tracing_off(name, trace_dir, monkeypatch, caplog):
    """The user's call is untouched, and the log names the variable once, with its value as it is."""
    monkeypatch.setenv(name, BAD[name])
    assert "an answer" == ask("hi") == ask("hi")
    assert not trace_dir.exists()
    (event,) = [r.getMessage() for r in caplog.records if "moa.tracing_off" in r.getMessage()]
    assert event.startswith(f"moa.tracing_off reason={name}: ")
    assert event.endswith(f"(got {BAD[name]!r})")
    assert 1 == event.count(repr(BAD[name]))


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("sk-proj-" + "a1B2" * 10, "(got a value that looks like a credential)"),
        ("x" * 500, "(got '" + "x" * 80 + "'…)"),
    ],
)
def test_a_bad_value_is_shown_as_far_as_it_may_be(value, says, trace_dir, monkeypatch, caplog):
    """A credential in the wrong variable is not shown, and a long text is cut."""
    monkeypatch.setenv("MOA_CAPTURE", value)
    ask("hi")
    (event,) = [record.getMessage() for record in caplog.records]
    assert event == f"moa.tracing_off reason=MOA_CAPTURE: Input should be 'full' or 'metadata' {says}"


def test_what_is_wrong_with_a_home_directory_is_said(trace_dir, monkeypatch, caplog):
    """The user of `~user` is named."""
    monkeypatch.setenv("MOA_TRACE_DIR", "~nobody_such/x")
    ask("hi")
    assert "MOA_TRACE_DIR: the home directory of '~nobody_such' is unknown" in caplog.text


MEANT = {
    # what was written: the setting, and what it means
    "a newline": ("MOA_SAVE_TRACES", "1\n", True),
    "blanks": ("MOA_SAVE_TRACES", " true ", True),
    "quotes": ("MOA_SAVE_TRACES", '"1"', True),
    "quotes and a newline": ("MOA_SAVE_TRACES", "'Yes'\n", True),
    "an off in quotes": ("MOA_SAVE_TRACES", '"0"', False),
    "blanks alone": ("MOA_SAVE_TRACES", " \n", False),
    "quotes alone": ("MOA_SAVE_TRACES", '""', False),
    "capital letters": ("MOA_CAPTURE", "FULL", "full"),
    "a word and a newline": ("MOA_CAPTURE", "Metadata\r\n", "metadata"),
    "a word and a blank": ("MOA_TURNS", "all ", "all"),
    "a word in quotes": ("MOA_TURNS", "' FanOut '", "fanout"),
    "a list": ("MOA_REDACT", '" Secrets , emails "\n', "Secrets , emails"),
    "another switch": ("MOA_JOURNAL", '"ON"\n', True),
    "threads": ("MOA_PROPAGATE_THREADS", "No\n", False),
    "a number": ("MOA_MAX_FIELD_BYTES", ' "10_000"\n', 10_000),
    "another number": ("MOA_MAX_FILE_BYTES", "64\n", 64),
    "a session": ("MOA_SESSION_ID", '"s 1"\n', "s 1"),
    "a session of quotes": ("MOA_SESSION_ID", "''", None),
    "quotes inside": ("MOA_SESSION_ID", "it's 'so'", "it's 'so'"),
    "targets": ("MOA_INSTRUMENT", '"openai, anthropic"\n', "openai, anthropic"),
}


@pytest.mark.parametrize("what", MEANT)
def test_padded_and_quoted_values_mean_what_their_writer_meant(what, monkeypatch):
    """As env files, mounted secrets and shells give them; words without case."""
    from moa_middleware.settings import Settings

    name, value, meant = MEANT[what]
    monkeypatch.setenv(name, value)
    assert meant == getattr(Settings(), name.removeprefix("MOA_").lower())


@pytest.mark.parametrize("value", ['"{}"\n', " {} ", "{}\n", "'{}'"])
def test_a_padded_directory_is_the_directory(value, tmp_path, monkeypatch):
    """And a padded switch is on: one line is there."""
    monkeypatch.setenv("MOA_SAVE_TRACES", " 'On'\n")
    monkeypatch.setenv("MOA_TRACE_DIR", value.format(tmp_path / "my traces"))
    monkeypatch.setenv("MOA_SESSION_ID", "s-1\n")
    ask("hi")
    assert ["s-1.jsonl"] == [path.name for path in (tmp_path / "my traces").iterdir()]


def test_an_unknown_setting_is_named_once(trace_dir, monkeypatch, caplog):
    """A typo is told, and harms nothing."""
    monkeypatch.setenv("MOA_TRACE_DRI", "x")
    ask("hi")
    ask("hi")
    assert trace_dir.exists()
    assert 1 == sum("MOA_TRACE_DRI" in record.getMessage() for record in caplog.records)


def test_capture_full_is_what_there_is(trace_dir, monkeypatch):
    """`MOA_CAPTURE=full` asks for nothing that is missing."""
    monkeypatch.setenv("MOA_CAPTURE", "full")
    ask("hi")
    assert trace_dir.exists()


def test_home_and_variables_in_the_directory_are_expanded(tmp_path, monkeypatch):
    """`~` and `$VAR`."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("SUB", "sub")
    monkeypatch.setenv("MOA_SAVE_TRACES", "1")
    monkeypatch.setenv("MOA_TRACE_DIR", "~/$SUB/traces")
    ask("hi")
    assert (tmp_path / "sub" / "traces" / "unknown-session.jsonl").exists()


def test_configure_wins_and_none_follows_the_environment_again(tmp_path, monkeypatch):
    """What is named is replaced, what is not named stays live."""
    monkeypatch.setenv("MOA_TRACE_DIR", str(tmp_path / "env"))
    moa.configure(save_traces=True)
    ask("hi")
    moa.configure(trace_dir=tmp_path / "configured")
    ask("hi")
    monkeypatch.setenv("MOA_TRACE_DIR", str(tmp_path / "env2"))
    ask("hi")
    moa.configure(trace_dir=None)
    ask("hi")
    moa.configure(save_traces=None)
    ask("hi")
    counts = {path.name: len((path / "unknown-session.jsonl").read_bytes().splitlines()) for path in tmp_path.iterdir()}
    assert {"env": 1, "configured": 2, "env2": 1} == counts


@pytest.mark.parametrize(
    ("given", "word"),
    [
        ({"save_traces": "perhaps"}, "save_traces"),
        ({"turns": "some"}, "turns"),
        ({"writer": object()}, "writer"),
        ({"on_turn": 3}, "on_turn"),
        ({"trace_dir": 3}, "trace_dir"),
        ({"session_id": ["x"]}, "session_id"),
    ],
)
def test_a_bad_argument_to_configure_is_a_clear_error_and_changes_nothing(given, word, tmp_path):
    """It names the argument, and nothing of the call takes effect."""
    with pytest.raises(moa.SettingsError, match=word):
        moa.configure(**{"middleware": [lambda call: (yield call)], **given})
    assert () == tuple(moa.default_stack.middleware)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"save_traces": "maybe"}, "configure(save_traces='maybe'): takes 1, true, yes or on, and 0, false, no or off"),
        ({"save_traces": [1]}, "configure(save_traces=[1]): takes 1, true, yes or on, and 0, false, no or off"),
        ({"journal": 3}, "configure(journal=3): takes 1, true, yes or on, and 0, false, no or off"),
        (
            {"max_file_bytes": "1 GB"},
            "configure(max_file_bytes='1 GB'): takes a whole number of bytes from 1, without a unit",
        ),
        (
            {"max_file_bytes": [1]},
            "configure(max_file_bytes=[1]): takes a whole number of bytes from 1, without a unit",
        ),
    ],
)
def test_a_bad_argument_is_refused_in_the_words_of_its_variable(given, says):
    """They say what to write; pydantic's own do not."""
    with pytest.raises(moa.SettingsError) as caught:
        moa.configure(**given)
    assert says == str(caught.value)


def test_a_bad_middleware_is_a_clear_error():
    """The function is wanted, uncalled."""

    def redact(call):
        yield call

    with pytest.raises(moa.MiddlewareError, match=r"middleware\[1\] is the generator of .*redact"):
        moa.configure(middleware=[redact, redact(None)])
    with pytest.raises(moa.MiddlewareError, match=r"observers\[0\] is a int"):
        moa.configure(observers=[3])


# Log ----------------------------------------------------------------------------------------------


def test_events_go_to_structlog_only_where_the_host_has_configured_it(capsys, caplog):
    """Unconfigured structlog prints to stdout; we never do."""
    import structlog

    moa.configure(save_traces=True, writer=(memory := Memory()))
    memory.fail = True
    ask("hi")
    assert 1 == sum("moa.trace_refused" in record.getMessage() for record in caplog.records)
    assert "" == capsys.readouterr().out
    from moa_middleware._capture import log

    log.forget()
    with structlog.testing.capture_logs() as events:
        ask("hi")
    assert ["moa.trace_refused"] == [event["event"] for event in events]


def test_the_hosts_own_events_can_carry_the_turn():
    """`moa.add_turn_ids` is a structlog processor."""
    moa.configure(on_turn=lambda _: None)
    with moa.turn(session_id="s") as turn:
        event = moa.add_turn_ids(None, "info", {"event": "x"})
    assert {"event": "x", "moa_turn_id": turn.id, "moa_session_id": "s"} == event
    assert {"event": "x"} == moa.add_turn_ids(None, "info", {"event": "x"})


def test_an_event_is_logged_once_a_minute_with_its_count(caplog, monkeypatch):
    """The next one after the minute says how many there were."""
    from moa_middleware._capture import log

    now = [1000.0]
    monkeypatch.setattr(log.time, "monotonic", lambda: now[0])
    for _ in range(5):
        log.log("moa.example", key="k")
    now[0] += 61
    log.log("moa.example", key="k")
    messages = [r.getMessage() for r in caplog.records if "moa.example" in r.getMessage()]
    assert ["moa.example key=k", "moa.example key=k count=5"] == messages


def test_a_broken_logging_of_the_hosts_breaks_nothing(trace_dir, monkeypatch):
    """A handler that raises is the host's affair, not the call's."""

    class Broken(logging.Handler):
        def emit(self, record):
            raise RuntimeError

    handler = Broken()
    logging.getLogger("moa_middleware").addHandler(handler)
    monkeypatch.setenv("MOA_TURNS", "some")
    try:
        assert "an answer" == ask("hi")
    finally:
        logging.getLogger("moa_middleware").removeHandler(handler)


def test_reprs_and_events_hold_no_content(caplog):
    """Names and ids only."""
    seen = []

    def spy(call):
        seen.append(call)
        seen.append((yield call))

    moa.configure(middleware=[spy], on_turn=lambda _: None)
    with moa.turn() as turn:
        ask("CONTENT-77")
    call, reply = seen
    for thing in (call, reply, turn, moa.default_stack, FileWriter("t")):
        assert "CONTENT-77" not in repr(thing)
        assert "an answer" not in repr(thing)


# The format ---------------------------------------------------------------------------------------


def test_a_misspelt_switch_is_named_while_everything_is_off(monkeypatch, caplog):
    """That is when it matters."""
    monkeypatch.setenv("MOA_SAVE_TRACE", "1")
    ask("hi")
    ask("hi")
    assert 1 == sum("MOA_SAVE_TRACE" in record.getMessage() for record in caplog.records)


def test_every_setting_is_looked_at_each_turn():
    """The variables that are watched are those of the settings, and those that withhold."""
    from moa_middleware import settings
    from moa_middleware._capture import recorder

    expected = {f"MOA_{name.upper()}" for name in settings.Settings.model_fields}
    expected -= {"MOA_INSTRUMENT"}  # the runner's, which looks at it once
    assert expected == set(recorder.VARIABLES)


@pytest.mark.parametrize("kind", [dict, UserDict])
def test_a_mapping_in_the_place_of_the_environment_is_read(tmp_path, monkeypatch, kind):
    """A host or a test may replace `os.environ`; what is set there counts at the next turn, and what was, after it."""

    def lines():
        return sum(len(path.read_text().splitlines()) for path in tmp_path.rglob("*.jsonl"))

    ask("hi")
    with monkeypatch.context() as patched:
        replaced = kind({**os.environ, "MOA_SAVE_TRACES": "1", "MOA_TRACE_DIR": str(tmp_path)})
        patched.setattr(os, "environ", replaced)
        ask("hi")
        assert 1 == lines()
        replaced["MOA_SAVE_TRACES"] = " Off "
        ask("hi")
        assert 1 == lines()
        replaced["MOA_SAVE_TRACES"] = "yes"
        ask("hi")
        assert 2 == lines()
    ask("hi")
    assert 2 == lines()
    monkeypatch.setenv("MOA_TRACE_DIR", str(tmp_path))
    monkeypatch.setenv("MOA_SAVE_TRACES", "TRUE")
    ask("hi")
    assert 3 == lines()
