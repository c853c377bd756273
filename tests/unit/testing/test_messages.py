"""The scripted server's Messages API: its bytes, and what the real Anthropic SDK makes of them where it is installed."""

from __future__ import annotations

import asyncio
import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from moa_middleware.testing import Script, ScriptedServer

QUESTION = {"model": "m", "max_tokens": 100, "messages": [{"role": "user", "content": "Which city?"}]}
WEATHER = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
SPEND = {
    "prompt_tokens": 10,
    "completion_tokens": 5,
    "total_tokens": 15,
    "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
}
SPENT = {
    "input_tokens": 4,
    "cache_creation_input_tokens": 2,
    "cache_read_input_tokens": 4,
    "output_tokens": 5,
    "service_tier": "standard",
}
EVERYTHING = Script("Paris, yes.", reasoning="Which one?", tool_calls=[WEATHER], usage=SPEND)


@pytest.fixture
def sdk() -> Any:
    """Return the real SDK, or skip."""
    return pytest.importorskip("anthropic", reason="the anthropic SDK is not installed")


@contextmanager
def serving(script: Any) -> Iterator[ScriptedServer]:
    """Serve one script as the model "m"."""
    with ScriptedServer({"m": script}) as server:
        yield server


@contextmanager
def asking(sdk: Any, script: Any) -> Iterator[tuple[Any, ScriptedServer]]:
    """Serve one script, and give a client of it."""
    with serving(script) as server, sdk.Anthropic(base_url=server.root_url, api_key="test", max_retries=0) as client:
        yield client, server


def post(server: ScriptedServer, **more: Any) -> tuple[int, dict[str, str], str]:
    """Ask without an SDK; return status, headers and body, as far as it comes."""
    url = urlsplit(server.root_url)
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=10)
    try:
        connection.request("POST", "/v1/messages", json.dumps({**QUESTION, **more}))
        response = connection.getresponse()
        try:
            data = response.read()
        except http.client.IncompleteRead as error:
            data = error.partial
        return response.status, {name.lower(): value for name, value in response.getheaders()}, data.decode()
    finally:
        connection.close()


def value_of(script: Any, **more: Any) -> dict[str, Any]:
    """Return the message object."""
    with serving(script) as server:
        return json.loads(post(server, **more)[2])


def events_of(script: Any) -> list[dict[str, Any]]:
    """Return the payloads of a stream, each checked against the name of its event."""
    with serving(script) as server:
        _, headers, body = post(server, stream=True)
    assert "text/event-stream" == headers["content-type"]
    payloads = []
    for block in body.split("\n\n")[:-1]:
        name, data = block.split("\n")
        payloads.append(json.loads(data.removeprefix("data: ")))
        assert f"event: {payloads[-1]['type']}" == name
    return payloads


def deltas_of(events: list[dict[str, Any]], key: str) -> list[str]:
    """Return what the deltas of one kind carry."""
    found = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    return [delta[key] for delta in found if key in delta]


# --- bytes ------------------------------------------------------------------------------------------------------------


