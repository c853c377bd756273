"""Hostile values: whatever stands in a request, a tag or an answer, the line is strict JSON and nothing is used up."""

from __future__ import annotations

import io
import json
import math
import tempfile
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from types import SimpleNamespace
from typing import Any

import openai
import pytest
import wrapt
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionMessage
from openai.types.chat.chat_completion import Choice
from pydantic import BaseModel, ConfigDict

import moa_middleware as moa
from moa_middleware._capture.tracing.content import Content
from moa_middleware._capture.tracing.encode import encode
from moa_middleware._capture.tracing.redact import Redactor
from moa_middleware.testing import capture_turns


def strict(data):
    """Return what a line says; it has no word that is no JSON."""

    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    return json.loads(data, parse_constant=refuse)


class Model(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    value: Any = None


class Color(Enum):
    RED = "red"


@dataclass
class Point:
    x: Any


class Raising:
    """Raises wherever it is touched."""

    def __str__(self):
        raise RuntimeError

    __repr__ = __iter__ = __len__ = __bool__ = __hash__ = __eq__ = __str__


class RaisingModel(BaseModel):
    value: Any = None

    def model_dump(self, **_):
        raise RuntimeError


def completion(value):
    """Return an SDK's own object with something odd in it."""
    message = ChatCompletionMessage(role="assistant", content="hi")
    return ChatCompletion.construct(id="x", choices=[Choice.construct(index=0, message=message)], odd=value)


# JSON ---------------------------------------------------------------------------------------------

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(10**199, 10**200)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec=None))
    | st.sampled_from(["\ud800", "\U0001f600", "\x00", "\u2028", "\x7f", '"\\', "a\nb"])
)
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=5) | st.dictionaries(st.text(st.characters(codec=None), max_size=8), inner, max_size=5)
    ),
    max_leaves=30,
)


@given(JSON)
def test_json_is_decoded_as_what_it_was(value):
    """Texts with lone surrogates and long integers among it."""
    assert value == strict(encode(value))


@given(JSON)
def test_a_line_that_passes_the_redaction_is_decoded_as_what_it_was(value):
    """Redaction that finds nothing changes nothing."""
    line, _ = Content(redactor=Redactor(functions=[lambda text: text])).line(encode({"input_messages": value}))
    assert {"input_messages": value} == strict(line)


@given(JSON)
def test_a_recorded_request_is_decoded_as_what_it_was(value):
    """Through the whole path, as messages, as a parameter, as a tag and as an answer."""

    @moa.reference
    def ask(messages, *, stop=None):
        return None

    @moa.turn(tags={"odd": value})
    def create(messages):
        ask(messages, stop=value)

    with capture_turns() as turns:
        create([{"role": "user", "content": value}])
    (record,) = turns
    (call,) = record["references"]
    assert [{"role": "user", "content": value}] == record["input_messages"] == call["input_messages"]
    assert value == record["tags"]["odd"]
    if value is not None:
        assert value == call["params"]["stop"]


@pytest.mark.parametrize("levels", [100, 200])
def test_deep_json_is_whole(levels):
    """No model's request is as deep as that."""
    value: list = []
    for _ in range(levels):
        value = [value]
    assert value == strict(encode(value))


def test_two_thousand_levels_are_cut_and_the_rest_stands():
    """What stands beside the depth is there; so it is near the end of the stack."""
    value: Any = "bottom"
    for _ in range(2000):
        value = {"next": value, "beside": 1}
    found = strict(encode(["kept", value]))
    assert "kept" == found[0]
    assert 1 == found[1]["next"]["beside"]

    def dive(depth):
        return dive(depth - 1) if depth else encode(["kept", [value, {"a": Raising()}]])

    assert strict(dive(700))


# Anything -----------------------------------------------------------------------------------------

ODD = {
    "nan": lambda: math.nan,
    "infinity": lambda: math.inf,
    "minus infinity": lambda: -math.inf,
    "bytes": lambda: b"\xff\x00",
    "byte array": lambda: bytearray(b"x"),
    "view": lambda: memoryview(b"abcdef")[::2],
    "complex": lambda: 1j,
    "ellipsis": lambda: ...,
    "enum": lambda: Color.RED,
    "class": lambda: Color,
    "raising": Raising,
    "raising model": RaisingModel,
    "model class": lambda: Model,
    "not given": lambda: openai.NOT_GIVEN,
    "decimal": lambda: Decimal("1.5"),
    "time": lambda: datetime(2026, 1, 1, tzinfo=UTC),
    "text file": lambda: io.StringIO("a\nb"),
    "function": lambda: len,
    "object": object,
    "range": lambda: range(3),
    "generator": lambda: (n for n in "ab"),
}
WRAPPED = st.recursive(
    LEAVES | st.sampled_from(sorted(ODD)).map(lambda name: ODD[name]()),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=4) | st.integers() | st.booleans() | st.none(), inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.lists(inner, max_size=3).map(deque)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3).map(OrderedDict)
        | inner.map(lambda value: SimpleNamespace(value=value))
        | inner.map(Point)
        | inner.map(lambda value: Model(value=value))
        | inner.map(completion)
        | st.lists(inner, max_size=3).map(wrapt.ObjectProxy)
    ),
    max_leaves=12,
)


