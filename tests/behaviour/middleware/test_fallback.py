"""Middleware that asks another model in the place of one that failed."""

import moa_middleware as moa
from tests.support.middleware_shapes import SHAPES, Fails, ModelError, calls_in
from tests.support.middlewares import GENERATOR, ITERATOR, over


@over(SHAPES)
def test_a_fallback_answers_for_a_model_that_failed(shape, turns):
    """Returning a Reply in `except` answers; the failed attempt is in the record before it."""

    def fallback(call):
        try:
            return (yield call)
        except Exception:
            return moa.Reply(text="sorry")

    with shape.model(Fails(), middleware=[fallback]) as model:
        assert "sorry" == model.ask().text
    (turn,) = turns
    assert [(None, "error", "provider"), ("sorry", "completed", "middleware")] == [
        (call["output"], call["outcome"], call["source"]) for call in calls_in(turn)
    ]
    assert "sorry" == shape.call_in(turn)["output"]
    assert "completed" == turn["outcome"]


def test_a_fallback_may_call_another_function():
    """A raw stream of another source goes on for the one that failed before its first chunk."""

    def fallback(call):
        try:
            return (yield call)
        except ModelError:
            return iter(["from", " elsewhere"])

    for shape in (ITERATOR, GENERATOR):
        with shape.model(Fails(), middleware=[fallback]) as model:
            assert "from elsewhere" == model.ask().text
