"""Values and exceptions whose class or metaclass raises whatever it is asked: the caller gets the very object."""

from __future__ import annotations

import concurrent.futures

import pytest

import moa_middleware as moa


def raising(word, kind=RuntimeError):
    def ask(*_args):
        raise kind(word)

    return ask


def metaclass(base=type, **names):
    return type("Meta", (base,), names)


def _refuses_all_but_dunders(cls, name):
    if name.startswith("__") and name not in ("__object_proxy__", "__moa_proxy__"):
        return type.__getattribute__(cls, name)
    raise ZeroDivisionError(name)


METACLASSES = {
    "no unknown name": metaclass(__getattr__=raising("name", KeyError)),
    "no name of ours": metaclass(__getattribute__=_refuses_all_but_dunders),
    "no name at all": metaclass(__getattribute__=raising("name", SystemError)),
    "no order, no module": metaclass(
        **{name: property(raising(name)) for name in ("__mro__", "__module__", "__name__")}
    ),
    "no comparison": metaclass(
        **{name: raising(name) for name in ("__instancecheck__", "__subclasscheck__", "__eq__", "__hash__")}
    ),
}
CLASSES = {
    **{name: meta("Odd", (), {}) for name, meta in METACLASSES.items()},
    "no attribute": type("Odd", (), {"__getattribute__": raising("attribute")}),
    "no class": type("Odd", (), {name: property(raising(name)) for name in ("__class__", "__dict__")}),
    "no unknown attribute": type("Odd", (), {"__getattr__": raising("attribute", LookupError)}),
}
NAMES = (
    *("__traceback__", "__class__", "__notes__", "__cause__", "__context__", "__suppress_context__", "__dict__"),
    *("__module__", "__doc__", "args", "message", "status_code", "response", "code", "body", "headers", "request_id"),
    *("add_note", "with_traceback", "errno", "strerror", "exceptions"),
)
ERRORS = {
    **{name: type("Odd", (Exception,), {name: property(raising(name))}) for name in NAMES},
    "text": type("Odd", (Exception,), {"__str__": raising("str"), "__repr__": raising("repr")}),
    "attribute": type("Odd", (Exception,), {"__getattribute__": raising("attribute")}),
    "assignment": type("Odd", (Exception,), {"__setattr__": raising("assignment")}),
    "comparison": type("Odd", (Exception,), {"__eq__": raising("eq"), "__hash__": raising("hash")}),
    "truth": type("Odd", (Exception,), {"__bool__": raising("bool"), "__len__": raising("len")}),
    "exit": type("Odd", (Exception,), {"__traceback__": property(raising("exit", SystemExit))}),
    "values": type("Odd", (Exception,), {"__traceback__": None, "__cause__": 5, "__context__": "x", "__notes__": 7}),
    "base": type("Odd", (BaseException,), {name: property(raising(name)) for name in ("__traceback__", "__class__")}),
    "name of the class": metaclass(
        __getattribute__=lambda cls, name: (
            raising(name)() if name in ("__name__", "__qualname__", "__module__") else type.__getattribute__(cls, name)
        )
    )("Odd", (Exception,), {}),
}


def made(kind, *given):
    """Make an object although its metaclass refuses each name."""
    return type.__call__(kind, *given)


def run(coroutine):
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value


async def _read(stream):
    return [chunk async for chunk in stream]


def pass_on(call):
    return (yield call)


@pytest.fixture(params=["reference", "turn", "middleware", "reference in a turn"])
def way(request, tmp_path):
    """Return a decorator, and a function that calls a function, in a turn for the last."""
    moa.configure(save_traces=True, trace_dir=tmp_path, session_id="s")
    decorator = {"turn": moa.turn, "middleware": moa.Stack([pass_on]).reference}.get(request.param, moa.reference)

    def called(fn):
        if request.param != "reference in a turn":
            return fn()
        with moa.turn():
            return fn()

    return decorator, called


@pytest.mark.parametrize("name", CLASSES)
def test_a_value_of_an_odd_class_comes_back(name, way):
    """As a reply, in a stream, in a container, as an argument, and as the class itself."""
    decorator, called = way
    kind = CLASSES[name]
    value = made(kind)

    @decorator
    def answer(prompt=None, messages=None, model=None):
        return value

    @decorator
    async def answer_async():
        return value

    @decorator
    def stream():
        yield value

    @decorator
    async def stream_async():
        yield value

    assert called(answer) is value
    assert called(lambda: answer(value)) is value
    assert called(lambda: answer(messages=value, model=value)) is value
    assert called(lambda: run(answer_async())) is value
    assert called(lambda: list(stream()))[0] is value
    assert called(lambda: run(_read(stream_async())))[0] is value
    assert called(decorator(lambda: [value]))[0] is value
    assert called(decorator(lambda: (value, 1)))[0] is value
    assert called(decorator(lambda: kind)) is kind
    assert 0 == moa.status().open_turns


@pytest.mark.parametrize("name", ERRORS)
def test_an_exception_of_an_odd_class_comes_out(name, way):
    """Out of functions and streams of both worlds, out of a future, out of a block, and as what is returned."""
    decorator, called = way
    error = made(ERRORS[name], "odd")

    @decorator
    def fails():
        raise error

    @decorator
    async def fails_async():
        raise error

    @decorator
    def stream():
        yield 1
        raise error

    @decorator
    async def stream_async():
        yield 1
        raise error

    @decorator
    def future():
        found = concurrent.futures.Future()
        found.set_exception(error)
        return found

    def thrown():
        steps = stream()
        next(steps)
        steps.throw(error)

    def in_a_block():
        with moa.turn():
            raise error

    def of_a_future():
        raise future().exception()

    ways = (
        *(fails, lambda: run(fails_async()), lambda: list(stream()), lambda: run(_read(stream_async()))),
        *(thrown, in_a_block, of_a_future),
    )
    for number, fn in enumerate(ways):
        found = None
        try:
            called(fn)
        except BaseException as raised:
            found = raised
        assert found is error, number
    assert called(decorator(lambda: error)) is error
    assert 0 == moa.status().open_turns
