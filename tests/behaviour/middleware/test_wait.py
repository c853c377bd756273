"""Middleware that awaits something while a call is under way."""

from contextlib import suppress

import pytest

import moa_middleware as moa
from tests.support.middleware_shapes import SHAPES
from tests.support.middlewares import look_up, over

SYNC = [shape for shape in SHAPES if not shape.is_async]
# Before it is called, nothing shows that a plain function returns an async manager.
ASYNC = [shape for shape in SHAPES if shape.is_async and not shape.managed]


def waits(call):
    found = yield moa.wait(look_up("a"))
    again = yield from moa.wait(look_up("b"))
    yield call.replace(messages=[{"role": "user", "content": f"{found}, {again}"}])


@over(ASYNC)
def test_wait_awaits_on_an_async_client(shape):
    """Both `yield` and `yield from` give the result."""
    with shape.model("fine", middleware=[waits]) as model:
        assert "fine" == model.ask().text
        assert ["a found, b found"] == model.received


@over(SYNC)
def test_wait_on_a_sync_client_is_named(shape):
    """There is nothing that could await: the error names the middleware."""
    with shape.model("fine", middleware=[waits]) as model:
        with pytest.raises(moa.AsyncOnSyncError, match="`waits` awaits, but this client is a sync one"):
            model.ask()
        assert [] == model.received


@over(ASYNC)
def test_wait_at_the_end_of_an_async_call(shape):
    """After the reply, at the end of a stream too, it may await."""
    found = []

    def store(call):
        yield call
        found.append((yield moa.wait(look_up("end"))))

    with shape.model("the good answer", middleware=[store]) as model:
        assert "the good answer" == model.ask().text
    assert ["end found"] == found


@over(ASYNC)
def test_what_is_awaited_may_fail(shape):
    """Its exception is thrown into the middleware."""

    async def fail():
        raise LookupError("nothing there")

    def cache(call):
        with suppress(LookupError):
            yield moa.wait(fail())
        yield call

    with shape.model("the good answer", middleware=[cache]) as model:
        assert "the good answer" == model.ask().text
