"""The options that say which turns are read and how they are grouped: filters as `Run.turns` takes them."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ..read import Filters

__all__ = [
    "By",
    "Failed",
    "FailedTurns",
    "GroupBy",
    "MinCost",
    "Model",
    "Preset",
    "Session",
    "Since",
    "Until",
    "filters",
]

Session = Annotated[list[str] | None, typer.Option("--session", metavar="ID", help="Of this session; repeatable.")]
Preset = Annotated[list[str] | None, typer.Option("--preset", metavar="NAME", help="Of this preset; repeatable.")]
Model = Annotated[
    list[str] | None, typer.Option("--model", metavar="NAME", help="That asked this model, * for anything; repeatable.")
]
Since = Annotated[
    str | None, typer.Option("--since", metavar="TIME", help="That began then or later: ISO 8601, or 2h, 7d ago.")
]
Until = Annotated[str | None, typer.Option("--until", metavar="TIME", help="That began before.")]


class FailedTurns(StrEnum):
    """What `--failed` may name; the command line gives the first where no value is named."""

    any = "any"
    unhandled = "unhandled"


Failed = Annotated[
    FailedTurns | None,
    typer.Option(
        "--failed",
        metavar="[=unhandled]",
        show_choices=False,
        help="Only turns that failed or had a failed call; unhandled: not where the function caught its error.",
    ),
]
MinCost = Annotated[
    float | None,
    typer.Option("--min-cost", metavar="USD", help="That cost so much or more, as far as is recorded or estimated."),
]


class GroupBy(StrEnum):
    """What `read.GROUPINGS` has, so that the help can name it without the reader."""

    model = "model"
    role = "role"
    label = "label"
    provider = "provider"
    preset = "preset"
    session = "session"
    outcome = "outcome"
    day = "day"
    none = "none"


By = Annotated[GroupBy, typer.Option("--by", help="What makes a row.")]


def filters(
    *,
    session: list[str] | None,
    preset: list[str] | None,
    model: list[str] | None,
    since: str | None,
    until: str | None,
    failed: FailedTurns | None,
    min_cost: float | None,
) -> Filters:
    """
    Return the filters that were asked for.

    Raises:
        QueryError: A time is none.
    """
    return {
        "session": session or None,
        "preset": preset or None,
        "model": model or None,
        "since": _moment(since, "--since"),
        "until": _moment(until, "--until"),
        "failed": None if failed is None else "unhandled" if failed is FailedTurns.unhandled else True,
        "min_cost": min_cost,
    }


def _moment(text: str | None, name: str) -> float | None:
    """Return a moment, or so long ago, in epoch seconds."""
    if text is None:
        return None
    from ..errors import QueryError
    from ..read import parse_age, parse_moment

    try:
        return time.time() - parse_age(text)
    except QueryError:
        return parse_moment(text, name)
