"""Decorated functions, clients and callable objects are pickled and copied as what they were."""

from __future__ import annotations

import copy
import functools
import multiprocessing
import pickle
import weakref
from concurrent.futures import ProcessPoolExecutor

import pytest

import moa_middleware as moa
from tests.support.callables import (
    ENSEMBLE,
    Ensemble,
    Proposer,
    answer,
    callable_object,
    outputs,
    partial,
    propose,
    traced,
)

PICKLED = {
    "function": propose,
    "turn": answer,
    "partial": partial,
    "callable object": callable_object,
    "under another name": traced,
    "bound method": ENSEMBLE.method,
    "turn method": ENSEMBLE.create,
    "class method": Ensemble.class_inside,
    "class method outside": Ensemble.class_outside,
    "static method": Ensemble.static_inside,
    "static method outside": Ensemble.static_outside,
    "partial of it": functools.partial(propose, "m"),
}


@pytest.mark.parametrize("kind", PICKLED)
@pytest.mark.parametrize("protocol", [4, pickle.HIGHEST_PROTOCOL])
def test_decorated_functions_pickle_and_stay_decorated(turns, kind, protocol):
    """What comes back does the same and is recorded the same."""
    fn = pickle.loads(pickle.dumps(PICKLED[kind], protocol))
    assert "mm" == (fn() if kind == "partial of it" else fn("m"))
    assert 1 == len(turns)


def test_a_function_is_pickled_by_its_name():
    """The very object comes back, as with bare functions."""
    assert propose is pickle.loads(pickle.dumps(propose))


def test_a_local_function_cannot_be_pickled_as_before():
    """The error is pickle's own."""

    @moa.reference
    def local(model):
        return model

    with pytest.raises((pickle.PicklingError, AttributeError), match="local"):
        pickle.dumps(local)


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("on", [False, True])
def test_a_process_pool_runs_decorated_functions(trace_dir, monkeypatch, method, on):
    """Functions, bound methods and turns, with traces off and on."""
    if not on:
        monkeypatch.setenv("MOA_SAVE_TRACES", "0")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        futures = [pool.submit(fn, "m") for fn in (propose, answer, ENSEMBLE.method, partial, traced)]
        assert ["mm"] * 5 == [future.result(timeout=60) for future in futures]
    assert on == trace_dir.exists()


def test_a_process_pool_may_be_asked_inside_a_turn(trace_dir, read_lines):
    """The call in the child is a turn of its own there; nothing is lost, nothing hangs."""

    @moa.turn
    def outer():
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            return pool.submit(propose, "m").result(timeout=60)

    assert "mm" == outer()
    records = {record["implicit"]: record for record in read_lines(trace_dir)}
    assert ["mm"] == outputs([records[True]])
    assert "mm" == records[False]["output"]


@pytest.mark.parametrize("copying", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_copies_of_functions_are_themselves(copying):
    """As copies of bare functions are; so an object that holds one can be copied."""
    assert propose is copying(propose)
    assert [propose] == copying([propose])


@pytest.mark.parametrize("copying", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_copies_of_callable_objects_are_copies(turns, copying):
    """Their state is their own, and they are recorded still."""
    fn = moa.reference(Proposer())
    other = copying(fn)
    other.times = 3
    assert ("mm", "mmm") == (fn("m"), other("m"))
    assert 2 == len(turns)


def test_a_deep_copy_of_a_bound_method_belongs_to_the_copy():
    """`deepcopy` copies the object that a method is bound to."""
    ensemble = Ensemble()
    bound = copy.deepcopy(ensemble.method)
    assert bound.__self__ is not ensemble
    assert copy.copy(ensemble.method).__self__ is ensemble


def test_copies_of_clients_are_clients(turns):
    """`copy`, `deepcopy`, `pickle` and `__new__`: each is traced, and they do not share a turn."""
    clients = [copy.copy(ENSEMBLE), copy.deepcopy(ENSEMBLE), pickle.loads(pickle.dumps(ENSEMBLE))]
    for client in [*clients, Ensemble.__new__(Ensemble)]:
        assert "mm" == client.create("m")
    assert 4 == len({record["turn_id"] for record in turns})
    assert [1] * 4 == [len(record["references"]) for record in turns]


def test_pickling_keeps_no_local_of_its_caller_alive():
    """Python would keep what `f_locals` returns until the function that called `pickle` returns."""

    class Local:
        pass

    local = Local()
    gone = weakref.ref(local)
    pickle.dumps(propose)
    del local
    assert gone() is None
