"""Cells of IPython are turns: in a shell of this process, and in a real one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

import moa_middleware as moa

LOAD = "%load_ext moa_middleware"
MODELS = """
import asyncio
import moa_middleware as moa

@moa.reference
def ask(model):
    return f"what {model} has to say"

@moa.reference
async def ask_async(model):
    await asyncio.sleep(0)
    return f"what {model} has to say"

@moa.aggregator
def speak():
    yield "one "
    yield "two"
"""


@pytest.fixture
def trace_dir(tmp_path, monkeypatch):
    monkeypatch.setenv("MOA_TRACE_DIR", str(tmp_path / "traces"))
    return tmp_path / "traces"


@pytest.fixture
def shell(trace_dir, monkeypatch):
    """Return a shell without history whose extension is loaded; it leaves the process as it was."""
    for name in ("excepthook", "displayhook"):
        monkeypatch.setattr(sys, name, getattr(sys, name))
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.colors = "nocolor"
    shell = InteractiveShell(config=config)
    shell.run_cell(MODELS)
    shell.run_cell(LOAD)
    yield shell
    shell.run_cell("%unload_ext moa_middleware")
    shell.restore_sys_module_state()


def of(record):
    """Return what a test compares of a turn."""
    return [call["output"].split()[1] for call in record["references"]], record["outcome"]


def test_each_cell_that_asks_a_model_is_a_turn(shell, trace_dir, read_lines):
    """A cell without calls writes nothing, and all are in one session."""
    for cell in "a = ask('a'); b = ask('b')", "print(a)", "c = ask('c')":
        assert shell.run_cell(cell).success
    first, second = read_lines(trace_dir)
    assert ((["a", "b"], "completed"), (["c"], "completed")) == (of(first), of(second))
    assert first["session_id"].startswith("notebook-")
    assert first["session_id"] == second["session_id"]
    assert not first["implicit"]


def test_cells_with_await_and_threads_are_turns(shell, trace_dir, read_lines):
    """Also the tasks, and a thread, that a cell begins."""
    assert shell.run_cell("x = await asyncio.gather(ask_async('a'), ask_async('b')); ask('c')").success
    assert shell.run_cell("import threading as t; x = t.Thread(target=ask, args=('d',)); x.start(); x.join()").success
    assert [(["a", "b", "c"], "completed"), (["d"], "completed")] == [of(record) for record in read_lines(trace_dir)]


ENDS = {
    # how a cell ends: outcome, error
    "1 / 0": ("error", {"type": "ZeroDivisionError", "message": "division by zero"}),
    "raise KeyboardInterrupt": ("cancelled", {"type": "KeyboardInterrupt", "message": ""}),
    "raise SystemExit(3)": ("error", {"type": "SystemExit", "message": "3"}),
    "raise SystemExit": ("completed", None),
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.filterwarnings("ignore:To exit")
def test_a_cell_that_fails_is_a_turn_that_failed(end, shell, trace_dir, read_lines, capsys):
    """The cell shows its own error, and the next cell is a turn of its own."""
    shell.run_cell(f"ask('a')\n{end}")
    shell.run_cell("ask('b')")
    failed, after = read_lines(trace_dir)
    assert ENDS[end] == (failed["outcome"], failed["error"])
    assert ((["a"], ENDS[end][0]), (["b"], "completed")) == (of(failed), of(after))


def test_a_cell_that_does_not_compile_harms_nothing(shell, trace_dir, read_lines, capsys):
    """It never ran."""
    assert shell.run_cell("ask('a'").error_before_exec
    shell.run_cell("ask('b')")
    assert [(["b"], "completed")] == [of(record) for record in read_lines(trace_dir)]


def test_the_first_line_names_the_turn_of_its_cell(shell, trace_dir, read_lines):
    """`%%moa_turn` keeps `await`, and the numbers of lines."""
    cell = "%%moa_turn --session s-1 --preset=fast --label 'two words'\nawait ask_async('a')\nask('b')"
    assert shell.run_cell(cell).success
    (record,) = read_lines(trace_dir)
    assert (["a", "b"], "completed") == of(record)
    assert ("s-1", "fast", {"label": "two words"}) == (record["session_id"], record["preset"], record["tags"])
    assert ["s-1.jsonl"] == os.listdir(trace_dir)
    failed = shell.run_cell("%%moa_turn\n\n1 / 0")
    assert 3 == failed.error_in_exec.__traceback__.tb_next.tb_lineno


def test_a_turn_may_span_cells(shell, trace_dir, read_lines):
    """From the cell with `begin` to the cell with `end`, both whole."""
    cells = (
        "ask('a')\n%moa_turn begin --session s",
        "await ask_async('b')",
        "ask('c')",
        "%moa_turn end\nask('d')",
        "ask('e')",
    )
    for cell in cells:
        assert shell.run_cell(cell).success
    alone, spanning = sorted(read_lines(trace_dir), key=lambda record: len(record["references"]))
    assert ((["a", "b", "c", "d"], "completed"), "s") == (of(spanning), spanning["session_id"])
    assert (["e"], "completed") == of(alone)


def test_a_cell_that_runs_a_cell_is_one_turn(shell, trace_dir, read_lines):
    """`%run` and `run_cell` are parts of the cell that asks for them."""
    assert shell.run_cell("ask('a')\nx = get_ipython().run_cell('y = ask(\"b\")')\nask('c')").success
    assert [(["a", "b", "c"], "completed")] == [of(record) for record in read_lines(trace_dir)]


def test_a_stream_that_a_later_cell_reads_belongs_to_its_own_cell(shell, trace_dir, read_lines):
    """The turn waits for it."""
    shell.run_cell("stream = speak()")
    shell.run_cell("ask('a')")
    shell.run_cell("print(*stream)")
    reference, streamed = read_lines(trace_dir)
    assert (["a"], "completed") == of(reference)
    assert ("one two", "completed") == (streamed["output"], streamed["outcome"])


def test_unloading_ends_it(shell, trace_dir, read_lines):
    """Cells are no turns any more, the magic is gone, and loading twice is loading once."""
    shell.run_cell("moa.load_ipython_extension(get_ipython())")
    shell.run_cell("ask('a')\n%unload_ext moa_middleware\nask('b')")
    shell.run_cell("ask('c')")
    assert [(["a"], "completed")] == [of(record) for record in read_lines(trace_dir)]
    assert "moa_turn" not in shell.magics_manager.magics["line"]
    assert not moa.status().saving


def test_the_session_goes_on_when_the_extension_is_loaded_anew(shell, trace_dir, read_lines):
    """A notebook without a name has one file a kernel, also where the clock went on."""
    shell.run_cell("ask('a')")
    shell.run_cell("%unload_ext moa_middleware")
    shell.run_cell("import time; time.sleep(1.1)")
    shell.run_cell(LOAD)
    shell.run_cell("ask('b')")
    first, second = read_lines(trace_dir)
    assert first["session_id"] == second["session_id"]


@pytest.mark.parametrize("line", ["begin --session x1", "--session x1 begin", "--session=x1 --label l begin"])
def test_options_stand_on_either_side_of_the_word(line, shell, trace_dir, read_lines):
    """`begin` and `end` may come first or last."""
    assert shell.run_cell(f"%moa_turn {line}\nx = ask('a')").success
    assert shell.run_cell("%moa_turn --preset p end\nx = ask('b')").success
    (turn,) = read_lines(trace_dir)
    assert (["a", "b"], "completed") == of(turn)
    assert ("x1", "p") == (turn["session_id"], turn["preset"])


WRONG = {
    "%moa_turn begin end": "'end' after 'begin': give one of them; %moa_turn [begin|end]",
    "%moa_turn start": "unknown option 'start'; %moa_turn [begin|end] [--session ID]",
    "%moa_turn --sesion x": "unknown option '--sesion'; %moa_turn [begin|end] [--session ID]",
    "%moa_turn --session": "--session needs a value",
    "%moa_turn 'x": "No closing quotation",
    "%moa_turn end": "no turn was begun; %moa_turn begin comes first",
    "%moa_turn begin\n%moa_turn begin": "a turn has begun already; %moa_turn end comes first",
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_line_says_what_is_right(wrong, shell, capsys):
    """In IPython's way, without a traceback."""
    assert not shell.run_cell(wrong).success
    assert f"UsageError: {WRONG[wrong]}" in capsys.readouterr().err


