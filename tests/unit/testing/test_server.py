"""The scripted server, seen through the real OpenAI SDK over a real socket."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import openai
import pytest

from moa_middleware.testing.server import Received, Script, ScriptedServer, Sent

try:
    import httpx2 as httpx  # openai >= 3
except ImportError:
    import httpx  # type: ignore[no-redef]

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
WEATHER = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Paris"}'}}
SPEND = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
BROKEN = (openai.APIConnectionError, httpx.TransportError)
DEADLINE = 10.0  # seconds


@dataclass
class Heard:
    """What a client got of a stream."""

    chunks: list[Any] = field(default_factory=list)
    error: Exception | None = None

    def deltas(self, choice: int = 0) -> list[Any]:
        """Return the deltas of one choice."""
        return [each.delta for chunk in self.chunks for each in chunk.choices if each.index == choice]

    def pieces(self, choice: int = 0) -> list[str]:
        """Return the pieces of text that are not empty."""
        return [delta.content for delta in self.deltas(choice) if delta.content]

    @property
    def text(self) -> str:
        """Return the text so far."""
        return "".join(self.pieces())


class Sync:
    """Asks by `OpenAI`."""

    def value(self, server: ScriptedServer, model: str = "m", **more: Any) -> Any:
        """Ask for a value."""
        with client_of(server) as client:
            return client.chat.completions.create(model=model, messages=QUESTION, **more)

    def stream(self, server: ScriptedServer, model: str = "m", **more: Any) -> Heard:
        """Ask for a stream and read it to its end or its error."""
        heard = Heard()
        with client_of(server) as client:
            chunks = client.chat.completions.create(model=model, messages=QUESTION, stream=True, **more)
            try:
                for chunk in chunks:
                    heard.chunks.append(chunk)
            except Exception as error:
                heard.error = error
        return heard


class Async:
    """Asks by `AsyncOpenAI`."""

    def value(self, server: ScriptedServer, model: str = "m", **more: Any) -> Any:
        """Ask for a value."""

        async def ask() -> Any:
            async with openai.AsyncOpenAI(base_url=server.base_url, api_key="test", max_retries=0) as client:
                return await client.chat.completions.create(model=model, messages=QUESTION, **more)

        return asyncio.run(ask())

    def stream(self, server: ScriptedServer, model: str = "m", **more: Any) -> Heard:
        """Ask for a stream and read it to its end or its error."""
        heard = Heard()

        async def ask() -> None:
            async with openai.AsyncOpenAI(base_url=server.base_url, api_key="test", max_retries=0) as client:
                chunks = await client.chat.completions.create(model=model, messages=QUESTION, stream=True, **more)
                try:
                    async for chunk in chunks:
                        heard.chunks.append(chunk)
                except Exception as error:
                    heard.error = error

        asyncio.run(ask())
        return heard


@pytest.fixture(params=[Sync, Async], ids=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Sync | Async:
    """One body for both clients."""
    return request.param()


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedServer]]:
    """Start servers that stop with the test."""
    servers: list[ScriptedServer] = []

    def start(script: Any = None, **more: Any) -> ScriptedServer:
        scripts = script if isinstance(script, dict) else {"m": script}
        servers.append(ScriptedServer(scripts, **more).start())
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


def client_of(server: ScriptedServer) -> openai.OpenAI:
    """Return a client that does not retry."""
    return openai.OpenAI(base_url=server.base_url, api_key="test", max_retries=0)


def address_of(server: ScriptedServer) -> tuple[str, int]:
    """Return host and port."""
    url = httpx.URL(server.base_url)
    return url.host, url.port or 0


def eventually(condition: Callable[[], object]) -> bool:
    """Poll until the condition holds, or the deadline passes."""
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


def raw(server: ScriptedServer, method: str, path: str, body: str | None = None) -> tuple[int, dict[str, Any]]:
    """Ask without an SDK; return status and decoded body."""
    connection = http.client.HTTPConnection(*address_of(server), timeout=DEADLINE)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


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


# --- time -----------------------------------------------------------------------------------------------------------


def test_a_delay_comes_before_the_first_byte(serve, ask) -> None:
    """`create` returns after the delay, not before."""
    server = serve(Script("a", delay=0.1))
    for call in (ask.value, ask.stream):
        start = time.monotonic()
        call(server)
        assert time.monotonic() - start >= 0.1


def test_piece_delays_come_between_deltas(serve, ask) -> None:
    """Four deltas have three delays between them."""
    start = time.monotonic()
    ask.stream(serve(Script("a b c d", piece_delay=0.04)))
    assert time.monotonic() - start >= 0.12


def test_a_barrier_makes_calls_overlap(serve) -> None:
    """Three calls that wait for each other all come back, so they were open together."""
    barrier = threading.Barrier(3, timeout=DEADLINE)
    server = serve(default=Script("a", wait=barrier.wait), script={})
    with ThreadPoolExecutor(3) as pool:
        replies = list(pool.map(lambda model: Sync().value(server, model), ["x", "y", "z"]))
    assert ["x", "y", "z"] == [reply.model for reply in replies]
    assert max(received.at for received in server.received) <= min(sent.at for sent in server.sent)


# --- scripts --------------------------------------------------------------------------------------------------------


def test_a_sequence_is_used_in_order_and_its_last_repeats(serve, ask) -> None:
    """One step a request; the last is for all that follow."""
    server = serve(["one", Script("two"), lambda _: "three"])
    assert ["one", "two", "three", "three"] == [ask.value(server).choices[0].message.content for _ in range(4)]


def test_a_default_sequence_starts_anew_for_each_model(serve, ask) -> None:
    """Models that share the default do not share its steps."""
    server = serve({}, default=["one", "two"])
    assert ["one", "one", "two"] == [ask.value(server, model).choices[0].message.content for model in "aba"]


def test_a_function_answers_by_the_body(serve, ask) -> None:
    """A function gets the decoded body, and may answer with a text or a script."""

    def echo(body: dict[str, Any]) -> Script | str:
        question = body["messages"].pop()["content"]
        return Script(question.upper(), finish_reason="length") if body.get("stream") else question

    server = serve(echo)
    assert QUESTION[0]["content"] == ask.value(server).choices[0].message.content
    assert QUESTION[0]["content"].upper() == ask.stream(server).text
    assert QUESTION == server.received[0].body["messages"]


class Stop(BaseException):
    """Like pytest's own outcomes, no Exception."""


