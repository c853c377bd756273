"""
The wrapper around one function, and what happens when it is called.

A wrapper that has nothing to do calls straight through. Otherwise it makes the conversation of the
call or turn and starts the driver that fits the function.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import wrapt

from ._call import Call
from ._call_talk import CallTalk, Shape
from ._drive import drive_async, start_sync
from ._observe import count_fault
from ._scope import NO_TAGS, Tags, current
from ._turn import CallSlot, Turn, current_turn, turn_for_call
from ._turn_talk import TurnTalk
from .shapes.request import Recorder, RequestSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ._call import Middleware
    from ._observe import Observer
    from ._turn import Recording
    from .shapes.request import Request

__all__ = ["Engine", "Instrumented", "Options", "call_through"]


class Engine(Protocol):
    """What a wrapper needs of its stack."""

    middleware: Sequence[Middleware]
    observers: Sequence[Observer]

    def recording(self) -> Recording | None:
        """Return who keeps the turn that begins now, `None` while nobody does."""


class Options(NamedTuple):
    """What a decorator or `instrument` says of a function; each may be a value or a function."""

    kind: str
    """`turn` or `call`."""
    role: str | None = None
    label: Any = None
    layer: Any = None
    model: Any = None
    provider: Any = None
    session_id: Any = None
    preset: Any = None
    messages: str | None = None
    tags: Mapping[str, Any] | None = None


class Known:
    """What is known of one wrapped function, found out at its first traced call."""

    __slots__ = ("name", "returns_coroutine", "shape", "spec")

    def __init__(self, fn: Callable[..., Any], options: Options, path: str) -> None:
        bare = inspect.unwrap(fn)
        if not inspect.isroutine(bare) and callable(bare):
            bare = type(bare).__call__  # type: ignore[operator]  # a callable object's own method
        self.returns_coroutine = inspect.iscoroutinefunction(bare)
        async_generator = inspect.isasyncgenfunction(bare)
        self.spec = RequestSpec(fn, messages=options.messages, path=path)
        self.shape = Shape(
            family=self.spec.family,
            is_async=self.returns_coroutine or async_generator,
            is_generator=async_generator or inspect.isgeneratorfunction(bare),
        )
        self.name = getattr(fn, "__name__", None) or type(fn).__name__


def _said(option: Any, instance: object, named: Mapping[str, Any]) -> Any:
    """Return an option's value; a function is called with the bound arguments that it takes."""
    if not callable(option):
        return option
    given = dict(named)
    if instance is not None:
        given["self"] = instance
    try:
        parameters = inspect.signature(option).parameters.values()
        if not any(p.kind is p.VAR_KEYWORD for p in parameters):
            given = {p.name: given[p.name] for p in parameters if p.name in given}
        return option(**given)
    except Exception as error:
        count_fault("option", error)
        return None


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _turn_tags(options: Options, instance: object, named: Mapping[str, Any]) -> Tags:
    """Return what the decorator, or the call's own arguments, say of a turn."""
    session = _said(options.session_id, instance, named)
    if session is None and isinstance(named.get("session_id"), str | int):
        session = named["session_id"]
    return Tags(
        session_id=_text(session),
        preset=_text(_said(options.preset, instance, named)),
        own=options.tags or {},
    )


def _record_iterator(
    spec: RequestSpec, request: Request, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Request, tuple[Any, ...], Mapping[str, Any]]:
    """Pass an iterator of messages on through one that keeps what the SDK pulls."""
    if not hasattr(type(request.messages), "__next__") or isinstance(request.messages, Recorder):
        return request, args, kwargs
    recorder = Recorder(request.messages)
    args, kwargs = spec.put(args, kwargs, request.place, recorder)
    return request._replace(messages=recorder), args, kwargs


def _call_talk(
    engine: Engine,
    options: Options,
    known: Known,
    wrapped: Callable[..., Any],
    instance: object,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    recording: Recording | None,
) -> CallTalk:
    """Make the conversation of a call."""
    spec = known.spec
    named = spec.bind(args, kwargs)
    request, args, kwargs = _record_iterator(spec, spec.read(named), args, kwargs)
    turn = turn_for_call()
    if turn is None:
        turn = Turn(_turn_tags(options, instance, named), recording, implicit=True)
    here = current()
    if here is not None and here.turn is turn:
        slot = CallSlot(turn, here.parent, here.order)
    else:
        slot = CallSlot(turn, None, None)
    tags = here.tags if here is not None else NO_TAGS
    slot.role = tags.role or options.role
    slot.role_source = "tag" if tags.role else "declared" if options.role else None
    slot.layer = tags.layer if tags.layer is not None else _said(options.layer, instance, named)
    slot.label = _text(tags.label or _said(options.label, instance, named))
    slot.model = request.model or _text(_said(options.model, instance, named))
    slot.provider, slot.endpoint = _sdk(instance)
    slot.provider = _text(_said(options.provider, instance, named)) or slot.provider
    slot.name = known.name
    slot.tags = {**(options.tags or {}), **tags.own}
    slot.request = request
    call = Call(
        id="",
        turn_id=turn.id,
        role=slot.role,
        label=slot.label or slot.model or known.name,
        layer=slot.layer,
        parent=slot.parent.id if slot.parent is not None else None,
        model=slot.model,
        provider=slot.provider,
        messages=request.messages,
        params=request.params,
        stream=request.stream,
        tags=slot.tags,
        args=args,
        kwargs=kwargs,
        _binding=spec,
    )
    return CallTalk(
        call=call,
        slot=slot,
        shape=known.shape,
        fn=wrapped,
        owner=instance,
        middleware=engine.middleware,
        observers=engine.observers,
    )


