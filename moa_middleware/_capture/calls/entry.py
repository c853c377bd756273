"""
The wrapper around one function, and what happens when it is called.

A wrapper that has nothing to do calls straight through. Otherwise it makes the conversation of the
call or turn and starts the driver that fits the function.
"""

from __future__ import annotations

import sys
from copy import copy, deepcopy
from typing import TYPE_CHECKING, Any, Protocol

import wrapt

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
    from collections.abc import Callable, Mapping, Sequence

    from ..flow.model import Middleware
    from ..flow.observers import Observer
    from ..turns.turn import Recording

__all__ = ["Engine", "Instrumented", "call_through", "instrumented", "layer_of"]


class Engine(Protocol):
    """What a wrapper needs of its stack."""

    middleware: Sequence[Middleware]
    observers: Sequence[Observer]

    def recording(self) -> Recording | None:
        """Return who keeps the turn that begins now, `None` while nobody does."""


def _call_talk(  # noqa: PLR0917 - on the path of every call, where keywords cost
    stack: Engine,
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
    engine: Engine,
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
    engine: Engine,
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
    return start_sync(talk.talk, async_stream=known.shape.is_generator and known.shape.is_async)


def _is_nested(engine: Engine) -> bool:
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


def _found(name: tuple[str, ...], module: str | None) -> Any:
    """Return what stands under a qualified name, `None` if nothing does."""
    found: Any = sys.modules.get(module or "")
    for part in name:
        found = getattr(found, part, None)
    return found


def _package() -> Any:
    return sys.modules[__name__.partition(".")[0]]


def _again(wrapped: Any, options: Options) -> Any:
    """Wrap a function again, in the process that unpickles it."""
    return instrumented(wrapped, _package().default_stack, options)


def _itself(wrapped: Any) -> Any:
    return wrapped


class BoundInstrumented(wrapt.BoundFunctionWrapper):  # type: ignore[type-arg]  # wrapt's cannot be subscribed
    """A wrapper bound to an instance or class."""

    __getattribute__ = object.__getattribute__  # as below

    def __reduce_ex__(self, _protocol: Any) -> Any:
        owner = getattr(self, "__self__", None)
        if owner is None:  # a static method: its class is known by name only
            owner = _found(tuple(self.__qualname__.split(".")[:-1]), self.__module__)
        return self.__qualname__ if owner is None else (getattr, (owner, self.__name__))

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        owner = getattr(self, "__self__", None)
        return self if owner is None else getattr(deepcopy(owner, memo), self.__name__)


class Instrumented(wrapt.FunctionWrapper):  # type: ignore[type-arg]  # wrapt's cannot be subscribed
    """The wrapper that a decorator or `instrument` puts in a function's place."""

    __bound_function_wrapper__ = BoundInstrumented

    # wrapt's `__getattribute__` asks the wrapped function for what it lacks. In a subclass written in
    # Python the interpreter then calls `__getattr__`, which asks a second time, so each layer doubled
    # what a missing name costs: `inspect.signature`, which looks for `__signature__`, did not return
    # under 40 stacks. Object's own leaves the second way only; tests/test_instrument.py counts the questions.
    __getattribute__ = object.__getattribute__

    def __init__(
        self,
        wrapped: Any,
        wrapper: Callable[[Any, Any, Any, Any], Any],
        *,
        engine: Engine,
        options: Options,
        patch: Any = None,
    ) -> None:
        super().__init__(wrapped, wrapper)
        self._self_engine = engine
        self._self_options = options
        self._self_patch = patch
        """The `Patch` whose wrapper it is, `None` for a decorator's."""

    def __reduce_ex__(self, _protocol: Any) -> Any:
        name = getattr(self, "__qualname__", None)
        if name is not None and (self._self_patch is not None or not self._is_elsewhere(name)):
            return name
        # A partial application, a callable object, or a function that kept its name for itself.
        if self._self_engine is _package().default_stack and self._self_patch is None:
            return _again, (self.__wrapped__, self._self_options)
        return _itself, (self.__wrapped__,)

    def _is_elsewhere(self, name: str) -> bool:
        """Whether something else stands under the function's name: `traced = moa.turn(answer)`."""
        if "<locals>" in name:
            return False
        return _found(tuple(name.split(".")), self.__module__) is self.__wrapped__

    def __copy__(self) -> Any:
        return self._of(copy(self.__wrapped__))

    def __deepcopy__(self, memo: Any) -> Any:
        return self._of(deepcopy(self.__wrapped__, memo))

    def _of(self, copied: Any) -> Any:
        """Return the same wrapper around a copy; functions copy as themselves."""
        if copied is self.__wrapped__ or self._self_patch is not None:
            return self
        wrapper: Any = self._self_wrapper
        return Instrumented(copied, wrapper, engine=self._self_engine, options=self._self_options)


def instrumented(fn: Any, engine: Engine, options: Options, *, path: str = "") -> Instrumented:
    """Return `fn` wrapped as a call or turn of `engine`."""
    cache: dict[str, Known] = {}

    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        return call_through(engine, options, cache, path, wrapped, instance, args, kwargs)

    return Instrumented(fn, wrapper, engine=engine, options=options)


def layer_of(fn: Any, engine: Engine, kind: str) -> Any:
    """
    Return our wrapper of this kind around `fn`, `None` if there is none.

    One under a decorator of somebody else's is none of `fn`'s: that may call it often, or not at all.
    """
    while True:
        if isinstance(fn, classmethod | staticmethod):
            fn = fn.__func__
        elif not isinstance(fn, Instrumented | BoundInstrumented):
            return None
        elif getattr(fn, "_self_engine", None) is engine and fn._self_options.kind == kind:
            return fn
        else:
            fn = fn.__wrapped__
