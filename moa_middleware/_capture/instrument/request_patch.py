"""
A client's method that sends requests of every kind: those to a model are calls.

What a request to a model is, and what the caller gets, is said by the classes below this one.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import wrapt

from ..calls.senders import keep_sent, scope_outside
from ..frames import hide_own_frames
from ..log import count_fault
from ..scope import current, enter, leave
from ..shapes.http_request import MESSAGES
from .patch import Patch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..calls.function import Options
    from ..scope import Scope
    from ..shapes.http_request import HttpRequest
    from ..turns.stack_like import StackLike
    from ..turns.turn import Attempt

__all__ = ["Relation", "RequestPatch"]

Relation = Literal["own", "inside", "apart"]
"""The request that the call sends, a call inside it, or another request that only runs inside it."""


class _Found(NamedTuple):
    """A request that is a call."""

    request: HttpRequest
    options: Options
    outside: Scope | None
    """Where it belongs if it is not the request of the call that it is made in."""


class RequestPatch(Patch):
    """A client's method by which requests go out."""

    where = ""
    """What the log calls a fault here."""

    def __init__(self, owner: Any, name: str, stack: StackLike, kind: str) -> None:
        self._caches: dict[str, dict[str, Any]] = {}
        """What is known of the requests of each family, as `call_through` keeps it."""
        super().__init__(owner, name, stack, kind)

    def read(self, instance: Any, args: Any, kwargs: Any) -> HttpRequest | None:
        """Return the request to a model that the arguments are, `None` for any other."""
        raise NotImplementedError

    def relation(self, attempt: Attempt, request: HttpRequest, instance: Any) -> Relation:
        """
        Return what a request is to a call around it that sends requests itself.

        Args:
            attempt: Of the call.
            request: The request.
            instance: The client.
        """
        raise NotImplementedError

    def options(self, instance: Any) -> Options:
        """Return the options of a call."""
        raise NotImplementedError

    def shown(self, request: HttpRequest) -> dict[str, Any]:
        """Return the parts of the body as a middleware gets them."""
        return dict(request.body)

    def arguments(self, request: HttpRequest, body: Mapping[str, Any], kwargs: Any) -> Any:
        """
        Return the keyword arguments by which a body is sent.

        Raises:
            RequestError: It cannot be sent.
        """
        raise NotImplementedError

    def carried(self, response: Any, request: HttpRequest) -> Any:  # noqa: ARG002 - of the classes below
        """Return a response as the call returns it."""
        return response

    def answer(self, result: Any, request: HttpRequest, *, was_sent: bool) -> Any:
        """
        Return what the caller gets.

        Args:
            result: What the call returned.
            request: The request.
            was_sent: True if it went out at least once.

        Raises:
            ReplyFormError: A middleware has answered, and the caller needs a response of the client.
        """
        raise NotImplementedError

    def wrap(self, original: Any) -> Any:
        """Return a wrapper that makes a request to a model a call."""
        is_async = inspect.iscoroutinefunction(original)

        def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            try:
                found = self._found(instance, args, kwargs)
                if found is None:
                    return wrapped(*args, **kwargs)
                run = self._run_async if is_async else self._run
                return run(found, wrapped, args, kwargs)
            except BaseException as error:
                hide_own_frames(error)
                raise

        return wrapt.FunctionWrapper(original, wrapper)

    def _found(self, instance: Any, args: Any, kwargs: Any) -> _Found | None:
        """Return the request to a model that is about to go out, `None` for any other; never raises."""
        try:
            request = self.read(instance, args, kwargs)
            if request is None:
                return None
            here = current()
            outside = here
            while outside is not None and outside.parent is not None and outside.parent.call_state.sends:
                relation = self.relation(outside.parent, request, instance)
                if relation == "own":
                    return None
                if relation == "inside":
                    break
                outside = scope_outside(outside)
            return _Found(request, self.options(instance), outside if outside is not here else None)
        except Exception as error:
            count_fault(self.where, error)
            return None

    def _run(self, found: _Found, wrapped: Any, args: Any, kwargs: Any) -> Any:
        request, outside = found.request, found.outside
        sent: list[bool] = []

        def send(**body: Any) -> Any:
            given = self.arguments(request, body, kwargs)
            sent.append(True)
            keep_sent(current(), request)
            return self.carried(wrapped(*args, **given), request)

        former = enter(outside) if outside is not None else None
        try:
            result = self._through(found, send)
        finally:
            if outside is not None:
                leave(outside, former)
        return self.answer(result, request, was_sent=bool(sent))

    async def _run_async(self, found: _Found, wrapped: Any, args: Any, kwargs: Any) -> Any:
        request, outside = found.request, found.outside
        sent: list[bool] = []

        async def send(**body: Any) -> Any:
            given = self.arguments(request, body, kwargs)
            sent.append(True)
            keep_sent(current(), request)
            return self.carried(await wrapped(*args, **given), request)

        try:
            former = enter(outside) if outside is not None else None
            try:
                result = await self._through(found, send)
            finally:
                if outside is not None:
                    leave(outside, former)
            return self.answer(result, request, was_sent=bool(sent))
        except BaseException as error:
            hide_own_frames(error)
            raise

    def _through(self, found: _Found, send: Any) -> Any:
        request = found.request
        family = request.family
        options = found.options._replace(kind="call", messages=MESSAGES[family], family=family)
        return self.stack.call_through(
            options, self._caches.setdefault(family, {}), "", send, request, (), self.shown(request)
        )
