"""The middleware chain as a pure machine: against a plain recursive model, and interleaved."""

import inspect
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moa_middleware import Call, DidNotYieldError, MiddlewareError, Reply, sleep, wait
from moa_middleware._capture.flow.chain import Send, chain, name_of
from moa_middleware._capture.flow.effects import Sleep, Wait


class WireError(Exception):
    """What the wire answers with instead of a reply."""


class Mine(Exception):
    """What a program raises of its own accord."""


class Interrupt(BaseException):
    """What nobody may swallow."""


@dataclass
class World:
    """What a chain meets outside, and everything that happened, in order."""

    script: list
    log: list = field(default_factory=list)
    flows: list = field(default_factory=list)

    def answer(self):
        """Return or raise the wire's next answer; the last one is for ever."""
        kind, value = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if kind == "error":
            raise WireError(value)
        if kind == "interrupt":
            raise Interrupt(value)
        return value


# The programs, as middleware. ---------------------------------------------------------------------


def run_pass(call, name, arg, log):
    reply = yield call
    log.append(("got", name, reply.text))


def run_edit(call, name, arg, log):
    yield call.replace(tags={"path": call.tags["path"] + name})


def run_replace(call, name, arg, log):
    reply = yield call
    return Reply(text=f"{name}({reply.text})")


def run_raw(call, name, arg, log):
    reply = yield call
    return f"{name}({reply.text})"


def run_answer(call, name, arg, log):
    return Reply(text=name)
    yield


def run_retry(call, name, arg, log):
    for _ in range(arg):
        try:
            return (yield call)
        except WireError as error:
            log.append(("caught", name, str(error)))
            yield sleep(arg)
    return (yield call)


def run_twice(call, name, arg, log):
    first = yield call
    second = yield call
    log.append(("got", name, second.text))
    return first


def run_swallow(call, name, arg, log):
    try:
        yield call
    except Exception as error:
        log.append(("caught", name, type(error)))


def run_swallow_all(call, name, arg, log):
    try:
        yield call
    except BaseException as error:
        log.append(("caught", name, type(error)))
        return Reply(text=name)


def run_fallback(call, name, arg, log):
    try:
        return (yield call)
    except Exception as error:
        log.append(("caught", name, type(error)))
        return Reply(text=name)


def run_raise_before(call, name, arg, log):
    raise Mine(name)
    yield


def run_raise_after(call, name, arg, log):
    yield call
    raise Mine(name)


def run_translate(call, name, arg, log):
    try:
        yield call
    except WireError as error:
        raise Mine(name) from error


def run_sleep(call, name, arg, log):
    yield sleep(arg)
    yield call


class Later(int):
    """A number that could be awaited; the harness does not."""

    def __await__(self):
        raise AssertionError
        yield


def run_wait(call, name, arg, log):
    log.append(("found", name, (yield wait(Later(arg)))))
    log.append(("found", name, (yield from wait(Later(arg)))))
    yield call


def run_finally(call, name, arg, log):
    try:
        yield call
    finally:
        log.append(("finally", name))


def run_silent(call, name, arg, log):
    return
    yield


def run_junk(call, name, arg, log):
    yield arg


RUN = {name.removeprefix("run_"): fn for name, fn in globals().items() if name.startswith("run_")}


# The same programs, as plain recursion. -----------------------------------------------------------


