"""The scripted server's Responses API, seen through the real OpenAI SDK over a real socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai
import pydantic
import pytest

from moa_middleware.testing import Script, ScriptedServer

QUESTION = "What is the capital of France?"
WEATHER = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
SPEND = {
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "total_tokens": 15,
    "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
    "completion_tokens_details": {"reasoning_tokens": 3},
}
SPENT = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 3},
    "total_tokens": 15,
}


class City(pydantic.BaseModel):
    """A structured answer."""

    city: str


@contextmanager
def asking(script: Any) -> Iterator[tuple[openai.OpenAI, ScriptedServer]]:
    """Serve one script as the model "m"."""
    with ScriptedServer({"m": script}) as server:
        with openai.OpenAI(base_url=server.base_url, api_key="test", max_retries=0) as client:
            yield client, server


def events_of(script: Any, **more: Any) -> list[Any]:
    """Return the events of one stream."""
    with asking(script) as (client, _):
        return list(client.responses.create(model="m", input=QUESTION, stream=True, **more))


def text_of(events: list[Any]) -> str:
    """Return the text of a stream."""
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


# --- values -----------------------------------------------------------------------------------------------------------


def test_a_value_has_everything_that_the_script_says() -> None:
    """Reasoning, text, a tool call and usage, each in its place, and what was asked for."""
    script = Script("Paris, of course.", reasoning="Which one?", tool_calls=[WEATHER], usage=SPEND, service_tier="flex")
    with asking(script) as (client, server):
        reply = client.responses.create(model="m", input=QUESTION, temperature=0.5, instructions="Be kind.")
    assert ("Paris, of course.", "completed", "m") == (reply.output_text, reply.status, reply.model)
    assert ("reasoning", "message", "function_call") == tuple(item.type for item in reply.output)
    assert "Which one?" == reply.output[0].summary[0].text
    assert ("call_1", "weather", '{"city": "Paris"}') == (
        reply.output[2].call_id,
        reply.output[2].name,
        reply.output[2].arguments,
    )
    assert SPENT == reply.usage.model_dump(exclude_unset=True)
    assert (0.5, "Be kind.", "flex") == (reply.temperature, reply.instructions, reply.service_tier)
    assert reply.id.startswith("resp_")
    assert reply._request_id.startswith("req_")
    (sent,) = server.sent
    assert ("m", "Paris, of course.", SPENT, False, True) == (
        sent.model,
        sent.text,
        sent.usage,
        sent.streamed,
        sent.complete,
    )
    assert QUESTION == server.received[0].body["input"]


def test_reasoning_may_be_text() -> None:
    """As models with open weights have it."""
    with asking(Script("Paris.", reasoning="Which one?", reasoning_in="text")) as (client, _):
        (reasoning, _) = client.responses.create(model="m", input=QUESTION).output
    assert ([], "Which one?") == (reasoning.summary, reasoning.content[0].text)


def test_a_refusal_is_a_part_of_the_message() -> None:
    """And no text."""
    with asking(Script(refusal="No.")) as (client, _):
        reply = client.responses.create(model="m", input=QUESTION)
    assert ("", "No.") == (reply.output_text, reply.output[0].content[0].refusal)


@pytest.mark.parametrize(
    ("reason", "status", "why"),
    [
        ("length", "incomplete", "max_output_tokens"),
        ("content_filter", "incomplete", "content_filter"),
        ("failed", "failed", None),
        ("stop", "completed", None),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_a_finish_reason_is_a_status(reason, status, why, stream) -> None:
    """In a value and in the last event of a stream; a failed one has its error."""
    script = Script("a b", finish_reason=reason, error={"message": "broken"} if reason == "failed" else None)
    if stream:
        last = events_of(script)[-1]
        assert f"response.{status}" == last.type
        reply = last.response
    else:
        with asking(script) as (client, _):
            reply = client.responses.create(model="m", input=QUESTION)
    assert (status, why) == (reply.status, reply.incomplete_details and reply.incomplete_details.reason)
    assert ("broken" if reason == "failed" else None) == (reply.error and reply.error.message)
    assert "a b" == reply.output_text


def test_usage_is_counted_in_words_of_both_parts() -> None:
    """Instructions and input, in all their forms, and the reply."""
    with asking(["one two", Script("a", usage_in="none"), Script("a", usage={"input_tokens": 7})]) as (client, server):
        question = [{"role": "user", "content": [{"type": "input_text", "text": "one two three"}]}]
        usage = client.responses.create(model="m", input=question, instructions="four five").usage
        assert (5, 2, 7) == (usage.input_tokens, usage.output_tokens, usage.total_tokens)
        assert client.responses.create(model="m", input=QUESTION).usage is None
        assert 7 == client.responses.create(model="m", input=QUESTION).usage.input_tokens
        assert [None, {"input_tokens": 7}] == [sent.usage for sent in server.sent[1:]]


def test_tools_come_back_without_their_secrets() -> None:
    """As from the API itself."""
    tool = {"type": "mcp", "server_label": "x", "server_url": "http://x", "authorization": "s", "headers": {"a": "s"}}
    with asking("a") as (client, server):
        (told,) = client.responses.create(model="m", input=QUESTION, tools=[tool]).tools
    assert ("x", None, None) == (told.server_label, told.headers, told.authorization)
    assert "s" == server.received[0].body["tools"][0]["authorization"]


def test_a_structured_answer_is_parsed() -> None:
    """By `parse`, and by a stream with a `text_format`."""
    with asking('{"city": "Paris"}') as (client, _):
        assert City(city="Paris") == client.responses.parse(model="m", input=QUESTION, text_format=City).output_parsed
        with client.responses.stream(model="m", input=QUESTION, text_format=City) as stream:
            assert City(city="Paris") == stream.get_final_response().output_parsed


# --- streams ----------------------------------------------------------------------------------------------------------


def test_a_stream_has_the_events_of_the_real_one() -> None:
    """Numbered from 0, in the order of the API: items, their parts, their deltas, and the whole."""
    events = events_of(Script("Paris, yes.", reasoning="Which one?", tool_calls=[WEATHER]))
    assert list(range(len(events))) == [event.sequence_number for event in events]
    assert [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ] == [event.type.removeprefix("response.") for event in events]
    assert ("Paris, yes.", "Paris, yes.") == (text_of(events), events[-1].response.output_text)
    assert ([], "in_progress", None) == (events[0].response.output, events[0].response.status, events[0].response.usage)


@pytest.mark.parametrize(("place", "kind"), [("summary", "reasoning_summary_text"), ("text", "reasoning_text")])
def test_streamed_reasoning_has_deltas_of_its_own(place, kind) -> None:
    """A summary's, or the text's."""
    events = events_of(Script("Paris.", reasoning="Which one?", reasoning_in=place))
    assert ["Which", " one?"] == [event.delta for event in events if event.type == f"response.{kind}.delta"]
    assert "Paris." == text_of(events)


def test_a_streamed_refusal_has_deltas_of_its_own() -> None:
    """And no text."""
    events = events_of(Script(refusal="I cannot."))
    assert ["I", " cannot."] == [event.delta for event in events if event.type == "response.refusal.delta"]
    assert "" == text_of(events)


@pytest.mark.parametrize("text", ["  two  spaces \n", "", "déjà 🗼"])
def test_a_stream_joins_to_the_text(text) -> None:
    """Spaces and emoji included."""
    events = events_of(text)
    assert (text, text) == (text_of(events), events[-1].response.output_text)


def test_pieces_are_the_deltas() -> None:
    """And what they join to is the text of a value."""
    events = events_of(Script(pieces=["Pa", "ris"]))
    assert ["Pa", "ris"] == [event.delta for event in events if event.type == "response.output_text.delta"]
    assert "Paris" == events[-1].response.output_text


def test_the_stream_manager_gathers_the_reply() -> None:
    """What the SDK accumulates is what the script says, in both worlds."""
    script = Script("Paris, yes.", reasoning="Which one?", tool_calls=[WEATHER], usage=SPEND)

    async def ask(url: str) -> Any:
        async with openai.AsyncOpenAI(base_url=url, api_key="test", max_retries=0) as client:
            async with client.responses.stream(model="m", input=QUESTION) as stream:
                return await stream.get_final_response()

    with asking(script) as (client, server):
        with client.responses.stream(model="m", input=QUESTION) as stream:
            events = list(stream)
            first = stream.get_final_response()
        second = asyncio.run(ask(server.base_url))
    for reply in (first, second):
        assert ("Paris, yes.", SPENT) == (reply.output_text, reply.usage.model_dump(exclude_unset=True))
        assert WEATHER["function"]["arguments"] == reply.output[-1].arguments
    assert "response.completed" == events[-1].type
    assert [("Paris, yes.", SPENT, True)] * 2 == [(sent.text, sent.usage, sent.complete) for sent in server.sent]


def test_only_the_first_choice_is_sent() -> None:
    """The API knows no `n`."""
    assert "one" == text_of(events_of(Script(choices=[Script("one"), Script("two")])))


def test_raw_chunks_are_events_of_their_own_type() -> None:
    """They arrive as odd as they were scripted."""
    odd = ['{"type": "response.strange", "x": 1}', '{"x": 2}', "[1]"]
    with asking(Script("odd", raw_chunks=odd)) as (client, server):
        with client.responses.with_streaming_response.create(model="m", input=QUESTION, stream=True) as response:
            assert "".join(
                ["event: response.strange\n", f"data: {odd[0]}\n\n", f"data: {odd[1]}\n\n", f"data: {odd[2]}\n\n"]
            ) == "".join(response.iter_text())
    assert [("odd", True)] == [(sent.text, sent.complete) for sent in server.sent]


# --- failures ---------------------------------------------------------------------------------------------------------


def test_an_error_status_is_the_sdks_own_error() -> None:
    """With the id of its request."""
    with asking(Script(status=429, error={"message": "slow down"})) as (client, _):
        with pytest.raises(openai.RateLimitError, match="slow down") as caught:
            client.responses.create(model="m", input=QUESTION)
    assert caught.value.request_id.startswith("req_")


def test_an_error_event_ends_a_stream_after_its_text() -> None:
    """The SDK raises what it says; the text before it stays."""
    with asking(Script("one two three", error_after=2, error={"message": "overloaded"})) as (client, server):
        events: list[Any] = []
        with pytest.raises(openai.APIError, match="overloaded"):
            events.extend(client.responses.create(model="m", input=QUESTION, stream=True))
    assert "one two" == text_of(events)
    assert [("one two", None, False)] == [(sent.text, sent.usage, sent.complete) for sent in server.sent]


def test_a_failed_response_may_end_a_stream() -> None:
    """The SDK does not raise: the last event tells."""
    script = Script("one two three", error_after=2, finish_reason="failed", error={"message": "m", "code": "c"})
    events = events_of(script)
    assert ("one two", "response.failed") == (text_of(events), events[-1].type)
    assert ("failed", "c", "m") == (
        events[-1].response.status,
        events[-1].response.error.code,
        events[-1].response.error.message,
    )


def test_a_broken_stream_is_a_network_error_after_its_text() -> None:
    """All deltas before it arrive."""
    with asking(Script("one two three", break_after=2)) as (client, server):
        events: list[Any] = []
        with pytest.raises(Exception, match=r"Connection error|peer closed"):
            events.extend(client.responses.create(model="m", input=QUESTION, stream=True))
    assert ("one two", "one two") == (text_of(events), server.sent[0].text)


def test_an_unknown_model_is_not_found() -> None:
    """As in chat completions."""
    with asking("a") as (client, _):
        with pytest.raises(openai.NotFoundError, match="'m'"):
            client.responses.create(model="other", input=QUESTION)


def test_azures_paths_lead_to_the_same_scripts() -> None:
    """Its chat completions and its Responses."""
    with asking("Paris.") as (_, server):
        with openai.AzureOpenAI(azure_endpoint=server.root_url, api_key="test", api_version="2025-04-01") as client:
            chat = client.chat.completions.create(model="m", messages=[{"role": "user", "content": QUESTION}])
            reply = client.responses.create(model="m", input=QUESTION)
    assert ("Paris.", "Paris.") == (chat.choices[0].message.content, reply.output_text)
    assert "/openai/deployments/m/chat/completions?api-version=2025-04-01" == server.received[0].path
