"""Chunks by their choices and kinds: what a tap sees of each, and what it may replace in which form."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import openai
import pytest

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer, capture_turns

HELLO = [{"role": "user", "content": "q"}]
CALLS = [
    {"index": 0, "id": "a", "type": "function", "function": {"name": "look", "arguments": '{"at":'}},
    {"index": 1, "id": "b", "type": "function", "function": {"name": "hear", "arguments": "{}"}},
]


def streamed(fn, items, *, is_async=False, tap="map_chunks"):
    """Return what the consumer gets of a stream of a plain function, and its turns."""

    def change(call):
        getattr(call, tap)(fn)
        yield call

    stack = moa.Stack([change])

    @stack.reference
    def stream(messages):
        yield from items

    @stack.reference
    async def stream_async(messages):
        for item in items:
            yield item

    async def read():
        return [item async for item in stream_async(HELLO)]

    with capture_turns() as turns:
        found = asyncio.run(read()) if is_async else list(stream(HELLO))
    return found, turns


def chunk(*choices, **more):
    return {"choices": [{"index": index, "delta": delta} for index, delta in choices], **more}


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_each_choice_is_a_chunk(is_async):
    """Two choices in one object: both pass the tap, and each is changed for itself; the tokens come once."""
    seen = []

    def louder(one):
        seen.append((one.choice, one.text, one.usage is not None))
        return one.text.upper()

    usage = {"prompt_tokens": 1, "completion_tokens": 2}
    item = chunk((0, {"content": "a"}), (1, {"content": "b"}), usage=usage)
    [found], [turn] = streamed(louder, [item], is_async=is_async)
    assert [(0, "a", False), (1, "b", True)] == seen
    assert ["A", "B"] == [one["delta"]["content"] for one in found["choices"]]
    assert ["a", "b"] == [one["delta"]["content"] for one in item["choices"]]
    assert ["A", "B"] == [one["text"] for one in turn["references"][0]["choices"]]


def test_one_of_two_choices_is_dropped():
    """The other goes on, in a chunk of its own; a chunk whose choices are all dropped is gone."""
    items = [chunk((0, {"content": "a"}), (1, {"content": "b"})), chunk((1, {"content": "c"}))]
    found, _ = streamed(lambda one: None if one.choice else one, items)
    assert [[{"index": 0, "delta": {"content": "a"}}]] == [one["choices"] for one in found]


def test_a_chunk_made_by_hand_belongs_to_its_choice():
    """`Chunk(text=…)` has the index 0, whichever choice it is returned for."""
    [found], _ = streamed(lambda one: moa.Chunk(text="#"), [chunk((0, {"content": "a"}), (1, {"content": "b"}))])
    assert ["#", "#"] == [one["delta"]["content"] for one in found["choices"]]


def test_only_the_second_choice_is_changed_and_recorded():
    """The record has what was read, also where the first choice is the same."""
    found, [turn] = streamed(
        lambda one: "B" if one.choice else one, [chunk((0, {"content": "a"}), (1, {"content": "b"}))]
    )
    assert len(found) == 1
    assert ["a", "B"] == [one["text"] for one in turn["references"][0]["choices"]]
    assert "middleware" == turn["references"][0]["source"]


def test_pieces_of_calls_have_their_index():
    """Parallel calls whose pieces come interleaved differ by it alone."""
    seen = []
    items = [
        chunk((0, {"tool_calls": CALLS})),
        chunk((0, {"tool_calls": [{"index": 0, "function": {"arguments": '"sky"}'}}]})),
    ]
    streamed(lambda one: seen.extend(one.tool_calls), items, tap="on_chunk")
    assert [0, 1, 0] == [one["index"] for one in seen]
    assert ['{"at":', "{}", '"sky"}'] == [one["function"]["arguments"] for one in seen]


def test_calls_are_changed_and_taken_out():
    """Arguments of one call are replaced, the other call is taken out; what the provider sent stays as it was."""
    item = chunk((0, {"tool_calls": CALLS}))

    def change(one):
        first = one.tool_calls[0]
        return one.replace(tool_calls=[{**first, "function": {**first["function"], "arguments": "[]"}}])

    [found], [turn] = streamed(change, [item])
    [call] = found["choices"][0]["delta"]["tool_calls"]
    assert {**CALLS[0], "function": {"name": "look", "arguments": "[]"}} == call
    assert 2 == len(item["choices"][0]["delta"]["tool_calls"])
    assert ["[]"] == [one["function"]["arguments"] for one in turn["references"][0]["tool_calls"]]


@pytest.mark.parametrize(("field", "value"), [("reasoning", "#"), ("refusal", "#"), ("tool_calls", CALLS[:1])])
@pytest.mark.parametrize(
    "item",
    ["word", {"text": "word"}, {"contentBlockDelta": {"delta": {"text": "word"}}}, {"message": {"content": "word"}}],
    ids=["string", "dict", "bedrock", "ollama"],
)
def test_what_has_no_place_is_refused(item, field, value):
    """A change that the form cannot take is an error, which quotes nothing; it is never left out in silence."""
    if field == "reasoning" and "message" in item:
        pytest.skip("Ollama's chunks have a place for it")
    with pytest.raises(moa.ReplyFormError, match=f"has no place for another .*{field.partition('_')[0]}") as caught:
        streamed(lambda one: one.replace(**{field: value}), [item])
    assert "word" not in str(caught.value)


def test_tokens_of_a_changed_text_are_taken_out():
    """The probabilities quote the text token by token."""
    item = chunk((0, {"content": "secret"}))
    item["choices"][0]["logprobs"] = {"content": [{"token": "secret", "logprob": -0.1}]}
    [found], _ = streamed(lambda one: "#", [item])
    assert "secret" not in repr(found)
    assert "secret" in repr(item)


@pytest.mark.parametrize("field", ["reasoning", "refusal"])
def test_a_change_of_any_kind_is_on_record(field):
    """The reference is what the consumer got; what the model said is a call of its own."""
    key = {"reasoning": "reasoning_content"}.get(field, field)
    items = [chunk((0, {key: "secret"})), chunk((0, {"content": "word"}))]
    found, [turn] = streamed(lambda one: one.replace(**{field: "#" if getattr(one, field) else ""}), items)
    assert "secret" not in repr(found)
    assert ["#"] == [one[field] for one in turn["references"]]
    assert ["secret"] == [one[field] for one in turn["calls"]]


def test_each_choice_of_a_real_stream_is_changed():
    """The scripted server sends two choices; neither keeps its words."""

    def hide(call):
        call.map_chunks(lambda one: "#" if one.text else one)
        yield call

    script = Script(choices=[Script("left word"), Script("right word")])
    with ScriptedServer({"m": script}) as server, openai.OpenAI(base_url=server.base_url, api_key="k") as client:
        moa.Stack([hide]).instrument(client)
        found = [*client.chat.completions.create(model="m", messages=HELLO, stream=True, n=2)]
    texts = {(one.index, one.delta.content) for item in found for one in item.choices if one.delta.content}
    assert {(0, "#"), (1, "#")} == texts


def test_an_object_of_ones_own_is_not_written_into():
    """The SDK's object stays as it is: a copy goes on."""
    item = SimpleNamespace(choices=[SimpleNamespace(index=0, delta=SimpleNamespace(content="word"))])
    [found], _ = streamed(lambda one: "#", [item])
    assert ("word", "#") == (item.choices[0].delta.content, found.choices[0].delta.content)


