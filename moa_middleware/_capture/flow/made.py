"""
Calls and replies made in a fifth of the time.

`__init__` of a frozen dataclass sets each field by a call of `object.__setattr__`: 2 µs for a reply,
and each call of a model makes one of both. A class of the same slots that is not frozen sets them by
themselves; its object then takes on the class that it was made for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from .model import Call, Reply

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .model import Binding, Usage

__all__ = ["made_call", "made_reply"]


class _Reply:
    __slots__ = Reply.__slots__


class _Call:
    __slots__ = Call.__slots__


def made_reply(  # noqa: PLR0917 - on the path of every call, where keywords cost
    text: str | None,
    tool_calls: Sequence[Any],
    reasoning: str | None,
    refusal: str | None,
    choices: Sequence[Mapping[str, Any]],
    finish_reason: str | None,
    usage: Usage | None,
    cost_usd: float | None,
    details: Mapping[str, Any],
) -> Reply:
    """Return a provider's reply that was completed; the arguments are the fields of `Reply`."""
    made: Any = _Reply()
    made.text = text
    made.tool_calls = tool_calls
    made.reasoning = reasoning
    made.refusal = refusal
    made.choices = choices
    made.finish_reason = finish_reason
    made.usage = usage
    made.cost_usd = cost_usd
    made.outcome = "completed"
    made.error = made.duration_ms = made.first_chunk_ms = made.chunks = made.raw = None
    made.source = "provider"
    made._details = details
    made.__class__ = Reply
    return cast("Reply", made)


def made_call(  # noqa: PLR0917 - as above
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
    binding: Binding,
    *,
    stream: bool,
) -> Call:
    """Return a call that has no id yet; the arguments are the fields of `Call`."""
    made: Any = _Call()
    made.id = made._owner = ""
    made.turn_id = turn_id
    made.role = role
    made.label = label
    made.layer = layer
    made.attempt = 1
    made.parent = parent
    made.model = model
    made.provider = provider
    made.messages = messages
    made.params = params
    made.stream = stream
    made.tags = tags
    made.args = args
    made.kwargs = kwargs
    made._binding = binding
    made._taps = []
    made._outer = 0
    made._guard = made._entry = None
    made.__class__ = Call
    return cast("Call", made)
