"""Bodies and responses of plain HTTP clients that are not as usual: the caller has what it would have had."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle

import pytest

pytest.importorskip("aiohttp", reason="aiohttp is in the group test")
pytest.importorskip("httpx", reason="httpx is in the group test")
pytest.importorskip("requests", reason="requests is in the group test")

import aiohttp
import httpx
import requests

import moa_middleware as moa
from moa_middleware._capture.streams import body_events
from moa_middleware.testing import capture_turns
from tests.support.http_ways import TLS
from tests.support.loopback import Answer, Loopback

BODY = {"model": "m", "messages": [{"role": "user", "content": "count"}]}
WHOLE = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "One two"}, "finish_reason": "stop"}]}
HEAD = {"model": "m", "created_at": "2026-01-01T00:00:00Z"}
LINES = [
    *({**HEAD, "message": {"role": "assistant", "content": text}, "done": False} for text in ("One ", "two")),
    {**HEAD, "message": {"content": ""}, "done": True, "done_reason": "stop", "prompt_eval_count": 5, "eval_count": 2},
]


def _answer(path, _asked):
    if path == "/api/chat":
        return Answer([json.dumps(line).encode() + b"\n" for line in LINES], "application/x-ndjson")
    return Answer([json.dumps(WHOLE).encode()])


@pytest.fixture(scope="module")
def url():
    with Loopback(_answer) as server:
        yield server.url


@pytest.fixture
def recorded():
    """Return the calls that the test has made."""
    moa.instrument("httpx,requests,aiohttp")
    with capture_turns() as turns:
        yield lambda: [turn["aggregator"] for turn in turns]


async def _aiohttp(url, **given):
    async with aiohttp.ClientSession() as session, session.post(url, **given) as response:
        return await response.read()


def _httpx_stream(url):
    with httpx.stream("POST", url, json=BODY, verify=TLS) as response:
        return b"".join(response.iter_bytes())


READS = {
    "requests": lambda url: requests.post(url, json=BODY).content,
    "requests-stream": lambda url: b"".join(requests.post(url, json=BODY, stream=True).iter_content(7)),
    "httpx": lambda url: httpx.post(url, json=BODY, verify=TLS).content,
    "httpx-stream": _httpx_stream,
    "aiohttp": lambda url: asyncio.run(_aiohttp(url, json=BODY)),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS)
def test_a_stream_that_nobody_asked_for_is_read(read, url, recorded):
    """Ollama's own API sends lines of JSON unless a request has `"stream": false`."""
    assert read(f"{url}/api/chat") == b"".join(json.dumps(line).encode() + b"\n" for line in LINES)
    (call,) = recorded()
    assert (call["output"], call["finish_reason"], call["usage"]["output_tokens"]) == ("One two", "stop", 2)


@pytest.mark.parametrize("make", [copy.copy, lambda one: pickle.loads(pickle.dumps(one))], ids=["copy", "pickle"])
def test_a_response_that_is_copied_before_it_is_read(make, url, recorded):
    """`requests` reads the rest of the body for a copy, and nothing looks at the response from then on."""
    response = requests.post(f"{url}/v1/chat/completions", json=BODY, stream=True)
    made = make(response)
    assert type(made) is type(response) is requests.Response
    assert made.json() == response.json() == WHOLE
    (call,) = recorded()
    assert call["output"] == "One two"


class _Slots:
    """A response of a transport's own, without a `__dict__`."""

    __slots__ = ("elapsed", "history")
    raw, is_redirect, content = None, False, b""

    def __init__(self):
        self.history = []


class _Bare(_Slots):
    """The same with a `__dict__`, and nothing in it that a client keeps there."""


class _Adapter(requests.adapters.BaseAdapter):
    def __init__(self, made):
        super().__init__()
        self.made = made

    def send(self, *_, **__):
        return self.made


@pytest.mark.parametrize("kind", [_Slots, _Bare])
@pytest.mark.parametrize("stream", [True, False])
def test_a_response_of_a_class_of_the_users_own_passes(kind, stream, recorded, monkeypatch):
    """What a transport, or a test, returns in place of the client's response is the caller's, whatever it lacks."""
    monkeypatch.setattr(requests.sessions, "extract_cookies_to_jar", lambda *_: None)
    session, made = requests.Session(), kind()
    session.mount("http://", _Adapter(made))
    assert session.post("http://there/v1/chat/completions", json=BODY, stream=stream) is made
    (call,) = recorded()
    assert (call["outcome"], call["output"]) == ("completed", None)
    assert call["raw"]["type"].endswith(kind.__name__)


