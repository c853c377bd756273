"""
The body that an SDK sends, for a request that cannot be read from its arguments.

The SDKs take any iterable of messages, and bring it into the form of the wire themselves. Walking it
here as well would run code of the user's twice, or use an iterator up. So where the arguments hold
what the recording cannot read, the method runs on a copy of its resource that shows the body on its
way. Nothing of the SDK is imported or changed. If it is not made as is expected here, the method runs
as ever.
"""

from __future__ import annotations

import json
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from ..log import count_fault
from ..shapes.catalog import sdk_of_module

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..turns.turn import Attempt
    from .function import WrappedFunction

__all__ = ["resent", "showing_body"]

# Attributes of resources and clients in the SDKs that Stainless generates: the client's `post` on the resource, and
# the client's method that makes the HTTP request.
_POST = "_post"
_BUILD = "_build_request"


def showing_body(wrapped: Any, function: WrappedFunction, attempt: Attempt, named: Mapping[str, Any]) -> Any:
    """
    Return the function to call for a request that could not be read: one that shows the recording its body.

    Args:
        wrapped: The wrapped function.
        function: What is known of it.
        attempt: The request.
        named: Its arguments by name.
    """
    known, resource = attempt.call_state.request, getattr(wrapped, "__self__", None)
    if known is None or not _is_of_sdk(resource):
        return wrapped

    def keep(body: Any) -> None:
        shot = attempt.snapshot
        if isinstance(body, dict) and shot is not None:
            shot.sent = named, body
            shot.take_sent(function.spec.read(body), known.place)

    def show(*args: Any, **kwargs: Any) -> Any:
        send = post
        try:
            keep(kwargs.get("body"))
            if attempt.snapshot is not None and attempt.snapshot.is_unread:
                # The body is not in the form of the wire yet (Anthropic's SDK).
                send = _showing_request(post, keep)
        except Exception as error:
            count_fault("entry", error)
            attempt.call_state.turn.faults += 1
        return send(*args, **kwargs)

    try:
        fn = wrapped.__func__
        post = vars(resource)[_POST]
        shown: Any = copy(resource)
        shown._post = show
        return fn.__get__(shown, type(shown))
    except Exception:  # an SDK of another make
        return wrapped


def _is_of_sdk(obj: Any) -> bool:
    """Return True if an object is of one of an SDK's own classes; another one may keep on itself what its method does."""
    return bool(sdk_of_module(type(obj).__module__))


def _showing_request(post: Any, keep: Callable[[Any], None]) -> Any:
    """Return a client's `post` that shows the JSON of the HTTP request."""
    client: Any = getattr(post, "__self__", None)
    build = getattr(client, _BUILD, None)
    if not _is_of_sdk(client) or build is None:
        return post
    shown = copy(client)
    shown._build_request = partial(_build, build.__func__.__get__(shown, type(shown)), keep)
    return post.__func__.__get__(shown, type(shown))


def _build(build: Callable[..., Any], keep: Callable[[Any], None], *args: Any, **kwargs: Any) -> Any:
    request = build(*args, **kwargs)
    try:
        keep(json.loads(request.content))
    except Exception as error:  # no JSON, or none that is in memory
        count_fault("entry", error)
    return request


def resent(
    function: WrappedFunction, attempt: Attempt, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """
    Return the arguments of a request that is sent again, with what was sent before in place of what it used up.

    What a middleware has replaced meanwhile stays as it is.
    """
    earlier = attempt.call_state.attempts[attempt.number - 2] if attempt.number > 1 else None
    sent = earlier.snapshot.sent if earlier is not None and earlier.snapshot is not None else None
    if sent is None:
        return args, kwargs
    before, body = sent
    spec = function.spec
    named = spec.bind(args, kwargs)
    request = attempt.call_state.request
    places = (request.place, request.system_place, "tools") if request is not None else ()
    for place in places:
        if place in body and named.get(place) is before.get(place) is not None:
            args, kwargs = spec.put(args, kwargs, place, body[place])
    return args, kwargs