def gemini(text, **more):
    return {"candidates": [{"index": 0, "content": {"parts": [{"text": text}], "role": "model"}, **more}]}


QUOTING = {
    "gemini-tokens": [gemini("secret", logprobs_result={"chosen_candidates": [{"token": "secret"}]})],
    "gemini-json": [gemini("secret", logprobsResult={"chosenCandidates": [{"token": "secret"}]})],
    "gemini-grounding": [
        gemini("secret"),
        gemini("word", grounding_metadata={"grounding_supports": [{"segment": {"text": "secret", "end_index": 6}}]}),
    ],
    "cohere-tokens": [
        {
            "type": "content-delta",
            "index": 0,
            "delta": {"message": {"content": {"text": "secret"}}},
            "logprobs": {"text": "secret", "token_ids": [1], "logprobs": [-0.1]},
        }
    ],
    "cohere-citation": [
        {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "secret"}}}},
        {"type": "citation-start", "index": 0, "delta": {"message": {"citations": {"text": "secret", "start": 0}}}},
    ],
    "cohere-v1": [
        {"event_type": "text-generation", "text": "secret"},
        {"event_type": "citation-generation", "citations": [{"text": "secret", "start": 0, "end": 6}]},
        {
            "event_type": "stream-end",
            "finish_reason": "COMPLETE",
            "response": {
                "text": "secret",
                "citations": [{"text": "secret", "start": 0, "end": 6}],
                "chat_history": [{"role": "CHATBOT", "message": "secret"}],
            },
        },
    ],
    "ollama-tokens": [
        {
            "model": "m",
            "created_at": "2026-01-01T00:00:00Z",
            "message": {"role": "assistant", "content": "secret"},
            "done": False,
            "logprobs": [{"token": "secret", "logprob": -0.1}],
        }
    ],
}


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("items", QUOTING.values(), ids=QUOTING)
def test_what_quotes_a_changed_reply_is_taken_out(items, is_async):
    """Tokens, citations and a last event that repeats the text: none of them has the original."""
    before = repr(items)
    found, _ = streamed(lambda one: "#" if one.text == "secret" else one, items, is_async=is_async)
    assert "secret" not in repr(found)
    assert "#" in repr(found)
    assert len(found) == len(items)
    assert before == repr(items)


@pytest.mark.parametrize("items", QUOTING.values(), ids=QUOTING)
def test_quotes_of_an_unchanged_reply_stay(items):
    """Where nothing was changed, the very objects go on."""
    found, _ = streamed(lambda one: one.replace(text=f"{one.text}"), items)
    assert all(one is other for one, other in zip(found, items, strict=True))
