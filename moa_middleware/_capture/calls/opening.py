"""The state of a call at its entry: what options, tags and arguments say of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..flow.model import new_call
from ..scope import NO_TAGS
from ..shapes.request import recorder_of
from ..turns.call_state import CallSlot
from ..turns.turn import Turn
from .function import layer_of_option, said, text_of, turn_tags

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..flow.model import Call
    from ..scope import Scope
    from ..shapes.request import Request, RequestSpec
    from ..turns.turn import Recording
    from .function import Known, Options

__all__ = ["call_of", "open_call", "record_iterator"]


def record_iterator(
    spec: RequestSpec, request: Request, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Request, tuple[Any, ...], Mapping[str, Any]]:
    """Pass an iterator of messages on through one that keeps what the SDK pulls."""
    recorder = recorder_of(request.messages, request.system)
    if recorder is None:
        return request, args, kwargs
    args, kwargs = spec.put(args, kwargs, request.place, recorder)
    return request._replace(messages=recorder), args, kwargs


def open_call(  # noqa: PLR0917 - on the path of every call, where keywords cost
    stack: object,
    options: Options,
    known: Known,
    wrapped: Callable[..., Any],
    instance: object,
    named: dict[str, Any],
    request: Request,
    here: Scope | None,
    turn: Turn | None,
    recording: Recording | None,
) -> CallSlot:
    """
    Return the state of a call that begins, in `turn` or in a turn of its own.

    Tags win over what the decorator says. Its options are functions for few calls, so each is
    looked at only where it is set.
    """
    if turn is None:
        turn = Turn(turn_tags(options, instance, named), recording, implicit=True)
    if here is not None and here.turn is turn:
        slot = CallSlot(turn, here.parent, here.order)
    else:
        slot = CallSlot(turn, None, None)
    tags = here.tags if here is not None else NO_TAGS
    if tags.role:
        slot.role, slot.role_source = tags.role, "tag"
    elif options.role is not None:
        role = options.role
        slot.role = text_of(said(role, instance, named)) if callable(role) else role
        slot.role_source = "declared" if slot.role else None
    if tags.layer is not None:
        slot.layer = tags.layer
    elif options.layer is not None:
        slot.layer = layer_of_option(said(options.layer, instance, named))
    if tags.label:
        slot.label = tags.label
    elif options.label is not None:
        slot.label = text_of(said(options.label, instance, named))
    slot.model = request.model
    if not slot.model and options.model is not None:
        slot.model = text_of(said(options.model, instance, named))
    slot.provider, slot.endpoint = known.sdk_and_endpoint(instance, wrapped)
    if slot.endpoint is not None and turn.recording is not None:
        slot.client = getattr(instance, "_client", None)
    if options.provider is not None:
        slot.provider = text_of(said(options.provider, instance, named)) or slot.provider
    slot.name = known.name
    slot.engine = stack
    if options.tags or tags.own:
        slot.tags = {**(options.tags or {}), **tags.own}
    slot.request = request
    return slot


def call_of(slot: CallSlot, known: Known, request: Request, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
    """Return a call as middleware sees it."""
    return new_call(
        slot.turn.id,
        slot.role,
        slot.label or slot.model or known.name,
        slot.layer,
        slot.parent.id if slot.parent is not None else None,
        slot.model,
        slot.provider,
        request.messages,
        request.params,
        slot.tags or {},
        args,
        kwargs,
        known.spec,
        stream=request.stream,
    )
