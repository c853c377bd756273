"""Calls of tools whose name a server repeats with each piece: each call once, and in time linear in its arguments."""

from __future__ import annotations

import json
from itertools import pairwise
from time import process_time

import pytest

from moa_middleware._capture.shapes.accumulator import Accumulator


def calls_of(pieces):
    """Return the calls of a stream of chat completions, each piece with the name of its function."""
    acc = Accumulator()
    for name, arguments in pieces:
        call = {"type": "function", "function": {"name": name, "arguments": arguments}}
        acc.feed({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})
    return [(call["function"]["name"], call["function"]["arguments"]) for call in acc.reply().tool_calls]


def _is_parsed(arguments):
    try:
        json.loads(arguments)
    except RecursionError:
        return False
    return True


@pytest.mark.parametrize(
    "arguments",
    ['{"a": {"b": 1}, "c": [1, 2]}', "[1, 2]", "null", '{"a": "}"}', '{"deep": ' + "[" * 5000 + "]" * 5000 + "}"],
    ids=["object", "list", "null", "bracket in a text", "deep"],
)
@pytest.mark.parametrize("size", [1, 3, 100_000])
@pytest.mark.parametrize("blank", [(), ("", " \n")], ids=["", "blank pieces"])
def test_two_calls_of_one_function_are_kept_apart(arguments, size, blank):
    """Where the arguments of the first are complete, the second begins; blank pieces belong to the first."""
    pieces = [arguments[place : place + size] for place in range(0, len(arguments), size)]
    if arguments.startswith("null") and size < len(arguments):
        pieces = [arguments]
    once = [("look", piece) for piece in (*pieces, *blank)]
    found = calls_of(once + once)
    # The parser of many a Python refuses so deep a text, so that nothing shows where the first call ends.
    is_deep = not _is_parsed(arguments)
    said = "".join(piece for _, piece in once)
    assert found == ([("look", said * 2)] if is_deep else [("look", said)] * 2)


def test_long_arguments_take_linear_time():
    """They are not parsed again at each piece."""

    def seconds(count):
        pieces = [("write", piece) for piece in ('{"text": "', *["word " * 4] * count, '"}')]
        start = process_time()
        ((_, said),) = calls_of(pieces)
        assert len(json.loads(said)["text"]) == count * 20
        return process_time() - start

    took = [min(seconds(count) for _ in range(3)) for count in (2_000, 8_000)]
    assert all(later < 8 * max(earlier, 0.002) for earlier, later in pairwise(took)), took
