"""The record on disk, whatever is in it and wherever it goes."""

from __future__ import annotations

import json
import logging
import math
import os
import stat
import subprocess
import sys
import textwrap
import threading
from collections import Counter, OrderedDict, UserDict, UserList, defaultdict, deque, namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from uuid import UUID

import pytest
import wrapt
from pydantic import BaseModel, TypeAdapter

import moa_middleware as moa
from moa_middleware import records
from moa_middleware._capture.tracing.encode import encode
from moa_middleware._capture.tracing.writer import FileWriter, file_name
from moa_middleware.testing import capture_turns
from tests.conftest import check

GOLDEN = Path(__file__).parents[2] / "golden"


@moa.reference(label="r")
def ask(messages, *, temperature=None, **options):
    """Answer with the messages themselves where they are a text."""
    return "an answer"


def call_of(record):
    return (record["references"] + record["calls"] + [record["aggregator"]])[0]


# Files --------------------------------------------------------------------------------------------


def test_directory_and_file_belong_to_the_owner_alone(trace_dir, read_lines):
    """Mode 0700 and 0600, whatever the umask."""
    old = os.umask(0)
    try:
        ask("hi")
    finally:
        os.umask(old)
    (file,) = trace_dir.iterdir()
    assert "unknown-session.jsonl" == file.name
    assert 0o700 == stat.S_IMODE(trace_dir.stat().st_mode)
    assert 0o600 == stat.S_IMODE(file.stat().st_mode)


def test_a_directory_that_is_there_keeps_its_mode(trace_dir):
    """It is the host's own."""
    trace_dir.mkdir(mode=0o755)
    ask("hi")
    assert 0o755 == stat.S_IMODE(trace_dir.stat().st_mode)


def test_each_session_has_its_file(trace_dir, read_lines):
    """Named by the tag, the decorator, the call's own argument or the setting, in this order."""

    @moa.turn(session_id="decorator")
    def decorated():
        return "x"

    @moa.turn
    def plain(session_id=None):
        return "x"

    decorated()
    with moa.tag(session_id="tag"):
        decorated()
    plain(session_id="argument")
    os.environ["MOA_SESSION_ID"] = "setting"
    try:
        plain()
        plain(session_id="argument")
    finally:
        del os.environ["MOA_SESSION_ID"]
    expected = ["argument", "decorator", "setting", "tag"]
    assert expected == sorted(path.stem for path in trace_dir.iterdir())
    assert 2 == len(read_lines(trace_dir)) - 3


HOSTILE_IDS = [
    "../../x", "..", ".", "", "a/b", "a_b", "a\\b", "nul\0l", "x" * 300, "x" * 301, "CON", "con",
    "con.txt", "LPT1", "unknown-session", "😀", "é", "e\u0301", " ", "a b", ".hidden", "end.",
    "\ud800", "a\nb", "~", "ｱ", "\u202e", "a" * 100, "中" * 100,
]  # fmt: skip


def test_no_session_id_leaves_the_directory_and_no_two_share_a_file():
    """Traversal, NUL, length, devices, look-alikes and surrogates."""
    names = [file_name(session) for session in [None, *HOSTILE_IDS]]
    assert len(names) == len(set(names))
    for name in names:
        assert name == os.path.basename(name)
        assert name.endswith(".jsonl")
        assert not name.startswith(".")
        assert len(name.encode()) <= 255
        assert "\0" not in name
    assert "bench-07.a_b.jsonl" == file_name("bench-07.a_b")
    assert "中文.jsonl" == file_name("中文")


def test_hostile_session_ids_are_written_and_read_back(trace_dir, read_lines):
    """The record has the id itself, the file its safe name."""
    for session in HOSTILE_IDS:
        with moa.tag(session_id=session):
            ask("hi")
    found = read_lines(trace_dir)
    assert sorted(s for s in HOSTILE_IDS if s != "\ud800") == sorted(
        r["session_id"] for r in found if r["session_id"] != "\ud800"
    )
    assert len(HOSTILE_IDS) == len(found) == len(list(trace_dir.iterdir()))


