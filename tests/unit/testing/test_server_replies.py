"""Values, streams and failures of the scripted server, seen through the real OpenAI SDK over a real socket."""

from __future__ import annotations

import http.client
import json
import time

import openai
import pytest

from moa_middleware.testing.server import Script
from tests.support.asking import BROKEN, DEADLINE, SPEND, address_of, client_of, raw

WEATHER = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}


# --- values ---------------------------------------------------------------------------------------------------------


def test_a_str_is_answered_as_a_completion(serve, ask) -> None:
    """A model whose script is a string says it, in a body that the SDK knows."""
    reply = ask.value(serve("Paris, of course."))
    assert ("Paris, of course.", "stop") == (reply.choices[0].message.content, reply.choices[0].finish_reason)
    assert ("m", "chat.completion", "fp_scripted") == (reply.model, reply.object, reply.system_fingerprint)
    assert reply.id.startswith("chatcmpl-")
    assert abs(time.time() - reply.created) < 60
    assert "service_tier" not in reply.model_fields_set


def test_usage_is_counted_in_words(serve, ask) -> None:
    """Without a usage of its own a script has one that follows from the words."""
    reply = ask.value(serve("Paris, of course."))
    expected = {"prompt_tokens": 6, "completion_tokens": 3, "total_tokens": 9}
    assert expected == reply.usage.model_dump(exclude_unset=True)


def test_usage_can_be_given_or_left_out(serve, ask) -> None:
    """A given usage is sent as it is; "none" sends none."""
    server = serve([Script("a", usage=SPEND), Script("a", usage_in="none")])
    assert SPEND == ask.value(server).usage.model_dump(exclude_unset=True)
    assert ask.value(server).usage is None


def test_tool_calls_stand_in_the_message(serve, ask) -> None:
    """Tool calls come with their finish reason and without content."""
    choice = ask.value(serve(Script(tool_calls=[WEATHER]))).choices[0]
    assert [WEATHER] == [call.model_dump() for call in choice.message.tool_calls]
    assert (None, "tool_calls") == (choice.message.content, choice.finish_reason)


def test_reasoning_and_refusal_stand_in_the_message(serve, ask) -> None:
    """Reasoning and refusal have the fields in which providers send them."""
    server = serve([Script("Paris.", reasoning="Which one?"), Script(refusal="No.")])
    message = ask.value(server).choices[0].message
    assert ("Which one?", "Paris.", None) == (message.reasoning_content, message.content, message.refusal)
    message = ask.value(server).choices[0].message
    assert (None, "No.") == (message.content, message.refusal)


def test_several_choices_have_each_its_own_text(serve, ask) -> None:
    """Choices come in order, each with its finish reason; usage counts them all."""
    script = Script(choices=[Script("one"), Script("number two", finish_reason="length")])
    reply = ask.value(serve(script), n=2)
    found = [(choice.index, choice.message.content, choice.finish_reason) for choice in reply.choices]
    assert [(0, "one", "stop"), (1, "number two", "length")] == found
    assert 3 == reply.usage.completion_tokens


def test_names_and_headers_can_be_scripted(serve, ask) -> None:
    """The reply's model, fingerprint, tier and headers are what the script says."""
    script = Script(
        "a", reply_model="m-2026", system_fingerprint=None, service_tier="flex", headers={"x-request-id": "req-7"}
    )
    reply = ask.value(serve(script))
    assert ("m-2026", None, "flex", "req-7") == (
        reply.model,
        reply.system_fingerprint,
        reply.service_tier,
        reply._request_id,
    )


# --- streams --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["Paris, of course.", "  two  spaces \n", "one", " ", "", "déjà 🗼 \ud800"])
def test_a_stream_joins_to_the_text(serve, ask, text) -> None:
    """The words of a text, streamed, are the text: spaces, emoji and lone surrogates included."""
    heard = ask.stream(serve(text))
    assert (text, None) == (heard.text, heard.error)
    assert "assistant" == heard.deltas()[0].role
    assert "stop" == heard.chunks[-1].choices[0].finish_reason


def test_pieces_are_the_deltas(serve, ask) -> None:
    """Pieces are streamed as they are, and are the text of a value."""
    server = serve(Script(pieces=["Pa", "ris", "."]))
    assert ["Pa", "ris", "."] == ask.stream(server).pieces()
    assert "Paris." == ask.value(server).choices[0].message.content


def test_chunks_share_the_id_of_their_reply(serve, ask) -> None:
    """All chunks of one reply have one id, and no other reply has it."""
    server = serve("a b c")
    first, second = ({chunk.id for chunk in ask.stream(server).chunks} for _ in range(2))
    assert (1, 1, 2) == (len(first), len(second), len(first | second))


