"""Middleware at the end of a call: dropped, closed, cancelled and interrupted streams, and managers that fail."""

import asyncio
import contextlib
import gc
import logging

import pytest

import moa_middleware as moa
from tests.support.middleware_shapes import MANAGERS, SHAPES, STREAMS
from tests.support.middlewares import GENERATOR, ITERATOR, VALUE, OverBudget, look_up, openai_shape, over, retry


def test_the_flow_is_closed_when_a_stream_is_dropped():
    """A middleware's `finally` runs with the stream's end, though nobody read it out."""
    ends = []

    def watch(call):
        try:
            ends.append((yield call).outcome)
        finally:
            ends.append("finally")

    for shape in (ITERATOR, GENERATOR):
        with shape.model("the good answer", middleware=[watch]) as model:
            stream = model.call("hello", {})
            assert "the" == next(stream)
            del stream
            gc.collect()
        assert ["abandoned", "finally"] == ends
        ends.clear()


def test_a_dropped_stream_cannot_sleep(caplog):
    """There the flow is closed, logged once, and nothing is raised."""
    ends = []

    def slow(call):
        try:
            yield call
            yield moa.sleep(60)
            ends.append("woke")
        finally:
            ends.append("finally")

    with ITERATOR.model("the good answer", middleware=[slow]) as model:
        for _ in range(2):
            stream = model.call("hello", {})
            next(stream)
            del stream
            gc.collect()
    assert ["finally"] * 2 == ends
    assert ["moa.middleware_closed"] == [record.message.split()[0] for record in caplog.records]


@pytest.mark.parametrize("late", ["wait", "send", "raise", "raise in finally", "yield in finally"])
def test_a_dropped_stream_raises_nothing(caplog, late):
    """Whatever the middleware still wants, the interpreter hears nothing of it."""

    def slow(call):
        try:
            yield call
            if late == "wait":
                yield moa.wait(look_up("a"))
            elif late == "send":
                yield call
            elif late == "raise":
                raise OverBudget
            else:
                yield moa.sleep(1)
        finally:
            if late == "raise in finally":
                raise OverBudget
            if late == "yield in finally":
                yield moa.sleep(1)

    with ITERATOR.model("the good answer", middleware=[slow]) as model:
        stream = model.call("hello", {})
        next(stream)
        del stream
        gc.collect()
    assert 1 == len(caplog.records)
    assert logging.WARNING == caplog.records[0].levelno


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
@pytest.mark.parametrize("how", ["answer", "go on", "another error", "another error in finally"])
@over([VALUE, openai_shape("async openai value"), GENERATOR])
def test_an_interrupt_cannot_be_swallowed(shape, interrupt, how, turns):
    """A middleware may clean up, but neither answer nor hide it; the record says cancelled."""
    raised = interrupt()

    def swallow(call):
        try:
            yield call
        except BaseException:
            if how == "answer":
                return moa.Reply(text="nothing happened")
            if how == "go on":
                yield call
            if how == "another error":
                raise OverBudget from None
        finally:
            if how == "another error in finally":
                raise OverBudget

    def interrupts(call):
        yield moa.sleep(0)
        raise raised

    def outer(call):
        try:
            yield call
        except Exception:
            return moa.Reply(text="nothing happened")

    stack = moa.Stack([outer, swallow, interrupts])
    with shape.model("never", stack=stack) as model:
        if shape.is_async:

            async def main():
                with pytest.raises(interrupt) as caught:
                    await model.call("hello", {})
                await model.hang_up()
                return caught.value

            error = asyncio.run(main())
        else:
            with pytest.raises(interrupt) as caught:
                model.call("hello", {})
            error = caught.value
    assert raised is error
    (turn,) = turns
    assert "cancelled" == turn["outcome"] == shape.call_in(turn)["outcome"]


def test_a_cancelled_stream_stays_cancelled(turns):
    """Cancellation before the first chunk goes through every middleware."""

    async def main():
        async def never(messages):
            await asyncio.sleep(60)
            yield "never"

        def swallow(call):
            try:
                yield call
            except BaseException:
                return moa.Reply(text="nothing happened")

        stream = moa.Stack([swallow]).reference(never)([])
        task = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    (turn,) = turns
    assert "cancelled" == turn["references"][0]["outcome"]


def test_what_the_consumer_throws_is_not_sent_again():
    """An exception thrown into a generator is the consumer's, not a failure of the model's."""
    with GENERATOR.model("the good answer", middleware=[retry]) as model:
        stream = model.call("hello", {})
        with pytest.raises(LookupError):
            stream.throw(LookupError())
        assert [] == model.received


@over([shape for shape in STREAMS if shape.name in ("generator", "openai stream")])
def test_a_closed_stream_is_over_for_the_middleware(shape):
    """`close` gives the middleware its reply, with the text so far; a resend is refused."""
    seen = []

    def stubborn(call):
        reply = yield call
        seen.append((reply.outcome, reply.text))
        try:
            yield call
        except moa.ResendError as error:
            seen.append(str(error))

    with shape.model("the good answer", middleware=[stubborn]) as model:
        stream = model.call("hello", {})
        for chunk in stream:
            if shape.text_of(chunk):
                break
        stream.close()
        assert 1 == len(model.received)
    assert ("closed", "the") == seen[0]
    assert "stubborn` asked to resend after" in seen[1]