def test_a_value_is_a_message_of_blocks() -> None:
    """Thinking, text and tool use, with the usage in the API's own terms."""
    message = value_of(EVERYTHING)
    thinking, text, tool = message["content"]
    assert ("thinking", "Which one?", True) == (thinking["type"], thinking["thinking"], bool(thinking["signature"]))
    assert {"type": "text", "text": "Paris, yes."} == text
    assert {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Paris"}} == tool
    assert ("message", "assistant", "m", "tool_use", SPENT) == (
        message["type"],
        message["role"],
        message["model"],
        message["stop_reason"],
        message["usage"],
    )
    assert message["id"].startswith("msg_")


def test_a_stream_has_the_events_of_the_real_one() -> None:
    """A block after the other, each opened and closed, and the counts where the API has them."""
    events = events_of(EVERYTHING)
    assert [
        "message_start",
        "content_block_start",
        "ping",
        *["content_block_delta"] * 3,
        "content_block_stop",
        "content_block_start",
        *["content_block_delta"] * 2,
        "content_block_stop",
        "content_block_start",
        *["content_block_delta"] * 2,
        "content_block_stop",
        "message_delta",
        "message_stop",
    ] == [event["type"] for event in events]
    assert ["Which", " one?"] == deltas_of(events, "thinking")
    assert ["Paris,", " yes."] == deltas_of(events, "text")
    assert '{"city": "Paris"}' == "".join(deltas_of(events, "partial_json"))
    assert 1 == len(deltas_of(events, "signature"))
    assert [0, 1, 2] == [event["index"] for event in events if event["type"] == "content_block_stop"]
    assert ([], None, {**SPENT, "output_tokens": 1}) == tuple(
        events[0]["message"][key] for key in ("content", "stop_reason", "usage")
    )
    assert ("tool_use", {"output_tokens": 5}) == (events[-2]["delta"]["stop_reason"], events[-2]["usage"])


def test_usage_may_be_whole_in_the_last_delta_or_nowhere() -> None:
    """`usage_in` says where; one in the API's own terms is sent as it is."""
    assert SPENT == events_of(Script("a", usage=SPEND, usage_in="finish"))[-2]["usage"]
    events = events_of(Script("a", usage=SPEND, usage_in="none"))
    assert not [event for event in events if "usage" in event or "usage" in event.get("message", {})]
    assert "usage" not in value_of(Script("a", usage_in="none"))
    assert {"input_tokens": 7, "output_tokens": 8} == value_of(
        Script("a", usage={"input_tokens": 7, "output_tokens": 8})
    )["usage"]


def test_usage_is_counted_in_words_with_the_system_prompt() -> None:
    """Which may be parts."""
    usage = value_of("one two three", system=[{"type": "text", "text": "Be kind."}])["usage"]
    assert (4, 3) == (usage["input_tokens"], usage["output_tokens"])


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        ("stop", "end_turn"),
        ("length", "max_tokens"),
        ("tool_calls", "tool_use"),
        ("content_filter", "refusal"),
        ("pause_turn", "pause_turn"),
    ],
)
def test_a_finish_reason_is_a_stop_reason(reason, stop) -> None:
    """Those of chat completions have counterparts, all others stay."""
    script = Script("a", finish_reason=reason)
    assert (stop, stop) == (value_of(script)["stop_reason"], events_of(script)[-2]["delta"]["stop_reason"])


def test_a_refusal_is_a_stop_reason_with_an_explanation() -> None:
    """And no content."""
    message = value_of(Script(refusal="I cannot."))
    assert ([], "refusal", "I cannot.") == (
        message["content"],
        message["stop_reason"],
        message["stop_details"]["explanation"],
    )


@pytest.mark.parametrize("arguments", ['{"city": ', "[1]", ""])
def test_arguments_that_are_no_object_are_an_empty_input(arguments) -> None:
    """In a value; a stream has their text."""
    script = Script(tool_calls=[{**WEATHER, "function": {"name": "weather", "arguments": arguments}}])
    assert {} == value_of(script)["content"][0]["input"]
    assert arguments == "".join(deltas_of(events_of(script), "partial_json"))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (429, "rate_limit_error"),
        (418, "invalid_request_error"),
        (500, "api_error"),
        (529, "overloaded_error"),
    ],
)
def test_an_error_has_the_apis_own_form(status, kind) -> None:
    """With the id of its request in both places."""
    with serving(Script(status=status, error={"message": "no", "code": "c"}, headers={"retry-after": "3"})) as server:
        found, headers, body = post(server)
    error = {"type": "error", "error": {"type": kind, "message": "no"}, "request_id": headers["request-id"]}
    assert (status, error, "3") == (found, json.loads(body), headers["retry-after"])
    assert [(status, "")] == [(sent.status, sent.text) for sent in server.sent]


def test_an_error_may_be_the_whole_body() -> None:
    """One that is wrapped already is not wrapped again."""
    whole = {"type": "error", "error": {"type": "billing_error", "message": "pay"}}
    with serving(Script(status=402, error=whole)) as server:
        assert whole["error"] == json.loads(post(server)[2])["error"]


