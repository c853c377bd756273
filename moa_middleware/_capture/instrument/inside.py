"""
Functions that return a dict with the reply inside: boto3's, with an event stream or a body that the caller reads.

The caller gets the very dict. Only what is under one key of it takes part in the call.
"""

from __future__ import annotations

from functools import update_wrapper
from inspect import isawaitable
from typing import TYPE_CHECKING, Any

from ..frames import hide_own_frames
from ..log import count_fault
from ..shapes.bedrock import facts_of_response
from ..streams.file_body import set_counts, state_of_body
from ..streams.proxy_class import own_state

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["call_inside"]


def call_inside(  # noqa: PLR0917 - the last four are those of a wrapper
    call: Callable[..., Any], key: str, wrapped: Any, instance: Any, args: Any, kwargs: Any
) -> Any:
    """
    Run a call whose reply is under a key of the dict that the function returns.

    Args:
        call: Runs a call, as `call_through` does, of a function that returns the reply.
        key: The key.
        wrapped: The function, bound to `instance`.
        instance: The object whose method it is.
        args: Of the function.
        kwargs: Of the function.
    """
    box: list[Any] = []

    def opened(*args: Any, **kwargs: Any) -> Any:
        response = wrapped(*args, **kwargs)
        return opened_later(response) if isawaitable(response) else reply_in(response)

    async def opened_later(response: Any) -> Any:
        return reply_in(await response)

    def reply_in(response: Any) -> Any:
        reply = response.get(key) if type(response) is dict else None
        if reply is None:
            return response
        box[:] = [response]
        return reply

    try:
        got = call(update_wrapper(opened, wrapped), instance, args, kwargs)
        return _put_later(got, key, box) if isawaitable(got) else _put(got, key, box)
    except BaseException as error:
        hide_own_frames(error)
        raise


async def _put_later(got: Any, key: str, box: list[Any]) -> Any:
    try:
        return _put(await got, key, box)
    except BaseException as error:
        hide_own_frames(error)
        raise


def _put(got: Any, key: str, box: list[Any]) -> Any:
    """Return the dict that the function returned, with what the caller reads in its place."""
    if type(got) is dict:
        return got
    # Nothing was sent where a middleware has answered.
    response = (
        box.pop() if box else {"ResponseMetadata": {"HTTPStatusCode": 200, "HTTPHeaders": {}, "RetryAttempts": 0}}
    )
    response[key] = got
    try:
        state = own_state(got) or state_of_body(got)
        if state is not None:
            details, counts = facts_of_response(response)
            state.acc.details.update(details)
            if state_of_body(got) is not None:
                set_counts(got, counts)
    except Exception as error:
        count_fault("response", error)
    return response
