"""
Requests that litellm posts through openai's client, past the methods that are patched.

litellm from 1.110 on calls `client.post("/chat/completions", body=…)`. The client's own methods end there too,
so `post` is patched only in programs that have imported litellm, and acts for what comes from outside of them.
"""

from __future__ import annotations

import sys
import weakref
from functools import partial
from typing import TYPE_CHECKING, Any

import wrapt

from ...errors import ReplyFormError
from ..calls.senders import is_sent_by
from ..shapes.http_request import MESSAGES, HttpRequest
from ..shapes.params import bare_url_of
from .patch import Identities, apply_patch, known_patch
from .request_patch import RequestPatch

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..calls.function import Options
    from ..turns.stack_like import StackLike
    from ..turns.turn import Attempt
    from .request_patch import Relation

__all__ = ["forget_posts", "unwatch_posts", "watch_posts"]

_MODULE = "openai._base_client"
_CLASSES = ("SyncAPIClient", "AsyncAPIClient")
_FAMILIES = {"/chat/completions": "openai_chat", "/responses": "openai_responses", "/completions": "plain"}
"""By the path that is posted to: the shape of the body."""


class _Wanted:
    """Whose posts a stack wants to be calls."""

    def __init__(self) -> None:
        self.everyone: Options | None = None
        self.clients = Identities()


_wanted: weakref.WeakKeyDictionary[StackLike, _Wanted] = weakref.WeakKeyDictionary()


def watch_posts(stack: StackLike, options: Options, client: Any = None) -> None:
    """
    Let requests that litellm posts through openai's clients be calls, if the program imports it.

    Args:
        stack: The stack.
        options: Of the calls.
        client: The client that is meant, `None` for all of them.
    """
    if client is not None and not isinstance(client, tuple(_owners())):
        return  # of another SDK
    wanted = _wanted.get(stack)
    is_new = wanted is None
    if wanted is None:
        wanted = _wanted[stack] = _Wanted()
    if client is None:
        wanted.everyone = options
    else:
        wanted.clients.add(client, options)
    if is_new:
        # By a weak reference: a hook cannot be taken back. For a module that is there wrapt runs it at once.
        wrapt.register_post_import_hook(partial(_when_imported, weakref.ref(stack)), "litellm")
    elif "litellm" in sys.modules:
        _apply(stack, client, options)


def _when_imported(reference: weakref.ref[Any], _litellm: Any) -> None:
    stack = reference()
    wanted = _wanted.get(stack) if stack is not None else None
    if stack is None or wanted is None:
        return
    if wanted.everyone is not None:
        _apply(stack, None, wanted.everyone)
    for client, options in wanted.clients.items():
        _apply(stack, client, options)


def _apply(stack: StackLike, client: Any, options: Options) -> None:
    for owner in _owners():
        if client is None or isinstance(client, owner):
            target = owner if client is None else client
            apply_patch(_PostPatch, owner, "post", stack, "post", target=target, options=options)


def _owners() -> list[Any]:
    module = sys.modules.get(_MODULE)
    owners = [getattr(module, name, None) for name in _CLASSES]
    return [owner for owner in owners if owner is not None and "post" in vars(owner)]


def unwatch_posts(stack: StackLike) -> None:
    """Leave what is posted alone again, but for clients that were instrumented one by one."""
    wanted = _wanted.get(stack)
    if wanted is not None:
        wanted.everyone = None
        for owner in _owners():
            patch = known_patch(owner, "post", stack, "post")
            if patch is not None:
                patch.revoke(owner)


def forget_posts(stack: StackLike, client: Any) -> None:
    """Forget a client, or all of them if it is `None`; their patches are undone as those of the SDK's methods are."""
    wanted = _wanted.get(stack)
    if wanted is not None and client is None:
        wanted.clients = Identities()
    elif wanted is not None:
        wanted.clients.discard(client)


class _PostPatch(RequestPatch):
    """The `post` of openai's clients."""

    where = "post"

    def read(self, instance: Any, args: Any, kwargs: Any) -> HttpRequest | None:
        """Return the request to a model that the arguments are, `None` for any other."""
        family = _FAMILIES.get(args[0] if args else kwargs.get("path"))
        body = kwargs.get("body")
        if family is None or type(body) is not dict or MESSAGES[family] not in body or not self.options_for(instance):
            return None
        return HttpRequest(family, body, bare_url_of(instance.base_url), "openai", "openai")

    def relation(self, attempt: Attempt, request: HttpRequest, instance: Any) -> Relation:
        """Return what a request is to a call of an SDK or of an HTTP client around it."""
        if attempt.call_state.endpoint is None:
            return "inside"  # a call of litellm's: what it posts is a call inside it, and both share one record
        is_own = attempt.call_state.client is instance or is_sent_by(attempt, request)
        return "own" if is_own else "apart"

    def options(self, instance: Any) -> Options:
        """Return the options of a call."""
        options: Options = self.options_for(instance)
        return options

    def arguments(self, request: HttpRequest, body: Mapping[str, Any], kwargs: Any) -> Any:  # noqa: ARG002
        """Return the keyword arguments by which a body is sent: the client makes the bytes."""
        return {**kwargs, "body": body}

    def answer(self, result: Any, request: HttpRequest, *, was_sent: bool) -> Any:  # noqa: ARG002
        """
        Return what the client returned.

        Raises:
            ReplyFormError: A middleware has answered in its place, and litellm reads the client's own response.
        """
        if not was_sent:
            msg = (
                "a middleware answered a request that litellm posts through openai's client: instrument litellm instead"
            )
            raise ReplyFormError(msg)
        return result
