"""
Notebooks and IPython: `%load_ext moa_middleware` makes each cell that asks a model a turn.

`%moa_turn` and `%%moa_turn` name a cell's turn, and let one turn span several cells. This module does not
import IPython: it is given the running shell. A fault of ours must not cost a cell.
"""

from __future__ import annotations

import os
import shlex
import time
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import TagError
from .calls.function import Options
from .config import default_stack
from .flow.outcome import program_outcome
from .instrument import targets
from .log import count_fault
from .recorder import load_recorder, state
from .scope import current, put_current

if TYPE_CHECKING:
    from .scope import Scope
    from .turns.turn import Turn

__all__ = ["load", "unload"]

_MAGIC = "moa_turn"
_USAGE = f"%{_MAGIC} [begin|end] [--session ID] [--preset NAME] [--label TEXT]"
_WORDS = ("begin", "end")
_OPTIONS = ("--session", "--preset", "--label")


class Notebook:
    """
    The turns of one shell's cells.

    Args:
        shell: IPython's `InteractiveShell`.
    """

    def __init__(self, shell: Any) -> None:
        self.shell = shell
        self._turn: Turn | None = None
        """The turn that is open: the running cell's, or the one that spans cells."""
        self._scope: Scope | None = None
        """The scope of its body, to put cells into it that run in other contexts."""
        self._block: Any = None
        self._depth = 0
        """How many cells run: one may run another, by `%run` or `run_cell`."""
        self._spans = False
        self._instrumented = ""

    def start(self) -> None:
        """Watch the shell's cells; what `MOA_INSTRUMENT` names is instrumented, as `moa run` does."""
        with state.lock:
            # To load the extension is to ask for traces; an explicit off stays off. Each setting here is one that
            # neither the environment nor `configure` makes.
            state.defaults = {"save_traces": True, "session_id": session_of(self.shell)}
            state.changed()
        load_recorder()
        self._instrumented = os.environ.get("MOA_INSTRUMENT", "")
        targets.apply(self._instrumented, default_stack, Options("call"))
        self.shell.events.register("pre_run_cell", self.before_cell)
        self.shell.events.register("post_run_cell", self.after_cell)
        self.shell.input_transformers_cleanup.append(first_line)
        self.shell.register_magic_function(self.magic, magic_kind="line", magic_name=_MAGIC)

    def stop(self) -> None:
        """Undo `start`; an open turn ends here."""
        self.shell.events.unregister("pre_run_cell", self.before_cell)
        self.shell.events.unregister("post_run_cell", self.after_cell)
        self.shell.input_transformers_cleanup.remove(first_line)
        self.shell.magics_manager.magics["line"].pop(_MAGIC, None)
        self._close(None)
        if self._instrumented.strip():
            targets.uninstrument(self._instrumented, default_stack)
        with state.lock:
            state.defaults = {}
            state.changed()

    # Cells -----------------------------------------------------------------------------------------

    def before_cell(self, _info: Any = None) -> None:
        """Open the cell's turn; a cell that is run by a cell is a part of it."""
        try:
            self._depth += 1
            if self._depth > 1:
                return
            if self._turn is not None:
                # It spans cells. IPython may run each in a context of its own.
                put_current(self._scope)
            elif default_stack.recording() is not None:
                self._block = default_stack.turn()
                self._turn = self._block.__enter__()
                self._scope = current()
        except Exception as error:
            count_fault("notebook", error)

    def after_cell(self, result: Any) -> None:
        """Close the cell's turn with what became of the cell."""
        try:
            self._depth = max(0, self._depth - 1)
            if self._depth:
                return
            if not self._spans:
                # Jupyter's kernel gives no result where it was interrupted itself.
                error = getattr(result, "error_before_exec", None) or getattr(result, "error_in_exec", None)
                self._close(error)
            elif self._scope is not None and current() is self._scope:
                put_current(self._scope.previous)
        except Exception as error:
            count_fault("notebook", error)

    def _close(self, error: BaseException | None) -> None:
        turn, block = self._turn, self._block
        self._turn = self._scope = self._block = None
        self._spans = False
        if turn is None:
            return
        turn.leave(*program_outcome(error))
        block.__exit__(None, None, None)  # it restores the scope, and does not close the turn again

    # Magics ----------------------------------------------------------------------------------------

    def magic(self, line: str) -> None:
        """
        Name the turn of this cell, or begin or end one that spans cells.

        %moa_turn [begin|end] [--session ID] [--preset NAME] [--label TEXT]

        `%%moa_turn` on the first line of a cell does the same. From `begin` to `end` all cells, both
        included, are one turn.
        """
        word, given = _parsed(line)
        if word == "end" and not self._spans:
            raise _usage_error(f"no turn was begun; %{_MAGIC} begin comes first")
        if word == "begin" and self._spans:
            raise _usage_error(f"a turn has begun already; %{_MAGIC} end comes first")
        if word:
            # The running cell belongs to it in either case: what it has asked before this line is in its turn.
            self._spans = word == "begin" and self._turn is not None
        turn = self._turn
        if turn is not None:
            turn.session_id = given.get("--session", turn.session_id)
            turn.preset = given.get("--preset", turn.preset)
            if "--label" in given:
                turn.tags = {**turn.tags, "label": given["--label"]}


