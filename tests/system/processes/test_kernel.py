"""Cells of a real Jupyter kernel are turns: values, `await`, errors and an interrupt."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("ipykernel", reason="a kernel is tested in the environment of tests/environments/notebook.txt")
from jupyter_client.manager import start_new_kernel

MODELS = """
import asyncio, time
import moa_middleware as moa

@moa.reference
async def ask(model):
    await asyncio.sleep(0)
    return f"what {model} has to say"

@moa.reference
def ask_sync(model):
    return f"what {model} has to say"
"""


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """Return a client of a kernel whose extension is loaded."""
    monkeypatch.setenv("MOA_TRACE_DIR", str(tmp_path / "traces"))
    monkeypatch.setenv("JPY_SESSION_NAME", str(tmp_path / "study.ipynb"))
    manager, client = start_new_kernel(kernel_name="python3", startup_timeout=60)
    for cell in MODELS, "%load_ext moa_middleware":
        assert "ok" == client.execute_interactive(cell, timeout=60)["content"]["status"]
    yield client, manager
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_cells_of_a_kernel_are_turns(kernel, tmp_path, read_lines):
    """In the session of the notebook; a turn that spans cells has those of each kind."""
    client, manager = kernel

    def run(cell):
        return client.execute_interactive(cell, timeout=60, output_hook=lambda _: None)["content"]["status"]

    assert "ok" == run("ask_sync('a')")
    assert "ok" == run("await asyncio.gather(ask('a'), ask('b'))")
    assert "error" == run("await ask('a'); 1 / 0")
    assert "ok" == run("%%moa_turn begin --preset spanning\nawait ask('a')")
    assert "ok" == run("ask_sync('b')")
    assert "ok" == run("await ask('c')\n%moa_turn end")
    client.execute("ask_sync('a'); print('go', flush=True); time.sleep(60)")
    while client.get_iopub_msg(timeout=30)["header"]["msg_type"] != "stream":
        pass
    time.sleep(0.2)
    manager.interrupt_kernel()
    assert "error" == client.get_shell_msg(timeout=30)["content"]["status"]
    assert "ok" == run("await ask('z')")
    records = read_lines(tmp_path / "traces")
    assert {"study"} == {record["session_id"] for record in records}
    assert [1, 2, 1, 3, 1, 1] == [len(record["references"]) for record in records]
    outcomes = ["completed", "completed", "error", "completed", "cancelled", "completed"]
    assert outcomes == [record["outcome"] for record in records]
    assert [None, None, None, "spanning", None, None] == [record["preset"] for record in records]
