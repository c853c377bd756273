"""
What happens when a wrapped function is called.

A wrapper that has nothing to do calls straight through. Otherwise it makes the conversation of the
call or turn and starts the driver that fits the function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..flow.driver import drive_async, start_sync
from ..log import count_fault
from ..scope import current
from ..turns.turn import Turn, current_turn, turn_for_call
from . import prepared as _prepared
from . import straight, turn_run
from .call import CallTalk
from .function import Known, Options, said, turn_tags
from .opening import call_of, open_call, record_iterator
from .turn_run import TurnTalk

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..turns.turn import Recording, StackLike

__all__ = ["call_through"]


def _call_talk(  # noqa: PLR0917 - on the path of every call, where keywords cost
    stack: StackLike,
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
    nested = _is_nested(stack)
    spec = known.spec
    named = known.bind(args, kwargs)
    request, args, kwargs = record_iterator(spec, spec.read(named), args, kwargs)
    here = current()
    slot = open_call(stack, options, known, wrapped, instance, named, request, here, turn_for_call(here), recording)
    return CallTalk(
        call=call_of(slot, known, request, args, kwargs),
        slot=slot,
        known=known,
        fn=wrapped,
        owner=instance,
        middleware=() if nested else stack.middleware,
        observers=() if nested else stack.observers,
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
    """Run one invocation of a wrapped function: which road it takes is decided here."""
    if options.kind == "turn":
        return _turn_through(engine, options, cache, path, wrapped, instance, args, kwargs)
    turn = turn_for_call(current())
    if turn is None and options.inside:
        return wrapped(*args, **kwargs)
    recording = engine.recording() if turn is None else turn.recording
    is_watched = engine.middleware or engine.observers
    if recording is None and not is_watched:
        return wrapped(*args, **kwargs)
    known = cache.get("")
    if known is None:
        known = cache[""] = Known(wrapped, options, path)
    if not is_watched:
        if not known.returns_coroutine:
            return straight.run(engine, options, known, wrapped, instance, args, kwargs, turn, recording)
        running: Any = straight.run_async(engine, options, known, wrapped, instance, args, kwargs, recording)
        return _named(running, known)

    def make() -> CallTalk | None:
        try:
            return _call_talk(engine, options, known, wrapped, instance, args, kwargs, recording)
        except Exception as error:
            count_fault("entry", error)
            return None

    return _converse(make, known, wrapped, args, kwargs)


def _turn_through(  # noqa: PLR0917 - as above
    engine: StackLike,
    options: Options,
    cache: dict[str, Known],
    path: str,
    wrapped: Callable[..., Any],
    instance: object,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """Run one invocation of a function that is a turn."""
    recording = engine.recording()
    two_calls = options.prepares is not None
    if (
        recording is None
        and not engine.middleware
        and not engine.observers
        # It may finish a turn that was prepared while somebody recorded.
        and not (two_calls and _prepared.waiting())
    ):
        return wrapped(*args, **kwargs)
    known = cache.get("")
    if known is None:
        known = cache[""] = Known(wrapped, options, path)
    if _joins(instance, known.name, wrapped):
        return wrapped(*args, **kwargs)
    if two_calls:

        def make() -> TurnTalk | None:
            try:
                return _half_turn(options, known, wrapped, instance, args, kwargs, recording)
            except Exception as error:
                count_fault("entry", error)
                return None

        return _converse(make, known, wrapped, args, kwargs)

    def opened() -> turn_run.Opened | None:
        try:
            return _open_turn(options, known, wrapped, instance, args, kwargs, recording)
        except Exception as error:
            count_fault("entry", error)
            return None

    if known.returns_coroutine:
        return _named(turn_run.run_async(opened, wrapped, args, kwargs), known)
    ready = opened()
    if ready is None:
        return wrapped(*args, **kwargs)
    turn, given, named = ready
    return turn_run.run(turn, wrapped, given, named, async_stream=known.shape.is_generator and known.shape.is_async)


def _open_turn(  # noqa: PLR0917 - as above
    options: Options,
    known: Known,
    wrapped: Callable[..., Any],
    instance: object,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    recording: Recording | None,
) -> turn_run.Opened:
    """Open a turn, and return it with the arguments that its function gets."""
    spec = known.spec
    named = known.bind(args, kwargs)
    request, args, kwargs = record_iterator(spec, spec.read(named), args, kwargs)
    turn = Turn(turn_tags(options, instance, named), recording, request=request)
    if instance is not None:
        turn.entered.append((id(instance), known.name, getattr(wrapped, "__func__", wrapped)))
    return turn, args, kwargs


def _named(coroutine: Any, known: Known) -> Any:
    """Return a coroutine under the name of the function that it stands for."""
    coroutine.__name__, coroutine.__qualname__ = known.name, known.qualname
    return coroutine


def _converse(
    make: Callable[[], CallTalk | TurnTalk | None], known: Known, wrapped: Callable[..., Any], args: Any, kwargs: Any
) -> Any:
    """Start a conversation by the driver that fits the function; without one the function is called as it is."""
    if known.returns_coroutine:
        return _named(_later(make, wrapped, args, kwargs), known)
    talk = make()
    if talk is None:
        return wrapped(*args, **kwargs)
    return start_sync(talk.start(), async_stream=known.shape.is_generator and known.shape.is_async)


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
    return (await drive_async(talk.start())).value


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


def _half_turn(  # noqa: PLR0917 - on the path of every call, where keywords cost
    options: Options,
    known: Known,
    wrapped: Callable[..., Any],
    instance: object,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    recording: Recording | None,
) -> TurnTalk | None:
    """Make the conversation of a turn in two calls, `None` where it goes on in the one around."""
    spec = known.spec
    named = known.bind(args, kwargs)
    phase = said(options.prepares, instance, named)
    halves = phase is not None and phase is not False
    if halves and _is_within(instance, known.name):
        return None  # a client that prepares inside its own turn
    request, args, kwargs = record_iterator(spec, spec.read(named), args, kwargs)
    prepared = _prepared.find(phase) if halves and phase is not True else None
    turn = (
        prepared.turn if prepared is not None else Turn(turn_tags(options, instance, named), recording, request=request)
    )
    if instance is not None:
        turn.entered.append((id(instance), known.name, getattr(wrapped, "__func__", wrapped)))
    return TurnTalk(turn, wrapped, args, kwargs, prepares=phase is True, prepared=prepared)


def _is_within(instance: object, name: str) -> bool:
    """Whether this is the same method of the same client as a turn around that is open."""
    turn, here = current_turn(), current()
    if turn is None or instance is None or here is None or here.parent is not None:
        return False
    return any(entered[:2] == (id(instance), name) for entered in turn.entered)
