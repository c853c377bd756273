"""The fast path: what is read of a chunk at once comes to the same as reading each chunk whole."""

from __future__ import annotations

import asyncio
import gc
import json
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

import moa_middleware as moa
from moa_middleware._capture.shapes.accumulator import Accumulator
from moa_middleware.testing import capture_turns

# Chunks, as JSON -----------------------------------------------------------------------------------

TEXTS = st.sampled_from(["a", "bc", " ", "naïve ", '"', "\ud800", "words and words "])
PARTS = st.sampled_from([[{"type": "text", "text": "part "}], [{"type": "text", "text": "x"}, {"type": "image"}], [{}]])
CONTENT = st.one_of(TEXTS, TEXTS, TEXTS, TEXTS, st.sampled_from(["", None, 5]), PARTS)
CALL = st.fixed_dictionaries(
    {"index": st.integers(0, 1), "function": st.fixed_dictionaries({"arguments": st.sampled_from(["{", "1}", ""])})},
    optional={"id": st.sampled_from(["c1", "c2"])},
)
BESIDE = {
    "role": st.sampled_from(["assistant", None]),
    "reasoning_content": st.sampled_from(["why ", None, ""]),
    "reasoning": st.sampled_from(["because ", None]),
    "refusal": st.sampled_from(["no ", None]),
    "tool_calls": st.one_of(st.none(), st.lists(CALL, max_size=2)),
}
DELTA = st.one_of(
    st.fixed_dictionaries({"content": TEXTS}),
    st.fixed_dictionaries({"content": TEXTS}),
    st.fixed_dictionaries({}, optional={"content": CONTENT, **BESIDE}),
    st.none(),
)
CHOICE = st.fixed_dictionaries(
    {
        "index": st.sampled_from([0] * 8 + [1, None]),
        "delta": DELTA,
        "finish_reason": st.sampled_from([None] * 9 + ["stop"]),
    }
)
CHOICES = st.one_of(*[st.lists(CHOICE, min_size=1, max_size=1)] * 8, st.lists(CHOICE, max_size=2), st.none())
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
CHUNK = st.fixed_dictionaries({"choices": CHOICES, "usage": st.sampled_from([None] * 9 + [USAGE])})
EMPTY = {"choices": [{"index": 0, "delta": {}, "finish_reason": None}], "usage": None}
ODD = st.sampled_from([5, None, b"bytes", [], {"unknown": 1}])
DEVIATIONS = [
    ("index", 1),
    ("finish_reason", "stop"),
    *(("content", value) for value in ("", None, 5, [{"type": "text", "text": "part "}])),
    *((name, "more ") for name in ("reasoning_content", "reasoning", "refusal")),
    *(("tool_calls", [{"index": 0, "id": "c1", "function": {"arguments": text}}]) for text in ("{", "1}")),
    ("usage", USAGE),
    ("choices", None),
    ("delta", None),
]


