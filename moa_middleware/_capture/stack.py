"""
A stack: an ordered list of middleware and observers, and the decorators that run calls through it.

The default stack's methods are the package's own functions (`moa.turn`, `moa.reference` …); a
library makes one of its own. Who records turns is not known here: `_default` says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, overload

from ..errors import DecorationError, TagError, TargetError
from .calls.entry import instrumented
from .calls.function import Options
from .checks import OF_CALLS, OF_TURNS, check_parameter, checked, is_decorated, unknown
from .flow.chain import name_of
from .flow.observers import Observer
from .instrument import classes
from .instrument import targets as _targets
from .turns import threads
from .turns.blocks import TurnBlock, checked_tags

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .flow.model import Middleware
    from .turns.turn import Recording

__all__ = ["Stack", "set_recording_source"]

F = TypeVar("F")
C = TypeVar("C", bound=type)
T = TypeVar("T")

Text: TypeAlias = "str | Callable[..., object] | None"
Number: TypeAlias = "int | Callable[..., int | None] | None"
"""What an option may be: a value, or a function of the bound arguments."""
Paths: TypeAlias = "str | Sequence[str]"

_source: list[Callable[[], Recording | None]] = [lambda: None]


def set_recording_source(source: Callable[[], Recording | None]) -> None:
    """Tell every stack whom to ask, at the start of each turn, who records it."""
    _source[0] = source


class Stack:
    """
    An ordered list of middleware, the first outermost, with every decorator as a method.

    Args:
        middleware: Generator functions, or callables that return a flow. Those marked with
            `observer` become observers.
        observers: Middleware that may only look; they run innermost, next to the wire.

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

    def replace(
        self, *, middleware: Iterable[Middleware] | None = None, observers: Iterable[Middleware] | None = None
    ) -> None:
        """Put other middleware or observers in the place of the present ones; calls under way keep theirs."""
        if middleware is not None:
            given = checked(middleware, "middleware")
            self._marked = tuple(fn for fn in given if hasattr(fn, "__moa_observer__"))
            self.middleware = tuple(fn for fn in given if not hasattr(fn, "__moa_observer__"))
        if observers is not None:
            self._observing = checked(observers, "observers")
        self.observers = tuple(Observer(fn) for fn in (*self._marked, *self._observing))

    _marked: tuple[Any, ...] = ()
    _observing: tuple[Any, ...] = ()

    def recording(self) -> Recording | None:
        """Return who keeps the turn that begins now, `None` while nobody does."""
        return _source[0]()

    # Decorators ----------------------------------------------------------------------------------

    def _decorate(self, fn: Any, options: Options, name: str) -> Any:
        if isinstance(fn, type):
            hint = "moa.client" if options.kind == "turn" else "its method"
            msg = f"@{name} is for functions and methods, `{fn.__qualname__}` is a class: use {hint}"
            raise DecorationError(msg)
        if not callable(fn) and not isinstance(fn, classmethod | staticmethod):
            msg = f"@{name} cannot wrap a {type(fn).__name__}: it is not callable"
            raise DecorationError(msg)
        if is_decorated(fn, self, options, name):
            return fn
        if options.messages is not None:
            check_parameter(fn, options.messages, name)
        return instrumented(fn, self, options)

    @overload
    def turn(self, fn: F, /) -> F: ...

    @overload
    def turn(
        self,
        fn: None = None,
        /,
        *,
        session_id: Text = None,
        preset: Text = None,
        tags: Mapping[str, Any] | None = None,
        messages: str | None = None,
    ) -> TurnBlock: ...

    def turn(self, fn: Any = None, /, *, messages: str | None = None, **tags: Any) -> Any:
        """
        Make a function a turn, or open one by hand: `with moa.turn(session_id="s-17"):`.

        Args:
            fn: A function, coroutine function, generator function or async generator function.
            messages: Name of the parameter that holds the request, where it has a name of its own.
            **tags: `session_id` and `preset`, each a value or, for a decorator, a function of the
                bound arguments; `tags`, a mapping of your own.

        Returns:
            The function, wrapped; without one, a block that is a decorator too.

        Raises:
            DecorationError: `fn` cannot be wrapped.
            TagError: A keyword is none of ours.
        """
        for name in tags:
            if name not in OF_TURNS:
                raise TagError(unknown("turn", name, (*OF_TURNS, "messages")))
        dynamic = {name: value for name, value in tags.items() if callable(value)}
        lent = checked_tags("turn", {k: v for k, v in tags.items() if k not in dynamic})
        options = Options(
            "turn",
            session_id=tags.get("session_id"),
            preset=tags.get("preset"),
            tags=tags.get("tags"),
            messages=messages,
        )

        def decorate(function: Any) -> Any:
            return self._decorate(function, options, "moa.turn")

        if fn is not None:
            return decorate(fn)
        return TurnBlock(self, lent, decorate, dynamic=list(dynamic))

    def _call(self, role: str, fn: Any, said: dict[str, Any]) -> Any:
        for name in said:
            if name not in OF_CALLS:
                raise DecorationError(unknown(role, name, OF_CALLS))
        checked_tags(role, {k: said[k] for k in ("layer", "tags") if k in said and not callable(said[k])})
        options = Options("call", role=role, **said)

        def decorate(function: Any) -> Any:
            return self._decorate(function, options, f"moa.{role}")

        return decorate if fn is None else decorate(fn)

    @overload
    def reference(self, fn: F, /) -> F: ...

    @overload
    def reference(
        self,
        fn: None = None,
        /,
        *,
        label: Text = None,
        layer: Number = None,
        model: Text = None,
        provider: Text = None,
        session_id: Text = None,
        preset: Text = None,
        messages: str | None = None,
        tags: Mapping[str, Any] | None = None,
    ) -> Callable[[F], F]: ...

    def reference(self, fn: Any = None, /, **said: Any) -> Any:
        """
        Make a function a reference: one proposer's call.

        Args:
            fn: A function of any kind: def, async def, generators of both kinds.
            **said: `label`, `layer`, `model`, `provider`, `session_id` and `preset`, each a value or
                a function of the bound arguments; `messages`, the name of the parameter that holds
                the request; `tags`, a mapping of your own.

        Raises:
            DecorationError: `fn` cannot be wrapped, or an unknown keyword.
            TagError: A value is of the wrong type.
        """
        return self._call("reference", fn, said)

    @overload
    def aggregator(self, fn: F, /) -> F: ...

    @overload
    def aggregator(
        self,
        fn: None = None,
        /,
        *,
        label: Text = None,
        layer: Number = None,
        model: Text = None,
        provider: Text = None,
        session_id: Text = None,
        preset: Text = None,
        messages: str | None = None,
        tags: Mapping[str, Any] | None = None,
    ) -> Callable[[F], F]: ...

    def aggregator(self, fn: Any = None, /, **said: Any) -> Any:
        """
        Make a function the aggregator's call; it may return a value or a stream, sync or async.

        The arguments are those of `reference`.
        """
        return self._call("aggregator", fn, said)

    @overload
    def client(self, cls: C, /) -> C: ...

    @overload
    def client(
        self,
        cls: None = None,
        /,
        *,
        turn: Paths = "create",
        reference: Paths = (),
        aggregator: Paths = (),
        call: Paths = (),
        session_id: Text = None,
        preset: Text = None,
    ) -> Callable[[C], C]: ...

    def client(
        self,
        cls: Any = None,
        /,
        *,
        turn: Paths = "create",
        reference: Paths = (),
        aggregator: Paths = (),
        call: Paths = (),
        session_id: Text = None,
        preset: Text = None,
    ) -> Any:
        """
        Make a class of yours a client: its `create` is the turn.

        It is `instrument(cls, turn="create", …)` as a decorator.

        Args:
            cls: The class.
            turn: Those of `instrument`, and so for the others.
            reference: The same.
            aggregator: The same.
            call: The same.
            session_id: The same.
            preset: The same.

        Returns:
            The same class.

        Raises:
            DecorationError: It is no class.
            TargetError: The class has no such method.
        """

        def decorate(decorated: Any) -> Any:
            if not isinstance(decorated, type):
                msg = f"@moa.client is for classes, got a {type(decorated).__name__}: use moa.turn"
                raise DecorationError(msg)
            return self.instrument(
                decorated,
                turn=turn,
                reference=reference,
                aggregator=aggregator,
                call=call,
                session_id=session_id,
                preset=preset,
            )

        return decorate if cls is None else decorate(cls)

    def instrument(
        self,
        obj: T,
        *,
        turn: Paths = (),
        reference: Paths = (),
        aggregator: Paths = (),
        call: Paths = (),
        session_id: Text = None,
        preset: Text = None,
    ) -> T:
        """
        Instrument an instance, a class or a module that somebody else wrote, or what a name stands for.

        Args:
            obj: The object. A client of the `openai` SDK needs no target. A string names what is to be
                instrumented as soon as its module is there: `"openai"`, `"pkg.mod:Class.method=turn"`,
                or several with commas between.
            turn: Dotted path, or paths, of what is a turn.
            reference: Of what is a reference.
            aggregator: Of what is the aggregator.
            call: Of calls whose role is to be inferred.
            session_id: A value or a function of the bound arguments, for turns and for calls
                outside any.
            preset: The same.

        Returns:
            The same object.

        Raises:
            TargetError: A path leads nowhere, or no path is given and none of the known ones is
                there; a string that is malformed, or a name that nobody knows.
        """
        if isinstance(obj, str):
            if any((turn, reference, aggregator, call)):
                msg = f"instrument({obj!r:.80}): a string names its paths itself, as pkg.mod:Class.method=role"
                raise TargetError(msg)
            _targets.instrument(obj, self, Options("call", session_id=session_id, preset=preset))
            return obj
        targets: list[tuple[str, Options]] = []
        for role, paths in (("turn", turn), ("reference", reference), ("aggregator", aggregator), (None, call)):
            if not isinstance(paths, str) and not hasattr(paths, "__iter__"):
                msg = (
                    f"instrument({role or 'call'}=…) takes a dotted path or a list of them, got {type(paths).__name__}"
                )
                raise TargetError(msg)
            for path in [paths] if isinstance(paths, str) else paths:
                if any(path == known for known, _ in targets):
                    msg = f"instrument(): {path!r} is named twice; a function has one role"
                    raise TargetError(msg)
                kind = "turn" if role == "turn" else "call"
                options = Options(kind, role=role if kind == "call" else None, session_id=session_id, preset=preset)
                targets.append((path, options))
        default = Options("call", session_id=session_id, preset=preset)
        classes.instrument(obj, self, targets, default)
        return obj

    def uninstrument(self, obj: object = None) -> None:
        """
        Undo `instrument`: the original attributes are back.

        Args:
            obj: What was instrumented, an object or a string; without it everything of this stack's is
                undone, and executors and threads are as they were.

        Raises:
            TargetError: A string is malformed.
        """
        if isinstance(obj, str):
            _targets.uninstrument(obj, self)
            return
        if obj is None:
            _targets.uninstrument(None, self)
        classes.uninstrument(obj, self)
        if obj is None:
            threads.remove()