class Model:
    """What should happen, written without generators."""

    def __init__(self, programs, world):
        self.programs = programs
        self.world = world
        self.log = world.log

    def call(self, level, path):
        """Return the text that comes out at this level."""
        if level == len(self.programs):
            self.log.append(("reached", path))
            self.log.append(("send", path))
            return self.world.answer()
        kind, arg = self.programs[level]
        name = f"m{level}"
        self.log.append(("reached", path))

        def inner(path=path):
            return self.call(level + 1, path)

        try:
            return getattr(self, kind)(inner, name, arg, path)
        except Mine as error:
            if error.args == (name,) and not hasattr(error, "__notes__"):
                error.add_note(f"raised by the middleware `{name}`")
            raise

    def pass_(self, inner, name, arg, path):
        text = inner()
        self.log.append(("got", name, text))
        return text

    def edit(self, inner, name, arg, path):
        return inner(path + name)

    def replace(self, inner, name, arg, path):
        return f"{name}({inner()})"

    def raw(self, inner, name, arg, path):
        text = f"{name}({inner()})"
        self.log.append(("read", name, text))
        return text

    def answer(self, inner, name, arg, path):
        return name

    def retry(self, inner, name, arg, path):
        for _ in range(arg):
            try:
                return inner()
            except WireError as error:
                self.log += [("caught", name, str(error)), ("sleep", name, arg)]
        return inner()

    def twice(self, inner, name, arg, path):
        first, second = inner(), inner()
        self.log.append(("got", name, second))
        return first

    def swallow(self, inner, name, arg, path):
        try:
            return inner()
        except Exception as error:
            self.log.append(("caught", name, type(error)))
            raise

    def swallow_all(self, inner, name, arg, path):
        try:
            return inner()
        except BaseException as error:
            self.log.append(("caught", name, type(error)))
            if isinstance(error, Interrupt):
                raise
            return name

    def fallback(self, inner, name, arg, path):
        try:
            return inner()
        except Exception as error:
            self.log.append(("caught", name, type(error)))
            return name

    def raise_before(self, inner, name, arg, path):
        raise Mine(name)

    def raise_after(self, inner, name, arg, path):
        inner()
        raise Mine(name)

    def translate(self, inner, name, arg, path):
        try:
            return inner()
        except WireError:
            raise Mine(name) from None

    def sleep(self, inner, name, arg, path):
        self.log.append(("sleep", name, arg))
        return inner()

    def wait(self, inner, name, arg, path):
        self.log += [("wait", name, arg), ("found", name, arg * 2)] * 2
        return inner()

    def finally_(self, inner, name, arg, path):
        try:
            return inner()
        finally:
            self.log.append(("finally", name))

    def silent(self, inner, name, arg, path):
        raise DidNotYieldError(name)

    def junk(self, inner, name, arg, path):
        raise MiddlewareError(name)


setattr(Model, "pass", Model.pass_)
setattr(Model, "finally", Model.finally_)


# The harness. -------------------------------------------------------------------------------------


def middleware_of(level, program, world):
    """Return a program as a middleware that keeps its flow."""
    kind, arg = program
    name = f"m{level}"

    def fn(call):
        flow = RUN[kind](call, name, arg, world.log)
        world.flows.append(flow)
        return flow

    fn.__qualname__ = name
    return fn


def machine(programs, world):
    """Return a fresh chain of these programs."""

    def read(value, name):
        if isinstance(value, Reply):
            return value
        world.log.append(("read", name, value))
        return Reply(text=value)

    return chain(
        [middleware_of(level, program, world) for level, program in enumerate(programs)],
        Call(id="", turn_id="", tags={"path": ""}),
        read=read,
        reached=lambda call: world.log.append(("reached", call.tags["path"])),
    )


def steps(programs, world):
    """Run a chain, pausing after each effect; its result is what it returned or raised."""
    flow = machine(programs, world)
    value = error = None
    try:
        while True:
            effect = flow.throw(error) if error is not None else flow.send(value)
            value = error = None
            try:
                value = perform(effect, world)
            except BaseException as raised:
                error = raised
            yield
    except StopIteration as stop:
        return "reply", stop.value.text, []
    except BaseException as raised:
        return "raise", type(raised), described(raised)


def perform(effect, world):
    if type(effect) is Send:
        world.log.append(("send", effect.call.tags["path"]))
        return Reply(text=world.answer())
    if type(effect) is Sleep:
        world.log.append(("sleep", effect.owner, effect.seconds))
        return None
    assert type(effect) is Wait
    world.log.append(("wait", effect.owner, effect.awaitable))
    return effect.awaitable * 2


def described(error):
    """Return what of an exception is the same in model and machine."""
    if isinstance(error, MiddlewareError):
        return [str(error).split("`")[1] if "`" in str(error) else str(error)]
    return [*error.args, *getattr(error, "__notes__", ())]


def result_of(run):
    """Run to the end."""
    while True:
        try:
            next(run)
        except StopIteration as stop:
            return stop.value


def expected(programs, world):
    """Return the model's result."""
    try:
        return "reply", Model(programs, world).call(0, ""), []
    except BaseException as raised:
        return "raise", type(raised), described(raised)


programs = st.lists(st.tuples(st.sampled_from(sorted(RUN)), st.integers(min_value=0, max_value=3)), max_size=5)
scripts = st.lists(
    st.tuples(st.sampled_from(["reply", "reply", "error", "error", "interrupt"]), st.text("abc", max_size=2)),
    min_size=1,
    max_size=6,
)


