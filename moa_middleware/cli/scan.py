"""`moa scan`: where secrets and personal data stand in traces; never what they are."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Annotated

import typer

from ._exit import FINDINGS, UNREADABLE
from ._format import counted
from ._out import OutputClosed
from ._reading import Json, MaxLineBytes, Paths, exit_on_errors, open_run, progress_bar, show_json
from ._text import one_line
from ._verbs import VERBS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..read import Finding

__all__ = ["app"]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

_HELP = (
    f"{VERBS['scan']}\n\n"
    "The rules are those of MOA_REDACT: secrets, emails, phones. They know forms and names, no meaning: what they do "
    "not find may be there all the same. It ends with 1 if something was found."
)


@app.command(help=_HELP)
def scan(
    paths: Paths = None,
    *,
    rules: Annotated[
        list[str] | None,
        typer.Option("--rule", metavar="RULE", help="secrets, emails or phones; repeatable, all by default."),
    ] = None,
    as_json: Json = False,
    max_line_bytes: MaxLineBytes = None,
) -> None:
    """Scan."""
    from .. import read

    counts: Counter[str] = Counter()
    with exit_on_errors("scan"):
        run = open_run(paths, max_line_bytes)
        try:
            with progress_bar(run) as clear:
                found = read.scan(run, rules=rules or None)
                if as_json:
                    for one in found:
                        counts[one.rule] += one.count
                        clear()
                        show_json(one, flush=True)
                else:
                    _human(found, counts, clear)
        except OutputClosed:
            # The rest is not looked at: that nothing is in it is not said.
            raise typer.Exit(FINDINGS) from None
    if counts:
        raise typer.Exit(UNREADABLE if "unreadable" in counts else FINDINGS)


def _human(found: Iterable[Finding], counts: Counter[str], clear: Callable[[], None]) -> None:
    from ._screen import Screen

    screen = Screen()
    for one in found:
        counts[one.rule] += one.count
        clear()
        if one.rule == "unreadable":
            place = f"{one_line(one.file)}:{one.line}" if one.line else one_line(one.file)
            screen.line((one.rule, "red"), f"  {place}: {one_line(one.path)}")
            continue
        many = f" ({one.count:,})" if one.count > 1 else ""
        where = one_line(one.path) or "(no JSON)"
        screen.line((one.rule.ljust(7), "red"), f"  {one_line(one.file)}:{one.line}  ", (where, "bold"), many)
    clear()
    counts_text = ", ".join(
        f"{counted(count, rule.removesuffix('s'))}" for rule, count in counts.items() if rule != "unreadable"
    )
    if counts_text:
        screen.line()
        screen.line((f"found {counts_text}", "red"))
    elif not counts:
        screen.line(("nothing found", "green"))
