"""Middleware with state that refuses calls: budgets, and exceptions on their way out."""

import pytest

from tests.support.middleware_shapes import SHAPES, VALUES
from tests.support.middlewares import ALL_STREAMS, VALUE, OverBudget, notes_of, over, redact


class Budget:
    """Refuse the calls beyond the first few."""

    def __init__(self, calls):
        self.left = calls

    def __call__(self, call):
        if not self.left:
            raise OverBudget("no calls left")
        self.left -= 1
        yield call


@over(SHAPES)
def test_a_budget_refuses_before_anything_is_sent(shape, turns):
    """The exception reaches the caller as it is, with a note; the refused call is in the record."""
    with shape.model("the good answer", middleware=[Budget(1)]) as model:
        model.ask()
        with pytest.raises(OverBudget, match="no calls left") as caught:
            model.ask("again")
        assert ["hello"] == model.received
    assert ["raised by the middleware `Budget`"] == notes_of(caught.value)
    refused = shape.call_in(turns[1])
    assert ("error", "middleware", 1) == (refused["outcome"], refused["source"], refused["attempt"])
    assert refused["error"]["type"].endswith("OverBudget")
    assert "again" == refused["input_messages"][-1]["content"]
    assert "error" == turns[1]["outcome"]


def test_a_refusal_behind_redaction_is_recorded_redacted(turns):
    """A refused call is recorded as the budget saw it."""
    with VALUE.model("never", middleware=[redact, Budget(0)]) as model:
        with pytest.raises(OverBudget):
            model.ask("my secret")
    (turn,) = turns
    assert "my […]" == VALUE.call_in(turn)["input_messages"][-1]["content"]


@over(SHAPES)
def test_an_exception_passes_the_middleware_further_out(shape):
    """It is thrown into the outer one, which may answer; unanswered it has one note, of who raised it."""
    seen = []

    def outer(call):
        try:
            yield call
        except OverBudget as error:
            seen.append(error)
            raise

    with shape.model("never", middleware=[outer, Budget(0)]) as model:
        answer = model.try_()
    assert [answer.error] == seen
    assert ["raised by the middleware `Budget`"] == notes_of(answer.error)


@over(VALUES)
def test_an_exception_after_the_reply_reaches_the_caller(shape, turns):
    """A guard that rejects what came is loud; the record keeps what the model said."""

    def guard(call):
        reply = yield call
        raise OverBudget(len(reply.text))

    with shape.model("the good answer", middleware=[guard]) as model:
        answer = model.try_()
    assert isinstance(answer.error, OverBudget)
    assert "guard" in notes_of(answer.error)[0]
    (turn,) = turns
    assert "the good answer" == shape.call_in(turn)["output"]
    assert "error" == turn["outcome"]


@over(ALL_STREAMS)
def test_an_exception_at_the_end_of_a_stream_reaches_the_consumer(shape):
    """It comes where the stream would have ended, after every chunk."""

    def guard(call):
        yield call
        raise OverBudget

    with shape.model("the good answer", middleware=[guard]) as model:
        answer = model.try_()
    assert isinstance(answer.error, OverBudget)
    assert "the good answer" == answer.text


def test_a_plain_function_that_raises_is_named():
    """A middleware need not be a generator function to fail loud."""

    def broken(call):
        raise OverBudget

    with VALUE.model("never", middleware=[broken]) as model:
        answer = model.try_()
    assert isinstance(answer.error, OverBudget)
    assert "broken" in notes_of(answer.error)[0]
