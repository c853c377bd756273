"""
Applications of web servers whose requests are turns: what `asgi` and `wsgi` return.

No framework is imported, and nothing of a request or response changes: what passes is looked at only
to know when the response is over. Sources: the ASGI specification 3.0 (HTTP, version 2.5) and PEP 3333.
"""

from __future__ import annotations

import inspect
import re
from fnmatch import translate
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import DecorationError
from .flow.outcome import outcome_of
from .frames import hide_own_frames
from .log import count_fault
from .scope import Scope, Tags, enter, leave
from .shapes.accumulator import Accumulator
from .streams.proxies import stream_proxy
from .streams.proxy_class import own_state
from .streams.state import End, StreamState
from .turns.blocks import left_open
from .turns.requests import Request, give_up
from .turns.turn import Turn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, MutableMapping

    from .flow.model import Outcome
    from .turns.stack_like import StackLike

__all__ = ["AsgiApp", "AsgiCallable", "Session", "WsgiApp", "WsgiCallable"]

Message: TypeAlias = "MutableMapping[str, Any]"
Receive: TypeAlias = "Callable[[], Awaitable[Message]]"
Send: TypeAlias = "Callable[[Message], Awaitable[None]]"
AsgiCallable: TypeAlias = "Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[Any]]"
WsgiCallable: TypeAlias = "Callable[[dict[str, Any], Any], Iterable[bytes]]"
Session: TypeAlias = "str | Callable[[dict[str, Any]], object] | None"


class _App:
    """What both kinds of application share: which requests are turns, and how these are named."""

    name = ""

    def __init__(self, stack: StackLike, app: Any, routes: Any, session_id: Any) -> None:
        name = self.name
        if not callable(app):
            msg = f"{name}(app) takes an application, got {type(app).__name__}"
            raise DecorationError(msg)
        given = [routes] if isinstance(routes, str) else routes
        is_list = hasattr(given, "__iter__") and not isinstance(given, bytes)
        self._routes: list[tuple[str, re.Pattern[str]]] | None = None
        if routes is not None:
            globs: list[Any] = list(given) if is_list else [given]
            for glob in globs:
                if not isinstance(glob, str) or not glob.startswith(("/", "*")):
                    shown = repr(glob) if isinstance(glob, str) else type(glob).__name__
                    msg = f"{name}(routes=…) takes globs of paths such as '/v1/*', got {shown:.80}"
                    raise DecorationError(msg)
            self._routes = [(glob, re.compile(translate(glob))) for glob in globs]
        if session_id is not None and not isinstance(session_id, str):
            if not callable(session_id):
                msg = f"{name}(session_id=…) takes a str or a function, got {type(session_id).__name__}"
                raise DecorationError(msg)
            if inspect.iscoroutinefunction(session_id):
                msg = f"{name}(session_id=…) takes a plain function, and this one is async"
                raise DecorationError(msg)
        self._stack = stack
        self._session_id = session_id
        self._app: Any = app

    def __repr__(self) -> str:
        """Name the application."""
        return f"<{type(self).__name__} around {self._app!r:.80}>"

    def _open(self, path: Any, method: Any, given: Any) -> tuple[Request, Scope] | None:
        """Open the turn of a request, with its scope; `None` if it is not to be one, or after a fault of ours."""
        try:
            route = self._route_of(str(path))
            if route is None:
                return None
            own = {"http.method": str(method), **({"http.route": route} if route else {})}
            session, faults = self._session_of(given)
            turn = Turn(Tags(session_id=session, own=own), self._stack.recording(), by_hand=True)
            turn.faults += faults
            left_open[turn.id] = turn
            request = Request(turn)
            return request, request.scope()
        except Exception as error:
            count_fault("entry", error)
            return None

    def _route_of(self, path: str) -> str | None:
        """Return the glob that a path matches, the empty string if all paths do, `None` if it matches none."""
        if self._routes is None:
            return ""
        return next((glob for glob, pattern in self._routes if pattern.match(path)), None)

    def _session_of(self, given: Any) -> tuple[str | None, int]:
        """Return the session of a request, and how many faults there were."""
        if not callable(self._session_id):
            return self._session_id, 0
        try:
            session = self._session_id(given)
            if inspect.isawaitable(session):
                if inspect.iscoroutine(session):
                    session.close()
                msg = "it returned an awaitable; it has to be a plain function"
                raise TypeError(msg)
            return (None if session is None else str(session)), 0
        except Exception as error:
            count_fault(f"option session_id of {self.name}", error)
            return None, 1


def _close(request: Request, outcome: Outcome, error: BaseException | None = None) -> None:
    """Close the turn of a request; never raises."""
    try:
        left_open.pop(request.turn.id, None)
        if outcome in {"cancelled", "closed"}:
            give_up(request.turn, outcome)
        request.turn.leave(outcome, error)
    except Exception as fault:
        count_fault("turn", fault)


