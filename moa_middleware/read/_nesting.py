"""
The calls inside calls: which of them stand for one request each, and which call with a role is around a request.

A decorated function that makes several requests, a retry loop for example, has a record of its own, and
each request inside has one that names it as `parent`. The outer call is then the sum of the others.
"""

from __future__ import annotations

import math
from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._call import CallView

__all__ = ["Nesting"]


class Nesting:
    """
    The calls of a turn by what is inside what.

    A call with a single other one inside is one record of both; next to it are at most the earlier
    attempts of the inner one. So a call is a sum if two calls inside it are first attempts.

    Attributes:
        requests: The calls that stand for one request each: all but those that are sums of others.
        sums: Those of the others that have a role: references, the aggregator, or a role of the user's.
    """

    def __init__(self, calls: Sequence[CallView], references: Sequence[CallView], aggregator: CallView | None) -> None:
        """Take the calls of a turn: all of them, and those that the record lists as references and aggregator."""
        self.requests = list(calls)
        self.sums: list[CallView] = []
        self._listed: set[int] = set()
        self._around: dict[int, CallView] = {}
        inside: dict[str, list[CallView]] = defaultdict(list)
        for call in calls:
            parent = call._data.get("parent")
            if type(parent) is str:
                inside[parent].append(call)
        if not inside:
            return
        sums: set[int] = set()
        by_id = {call.call_id: call for call in calls}
        for parent, children in inside.items():
            is_sum = sum((child.attempt or 1) == 1 for child in children) > 1
            outer = by_id.get(parent)
            if outer is None and is_sum:
                # The call around them may have been folded into one around it, whose id is another.
                outer = _shortest_around(children, calls)
            if outer is None:
                continue
            if is_sum:
                sums.add(id(outer))
            for child in children:
                self._around[id(child)] = outer
        self._listed = {id(call) for call in references} | {id(aggregator)}
        self.requests = [call for call in calls if id(call) not in sums]
        self.sums = [call for call in calls if id(call) in sums and self._has_role(call)]

    def _has_role(self, call: CallView) -> bool:
        return id(call) in self._listed or call.role not in (None, "call")

    def outer(self, call: CallView) -> CallView | None:
        """Return the nearest call with a role around a call."""
        seen = {id(call)}  # a file may hold anything, a call inside itself too
        found = self._around.get(id(call))
        while found is not None and id(found) not in seen:
            if self._has_role(found):
                return found
            seen.add(id(found))
            found = self._around.get(id(found))
        return None

    def named(self, call: CallView) -> CallView:
        """Return the call whose role and label a request has: its own, or those of the call around it that has a role."""
        if not self._around or self._has_role(call):
            return call
        return self.outer(call) or call

    def path(self, call: CallView) -> list[CallView]:
        """Return a call behind those with a role around it, the outermost first."""
        found = [call]
        while (outer := self.outer(found[0])) is not None and all(outer is not one for one in found):
            found.insert(0, outer)
        return found


def _shortest_around(children: Sequence[CallView], calls: Sequence[CallView]) -> CallView | None:
    """Return the shortest call that ran while all the others did."""
    starts = [child.started_at for child in children if child.started_at is not None]
    ends = [child.ended_at for child in children if child.ended_at is not None]
    if not starts or not ends:
        return None
    inner = {id(child) for child in children}
    found = [
        call
        for call in calls
        if id(call) not in inner
        and call.started_at is not None
        and call.started_at <= min(starts)
        and (call.ended_at or math.inf) >= max(ends)
    ]
    return min(found, key=lambda call: call.duration_ms or math.inf, default=None)