def test_bytes_in_a_payload_of_aiohttp_are_read(url, recorded):
    """`JsonPayload` has the body's bytes in it; a dict under `data` is a form, and a file is not read."""
    address = f"{url}/v1/chat/completions"
    assert json.loads(asyncio.run(_aiohttp(address, data=aiohttp.JsonPayload(BODY)))) == WHOLE
    (call,) = recorded()
    assert (call["input_messages"], call["output"]) == (BODY["messages"], "One two")


def test_a_body_without_an_end_is_not_kept(monkeypatch):
    """Of a line, or of a body that is not a stream, so many bytes are kept; the line after it is read again."""
    monkeypatch.setattr(body_events, "_MOST", 100)
    seen = []
    events = body_events.BodyEvents({"content-type": "application/x-ndjson"}, seen.append, asked=True)
    for _ in range(50):
        events.take(b"x" * 40)
    assert sum(map(len, events._pieces)) <= 100
    events.take(b'\n{"n": 1}\n')
    assert seen == [{"n": 1}]
    whole = body_events.BodyEvents({"content-type": "application/json"}, seen.append, asked=False)
    for _ in range(50):
        whole.take(b" " * 40)
    assert sum(map(len, whole._pieces)) <= 100
    whole.over()
    assert seen == [{"n": 1}]


# What a middleware does in place ------------------------------------------------------------------

IN_PLACE = {
    "append": lambda call: call.messages.append({"role": "user", "content": "more"}),
    "content": lambda call: call.messages[0].update(content="other"),
    "clear": lambda call: call.messages.clear(),
    "kwargs": lambda call: call.kwargs.update(temperature=0),
    "a list of params": lambda call: call.params["stop"].append("."),
}
SENT = {**BODY, "temperature": 1, "stop": ["!"]}


@pytest.mark.parametrize("change", IN_PLACE.values(), ids=IN_PLACE)
@pytest.mark.parametrize("name", ["httpx", "requests", "aiohttp"])
def test_a_change_in_place_is_an_error(change, name, url, recorded):
    """The bytes are made already: nothing is sent, and the caller's own dict is as it was."""
    asks = {
        "requests": lambda url, json: requests.post(url, json=json),
        "httpx": lambda url, json: httpx.post(url, json=json, verify=TLS),
        "aiohttp": lambda url, json: asyncio.run(_aiohttp(url, json=json)),
    }
    given = copy.deepcopy(SENT)

    def middleware(call):
        change(call)
        yield call

    moa.configure(middleware=[middleware])
    with pytest.raises(moa.RequestError, match=f"a middleware has changed a request of {name}"):
        asks[name](f"{url}/v1/chat/completions", given)
    assert given == SENT
    (call,) = recorded()
    assert call["outcome"] == "error"


def test_params_cannot_be_changed_in_place(url, recorded):
    """Whichever way: they are read from the arguments, and a change of them would be recorded and not sent."""
    failed = []

    def middleware(call):
        for change in (
            lambda: call.params.update(temperature=0),
            lambda: call.params.pop("temperature"),
            lambda: call.params.setdefault("seed", 1),
            lambda: call.params.__setitem__("temperature", 0),
        ):
            with pytest.raises(moa.RequestError, match=r"yield call\.replace\(params="):
                change()
            failed.append(change)
        for made in (dict(call.params), copy.copy(call.params), pickle.loads(pickle.dumps(call.params))):
            made["temperature"] = 0
        yield call

    moa.configure(middleware=[middleware])
    requests.post(f"{url}/v1/chat/completions", json=SENT)
    assert len(failed) == 4
    (call,) = recorded()
    assert call["temperature"] == 1


def test_a_middleware_that_changes_nothing_sends_what_the_program_made(url, recorded):
    """Objects of the program's own, which its function makes JSON of, are neither copied nor compared."""

    class Odd:
        def __eq__(self, other):
            raise AssertionError

        def __deepcopy__(self, memo):
            raise AssertionError

        __hash__ = None

    async def main():
        async with aiohttp.ClientSession(json_serialize=lambda one: json.dumps(one, default=lambda _: 7)) as session:
            body = {**BODY, "seed": Odd(), "extra": [Odd(), float("nan")]}
            async with session.post(f"{url}/v1/chat/completions", json=body) as response:
                return await response.json()

    def middleware(call):
        yield call.replace(messages=[*call.messages])

    moa.configure(middleware=[middleware])
    assert asyncio.run(main()) == WHOLE
    (call,) = recorded()
    assert call["output"] == "One two"
