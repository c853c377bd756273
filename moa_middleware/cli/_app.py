"""
The Typer application: what `moa` itself takes, and its verbs by name.

A verb is a module of this package with an `app`, a `typer.Typer` of its own. It is imported when it
is called for, and must import what is heavy (openai, rich, the library's wings) only when it runs.
"""

from __future__ import annotations

from importlib import import_module
from io import StringIO
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from ._help import help_text
from ._out import emit, note
from ._verbs import VERBS

__all__ = ["run"]


class _Verbs(TyperGroup):
    """The verbs, imported when they are asked for. Typer's names for a context differ by version."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - as in the base class
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        # Of a name that is none, the base class looks for one like it among those that are loaded.
        for name in (cmd_name,) if cmd_name in VERBS else VERBS:
            if name not in self.commands:
                module = import_module(f".{name}", __package__)
                self.commands[name] = get_command(module.app)
        return super().get_command(ctx, cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - as in the base class
        formatter.write(f"{help_text()}\n")


_app = typer.Typer(
    cls=_Verbs,
    add_completion=False,
    rich_markup_mode=None,  # its boxes cost 0.3 s of imports
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # they show the values of variables
    context_settings={"help_option_names": ["--help", "-h"]},
)


def _show_version(asked: bool) -> None:  # noqa: FBT001 - typer's callback
    if asked:
        from .._version import __version__

        emit(f"moa-middleware {__version__}")
        raise typer.Exit


@_app.callback()
def _moa(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version, and exit.")
    ] = False,
) -> None:
    """Traces of Mixture-of-Agents clients: what every model saw, what it said, and what it cost."""


def run(args: list[str]) -> int:
    """
    Run a command line.

    Returns:
        The exit code.

    Raises:
        Failure: A verb ends with a message.
    """
    # Typer knows no option whose value may be left out: `--failed` alone has its first one.
    last = args.index("--") if "--" in args else len(args)
    args = ["--failed=any" if arg == "--failed" and place < last else arg for place, arg in enumerate(args)]
    try:
        # Not `_app()`, which would replace the interpreter's hook for exceptions.
        code = get_command(_app).main(args, prog_name="moa", standalone_mode=False)
    except Exception as error:
        # A class of click's, or of the copy that typer brings. Its text repeats arguments, which may be
        # names of files.
        show, code = getattr(error, "show", None), getattr(error, "exit_code", None)
        if show is None or code is None:
            raise
        message = StringIO()
        show(file=message)
        note(message.getvalue().rstrip("\n"))
    return code if isinstance(code, int) else 0