def test_an_error_event_ends_a_stream_after_its_text() -> None:
    """Named "error", as the API does."""
    events = events_of(Script("one two three", error_after=2, error={"message": "overloaded"}))
    assert ["one", " two"] == deltas_of(events, "text")
    assert {"type": "error", "error": {"type": "overloaded_error", "message": "overloaded"}} == events[-1]


def test_a_broken_stream_is_logged_as_far_as_it_was_sent() -> None:
    """Its text, and the usage that `message_start` had."""
    with serving(Script("one two three", break_after=2, usage=SPEND)) as server:
        post(server, stream=True)
    (sent,) = server.sent
    assert ("one two", {**SPENT, "output_tokens": 1}, False) == (sent.text, sent.usage, sent.complete)


def test_a_whole_stream_is_logged_with_all_its_usage() -> None:
    """Merged, as a client merges it."""
    with serving(EVERYTHING) as server:
        post(server, stream=True)
        post(server)
    assert [("Paris, yes.", SPENT, True)] * 2 == [(sent.text, sent.usage, sent.complete) for sent in server.sent]


def test_an_unknown_model_is_not_found() -> None:
    """In the API's own form."""
    with serving("a") as server:
        status, _, body = post(server, model="other")
    assert (404, "not_found_error") == (status, json.loads(body)["error"]["type"])


def test_raw_chunks_are_events_of_their_own_type() -> None:
    """Verbatim, and the stream ends."""
    assert [{"type": "ping", "x": 1}] == events_of(Script(raw_chunks=['{"type": "ping", "x": 1}']))


# --- the SDK ----------------------------------------------------------------------------------------------------------


def test_the_sdk_reads_a_value(sdk) -> None:
    """Blocks, usage and the id of the request."""
    with asking(sdk, EVERYTHING) as (client, _):
        message = client.messages.create(**QUESTION)
    assert ("Which one?", "Paris, yes.", {"city": "Paris"}) == (
        message.content[0].thinking,
        message.content[1].text,
        message.content[2].input,
    )
    assert SPENT == message.usage.model_dump(exclude_unset=True)
    assert message._request_id.startswith("req_")


def test_the_sdk_reads_a_stream_of_events(sdk) -> None:
    """`create(stream=True)`, without the pings."""
    with asking(sdk, EVERYTHING) as (client, _):
        events = list(client.messages.create(**QUESTION, stream=True))
    assert {"RawMessageStartEvent", "RawMessageDeltaEvent", "RawMessageStopEvent"} <= {
        type(event).__name__ for event in events
    }
    assert "ping" not in {event.type for event in events}


def test_the_sdks_manager_gathers_the_message(sdk) -> None:
    """`messages.stream()`, in both worlds; what it accumulates is what the script says."""

    async def ask(server: ScriptedServer) -> Any:
        async with sdk.AsyncAnthropic(base_url=server.base_url, api_key="test", max_retries=0) as client:
            async with client.messages.stream(**QUESTION) as stream:
                return await stream.get_final_message()

    with asking(sdk, EVERYTHING) as (client, server):
        with client.messages.stream(**QUESTION) as stream:
            assert ["Paris,", " yes."] == list(stream.text_stream)
            first = stream.get_final_message()
        second = asyncio.run(ask(server))
    for message in (first, second):
        assert (["thinking", "text", "tool_use"], "tool_use") == (
            [block.type for block in message.content],
            message.stop_reason,
        )
        assert ({"city": "Paris"}, SPENT) == (message.content[2].input, message.usage.model_dump(exclude_unset=True))
    assert ["/v1/messages", "/v1/v1/messages"] == [received.path for received in server.received]


def test_the_sdk_raises_its_own_errors(sdk) -> None:
    """By status, and by an event in mid-stream."""
    scripts = [Script(status=429), Script("one two", error_after=1, error={"message": "overloaded"})]
    with asking(sdk, scripts) as (client, _):
        with pytest.raises(sdk.RateLimitError) as caught:
            client.messages.create(**QUESTION)
        assert caught.value.request_id.startswith("req_")
        with pytest.raises(sdk.APIStatusError, match="overloaded"):
            list(client.messages.create(**QUESTION, stream=True))