def test_streamed_tool_calls_are_indexed_and_split(serve, ask) -> None:
    """Each tool call is two deltas, whose arguments join."""
    other = {**WEATHER, "id": "call_2"}
    heard = ask.stream(serve(Script(tool_calls=[WEATHER, other])))
    parts = [call for delta in heard.deltas() for call in delta.tool_calls or ()]
    assert [0, 0, 1, 1] == [part.index for part in parts]
    assert ["call_1", None, "call_2", None] == [part.id for part in parts]
    assert WEATHER["function"]["arguments"] == parts[0].function.arguments + parts[1].function.arguments
    assert all(part.function.arguments for part in parts)
    assert "tool_calls" == heard.chunks[-1].choices[0].finish_reason


def test_streamed_reasoning_comes_before_the_text(serve, ask) -> None:
    """Reasoning is streamed word by word, then the text."""
    heard = ask.stream(serve(Script("Paris.", reasoning="Which one?")))
    found = [getattr(delta, "reasoning_content", None) or delta.content for delta in heard.deltas()[1:-1]]
    assert ["Which", " one?", "Paris."] == found


def test_a_streamed_refusal_is_no_text(serve, ask) -> None:
    """A refusal is streamed as one."""
    heard = ask.stream(serve(Script(refusal="I cannot.")))
    assert ("I cannot.", "") == ("".join(delta.refusal or "" for delta in heard.deltas()), heard.text)


def test_streamed_choices_are_interleaved(serve, ask) -> None:
    """With n = 2 the choices take turns."""
    heard = ask.stream(serve(Script(choices=[Script("a b c"), Script("1 2")])), n=2)
    assert (["a", " b", " c"], ["1", " 2"]) == (heard.pieces(0), heard.pieces(1))
    order = [chunk.choices[0].index for chunk in heard.chunks if chunk.choices[0].delta.content]
    assert [0, 1, 0, 1, 0] == order


def test_usage_in_the_tail_must_be_asked_for(serve, ask) -> None:
    """The tail is a last chunk without choices, and comes only if the request includes usage."""
    server = serve(Script("a b", usage=SPEND))
    assert [None] * 4 == [chunk.usage for chunk in ask.stream(server).chunks]
    heard = ask.stream(server, stream_options={"include_usage": True})
    assert ([], SPEND) == (heard.chunks[-1].choices, heard.chunks[-1].usage.model_dump(exclude_unset=True))
    assert [None] * 4 == [chunk.usage for chunk in heard.chunks[:-1]]


def test_usage_in_the_tail_may_come_unasked(serve, ask) -> None:
    """`usage_always` sends the tail to those who did not ask."""
    heard = ask.stream(serve(Script("a", usage=SPEND, usage_always=True)))
    assert ([], 12) == (heard.chunks[-1].choices, heard.chunks[-1].usage.total_tokens)


def test_usage_may_ride_on_the_finish_chunk(serve, ask) -> None:
    """With "finish" the usage is in the chunk of the finish reason."""
    last = ask.stream(serve(Script("a", usage=SPEND, usage_in="finish"))).chunks[-1]
    assert ("stop", 12) == (last.choices[0].finish_reason, last.usage.total_tokens)


def test_usage_may_be_nowhere(serve, ask) -> None:
    """With "none" there is no usage though it was asked for."""
    heard = ask.stream(serve(Script("a", usage=SPEND, usage_in="none")), stream_options={"include_usage": True})
    assert [None] * 3 == [chunk.usage for chunk in heard.chunks]


def test_raw_chunks_are_sent_verbatim(serve, ask) -> None:
    """Odd chunks arrive as odd as they were scripted, and the stream ends."""
    odd = ['{"choices": null}', '{"choices": [{"index": 0, "delta": null}]}', '{"id": 7}']
    server = serve(Script("odd", raw_chunks=odd))
    chunks = ask.stream(server).chunks
    assert (None, None, 7) == (chunks[0].choices, chunks[1].choices[0].delta, chunks[2].id)
    assert ("odd", True) == (server.sent[0].text, server.sent[0].complete)


def test_raw_chunks_may_name_their_own_end(serve) -> None:
    """A scripted "[DONE]" is not sent twice."""
    server = serve(Script(raw_chunks=["{}", "[DONE]"]))
    connection = http.client.HTTPConnection(*address_of(server), timeout=DEADLINE)
    connection.request("POST", "/v1/chat/completions", json.dumps({"model": "m", "stream": True}))
    assert b"data: {}\n\ndata: [DONE]\n\n" == connection.getresponse().read()
    connection.close()