@settings(max_examples=10 * settings.default.max_examples, deadline=None)
@given(programs, scripts)
def test_the_chain_does_what_the_model_does(programs, script):
    """Results, sends, effects and what each program saw are those of plain recursion."""
    ours, theirs = World([*script]), World([*script])
    assert expected(programs, theirs) == result_of(steps(programs, ours))
    assert theirs.log == ours.log
    assert theirs.script == ours.script


@settings(max_examples=3 * settings.default.max_examples, deadline=None)
@given(programs, scripts)
def test_every_flow_is_closed_at_the_end(programs, script):
    """Whatever happened, no generator is left suspended."""
    world = World([*script])
    result_of(steps(programs, world))
    assert ["GEN_CLOSED"] * len(world.flows) == [inspect.getgeneratorstate(flow) for flow in world.flows]


@settings(max_examples=3 * settings.default.max_examples, deadline=None)
@given(programs, scripts, st.integers(min_value=0, max_value=5))
def test_a_chain_that_is_left_closes_its_flows(programs, script, after):
    """A chain closed in the middle runs every `finally` and closes every flow."""
    world = World([*script])
    flow = machine(programs, world)
    value = None
    try:
        for _ in range(after + 1):
            value = perform(flow.send(value), world)
    except (StopIteration, Exception, Interrupt):
        pass
    flow.close()
    assert ["GEN_CLOSED"] * len(world.flows) == [inspect.getgeneratorstate(flow) for flow in world.flows]
    begun = [flow for flow in world.flows if flow.__name__ == "run_finally"]
    assert len(begun) == sum(entry[0] == "finally" for entry in world.log)


@settings(max_examples=3 * settings.default.max_examples, deadline=None)
@given(st.lists(st.tuples(programs, scripts), min_size=2, max_size=4), st.data())
def test_interleaved_chains_do_not_affect_each_other(runs, data):
    """Advanced in any order, each does what it does alone."""
    worlds = [World([*script]) for _, script in runs]
    open_runs = {n: steps(programs, world) for n, ((programs, _), world) in enumerate(zip(runs, worlds, strict=True))}
    results = {}
    while open_runs:
        turn = data.draw(st.sampled_from(sorted(open_runs)))
        try:
            next(open_runs[turn])
        except StopIteration as stop:
            results[turn] = stop.value
            del open_runs[turn]
    for n, (programs, script) in enumerate(runs):
        alone = World([*script])
        assert expected(programs, alone) == results[n]
        assert alone.log == worlds[n].log


@settings(max_examples=2 * settings.default.max_examples, deadline=None)
@given(
    st.lists(st.sampled_from(["on_chunk", "map_chunks", "buffer"]), max_size=3), st.integers(1, 3), st.integers(1, 3)
)
def test_registrations_are_each_requests_own(kinds, depth, sends):
    """However often a call is sent, each request has every registration once, the wire's side last."""

    def outer(call):
        for _ in range(sends):
            yield call

    def inner(call):
        for kind in kinds:
            call.buffer() if kind == "buffer" else getattr(call, kind)(len)
        yield call

    flow = chain(
        [outer, *[inner] * depth], Call(id="", turn_id=""), read=lambda value, name: value, reached=lambda call: None
    )
    seen = []
    effect = next(flow)
    with pytest.raises(StopIteration):
        while True:
            seen.append([tap.kind for tap in reversed(effect.call._taps)])
            effect = flow.send(Reply(text=""))
    assert [kinds * depth] * sends == seen


def test_names_are_what_the_author_knows():
    """A function by its qualified name, an object by its class."""

    class Budget:
        def __call__(self, call):
            yield call

    assert name_of(test_names_are_what_the_author_knows) == "test_names_are_what_the_author_knows"
    assert name_of(Budget()).endswith("Budget")


def test_who_asked_again_is_known():
    """The effect names the middleware whose second request it is, none for the first."""

    def again(call):
        yield call
        yield call

    def through(call):
        yield call

    flow = chain([again, through], Call(id="", turn_id=""), read=lambda v, n: v, reached=lambda call: None)
    first = next(flow)
    second = flow.send(Reply())
    assert ("", True) == (first.by, second.by.endswith("again"))
