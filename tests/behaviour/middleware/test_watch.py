"""Middleware that looks at chunks as they pass: taps."""

import pytest

import moa_middleware as moa
from tests.support.middleware_shapes import STREAMS, VALUES, Fails, pieces_of
from tests.support.middlewares import ALL_STREAMS, ITERATOR, notes_of, over, retry


@over(ALL_STREAMS)
def test_watch_sees_each_chunk_as_it_passes(shape):
    """The taps see every chunk with its text, and the consumer the very objects."""
    seen = []

    def watch(call):
        call.on_chunk(seen.append)
        yield call

    with shape.model("the good answer", middleware=[watch]) as model:
        answer = model.ask()
    assert "the good answer" == answer.text == "".join(chunk.text for chunk in seen)
    assert [id(chunk) for chunk in answer.chunks] == [id(chunk.raw) for chunk in seen]


@over(VALUES)
def test_a_value_has_no_chunks(shape):
    """A tap on a call that returns a value is never called."""

    def watch(call):
        call.on_chunk(lambda _: pytest.fail("a value has no chunks"))
        reply = yield call
        assert reply.chunks is None

    with shape.model("the good answer", middleware=[watch]) as model:
        assert "the good answer" == model.ask().text


@over(ALL_STREAMS)
def test_a_tap_that_raises_is_loud(shape, turns):
    """The consumer gets the exception of a middleware's tap, with a note that names the middleware."""

    def watch(call):
        call.on_chunk(lambda chunk: {}["missing"])
        yield call

    with shape.model("the good answer", middleware=[watch]) as model:
        answer = model.try_()
    assert isinstance(answer.error, KeyError)
    assert any("watch" in note for note in notes_of(answer.error))
    assert [] == answer.chunks
    (turn,) = turns
    assert "error" == shape.call_in(turn)["outcome"]


@over(ALL_STREAMS)
def test_registrations_are_carried_along_by_replace(shape):
    """A tap on the call that was given counts for the call that is sent, once."""
    seen = []

    def watch(call):
        call.on_chunk(lambda chunk: seen.append(chunk.text))
        yield call.replace(messages=[{"role": "user", "content": "other"}])

    with shape.model("the good answer", middleware=[watch]) as model:
        model.ask()
        assert ["other"] == model.received
    assert pieces_of("the good answer") == [text for text in seen if text]


def test_registrations_on_a_copy_are_the_copys():
    """A tap put on a replaced call is not on the call that it was made from."""
    seen = []

    def watch(call):
        call.replace(messages="other").on_chunk(seen.append)
        yield call

    with ITERATOR.model("the good answer", middleware=[watch]) as model:
        model.ask()
    assert [] == seen


@over(STREAMS)
def test_registrations_are_not_doubled_by_a_retry(shape):
    """A tap inside a retry, and an observer's, see each chunk of the second request once."""
    seen, observed = [], []

    def watch(call):
        call.on_chunk(lambda chunk: seen.append(chunk.text))
        yield call

    def observe(call):
        call.on_chunk(lambda chunk: observed.append(chunk.text))
        yield call

    stack = moa.Stack([retry, watch], observers=[observe])
    with shape.model(Fails(), "the good answer", stack=stack) as model:
        model.ask()
    assert pieces_of("the good answer") == [text for text in seen if text]
    assert seen == observed


@over(STREAMS)
def test_observers_taps_are_not_doubled_by_an_innermost_retry(shape):
    """The same call object sent twice carries an observer's tap once."""
    observed = []

    def observe(call):
        call.on_chunk(lambda chunk: observed.append(chunk.text))
        yield call

    with shape.model(Fails(), "the good answer", middleware=[retry], observers=[observe]) as model:
        model.ask()
    assert pieces_of("the good answer") == [text for text in observed if text]
