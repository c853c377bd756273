"""Work that is handed to pools and threads in unusual ways."""

from __future__ import annotations

import contextvars
import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

import moa_middleware as moa

HELLO = [{"role": "user", "content": "hi"}]


@moa.reference(label=lambda messages, label=None: label)
def ask(messages, label=None):
    return f"{label} answers"


def double(number):
    """Return twice a number; a process imports it."""
    return 2 * number


def test_a_context_is_run_with_the_very_arguments(turns):
    """`pool.submit(context.run, fn, ...)`: the function gets what was submitted, in the turn of the context."""
    with moa.turn(session_id="a"):
        context = contextvars.copy_context()
        with ThreadPoolExecutor(1) as pool, moa.turn(session_id="b"):
            assert "x answers" == pool.submit(context.run, ask, HELLO, "x").result()
    (record,) = turns
    (call,) = record["references"]
    assert ("a", HELLO, "x") == (record["session_id"], call["input_messages"], call["label"])


def test_contexts_in_a_pool_keep_the_order_of_submission(turns):
    """The calls stand in the record as they were submitted, however the pool takes them up."""
    second_began = threading.Event()

    def first():
        assert second_began.wait(10)
        return ask(HELLO, "first")

    def second():
        ask(HELLO, "second")
        second_began.set()

    with moa.turn(), ThreadPoolExecutor(2) as pool:
        for fn in (first, second):
            pool.submit(contextvars.copy_context().run, fn)
    (record,) = turns
    assert ["first", "second"] == [call["label"] for call in record["references"]]


@pytest.mark.processes
@pytest.mark.parametrize("method", ["apply_async", "map", "imap", "imap_unordered"])
def test_a_pool_of_processes_works_inside_a_turn(method, turns):
    """What is given to other processes is pickled: it must stay the user's own function."""
    with moa.turn(), multiprocessing.get_context("spawn").Pool(1) as pool:
        ask(HELLO, "x")
        args = (double, (2,)) if method == "apply_async" else (double, [2])
        found = getattr(pool, method)(*args)
        assert 4 == (found.get(60) if method == "apply_async" else next(iter(found)))
    assert ["x"] == [call["label"] for call in turns[0]["references"]]


def test_a_thread_whose_run_was_replaced_keeps_it(turns):
    """A `run` that the user set on the thread object is called in the turn, and is still there afterwards."""
    thread = threading.Thread()

    def run():
        ask(HELLO, "mine")

    thread.run = run
    with moa.turn():
        thread.start()
        thread.join()
    assert run is vars(thread)["run"]
    assert ["mine"] == [call["label"] for call in turns[0]["references"]]


def test_a_thread_of_a_class_has_no_run_of_its_own_afterwards(turns):
    """Only the class has one, as before."""

    class Worker(threading.Thread):
        def run(self):
            ask(HELLO, "mine")

    thread = Worker()
    with moa.turn():
        thread.start()
        thread.join()
    assert "run" not in vars(thread)
    assert ["mine"] == [call["label"] for call in turns[0]["references"]]
