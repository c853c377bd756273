"""Values of every kind in a record: strict JSON, and no code of theirs runs."""

from __future__ import annotations

import json
import math
from collections import Counter, OrderedDict, UserDict, UserList, defaultdict, deque, namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from types import MappingProxyType, SimpleNamespace
from uuid import UUID

import pytest
import wrapt
from pydantic import BaseModel

import moa_middleware as moa
from moa_middleware._capture.tracing.encode import encode
from tests.support.plain_calls import ask


def call_of(record):
    return (record["references"] + record["calls"] + [record["aggregator"]])[0]


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
    "angry": (Angry(), "<tests.behaviour.tracing.test_values.Angry>"),
    "deep": (DEEP, ...),
    "datetime": (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00+00:00"),
    "line separator": ("a\u2028b\u0085c\nd", "a\u2028b\u0085c\nd"),
    "class": (Model, ...),
    "function": (len, "<builtins.builtin_function_or_method>"),
    "moved": (moved(), {"b": 2, "a": 1}),
    "default dict": (defaultdict(list, a=1), {"a": 1}),
    "counter": (Counter("a"), {"a": 1}),
    "mapping proxy": (MappingProxyType({"a": 1}), {"a": 1}),
    "user dict": (UserDict(a=1), {"a": 1}),
    "user list": (UserList([1]), [1]),
    "decimal": (Decimal("1.50"), "<decimal.Decimal> 1.50"),
    "uuid": (UUID(int=1), "<uuid.UUID> 00000000-0000-0000-0000-000000000001"),
    "timedelta": (timedelta(seconds=1), "<datetime.timedelta> 0:00:01"),
    "time": (date(2026, 1, 2), "2026-01-02"),
    "enum keys": (
        {Color.RED: 1, (Color.RED, 2): 2, Angry(): 3},
        {"red": 1, '["red", 2]': 2, "<tests.behaviour.tracing.test_values.Angry>": 3},
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
    "lazy query": (hostile(object)(), "<tests.behaviour.tracing.test_values.Object>"),
    "decimal subclass": (hostile(Decimal)("1.5"), "<tests.behaviour.tracing.test_values.Decimal>"),
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


@pytest.mark.slow
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

    monkeypatch.setattr(snapshot, "Snapshot", broken)
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
    assert call["raw"]["repr"] == "odd " * 125 + "… (cut)"


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