def _parsed(line: str) -> tuple[str, dict[str, str]]:
    """
    Return the word of a magic's line, or "", and its options.

    Raises:
        UsageError: It is malformed.
    """
    try:
        parts = shlex.split(line)
    except ValueError as error:
        raise _usage_error(f"{error}; {_USAGE}") from None
    word = ""
    given: dict[str, str] = {}
    while parts:
        name, equals, value = parts.pop(0).partition("=")
        if name in _WORDS and not equals:
            if word:
                raise _usage_error(f"{name!r} after {word!r}: give one of them; {_USAGE}")
            word = name
            continue
        if name not in _OPTIONS:
            raise _usage_error(f"unknown option {name!r:.80}; {_USAGE}")
        if not equals:
            value = parts.pop(0) if parts else ""
        if not value:
            raise _usage_error(f"{name} needs a value; {_USAGE}")
        given[name] = value
    return word, given


def _usage_error(problem: str) -> Exception:
    """Return the exception that IPython shows without a traceback."""
    try:
        from IPython.core.error import UsageError
    except ImportError:
        return TagError(problem)
    return UsageError(problem)


def first_line(lines: list[str]) -> list[str]:
    """
    Make a line magic of `%%moa_turn` on the first line of a cell.

    A cell magic would get the rest of the cell as a text, and could not run `await` in it. As a line
    magic it keeps the cell, with its line numbers, as the user wrote it.
    """
    if lines and lines[0].split()[:1] == [f"%%{_MAGIC}"]:
        return [lines[0].replace("%%", "%", 1), *lines[1:]]
    return lines


def session_of(shell: Any) -> str:
    """
    Return the session of a shell's turns, the same as long as the process lives.

    It is the name of the notebook where that is known (Jupyter's `JPY_SESSION_NAME`, VS Code's
    `__vsc_ipynb_file__`), else the time when the extension was first loaded and the process.
    """
    for name in (os.environ.get("JPY_SESSION_NAME"), shell.user_ns.get("__vsc_ipynb_file__")):
        if isinstance(name, str) and name.endswith(".ipynb") and (stem := Path(name).stem):
            return stem
    return _unnamed_session(os.getpid())


@lru_cache(maxsize=1)
def _unnamed_session(process: int) -> str:
    """Return the session of notebooks without a name, made once a process: loading anew goes on in the same file."""
    return f"notebook-{time.strftime('%Y%m%d-%H%M%S')}-{process}"


_loaded: dict[int, Notebook] = {}
"""By shell. It holds the shell, so that no later one gets the same id."""


def load(shell: Any) -> None:
    """Make each cell of a shell a turn; nothing if that is so already."""
    if id(shell) not in _loaded:
        _loaded[id(shell)] = notebook = Notebook(shell)
        notebook.start()


def unload(shell: Any) -> None:
    """Undo `load`."""
    notebook = _loaded.pop(id(shell), None)
    if notebook is not None:
        notebook.stop()
