"""
A stack: an ordered list of middleware and observers, and the decorators that run calls through it.

The default stack's methods are the package's own functions (`moa.turn`, `moa.reference` …); a
library makes one of its own.
"""

from __future__ import annotations

from functools import partial, partialmethod
from typing import TYPE_CHECKING, Any, TypeVar, cast, overload

from ..errors import DecorationError, TagError, TargetError
from .calls.entry import call_through
from .calls.function import Options
from .checks import PLACES, check_names, check_place, checked, unknown
from .flow.chain import name_of
from .flow.observers import Observer
from .instrument import objects, report, targets
from .instrument.by_value import default_stack
from .instrument.function_proxy import instrumented, layer_of
from .instrument.wrapped import paths_of
from .keywords import CallOptions, ClientOptions, TurnOptions
from .recorder import load_recorder, recording
from .scope import NO_TAGS
from .turns import threads
from .turns.blocks import TurnBlock, checked_tags
from .web import AsgiApp, WsgiApp

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Unpack

    from .flow.model import Middleware
    from .keywords import Paths
    from .web import AsgiCallable, Session, WsgiCallable

__all__ = ["Stack"]

F = TypeVar("F")
C = TypeVar("C", bound=type)
T = TypeVar("T")


class Stack:
    """
    An ordered list of middleware, the first outermost, with every decorator as a method.

    Args:
        middleware: Generator functions, or callables that return a flow. Those marked with
            `observer` become observers.
        observers: Read-only middleware; they run innermost, next to the wire.

    Raises:
        MiddlewareError: An item cannot be called.
    """

    def __init__(self, middleware: Iterable[Middleware] = (), *, observers: Iterable[Middleware] = ()) -> None:
        self.middleware: Sequence[Middleware] = ()
        self.observers: Sequence[Observer] = ()
        self.replace(middleware=checked(middleware, "middleware"), observers=checked(observers, "observers"))

    def __repr__(self) -> str:
        """Name what is on the stack."""
        names = [name_of(fn) for fn in self.middleware]
        return f"Stack([{', '.join(names)}], observers=[{', '.join(o.name for o in self.observers)}])"

    def __reduce__(self) -> Any:
        # The default stack is that of the process: its middleware is configured there. Any other travels with
        # what is on it, by name or by value, as the pickler does it.
        if self is default_stack():
            return default_stack, ()
        return partial(Stack, observers=self._observing), ((*self._marked, *self.middleware),)

    def replace(
        self, *, middleware: Iterable[Middleware] | None = None, observers: Iterable[Middleware] | None = None
    ) -> None:
        """Replace the middleware or the observers; calls under way keep theirs."""
        # Tuples are replaced and never changed: a call that runs keeps the ones that it began with.
        if middleware is not None:
            given = checked(middleware, "middleware")
            self._marked = tuple(fn for fn in given if hasattr(fn, "__moa_observer__"))
            self.middleware = tuple(fn for fn in given if not hasattr(fn, "__moa_observer__"))
        if observers is not None:
            self._observing = checked(observers, "observers")
        self.observers = tuple(Observer(fn) for fn in (*self._marked, *self._observing))

    _marked: tuple[Any, ...] = ()
    _observing: tuple[Any, ...] = ()

    # Two functions of other modules become methods as they are, without a frame between: they run at
    # the start of each turn and in each call.
    recording = staticmethod(recording)
    call_through = call_through

    # Decorators ----------------------------------------------------------------------------------

    def _decorate(self, fn: Any, options: Options, name: str) -> Any:
        if isinstance(fn, type):
            hint = "moa.client" if options.kind == "turn" else "its method"
            msg = f"@{name} is for functions and methods, `{fn.__qualname__}` is a class: use {hint}"
            raise DecorationError(msg)
        if not callable(fn) and not isinstance(fn, classmethod | staticmethod | partialmethod):
            msg = f"@{name} cannot wrap a {type(fn).__name__}: it is not callable"
            raise DecorationError(msg)
        # A function that is decorated twice, or decorated and a target of `instrument`, stays one layer:
        # two would record each call twice.
        layer = layer_of(fn, self, options.kind)
        if layer is fn and getattr(layer, "_self_is_named_outside", False):
            options = options._replace(mark=layer._self_options.mark)
            fn, layer = layer.__wrapped__, None
        if layer is not None:
            role = layer._self_options.role if layer._self_options is not None else None
            if role != options.role:
                msg = f"@{name}: `{name_of(fn)}` is a {role or 'call'} of this stack already; a function has one role"
                raise DecorationError(msg)
            return fn
        for option in PLACES:
            check_place(fn, option, getattr(options, option), f"@{name}")
        # While the module is imported, and not in the first turn, which may run in an event loop.
        load_recorder()
        return instrumented(fn, self, options)

    @overload
    def turn(self, fn: F, /) -> F: ...

    @overload
    def turn(
        self, fn: None = None, /, *, messages: str | None = None, system: str | None = None, **tags: Unpack[TurnOptions]
    ) -> TurnBlock: ...

    def turn(self, fn: Any = None, /, *, messages: str | None = None, system: str | None = None, **tags: Any) -> Any:
        """
        Make a function a turn, or open one by hand: `with moa.turn(session_id="s-17"):`.

        Args:
            fn: A function, coroutine function, generator function or async generator function.
            messages: Name of the parameter that holds the request, if it is not a usual one, or a
                dotted path from one, as `request.messages`.
            system: The same for the text that the model reads before the request.
            **tags: `session_id` and `preset`, each a value or, for a decorator, a function of the
                bound arguments; `tags`, a mapping of your own.

        Returns:
            The function, wrapped; without one, a block that is a decorator too.

        Raises:
            DecorationError: `fn` cannot be wrapped.
            TagError: An unknown keyword.
        """
        if not tags and messages is system is None:  # `with moa.turn():` is on the path of each turn
            return TurnBlock(self, NO_TAGS, self._turn) if fn is None else self._turn(fn)
        for name in tags:
            if name not in TurnOptions.__annotations__:
                raise TagError(unknown("turn", name, (*TurnOptions.__annotations__, "messages", "system")))
        dynamic = {name: value for name, value in tags.items() if callable(value)}
        fixed = checked_tags("turn", {k: v for k, v in tags.items() if k not in dynamic})
        options = Options("turn", messages=messages, system=system, **tags)
        decorate = partial(self._decorate, options=options, name="moa.turn")
        return TurnBlock(self, fixed, decorate, dynamic=list(dynamic)) if fn is None else decorate(fn)

    def _turn(self, fn: Any) -> Any:
        return self._decorate(fn, Options("turn"), "moa.turn")

    def _call(self, role: str, fn: Any, given: dict[str, Any]) -> Any:
        options = Options("call", role=role, **_checked_options(role, given))
        decorate = partial(self._decorate, options=options, name=f"moa.{role}")
        return decorate if fn is None else decorate(fn)

    @overload
    def reference(self, fn: F, /) -> F: ...

    @overload
    def reference(self, fn: None = None, /, **options: Unpack[CallOptions]) -> Callable[[F], F]: ...

    def reference(self, fn: Any = None, /, **options: Any) -> Any:
        """
        Make a function a reference: one proposer's call.

        Args:
            fn: A function of any kind: def, async def, generators of both kinds.
            **options: `label`, `layer`, `model`, `provider`, `session_id` and `preset`, each a value or
                a function of the bound arguments; `messages` and `system`, the names of the parameters
                that hold the request and the text before it; `tags`, a mapping of your own. `messages`,
                `system` and `model` may be dotted paths from a parameter, `model="self.config.model"`.

        Raises:
            DecorationError: `fn` cannot be wrapped, or a keyword is unknown.
            TagError: A value has the wrong type.
        """
        return self._call("reference", fn, options)

    @overload
    def aggregator(self, fn: F, /) -> F: ...

    @overload
    def aggregator(self, fn: None = None, /, **options: Unpack[CallOptions]) -> Callable[[F], F]: ...

    def aggregator(self, fn: Any = None, /, **options: Any) -> Any:
        """
        Make a function the aggregator's call; it may return a value or a stream, sync or async.

        The arguments are those of `reference`.
        """
        return self._call("aggregator", fn, options)

    @overload
    def client(self, cls: C, /) -> C: ...

    @overload
    def client(self, cls: None = None, /, **options: Unpack[ClientOptions]) -> Callable[[C], C]: ...

    def client(self, cls: Any = None, /, **options: Any) -> Any:
        """
        Instrument a client class; `create` becomes the turn.

        It is `instrument(cls, turn="create", …)` as a decorator.

        Args:
            cls: The class.
            **options: The keywords of `instrument`: `turn`, which is `create` by default, `reference`,
                `aggregator` and `call`, each a dotted path, or paths; and those of `reference`.

        Returns:
            The same class.

        Raises:
            DecorationError: It is not a class, or a keyword is unknown.
            TargetError: The class has no such method.
        """
        for name in options:
            if name not in ClientOptions.__annotations__:
                raise DecorationError(unknown("client", name, [*ClientOptions.__annotations__]))

        def decorate(decorated: Any) -> Any:
            if not isinstance(decorated, type):
                msg = f"@moa.client is for classes, got a {type(decorated).__name__}: use moa.turn"
                raise DecorationError(msg)
            given: dict[str, Any] = {"turn": "create", **options}
            return self.instrument(decorated, **given)

        return decorate if cls is None else decorate(cls)

    def instrument(
        self,
        obj: T,
        *,
        turn: Paths = (),
        reference: Paths = (),
        aggregator: Paths = (),
        call: Paths = (),
        **options: Unpack[CallOptions],
    ) -> T:
        """
        Instrument an instance, a class or a module that somebody else wrote, or targets by name.

        Args:
            obj: The object. A client of a known SDK and the module of an SDK or of an HTTP client need no path,
                nor does an object with a known path whose function takes a request. A string is a list of names and targets,
                separated by commas: `"openai"`, `"pkg.mod:Class.method=turn"`. Each is instrumented
                as soon as its module is imported.
            turn: Dotted path, or paths, of turns.
            reference: Of references.
            aggregator: Of the aggregator.
            call: Of calls whose role is inferred.
            **options: Those of `reference`: `label`, `layer`, `model` and `provider` of calls,
                `session_id` and `preset`, each a value or a function of the bound arguments, the
                latter two for turns and for calls outside any turn; `messages` and `system`, names of
                parameters, of those functions that have them; `tags`.

        Returns:
            The same object.

        Raises:
            TargetError: A path leads nowhere, or no path is given and no known one exists or takes a
                request; a string is malformed, or a name in it is unknown.
            DecorationError: A keyword is unknown.
            TagError: A value has the wrong type.
        """
        load_recorder()
        default = Options("call", **_checked_options("instrument", options))
        check_names("instrument", default)
        has_paths = any((turn, reference, aggregator, call))
        name = None if has_paths else targets.name_of_module(obj)
        if name:
            targets.instrument(name, self, default)
            return report.watch(obj, self)
        if issubclass(type(obj), str):  # an odd object may raise where it is asked for its class
            if has_paths:
                msg = f"instrument({obj!r:.80}): a string names its paths itself, as pkg.mod:Class.method=role"
                raise TargetError(msg)
            targets.instrument(cast("str", obj), self, default)
            return report.watch(obj, self)
        found: dict[str, Options] = {}
        for role, paths in (("turn", turn), ("reference", reference), ("aggregator", aggregator), (None, call)):
            if not isinstance(paths, str) and not hasattr(paths, "__iter__"):
                given = type(paths).__name__
                msg = f"instrument({role or 'call'}=…) takes a dotted path or a list of them, got {given}"
                raise TargetError(msg)
            for path in [paths] if isinstance(paths, str) else paths:
                if path in found:
                    msg = f"instrument(): {path!r} is named twice; a function has one role"
                    raise TargetError(msg)
                found[path] = default._replace(kind="turn") if role == "turn" else default._replace(role=role)
        objects.instrument(obj, self, [*found.items()], default)
        return report.watch(obj, self)

    def instrumented(self, obj: object) -> tuple[str, ...]:
        """
        Return what `instrument` has wrapped of an object: sorted dotted paths from it.

        Those of an instance are also what its class is wrapped for, and of an SDK's client also what the
        SDK will be wrapped for when its modules are imported.

        Args:
            obj: The object, or the string, that was given to `instrument`. Of a string the targets
                that are wrapped, as they are written, `pkg.mod:Class.method`, and an SDK's methods.

        Raises:
            TargetError: A string is malformed.
        """
        return paths_of(obj, self)

    def uninstrument(self, obj: object = None) -> None:
        """
        Undo `instrument`: the original attributes are back.

        Args:
            obj: The object or string that was instrumented. Without it everything of this stack is
                undone, and executors and threads are as they were.

        Raises:
            TargetError: A string is malformed.
        """
        if isinstance(obj, str):
            targets.uninstrument(obj, self)
            return
        name = targets.name_of_module(obj)
        if name:
            targets.uninstrument(name, self)
        # Names first: each of them knows what it has done, and leaves what another one needs.
        if obj is None:
            targets.uninstrument(None, self)
        objects.uninstrument(obj, self)
        if obj is None:
            threads.remove()

    # Web applications ----------------------------------------------------------------------------

    def asgi(self, app: AsgiCallable, *, routes: Paths | None = None, session_id: Session = None) -> AsgiApp:
        """
        Make each HTTP request to an ASGI application a turn: of FastAPI, Starlette, Django or your own.

        A request without a call writes no line, and applies its session and tags to the turns inside.
        Websockets and the lifespan pass through. An error response without an exception does not fail the turn.

        Args:
            app: The application. `app.add_middleware(moa.asgi, routes=…)` does the same.
            routes: Globs of the paths that are turns, `"/v1/*"`; `*` matches `/` too. `None` means all.
            session_id: The session, or a function that takes the connection's scope.

        Raises:
            DecorationError: An argument cannot be used.
        """
        return AsgiApp(self, app, routes, session_id)

    def wsgi(self, app: WsgiCallable, *, routes: Paths | None = None, session_id: Session = None) -> WsgiApp:
        """
        Make each request to a WSGI application a turn, as `asgi` does; it closes with the body.

        Args:
            app: The application: `app.wsgi_app` of Flask, or Django's.
            routes: As for `asgi`.
            session_id: The session, or a function that takes the environ.

        Raises:
            DecorationError: An argument cannot be used.
        """
        return WsgiApp(self, app, routes, session_id)


def _checked_options(where: str, given: Any) -> Any:
    """
    Return the keywords of a call.

    Raises:
        DecorationError: One of them is unknown.
        TagError: A value has the wrong type.
    """
    for name in given:
        if name not in CallOptions.__annotations__:
            raise DecorationError(unknown(where, name, [*CallOptions.__annotations__]))
    checked_tags(where, {k: given[k] for k in ("layer", "tags") if k in given and not callable(given[k])})
    return given
