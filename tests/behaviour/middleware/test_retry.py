"""Middleware that sends a request again."""

import asyncio
from contextlib import suppress

import pytest

import moa_middleware as moa
from tests.support.middleware_shapes import SHAPES, VALUES, Fails, ModelError, calls_in
from tests.support.middlewares import ALL_STREAMS, notes_of, over, retry, untouched


@over(SHAPES)
def test_a_failed_request_is_sent_again(shape, turns):
    """A request that failed before anything came is resent; each attempt is in the record."""
    with shape.model(Fails(), Fails(), "the good answer", middleware=[retry]) as model:
        answer = model.ask()
        assert "the good answer" == answer.text
        assert ["hello"] * 3 == model.received
    (turn,) = turns
    calls = calls_in(turn)
    assert [1, 2, 3] == [call["attempt"] for call in calls]
    assert ["error", "error", "completed"] == [call["outcome"] for call in calls]
    assert calls[-1] == shape.call_in(turn)
    assert calls[:-1] == turn["calls"]
    assert "completed" == turn["outcome"]
    assert 3 == turn["totals"]["calls"]
    assert 2 == turn["totals"]["failed"]


@over(SHAPES)
def test_a_retry_that_gives_up_raises_the_last_exception(shape, turns):
    """All attempts failed: the caller gets the last failure, unchanged."""
    with shape.model(Fails(), middleware=[retry]) as model:
        answer = model.try_()
        assert ["hello"] * 3 == model.received
    assert isinstance(answer.error, shape.Error)
    assert [] == notes_of(answer.error)
    (turn,) = turns
    assert ["error"] * 3 == [call["outcome"] for call in calls_in(turn)]
    assert "error" == turn["outcome"]


@over(SHAPES)
def test_a_retry_may_change_the_request(shape, turns):
    """Another request goes out the second time, and each record shows its own."""

    def simpler(call):
        try:
            return (yield call)
        except Exception:
            return (yield call.replace(messages=[{"role": "user", "content": "simpler"}]))

    with shape.model(Fails(), "the good answer", middleware=[simpler]) as model:
        assert "the good answer" == model.ask().text
        assert ["hello", "simpler"] == model.received
    (turn,) = turns
    assert ["hello", "simpler"] == [call["input_messages"][-1]["content"] for call in calls_in(turn)]


def test_messages_of_an_iterator_are_sent_again():
    """The second request reads the same messages, though the caller gave an iterator."""
    read = []

    @moa.Stack([retry]).reference
    def ask(messages):
        read.append(list(messages))
        if len(read) == 1:
            raise ModelError
        return "fine"

    assert "fine" == ask(iter(["one", "two"]))
    assert [["one", "two"]] * 2 == read


@over([shape for shape in SHAPES if shape.name != "async manager"])
def test_sleep_works_in_both_worlds(shape):
    """It takes its time, and in an event loop others run meanwhile."""
    ticks = []

    def nap(call):
        loop = asyncio.get_running_loop() if shape.is_async else None
        if loop is not None:
            loop.call_later(0.01, ticks.append, "tick")
        yield moa.sleep(0.03)
        ticks.append("awake")
        yield call

    with shape.model("the good answer", middleware=[nap]) as model:
        assert "the good answer" == model.ask().text
    assert (["tick", "awake"] if shape.is_async else ["awake"]) == ticks


@over(ALL_STREAMS)
def test_a_resend_after_chunks_is_refused(shape, turns):
    """The middleware gets ResendError; unhandled, the consumer gets its own exception with a note."""

    def stubborn(call):
        reply = yield call
        if reply.error is not None:
            yield call

    with shape.model(Fails(after="half an"), "the good answer", middleware=[stubborn]) as model:
        answer = model.try_()
        assert ["hello"] == model.received
    assert isinstance(answer.error, shape.Error)
    (note,) = notes_of(answer.error)
    assert "stubborn` asked to resend after " in note
    assert f"{len(answer.chunks)} chunks were delivered" in note
    (turn,) = turns
    assert ["error"] == [call["outcome"] for call in calls_in(turn)]


@over(ALL_STREAMS)
def test_a_refused_resend_can_be_handled(shape):
    """A middleware that catches ResendError goes on; the reply stays what it was."""
    caught = []

    def stubborn(call):
        yield call
        try:
            yield call
        except moa.ResendError as error:
            caught.append(error)

    with shape.model("the good answer", middleware=[stubborn]) as model:
        assert "the good answer" == model.ask().text
    assert 1 == len(caught)


@over(ALL_STREAMS)
def test_a_refused_resend_of_a_whole_stream_is_loud(shape):
    """There is no exception of the model's to go first: the misuse is the consumer's to see."""

    def stubborn(call):
        yield call
        yield call

    with shape.model("the good answer", middleware=[stubborn]) as model:
        answer = model.try_()
    assert isinstance(answer.error, moa.ResendError)
    assert "stubborn" in str(answer.error)


@over(VALUES)
def test_a_value_may_be_sent_again_for_its_content(shape, turns):
    """Values are not delivered before the middleware is done: the best of two is returned."""

    def longest(call):
        return max((yield call), (yield call), key=lambda reply: len(reply.text))

    with shape.model("the good answer", "short", middleware=[longest]) as model:
        assert "the good answer" == model.ask().text
    (turn,) = turns
    assert ["the good answer", "short"] == [call["output"] for call in calls_in(turn)]


def test_the_cause_of_an_exception_is_left_alone():
    """What a middleware swallowed and did not answer is raised as it was, with its cause."""
    cause = OSError("socket")

    def swallow(call):
        with suppress(ModelError):
            yield call

    @moa.Stack([swallow]).reference
    def ask(messages):
        raise ModelError from cause

    with pytest.raises(ModelError) as caught:
        ask([])
    assert cause is caught.value.__cause__


def test_a_stop_iteration_of_the_function_is_not_renamed():
    """Python would turn it into RuntimeError inside a generator; the caller gets its own."""
    empty = iter(())
    for middleware in ([], [untouched], [untouched, untouched]):

        @moa.Stack(middleware, observers=[untouched]).reference
        def ask(messages):
            return next(empty)

        with pytest.raises(StopIteration):
            ask([])