# --- failures -------------------------------------------------------------------------------------------------------


def test_an_error_status_is_the_sdks_own_error(serve, ask) -> None:
    """429 with a body and headers is a RateLimitError that has them."""
    script = Script(status=429, error={"message": "slow down", "code": "rate"}, headers={"retry-after": "3"})
    server = serve(script)
    for call in (ask.value, ask.stream):
        with pytest.raises(openai.RateLimitError, match="slow down") as caught:
            call(server)
        assert ("rate", "rate_limit_error", "3") == (
            caught.value.code,
            caught.value.type,
            caught.value.response.headers["retry-after"],
        )
    assert [429, 429] == [sent.status for sent in server.sent]


@pytest.mark.parametrize(("status", "kind"), [(400, openai.BadRequestError), (503, openai.InternalServerError)])
def test_an_error_status_needs_no_body(serve, ask, status, kind) -> None:
    """An error has a default body that names the status."""
    with pytest.raises(kind, match=f"scripted error {status}"):
        ask.value(serve(Script(status=status)))


def test_an_error_may_be_the_whole_body(serve, ask) -> None:
    """An error that is wrapped already is not wrapped again."""
    with pytest.raises(openai.NotFoundError) as caught:
        ask.value(serve(Script(status=404, error={"error": {"message": "gone", "code": "g"}})))
    assert "g" == caught.value.code


def test_a_broken_stream_is_a_network_error_after_its_text(serve, ask) -> None:
    """The connection is cut after so many deltas, all of which arrive."""
    server = serve(Script("one two three four", break_after=2))
    heard = ask.stream(server)
    assert "one two" == heard.text
    assert isinstance(heard.error, BROKEN)
    assert ("one two", False) == (server.sent[0].text, server.sent[0].complete)


def test_a_stream_may_break_before_its_first_chunk(serve, ask) -> None:
    """`break_after=0` cuts straight after the headers."""
    heard = ask.stream(serve(Script("one", break_after=0)))
    assert [] == heard.chunks
    assert isinstance(heard.error, BROKEN)


def test_a_broken_value_never_comes(serve, ask) -> None:
    """A value is cut before its first byte."""
    server = serve(Script("one", break_after=0))
    with pytest.raises(openai.APIConnectionError):
        ask.value(server)
    assert [("", False)] == [(sent.text, sent.complete) for sent in server.sent]


def test_an_error_event_ends_a_stream_after_its_text(serve, ask) -> None:
    """The SDK raises what an error event says; the text before it stays."""
    server = serve(Script("one two three", error_after=2, error={"message": "overloaded"}))
    heard = ask.stream(server)
    assert ("one two", openai.APIError, "overloaded") == (heard.text, type(heard.error), heard.error.message)
    assert ("one two", False) == (server.sent[0].text, server.sent[0].complete)


def test_a_break_beyond_the_end_breaks_nothing(serve, ask) -> None:
    """Streams with fewer deltas than `break_after` are whole."""
    heard = ask.stream(serve(Script("one two", break_after=9, error_after=9)))
    assert ("one two", None) == (heard.text, heard.error)


def test_an_unknown_model_is_not_found(serve, ask) -> None:
    """A model without script is OpenAI's model_not_found, which names those that are there."""
    server = serve({"a": "1", "b": "2"})
    with pytest.raises(openai.NotFoundError, match="'a', 'b'") as caught:
        ask.value(server, "c")
    assert "model_not_found" == caught.value.code
    assert [("c", 404)] == [(sent.model, sent.status) for sent in server.sent]


@pytest.mark.parametrize("body", ["{", "[]", "null", "", '{"model": 1}', "\xff", "[" * 100_000])
def test_a_bad_body_is_refused(serve, body) -> None:
    """What is no JSON object with a model gets 400 and an error body."""
    status, reply = raw(serve("a"), "POST", "/v1/chat/completions", body)
    assert (400, "invalid_request_error") == (status, reply["error"]["type"])


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/embeddings"), ("GET", "/"), ("GET", "/v1/chat/completions"), ("DELETE", "/v1/models")],
)
def test_other_paths_are_not_found(serve, method, path) -> None:
    """Whatever is not scripted is 404, and received all the same."""
    server = serve("a")
    status, reply = raw(server, method, path)
    assert (404, f"Invalid URL ({method} {path})") == (status, reply["error"]["message"])
    assert [path] == [received.path for received in server.received]


def test_models_are_listed(serve) -> None:
    """The SDK lists the scripted models."""
    with client_of(serve({"a": "1", "b": "2"})) as client:
        assert ["a", "b"] == [model.id for model in client.models.list()]