@pytest.mark.parametrize("error", [ValueError("oops"), Stop("oops")])
@pytest.mark.parametrize("place", ["function", "wait"])
def test_a_script_that_raises_is_an_internal_error(serve, ask, error, place, capfd) -> None:
    """What a user's function raises comes back as status 500 with its name, unprinted."""

    def fail(*_: object) -> str:
        raise error

    server = serve(fail if place == "function" else Script("a", wait=fail))
    with pytest.raises(openai.InternalServerError, match=f"script of model 'm' raised {type(error).__name__}: oops"):
        ask.value(server)
    assert ("", "") == tuple(capfd.readouterr())


def test_a_function_that_returns_no_script_is_an_internal_error(serve, ask) -> None:
    """A function's mistake is told to the client."""
    with pytest.raises(openai.InternalServerError, match=r"script of model 'm'.* not 7"):
        ask.value(serve(lambda _: 7))


@pytest.mark.parametrize(
    ("script", "error", "says"),
    [
        (7, TypeError, "not 7"),
        (None, TypeError, "not None"),
        (b"bytes", TypeError, "not b'bytes'"),
        (Script, TypeError, "Script"),
        ([], ValueError, "empty"),
        (["a", 7], TypeError, "step 2: .* not 7"),
        ([["a"]], TypeError, "step 1"),
        (Script(7), TypeError, "`text` cannot be 7"),
        (Script(pieces="ab"), TypeError, "`pieces` cannot be 'ab'"),
        (Script(pieces=["a", 7]), TypeError, "`pieces` cannot contain 7"),
        (Script("a", pieces=["b"]), ValueError, "`pieces` must join"),
        (Script(tool_calls=[{"id": "x"}]), TypeError, "tool call needs a `function`"),
        (Script("a", usage={"x": object()}), TypeError, "must be JSON"),
        (Script("a", wait=7), TypeError, "`wait` cannot be 7"),
        (Script("a", headers={"x": 7}), TypeError, "`headers` cannot contain 7"),
        (Script("a", headers={"x": "a\r\nb"}), ValueError, "Latin-1"),
        (Script("a", headers={"Content-Length": "1"}), ValueError, "framing"),
        (Script("a", delay=-1), ValueError, "`delay`"),
        (Script("a", piece_delay=float("nan")), ValueError, "`piece_delay`"),
        (Script("a", status=204), ValueError, "`status`"),
        (Script("a", error={"message": "x"}), ValueError, "`error` needs"),
        (Script("a", break_after=-1), ValueError, "`break_after`"),
        (Script("a", usage_in="middle"), ValueError, "`usage_in`"),
        (Script("a", reasoning_in="middle"), ValueError, "`reasoning_in`"),
        (Script(choices=[]), ValueError, "`choices` needs"),
        (Script(choices=["a"]), TypeError, "`choices` cannot contain 'a'"),
        (Script("a", choices=[Script("b")]), ValueError, "belongs into them"),
        (Script(choices=[Script(choices=[Script("b")])]), ValueError, "choice 1: .* of its own"),
    ],
)
def test_a_bad_script_names_its_model_at_construction(script, error, says) -> None:
    """Mistakes are found before anything is served."""
    with pytest.raises(error, match=f"script of model 'fast'.*{says}"):
        ScriptedServer({"fast": script})


