"""
What happens when a wrapped function is called: which road an invocation takes.

1. Nothing to do, since nobody records and nobody is on the stack: the function itself.
2. A turn (`turn_run`), or a call that nobody on the stack watches (`straight`): the straight road.
3. A call with middleware or observers: a conversation (`call`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ..flow.driver import drive_async, start_sync
from ..frames import hide_own_frames
from ..log import count_fault
from ..scope import current, invoke, resolve
from ..turns.turn import current_turn, turn_for_call
from . import call, prepared, straight, turn_run
from .function import Options, WrappedFunction
from .invocation import Invocation
from .senders import scope_of_call

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..flow.driver import Conversation
    from ..scope import Scope
    from ..turns.stack_like import StackLike

__all__ = ["call_through"]


# The wrapper calls this function itself, without a frame between, and it calls the road that calls the
# user's function: two frames of ours a level where a program recurses through a decorated function, three
# with middleware, one where nothing is recorded (tests/behaviour/instrument/test_depth.py). A helper around
# the road would be one more.
def call_through(  # noqa: PLR0917 - on the path of every call, where keywords cost
    stack: StackLike,
    options: Any,
    cache: dict[str, WrappedFunction],
    path: str,
    wrapped: Callable[..., Any],
    instance: object,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Any:
    """
    Run one invocation of a wrapped function.

    Args:
        stack: The stack.
        options: `Options` of the decorator; or, where they depend on the object, a function of `instance`
            that returns them, `None` for an object that is not instrumented.
        cache: Of the wrapper: what is known of the function.
        path: The dotted path that it was found by.
        wrapped: The function, bound to `instance`.
        instance: The object whose method it is, `None` for a function.
        args: Of the function.
        kwargs: Of the function.
    """
    invocation = turn = outside = None
    is_turn = False
    is_watched: Any = None
    try:
        # What is ours comes first, and a fault of it costs the record: the function is called as if it were bare.
        # The block costs nothing, where one around a helper would be a frame a call. It is left by `break`.
        try:
            while True:
                if type(options) is not Options:
                    options = options(instance)
                    if options is None:
                        break
                is_turn = options.kind == "turn"
                here = current()
                turn = None if is_turn else turn_for_call(here)
                if turn is None:
                    if options.inside:
                        break
                    recording = stack.recording()
                else:
                    recording = turn.recording
                is_watched = stack.middleware or stack.observers
                # The last: it may finish a turn that was prepared while somebody recorded.
                if recording is None and not is_watched and (options.prepares is None or not prepared.is_waiting()):
                    break
                known = cache.get("")
                if known is None:
                    known = cache[""] = WrappedFunction(wrapped, options, path)
                if instance is None and known.takes_class and args and isinstance(args[0], type):
                    instance = args[0]
                if is_turn and _joins(instance, known.method, wrapped):
                    break
                if known.required and len(args) + len(kwargs) < known.required:
                    # Our coroutine would raise the TypeError when it is awaited. Callers that try a call, as uvicorn
                    # does to know a factory from an application, expect it now.
                    break
                if here is not None and here.parent is not None and here.parent.call_state.sends and turn is not None:
                    outside = scope_of_call(here, stack, known, wrapped, instance, args, kwargs)
                    if outside is not None:
                        break
                invocation = Invocation(stack, options, known, wrapped, instance, args, kwargs, recording)
                break
        except Exception as error:
            count_fault("entry", error)
        if outside is not None:
            again = partial(call_through, stack, options, cache, path, wrapped, instance, args, kwargs)
            if cache[""].returns_coroutine:
                return _named(_resolve_outside(outside, again), cache[""])
            return invoke(outside, again, (), {})
        if invocation is None:
            return wrapped(*args, **kwargs)
        function = invocation.function
        if is_turn:
            if not function.returns_coroutine:
                return turn_run.run(invocation)
            return _named(turn_run.run_async(invocation), function)
        if is_watched:
            if function.returns_coroutine:
                return _named(_converse(invocation), function)
            conversation = _conversation_of(invocation)
            if conversation is None:
                return wrapped(*args, **kwargs)
            return start_sync(conversation, async_stream=function.is_async_generator)
        if not function.returns_coroutine:
            return straight.run(invocation, turn, call.go_on)
        return _named(straight.run_async(invocation, call.go_on), function)
    except BaseException as error:
        hide_own_frames(error, everywhere=bool(stack.middleware or stack.observers))
        raise


async def _resolve_outside(scope: Scope, call: Callable[[], Any]) -> Any:
    """Run a coroutine function that is made inside another call where it belongs."""
    try:
        return await resolve(scope, call, (), {})
    except BaseException as error:
        hide_own_frames(error)
        raise


def _named(coroutine: Any, function: WrappedFunction) -> Any:
    """Return a coroutine under the name of the function that it stands for."""
    coroutine.__name__, coroutine.__qualname__ = function.name, function.qualname
    return coroutine


async def _converse(invocation: Invocation) -> Any:
    """Run the conversation of a coroutine function: everything, the start time too, when the coroutine runs."""
    try:
        conversation = _conversation_of(invocation)
        if conversation is None:
            return await invocation.wrapped(*invocation.args, **invocation.kwargs)
        return (await drive_async(conversation)).value
    except BaseException as error:
        hide_own_frames(error, everywhere=True)
        raise


def _conversation_of(invocation: Invocation) -> Conversation | None:
    """Return the conversation of a call; `None` after a fault of ours, which must not cost the user the call."""
    try:
        return call.conversation_of(invocation)
    except Exception as error:
        count_fault("entry", error)
        return None


def _joins(instance: object, name: str, wrapped: Callable[..., Any]) -> bool:
    """Return True if this is `super().create()` of the turn that is open: the same turn."""
    turn = current_turn()
    here = current()
    if turn is None or instance is None or here is None or here.parent is not None:
        return False
    fn = getattr(wrapped, "__func__", wrapped)
    # A subclass's `create` that calls `super().create()` is one execution, so one turn and one line; a
    # client that calls its own `create` again, as an agent does, begins another. The two differ by the
    # function: a recursion begins at the function that the turn began at, `super()` gets to another
    # one, as often as it likes.
    return any(frame[:2] == (id(instance), name) and frame[2] is not fn for frame in turn.frames)
