"""
`moa run`: a program with what `MOA_INSTRUMENT` names instrumented.

The command line hands it to `_run` before typer is imported: a program that runs inside a command
parser would lose its streams, its Ctrl-C and its exit code. This module is its place in the help.
"""

from __future__ import annotations

from typing import Annotated

import typer

from ._exit import USAGE, Failure
from ._verbs import VERBS

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(help=VERBS["run"], context_settings={"ignore_unknown_options": True})
def run(program: Annotated[list[str], typer.Argument(metavar="SCRIPT [ARGS]...")]) -> None:
    """Say how it is written; only options before the verb lead here."""
    raise Failure(f"moa run: write it first, moa run {program[0]} ...", USAGE)