def test_an_explicit_off_stays_off(shell, trace_dir, monkeypatch):
    """And what the environment and `configure` say of the session wins."""
    monkeypatch.setenv("MOA_SAVE_TRACES", "0")
    shell.run_cell("ask('a')")
    assert not trace_dir.exists()
    monkeypatch.setenv("MOA_SAVE_TRACES", "1")
    monkeypatch.setenv("MOA_SESSION_ID", "of the environment")
    shell.run_cell("ask('a')")
    shell.run_cell("moa.configure(session_id='configured')")
    shell.run_cell("ask('a')")
    assert ["configured.jsonl", "of_the_environment~"] == sorted(name[:19] for name in os.listdir(trace_dir))


@pytest.mark.parametrize(("name", "session"), [("notes/my study.ipynb", "my study"), ("3f1a", None), (None, None)])
def test_the_session_has_the_name_of_the_notebook(name, session, trace_dir, monkeypatch):
    """Jupyter's server says it, and VS Code."""
    from moa_middleware._capture.notebook import session_of

    class Shell:
        user_ns = {"__vsc_ipynb_file__": name} if name else {}

    assert session == (session_of(Shell) if session else None)
    Shell.user_ns = {}
    if name:
        monkeypatch.setenv("JPY_SESSION_NAME", name)
    assert session_of(Shell) == session or (session is None and session_of(Shell).startswith("notebook-"))


def test_a_real_ipython_is_traced(trace_dir, tmp_path, read_lines):
    """A process of its own; what the environment names is instrumented, and the package imports no IPython."""
    (tmp_path / "models.py").write_text("def ask(model):\n    return f'what {model} has to say'\n")
    cells = [LOAD, "import models", "models.ask('a'); models.ask('b')", "1 / 0", "await __import__('asyncio').sleep(0)"]
    done = subprocess.run(
        [sys.executable, "-m", "IPython", "--simple-prompt", "--quick", "--no-banner", "--colors=nocolor"],
        input="\n".join([*cells, "models.ask('c')", ""]),
        env={**os.environ, "MOA_INSTRUMENT": "models:ask=reference", "IPYTHONDIR": str(tmp_path / "home")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "what c has to say" in done.stdout
    assert [(["a", "b"], "completed"), (["c"], "completed")] == [of(record) for record in read_lines(trace_dir)]
    code = "import sys, moa_middleware; print('IPython' in sys.modules)"
    assert "False\n" == subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
