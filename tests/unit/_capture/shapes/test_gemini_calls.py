"""Calls of functions in streams of Gemini's whose arguments come in pieces, each with its place."""

from __future__ import annotations

import json

import pytest

from moa_middleware._capture.shapes.accumulator import Accumulator


def chunk(*calls):
    parts = [{"functionCall": call} for call in calls]
    return {"candidates": [{"content": {"role": "model", "parts": parts}}]}


def calls_of(*chunks):
    gathered = Accumulator()
    for one in chunks:
        gathered.feed(one)
    reply = gathered.reply()
    assert not gathered.unread
    items = reply._details.get("items")
    assert items is None or "parts" not in items.record()
    return [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in reply.tool_calls]


def piece(path, *, more=True, text=False, **value):
    return {
        "partialArgs": [{"jsonPath": path, **value, **({"willContinue": True} if text else {})}],
        "willContinue": more,
    }


HEAD = {"name": "look", "willContinue": True}
CASES = {
    "a text in pieces": (
        [piece("$.town", stringValue="Zür", text=True), piece("$.town", stringValue="ich")],
        {"town": "Zürich"},
    ),
    "values": (
        [piece("$.n", numberValue=3), piece("$.yes", boolValue=False), piece("$.no", nullValue="NULL_VALUE")],
        {"n": 3, "yes": False, "no": None},
    ),
    "deep": (
        [
            piece("$.a.b[0].c", stringValue="x"),
            piece("$.a.b[1].c", stringValue="y"),
            piece("$['a']['d e']", numberValue=1),
        ],
        {"a": {"b": [{"c": "x"}, {"c": "y"}], "d e": 1}},
    ),
    "a text that begins again": ([piece("$.a", stringValue="x"), piece("$.a", stringValue="y")], {"a": "y"}),
    "paths that are none": ([piece("a.b", stringValue="x"), piece(5, stringValue="x"), piece("$", numberValue=1)], {}),
    "nothing": ([], {}),
}


@pytest.mark.parametrize(("pieces", "arguments"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("is_left", [False, True])
def test_the_pieces_are_one_call(pieces, arguments, is_left):
    """Also of a stream that is left before its end."""
    end = [] if is_left else [chunk({})]
    assert calls_of(chunk(HEAD), *map(chunk, pieces), *end) == [("look", arguments)]


def test_calls_one_after_the_other_are_kept_apart():
    """A call with a name begins, whole or in pieces; the last piece of one may come with its arguments."""
    first = [HEAD, piece("$.a", stringValue="x", more=False)]
    second = [
        {**HEAD, "partialArgs": [{"jsonPath": "$.a", "stringValue": "y"}]},
        piece("$.b", numberValue=2, more=False),
    ]
    whole = {"name": "look", "args": {"a": "z"}}
    found = calls_of(*map(chunk, [*first, *second, whole, whole]))
    assert found == [("look", {"a": one}) if one != "y" else ("look", {"a": "y", "b": 2}) for one in "xyzz"]
    assert calls_of(chunk(*first, whole)) == [("look", {"a": "x"}), ("look", {"a": "z"})]


def test_objects_of_the_sdk_are_read_alike():
    """Their keys are other words."""
    types = pytest.importorskip("google.genai.types", reason="google-genai is not installed")
    if "partial_args" not in types.FunctionCall.model_fields:
        pytest.skip("this version of google-genai has no pieces")
    chunks = [
        chunk(HEAD),
        chunk(piece("$.a", stringValue="x", text=True)),
        chunk(piece("$.a", stringValue="y")),
        chunk({}),
    ]
    made = [types.GenerateContentResponse.model_validate(one) for one in chunks]
    assert calls_of(*made) == [("look", {"a": "xy"})]


@pytest.mark.parametrize(
    "odd", [None, 5, "x", [None], [5], {"a": 1}, [{"jsonPath": None}], [{"jsonPath": "$.a"}]], ids=str
)
def test_odd_pieces_break_nothing(odd):
    """The call is there all the same."""
    [(name, _)] = calls_of(chunk(HEAD), chunk({"partialArgs": odd, "willContinue": True}), chunk({}))
    assert name == "look"
