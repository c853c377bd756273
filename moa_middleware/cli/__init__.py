"""
The command `moa`: a thin roof over the library, one file a verb.

This module must not know any verb but `run`, which works without them, nor import typer or rich before `main` runs: the library is
installed without them, and says so here.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from ._exit import CLEAN, INTERRUPTED, UNREADABLE, Failure, missing_extra
from ._out import OutputClosed, emit, flush_or_silence, note
from ._text import set_output_encoding

__all__ = ["main"]


def main() -> None:
    """
    Run the command line, and exit.

    Raises:
        SystemExit: Always, but where `moa run` has run a program to its end. Codes: 0 clean, 1 findings, 2 usage, 3 unreadable, 4 extra or remote
            missing, 130 interrupted.
    """
    if sys.argv[1:2] == ["run"]:
        # A program's own streams, options and exceptions are none of this command's business.
        from .._capture.program import run as run_program

        run_program(sys.argv[2:])
        return
    _open_what_is_closed()
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            # A terminal that cannot show a character gets its number, never an exception.
            reconfigure(errors="backslashreplace")
    set_output_encoding(getattr(sys.stdout, "encoding", None))
    try:
        if find_spec("typer") is None or find_spec("rich") is None:
            raise missing_extra("moa", "cli")
        if sys.argv[1:] in (["--help"], ["-h"]):
            from ._help import help_text

            emit(help_text())
            code = CLEAN
        else:
            from ._app import run

            code = run(sys.argv[1:])
    except Failure as failure:
        note(str(failure))
        code = failure.code
    except KeyboardInterrupt:
        note("moa: interrupted")
        code = INTERRUPTED
    except OutputClosed:
        code = CLEAN
    except OSError as error:
        note(f"moa: {error.strerror}")
        code = UNREADABLE
    why = flush_or_silence()
    if why is not None:
        with suppress(OSError):
            note(f"moa: the output cannot be written: {why}")
        code = code or UNREADABLE
    raise SystemExit(code)


def _open_what_is_closed() -> None:
    """Give a process that was started without a stream (`>&-`) one that leads nowhere."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115 - for the whole process
