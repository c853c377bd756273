"""
The reply of a request as it is kept: completed from the call inside, and without what holds frames.

This module must not know how a reply was read, or on which road it came.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from time import perf_counter_ns
from typing import TYPE_CHECKING, Any, Protocol

from ..flow.model import Reply
from ..flow.outcome import error_of, outcome_of
from ..frames import traceback_of
from ..log import count_fault
from ..shapes.parts import HOLDERS, choose_text, is_answer, reply_text, texts_in
from ..shapes.replies import read_reply

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..turns.turn import Attempt, CallState
    from .function import WrappedFunction

__all__ = ["completed", "keep", "keep_reply", "reply_of_error", "shared", "withdraw"]


class Arguments(Protocol):
    """The arguments of an invocation."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


def keep_reply(known: WrappedFunction, attempt: Attempt, reply: Reply, given: Arguments | None = None) -> Reply:
    """
    Keep a reply that is new with its request, and return it.

    Args:
        known: What is known of the function.
        attempt: The request.
        reply: Its reply.
        given: Holds the function's arguments, which are no reply; `None` where they are not kept any more.
    """
    attempt.clock.ended_ns = perf_counter_ns()
    if reply.source == "provider":
        try:
            if attempt.inner:
                reply = completed(attempt, reply, given)
            elif "texts" in reply._details:
                choose_text(reply, _names_of(attempt, given))
        except Exception as error:  # an argument's own code, or a fault of ours: the reply is kept as it is
            count_fault("reply", error)
            attempt.call_state.turn.faults += 1
        if known.form == "plain" and reply._details.get("shape") is not None:
            # What it returns is a chat completion, whatever its own request looks like.
            known.form = reply._details["shape"]
    keep(attempt, reply)
    return reply


def keep(attempt: Attempt, reply: Reply) -> None:
    """
    Keep a reply: its exception as words, and its value only if that tells it from others.

    A value that is not understood may hold an open stream, which would then never be dropped.
    """
    # The turn's record compares what the turn returned with what its calls returned, so a value is kept
    # until the turn closes, unless it may be or hold something that has to die earlier. The exception
    # becomes words at once: its traceback holds every frame that it passed, and those the streams.
    raw = reply.raw
    if reply.error is None and (raw is None or (reply.text is not None and not isinstance(raw, HOLDERS))):
        attempt.reply = reply
        return
    understood = reply.text is not None or bool(reply.tool_calls)
    keeps = understood and (not isinstance(raw, HOLDERS) or (isinstance(raw, dict) and "choices" in raw))
    turn = attempt.call_state.turn
    if reply.error is not None and turn.recording is not None:
        attempt.error = error_of(reply.error)
        turn.secrets += turn.recording.secrets_of(reply.error)
    if reply.error is None and (keeps or raw is None):
        attempt.reply = reply
    else:
        attempt.reply = replace(reply, error=None, raw=raw if keeps else None)


def shared(attempt: Attempt, value: object) -> Reply | None:
    """Return the reply of the single call inside that returned this very object: it is read already."""
    if value is None or len(attempt.inner) != 1 or not attempt.inner[0].attempts:
        return None
    inner = attempt.inner[0].final
    reply = inner.reply
    if reply is None or reply.raw is not value or reply.source != "provider" or inner.error is not None:
        return None
    return reply


def completed(attempt: Attempt, reply: Reply, given: Arguments | None = None) -> Reply:
    """Fill what the reply of a wrapper lacks from its only inner call, which has the tokens and the price."""
    is_found = "texts" in reply._details
    if is_found:
        choose_text(reply, _names_of(attempt, given))
    if len(attempt.inner) != 1 or not attempt.inner[0].attempts:
        return reply
    inner = attempt.inner[0].final.reply
    if inner is None:
        return reply
    changes = {
        name: getattr(inner, name)
        for name in ("text", "tool_calls", "finish_reason", "usage", "cost_usd")
        if not getattr(reply, name) and getattr(inner, name)
    }
    if is_found and inner.text and reply.text != inner.text:
        # The call inside shows which of the texts is the reply; the rest of the value is not.
        text = reply_text(reply.raw, inner.text)
        if text is not None:
            changes |= {"text": text, "choices": ()}
    # Not `reply.replace`: what a middleware changes with it is no longer the provider's.
    return replace(reply, **changes) if changes else reply


def _names_of(attempt: Attempt, given: Arguments | None) -> set[str | None]:
    """Return the texts that are never the reply of a request: who was asked, and what the function was given."""
    call_state, request = attempt.call_state, attempt.call_state.request
    names = {call_state.name, call_state.model, call_state.label, call_state.provider}
    names |= {attempt.model, attempt.label, attempt.provider}
    names.update(call.model for call in attempt.inner)
    if request is not None:
        messages = request.messages
        if issubclass(type(messages), list):
            # Functions append the answer to the conversation that they were given, and return that.
            messages = [message for message in messages if not is_answer(message)]
        names.update(texts_in((messages, request.params)))
    if given is not None:
        names.update(value for value in (*given.args, *given.kwargs.values()) if type(value) is str)
    return names


def withdraw(call_state: CallState) -> None:
    """Forget the request of a generator that was dropped before its first step: its body never asked a model."""
    call_state.attempts.clear()
    call_state.never_ran = True


def reply_of_error(error: BaseException) -> Reply:
    """Return the reply, a new one, of a request that raised: an SDK that cannot parse one has had it all the same."""
    completion = None
    with suppress(Exception):  # a property of the user's
        completion = getattr(error, "completion", None)  # openai's, of a reply that is too long or was filtered
    trace = traceback_of(error)
    while completion is None and trace is not None:
        if trace.tb_frame.f_code.co_name == "parser":
            values = trace.tb_frame.f_locals
            completion = next((values[name] for name in _UNPARSED if name in values), None)
        trace = trace.tb_next
    reply = Reply() if completion is None else read_reply(completion)
    return reply.replace(outcome=outcome_of(error), error=error, raw=None)


_UNPARSED = ("raw_completion", "raw_response", "response")
"""Names of the reply in the function by which the SDKs' `parse` makes the caller's class of it."""
