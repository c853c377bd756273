"""Scenarios of a generator's life: each gets `decorate` and a list to note things in."""

from __future__ import annotations

import collections.abc
import contextvars
import gc
import inspect
import threading
import types
from contextlib import closing, contextmanager
from itertools import islice

from tests.support.boom import Boom


def for_loop(decorate, note):
    @decorate
    def fn(messages):
        yield "a"
        yield "b"
        note("body ended")

    for piece in fn("q"):
        note(piece)


def list_of(decorate, note):
    @decorate
    def fn(messages):
        yield from "ab"

    note(list(fn("q")))


def by_next(decorate, note):
    @decorate
    def fn(messages):
        yield "a"
        yield "b"
        return "returned"

    generator = fn("q")
    while True:
        try:
            note(next(generator))
        except StopIteration as stop:
            note(stop.value)
            break
    note(next(generator, "over"))


def yield_from(decorate, note):
    @decorate
    def fn(messages):
        got = yield "a"
        note(("sent", got))
        try:
            yield "b"
        except Boom as error:
            note(("thrown", str(error)))
            yield "b"
        return "returned"

    def outer():
        note(("value", (yield from fn("q"))))
        yield "end"

    generator = outer()
    note(next(generator))
    note(generator.send("hello"))
    note(generator.throw(Boom("mine")))
    note(next(generator))


def send(decorate, note):
    @decorate
    def fn(messages):
        total = ""
        while len(total) < 2:
            total += yield total or "a"
        return total

    generator = fn("q")
    note(generator.send(None))
    note(generator.send("b"))
    try:
        generator.send("b")
    except StopIteration as stop:
        note(stop.value)


def send_too_early(decorate, note):
    @decorate
    def fn(messages):
        yield "ab"

    generator = fn("q")
    try:
        generator.send("x")
    except TypeError as error:
        note(str(error))
    note(list(generator))


def throw_caught(decorate, note):
    @decorate
    def fn(messages):
        try:
            yield "a"
        except Boom:
            yield "b"

    generator = fn("q")
    note(next(generator))
    note(generator.throw(Boom("mine")))
    note(list(generator))


def throw_uncaught(decorate, note):
    @decorate
    def fn(messages):
        try:
            yield "ab"
        finally:
            note("cleaned")

    generator = fn("q")
    note(next(generator))
    try:
        generator.throw(Boom("mine"))
    except Boom as error:
        note(str(error))
    note(next(generator, "over"))


def throw_a_class(decorate, note):
    @decorate
    def fn(messages):
        yield "ab"

    generator = fn("q")
    note(next(generator))
    try:
        generator.throw(Boom)
    except Boom as error:
        note(repr(error))


def throw_turned(decorate, note):
    @decorate
    def fn(messages):
        try:
            yield "ab"
        except Boom as error:
            raise KeyError("other") from error

    generator = fn("q")
    note(next(generator))
    try:
        generator.throw(Boom("mine"))
    except KeyError as error:
        note((str(error), type(error.__cause__).__name__))


def body_raises(decorate, note):
    @decorate
    def fn(messages):
        yield "ab"
        raise Boom("body")

    try:
        for piece in fn("q"):
            note(piece)
    except Boom as error:
        note((str(error), error.__cause__, error.__context__))


def body_raises_before(decorate, note):
    @decorate
    def fn(messages):
        raise Boom("body")
        yield "ab"

    generator = fn("q")
    note("made")
    try:
        next(generator)
    except Boom as error:
        note(str(error))


def wrong_arguments(decorate, note):
    @decorate
    def fn(messages):
        yield "ab"

    try:
        fn("q", "x")
    except TypeError as error:
        note(str(error).rpartition(".")[2])


def close(decorate, note):
    @decorate
    def fn(messages):
        try:
            yield "a"
            yield "b"
        finally:
            note("cleaned")

    generator = fn("q")
    note(next(generator))
    note(generator.close())
    note(generator.close())
    note(next(generator, "over"))


def close_before_the_start(decorate, note):
    @decorate
    def fn(messages):
        note("never")
        yield "a"

    note(fn("q").close())


def close_refused(decorate, note):
    @decorate
    def fn(messages):
        try:
            yield "ab"
        except GeneratorExit:
            yield "again"

    generator = fn("q")
    note(next(generator))
    try:
        generator.close()
    except RuntimeError as error:
        note(str(error))
    generator = None


