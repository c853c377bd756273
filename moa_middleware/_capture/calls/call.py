"""
The conversation of one call, from its entry to its end.

It is a generator of effects that a driver performs (`flow.driver`), so that one source serves sync and
async code and every kind of stream. What a call learns on the way it puts into its `CallState`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import ResendError
from ..flow.chain import Send, chain
from ..flow.driver import Deliver
from ..flow.model import SAID, Call, Reply
from ..flow.observers import NOBODY
from ..flow.outcome import outcome_of
from ..frames import add_note
from ..log import log
from ..scope import current, enter, leave
from ..shapes.parts import read_parts
from ..shapes.replies import read_reply
from ..streams.kinds import is_manager, is_stream
from ..streams.state import End
from ..turns.turn import turn_for_call
from .answer import check_readable, check_stream, check_value, render_reply, wants_stream
from .execution import CallExecution
from .kept_reply import keep
from .request import RequestExchange

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from ..flow.driver import Conversation, Effect
    from ..flow.model import Outcome
    from ..flow.outcome import ErrorInfo
    from ..scope import Scope
    from ..shapes.request import Request
    from ..streams.state import StreamState
    from ..turns.turn import Attempt
    from .invocation import Invocation

__all__ = ["CallConversation", "conversation_of", "go_on"]


def as_reply(value: Any) -> Reply:
    """Return what a middleware answered as a reply; a stream is left unread."""
    if isinstance(value, Reply):
        return value
    if is_stream(value) or is_manager(value):
        return Reply(raw=value)
    reply = read_reply(value)
    if isinstance(value, tuple):
        reply = read_parts(value, reply)
    return reply.replace(source="middleware")


def conversation_of(invocation: Invocation) -> Conversation:
    """Return the conversation of a call that begins."""
    named, request = invocation.read()
    here = current()
    state = invocation.open_call(named, request, here, turn_for_call(here))
    stack = invocation.stack
    call = invocation.call(state, request)
    if _is_nested(stack, here):
        # Middleware has had it, further out.
        return CallConversation(invocation, state, call).start()
    return CallConversation(invocation, state, call, middleware=stack.middleware, observers=stack.observers).start()


def go_on(invocation: Invocation, attempt: Attempt, scope: Scope, request: Request, box: list[Any]) -> Conversation:
    """
    Return the conversation that goes on with a request which went out by the straight road.

    Args:
        invocation: Of the function.
        attempt: The request.
        scope: Where it was made.
        request: Its parts.
        box: Holds what the function returned: a future, a manager, an awaitable, a raw response or a helper.
    """
    return CallConversation(invocation, attempt.call_state, invocation.call(attempt.call_state, request)).start(
        (attempt, scope, box)
    )


def _is_nested(stack: object, here: Scope | None) -> bool:
    """Return True if the running code is inside a call of this stack."""
    attempt = here.parent if here is not None else None
    while attempt is not None:
        if attempt.call_state.stack is stack:
            return True
        attempt = attempt.call_state.parent
    return False


class CallConversation(CallExecution):
    """One call through a stack's middleware and observers to the wrapped function and back."""

    __slots__ = ()

    def start(self, sent: tuple[Attempt, Scope, list[Any]] | None = None) -> Conversation:
        """
        Return the conversation, which a driver runs.

        Args:
            sent: The request, its scope and what holds its reply, where it went out by the straight road.
        """
        self.conversation = self._run(sent)
        return self.conversation

    def _run(self, sent: tuple[Attempt, Scope, list[Any]] | None) -> Conversation:
        call_state, turn = self.call_state, self.call_state.turn
        outcome: Outcome = "completed"
        failure: BaseException | ErrorInfo | None = None
        try:
            if sent is not None:
                # It went out by the straight road; what came back is not a plain value.
                attempt, scope, box = sent
                sent = None
                yield from RequestExchange(self, attempt, self.call, NOBODY, scope=scope).take(box)
                _, value, call_state.chosen, _ = self.wire[-1]
            elif self.middleware:
                result = yield from self._through_middleware()
                value = yield from self._answer(result)
            else:
                # The same result as the chain and the answer without a middleware, at half the cost.
                yield from RequestExchange(self, *self.begin(self.call)).send(self.invocation.wrapped)
                _, value, call_state.chosen, _ = self.wire[-1]
            last = call_state.final if call_state.attempts else None
            if last is not None and last.reply is not None:
                outcome, failure = last.reply.outcome, last.error
        except BaseException as error:
            outcome, failure = outcome_of(error), error
            if not call_state.attempts:
                # Refused before it was sent, for example by a budget. Without a record the trace would hide the refusal.
                self.report(Reply(outcome=outcome, error=error, source="middleware"))
            raise
        else:
            return value
        finally:
            self.earlier.clear()
            call_state.finish()
            if turn.implicit and call_state.parent is None:
                turn.leave(outcome, failure)
            # As in `flow.driver`: an exception kept in a frame is a cycle.
            failure = None

    def _through_middleware(self) -> Generator[Effect, Any, Reply]:
        """Run the chain and send what it wants sent; returns the reply that it settles on."""
        answered = chain(self.middleware, self.call, read=self._read, reached=self._reached)
        # The caller is in no turn, and middleware sees that of the call all the same.
        scope = self.call_state.turn.scope() if self.call_state.turn.implicit else None
        broke: BaseException | None = None
        """What ended a stream that the consumer has had chunks of: it is the consumer's to get."""
        too_late: ResendError | None = None
        end: End | None = None
        try:
            effect = _step(scope, answered.__next__)
            while True:
                error: BaseException | None = None
                got: Any = None
                try:
                    if type(effect) is not Send:
                        got = yield effect
                    elif end is not None and not self._may_resend(end):
                        too_late = _too_late(effect, self.state)
                        error = too_late
                    else:
                        broke = end = None
                        got, end = yield from RequestExchange(self, *self.begin(effect.call)).send(
                            self.invocation.wrapped
                        )
                        broke = end.error if end is not None else None
                except BaseException as raised:
                    error = raised
                    if type(effect) is Send:
                        self.earlier.append(raised)
                        end = End("error", raised, listening=True)
                effect = _step(scope, answered.throw, error) if error is not None else _step(scope, answered.send, got)
        except StopIteration as stop:
            reply: Reply = stop.value
            return reply
        except Exception as raised:
            if broke is None or raised is broke:
                broke = None
                raise
            add_note(broke, str(raised) if raised is too_late else _raised_after(raised))
        finally:
            error = too_late = end = got = None
        try:
            # Not from within the handler: Python would make the exception that is being handled its
            # `__context__`, and the caller's exception is not ours to change.
            raise broke
        finally:
            broke = None

    def _read(self, value: Any, name: str) -> Reply:
        self.answered_by = name
        return as_reply(value)

    def _reached(self, call: Call) -> None:
        self.reached = call

    def _may_resend(self, end: End) -> bool:
        """Return True if another stream may go on for the one that ended: nothing was delivered yet."""
        return self.state is None or self.is_early(end)

    def _answer(self, result: Reply) -> Conversation:
        """Return to the caller what the middleware settled on."""
        for reply, value, attempt, mapped in self.wire:
            if reply is not result:
                if reply._details is not result._details or not _same_answer(reply, result):
                    continue
                # The same with something noted on it, such as its price.
                keep(attempt, result)
            self.call_state.chosen = attempt
            if mapped is not None:
                self.call_state.chosen = self.report_mapped(mapped, reply) or attempt
            if value is not None and self.delivered:
                # A resend brought a completed response where a stream had been promised.
                yield from self._go_on_with((yield from render_reply(self, result)))
                return None
            return value
        if self.delivered and self.state is not None and self.state.delivered:
            log("moa.late_replacement", reason="chunks had been delivered; the reply was not replaced")
            return None
        source = "cache" if result.source == "provider" else result.source
        raw = result.raw
        if raw is not None and (is_stream(raw) or is_manager(raw)):
            check_stream(self, raw)
            attempt, call, observation = self.begin(self.answered_call())
            yield from RequestExchange(self, attempt, call, observation, source).receive([raw])
            return None if self.delivered else self.wire[-1].value
        if raw is not None and wants_stream(self):
            check_readable(self, result)
        elif raw is not None:
            check_value(self, raw)
            self.report(result.replace(source=source))
            return raw
        self.report(result.replace(source=source))
        rendered = yield from render_reply(self, result)
        if not self.delivered:
            return rendered
        yield from self._go_on_with(rendered)
        return None

    def _go_on_with(self, stream: Any) -> Generator[Effect, Any, None]:
        """Let the consumer's proxy read another stream, which is on record already."""
        assert self.state is not None  # noqa: S101 - a proxy is out
        self.state.begin()
        yield Deliver(stream)
        self.state.reply = self.call_state.attempts[-1].reply


def _step(scope: Scope | None, step: Callable[..., Any], *args: Any) -> Any:
    """Run middleware to its next effect, inside a scope if there is one."""
    former = enter(scope) if scope is not None else None
    try:
        return step(*args)
    finally:
        # The traceback of an exception holds this frame: one that is kept in it would be a cycle.
        args = ()
        if scope is not None:
            leave(scope, former)


def _same_answer(one: Reply, other: Reply) -> bool:
    """Return True if two replies say the same, whatever else is noted on them."""
    return all(getattr(one, name) == getattr(other, name) for name in SAID)


def _raised_after(error: BaseException) -> str:
    """Return a note for the exception of a stream, about one that a middleware raised because of it."""
    notes = getattr(error, "__notes__", ())
    who = next((note for note in reversed(notes) if note.startswith("raised by ")), "raised by a middleware")
    return f"after that, {type(error).__qualname__} was {who}"


def _too_late(effect: Send, state: StreamState | None) -> ResendError:
    count = state.delivered if state is not None else 0
    when = f"after {count} chunks were delivered" if count else "after the consumer had left"
    return ResendError(f"`{effect.by}` asked to resend {when}")
