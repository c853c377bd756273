"""`moa schema`: what a line may be, as JSON Schema."""

from __future__ import annotations

from typing import Annotated

import typer

from ._out import emit_json
from ._verbs import VERBS

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command(help=f"{VERBS['schema']}\n\nDraft 2020-12; a line is a turn, or a late call.")
def schema(*, as_json: Annotated[bool, typer.Option("--json", help="On one line.")] = False) -> None:
    """Print it."""
    from ..read import json_schema

    emit_json(json_schema(), indent=None if as_json else 2)
