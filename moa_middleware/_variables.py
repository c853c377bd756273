"""
Values of environment variables, as their writer meant them.

Env files, mounted secrets and shells add newlines, blanks and quotes that are not seen. This module imports
nothing: the live path reads variables while traces are off.
"""

from __future__ import annotations

__all__ = ["cleaned"]


def cleaned(value: str) -> str:
    """Return a value without blanks around it and without one pair of quotes."""
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1].strip()
    return value
