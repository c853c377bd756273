"""Middleware that is written wrongly: the error names it and says what is expected."""

import pytest

import moa_middleware as moa
from tests.support.middleware_shapes import SHAPES, STREAMS, VALUES, calls_in
from tests.support.middlewares import empty, over, redact, untouched

# Misuse. ------------------------------------------------------------------------------------------


def returns_none(call):
    return None


def returns_a_number(call):
    return 5


async def coroutine(call):
    return None


async def async_generator(call):
    yield call


@over(SHAPES)
@pytest.mark.parametrize("wrong", [returns_none, returns_a_number, empty, coroutine, async_generator])
def test_who_did_not_yield_is_named(shape, wrong):
    """Neither a yield nor a value: the error names the middleware."""
    with shape.model("fine", middleware=[wrong]) as model:
        with pytest.raises(moa.DidNotYieldError, match=f"`{wrong.__name__}` did not yield"):
            model.ask()
        assert [] == model.received


@over(SHAPES)
def test_who_yields_something_else_is_named(shape):
    """Only the call, a sleep or a wait can be yielded."""

    def junk(call):
        yield 5

    with shape.model("fine", middleware=[junk]) as model:
        with pytest.raises(moa.MiddlewareError, match="junk` yielded int"):
            model.ask()
        assert [] == model.received


@pytest.mark.parametrize("wrong", [5, "text", redact(None)])
def test_what_is_no_middleware_is_refused_at_once(wrong):
    """A stack says which item cannot be called, or was called already."""
    with pytest.raises(moa.MiddlewareError, match=r"middleware\[1\]"):
        moa.Stack([untouched, wrong])


@over(VALUES)
def test_a_raw_value_of_the_right_form_is_the_callers(shape):
    """A middleware may return what the function itself would."""
    given = []

    def cache(call):
        if not given:
            given.append((yield call).raw)
        return given[0]

    with shape.model("the good answer", "another", middleware=[cache]) as model:
        model.ask()
        answer = model.ask()
        assert given[0] is answer.value
        assert ["hello"] == model.received


@over([shape for shape in VALUES if shape.sdk])
@pytest.mark.parametrize("wrong", ["text", 5, {"choices": []}])
def test_a_raw_value_of_the_wrong_form_is_named(shape, wrong):
    """Who reads `.choices` cannot use a string."""

    def cache(call):
        return wrong
        yield

    with shape.model("never", middleware=[cache]) as model:
        with pytest.raises(moa.ReplyFormError, match=f"cache` answered with {type(wrong).__name__}"):
            model.ask()


@over(VALUES)
def test_a_raw_stream_where_a_value_was_asked_for_is_named(shape):
    """The caller would not iterate it."""

    def cache(call):
        return iter(["text"])
        yield

    with shape.model("never", middleware=[cache]) as model:
        with pytest.raises(moa.ReplyFormError, match="cache` answered with a stream"):
            model.ask()


@over([shape for shape in STREAMS if shape.name != "iterator"])
def test_a_raw_stream_of_the_other_world_is_named(shape):
    """An async consumer cannot use an iterator, nor a sync one an async iterator."""

    async def agen():
        yield "text"

    def cache(call):
        return iter(["text"]) if shape.is_async else agen()
        yield

    with shape.model("never", middleware=[cache]) as model:
        with pytest.raises(moa.ReplyFormError, match=r"cache` answered with .*(async|sync) stream"):
            model.ask()


@over([shape for shape in STREAMS if not shape.sdk])
def test_a_raw_stream_of_the_right_form_is_the_callers(shape, turns):
    """Its text is in the record, with the middleware as its source."""

    async def agen():
        for piece in ("from", " elsewhere"):
            yield piece

    def other(call):
        return agen() if shape.is_async else iter(["from", " elsewhere"])
        yield

    with shape.model("never", middleware=[other]) as model:
        assert "from elsewhere" == model.ask().text
    (turn,) = turns
    (call,) = calls_in(turn)
    assert ("from elsewhere", "middleware") == (call["output"], call["source"])


# Calls inside calls -------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [{"x": 1}, 5, [1], object()], ids=["dict", "int", "list", "object"])
def test_a_value_that_makes_no_stream_is_refused(value):
    """An empty stream would be a lie."""

    def wrong(call):
        return value
        yield

    @moa.Stack([wrong]).aggregator
    def ask():
        yield "x"

    with pytest.raises(moa.ReplyFormError, match=r"wrong.* answered with .*, but the caller reads a stream"):
        list(ask())


@pytest.mark.parametrize("wrong", [-1, "1", None, True, float("nan")], ids=str)
def test_sleeping_takes_seconds(wrong):
    """Said where it is written."""
    with pytest.raises(moa.MiddlewareError, match="number of seconds"):
        moa.sleep(wrong)
    with pytest.raises(moa.MiddlewareError, match="takes an awaitable"):
        moa.wait(wrong)


@pytest.mark.parametrize("wrong", [lambda call: (yield call), None, 3], ids=["function", "none", "int"])
def test_a_stack_takes_a_list(wrong):
    """The most likely slip has a message of its own."""
    with pytest.raises(moa.MiddlewareError, match="takes a list"):
        moa.Stack(wrong)
    with pytest.raises(moa.MiddlewareError, match="takes a list"):
        moa.configure(middleware=wrong)
