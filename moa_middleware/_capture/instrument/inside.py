"""
Functions that return a dict with the reply inside: boto3's, with an event stream or a body that the caller reads.

The caller gets the very dict. Only what is under one key of it takes part in the call.
"""

from __future__ import annotations

from functools import update_wrapper
from typing import TYPE_CHECKING, Any

from ..frames import hide_own_frames
from ..log import count_fault
from ..shapes.bedrock import facts_of_response
from ..streams.file_body import set_counts, state_of_body
from ..streams.proxy_class import own_state

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..shapes.catalog import Methods

__all__ = ["call_inside"]


def call_inside(  # noqa: PLR0917 - the last four are those of a wrapper
    call: Callable[..., Any], row: Methods, wrapped: Any, instance: Any, args: Any, kwargs: Any
) -> Any:
    """
    Run a call whose reply is under a key of the dict that the function returns, or whose function does not show its kind.

    Args:
        call: Runs a call, as `call_through` does, of a function that returns the reply.
        row: What the catalog says of the function.
        wrapped: The function, bound to `instance`.
        instance: The object whose method it is.
        args: Of the function.
        kwargs: Of the function.
    """
    box: list[Any] = []

    def reply_in(response: Any) -> Any:
        reply = response.get(row.inside) if row.inside and type(response) is dict else None
        if reply is None:
            return response
        box[:] = [response]
        return reply

    def opened(*args: Any, **kwargs: Any) -> Any:
        return reply_in(wrapped(*args, **kwargs))

    async def opened_async(*args: Any, **kwargs: Any) -> Any:
        return reply_in(await wrapped(*args, **kwargs))

    try:
        if args:  # the SDK refuses positional arguments at once
            return wrapped(*args, **kwargs)
        made = update_wrapper(opened_async if row.returns_coroutine else opened, wrapped)
        got = call(made, instance, args, kwargs)
        return _put_later(got, row.inside, box) if row.returns_coroutine else _put(got, row.inside, box)
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
    if not key or type(got) is dict:
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
