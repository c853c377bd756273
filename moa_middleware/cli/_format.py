"""
The format of figures in a column: times, sizes, tokens, prices.

Unknown is said as such, and never shown as nothing.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..read import Cost

__all__ = [
    "cost_text",
    "count_text",
    "counted",
    "duration_text",
    "estimate_text",
    "percent_text",
    "price_text",
    "size_text",
    "time_text",
]

_SECOND, _MINUTE, _HOUR = 1000.0, 60_000.0, 3_600_000.0
_DAYS = 48
"""Hours, from which on days are counted."""


def duration_text(ms: float | None) -> str:
    """Return a duration: `79 ms`, `3.1 s`, `2 m 03 s`, `1 h 05 m`, `3 d 4 h`; `?` if it is unknown."""
    if ms is None:
        return "?"
    if abs(ms) < 999.5:  # noqa: PLR2004 - what rounds to less than a second
        return f"{ms:.1g} ms" if 0.05 <= abs(ms) < 1 else f"{ms:z.0f} ms"  # noqa: PLR2004 - less is noise
    if abs(ms) < _MINUTE - 50:
        return f"{ms / _SECOND:.1f} s"
    sign, ms = ("-", -ms) if ms < 0 else ("", ms)
    if ms < _HOUR - 500:
        minutes, seconds = divmod(round(ms / _SECOND), 60)
        return f"{sign}{minutes} m {seconds:02d} s"
    hours, minutes = divmod(round(ms / _MINUTE), 60)
    if hours >= _DAYS:
        return f"{sign}{hours // 24:,} d {hours % 24} h"
    return f"{sign}{hours:,} h {minutes:02d} m"


def count_text(value: int | None) -> str:
    """Return a count, `?` if it is unknown."""
    return "?" if value is None else f"{value:,}"


def counted(count: int, what: str) -> str:
    """Return a count with its noun: `1 turn`, `2 turns`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def percent_text(part: float | None) -> str:
    """Return a part of 1 in per cent, `-` if it is unknown."""
    return "-" if part is None else f"{100 * part:z.0f} %"


def price_text(value: float | None) -> str:
    """Return a known price as the reader words it, `?` if it is unknown."""
    from ..read import Cost

    if value is None:
        return "?"
    return f"-{Cost(-value)}" if value < 0 else str(Cost(value))


def cost_text(cost: Cost) -> str:
    """Return a cost in short: `$0.0412`, `>= $0.0380`, `unknown`; `~$0.0412` if a part of it is estimated."""
    shown = str(cost).partition(" (")[0]
    return shown.replace("$", "~$", 1) if cost.estimated else shown


def estimate_text(cost: Cost, *, wanted: bool = True) -> str | None:
    """
    Return what a reader should know about the estimated part of a cost, `None` if nothing.

    Args:
        cost: A cost.
        wanted: False if estimates were refused; then nothing is said of how to get them.
    """
    from ..read import has_prices

    if cost.estimated:
        calls = f"{counted(cost.estimated, 'call')} by {cost.price_table}"
        return f"~ {price_text(cost.estimated_usd)} of the cost is estimated: list prices of {calls}"
    if cost.unpriced and wanted and not has_prices():
        return "costs that were not recorded can be estimated: pip install 'moa-middleware[prices]'"
    return None


def time_text(at: float | None, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """Return a moment in local time, `?` if it is unknown or no date."""
    if at is None:
        return "?"
    try:
        return datetime.fromtimestamp(at).astimezone().strftime(form)
    except (ValueError, OverflowError, OSError):
        return "?"


def size_text(count: int) -> str:
    """Return a number of bytes: `812 B`, `1.5 kB`, `2.0 GB`."""
    if count < 1000:  # noqa: PLR2004 - SI
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 999.95:  # noqa: PLR2004 - what rounds to less than the next unit
            return f"{value:.1f} {unit}"
    return f"{value / 1000:,.1f} TB"