# ASGI ---------------------------------------------------------------------------------------------


class AsgiApp(_App):
    """An ASGI application whose requests are turns; made by `moa.asgi`."""

    name = "moa.asgi"

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> Any:
        """Serve one connection; anything but HTTP passes through."""
        if scope.get("type") != "http":
            return await self._app(scope, receive, send)
        opened = self._open(scope.get("path", ""), scope.get("method", ""), scope)
        if opened is None:
            return await self._app(scope, receive, send)
        request, inside = opened
        wire = _Wire(request, receive, send)
        former = enter(inside)
        try:
            result = await self._app(scope, wire.receive, wire.send)
        except BaseException as error:
            _close(request, "cancelled" if wire.is_by_hang_up(error) else outcome_of(error), error)
            hide_own_frames(error)
            raise
        finally:
            leave(inside, former)
        # Starlette ends a response whose client is gone without an exception.
        _close(request, "cancelled" if request.is_gone else "completed")
        return result


class _Wire:
    """The messages of one request, which shows whether its client is still there."""

    __slots__ = ("_is_sent", "_receive", "_request", "_send")

    def __init__(self, request: Request, receive: Receive, send: Send) -> None:
        self._request = request
        self._receive = receive
        self._send = send
        self._is_sent = False
        """True if the whole response was handed to the server."""

    async def receive(self) -> Message:
        try:
            message = await self._receive()
        except BaseException as error:
            hide_own_frames(error)
            raise
        if message.get("type") == "http.disconnect" and not self._is_sent:
            self._request.is_gone = True
        return message

    async def send(self, message: Message) -> None:
        # Before the message goes out: a listener for the end of the connection may run meanwhile.
        try:
            if message.get("type") in _LAST and not message.get("more_body", False):
                self._is_sent = True
            return await self._send(message)
        except BaseException as error:
            if isinstance(error, OSError):
                # So servers of ASGI 2.4 say that the client is gone.
                self._request.is_gone = True
            hide_own_frames(error)
            raise

    def is_by_hang_up(self, error: BaseException) -> bool:
        """Return True if an exception came of the client's going, as Starlette's `ClientDisconnect` does."""
        if not self._request.is_gone:
            return False
        return isinstance(error, OSError) or isinstance(error.__context__, OSError)


_LAST = frozenset({"http.response.body", "http.response.pathsend", "http.response.zerocopysend"})
"""Messages that end a response, unless they say that more of its body comes; the latter two are for files."""


# WSGI ---------------------------------------------------------------------------------------------


class WsgiApp(_App):
    """A WSGI application whose requests are turns; made by `moa.wsgi`."""

    name = "moa.wsgi"

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Serve one request."""
        path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}"
        opened = self._open(path, environ.get("REQUEST_METHOD", ""), environ)
        if opened is None:
            passed: Iterable[bytes] = self._app(environ, start_response)
            return passed
        request, inside = opened
        former = enter(inside)
        try:
            result: Iterable[bytes] = self._app(environ, start_response)
        except BaseException as error:
            _close(request, outcome_of(error), error)
            hide_own_frames(error)
            raise
        finally:
            leave(inside, former)
        try:
            followed: Iterable[bytes] = _followed(inside, request, result, environ)
            return followed
        except Exception as error:
            count_fault("turn", error)
            _close(request, "completed")
            return result


def _followed(inside: Scope, request: Request, result: Any, environ: dict[str, Any]) -> Any:
    """Return the body of a response as the server gets it; the turn closes when that is over."""
    if isinstance(result, list | tuple) or not hasattr(type(result), "__iter__") or _is_file(result, environ):
        # Servers look at the length of a list, and send a file by themselves. What cannot be iterated, such as
        # the `None` of a forgotten `return`, raises the error that the server raises without us.
        _close(request, "completed")
        return result
    inner = own_state(result)
    if inner is not None:
        # The application is itself a turn that is a generator. Its steps are in its own scope.
        inner.add_done_callback(lambda outcome, error: _close(request, outcome, error))
        return result
    state = StreamState(None, Accumulator(), scope=inside)
    state.on_chunk = lambda chunk: chunk  # bytes of any kind: what was said, the calls know

    def finish(end: End) -> None:
        _close(request, end.outcome, end.error)

    state.finish = finish
    return stream_proxy(result, state)


def _is_file(result: Any, environ: dict[str, Any]) -> bool:
    """Return True if a body is what the server's `wsgi.file_wrapper` made, which the server knows again."""
    wrapper = environ.get("wsgi.file_wrapper")
    if isinstance(wrapper, type):
        return isinstance(result, wrapper)
    # uWSGI's is a function that returns the file, and the server compares by identity.
    return wrapper is not None and hasattr(type(result), "read")
