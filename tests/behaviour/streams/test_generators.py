"""Users' generators keep their life, whether they are a call, a turn, both, or nothing."""

from __future__ import annotations

import asyncio
import gc
import inspect
from contextlib import contextmanager

import pytest

import moa_middleware as moa
from moa_middleware.testing import capture_turns
from tests.conftest import check
from tests.support.async_generators import (
    abody_raises,
    abreak_and_drop,
    abreak_and_go_on,
    acancelled,
    aclose,
    adelegated,
    alooks,
    anever_begun,
    aother_context,
    aother_task,
    asend,
    async_for,
    athrow_caught,
    athrow_uncaught,
    by_anext,
    with_aclosing,
)
from tests.support.sync_generators import (
    already_running,
    body_raises,
    body_raises_before,
    break_and_drop,
    break_and_go_on,
    by_next,
    close,
    close_before_the_start,
    close_refused,
    close_with_an_error,
    contains,
    for_loop,
    list_of,
    looks,
    manager_of_it,
    never_begun,
    other_context,
    other_thread,
    outer_closed,
    recursive,
    same_objects,
    send,
    send_too_early,
    slices_and_zips,
    throw_a_class,
    throw_caught,
    throw_turned,
    throw_uncaught,
    two_fors_at_once,
    unpacked,
    with_closing,
    wrong_arguments,
    yield_from,
)

COMPLETED, CLOSED, ABANDONED = ("completed", "ab"), ("closed", "a"), ("abandoned", "a")
SCENARIOS = {
    # scenario: outcome and text
    for_loop: COMPLETED,
    list_of: COMPLETED,
    by_next: COMPLETED,
    yield_from: ("completed", "abb"),
    send: ("completed", "ab"),
    send_too_early: COMPLETED,
    throw_caught: COMPLETED,
    throw_uncaught: ("consumer_error", "ab"),
    throw_a_class: ("consumer_error", "ab"),
    throw_turned: ("error", "ab"),
    body_raises: ("error", "ab"),
    body_raises_before: ("error", None),
    wrong_arguments: ("error", None),
    close: CLOSED,
    close_before_the_start: ("closed", None),
    close_refused: ("error", "ab"),
    close_with_an_error: ("error", "ab"),
    with_closing: CLOSED,
    break_and_go_on: COMPLETED,
    break_and_drop: ABANDONED,
    never_begun: ("abandoned", None),
    outer_closed: CLOSED,
    slices_and_zips: COMPLETED,
    unpacked: COMPLETED,
    contains: COMPLETED,
    two_fors_at_once: COMPLETED,
    looks: COMPLETED,
    same_objects: COMPLETED,
    other_thread: COMPLETED,
    other_context: ("closed", "ab"),
    already_running: COMPLETED,
    manager_of_it: ("completed", "ab"),
    recursive: ("completed", "aa"),
    async_for: COMPLETED,
    by_anext: COMPLETED,
    asend: COMPLETED,
    athrow_caught: COMPLETED,
    athrow_uncaught: ("consumer_error", "ab"),
    abody_raises: ("error", "ab"),
    aclose: CLOSED,
    with_aclosing: CLOSED,
    abreak_and_go_on: COMPLETED,
    abreak_and_drop: ABANDONED,
    anever_begun: ("abandoned", None),
    acancelled: ("cancelled", "ab"),
    adelegated: COMPLETED,
    alooks: COMPLETED,
    aother_task: COMPLETED,
    aother_context: ("closed", "ab"),
}


NEVER_BEGUN = (never_begun, anever_begun, close_before_the_start)


def bare(fn):
    """Leave a function as it is."""
    return fn


DECORATORS = {
    "reference": moa.reference,
    "aggregator": moa.aggregator,
    "turn": moa.turn,
    "turn over aggregator": lambda fn: moa.turn(moa.aggregator(fn)),
}


def run(scenario, decorate, *, on):
    """Run a scenario; returns what was noted and the records."""
    seen = []
    with capture_turns() if on else nothing() as found:
        if inspect.iscoroutinefunction(scenario):
            asyncio.run(scenario(decorate, seen.append))
        else:
            scenario(decorate, seen.append)
        gc.collect()
        records = list(found)
    for record in records:
        check(record)
    return seen, records


@contextmanager
def nothing():
    yield []


@pytest.mark.parametrize("kind", DECORATORS)
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_a_generator_lives_as_before_and_is_recorded(scenario, kind):
    """What body and consumer notice is the same bare, off and on; on, there is one record of what began."""
    decorate = DECORATORS[kind]
    expected, _ = run(scenario, bare, on=False)
    off, none = run(scenario, decorate, on=False)
    on, records = run(scenario, decorate, on=True)
    assert expected == off
    assert expected == on
    assert [] == none
    began = scenario not in NEVER_BEGUN
    if not began and not kind.startswith("turn"):
        assert [] == records  # no model was asked, and no turn was opened by name
        return
    (record,) = records
    outcome, text = SCENARIOS[scenario]
    assert outcome == record["outcome"]
    assert 0 == record["instrumentation_errors"]
    calls = [*record["references"], *([record["aggregator"]] if record["aggregator"] else []), *record["calls"]]
    assert (0 if kind == "turn" or not began else 1) == len(calls)
    for call in calls:
        assert (outcome, text) == (call["outcome"], call["output"])
    if kind != "reference":
        assert text == record["output"]


def test_a_stream_cannot_be_called(turns):
    """`callable()` is asked by frameworks that take a value or a function."""

    @moa.reference
    def fn(messages):
        yield "a"

    generator = fn("q")
    assert not callable(generator)
    generator.close()
