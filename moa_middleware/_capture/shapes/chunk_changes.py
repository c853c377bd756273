"""
What a middleware changed in a chunk: which kinds of content, and which of the tool calls in it.

This module must not know where an SDK has them; the shapes write them back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .choice import KINDS
from .fields import get

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..flow.model import Chunk

__all__ = ["changed_kinds", "paired", "parts_of_call"]


def parts_of_call(call: Any) -> dict[str, Any]:
    """Return id, name and arguments of a tool call, or of a piece of one; `None` for what it leaves as it is."""
    function = get(call, "function")
    holder = call if function is None else function
    return {"id": get(call, "id"), "name": get(holder, "name"), "arguments": get(holder, "arguments")}


def paired(before: Sequence[Any], after: Sequence[Any]) -> list[tuple[Any, Any]] | None:
    """
    Return each tool call of a chunk with what a middleware made of it, `None` where it took it out.

    Args:
        before: The calls as the tap saw them.
        after: The calls of the chunk that it returned.

    Returns:
        The pairs; `None` if the middleware added a call.
    """
    if len(before) == len(after):
        # By place: Ollama sends every call under the same index.
        return list(zip(before, after, strict=True))
    left = [*after]
    pairs = []
    for call in before:
        found = next((one for one in left if _is_same(call, one)), None)
        left = [one for one in left if one is not found]
        pairs.append((call, found))
    return None if left else pairs


def _is_same(call: Any, other: Any) -> bool:
    keys = ("id", "index") if get(other, "id") is not None else ("index",)
    return all(get(call, key) == get(other, key) for key in keys)


def changed_kinds(before: Chunk, after: Chunk) -> Iterator[str]:
    """Yield the kinds of content in which two chunks differ."""
    for kind in KINDS:
        if getattr(before, kind) != getattr(after, kind):
            yield kind
    if before.tool_calls is after.tool_calls:
        return
    pairs = paired([*filter(_says, before.tool_calls)], [*filter(_says, after.tool_calls)])
    if pairs is None or any(one is None or not _leaves(call, one) for call, one in pairs):
        yield "tool_calls"


def _says(call: Any) -> bool:
    return any(parts_of_call(call).values())


def _leaves(call: Any, other: Any) -> bool:
    """Return True if the second call changes nothing of the first."""
    before, after = parts_of_call(call), parts_of_call(other)
    return all(value is None or value == before[name] for name, value in after.items())