def close_with_an_error(decorate, note):
    @decorate
    def fn(messages):
        try:
            yield "ab"
        finally:
            raise ValueError("cleaning failed")

    generator = fn("q")
    note(next(generator))
    try:
        generator.close()
    except ValueError as error:
        note(str(error))


def with_closing(decorate, note):
    @decorate
    def fn(messages):
        try:
            yield "a"
            yield "b"
        finally:
            note("cleaned")

    with closing(fn("q")) as generator:
        note(next(generator))


def break_and_go_on(decorate, note):
    @decorate
    def fn(messages):
        yield "a"
        yield "b"

    generator = fn("q")
    for piece in generator:
        note(piece)
        break
    for piece in generator:
        note(piece)


def break_and_drop(decorate, note):
    @decorate
    def fn(messages):
        try:
            yield "a"
            yield "b"
        finally:
            note("cleaned")

    for piece in fn("q"):
        note(piece)
        break
    gc.collect()


def never_begun(decorate, note):
    @decorate
    def fn(messages):
        note("never")
        yield "a"

    fn("q")


def outer_closed(decorate, note):
    @decorate
    def fn(messages):
        try:
            yield "a"
            yield "b"
        except GeneratorExit:
            note("exit")
            raise

    def outer():
        yield from fn("q")

    generator = outer()
    note(next(generator))
    generator.close()


def slices_and_zips(decorate, note):
    @decorate
    def fn(messages):
        yield from ("a", "b")

    generator = fn("q")
    note(list(islice(generator, 1)))
    note(list(zip(generator, "x", strict=True)))
    note(dict(enumerate(generator)))


def unpacked(decorate, note):
    @decorate
    def fn(messages):
        yield from ("a", "b")

    first, second = fn("q")
    note((first, second))


def contains(decorate, note):
    @decorate
    def fn(messages):
        yield from ("a", "b")

    generator = fn("q")
    note("a" in generator)
    note("a" in generator)


def two_fors_at_once(decorate, note):
    @decorate
    def fn(messages):
        yield from ("a", "b")

    generator = fn("q")
    one, other = iter(generator), iter(generator)
    note((next(one), next(other), next(one, "over"), next(other, "over")))


def looks(decorate, note):
    @decorate
    def fn(messages):
        yield "ab"

    generator = fn("q")
    note(inspect.isgenerator(generator))
    note(isinstance(generator, types.GeneratorType))
    for kind in ("Generator", "Iterator", "Iterable", "AsyncIterator", "Sized", "Collection", "Awaitable", "Hashable"):
        note((kind, isinstance(generator, getattr(collections.abc, kind))))
    for name in ("__enter__", "__aenter__", "__anext__", "aclose", "__call__", "__await__"):
        note((name, hasattr(generator, name)))
    note(bool(generator))
    for ask in (len, lambda g: g[0], reversed):
        try:
            note(ask(generator))
        except TypeError as error:
            note(type(error))
    note((generator.__name__, generator.gi_running, inspect.getgeneratorstate(generator)))
    note(list(generator))


def same_objects(decorate, note):
    pieces = [{"text": "a"}, types.SimpleNamespace(content="b"), None, object()]

    @decorate
    def fn(messages):
        yield from pieces

    note([got is sent for got, sent in zip(fn("q"), pieces, strict=True)])


def other_thread(decorate, note):
    @decorate
    def fn(messages):
        yield "a"
        yield "b"

    generator = fn("q")
    note(next(generator))
    thread = threading.Thread(target=lambda: note(list(generator)))
    thread.start()
    thread.join()


def other_context(decorate, note):
    @decorate
    def fn(messages):
        try:
            yield "a"
            yield "b"
        finally:
            note("cleaned")

    generator = contextvars.Context().run(fn, "q")
    note(contextvars.Context().run(next, generator))
    note(contextvars.Context().run(next, generator))
    contextvars.Context().run(generator.close)


def already_running(decorate, note):
    @decorate
    def fn(messages):
        try:
            next(mine)
        except ValueError as error:
            note(str(error))
        yield "ab"

    mine = fn("q")
    note(list(mine))


def manager_of_it(decorate, note):
    @contextmanager
    @decorate
    def fn(messages):
        try:
            yield "ab"
        except Boom as error:
            note(str(error))

    with fn("q") as value:
        note(value)
        raise Boom("inside")


def recursive(decorate, note):
    @decorate
    def fn(messages, depth=1):
        yield "a"
        if depth:
            yield from fn.__wrapped__(messages, depth - 1) if hasattr(fn, "__wrapped__") else fn(messages, depth - 1)

    note(list(fn("q")))
