"""What a scenario is, and the list of all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ._caller import User
    from ._plan import Capability

__all__ = ["SCENARIOS", "Body", "ConsumerError", "Scenario", "scenario"]

Body: TypeAlias = "Callable[[User], Awaitable[None]]"


@dataclass(frozen=True, slots=True)
class Scenario:
    """
    A way to use a client.

    Attributes:
        name: The name of the function.
        needs: What the harness has to support; `sync` or `async` only where it makes sense in that way alone.
        body: What the caller does.
    """

    name: str
    needs: frozenset[Capability]
    body: Body


SCENARIOS: list[Scenario] = []


def scenario(*needs: Capability) -> Callable[[Body], Body]:
    """Register a scenario that needs these capabilities."""

    def register(body: Body) -> Body:
        name: str = body.__name__
        SCENARIOS.append(Scenario(name, frozenset(needs), body))
        return body

    return register


class ConsumerError(Exception):
    """The caller's own error."""
