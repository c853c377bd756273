"""
The index of turns: one light row each, which the page searches without the turn itself.

What is the same in many rows (sessions, presets, models) is in a table, and in the row its place.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ._cost_words import cost_words

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..read import TurnView

__all__ = ["Index"]

_HEAD = 160
"""Characters of question and answer in the list, which can be searched."""
_SPACE = re.compile(r"\s+")


class Index:
    """
    The rows in the making.

    Args:
        content: Whether the beginnings of question and answer go in.
    """

    def __init__(self, *, content: bool) -> None:
        self._content = content
        self.tables: dict[str, list[str | None]] = {"sessions": [], "presets": [], "models": []}
        self._places: dict[tuple[str, str | None], int] = {}
        self.rows: list[dict[str, Any]] = []
        self._ids: set[str] = set()

    def unique_id(self, id: str) -> str:  # noqa: A002 - its name everywhere
        """Return an id that no other row has: a redaction, or an address, makes different ones alike."""
        number, found = 1, id
        while (written := found.encode("utf-16", "surrogatepass").decode("utf-16", "replace")) in self._ids:
            number += 1
            found = f"{id} ({number})"
        self._ids.add(written)
        return found

    def _place(self, table: str, name: str | None) -> int:
        place = self._places.get((table, name))
        if place is None:
            place = self._places[table, name] = len(self.tables[table])
            self.tables[table].append(name)
        return place

    def subset(self, places: Sequence[int]) -> dict[str, Any]:
        """Return the tables and rows of some turns alone."""
        tables: dict[str, list[str | None]] = {name: [] for name in self.tables}
        moved: dict[tuple[str, int], int] = {}

        def move(name: str, place: int) -> int:
            found = moved.get((name, place))
            if found is None:
                found = moved[name, place] = len(tables[name])
                tables[name].append(self.tables[name][place])
            return found

        rows = [
            {
                **row,
                "s": move("sessions", row["s"]),
                "p": move("presets", row["p"]),
                "m": [move("models", model) for model in row["m"]],
            }
            for row in (self.rows[place] for place in places)
        ]
        return {**tables, "rows": rows}

    def add(self, turn: TurnView, shown: TurnView, id: str) -> None:  # noqa: A002 - its name everywhere
        """Take in a turn as it was read, as it may be shown, and its id on the page."""
        cost = turn.cost
        models = dict.fromkeys(call.model for call in shown.all_calls if call.model is not None)
        row: dict[str, Any] = {
            "id": id,
            "s": self._place("sessions", shown.session_id),
            "n": shown.number,
            "p": self._place("presets", shown.preset),
            "m": [self._place("models", name) for name in models],
            "o": shown.outcome,
            "at": turn.at,
            "ms": turn.duration_ms,
            "c": turn.call_count,
            "usd": cost.total_usd,
            "cost": cost_words(cost),
        }
        amiss = {
            "bad": turn.failed,
            "f": turn.failed_calls,
            "h": turn.handled_calls,
            "l": turn.late_calls,
            "w": turn.pending_calls,
        }
        row |= {key: value for key, value in amiss.items() if value}
        if shown.parent_turn_id is not None:
            row["up"] = shown.parent_turn_id
        if shown.turns:
            row["in"] = shown.turns
        if self._content:
            row["q"], row["a"] = _head(shown.question), _head(shown.answer)
        self.rows.append(row)


def _head(text: str) -> str:
    head = _SPACE.sub(" ", text[: 4 * _HEAD]).strip()
    return head if len(head) <= _HEAD and len(text) <= 4 * _HEAD else f"{head[:_HEAD]}…"