def _sdk(instance: object) -> tuple[str | None, str | None]:
    """Return the SDK's name and the URL of its endpoint, for a method of an SDK's resource."""
    if instance is None:
        return None, None
    root = type(instance).__module__.partition(".")[0]
    if root not in ("openai", "anthropic", "together", "groq"):
        return None, None
    url = getattr(getattr(instance, "_client", None), "base_url", None)
    return root, _without_secrets(url)


def _without_secrets(url: Any) -> str | None:
    """Return scheme, host and path of a URL: a user, a password or a query may be a credential."""
    if url is None:
        return None
    from urllib.parse import urlsplit

    parts = urlsplit(str(url))
    host = parts.hostname or ""
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{host}{port}{parts.path}"


def call_through(
    engine: Engine,
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
    recording = engine.recording() if turn is None else turn.recording
    if recording is None and not engine.middleware and not engine.observers:
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
        return _later(make, wrapped, args, kwargs)
    talk = make()
    if talk is None:
        return wrapped(*args, **kwargs)
    return start_sync(talk.talk, async_stream=known.shape.is_generator and known.shape.is_async)


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
    same = [entered for entered in turn.entered if entered[:2] == (id(instance), name)]
    if not same or any(entered[2] is fn for entered in same):
        return False
    turn.entered.append((id(instance), name, fn))
    return True


def _turn_talk(
    options: Options,
    known: Known,
    wrapped: Callable[..., Any],
    instance: object,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    recording: Recording | None,
) -> TurnTalk:
    """Make the conversation of a turn."""
    spec = known.spec
    named = spec.bind(args, kwargs)
    request, args, kwargs = _record_iterator(spec, spec.read(named), args, kwargs)
    turn = Turn(_turn_tags(options, instance, named), recording, request=request)
    if instance is not None:
        turn.entered.append((id(instance), known.name, getattr(wrapped, "__func__", wrapped)))
    return TurnTalk(turn, wrapped, args, kwargs)


class _Named:
    """Pickling and copying as functions do: by name, and as themselves."""

    def __reduce_ex__(self, _protocol: Any) -> str:
        return self.__qualname__  # type: ignore[attr-defined,no-any-return]  # a function's

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, _memo: Any) -> Any:
        return self


class BoundInstrumented(wrapt.BoundFunctionWrapper):  # type: ignore[misc]  # wrapt's C types
    """A wrapper bound to an instance or class."""

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return getattr, (self.__self__, self.__name__)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        from copy import deepcopy

        return getattr(deepcopy(self.__self__, memo), self.__name__)


class Instrumented(_Named, wrapt.FunctionWrapper):  # type: ignore[misc]  # wrapt's C types
    """The wrapper that a decorator or `instrument` puts in a function's place."""

    __bound_function_wrapper__ = BoundInstrumented

    def __init__(
        self,
        wrapped: Any,
        wrapper: Callable[[Any, Any, Any, Any], Any],
        *,
        engine: Engine,
        options: Options,
    ) -> None:
        super().__init__(wrapped, wrapper)
        self._self_engine = engine
        self._self_options = options


def instrumented(fn: Any, engine: Engine, options: Options, *, path: str = "") -> Instrumented:
    """Return `fn` wrapped as a call or turn of `engine`."""
    cache: dict[str, Known] = {}

    def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        return call_through(engine, options, cache, path, wrapped, instance, args, kwargs)

    return Instrumented(fn, wrapper, engine=engine, options=options)


def layer_of(fn: Any, engine: Engine, kind: str) -> Any:
    """Return our wrapper of this kind among those around `fn`, `None` if there is none."""
    seen = 0
    while fn is not None and seen < 50:  # noqa: PLR2004 - a chain that long is a loop
        if (
            isinstance(fn, Instrumented | BoundInstrumented)
            and getattr(fn, "_self_engine", None) is engine
            and fn._self_options.kind == kind
        ):
            return fn
        fn = getattr(fn, "__wrapped__", None)
        seen += 1
    return None
