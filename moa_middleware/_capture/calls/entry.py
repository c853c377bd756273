"""
What happens when a wrapped function is called.

A wrapper that has nothing to do calls straight through. Otherwise it makes the conversation of the
call or turn and starts the driver that fits the function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..flow.driver import drive_async, start_sync
from ..flow.made import made_call
from ..log import count_fault
from ..scope import NO_TAGS, current
from ..shapes.request import recorder_of
from ..turns.call_state import CallSlot
from ..turns.turn import Turn, current_turn, turn_for_call
from . import prepared as _prepared
from .call import CallTalk
from .function import Known, Options, layer_of_option, said, sdk_and_endpoint, text_of, turn_tags
from .turn_run import TurnTalk

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..shapes.request import Request, RequestSpec
    from ..turns.turn import Recording, StackLike

__all__ = ["call_through"]


def _record_iterator(
    spec: RequestSpec, request: Request, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Request, tuple[Any, ...], Mapping[str, Any]]:
    """Pass an iterator of messages on through one that keeps what the SDK pulls."""
    recorder = recorder_of(request.messages, request.system)
    if recorder is None:
        return request, args, kwargs
    args, kwargs = spec.put(args, kwargs, request.place, recorder)
    return request._replace(messages=recorder), args, kwargs


def _call_talk(  # noqa: PLR0917 - on the path of every call, where keywords cost
    engine: StackLike,
    options: Options,
    known: Known,
    wrapped: Callable[..., Any],
    instance: object,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    recording: Recording | None,
) -> CallTalk:
    """Make the conversation of a call."""
    # A call inside a call of the same stack: middleware has had it, further out.
    nested = _is_nested(engine)
    spec = known.spec
    named = known.bind(args, kwargs)
    request, args, kwargs = _record_iterator(spec, spec.read(named), args, kwargs)
    turn = turn_for_call()
    if turn is None:
        turn = Turn(turn_tags(options, instance, named), recording, implicit=True)
    here = current()
    if here is not None and here.turn is turn:
        slot = CallSlot(turn, here.parent, here.order)
    else:
        slot = CallSlot(turn, None, None)
    tags = here.tags if here is not None else NO_TAGS
    role = None if tags.role else options.role
    slot.role = tags.role or (text_of(said(role, instance, named)) if callable(role) else role)
    slot.role_source = "tag" if tags.role else "declared" if slot.role else None
    slot.layer = tags.layer if tags.layer is not None else layer_of_option(said(options.layer, instance, named))
    slot.label = text_of(tags.label or said(options.label, instance, named))
    slot.model = request.model or text_of(said(options.model, instance, named))
    slot.provider, slot.endpoint = sdk_and_endpoint(instance, wrapped)
    if slot.endpoint is not None and turn.recording is not None:
        slot.client = getattr(instance, "_client", None)
    slot.provider = text_of(said(options.provider, instance, named)) or slot.provider
    slot.name = known.name
    slot.engine = engine
    slot.tags = {**(options.tags or {}), **tags.own}
    slot.request = request
    call = made_call(
        turn.id,
        slot.role,
        slot.label or slot.model or known.name,
        slot.layer,
        slot.parent.id if slot.parent is not None else None,
        slot.model,
        slot.provider,
        request.messages,
        request.params,
        slot.tags,
        args,
        kwargs,
        spec,
        stream=request.stream,
    )
    return CallTalk(
        call=call,
        slot=slot,
        known=known,
        fn=wrapped,
        owner=instance,
        middleware=() if nested else engine.middleware,
        observers=() if nested else engine.observers,
    )


def call_through(  # noqa: PLR0917 - on the path of every call, where keywords cost
    engine: StackLike,
    options: Options,
    cache: dict[str, Known],
    path: str,
    wrapped: Callable[..., Any],
    instance: object,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Run one invocation of a wrapped function."""
    is_turn = options.kind == "turn"
    turn = None if is_turn else turn_for_call()
    if turn is None and options.inside:
        return wrapped(*args, **kwargs)
    recording = engine.recording() if turn is None else turn.recording
    if recording is None and not engine.middleware and not engine.observers and not _finishes(options):
        return wrapped(*args, **kwargs)
    known = cache.get("")
    if known is None:
        known = cache[""] = Known(wrapped, options, path)
    if is_turn and _joins(instance, known.name, wrapped):
        return wrapped(*args, **kwargs)

    def make() -> Any:
        try:
            if is_turn:
                return _turn_talk(options, known, wrapped, instance, args, kwargs, recording)
            return _call_talk(engine, options, known, wrapped, instance, args, kwargs, recording)
        except Exception as error:
            count_fault("entry", error)
            return None

    if known.returns_coroutine:
        coroutine: Any = _later(make, wrapped, args, kwargs)
        coroutine.__name__, coroutine.__qualname__ = known.name, known.qualname
        return coroutine
    talk = make()
    if talk is None:
        return wrapped(*args, **kwargs)
    return start_sync(talk.talk, async_stream=known.shape.is_generator and known.shape.is_async)


def _is_nested(engine: StackLike) -> bool:
    """Whether the running code is inside a call of this stack."""
    here = current()
    attempt = here.parent if here is not None else None
    while attempt is not None:
        if attempt.slot.engine is engine:
            return True
        attempt = attempt.slot.parent
    return False


async def _later(make: Callable[[], Any], wrapped: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Do everything, the start time too, when the coroutine runs."""
    talk = make()
    if talk is None:
        return await wrapped(*args, **kwargs)
    return (await drive_async(talk.talk)).value


def _joins(instance: object, name: str, wrapped: Callable[..., Any]) -> bool:
    """Whether this is `super().create()` of the turn that is open: the same turn."""
    turn = current_turn()
    here = current()
    if turn is None or instance is None or here is None or here.parent is not None:
        return False
    fn = getattr(wrapped, "__func__", wrapped)
    # A recursion begins at the function that the turn began at; `super()` gets to another one,
    # as often as it likes.
    return any(entered[:2] == (id(instance), name) and entered[2] is not fn for entered in turn.entered)


def _turn_talk(  # noqa: PLR0917 - on the path of every call, where keywords cost
    options: Options,
    known: Known,
    wrapped: Callable[..., Any],
    instance: object,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    recording: Recording | None,
) -> TurnTalk | None:
    """Make the conversation of a turn, `None` where it goes on in the one around."""
    spec = known.spec
    named = known.bind(args, kwargs)
    phase = said(options.prepares, instance, named) if options.prepares is not None else None
    halves = phase is not None and phase is not False
    if halves and _is_within(instance, known.name):
        return None  # a client that prepares inside its own turn
    request, args, kwargs = _record_iterator(spec, spec.read(named), args, kwargs)
    prepared = _prepared.find(phase) if halves and phase is not True else None
    turn = (
        prepared.turn if prepared is not None else Turn(turn_tags(options, instance, named), recording, request=request)
    )
    if instance is not None:
        turn.entered.append((id(instance), known.name, getattr(wrapped, "__func__", wrapped)))
    return TurnTalk(turn, wrapped, args, kwargs, prepares=phase is True, prepared=prepared)


def _finishes(options: Options) -> bool:
    """Whether the call may finish a turn that was prepared while somebody recorded."""
    return options.prepares is not None and _prepared.waiting()


def _is_within(instance: object, name: str) -> bool:
    """Whether this is the same method of the same client as a turn around that is open."""
    turn, here = current_turn(), current()
    if turn is None or instance is None or here is None or here.parent is not None:
        return False
    return any(entered[:2] == (id(instance), name) for entered in turn.entered)