def test_a_bad_default_and_bad_names_are_refused() -> None:
    """The default is checked as well, and so is the mapping itself."""
    with pytest.raises(TypeError, match=r"default script: .* not 7"):
        ScriptedServer({}, default=7)
    with pytest.raises(TypeError, match="must map models' names"):
        ScriptedServer({7: "a"})
    with pytest.raises(TypeError, match="must map models' names"):
        ScriptedServer("a")


# --- logs -----------------------------------------------------------------------------------------------------------


def test_requests_are_received_as_they_came(serve, ask) -> None:
    """The log has path, lower-case headers, body and time of each request."""
    before = time.time()
    server = serve("a")
    ask.value(server, temperature=0.5)
    (received,) = server.received
    assert isinstance(received, Received)
    assert ("/v1/chat/completions", "Bearer test") == (received.path, received.headers["authorization"])
    assert {"model": "m", "messages": QUESTION, "temperature": 0.5} == received.body
    assert before <= received.at <= time.time()
    assert "Bearer" not in repr(received)


def test_replies_are_logged_before_they_are_read(serve, ask) -> None:
    """Who has read a reply to its end finds it in the log, with the usage that was truly sent."""
    server = serve(Script("a b", usage=SPEND))
    for number in range(1, 21):
        ask.value(server) if number % 2 else ask.stream(server)
        assert number == len(server.sent)
    value, stream = server.sent[:2]
    assert Sent("m", "a b", SPEND, 200, streamed=False, complete=True, at=value.at) == value
    assert Sent("m", "a b", None, 200, streamed=True, complete=True, at=stream.at) == stream
    ask.stream(server, stream_options={"include_usage": True})
    assert SPEND == server.sent[-1].usage


def test_many_threads_lose_no_entry(serve) -> None:
    """Concurrent calls are all logged, each with its own text."""
    server = serve(lambda body: body["messages"][0]["content"])
    texts = [f"text {number}" for number in range(40)]

    def one(text: str) -> None:
        with client_of(server) as client:
            client.chat.completions.create(model="m", messages=[{"role": "user", "content": text}])

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, texts))
    assert sorted(texts) == sorted(sent.text for sent in server.sent)
    assert len(texts) == len(server.received)