def deviating(text, deviation):
    """Return a chunk that says a text and, unless that is no deviation, one thing more."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    chunk = {"choices": [choice], "usage": None}
    if deviation is not None:
        name, value = deviation
        (chunk if name in chunk else choice if name in choice else choice["delta"])[name] = value
    return chunk


PLAIN = st.builds(deviating, TEXTS, st.none())
STREAM = st.lists(
    st.one_of(*[PLAIN] * 8, *[st.builds(deviating, TEXTS, st.sampled_from(DEVIATIONS))] * 5, CHUNK, ODD), max_size=14
)


def text_chunk(chunk):
    """Return the delta of a chunk that is one text of the first choice, `None` for any other."""
    choices = chunk.get("choices") if isinstance(chunk, dict) else None
    if not choices or len(choices) > 1 or choices[0]["index"]:
        return None
    delta = choices[0]["delta"]
    return delta if delta and delta.get("content") else None


def rides(chunk, *, tools):
    """Whether a chunk with text says something that is read only where the next one is none of them."""
    delta = text_chunk(chunk)
    if delta is None:
        return False
    beside = ["reasoning_content", "reasoning", "refusal", *(() if tools else ("tool_calls",))]
    return bool(chunk["usage"] or chunk["choices"][0]["finish_reason"] or any(delta.get(name) for name in beside))


def readable(chunks, *, tools):
    """Return the chunks with an empty one behind each text that something rides on: the documented limit."""
    found = []
    for chunk in chunks:
        found.append(chunk)
        if rides(chunk, tools=tools):
            found.append(EMPTY)
    return found


# Chunks, as clients make them ----------------------------------------------------------------------


def namespace(value):
    if isinstance(value, dict):
        return SimpleNamespace(**{key: namespace(item) for key, item in value.items()})
    return [namespace(item) for item in value] if isinstance(value, list) else value


def constructed(value):
    return ChatCompletionChunk.construct(**json.loads(json.dumps(value)))


FORMS = {"sdk": constructed, "look-alike": namespace, "dict": lambda value: value}


class Shallow:
    """A chunk of attributes whose choices are dicts."""

    def __init__(self, **fields):
        self.__dict__.update(fields)


FORMS["shallow"] = lambda value: Shallow(**value)


def made(chunks, form):
    """Yield the chunks in one form, or each in the next one; an odd one is what it is."""
    forms = list(FORMS.values()) if form == "each in turn" else [FORMS[form]]
    for number, chunk in enumerate(chunks):
        known = isinstance(chunk, dict) and "choices" in chunk
        yield forms[number % len(forms)](chunk) if known else chunk


def reused(chunks, part):
    """Yield one object, or new ones around one part, which is changed for each chunk."""
    kept = namespace(EMPTY)
    for chunk in chunks:
        if not isinstance(chunk, dict) or not chunk.get("choices"):
            continue
        new = namespace(chunk)
        if part == "delta":
            kept.choices[0].delta.__dict__.clear()
            kept.choices[0].delta.__dict__.update(vars(new.choices[0].delta or SimpleNamespace()))
            new.choices[0].delta = kept.choices[0].delta
            yield new
        else:
            vars(kept).update(vars(new))
            yield kept


def shown(reply):
    """Return what a record tells of a reply."""
    usage = reply.usage
    return {
        "output": reply.text,
        "reasoning": reply.reasoning,
        "refusal": reply.refusal,
        "tool_calls": list(reply.tool_calls),
        "finish_reason": reply.finish_reason,
        "usage": usage
        and {name: getattr(usage, name) for name in ("input_tokens", "output_tokens", "reasoning_tokens")},
        "choices": list(reply.choices) or None,
        "chunks": reply.chunks,
    }


def read_whole(chunks):
    """Return the reply of chunks each of which is read as a whole, and how many were not understood."""
    acc = Accumulator()
    for chunk in chunks:
        acc.feed_whole(chunk)
    return shown(acc.reply()), acc.unread


FORM = st.sampled_from([*FORMS, "each in turn"])


@settings(max_examples=4 * settings.default.max_examples, deadline=None)
@given(STREAM, FORM, st.booleans())
def test_a_stream_fed_comes_to_what_its_chunks_come_to(chunks, form, tools):
    """Text, thoughts, refusals, tool calls, reasons, tokens, choices, the number of chunks and of the odd ones."""
    chunks = readable(chunks, tools=tools)
    acc = Accumulator(tools=tools)
    for chunk in made(chunks, form):
        acc.feed(chunk)
    assert len(chunks) == acc.count
    assert read_whole(made(chunks, form)) == (shown(acc.reply()), acc.unread)


@settings(max_examples=2 * settings.default.max_examples, deadline=None)
@given(STREAM, st.sampled_from(["chunk", "delta"]), st.booleans())
def test_an_object_that_a_client_uses_again_is_read_as_it_was(chunks, part, tools):
    """Nothing of a chunk is read from the object when it is another chunk by then."""
    chunks = [chunk for chunk in chunks if not rides(chunk, tools=tools)]
    acc = Accumulator(tools=tools)
    for chunk in reused(chunks, part):
        acc.feed(chunk)
    assert read_whole(reused(chunks, part)) == (shown(acc.reply()), acc.unread)


# The same through the proxies ----------------------------------------------------------------------


class Stream:
    """A stream whose iterator is another object, as the SDKs' are."""

    def __init__(self, source):
        self.source = source

    def __iter__(self):
        yield from self.source

    def __next__(self):
        return next(self.source)


class AsyncStream:
    """The same, to be awaited."""

    def __init__(self, source):
        self.source = source

    async def __aiter__(self):
        for chunk in self.source:
            yield chunk

    async def __anext__(self):
        for chunk in self.source:
            return chunk
        raise StopAsyncIteration


class Steps:
    """An iterator for sync and async code alike."""

    def __init__(self, source):
        self.source = source

    def __iter__(self):
        return self

    def __aiter__(self):
        return self

    def __next__(self):
        return next(self.source)

    async def __anext__(self):
        for chunk in self.source:
            return chunk
        raise StopAsyncIteration


class Both(Stream):
    """A stream whose iterator, another object, can be stepped in both ways."""

    def __iter__(self):
        return Steps(self.source)


async def async_generator(source):
    for chunk in source:
        yield chunk


def generator(source):
    yield from source


def client_of(source, kind):
    """Return a client of the SDK's form whose reply is a stream of one kind."""

    class Completions:
        def create(self, *, model, messages, stream, tools=None):
            return kind(source)

    return moa.instrument(SimpleNamespace(chat=SimpleNamespace(completions=Completions())))


