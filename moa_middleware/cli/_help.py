"""
The help of `moa` itself, made without typer, whose import takes longer than Python's own start.

It must import nothing but the table of the verbs.
"""

from __future__ import annotations

import shutil
import textwrap

from ._verbs import VERBS

__all__ = ["help_text"]

_ABOUT = "Traces of Mixture-of-Agents clients: what every model saw, what it said, and what it cost."
_OPTIONS = {"--version": "Show the version, and exit.", "-h, --help": "Show this message and exit."}
_AFTER = "moa VERB --help says more of each."
_WIDEST = 80


def help_text() -> str:
    """Return the help, for a terminal of this width, without a newline at its end."""
    width = max(40, min(_WIDEST, shutil.get_terminal_size().columns)) - 2
    parts = [
        "Usage: moa [OPTIONS] COMMAND [ARGS]...\n",
        textwrap.indent(textwrap.fill(_ABOUT, width - 2), "  "),
        "\nOptions:",
    ]
    parts += _listed(_OPTIONS, width)
    parts += ["\nCommands:", *_listed(VERBS, width), f"\n  {_AFTER}"]
    return "\n".join(parts)


def _listed(rows: dict[str, str], width: int) -> list[str]:
    first = max(map(len, rows)) + 4
    return [
        textwrap.fill(text, width, initial_indent=f"  {name}".ljust(first), subsequent_indent=" " * first)
        for name, text in rows.items()
    ]
