"""The scripted server itself: its timing, its scripts, its logs and its life, over a real socket."""

from __future__ import annotations

import socket
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

from moa_middleware.testing.server import Received, Script, ScriptedServer, Sent
from tests.support.asking import BROKEN, DEADLINE, QUESTION, SPEND, address_of, client_of, raw
from tests.unit.testing.conftest import Sync


def eventually(condition: Callable[[], object]) -> bool:
    """Poll until the condition holds, or the deadline passes."""
    end = time.monotonic() + DEADLINE
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.005)
    return True


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
