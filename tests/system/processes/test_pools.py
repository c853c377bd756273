"""Real workers of real pools run what a script decorated, and write it: joblib, Dask and Ray."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "support" / "pool_program.py"
pytestmark = pytest.mark.processes
POOLS = {"joblib": "joblib", "dask": "distributed", "dask_processes": "distributed", "ray": "ray"}
ANSWERS = [
    "a long answer to p",
    "one answers p at length one answers p at length",
    "two answers p at length two answers p at length",
    "a long answer to p",
    "no",
]


def run(pool, **env):
    """Return what the workers answered, as a script of the user's gets it."""
    command = [sys.executable, "-P", str(SCRIPT), pool]
    done = subprocess.run(command, check=False, env={**os.environ, **env}, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def available(pool):
    """Skip a pool that this environment lacks."""
    if importlib.util.find_spec(POOLS[pool]) is None:
        pytest.skip(f"{POOLS[pool]} is not installed; tests/environments/pools.txt has it")


@pytest.mark.parametrize("pool", POOLS)
def test_workers_record_what_a_script_gave_them(pool, tmp_path, read_lines):
    """Each call is a turn of the worker's own, with the options of the decorator, once."""
    available(pool)
    assert ANSWERS == run(pool, MOA_SAVE_TRACES="1", MOA_TRACE_DIR=str(tmp_path))
    lines = {line["session_id"]: line for line in read_lines(tmp_path)}
    assert {"function", "method", "class", "stream", "failed"} == set(lines)
    assert [1] * 5 == [len(file.read_text().splitlines()) for file in tmp_path.glob("*.jsonl")]
    (call,) = lines["function"]["references"]
    assert ("mine", 2, "a long answer to p") == (call["label"], call["layer"], call["output"])
    for name in ("method", "class"):
        assert (False, "duo") == (lines[name]["implicit"], lines[name]["preset"])
        assert ["mine"] * 2 == [call["label"] for call in lines[name]["references"]]
    assert ("late", "a long answer to p") == tuple(lines["stream"]["aggregator"][key] for key in ("label", "output"))
    assert "ValueError" == lines["failed"]["references"][0]["error"]["type"]


MODULE = """
def ask(prompt):
    return "a long answer to " + prompt
"""
PROGRAM = """
import sys
import world


class Mixture:
    def create(self, prompt):
        return world.ask(prompt)


def with_joblib():
    from joblib import Parallel, delayed

    return Parallel(n_jobs=2)([delayed(world.ask)("p"), delayed(Mixture().create)("q")])


def with_dask():
    from dask.distributed import Client

    with Client(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        return cluster.gather([cluster.submit(world.ask, "p"), cluster.submit(Mixture().create, "q")])


def with_dask_processes():
    import dask

    return [*dask.compute(dask.delayed(world.ask)("p"), dask.delayed(Mixture().create)("q"), scheduler="processes")]


if __name__ == "__main__":
    assert ["a long answer to p", "a long answer to q"] == globals()["with_" + sys.argv[1]]()
"""


@pytest.mark.parametrize("pool", ["joblib", "dask", "dask_processes"])
def test_targets_of_moa_run_are_instrumented_in_the_workers(pool, tmp_path, read_lines):
    """A program that is unchanged: a module's function by name, and one of the script's methods."""
    available(pool)
    (tmp_path / "world.py").write_text(MODULE)
    (tmp_path / "app.py").write_text(PROGRAM)
    traces = tmp_path / "traces"
    env = {**os.environ, "MOA_SAVE_TRACES": "1", "MOA_TRACE_DIR": str(traces), "PYTHONPATH": str(tmp_path)}
    env["MOA_INSTRUMENT"] = "world:ask=reference,__main__:Mixture.create=turn"
    command = [sys.executable, "-m", "moa_middleware", "run", "app.py", pool]
    done = subprocess.run(command, check=False, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    lines = sorted(read_lines(traces), key=lambda line: line["implicit"])
    assert [False, True] == [line["implicit"] for line in lines]
    assert ["a long answer to q", "a long answer to p"] == [line["references"][0]["output"] for line in lines]


@pytest.mark.parametrize("pool", ["joblib", "dask_processes"])
def test_workers_answer_the_same_with_traces_off(pool, tmp_path):
    """And make no directory."""
    available(pool)
    traces = tmp_path / "traces"
    assert ANSWERS == run(pool, MOA_SAVE_TRACES="0", MOA_TRACE_DIR=str(traces))
    assert not traces.exists()
