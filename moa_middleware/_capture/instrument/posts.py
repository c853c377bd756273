"""
Requests that litellm posts through openai's client, past the methods that are patched.

litellm from 1.110 on calls `client.post("/chat/completions", body=…)`. The client's own methods end there too,
so `post` is patched only in programs that have imported litellm, and acts for what comes from outside of them.
"""

from __future__ import annotations

import inspect
import sys
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

import wrapt

from ...errors import ReplyFormError
from ..frames import hide_own_frames
from ..log import count_fault
from ..scope import current
from ..shapes.http_request import MESSAGES, HttpRequest
from ..shapes.params import bare_url_of
from .patch import Patch, apply_patch, known_patch

if TYPE_CHECKING:
    from ..calls.function import Options
    from ..turns.turn import StackLike

__all__ = ["unwatch_posts", "watch_posts"]

_MODULE = "openai._base_client"
_CLASSES = ("SyncAPIClient", "AsyncAPIClient")
_FAMILIES = {"/chat/completions": "openai_chat", "/responses": "openai_responses", "/completions": "plain"}
"""By the path that is posted to: the shape of the body."""

_wanted: weakref.WeakKeyDictionary[StackLike, Options] = weakref.WeakKeyDictionary()


def watch_posts(stack: StackLike, options: Options) -> None:
    """Let requests that litellm posts through openai's clients be calls, if the program imports it."""
    is_new = stack not in _wanted
    _wanted[stack] = options
    if is_new:
        # By a weak reference: a hook cannot be taken back. For a module that is there wrapt runs it at once.
        wrapt.register_post_import_hook(partial(_when_imported, weakref.ref(stack)), "litellm")


def _when_imported(reference: weakref.ref[Any], _litellm: Any) -> None:
    stack = reference()
    options = _wanted.get(stack) if stack is not None else None
    if stack is None or options is None:
        return
    for owner in _owners():
        apply_patch(_PostPatch, owner, "post", stack, "post", target=owner, options=options)


def _owners() -> list[Any]:
    module = sys.modules.get(_MODULE)
    owners = [getattr(module, name, None) for name in _CLASSES]
    return [owner for owner in owners if owner is not None and "post" in vars(owner)]


def unwatch_posts(stack: StackLike) -> None:
    """Leave what is posted alone again."""
    if _wanted.pop(stack, None) is not None:
        for owner in _owners():
            patch = known_patch(owner, "post", stack, "post")
            if patch is not None:
                patch.undo()


class _PostPatch(Patch):
    """The `post` of openai's clients."""

    def __init__(self, owner: Any, name: str, stack: StackLike, kind: str) -> None:
        self._caches: dict[str, dict[str, Any]] = {}
        super().__init__(owner, name, stack, kind)

    def wrap(self, original: Any) -> Any:
        """Return a wrapper that makes a request from outside the SDK's methods a call."""
        is_async = inspect.iscoroutinefunction(original)

        def wrapper(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
            try:
                request = self._request_of(instance, args, kwargs)
                if request is None:
                    return wrapped(*args, **kwargs)
                run = self._run_async if is_async else self._run
                return run(request, wrapped, args, kwargs)
            except BaseException as error:
                hide_own_frames(error)
                raise

        return wrapt.FunctionWrapper(original, wrapper)

    def _request_of(self, client: Any, args: Any, kwargs: Any) -> HttpRequest | None:
        """Return the request, `None` where a method of the SDK posts it; never raises."""
        try:
            here = current()
            # Of the calls around only one of an SDK's client, or of an HTTP client, has an endpoint.
            if here is not None and here.parent is not None and here.parent.call_state.endpoint is not None:
                return None
            family = _FAMILIES.get(args[0] if args else kwargs.get("path"))
            body = kwargs.get("body")
            if family is None or type(body) is not dict or MESSAGES[family] not in body or self.global_options is None:
                return None
            return HttpRequest(family, body, bare_url_of(client.base_url), "openai", "openai")
        except Exception as error:
            count_fault("post", error)
            return None

    def _run(self, request: HttpRequest, wrapped: Any, args: Any, kwargs: Any) -> Any:
        sent: list[bool] = []

        def send(**body: Any) -> Any:
            sent.append(True)
            return wrapped(*args, **{**kwargs, "body": body})

        return _checked(self._through(request, send), sent)

    async def _run_async(self, request: HttpRequest, wrapped: Any, args: Any, kwargs: Any) -> Any:
        sent: list[bool] = []

        async def send(**body: Any) -> Any:
            sent.append(True)
            return await wrapped(*args, **{**kwargs, "body": body})

        try:
            return _checked(await self._through(request, send), sent)
        except BaseException as error:
            hide_own_frames(error)
            raise

    def _through(self, request: HttpRequest, send: Any) -> Any:
        options = self.global_options._replace(kind="call", messages=MESSAGES[request.family], family=request.family)
        cache = self._caches.setdefault(request.family, {})
        return self.stack.call_through(options, cache, "", send, request, (), dict(request.body))


def _checked(result: Any, sent: list[bool]) -> Any:
    """
    Return what the client returned.

    Raises:
        ReplyFormError: A middleware has answered in its place, and litellm reads the client's own response.
    """
    if not sent:
        msg = "a middleware answered a request that litellm posts through openai's client: instrument litellm instead"
        raise ReplyFormError(msg)
    return result