# --- life -----------------------------------------------------------------------------------------------------------


def test_connections_are_kept_alive_and_counted(serve) -> None:
    """One client uses one connection for many calls, and closing the client closes it."""
    server = serve("a")
    assert 0 == server.open_connections
    with client_of(server) as client:
        for _ in range(3):
            client.chat.completions.create(model="m", messages=QUESTION)
        assert 1 == server.open_connections
    assert eventually(lambda: server.open_connections == 0)


@pytest.mark.parametrize("piece_delay", [0.0, 0.01, 60.0])
def test_a_client_that_leaves_in_mid_stream_is_noticed(serve, piece_delay) -> None:
    """Closing a stream closes its connection, even while the server waits between deltas."""
    server = serve(Script(pieces=["word "] * 200_000, piece_delay=piece_delay))
    with client_of(server) as client:
        stream = client.chat.completions.create(model="m", messages=QUESTION, stream=True)
        next(stream)
        assert 1 == server.open_connections
        stream.close()
        assert eventually(lambda: server.open_connections == 0)
    assert [False] == [sent.complete for sent in server.sent]


def test_a_client_that_leaves_during_a_delay_is_noticed(serve) -> None:
    """A delay ends with its client."""
    server = serve(Script("a", delay=60))
    with client_of(server) as client, pytest.raises(openai.APITimeoutError):
        client.chat.completions.create(model="m", messages=QUESTION, timeout=0.1)
    assert eventually(lambda: server.open_connections == 0)
    assert [("", False)] == [(sent.text, sent.complete) for sent in server.sent]


def test_stop_leaves_nothing_running(serve) -> None:
    """Stopped in mid-stream, twice: no thread, no socket, and the client sees a broken stream."""
    before = set(threading.enumerate())
    server = serve(Script("a b c", piece_delay=60))
    client = client_of(server)
    stream = client.chat.completions.create(model="m", messages=QUESTION, stream=True)
    next(stream)
    server.stop()
    server.stop()
    assert (set(), 0) == (set(threading.enumerate()) - before, server.open_connections)
    with pytest.raises(BROKEN):
        list(stream)
    client.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address_of(server))


def test_a_with_starts_and_stops() -> None:
    """In a `with` it serves; after it the logs and the address stay."""
    with ScriptedServer({"m": "a"}) as server:
        assert server is server.start()
        assert "a" == Sync().value(server).choices[0].message.content
    with pytest.raises(openai.APIConnectionError):
        Sync().value(server)
    assert (1, True) == (len(server.sent), server.base_url.startswith("http://127.0.0.1:"))


def test_a_stopped_server_starts_again() -> None:
    """A restart goes on with logs and scripts."""
    server = ScriptedServer({"m": ["one", "two"]})
    server.stop()
    for expected in ("one", "two"):
        with server:
            assert expected == Sync().value(server).choices[0].message.content
    assert 2 == len(server.sent)


def test_before_the_start_there_is_no_address() -> None:
    """Asking a server for its address too early says what to do."""
    with pytest.raises(RuntimeError, match=r"call `start\(\)` first"):
        _ = ScriptedServer({}).base_url


def test_nothing_is_printed(serve, capfd) -> None:
    """Neither requests, nor errors, nor broken connections leave a trace on stdout or stderr."""
    server = serve([Script("a b", break_after=1), Script(status=500), "a"])
    Sync().stream(server)
    with pytest.raises(openai.InternalServerError):
        Sync().value(server)
    raw(server, "GET", "/nowhere")
    assert eventually(lambda: server.open_connections == 0)
    with socket.create_connection(address_of(server)) as rude:
        rude.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nContent-Length: 100\r\n\r\n{")
        assert eventually(lambda: server.open_connections == 1)
        rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close by RST
    assert eventually(lambda: server.open_connections == 0)
    server.stop()
    assert ("", "") == tuple(capfd.readouterr())
