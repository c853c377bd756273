"""
The JSON of a line, decoded, also where the fast parser refuses it.

`pydantic_core` parses; what it refuses goes to `json`, which takes lone surrogates. A number of more than 4,300
digits stays text, as the writer leaves it. It must not know what a line says.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import from_json

__all__ = ["parse_json"]

_DIGITS = 4300
"""Digits of an integer at most: the limit of Python's `int()` by default, and that of `pydantic_core`, so both agree."""


def parse_json(line: bytes) -> Any:
    """
    Return the value of a JSON text.

    Args:
        line: The text, in UTF-8.

    Raises:
        ValueError: It is not JSON.
        RecursionError: It is nested too deeply.
    """
    try:
        return from_json(line)
    except ValueError:
        return json.loads(line, parse_int=_integer)


def _integer(digits: str) -> int | str:
    if len(digits.lstrip("-")) > _DIGITS:
        return digits
    try:
        return int(digits)
    except ValueError:
        # `PYTHONINTMAXSTRDIGITS` may allow fewer. The line is whole, so its other keys are read.
        return digits