@pytest.mark.parametrize("is_async", [False, True])
def test_a_manager_that_fails_to_open_can_be_sent_again(turns, is_async):
    """Openai's `chat.completions.stream()` sends its request in `__enter__`: a 429 comes there."""
    tried = []

    def retry(call):
        try:
            yield call
        except ValueError:
            yield call

    def attempt():
        tried.append(1)
        if len(tried) == 1:
            raise ValueError("overloaded")
        return "good"

    if is_async:

        @contextlib.asynccontextmanager
        async def opened(messages):
            text = attempt()

            async def pieces():
                yield text

            yield pieces()
    else:

        @contextlib.contextmanager
        def opened(messages):
            yield iter([attempt()])

    stack = moa.Stack([retry])
    ask = stack.aggregator(opened)

    async def read():
        async with ask([]) as stream:
            return [piece async for piece in stream]

    def read_sync():
        with ask([]) as stream:
            return list(stream)

    assert ["good"] == (asyncio.run(read()) if is_async else read_sync())
    (record,) = turns
    assert ("good", 2, "completed") == tuple(record["aggregator"][k] for k in ("output", "attempt", "outcome"))
    assert ["error"] == [call["outcome"] for call in record["calls"]]


def test_a_manager_that_never_opens_raises_its_own_error(turns):
    """Without a middleware that recovers from it."""
    error = ValueError("refused")

    @moa.aggregator
    @contextlib.contextmanager
    def opened(messages):
        raise error
        yield

    with pytest.raises(ValueError, match="refused") as raised, opened([]):
        pass
    assert error is raised.value
    assert ["error"] == [record["outcome"] for record in turns]


def test_the_reply_that_a_middleware_settles_on_is_the_one_on_record(turns):
    """Best of two: the role goes to the request whose reply the caller got."""

    def longest(call):
        first = yield call
        second = yield call
        return max(first, second, key=lambda reply: len(reply.text))

    answers = iter(["the longer answer", "short"])

    @moa.Stack([longest]).reference
    def ask(messages):
        return next(answers)

    assert "the longer answer" == ask([])
    (record,) = turns
    assert ["the longer answer"] == [call["output"] for call in record["references"]]
    assert ["short"] == [call["output"] for call in record["calls"]]


def test_a_text_that_map_chunks_leaves_as_it_is_leaves_the_chunk(turns):
    """The very object goes on."""

    def same(call):
        call.map_chunks(lambda chunk: chunk.text)
        yield call

    chunks = [{"content": "a"}, {"type": "ping"}]

    @moa.Stack([same]).aggregator
    def ask():
        return iter(chunks)

    assert all(one is other for one, other in zip(chunks, ask(), strict=True))


def test_a_stream_whose_chunks_were_all_dropped_may_be_sent_again(turns):
    """Nothing of it had reached the consumer."""

    def careful(call):
        call.map_chunks(lambda chunk: chunk if chunk.text != "noise" else None)
        try:
            yield call
        except ValueError:
            yield call

    tried = []

    @moa.Stack([careful]).aggregator
    def ask():
        tried.append(1)
        yield "noise"
        if len(tried) == 1:
            raise ValueError
        yield "good"

    assert ["good"] == list(ask())
    assert 2 == len(tried)


class Fixed(Exception):
    """An exception that refuses to be changed, as a frozen dataclass does."""

    def __setattr__(self, name, value):
        raise AttributeError(name)


class Taken(Fixed):
    """One whose `__notes__` are its own, and are no list."""

    __notes__ = ("mine",)


def _before(error):
    def fail(call):
        raise error
        yield

    return fail


def _at_once(error):
    def refuse(call):
        raise error

    return refuse


def _after(error):
    def fail_late(call):
        yield call
        raise error

    return fail_late


def _tap(error):
    def look(chunk):
        raise error

    def watch(call):
        call.on_chunk(look)
        yield call

    return watch


@over([shape for shape in SHAPES if shape not in MANAGERS])  # `contextlib` itself sets what it catches
@pytest.mark.parametrize("place", [_before, _at_once, _after, _tap])
@pytest.mark.parametrize("kind", [Fixed, Taken])
def test_an_exception_that_cannot_be_changed_arrives_as_it_is(shape, place, kind, turns):
    """With its note where it has room for one; never another exception in its place."""
    error = kind("refused")
    with shape.model("the good answer", middleware=[place(error)]) as model:
        answer = model.try_()
    if place is _tap and not shape.streams:
        assert answer.error is None
        return
    assert error is answer.error
    (note,) = error.__notes__
    assert note == "mine" if kind is Taken else note.startswith("raised by")
    assert "Fixed" in turns[0]["error"]["type"] or "Taken" in turns[0]["error"]["type"]
