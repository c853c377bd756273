"""
The keywords of decorators and of `instrument`, as types.

They are checked by hand where they are taken (`stack`), for the sake of the message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, TypedDict

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["CallOptions", "ClientOptions", "Number", "Paths", "Text", "TurnOptions"]

Text: TypeAlias = "str | Callable[..., object] | None"
Number: TypeAlias = "int | Callable[..., int | None] | None"
"""What an option may be: a value, or a function of the bound arguments."""
Paths: TypeAlias = "str | Sequence[str]"


class TurnOptions(TypedDict, total=False):
    """The keywords of `turn`; checked by hand, for the sake of the message."""

    session_id: Text
    preset: Text
    tags: Mapping[str, Any] | None


class CallOptions(TypedDict, total=False):
    """The keywords of `reference`, `aggregator` and `instrument`; checked by hand as well."""

    label: Text
    layer: Number
    model: Text
    provider: Text
    session_id: Text
    preset: Text
    messages: str | None
    system: str | None
    tags: Mapping[str, Any] | None


class ClientOptions(CallOptions, total=False):
    """The keywords of `client`: those of `instrument`."""

    turn: Paths
    reference: Paths
    aggregator: Paths
    call: Paths
