"""Scalars, arrays and tables of the libraries that programs compute with: their values, or type and shape."""

from __future__ import annotations

import pytest

import moa_middleware as moa

reason = "it needs an environment of its own, with numpy, pandas, polars and msgspec"
np = pytest.importorskip("numpy", reason=reason)
pd = pytest.importorskip("pandas", reason=reason)
pl = pytest.importorskip("polars", reason=reason)
msgspec = pytest.importorskip("msgspec", reason=reason)


class Own(pd.DataFrame):
    """A table of the user's, whose methods are not called."""

    def to_dict(self, *_, **__):
        raise AssertionError("code of the user's ran")


class Struct(msgspec.Struct):
    """A struct of msgspec."""

    text: str


VALUES = {
    "int64": (np.int64(7), 7),
    "uint8": (np.uint8(7), 7),
    "float32": (np.float32(0.5), 0.5),
    "float16": (np.float16(0.5), 0.5),
    "longdouble": (np.longdouble(1.5), 1.5),
    "not a number": (np.float32("nan"), "NaN"),
    "bool": (np.bool_(True), True),
    "str": (np.str_("a"), "a"),
    "complex": (np.complex64(1 + 2j), "(1+2j)"),
    "time": (np.datetime64("2026-01-02"), "2026-01-02"),
    "duration": (np.timedelta64(3, "s"), "3 seconds"),
    "array": (np.arange(3), [0, 1, 2]),
    "matrix": (np.zeros((2, 2)), [[0.0, 0.0], [0.0, 0.0]]),
    "no dimension": (np.array(5), 5),
    "objects": (np.array([{"a": 1}, None], dtype=object), [{"a": 1}, None]),
    "masked": (np.ma.array([1, 2], mask=[False, True]), [1, None]),
    "Timestamp": (pd.Timestamp("2026-01-02"), "2026-01-02T00:00:00"),
    "NaT": (pd.NaT, "NaT"),
    "Series": (pd.Series([1, 2]), [1, 2]),
    "Index": (pd.Index(["a"]), ["a"]),
    "Categorical": (pd.Categorical(["a"]), ["a"]),
    "DataFrame": (pd.DataFrame({"a": [1, 2]}), {"a": [1, 2]}),
    "own DataFrame": (Own({"a": [1, 2]}), {"a": [1, 2]}),
    "polars Series": (pl.Series([1, 2]), [1, 2]),
    "polars DataFrame": (pl.DataFrame({"a": [1, 2]}), {"a": [1, 2]}),
    "struct": (Struct("a"), {"text": "a"}),
}
LONG = {
    "array": (np.zeros((300, 2)), "<numpy.ndarray> float64 (300, 2)"),
    "Series": (pd.Series(range(1000)), "int64 (1000,)"),
    "DataFrame": (pd.DataFrame({"a": range(1000)}), "(1000, 1)"),
    "polars DataFrame": (pl.DataFrame({"a": range(1000)}), "(1000, 1)"),
}


@moa.reference
def ask(model, messages, *, temperature=None, stop=None):
    """Answer."""
    return "The answer."


def only_call(turns):
    """Return the only call."""
    (turn,) = turns
    return turn["references"][0]


@pytest.mark.parametrize("name", VALUES)
def test_a_value_is_recorded_as_what_it_is(turns, name):
    """In a message and as a parameter, and nothing is named as missing."""
    value, shown = VALUES[name]
    ask("m", [{"role": "user", "content": "Why?", "score": value}], stop=[value])
    call = only_call(turns)
    assert (shown, [shown]) == (call["input_messages"][0]["score"], call["params"]["stop"])
    assert ([], 0) == (call["params_omitted"], turns[0]["instrumentation_errors"])


@pytest.mark.parametrize("name", LONG)
def test_a_long_one_is_recorded_by_type_and_shape(turns, name):
    """And the argument is named."""
    value, shown = LONG[name]
    ask("m", [{"role": "user", "content": value}], stop=value)
    call = only_call(turns)
    for found in (call["input_messages"][0]["content"], call["params"]["stop"]):
        assert shown in found
        assert len(found) < 100
    assert ["messages", "stop"] == call["params_omitted"]


@pytest.mark.parametrize(
    "value", [np.float32(0.5), np.float64(0.5), np.array(0.5)], ids=["float32", "float64", "array"]
)
def test_a_temperature_is_a_number(turns, value):
    """Whatever the class."""
    ask("m", [], temperature=value)
    assert 0.5 == only_call(turns)["temperature"]


def test_two_requests_with_the_same_bytes_are_two(turns):
    """`marshal` writes the same bytes for numbers of different types."""
    with moa.turn():
        ask("m", [{"content": np.float32(0.5)}])
        ask("m", [{"content": np.int32(1056964608)}])
    contents = [call["input_messages"][0]["content"] for call in turns[0]["references"] + turns[0]["calls"]]
    assert [0.5, 1056964608] == contents