def read(stream, most, step):
    """Read a stream up to a number of chunks; by `for`, by `next`, or now this way and now that."""
    seen = []
    while len(seen) < most:
        if step == "next" or (step == "mixed" and len(seen) % 3 == 2):
            try:
                seen.append(next(stream))
            except StopIteration:
                return seen
            continue
        for chunk in stream:
            seen.append(chunk)
            if len(seen) == most or (step == "mixed" and len(seen) % 3 == 2):
                break
        else:
            return seen
    return seen


async def read_async(stream, most, step):
    seen = []
    while len(seen) < most:
        if step == "next" or (step == "mixed" and len(seen) % 3 == 2):
            try:
                seen.append(await anext(stream))
            except StopAsyncIteration:
                return seen
            continue
        async for chunk in stream:
            seen.append(chunk)
            if len(seen) == most or (step == "mixed" and len(seen) % 3 == 2):
                break
        else:
            return seen
    return seen


async def asked_async(create, request, most, step):
    return await read_async(create(**request), most, step)


TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {}}}]


@pytest.mark.parametrize("step", ["for", "next", "mixed"])
@pytest.mark.parametrize("kind", [Stream, Both, generator, AsyncStream, async_generator])
@settings(max_examples=2 * settings.default.max_examples // 5, deadline=None)
@given(chunks=STREAM, form=FORM, tools=st.booleans(), most=st.integers(0, 20))
def test_the_loops_read_what_the_chunks_say(step, kind, *, chunks, form, tools, most):
    """By `for`, by `next`, mixed, sync and async, to the end or to a `break` anywhere: the very chunks, and all they say."""
    items = list(made(readable(chunks, tools=tools), form))
    request = {"model": "m", "messages": [], "stream": True, "tools": TOOLS if tools else None}
    with capture_turns() as turns:
        create = client_of(iter(items), kind).chat.completions.create
        if kind in (AsyncStream, async_generator):
            seen = asyncio.run(asked_async(create, request, most, step))
        else:
            seen = read(create(**request), most, step)
        # The young generation is enough, unless a collection came in between and the stream is older by now.
        gc.collect(0)
        if not turns:
            gc.collect()
    assert len(items[:most]) == len(seen)
    assert all(one is other for one, other in zip(items, seen, strict=False))
    (turn,) = turns
    (call,) = [entry for entry in (*turn["references"], turn["aggregator"], *turn["calls"]) if entry]
    expected, _ = read_whole(seen)
    found = {name: call[name] for name in expected}
    found["usage"] = {name: found["usage"][name] for name in expected["usage"]} if found["usage"] else None
    assert expected == found


# Objects that raise -------------------------------------------------------------------------------


class Odd:
    """A usage whose every figure raises."""

    @property
    def prompt_tokens(self):
        raise RuntimeError("not computed yet")

    completion_tokens = prompt_tokens_details = input_tokens = prompt_tokens


class Locked:
    """A usage that raises whatever is asked, and is no `AttributeError`."""

    def __getattr__(self, name):
        raise RuntimeError(name)


@pytest.mark.parametrize("usage", [Odd, Locked])
@pytest.mark.parametrize("streamed", [False, True])
def test_a_usage_that_raises_costs_nobody_anything(usage, streamed, turns):
    """The caller gets its reply, and the record has the text."""
    if streamed:
        last = namespace({**EMPTY, "usage": None})
        last.usage = usage()
        items = [
            *made([{"choices": [{"index": 0, "delta": {"content": "text"}, "finish_reason": None}]}] * 2, "sdk"),
            last,
        ]
        seen = read(
            client_of(iter(items), Stream).chat.completions.create(model="m", messages=[], stream=True), 9, "for"
        )
        assert items == seen
    else:
        message = {"role": "assistant", "content": "texttext"}
        reply = ChatCompletion.construct(choices=[{"index": 0, "message": message, "finish_reason": "stop"}])
        reply.usage = usage()
        create = client_of(reply, lambda value: value).chat.completions.create
        assert reply is create(model="m", messages=[], stream=False)
    (turn,) = turns
    assert "texttext" == turn["output"]
    assert [] == [key for key in turn["tags"] if key.startswith("moa.")]


def test_a_figure_of_usage_that_is_no_json_spoils_no_record(turns):
    """What a provider's usage holds is anybody's: it is named, and the rest of the record stands."""
    reply = namespace({"choices": [{"index": 0, "message": {"content": "text"}, "finish_reason": "stop"}]})
    reply.usage = SimpleNamespace(prompt_tokens=3, completion_tokens=4, iterator=iter([1, 2]), inner={1: object()})
    create = client_of(reply, lambda value: value).chat.completions.create
    assert reply is create(model="m", messages=[], stream=False)
    assert [1, 2] == list(reply.usage.iterator)
    (turn,) = turns
    assert "text" == turn["output"]
    assert 3 == turn["totals"]["usage"]["input_tokens"]
