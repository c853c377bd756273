"""
What a middleware answered in a call's stead: whether the caller can use it, and in which form.

Nothing is sent here; a reply is rendered as the caller would have had it from the wire.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...errors import ReplyFormError
from ..flow.driver import Resolve
from ..shapes.in_memory_client import answer, can_answer, raw_form
from ..shapes.iterators import Recorder
from ..shapes.render import has_form, render
from ..shapes.replies import is_raw_type
from ..streams.kinds import is_awaitable, is_manager

if TYPE_CHECKING:
    from collections.abc import Generator

    from ..flow.driver import Effect
    from ..flow.model import Reply
    from .execution import CallExecution

__all__ = ["check_readable", "check_stream", "check_value", "render_reply", "wants_stream"]


def wants_stream(execution: CallExecution) -> bool:
    """Return True if the caller reads a stream, or the manager of one."""
    return execution.known.is_generator or execution.call.stream or execution.known.is_manager


def _is_sync(execution: CallExecution) -> bool:
    """Return True if the function is known to be a sync one; one that returns an awaitable does not show."""
    return not execution.is_async and (execution.known.is_generator or execution.known.family != "plain")


def check_stream(execution: CallExecution, raw: Any) -> None:
    """
    Refuse a stream that the caller could not use.

    Raises:
        ReplyFormError: A value was asked for, or a stream of the other world.
    """
    kind = type(raw).__name__
    if not wants_stream(execution) and not execution.delivered:
        msg = (
            f"`{execution.answered_by}` answered with a stream ({kind}), but the caller did not ask for one; "
            "return a value or a Reply"
        )
        raise ReplyFormError(msg)
    if is_manager(raw):
        return
    if execution.known.is_manager and not execution.delivered:
        msg = f"`{execution.answered_by}` answered with {kind}, but the caller enters a manager; return a Reply"
        raise ReplyFormError(msg)
    if execution.is_async and not hasattr(raw, "__anext__"):
        msg = f"`{execution.answered_by}` answered with {kind}, but the caller reads an async stream; return a Reply"
        raise ReplyFormError(msg)
    if _is_sync(execution) and not hasattr(raw, "__next__"):
        msg = f"`{execution.answered_by}` answered with {kind}, but the caller reads a sync stream; return a Reply"
        raise ReplyFormError(msg)


def check_value(execution: CallExecution, raw: Any) -> None:
    """
    Refuse a value that the caller could not use, where it is known what that is.

    Raises:
        ReplyFormError: It is no completed response, or no raw one, and one was asked for.
    """
    wants_raw = raw_form(execution.call.kwargs)
    if wants_raw == is_raw_type(type(raw)) and (
        wants_raw or has_form(raw, execution.known.family, execution.invocation.instance)
    ):
        return
    form = "a raw response" if wants_raw else "a completed response"
    msg = f"`{execution.answered_by}` answered with {type(raw).__name__}, but the caller gets {form}; return Reply(text=…)"
    raise ReplyFormError(msg)


def check_readable(execution: CallExecution, result: Reply) -> None:
    """
    Refuse a value that no stream can be made of.

    Raises:
        ReplyFormError: Nothing in it is understood.
    """
    if result.text is None and not result.tool_calls and not result.refusal and not result.reasoning:
        kind = type(result.raw).__name__
        msg = f"`{execution.answered_by}` answered with {kind}, but the caller reads a stream; return Reply(text=…)"
        raise ReplyFormError(msg)


def render_reply(execution: CallExecution, reply: Reply) -> Generator[Effect, Any, Any]:
    """Return a reply in the form that the caller asked for."""
    # The SDK itself makes the object where it can: a user's code may ask it for anything that the SDK's
    # classes offer, such as `parsed` or `text_stream`, and an imitation would lack some of it.
    stream, call, known = wants_stream(execution), execution.call, execution.known
    if not can_answer(execution.invocation.instance, known.form):
        if stream != call.stream:
            call = replace(call, stream=stream)
        return render(reply, call, known.form, is_async=execution.is_async, sdk=known.sdk)
    args, kwargs = call.args, call.kwargs
    if issubclass(type(call.messages), Recorder):
        # The user's iterator is left alone: nothing is sent.
        args, kwargs = known.spec.put(args, kwargs, known.spec.read(kwargs).place or "messages", [])
    made = answer(
        reply,
        family=known.form,
        model=call.model,
        owner=execution.invocation.instance,
        fn=execution.invocation.wrapped,
        args=args,
        kwargs=kwargs,
        stream=stream,
    )
    scope = execution.call_state.turn.scope()
    if is_awaitable(made):
        made = yield Resolve(made, scope)
    if execution.state is not None and is_manager(made):
        # The caller is inside the first manager's `with` already.
        if hasattr(made, "__enter__"):
            return made.__enter__()
        return (yield Resolve(made.__aenter__(), scope))
    return made
