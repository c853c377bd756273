"""
The exit codes of the command, and the one exception that ends it with a message.

It must import nothing, since it says what is missing when typer and rich are.
"""

from __future__ import annotations

__all__ = ["CLEAN", "FINDINGS", "INTERRUPTED", "MISSING", "UNREADABLE", "USAGE", "Failure", "missing_extra"]

CLEAN = 0
FINDINGS = 1
USAGE = 2
UNREADABLE = 3
MISSING = 4
INTERRUPTED = 130


class Failure(Exception):  # noqa: N818 - it ends the command and is not an error of a program
    """
    The command ends here: one line for stderr, and the exit code.

    Args:
        message: What is wrong and how to fix it; from a model or a file only through `safe_text`.
        code: One of the codes above.
    """

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def missing_extra(command: str, extra: str) -> Failure:
    """Return the failure of a command whose optional dependencies are not installed."""
    return Failure(f'{command} needs the extra "{extra}": pip install "moa-middleware[{extra}]"', MISSING)
