"""The order of middleware, and a stack that does nothing."""

import pytest

import moa_middleware as moa
from tests.support.middleware_shapes import SHAPES, Fails
from tests.support.middlewares import notes_of, over, redact, untouched


@over(SHAPES)
def test_a_stack_that_does_nothing_changes_nothing(shape, turns):
    """The answer, the request and the record are those of the model."""
    with shape.model("the good answer", middleware=[untouched]) as model:
        assert "the good answer" == model.ask().text
        assert ["hello"] == model.received
    (turn,) = turns
    assert "the good answer" == shape.call_in(turn)["output"]
    assert "completed" == shape.call_in(turn)["outcome"]
    assert "provider" == shape.call_in(turn)["source"]


@over(SHAPES)
def test_the_models_own_exception_passes(shape):
    """A failure reaches the caller as the same kind of exception, with no note of ours."""
    with shape.model(Fails(), middleware=[untouched]) as model:
        with pytest.raises(shape.Error) as caught:
            model.ask()
    assert [] == notes_of(caught.value)


# Order. -------------------------------------------------------------------------------------------


@over(SHAPES)
def test_the_first_is_outermost_and_observers_innermost(shape):
    """List order is from the caller to the wire, observers next to the wire."""
    order = []

    def named(name):
        def fn(call):
            order.append(name)
            yield call
            order.append(f"/{name}")

        return fn

    stack = moa.Stack([named("a"), moa.observer(named("o")), named("b")], observers=[named("p")])
    with shape.model("fine", stack=stack) as model:
        model.ask()
    assert ["a", "b", "o", "p"] == order[:4]
    assert {"/o", "/p"} == set(order[4:6])
    assert ["/b", "/a"] == order[6:]


def test_the_default_stack_is_looked_up_at_each_call():
    """`configure` after decoration works, and what it is not given stays."""

    @moa.reference
    def ask(messages):
        return messages[-1]["content"]

    mine = [{"role": "user", "content": "my secret"}]
    assert "my secret" == ask(mine)
    moa.configure(middleware=[redact])
    assert "my […]" == ask(mine)
    moa.configure(save_traces=False)
    assert "my […]" == ask(mine)
    moa.configure(middleware=[])
    assert "my secret" == ask(mine)
