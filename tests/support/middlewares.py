"""What the tests of middleware share: groups of shapes, and small middleware."""

import asyncio

import openai
import pytest

import moa_middleware as moa
from tests.support.middleware_shapes import MANAGERS, SHAPES, STREAMS, VALUES, Plain

ALL_STREAMS = STREAMS + MANAGERS
# What a manager's function returns does not show before it is called, so nothing can stand in for it.
ANSWERABLE = VALUES + STREAMS
VALUE = Plain("value", is_async=False, streams=False)
ITERATOR = Plain("iterator", is_async=False, streams=True)
GENERATOR = Plain("generator", is_async=False, streams=True)


def over(shapes):
    """Run a test in each of these shapes."""
    return pytest.mark.parametrize("shape", shapes, ids=lambda shape: shape.name)


def openai_shape(name):
    return next(shape for shape in SHAPES if shape.name == name)


def notes_of(error):
    return list(getattr(error, "__notes__", ()))


def retry(call):
    """Try again, up to three times."""
    for _ in range(2):
        try:
            return (yield call)
        except Exception:
            yield moa.sleep(0.001)
    return (yield call)


def untouched(call):
    """Do nothing."""
    yield call


def redact(call):
    """Take the secret out of what the model sees."""
    scrubbed = [{**m, "content": m["content"].replace("secret", "[…]")} for m in call.messages]
    yield call.replace(messages=scrubbed)


def expect_form(shape, value):
    """Assert that a value is what this shape's caller works with."""
    if shape.sdk and not shape.streams:
        assert isinstance(value, openai.types.chat.ChatCompletion)
    elif shape.name == "openai stream":
        assert isinstance(value, openai.Stream)
        assert value.response.status_code == 200
        assert not hasattr(value, "choices")
    elif shape.name == "async openai stream":
        assert isinstance(value, openai.AsyncStream)
        assert value.response.status_code == 200
    elif not shape.streams:
        assert isinstance(value, str)
    else:
        assert hasattr(value, "__anext__" if shape.is_async else "__next__")


class OverBudget(Exception):
    """What a budget raises."""


async def look_up(key):
    await asyncio.sleep(0)
    return f"{key} found"


def empty(call):
    return
    yield
