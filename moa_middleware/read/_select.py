"""The filters that choose turns, as every reading of a run takes them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from typing_extensions import TypedDict

from ..errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._turn import TurnView

__all__ = ["Filters", "Moment", "TurnFilter", "parse_moment"]

Moment: TypeAlias = "float | datetime | date | str"
"""Epoch seconds, a datetime (a naive one is local), a date, or ISO 8601 text."""


def parse_moment(moment: Moment, name: str = "time") -> float:
    """
    Return a moment in epoch seconds.

    Args:
        moment: Epoch seconds; a `datetime`, local if it has no zone; a `date`, at its local midnight; or text
            in the form of ISO 8601.
        name: What to call it in an error.

    Raises:
        QueryError: It is none of these.
    """
    if isinstance(moment, str):
        text = moment
        try:
            moment = float(text)
        except ValueError:
            try:
                moment = datetime.fromisoformat(text)
            except ValueError:
                raise QueryError(
                    f"{name}: need epoch seconds or ISO 8601, 2026-11-30T12:00Z say, not {text!r}"
                ) from None
    try:
        if isinstance(moment, datetime):
            return moment.timestamp()
        if isinstance(moment, date):
            return datetime(moment.year, moment.month, moment.day).astimezone().timestamp()
        if not isinstance(moment, bool) and isinstance(moment, int | float) and math.isfinite(moment):
            return float(moment)
    except (ValueError, OverflowError, OSError):
        # The first and the last days that a date can name have no local midnight in epoch seconds.
        raise QueryError(f"{name}: {moment} is too far away to be a time") from None
    given = repr(moment) if isinstance(moment, float) else type(moment).__name__
    raise QueryError(f"{name}: need epoch seconds, a datetime or ISO 8601, not {given}")


def day_of(moment: float | None) -> str | None:
    """Return the UTC date of a moment in epoch seconds, as ISO 8601."""
    if moment is None:
        return None
    try:
        return datetime.fromtimestamp(moment, UTC).date().isoformat()
    except (ValueError, OverflowError, OSError):
        return None


class Filters(TypedDict, total=False):
    """The filters of a reading, by keyword: see `Run.turns`."""

    session: str | Iterable[str] | None
    preset: str | Iterable[str] | None
    model: str | Iterable[str] | None
    since: Moment | None
    until: Moment | None
    failed: bool | Literal["unhandled"] | None
    min_cost: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFilter:
    """
    What a turn must meet; `None` is met by every turn.

    Attributes:
        session: Its session's id, or one of several.
        preset: Its preset, or one of several.
        model: A model that one of its calls asked, or one of several; `*` stands for anything.
        since: It began then or later.
        until: It began before.
        failed: True if it, or one of its calls, failed; `unhandled` leaves out calls whose function caught the error.
        min_cost: Its cost, as far as it is recorded or estimated, is so much or more, in USD.
    """

    session: str | Iterable[str] | None = None
    preset: str | Iterable[str] | None = None
    model: str | Iterable[str] | None = None
    since: Moment | None = None
    until: Moment | None = None
    failed: bool | Literal["unhandled"] | None = None
    min_cost: float | None = None

    def compiled(self) -> Any:
        """
        Return a function from a turn to whether it is wanted, `None` if every one is.

        Raises:
            QueryError: A filter has a value that it cannot use.
        """
        tests: list[Any] = []
        if self.session is not None:
            sessions = _names(self.session, "session")
            tests.append(lambda turn: turn.session_id in sessions)
        if self.preset is not None:
            presets = _names(self.preset, "preset")
            tests.append(lambda turn: turn.preset in presets)
        if self.since is not None:
            since = parse_moment(self.since, "since")
            tests.append(lambda turn: turn.at is not None and turn.at >= since)
        if self.until is not None:
            until = parse_moment(self.until, "until")
            tests.append(lambda turn: turn.at is not None and turn.at < until)
        if self.model is not None:
            wanted = _pattern(_names(self.model, "model"))
            tests.append(lambda turn: any(wanted(call.model or "") for call in turn.all_calls))
        if self.failed is not None:
            tests.append(_failed_test(self.failed))
        if self.min_cost is not None:
            least = self.min_cost
            if isinstance(least, bool) or not isinstance(least, int | float) or math.isnan(least):
                given = "nan" if isinstance(least, float) else type(least).__name__
                raise QueryError(f"min_cost: need USD, not {given}")
            tests.append(lambda turn: (turn.cost.total_usd or 0.0) >= least)
        if not tests:
            return None

        def wants(turn: TurnView) -> bool:
            return all(test(turn) for test in tests)

        return wants


def _failed_test(failed: object) -> Callable[[TurnView], bool]:
    """
    Return a function that returns True for a turn that failed, or did not, as was asked.

    Raises:
        QueryError: It is neither a flag nor `unhandled`.
    """
    if failed == "unhandled":
        return lambda turn: turn.failed or turn.failed_calls > turn.handled_calls
    if not isinstance(failed, bool):
        raise QueryError(f"failed: need True, False or 'unhandled', not {failed!r}")
    return lambda turn: failed is (turn.failed or turn.failed_calls > 0)


def _names(given: str | Iterable[str], name: str) -> frozenset[str]:
    if isinstance(given, str):
        return frozenset({given})
    if not isinstance(given, Iterable):
        raise QueryError(f"{name}: need a name, or several, not {type(given).__name__}")
    return frozenset(given)


def _pattern(names: frozenset[str]) -> Any:
    plain = frozenset(name for name in names if "*" not in name)
    loose = [".*".join(map(re.escape, name.split("*"))) for name in names - plain]
    if not loose:
        return plain.__contains__
    matches = re.compile("|".join(loose), re.DOTALL).fullmatch
    return lambda model: model in plain or matches(model) is not None
