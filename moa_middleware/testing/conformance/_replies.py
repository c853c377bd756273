"""Scenarios of what replies hold, and of how a client is instrumented."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._look import describe_function, walk
from ._plan import Plan, ToolCall
from ._scenario import scenario

if TYPE_CHECKING:
    from ._caller import ClientCall, User

__all__: list[str] = []

_CALLS = (ToolCall("call_1", "weather", '{"city": "Paris"}'), ToolCall("call_2", "weather", '{"city": "Rome"}'))
_TOOLS = Plan(pieces=(), tool_calls=_CALLS, finish_reason="tool_calls")
_TEXT_AND_TOOLS = Plan(tool_calls=_CALLS[:1], finish_reason="tool_calls")
_REASONING = Plan(reasoning=("First ", "think."))
_REFUSAL = Plan(pieces=(), refusal="I cannot do that.")
_CHOICES = Plan(more_choices=(("Uno ", "dos."), ("Eins ", "zwei ", "drei.")))
_NO_USAGE = Plan(usage=None)
_CUT_OFF = Plan(finish_reason="length")


async def _value(user: User, plan: Plan | None = None) -> ClientCall:
    client_call = user.prepare(plan, stream=False)
    await client_call.value()
    client_call.ends("completed")
    return client_call


async def _stream(user: User, plan: Plan | None = None) -> ClientCall:
    client_call = await user.ask(plan)
    await client_call.read()
    client_call.ends("completed")
    return client_call


async def _either(user: User) -> ClientCall:
    return await (_stream(user) if "stream" in user.harness.supports else _value(user))


# What a reply holds. ------------------------------------------------------------------------------


@scenario("value")
async def value(user: User) -> None:
    """Ask for a whole reply."""
    await _value(user)


@scenario("value", "tools")
async def value_with_tool_calls(user: User) -> None:
    """Get tool calls and no text."""
    await _value(user, _TOOLS)


@scenario("stream", "tools")
async def stream_with_tool_calls(user: User) -> None:
    """Get two tool calls in pieces, and no text."""
    await _stream(user, _TOOLS)


@scenario("stream", "tools")
async def stream_with_text_and_a_tool_call(user: User) -> None:
    """Get text, then a tool call."""
    await _stream(user, _TEXT_AND_TOOLS)


@scenario("value", "reasoning")
async def value_with_reasoning(user: User) -> None:
    """Get reasoning and text."""
    await _value(user, _REASONING)


@scenario("stream", "reasoning")
async def stream_with_reasoning(user: User) -> None:
    """Get reasoning in pieces, then text."""
    await _stream(user, _REASONING)


@scenario("value", "refusal")
async def value_with_a_refusal(user: User) -> None:
    """Get a refusal in place of text."""
    await _value(user, _REFUSAL)


@scenario("stream", "refusal")
async def stream_with_a_refusal(user: User) -> None:
    """Get a refusal in pieces."""
    await _stream(user, _REFUSAL)


@scenario("value", "choices")
async def value_with_choices(user: User) -> None:
    """Get three choices."""
    await _value(user, _CHOICES)


@scenario("stream", "choices")
async def stream_with_choices(user: User) -> None:
    """Get three choices in pieces."""
    await _stream(user, _CHOICES)


@scenario("value", "usage")
async def value_without_usage(user: User) -> None:
    """Get no usage."""
    await _value(user, _NO_USAGE)


@scenario("stream", "usage")
async def stream_without_usage(user: User) -> None:
    """Get no usage in a stream."""
    await _stream(user, _NO_USAGE)


@scenario("stream", "finish_reason")
async def stream_cut_off_by_length(user: User) -> None:
    """Get a stream that ends at the limit of tokens."""
    await _stream(user, _CUT_OFF)


@scenario("stream", "whole")
async def answered_whole(user: User) -> None:
    """Ask for a stream and get a whole reply."""
    client_call = user.prepare(Plan(whole=True))
    await client_call.value()
    client_call.ends("completed", streamed=False)


# Requests that fail, and what is asked. -----------------------------------------------------------


@scenario("value", "refused")
async def refused(user: User) -> None:
    """Get an error in place of a reply."""
    client_call = user.prepare(Plan(stop="refused"), stream=False)
    with client_call.catching():
        await client_call.value()
    client_call.ends("error")


@scenario("stream", "refused")
async def refused_stream(user: User) -> None:
    """Get an error in place of a stream."""
    client_call = user.prepare(Plan(stop="refused"))
    with client_call.catching():
        await client_call.begin()
        await client_call.read()
    client_call.ends("error", streamed=None)


@scenario("value", "refused")
async def retried_by_the_caller(user: User) -> None:
    """Get an error, and ask once more."""
    await refused(user)
    await _value(user)


@scenario("value", "iterator")
async def messages_from_a_generator(user: User) -> None:
    """Hand over an iterator of messages: the model has to get them."""
    client_call = user.prepare(stream=False)
    given = (message for message in client_call.messages)
    client_call.take_value(await client_call.begin(lambda: user.harness.call(user.client, given, stream=False)))
    user.note("left in the iterator", list(given))
    client_call.ends("completed")


@scenario("stream", "iterator")
async def stream_of_messages_from_a_generator(user: User) -> None:
    """Hand over an iterator of messages, and read a stream."""
    client_call = user.prepare()
    given = (message for message in client_call.messages)
    await client_call.begin(lambda: user.harness.call(user.client, given, stream=True))
    await client_call.read()
    user.note("left in the iterator", list(given))
    client_call.ends("completed")


# Instrumenting. -----------------------------------------------------------------------------------


@scenario()
async def looks_the_same(user: User) -> None:
    """Look at what is instrumented by introspection, then use it."""
    for path in user.harness.entry_points:
        owner, name = walk(user.client, path)
        user.note(path, describe_function(getattr(owner, name)))
    await _either(user)


@scenario("twice")
async def instrumented_twice(user: User) -> None:
    """Instrument a second time: it is one layer."""
    if user.instrumented:
        user.note("the same object", user.harness.instrument(user.client) is user.client)
    else:
        user.note("the same object", True)
    await _either(user)


@scenario("undo")
async def uninstrumented_again(user: User) -> None:
    """Undo the instrumentation: the attributes are as before, and nothing is recorded."""
    if user.instrumented:
        user.harness.uninstrument(user.client)
    for path in user.harness.entry_points:
        owner, name = walk(user.client, path)
        user.note(path, _holders(owner, name))
    client_call = await _either(user)
    client_call.expected = None


@scenario("twice", "undo")
async def instrumented_anew(user: User) -> None:
    """Undo the instrumentation and instrument again."""
    if user.instrumented:
        user.harness.uninstrument(user.client)
        user.client = user.harness.instrument(user.client)
    await _either(user)


def _holders(owner: Any, name: str) -> list[tuple[str, str]]:
    """Return where an attribute is kept, on the object and in its classes, and what it is there."""
    places = [owner, *type(owner).__mro__]
    found = [(place, vars(place)[name]) for place in places if name in getattr(place, "__dict__", {})]
    return [("the object" if place is owner else place.__qualname__, type(kept).__name__) for place, kept in found]