def test_a_line_is_one_write(trace_dir, monkeypatch):
    """Two writers' lines cannot interleave where each is one `write` on an O_APPEND descriptor."""
    sizes = []
    write = os.write

    def counting(descriptor, data):
        sizes.append(len(data))
        return write(descriptor, data)

    monkeypatch.setattr(os, "write", counting)
    ask("x" * 1_000_000)
    assert 1 == len(sizes)
    assert sizes[0] > 1_000_000


def test_threads_append_whole_lines(trace_dir, read_lines):
    """Many threads, one session: every line is there and whole."""
    threads = [threading.Thread(target=lambda n=n: [ask(f"{n}-{i}" * 2000) for i in range(20)]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = read_lines(trace_dir)
    assert 160 == len(found)
    assert list(range(1, 161)) == sorted(r["writer"]["seq"] - min(r["writer"]["seq"] for r in found) + 1 for r in found)


# The seam -----------------------------------------------------------------------------------------


class Plain:
    """Something whose calls have no role until one is inferred."""

    def create(self, messages):
        return "an answer"


class Memory:
    """A writer of the user's."""

    def __init__(self):
        self.lines = []
        self.fail = False

    def write(self, session_id, line):
        if self.fail:
            raise OSError(28, "No space left on device")
        self.lines.append((session_id, line))


def test_a_users_writer_takes_the_lines():
    """`configure(writer=…)`: any object with `write(session_id, line)`."""
    memory = Memory()
    moa.configure(save_traces=True, writer=memory)
    with moa.tag(session_id="s"):
        ask("hi")
    ((session, line),) = memory.lines
    assert "s" == session
    assert isinstance(line, bytes)
    assert line.endswith(b"}\n")
    check(json.loads(line))


def test_a_writer_that_fails_is_counted_and_logged_once(caplog):
    """The call is untouched; the loss is in the counters and once in the log."""
    memory = Memory()
    memory.fail = True
    moa.configure(save_traces=True, writer=memory)
    before = moa.status()
    assert ["an answer"] * 3 == [ask("hi"), ask("hi"), ask("hi")]
    assert 3 == moa.status().refused - before.refused
    assert before.written == moa.status().written
    (event,) = [r for r in caplog.records if "moa.trace_refused" in r.getMessage()]
    assert "No space left on device" in event.getMessage()


def test_numbers_have_no_gap_where_no_line_is_missing(trace_dir, read_lines, monkeypatch):
    """Turns that are not written take no number: without references, or for a listener alone."""
    monkeypatch.setenv("MOA_TURNS", "fanout")
    undeclared = Plain()
    moa.instrument(undeclared, call="create")
    ask("hi")
    with moa.turn():
        undeclared.create("hi")
    monkeypatch.setenv("MOA_SAVE_TRACES", "0")
    with capture_turns() as found:
        ask("hi")
        ask("hi")
    monkeypatch.setenv("MOA_SAVE_TRACES", "1")
    ask("hi")
    first, second = (record["writer"]["seq"] for record in read_lines(trace_dir))
    assert 1 == second - first
    assert [1, 2] == [record["writer"]["seq"] for record in found]


@pytest.mark.parametrize("times", [1, 2])
def test_an_interrupt_in_the_writer_costs_no_line_unseen(times):
    """It is written once more before the interrupt goes on; twice in a row is a counted loss."""
    memory = Memory()
    left = [KeyboardInterrupt()] * times

    class Interrupted:
        def write(self, session_id, line):
            if left:
                raise left.pop()
            memory.write(session_id, line)

    moa.configure(save_traces=True, writer=Interrupted())
    before = moa.status()
    with pytest.raises(KeyboardInterrupt):
        ask("hi")
    after = moa.status()
    assert [(1, 0), (0, 1)][times - 1] == (after.written - before.written, after.refused - before.refused)
    assert 2 - times == len(memory.lines)
    ask("hi")
    assert 3 - times == len(memory.lines)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_child_forked_by_a_listener_writes_its_own_lines_alone(tmp_path, read_lines):
    """It stands inside its parent's write; the lines that wait there are the parent's."""
    code = """
    import os, sys
    import moa_middleware as moa

    @moa.reference
    def ask(messages):
        return messages

    def on_turn(record):
        if record["output"] == "parent" and record["writer"]["pid"] == os.getpid():
            ask("waits")
            pid = os.fork()
            if not pid:
                ask("child")
                ask("child")
                assert 0 == moa.status().waiting
                moa.flush()
                os._exit(0)
            assert not os.waitpid(pid, 0)[1]

    moa.configure(save_traces=True, trace_dir=sys.argv[1], on_turn=on_turn)
    ask("parent")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (0, "") == (done.returncode, done.stderr)
    assert ["child", "child", "parent", "waits"] == sorted(record["output"] for record in read_lines(tmp_path))


@pytest.mark.parametrize("where", ["file", "below a file", "no permission"])
def test_an_unwritable_directory_costs_the_line_and_nothing_else(where, tmp_path, monkeypatch, caplog):
    """The call is untouched, the loss counted and logged once."""
    blocker = tmp_path / "blocker"
    if where == "no permission":
        if not os.geteuid():
            blocker = Path("/proc/no-such-place")
        else:
            blocker.mkdir(mode=0o500)
        target = blocker / "t"
    else:
        blocker.write_text("")
        target = blocker if where == "file" else blocker / "t"
    moa.configure(save_traces=True, trace_dir=target)
    before = moa.status().refused
    assert "an answer" == ask("hi") == ask("hi")
    assert 2 == moa.status().refused - before
    assert 1 == sum("moa.trace_refused" in record.getMessage() for record in caplog.records)


def test_on_turn_gets_each_record_and_may_fail(caplog):
    """It is told of each turn, on or off; what it raises reaches nobody."""
    found = []

    def on_turn(record):
        found.append(record)
        raise ValueError("mine")

    moa.configure(on_turn=on_turn)
    assert "an answer" == ask("hi")
    (record,) = found
    check(record)
    assert any("moa.observer_failed" in r.getMessage() for r in caplog.records)
    moa.configure(on_turn=None)
    ask("hi")
    assert 1 == len(found)


# Values -------------------------------------------------------------------------------------------


class Model(BaseModel):
    name: str
    when: datetime = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Point:
    x: int
    y: object = None


class Color(Enum):
    RED = "red"


class Text(str):
    __slots__ = ()


class Angry:
    """Raises wherever it is touched."""

    def __str__(self):
        raise RuntimeError

    __repr__ = __iter__ = __len__ = __bool__ = __str__


def _ran(*_, **__):
    raise AssertionError("code of a value's own has run")


def hostile(base):
    """Return a type whose every method that an encoder could call counts as a fault."""
    names = ["__iter__", "__str__", "__repr__", "__len__", "__bool__", "items", "keys", "values", "__getitem__"]
    names += ["__int__", "__index__", "__float__", "__bytes__", "__getattr__", "isoformat", "__contains__"]
    body = dict.fromkeys(names, _ran)
    return type(base.__name__.title(), (base,), {**body, "__class__": property(_ran)})


CYCLE: list = []
CYCLE.append(CYCLE)


def moved():
    ordered = OrderedDict(a=1, b=2)
    ordered.move_to_end("a")
    return ordered


DEEP: list = []
for _ in range(2000):
    DEEP = [DEEP]

VALUES = {
    "surrogate": ("\ud800 text", "\ud800 text"),
    "nan": (math.nan, "NaN"),
    "infinity": (-math.inf, "-Infinity"),
    "big int": (10**200, 10**200),
    "cycle": (CYCLE, ["..."]),
    "bytes": (b"\xff\x00", "_wA="),
    "pydantic": (Model(name="n"), {"name": "n", "when": "2026-01-01T00:00:00Z"}),
    "dataclass": (Point(1, Point(2)), {"x": 1, "y": {"x": 2, "y": None}}),
    "enum": (Color.RED, "red"),
    "str subclass": (Text("t"), "t"),
    "tuple": ((1, "a"), [1, "a"]),
    "named tuple": (namedtuple("N", "a b")(1, 2), [1, 2]),
    "ordered": (OrderedDict(a=1), {"a": 1}),
    "set": ({1}, [1]),
    "namespace": (SimpleNamespace(a=1), {"a": 1}),
    "proxy": (wrapt.ObjectProxy({"a": [1]}), {"a": [1]}),
    "odd keys": ({1: "a", None: "b", (1, 2): "c"}, ...),
    "angry": (Angry(), "<tests.behaviour.tracing.test_tracing.Angry>"),
    "deep": (DEEP, ...),
    "datetime": (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00+00:00"),
    "line separator": ("a\u2028b\u0085c\nd", "a\u2028b\u0085c\nd"),
    "class": (Model, ...),
    "function": (len, "<builtins.builtin_function_or_method>"),
    "moved": (moved(), {"b": 2, "a": 1}),
    "default dict": (defaultdict(list, a=1), {"a": 1}),
    "counter": (Counter("a"), {"a": 1}),
    "mapping proxy": (MappingProxyType({"a": 1}), {"a": 1}),
    "own mapping": (UserDict(a=1), "<collections.UserDict>"),
    "own sequence": (UserList([1]), "<collections.UserList>"),
    "decimal": (Decimal("1.50"), "<decimal.Decimal> 1.50"),
    "uuid": (UUID(int=1), "<uuid.UUID> 00000000-0000-0000-0000-000000000001"),
    "timedelta": (timedelta(seconds=1), "<datetime.timedelta> 0:00:01"),
    "time": (date(2026, 1, 2), "2026-01-02"),
    "enum keys": (
        {Color.RED: 1, (Color.RED, 2): 2, Angry(): 3},
        {"red": 1, '["red", 2]': 2, "<tests.behaviour.tracing.test_tracing.Angry>": 3},
    ),
}


HOSTILE = {
    "list subclass": (hostile(list)([1]), [1]),
    "dict subclass": (hostile(dict)(a=1), {"a": 1}),
    "tuple subclass": (hostile(tuple)([1]), [1]),
    "set subclass": (hostile(set)([1]), [1]),
    "deque subclass": (hostile(deque)([1]), [1]),
    "int subclass": (hostile(int)(7), 7),
    "float subclass": (hostile(float)(0.5), 0.5),
    "bytes subclass": (hostile(bytes)(b"\xff\x00"), "_wA="),
    "lazy query": (hostile(object)(), "<tests.behaviour.tracing.test_tracing.Object>"),
    "decimal subclass": (hostile(Decimal)("1.5"), "<tests.behaviour.tracing.test_tracing.Decimal>"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_code_of_a_values_own_runs_while_it_is_written(name):
    """A list that pops what it yields would reach the function empty; a lazy query would be sent."""
    value, expected = HOSTILE[name]
    assert [expected] == json.loads(encode([value]))


@pytest.mark.parametrize("name", VALUES)
def test_any_value_makes_a_strict_json_line(name, trace_dir, read_lines):
    """In the messages, in a parameter, as a tag and as an answer: the line is valid and complete."""
    value, expected = VALUES[name]

    @moa.reference
    def odd(messages, *, stop=None):
        return value

    @moa.turn(tags={"odd": value})
    def create(messages):
        return odd([{"role": "user", "content": value}, {"role": "user", "content": "kept"}], stop=value)

    assert value is create([value])
    (record,) = read_lines(trace_dir)
    (call,) = record["references"]
    if expected is not ...:
        assert expected == call["input_messages"][0]["content"]
        assert expected == call["params"]["stop"]
        assert [expected] == record["input_messages"]
        assert expected == record["tags"]["odd"]
    assert "kept" == call["input_messages"][1]["content"]
    assert 0 == record["instrumentation_errors"]


@pytest.mark.parametrize(
    "make",
    [lambda: iter([1, 2]), lambda: (n for n in [1, 2]), lambda: map(int, "12"), lambda: zip([1, 2])],
    ids=["list iterator", "generator", "map", "zip"],
)
def test_no_iterator_is_consumed_wherever_it_is(make, turns):
    """A recorder must not drain what the caller passes on."""
    inside, alone = make(), make()

    @moa.reference
    def look(messages, *, stop=None):
        return "x"

    look([{"role": "user", "content": inside}], stop=alone)
    assert 2 == len(list(inside)) == len(list(alone))
    assert (
        "iterator" in json.dumps(turns[0])
        or "generator" in json.dumps(turns[0])
        or "<builtins." in json.dumps(turns[0])
    )


def test_an_open_file_among_the_messages_is_not_read(turns, tmp_path):
    """A file is an iterator too."""
    path = tmp_path / "f"
    path.write_text("one\ntwo\n")
    with path.open() as file:
        ask([{"role": "user", "content": file}])
        assert "one\n" == file.readline()


def test_fifty_megabytes_pass(trace_dir, read_lines):
    """A text of 50 MB in and out: one line, whole."""
    text = "0123456789" * 5_000_000

    @moa.aggregator
    def echo(messages):
        return messages

    assert text is echo(text)
    (record,) = read_lines(trace_dir)
    assert text == record["aggregator"]["output"]


def test_what_cannot_be_recorded_at_all_leaves_a_minimal_record(trace_dir, read_lines, monkeypatch):
    """Our own fault costs the content of the record, never the turn."""
    from moa_middleware._capture.tracing import turn_record as record

    def broken(*_args, **_kwargs):
        raise ZeroDivisionError

    monkeypatch.setattr(record, "turn_record", broken)
    assert "an answer" == ask("hi")
    (line,) = read_lines(trace_dir)
    assert {"moa.record_failed": "ZeroDivisionError"} == line["tags"]
    assert 1 == line["instrumentation_errors"]
    assert 1 == line["writer"]["seq"] - line["writer"]["seq"] + 1


def test_a_failing_snapshot_costs_the_snapshot(turns, monkeypatch):
    """A fault while the request is taken down is counted, and the call goes on."""
    from moa_middleware._capture.tracing import snapshot

    def broken(*_args):
        raise ZeroDivisionError

    monkeypatch.setattr(snapshot, "of_call", broken)
    assert "an answer" == ask("hi")
    assert (1, "an answer") == (turns[0]["instrumentation_errors"], call_of(turns[0])["output"])


def test_an_unknown_object_is_named_and_bounded(turns):
    """Type and head of its repr under `raw`."""

    class Odd:
        def __repr__(self):
            return "odd " * 1000

    @moa.reference
    def odd():
        return Odd()

    odd()
    call = call_of(turns[0])
    assert call["output"] is None
    assert call["raw"]["type"].endswith("Odd")
    assert 500 == len(call["raw"]["repr"])


def test_secrets_in_arguments_are_named_and_not_shown(trace_dir, read_lines):
    """Headers, queries, keys and unknown parts of `extra_body` never are in a line."""

    @moa.reference
    def request(messages, **options):
        return "x"

    canary = "CANARY-7f3a"
    request(
        "hi",
        api_key=canary,
        extra_headers={"Authorization": canary},
        extra_query={"key": canary},
        extra_body={"top_k": 5, "secret": canary},
        custom=canary,
        temperature=0.5,
    )
    (record,) = read_lines(trace_dir)
    call = call_of(record)
    assert {"temperature": 0.5, "extra_body": {"top_k": 5}} == call["params"]
    expected = ["api_key", "custom", "extra_body.secret", "extra_headers", "extra_query"]
    assert expected == sorted(call["params_omitted"])
    for path in trace_dir.rglob("*"):
        assert canary.encode() not in path.read_bytes()


# Settings -----------------------------------------------------------------------------------------

BAD = {
    "MOA_SAVE_TRACES": "perhaps",
    "MOA_TURNS": "some",
    "MOA_PROPAGATE_THREADS": "maybe",
    "MOA_REDACT": "emails, names",
    "MOA_CAPTURE": "sizes",
    "MOA_MAX_FIELD_BYTES": "0",
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_or_unfinished_setting_keeps_tracing_off(name, trace_dir, monkeypatch, caplog):
    """The user's call is untouched, and the log names the variable once, without its value."""
    monkeypatch.setenv(name, BAD[name])
    assert "an answer" == ask("hi") == ask("hi")
    assert not trace_dir.exists()
    (event,) = [r.getMessage() for r in caplog.records if "moa.tracing_off" in r.getMessage()]
    assert name in event
    assert BAD[name] not in event


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


# OpenTelemetry ------------------------------------------------------------------------------------


def test_the_active_span_is_in_the_record(turns):
    """Where OpenTelemetry is loaded and a span is active."""
    from opentelemetry.sdk.trace import TracerProvider

    tracer = TracerProvider().get_tracer("t")
    with tracer.start_as_current_span("s") as span:
        ask("hi")
        context = span.get_span_context()
    ask("hi")
    inside, outside = turns
    expected = {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
    assert expected == inside["trace_context"]
    assert outside["trace_context"] is None


# The format ---------------------------------------------------------------------------------------


def test_the_schema_is_the_golden_one():
    """`moa-turn/1` may gain keys; none is removed or changed. Regenerate by hand, with thought."""
    found = {
        name: TypeAdapter(kind).json_schema()
        for name, kind in (("moa-turn/1", records.TurnRecord), ("moa-late/1", records.LateRecord))
    }
    golden = json.loads((GOLDEN / "schema.json").read_text())
    assert golden == json.loads(json.dumps(found))


def _normal(value, key=""):
    """Return a record with its times, ids and process replaced."""
    if isinstance(value, dict):
        return {k: _normal(v, k) for k, v in value.items()}
    if isinstance(value, list):
        return [_normal(v, key) for v in value]
    if value is None or isinstance(value, bool):
        return value
    if key in ("ts", "started_at", "ended_at", "duration_ms", "first_chunk_ms", "pid", "seq"):
        return 1
    if key in ("turn_id", "call_id", "host", "version", "turns", "parent"):
        return key
    return value


def test_the_line_is_the_golden_one():
    """One turn with a failed reference, usage, tool calls and a stream, key by key and in order."""

    @moa.reference(label="fine", model="m-1", provider="p")
    def fine(messages, *, temperature):
        usage = {"prompt_tokens": 9, "completion_tokens": 3, "cost": 0.5}
        message = {"content": "A fine answer."}
        return {"id": "r-1", "choices": [{"message": message, "finish_reason": "stop"}], "usage": usage}

    @moa.reference(label="failing")
    def failing(messages):
        raise TimeoutError("too slow")

    @moa.aggregator(label="agg")
    def act(messages):
        call = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": '{"a"'}}
        rest = {"index": 0, "function": {"arguments": ": 1}"}}
        yield {"choices": [{"index": 0, "delta": {"content": "Final ", "reasoning_content": "Hm."}}]}
        yield {"choices": [{"index": 0, "delta": {"content": "answer.", "tool_calls": [call]}}]}
        yield {"choices": [{"index": 0, "delta": {"tool_calls": [rest]}, "finish_reason": "tool_calls"}]}

    @moa.turn(session_id="golden", preset="two", tags={"suite": "golden"})
    def create(messages):
        answer = fine(messages, temperature=0.5)
        with pytest.raises(TimeoutError):
            failing(messages)
        return act([*messages, {"role": "user", "content": answer["choices"][0]["message"]["content"]}])

    with capture_turns() as found:
        list(create([{"role": "user", "content": "Why?"}]))
    (record,) = found
    check(record)
    text = json.dumps(_normal(record), indent=1, ensure_ascii=False) + "\n"
    assert (GOLDEN / "turn.json").read_text() == text


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


def test_an_implicit_turn_has_the_request_of_its_call(turns):
    """It is a turn of one call: the caller's request is the call's."""
    ask("hi")
    assert [{"role": "user", "content": "hi"}] == turns[0]["input_messages"]
