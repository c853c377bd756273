"""Observers: they see what the model truly got, and nothing that they do reaches the caller."""

import asyncio
from functools import partial
from types import SimpleNamespace

import pytest

import moa_middleware as moa
from moa_middleware._capture.flow import observers as _observe
from tests.support.middleware_shapes import MANAGERS, SHAPES, STREAMS, VALUES, Fails, Plain

VALUE = Plain("value", is_async=False, streams=False)
ITERATOR = Plain("iterator", is_async=False, streams=True)


def over(shapes):
    """Run a test in each of these shapes."""
    return pytest.mark.parametrize("shape", shapes, ids=lambda shape: shape.name)


class Broken(Exception):
    """What a broken observer raises."""


def broken_call(call):
    raise Broken


def broken_start(call):
    raise Broken
    yield call


def broken_chunk(call):
    def look(chunk):
        raise Broken

    call.on_chunk(look)
    yield call


def broken_reply(call):
    yield call
    raise Broken


def broken_error(call):
    try:
        yield call
    except Exception:
        raise Broken from None


def broken_end(call):
    try:
        yield call
        yield call
    finally:
        raise Broken


def broken_close(call):
    try:
        yield call
        yield call
    finally:
        yield call


def broken_form(call):
    return None


def junk(call):
    yield 5


def sleeps(call):
    yield moa.sleep(60)
    yield call


def holds(call):
    call.buffer()
    yield call


def maps(call):
    call.map_chunks(lambda chunk: "mapped")
    yield call


def sends_again(call):
    yield call
    yield call


BROKEN = [
    broken_call,
    broken_start,
    broken_chunk,
    broken_reply,
    broken_error,
    broken_end,
    broken_close,
    broken_form,
    junk,
    sleeps,
    holds,
    maps,
    sends_again,
]
STEPS = {"good": ("the good answer",), "failing": (Fails(),), "breaking": (Fails(after="half an"),)}


def outcome_of(shape, step, observers):
    """Return what the caller gets: text, number of chunks, the error's type and notes."""
    with shape.model(*STEPS[step], observers=observers) as model:
        answer = model.try_()
        requests = list(model.received)
    error = answer.error
    notes = list(getattr(error, "__notes__", ()))
    return answer.text, len(answer.chunks), type(answer.value), type(error), str(error), notes, requests


@over(SHAPES)
@pytest.mark.parametrize("step", ["good", "failing", "breaking"])
def test_broken_observers_change_nothing(shape, step, turns):
    """With every hook raising, the caller gets what he gets without observers."""
    if step == "breaking" and not shape.streams:
        step = "failing"
    watching = outcome_of(shape, step, [lambda call: (yield call)])
    assert watching == outcome_of(shape, step, BROKEN)
    assert 0 == turns[0]["instrumentation_errors"]
    assert len(BROKEN) - 3 <= turns[1]["instrumentation_errors"]
    assert turns[0]["outcome"] == turns[1]["outcome"]
    assert shape.call_in(turns[0])["output"] == shape.call_in(turns[1])["output"]
    assert len(turns[0]["calls"]) == len(turns[1]["calls"])


@pytest.mark.parametrize("fn", BROKEN, ids=lambda fn: fn.__name__)
@pytest.mark.parametrize("step", ["good", "failing"])
def test_each_broken_observer_is_counted(fn, step, turns, caplog):
    """A fault is counted in the record and in the status, and logged with the observer's name."""
    before = moa.status().faults
    ITERATOR.model(*STEPS[step], observers=[fn]).try_()
    (turn,) = turns
    never = fn is (broken_error if step == "good" else broken_chunk if step == "failing" else None)
    if step == "failing" and fn in (broken_reply, sends_again, broken_end, broken_close):
        # The exception thrown in leaves them before they break, or breaks them in `finally`.
        never = fn in (broken_reply, sends_again)
    count = turn["instrumentation_errors"]
    assert count == moa.status().faults - before
    assert never == (count == 0)
    messages = [record.getMessage() for record in caplog.records if record.name == "moa_middleware"]
    assert (not never) == any("moa.observer_failed" in m and f"observer={fn.__name__}" in m for m in messages)


@over(STREAMS + MANAGERS)
def test_the_chunks_are_the_same_objects(shape):
    """A broken tap passes the very chunks on."""
    raws = []

    def look(call):
        call.on_chunk(lambda chunk: raws.append(chunk.raw))
        yield call

    with shape.model("the good answer", observers=[broken_chunk, look, maps, holds]) as model:
        answer = model.ask()
    assert [id(raw) for raw in raws] == [id(chunk) for chunk in answer.chunks]


def test_the_exception_is_the_same_object():
    """What the function raised is what the caller catches."""
    mine = LookupError()

    @moa.Stack(observers=BROKEN).reference
    def ask(messages):
        raise mine

    with pytest.raises(LookupError) as caught:
        ask([])
    assert mine is caught.value


def test_faults_are_logged_once_a_minute(caplog):
    """Five broken calls are one line in the log."""
    model = VALUE.model("fine", observers=[broken_reply])
    for _ in range(5):
        model.ask()
    assert ["moa.observer_failed"] == [record.getMessage().split()[0] for record in caplog.records]
    assert {"moa_middleware"} == {record.name for record in caplog.records}


