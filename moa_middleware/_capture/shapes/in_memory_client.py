"""
A reply in the form that an SDK's caller asked for, whatever that is: by the SDK itself.

The method is called once more, for a copy of the client whose only difference is where its requests
go: to a response in memory. So a value, a stream, a parsed object, a raw response and a stream
manager all come out as they would have, with a real `close` and a real `.response`.
"""

from __future__ import annotations

import sys
from copy import copy
from typing import TYPE_CHECKING, Any

from .wire import FAMILIES, body_of_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..flow.model import Reply

__all__ = ["MARK", "answer", "can_answer", "raw_form"]

MARK = "_moa_answers"
"""Attribute of a client that answers from memory: nothing that goes through it is a call."""


_RAW_HEADER = "X-Stainless-Raw-Response"
"""By which `with_raw_response` and `with_streaming_response` tell the SDK what is wanted."""


def raw_form(kwargs: Mapping[str, Any]) -> bool:
    """Return True if the caller of an SDK's method gets a raw response."""
    headers = kwargs.get("extra_headers")
    return isinstance(headers, dict) and _RAW_HEADER in headers


def _http_of(client: Any) -> Any:
    """Return the HTTP library of a client, `None` where it has none that is known."""
    kinds = type(getattr(client, "_client", None)).__mro__
    roots = (kind.__module__.partition(".")[0] for kind in kinds)
    return next((sys.modules.get(root) for root in roots if root in ("httpx", "httpx2")), None)


def can_answer(owner: object, family: str) -> bool:
    """Return True if this is a resource of an SDK's client, and its family is known."""
    return family in FAMILIES and _http_of(getattr(owner, "_client", None)) is not None


def answer(
    reply: Reply,
    *,
    family: str,
    model: str | None,
    owner: Any,
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    stream: bool,
) -> Any:
    """
    Return what the SDK makes of a reply; an awaitable, where its method returns one.

    Args:
        reply: The reply.
        family: Shape of the function.
        model: The model's name.
        owner: The resource whose method was called.
        fn: The method, bound to it.
        args: Arguments of the call, which say in what form the reply is wanted.
        kwargs: The same.
        stream: Whether that is a stream, or the manager of one.
    """
    client = owner._client
    http = _http_of(client)
    kind, body = body_of_reply(reply, model, family, stream=stream)

    def respond(request: Any) -> Any:
        return http.Response(200, headers={"content-type": kind}, content=body, request=request)

    # A copy of the client and not `with_options()`: that calls the class of the user's client, which may
    # be a subclass whose `__init__` takes other arguments. The copy shares all else with the client.
    shadow = copy(client)
    setattr(shadow, MARK, True)
    is_async = isinstance(client._client, http.AsyncClient)
    # `MockTransport` is public API of httpx, and what the SDK sees is a real response: it parses, streams
    # and closes it as any other. The environment is left out, or a proxy that it names is set up for nothing.
    make = http.AsyncClient if is_async else http.Client
    shadow._client = make(transport=http.MockTransport(respond), base_url=client._client.base_url, trust_env=False)
    # Nothing is sent, so no token is fetched, and no hook of the user's sees a request. What the second
    # returns is ignored by the SDKs.
    shadow._prepare_options = shadow._prepare_request = _keep_async if is_async else _keep
    if not getattr(shadow, "api_key", "none"):
        shadow.api_key = "none"
    twin = copy(owner)
    twin._client = shadow
    # A resource keeps bound methods of its client as its own attributes (`_post`, `_get`), by which the
    # request would go to the network in spite of the other client.
    for name, bound in vars(owner).items():
        if getattr(bound, "__self__", None) is client:
            setattr(twin, name, getattr(shadow, bound.__name__))  # `_post` and the like
    return getattr(fn, "__func__", fn)(twin, *args, **kwargs)


def _keep(options: Any) -> Any:
    return options


async def _keep_async(options: Any) -> Any:
    return options
