"""`map_chunks` that hides everything: of what a model said no word reaches the consumer, in whichever event it came."""

from __future__ import annotations

import asyncio
import re

import pytest

import moa_middleware as moa
from moa_middleware.testing import capture_turns
from tests.support.wire_forms import all_forms
from tests.support.wire_replay import wire

MESSAGES = [{"role": "user", "content": "q"}]
REQUESTS = {
    "chat": ("chat.completions", {"model": "m", "messages": MESSAGES}),
    "responses": ("responses", {"model": "m", "input": "q"}),
    "messages": ("messages", {"model": "m", "messages": MESSAGES, "max_tokens": 50}),
}
SDKS = {"chat": "openai", "responses": "openai", "messages": "anthropic"}
FORMS = [
    form
    for form in all_forms()
    if form.streamed and form.status == 200 and form.api in SDKS and SDKS[form.api] in form.sdks
]
KINDS = ("text", "reasoning", "refusal")


def hidden_call(call):
    """Return a tool call with other arguments, where they are a text of pieces."""
    return {**call, "function": {**call["function"], "arguments": "1" if call["function"]["arguments"] else ""}}


def hide(call):
    """Put other words in the place of everything that the model says."""
    call.map_chunks(
        lambda chunk: chunk.replace(
            **{kind: "#" if getattr(chunk, kind) else "" for kind in KINDS},
            tool_calls=[hidden_call(call) for call in chunk.tool_calls],
        )
    )
    yield call


def drop(call):
    """Drop each chunk that says anything; the beginnings of calls stay."""
    call.map_chunks(lambda chunk: None if any(getattr(chunk, kind) for kind in KINDS) else chunk)
    yield call


def held(call):
    """Hide behind `buffer`."""
    call.buffer()
    return (yield from hide(call))


def resource(client, form):
    path, arguments = REQUESTS[form.api]
    for name in path.split("."):
        client = getattr(client, name)
    return client, arguments


def read(form, middleware, *, is_async, by_next=False):
    """Return what a consumer sees of each event, the exception that ended the stream, and the turns."""
    made = wire(SDKS[form.api], is_async=is_async, role="hidden")
    made.form = form
    stack = moa.Stack(middleware)
    client = stack.instrument(made.client)
    seen = []

    async def read_async(create, arguments):
        stream = await create(stream=True, **arguments)
        if by_next:
            while (event := await anext(stream, None)) is not None:
                seen.append(event)
        else:
            seen.extend([event async for event in stream])

    def read_sync(create, arguments):
        stream = create(stream=True, **arguments)
        if by_next:
            while (event := next(stream, None)) is not None:
                seen.append(event)
        else:
            seen.extend(stream)

    error = None
    try:
        with capture_turns() as turns:
            resource_, arguments = resource(client, form)
            if is_async:
                asyncio.run(read_async(resource_.create, arguments))
            else:
                read_sync(resource_.create, arguments)
    except Exception as raised:
        error = raised
    finally:
        stack.uninstrument(client)
    return seen, error, list(turns)


def words_in(text):
    return {word for word in re.findall(r"\w+", text) if len(word) > 2}


def words_of(turns, *kinds):
    """Return the words that the provider's reply has, by the record of it."""
    calls = [one for turn in turns for one in (turn["aggregator"], *turn["references"], *turn["calls"]) if one]
    text = ""
    for call in calls:
        for one in (call, *(call.get("choices") or ())):
            text += (
                f" {one.get('output') or one.get('text') or ''} {one.get('reasoning') or ''} {one.get('refusal') or ''}"
            )
            if "tools" in kinds:
                text += " ".join(one["function"]["arguments"] for one in one.get("tool_calls") or ())
    return words_in(text)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_no_word_passes(form, is_async):
    """Each form of a stream, with texts, reasoning, refusals and arguments in every place that a provider uses."""
    bare, _, turns = read(form, [], is_async=is_async)
    words = words_of(turns, "tools")
    seen, error, _ = read(form, [hide], is_async=is_async)
    if isinstance(error, moa.ReplyFormError):
        # Nothing passes either: the arguments of the provider's own tools are objects, in no place of a text.
        assert "tool call" in str(error)
        return
    assert len(seen) == len(bare)
    assert not words & words_in(" ".join(map(repr, seen)))


