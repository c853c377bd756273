"""What a script or notebook sends to a pool by value works there, and is recorded there with the same options."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import moa_middleware as moa
from tests.support import by_value_program

cloudpickle = pytest.importorskip("cloudpickle", reason="cloudpickle is not installed")
SUPPORT = Path(by_value_program.__file__).parent
CASES = by_value_program.CASES
ANSWERS = {"stack of its own": "a long answer to p!", "hook called there": "HookedSub There"}
"""Of cases that answer something else than the rest."""


def run(script, *arguments, **env):
    """Run a script of the tests as a program of its own."""
    command = [sys.executable, "-P", str(SUPPORT / script), *map(str, arguments)]
    env = {**os.environ, **env}
    return subprocess.run(command, check=True, env=env, capture_output=True, text=True, timeout=120).stdout


@pytest.fixture(scope="module", params=["cloudpickle", "dill"])
def there(request, tmp_path_factory):
    """Pickle every case in one process, and call each in another."""
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    place = tmp_path_factory.mktemp(request.param)
    run("by_value_program.py", request.param, place / "pickled")
    traces = place / "traces"
    answers = run(
        "by_value_worker.py", request.param, place / "pickled", MOA_SAVE_TRACES="1", MOA_TRACE_DIR=str(traces)
    )
    records = {}
    for file in traces.glob("*.jsonl"):
        lines = [json.loads(line) for line in file.read_text().splitlines()]
        records[lines[0]["session_id"]] = lines
    return json.loads(answers), records


@pytest.mark.parametrize("name", CASES)
def test_it_works_there_and_is_recorded_there(there, name):
    """Functions, methods, classes and instances, each with its role, label and layer."""
    answers, records = there
    *_, count, label = CASES[name]
    if "__main__" in answers[name]:
        pytest.skip(f"dill cannot load a type variable, with us and without: {answers[name]}")
    # dill makes a subclass anew, so that the hook of its base runs once more, with us and without.
    assert ANSWERS.get(name, "a long answer to p") == answers[name].replace("HookedSub HookedSub", "HookedSub")
    lines = records.get(name, [])
    assert count == len(lines)
    if count:
        (line,) = lines
        calls = [*line["references"], *filter(None, [line["aggregator"]])]
        assert [label] == [call["label"] for call in calls][:1]


def test_roles_layers_and_turns_are_those_of_the_decorators(there):
    """The options of a decorator travel with the function; so do those of a client class."""
    _, records = there
    (line,) = records["function"]
    assert (True, "reference", 2, "declared") == (
        line["implicit"],
        *(line["references"][0][key] for key in ("role", "layer", "role_source")),
    )
    (line,) = records["coroutine function"]
    assert "aggregator" == line["aggregator"]["role"]
    for name, preset in (
        ("turn", "duo"),
        ("class", "client"),
        ("subclass", "client"),
        ("subclass made there", "client"),
    ):
        (line,) = records[name]
        assert (False, preset, 1) == (line["implicit"], line["preset"], len(line["references"])), name


def test_a_module_that_is_there_goes_by_name():
    """Not the function but its name travels, as it does for bare functions."""
    from tests.support.callables import ENSEMBLE, Ensemble, propose

    for value in (propose, Ensemble, Ensemble.static_outside):
        assert len(cloudpickle.dumps(value)) < 200
        assert value == pickle.loads(cloudpickle.dumps(value))
    assert type(ENSEMBLE) is type(pickle.loads(cloudpickle.dumps(ENSEMBLE)))


def test_a_module_may_be_registered_to_go_by_value(turns):
    """`cloudpickle.register_pickle_by_value` holds for decorated functions too."""
    from tests.support import callables

    cloudpickle.register_pickle_by_value(callables)
    try:
        data = cloudpickle.dumps(callables.propose)
    finally:
        cloudpickle.unregister_pickle_by_value(callables)
    fn = pickle.loads(data)
    assert fn is not callables.propose
    assert "mm" == fn("m")
    assert 1 == len(turns)


def test_a_function_by_value_is_a_function_to_everybody_else():
    """Only the pickler learns that it is wrapped."""
    import inspect
    import types

    @moa.reference
    def ask(prompt):
        return prompt

    assert isinstance(ask, types.FunctionType)
    assert inspect.isfunction(ask)
    assert ask.__class__ is types.FunctionType


def test_a_stack_with_something_that_cannot_travel_is_refused():
    """Its middleware would be missing there, so the pickler's own error comes out."""
    import threading

    class Locked:
        def __init__(self):
            self.lock = threading.Lock()

        def __call__(self, call):
            yield call

    stack = moa.Stack([Locked()])

    @stack.reference
    def ask(prompt):
        return prompt

    with pytest.raises(TypeError, match="lock"):
        cloudpickle.dumps(ask)


def test_what_is_bound_to_a_turn_cannot_travel():
    """`moa.carry` is for threads; the error says what to do."""

    def ask(prompt):
        return prompt

    with moa.turn(), pytest.raises(TypeError, match=r"a turn cannot go to another process: pass its session id"):
        cloudpickle.dumps(moa.carry(ask))
    assert "p" == pickle.loads(cloudpickle.dumps(moa.carry(ask)))("p")


def test_a_worker_without_the_library_says_what_is_missing(tmp_path):
    """The function is ours as well as the user's, and cannot be loaded without us."""
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, cloudpickle, moa_middleware as moa\n"
        "@moa.reference\n"
        "def ask(prompt): return prompt\n"
        "sys.stdout.buffer.write(cloudpickle.dumps(ask))\n"
    )
    data = subprocess.run([sys.executable, script], check=True, capture_output=True).stdout
    load = "import sys, pickle; sys.modules['moa_middleware'] = None; pickle.load(sys.stdin.buffer)"
    done = subprocess.run([sys.executable, "-c", load], check=False, input=data, capture_output=True)
    assert "moa_middleware" in done.stderr.decode().splitlines()[-1]
