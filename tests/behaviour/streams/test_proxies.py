"""What comes back stands for what the function returned: held streams, values with a `with`, copies, mocks."""

from __future__ import annotations

import asyncio
import copy
import pickle
from unittest.mock import MagicMock

import openai
import pytest

import moa_middleware as moa
from tests.support.sdk_worlds import MESSAGES, TEXT, world


def hold(call):
    """Hold the stream back."""
    call.buffer()
    yield call


def text_of(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)


def test_a_held_stream_is_read_inside_with_as_well():
    """It is the same proxy that enters, not the drained stream below it."""
    with world("mock") as made:
        client = moa.Stack([hold]).instrument(made.client())
        with client.chat.completions.create(model="m", messages=MESSAGES, stream=True) as stream:
            assert isinstance(stream, openai.Stream)
            first = next(stream)
            assert TEXT == text_of([first, *stream])
        assert [] == list(stream)


def test_a_held_async_stream_is_read_inside_async_with_as_well():
    """The same for `async with`."""

    async def main(client):
        async with await client.chat.completions.create(model="m", messages=MESSAGES, stream=True) as stream:
            first = await anext(stream)
            return text_of([first, *[chunk async for chunk in stream]])

    with world("mock") as made:
        assert TEXT == asyncio.run(main(moa.Stack([hold]).instrument(made.async_client())))


def test_a_held_stream_that_was_closed_has_no_more_chunks():
    """As the stream itself would."""

    @moa.Stack([hold]).aggregator
    def ask():
        yield from "abc"

    held = ask()
    assert "a" == next(held)
    held.close()
    assert [] == list(held)


def test_a_held_generator_can_be_delegated_to():
    """`yield from` sends and reads on."""

    @moa.Stack([hold]).aggregator
    def ask():
        yield from "abc"

    def outer():
        yield from ask()

    stream = outer()
    assert "a" == next(stream)
    assert "b" == stream.send(None)
    assert ["c"] == list(stream)


class Response:
    """A reply of some HTTP library: closed by `with`, and complete all the same."""

    def __init__(self):
        self.text = "the answer"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None


def test_a_value_that_can_be_closed_by_with_is_a_value(turns):
    """It comes back as it is, and its text is on record."""
    response = Response()

    @moa.reference
    def ask():
        return response

    assert response is ask()
    assert [("completed", "the answer")] == [(r["outcome"], r["output"]) for r in turns]


@pytest.mark.parametrize("make", [MagicMock, lambda: MagicMock(spec=openai.OpenAI)], ids=["mock", "with a spec"])
def test_a_mock_comes_back_as_itself(turns, make):
    """People test their clients with mocks, and compare by identity."""
    mock = make()

    @moa.reference
    def ask():
        return mock

    assert mock is ask()
    assert ["completed"] == [record["outcome"] for record in turns]


@pytest.mark.parametrize(
    "how", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))], ids=["copy", "deepcopy", "pickle"]
)
def test_a_stream_that_copies_and_pickles_still_does(turns, how):
    """The copy is of what the proxy stands for."""

    @moa.reference
    def ask():
        return iter([1, 2, 3])

    stream = ask()
    assert 1 == next(stream)
    assert [2, 3] == list(how(stream))