HELPERS = ["response-stream-text", "response-stream-two-messages", "response-stream-refusal", "response-stream-call"]
HELPERS += ["response-stream-custom-call", "message-stream-thinking", "message-stream-calls-and-text"]
NAMED = {form.name: form for form in FORMS}


def final_of(form, middleware, *, is_async):
    """Return what an SDK's `stream()` shows: its events, and the message or response that it makes of them."""
    made = wire(SDKS[form.api], is_async=is_async, role="hidden")
    made.form = form
    stack = moa.Stack(middleware)
    client = stack.instrument(made.client)
    resource_, arguments = resource(client, form)
    seen = []

    async def read_async():
        async with resource_.stream(**arguments) as stream:
            seen.extend([repr(event) async for event in stream])
            final = stream.get_final_response if form.api == "responses" else stream.get_final_message
            return await final()

    try:
        if is_async:
            return seen, asyncio.run(read_async())
        with resource_.stream(**arguments) as stream:
            seen.extend(repr(event) for event in stream)
            return seen, (stream.get_final_response if form.api == "responses" else stream.get_final_message)()
    finally:
        stack.uninstrument(client)


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("name", HELPERS)
def test_no_word_is_in_the_final_object(name, is_async):
    """`responses.stream()` and `messages.stream()` make their snapshots of what was let through."""
    form = NAMED[name]
    words = words_of(read(form, [], is_async=is_async)[2], "tools")
    seen, final = final_of(form, [hide], is_async=is_async)
    assert words
    assert not words & words_in(f"{' '.join(seen)} {final!r}")
    assert "#" in repr(final) or "11" in repr(final)


@pytest.mark.parametrize("name", ["response-stream-text", "response-stream-two-messages", "response-stream-summary"])
def test_dropped_pieces_are_in_no_closing_event(name):
    """A piece that is dropped leaves no copy of itself either."""
    seen, error, turns = read(NAMED[name], [drop], is_async=False)
    assert error is None
    words = words_of(read(NAMED[name], [], is_async=False)[2])
    assert not words & words_in(" ".join(map(repr, seen)))
    assert "response.completed" == seen[-1].type
    assert [""] == [turn["output"] or "" for turn in turns]


@pytest.mark.parametrize(
    "name", ["response-stream-text", "message-stream-text", "chat-stream-text", "chat-stream-call"]
)
@pytest.mark.parametrize("middleware", [hide, held], ids=["hide", "buffer"])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_each_way_to_read_shows_the_same(name, middleware, is_async):
    """By `next` and by `for`, held back or not."""
    form = NAMED[name]
    shown = [repr(one) for one in read(form, [hide], is_async=False)[0]]
    for by_next in (False, True):
        assert shown == [repr(one) for one in read(form, [middleware], is_async=is_async, by_next=by_next)[0]]


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS, ids=str)
def test_a_stream_that_is_left_as_it_is_has_the_same_events(form):
    """Of a chunk that is not changed the very object goes on; only a text in the beginning of an item is taken out."""
    raws = []

    def look(call):
        call.on_chunk(lambda chunk: raws.append(chunk.raw))
        call.map_chunks(lambda chunk: chunk.replace(text=f"{chunk.text}"))
        yield call

    seen, _, _ = read(form, [look], is_async=False)
    found = {id(raw) for raw in raws}
    assert all(id(one) in found or one.type.endswith(".added") for one in seen)


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_taps_see_what_the_record_has(form):
    """The pieces of a tap join to the reply on record: nothing twice, nothing left out; calls by their index."""
    said = {}

    def look(call):
        def add(chunk):
            for kind in KINDS:
                said[chunk.choice, kind] = said.get((chunk.choice, kind), "") + getattr(chunk, kind)
            for one in chunk.tool_calls:
                key = chunk.choice, "call", one["index"]
                said[key] = said.get(key, "") + one["function"]["arguments"]

        call.on_chunk(add)
        said["reply"] = yield call

    read(form, [look], is_async=False)
    reply = said.pop("reply", None)
    if reply is None or reply.error is not None or reply.choices:
        return
    for kind in KINDS:
        assert (getattr(reply, kind) or "") == said.get((0, kind), "")
    # Ollama sends every call under the same index.
    joined = [text for key, text in said.items() if len(key) == 3]
    assert "".join(call["function"]["arguments"] for call in reply.tool_calls) == "".join(joined)
    assert len(joined) in (len(reply.tool_calls), 1)