@pytest.fixture
def clock(monkeypatch):
    """Return the time that observers are paused by, in seconds; set `now`."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(_observe, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def test_after_eight_faults_in_a_row_an_observer_is_left_out_for_a_minute(clock):
    """Then it is tried again."""
    calls = []

    def broken(call):
        calls.append(call)
        raise Broken

    model = VALUE.model("fine", observers=[broken])
    for _ in range(20):
        model.ask()
    assert 8 == len(calls)
    clock.now += 59.9
    model.ask()
    assert 8 == len(calls)
    clock.now += 0.2
    model.ask()
    assert 9 == len(calls)
    for _ in range(20):
        model.ask()
    assert 16 == len(calls)


def test_a_call_without_a_fault_begins_the_count_anew(clock):
    """Seven faults, one good call, seven faults: it is still there."""
    calls = []

    def mostly(call):
        calls.append(call)
        if len(calls) % 8:
            raise Broken
        yield call

    model = VALUE.model("fine", observers=[mostly])
    for _ in range(40):
        model.ask()
    assert 40 == len(calls)


def test_a_tap_that_fails_on_each_chunk_is_left_out(clock, turns):
    """Within one stream too: eight faults, and the rest of it costs nothing."""
    model = ITERATOR.model(" ".join("abcdefghijklmnop"), observers=[broken_chunk])
    assert "a b c d e f g h i j k l m n o p" == model.ask().text
    (turn,) = turns
    assert 8 == turn["instrumentation_errors"]


def test_a_tap_that_fails_once_a_stream_counts_in_a_row(clock):
    """A call whose tap failed is no good call, though its flow ended well."""
    before = moa.status().faults
    model = ITERATOR.model("one", observers=[broken_chunk])
    for _ in range(20):
        model.ask()
    assert 8 == moa.status().faults - before


def test_one_broken_observer_does_not_stop_the_others():
    """Each has its own health."""
    seen = []

    def fine(call):
        seen.append((yield call).text)

    model = VALUE.model("fine", observers=[broken_call, fine, broken_reply])
    for _ in range(20):
        model.ask()
    assert ["fine"] * 20 == seen


@over(VALUES + STREAMS)
def test_observers_cannot_replace_anything(shape):
    """What they return, yield or answer is not taken over."""

    def answers(call):
        return moa.Reply(text="mine")
        yield

    def edits(call):
        yield call.replace(messages=[{"role": "user", "content": "mine"}])
        return moa.Reply(text="mine")

    with shape.model("the good answer", observers=[answers, edits]) as model:
        assert "the good answer" == model.ask().text
        assert ["hello"] == model.received


def test_an_observer_cannot_swallow_an_exception():
    """What it catches goes on to the caller."""

    def swallows(call):
        try:
            yield call
        except BaseException:
            return moa.Reply(text="mine")

    answer = VALUE.model(Fails(), observers=[swallows]).try_()
    assert isinstance(answer.error, VALUE.Error)


@over(SHAPES)
def test_observers_see_each_attempt(shape):
    """They are at the wire: every request of a retry is shown, with its number and its end."""
    seen = []

    def watch(call):
        try:
            reply = yield call
        except Exception:
            seen.append((call.attempt, "failed"))
            raise
        seen.append((call.attempt, reply.text))

    def retry(call):
        try:
            return (yield call)
        except Exception:
            return (yield call)

    with shape.model(Fails(), "the good answer", middleware=[retry], observers=[watch]) as model:
        model.ask()
    assert [(1, "failed"), (2, "the good answer")] == seen


@over(VALUES + STREAMS)
def test_observers_see_what_a_middleware_answered(shape):
    """A call that never met the wire is reported all the same, with who answered."""
    seen = []

    def watch(call):
        reply = yield call
        seen.append((call.messages[-1]["content"], reply.text, reply.source))

    def cache(call):
        return moa.Reply(text="from the shelf", source="cache")
        yield

    with shape.model("never", middleware=[cache], observers=[watch]) as model:
        model.ask()
    assert [("hello", "from the shelf", "cache")] == seen


def test_observers_see_what_was_refused():
    """A call that a budget refused is reported with its exception."""
    seen = []

    def budget(call):
        raise Broken
        yield call

    def watch(call):
        seen.append((yield call))

    VALUE.model("never", middleware=[budget], observers=[watch]).try_()
    ((outcome, error, source),) = [(r.outcome, type(r.error), r.source) for r in seen]
    assert ("error", Broken, "middleware") == (outcome, error, source)


def test_observers_see_what_the_model_truly_got():
    """They stand behind every middleware."""
    seen = []

    def redact(call):
        yield call.replace(messages=[{"role": "user", "content": "[…]"}])

    def watch(call):
        seen.append(call.messages[-1]["content"])
        yield call

    VALUE.model("fine", middleware=[redact], observers=[watch]).ask("my secret")
    assert ["[…]"] == seen


@pytest.mark.parametrize("how", ["observer", "Stack", "configure"])
def test_there_are_three_ways_to_add_one(how, turns):
    """Marked in the list of middleware, given to a stack, or to `configure`."""
    if how == "observer":
        stack = moa.Stack([moa.observer(partial(broken_call))])
    elif how == "Stack":
        stack = moa.Stack(observers=[broken_call])
    else:
        moa.configure(observers=[broken_call])
        stack = moa.default_stack
    assert "fine" == VALUE.model("fine", stack=stack).ask().text
    assert 1 == turns[0]["instrumentation_errors"]


@pytest.mark.parametrize("where", ["call", "chunk", "reply"])
@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
def test_an_interrupt_inside_an_observer_goes_on(where, interrupt, turns):
    """It is the program's, not the observer's fault; the record is finished first."""

    def interrupted(call):
        def look(_):
            if where == "chunk":
                raise interrupt

        call.on_chunk(look)
        if where == "call":
            raise interrupt
        yield call
        if where == "reply":
            raise interrupt

    answer = ITERATOR.model("the good answer", observers=[interrupted]).try_()
    assert isinstance(answer.error, interrupt)
    (turn,) = turns
    (call,) = turn["references"]
    assert 0 == turn["instrumentation_errors"]
    assert ("completed" if where == "reply" else "cancelled") == call["outcome"]
    assert "cancelled" == turn["outcome"]
