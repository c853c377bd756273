"""How a call is made on the path of each request: filled first, and frozen after that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from .model import Call

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["new_call"]


# The `__init__` of a frozen dataclass sets each field by a call of `object.__setattr__`, at five times the
# cost of a plain store, and each request of a model takes one call and one reply. So these are made in
# two steps: an object of a class with the same slots that is not frozen is filled, then its class is
# changed, which Python allows where the layout is the same. `shapes.choice` and `shapes.usage` do so too.
# `tests/unit/_capture/shapes/test_request.py` shows that the result is as one that was constructed.
class _CallDraft:
    """A call that is being filled."""

    __slots__ = Call.__slots__


def new_call(  # noqa: PLR0917 - on the path of every call, where keywords cost
    turn_id: str,
    role: str | None,
    label: str | None,
    layer: int | None,
    parent: str | None,
    model: str | None,
    provider: str | None,
    messages: Any,
    params: Mapping[str, Any],
    tags: Mapping[str, Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    binding: Any,
    state: Any,
    *,
    stream: bool,
    is_async: bool,
) -> Call:
    """Return a call that has no id yet; the arguments are the fields of `Call`."""
    draft: Any = _CallDraft()
    draft.id = draft._owner = ""
    draft.turn_id, draft.role, draft.label = turn_id, role, label
    draft.layer, draft.attempt, draft.parent = layer, 1, parent
    draft.model, draft.provider, draft.messages = model, provider, messages
    draft.params, draft.stream, draft.tags = params, stream, tags
    draft.args, draft.kwargs, draft._binding = args, kwargs, binding
    draft._state, draft.is_async = state, is_async
    draft._taps, draft._outer = [], 0
    draft._guard = None
    draft.__class__ = Call
    return cast("Call", draft)
