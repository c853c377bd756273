"""Under trio, which this package never imports itself: calls await as they do under asyncio."""

from __future__ import annotations

import pytest

import moa_middleware as moa

trio = pytest.importorskip("trio", reason="trio is not installed; tests/environments/gevent.txt has it")
pytest.importorskip("trio.testing")

HELLO = [{"role": "user", "content": "hi"}]


def test_a_middleware_sleeps_by_the_clock_of_trio(turns):
    """A retry that waits a minute: trio's clock passes it, and its other tasks go on meanwhile."""
    tried, beside = [], []

    def patient(call):
        try:
            return (yield call)
        except ConnectionError:
            yield moa.sleep(60)
            return (yield call)

    @moa.Stack([patient]).reference
    async def ask(messages):
        tried.append(trio.current_time())
        if len(tried) == 1:
            raise ConnectionError("overloaded")
        return "answer"

    async def other():
        await trio.sleep(30)
        beside.append(len(tried))

    async def main():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(other)
            assert "answer" == await ask(HELLO)

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    first, second = tried
    assert 60 <= second - first < 61
    assert [1] == beside
    calls = [*turns[0]["references"], *turns[0]["calls"]]
    assert ["completed", "error"] == sorted(call["outcome"] for call in calls)


def test_a_stream_is_read_under_trio(turns):
    """`async for` over a decorated generator that waits for trio's clock between two pieces."""

    @moa.aggregator
    async def speak(messages):
        yield "a"
        await trio.sleep(1)
        yield "b"

    async def main():
        return [piece async for piece in speak(HELLO)]

    assert ["a", "b"] == trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert ("completed", "ab") == (turns[0]["outcome"], turns[0]["output"])