@given(WRAPPED)
def test_anything_makes_strict_json(value):
    """Every mixture of odd values, in every holder."""
    assert 2 == len(strict(encode([value, "kept"])))


@given(WRAPPED)
def test_anything_passes_the_redaction(value):
    """It finds the texts in it, and says nothing of what it did not find."""
    content = Content(redactor=Redactor(rules=["secrets", "emails", "phones"], functions=[str]), limit=1000)
    line, urgent = content.line(encode({"input_messages": [value, "alice@example.com"], "tags": {"x": value}}))
    assert urgent is None
    assert "[email]" == strict(line)["input_messages"][1]


@given(WRAPPED)
def test_anything_is_recorded_and_nothing_is_touched(value):
    """The function gets the very objects, whatever the line says of them."""

    @moa.reference
    def ask(messages, *, stop=None):
        assert stop is value
        return "fine"

    with capture_turns() as turns:
        ask([{"role": "user", "content": value}], stop=value)
    assert "fine" == turns[0]["references"][0]["output"]


# Iterators ----------------------------------------------------------------------------------------


def _file():
    file = tempfile.TemporaryFile("w+")  # noqa: SIM115 - the test reads it afterwards
    file.write("one\ntwo\nthree\n")
    file.seek(0)
    return file


ITERATORS = {
    "list": lambda: iter([1, 2, 3]),
    "generator": lambda: (n for n in [1, 2, 3]),
    "map": lambda: map(str, [1, 2, 3]),
    "zip": lambda: zip([1, 2, 3], strict=True),
    "dict": lambda: iter({1: 1, 2: 2, 3: 3}),
    "reversed": lambda: reversed([1, 2, 3]),
    "file": _file,
    "text": lambda: io.StringIO("one\ntwo\nthree\n"),
    "proxy": lambda: wrapt.ObjectProxy(iter([1, 2, 3])),
}
HOLDERS = {
    "itself": lambda value: value,
    "a list": lambda value: ["x", value],
    "a dict": lambda value: {"a": [value]},
    "a tuple": lambda value: (value,),
    "a dataclass": Point,
    "a namespace": lambda value: SimpleNamespace(value=value),
    "a proxy": lambda value: wrapt.ObjectProxy([value]),
    "a model": lambda value: Model(value=value),
    "a model in a model": lambda value: Model(value=[Model(value={"a": value})]),
    "an SDK's object": completion,
    "a dataclass in a model": lambda value: Model(value=Point(value)),
    "beside a surrogate": lambda value: ["\ud800", value],
    "beside NaN": lambda value: [math.nan, value],
}


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("name", ITERATORS)
def test_no_iterator_is_used_up_in_any_holder(name, holder):
    """A recorder must not drain what the caller passes on; pydantic's own way to JSON would."""
    iterator = ITERATORS[name]()
    value = HOLDERS[holder](iterator)

    @moa.reference
    def ask(messages, *, stop=None):
        return None

    @moa.turn(tags={"odd": value})
    def create():
        ask([{"role": "user", "content": value}], stop=value)
        return value if holder != "itself" else None

    with capture_turns() as turns:
        create()
    assert 1 == len(turns)
    assert 3 == len(list(iterator))
    if name in ("file", "text"):
        iterator.close()


def test_a_model_without_iterators_is_written_as_json_has_it():
    """Dates as pydantic writes them; what pydantic does not know is named, and the rest of the model stands."""
    when = datetime(2026, 1, 1, tzinfo=UTC)
    assert {"value": "2026-01-01T00:00:00Z"} == strict(encode(Model(value=when)))
    assert {"value": ["kept", "<builtins.object>"]} == strict(encode(Model(value=["kept", object()])))
    assert {"value": "_wA="} == strict(encode(Model(value=b"\xff\x00")))
    assert "<tests.behaviour.tracing.test_hostile.RaisingModel>" == strict(encode(RaisingModel()))
    found = strict(encode(completion(object())))
    assert ("hi", "<builtins.object>") == (found["choices"][0]["message"]["content"], found["odd"])


def test_an_integer_that_python_does_not_read_is_json_all_the_same(trace_dir):
    """It is a text, exact, in a line that is read by whatever reads JSON; also after a redaction."""

    @moa.reference
    def ask(messages):
        return "fine"

    for rules in (None, "emails"):
        moa.configure(redact=rules)
        ask([{"role": "user", "content": 10**5000}])
    (path,) = trace_dir.glob("*.jsonl")
    lines = path.read_bytes().splitlines()
    found = [json.loads(line)["references"][0] for line in lines]
    assert [10**5000] * 2 == [int(call["input_messages"][0]["content"], 16) for call in found]


def test_an_integer_beside_a_surrogate_is_exact():
    """Python writes no more than 4,300 digits, so longer ones are a text."""
    value = 10**5000 + 7
    found = strict(encode(["\ud800", value, -value, 10**4000]))
    assert [value, -value] == [int(text, 16) for text in found[1:3]]
    assert 10**4000 == found[3]


def test_a_cycle_is_cut_where_it_begins_again():
    """Through any holder."""
    value: dict = {"a": "kept"}
    value["self"] = [value]
    assert {"a": "kept", "self": ["..."]} == strict(encode(value))
    point = Point(None)
    point.x = Model(value=[point])
    assert "kept" == strict(encode(["kept", point]))[0]
