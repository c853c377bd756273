"""The tree of a turn and the turns inside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ._call import TokenUsage
from ._cost import Cost

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ._turn import TurnView

__all__ = ["TurnTree"]


@dataclass(frozen=True, slots=True)
class TurnTree:
    """
    A turn with the turns inside it.

    Attributes:
        turn: The turn; its own figures are of its own calls only.
        children: The turns inside it, in the order in which they were opened.
    """

    turn: TurnView
    children: tuple[TurnTree, ...] = ()

    @classmethod
    def of(cls, levels: Sequence[Sequence[TurnView]]) -> TurnTree:
        """Return the tree of a root and of the levels below it."""
        below: list[TurnTree] = []
        for depth in range(len(levels) - 1, -1, -1):
            below = [cls(turn, _inside(turn, below)) for turn in levels[depth]]
        return below[0]

    def walk(self) -> Iterator[TurnView]:
        """Yield the turn, then those inside it, depth first."""
        yield self.turn
        for child in self.children:
            yield from child.walk()

    @property
    def cost(self) -> Cost:
        """What the turn and those inside it cost together."""
        return sum((turn.cost for turn in self.walk()), Cost())

    @property
    def usage(self) -> TokenUsage:
        """The tokens of the turn and of those inside it."""
        return sum((turn.usage for turn in self.walk()), TokenUsage())


def _inside(turn: TurnView, below: Sequence[TurnTree]) -> tuple[TurnTree, ...]:
    listed = {turn_id: place for place, turn_id in enumerate(turn.turns)}
    own = [
        tree
        for tree in below
        if tree.turn.turn_id in listed or (turn.turn_id is not None and tree.turn.parent_turn_id == turn.turn_id)
    ]
    return tuple(sorted(own, key=lambda tree: listed.get(tree.turn.turn_id or "", len(listed))))
