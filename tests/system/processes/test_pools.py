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


@pytest.mark.parametrize("pool", ["joblib", "dask_processes"])
def test_workers_answer_the_same_with_traces_off(pool, tmp_path):
    """And make no directory."""
    available(pool)
    traces = tmp_path / "traces"
    assert ANSWERS == run(pool, MOA_SAVE_TRACES="0", MOA_TRACE_DIR=str(traces))
    assert not traces.exists()
