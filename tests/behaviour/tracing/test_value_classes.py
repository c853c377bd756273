"""Values of the standard library, attrs, pydantic and pyarrow in a request: recorded by what they hold, or named."""

from __future__ import annotations

import dataclasses
import enum
import pathlib
from collections import ChainMap, UserString, defaultdict
from decimal import Decimal
from fractions import Fraction
from uuid import UUID

import attrs
import pydantic
import pydantic.v1
import pytest

import moa_middleware as moa
from tests.support.containers import CONTAINERS, OwnMapping, OwnSequence


@dataclasses.dataclass(slots=True)
class Point:
    """A dataclass with slots."""

    x: int
    y: int = 2


@dataclasses.dataclass
class Faulty:
    """A dataclass one of whose fields raises."""

    x: int

    @property
    def y(self):
        raise RuntimeError("y")


Faulty.__dataclass_fields__ = {**Faulty.__dataclass_fields__, "y": Point.__dataclass_fields__["y"]}


@attrs.define
class Attrs:
    """An attrs class with slots."""

    text: str
    parts: list = attrs.Factory(list)


@attrs.define
class Half:
    """An attrs class whose second field is never set."""

    text: str
    later: str = attrs.field(init=False)


class Old(pydantic.v1.BaseModel):
    """A model of pydantic's version 1."""

    text: str
    inner: list = []


class New(pydantic.BaseModel):
    """A model of pydantic's version 2."""

    text: str
    amount: Decimal = Decimal("1.10")


class Word(enum.StrEnum):
    """A text."""

    USER = "user"


class Number(enum.IntEnum):
    """A number."""

    ONE = 1


EMPTY_SLOT = Point.__new__(Point)
EMPTY_SLOT.x = 1
VALUES = {
    "dataclass with slots": (Point(1), {"x": 1, "y": 2}),
    "empty slot": (EMPTY_SLOT, {"x": 1}),
    "field that raises": (Faulty(1), {"x": 1}),
    "attrs": (Attrs("a", [Attrs("b")]), {"text": "a", "parts": [{"text": "b", "parts": []}]}),
    "attrs without a field": (Half("a"), {"text": "a"}),
    "pydantic 1": (Old(text="a", inner=[Old(text="b")]), {"text": "a", "inner": [{"text": "b", "inner": []}]}),
    "pydantic 2": (New(text="a"), {"text": "a", "amount": "1.10"}),
    "StrEnum": (Word.USER, "user"),
    "IntEnum": (Number.ONE, 1),
    "Decimal": (Decimal("1.10"), "<decimal.Decimal> 1.10"),
    "Fraction": (Fraction(1, 3), "<fractions.Fraction> 1/3"),
    "UUID": (UUID(int=1), "<uuid.UUID> 00000000-0000-0000-0000-000000000001"),
    "Path": (pathlib.PurePosixPath("a/b"), "a/b"),
    "memoryview": (memoryview(b"\xff"), "_w=="),
    "dict keys": ({"a": 1}.keys(), ["a"]),
    "dict items": ({"a": 1}.items(), [["a", 1]]),
    "ChainMap": (ChainMap({"a": 1}, {"a": 2, "b": 3}), {"a": 1, "b": 3}),
    "defaultdict": (defaultdict(list, a=1), {"a": 1}),
    "UserString": (UserString("a"), "a"),
}


@moa.reference
def ask(model, messages, *, temperature=None, stop=None):
    """Answer."""
    return "The answer."


def only_call(turns):
    """Return the only call."""
    (turn,) = turns
    (call,) = turn["references"]
    return call


@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_recorded_as_what_it_holds(turns, name):
    """In a message and as a parameter, and nothing is named as missing."""
    value, shown = VALUES[name]
    ask("m", [{"role": "user", "content": value}], stop=value)
    call = only_call(turns)
    found = call["input_messages"][0]["content"]
    if name == "Path":
        found = found.rpartition(" ")[2]  # its module differs among versions of Python
        assert shown == found
    else:
        assert shown == found == call["params"]["stop"]
    assert ([], 0) == (call["params_omitted"], turns[0]["instrumentation_errors"])


def test_an_array_of_arrow_is_recorded(turns):
    """By value, or by type and length."""
    pa = pytest.importorskip("pyarrow", reason="the extra tables is not installed")
    ask("m", pa.array([1, 2]), stop=pa.array(range(1000)))
    call = only_call(turns)
    assert ([1, 2], ["stop"]) == (call["input_messages"], call["params_omitted"])
    assert call["params"]["stop"].endswith("(1000,)")


@pytest.mark.parametrize("value", [Decimal("0.5"), Fraction(1, 2), 0.5], ids=repr)
def test_a_temperature_is_a_number(turns, value):
    """Of any class of numbers."""
    ask("m", [], temperature=value)
    assert 0.5 == only_call(turns)["temperature"]


@pytest.mark.parametrize("value", [True, "hot", float("inf"), float("nan"), ()], ids=repr)
def test_what_is_no_temperature_is_none(turns, value):
    """JSON has no infinity, and a word is not a number."""
    ask("m", [], temperature=value)
    assert only_call(turns)["temperature"] is None


OWN = [name for name in CONTAINERS if any(word in name for word in ("own", "generator", "everything", "Validator"))]


@pytest.mark.parametrize("container", OWN)
def test_a_plain_functions_own_containers_are_named_and_not_walked(turns, container):
    """Its type stands where it was, the argument is named, and the function gets what it was given."""
    given = CONTAINERS[container]([{"role": "user", "content": ["a", "b"]}])
    got = []

    @moa.reference
    def keep(messages):
        got.append(messages)
        return "The answer."

    keep(given)
    assert given is got[0] or container == "messages in generator"
    call = only_call(turns)
    if container != "messages in generator":
        assert ["messages"] == call["params_omitted"]
        assert "<" in str(call["input_messages"])


def test_a_system_text_stands_before_a_container_that_cannot_be_read(turns):
    """And both are in the record: the text, and the type."""

    @moa.reference
    def keep(messages, system):
        return "The answer."

    keep(OwnSequence(["a"]), "Be brief.")
    call = only_call(turns)
    shown = [{"role": "system", "content": "Be brief."}, "<tests.support.containers.OwnSequence>"]
    assert (shown, ["messages"]) == (call["input_messages"], call["params_omitted"])


def test_tools_of_any_class_lose_their_credentials(turns):
    """A dataclass, an attrs object or a mapping of the user's may keep one in a field."""

    @attrs.define
    class Server:
        type: str
        authorization: str

    @moa.reference
    def act(prompt, tools):
        return "The answer."

    act("Why?", [Server("mcp", "a secret"), OwnMapping({"authorization": "a secret"})])
    call = only_call(turns)
    assert [{"type": "mcp"}, "<tests.support.containers.OwnMapping>"] == call["params"]["tools"]
    assert ["tools.authorization", "tools"] == call["params_omitted"]
