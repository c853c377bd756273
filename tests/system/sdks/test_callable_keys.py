"""Keys that a function returns for each request, or that an `auth` adds: no error message quotes them."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

pytest.importorskip("openai", reason="openai is in the group test")

import openai

import moa_middleware as moa
from moa_middleware.testing import capture_turns

MESSAGES = [{"role": "user", "content": "count"}]


class _Refusing(BaseHTTPRequestHandler):
    """Refuses each request, and quotes the key that it came with."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        given = self.headers.get("authorization") or self.headers.get("x-api-key") or self.headers.get("api-key")
        said = json.dumps(
            {"error": {"message": f"unknown: {given.rpartition(chr(32))[2]}", "type": "authentication_error"}}
        ).encode()
        self.send_response(401)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def log_message(self, *_args):
        pass


@pytest.fixture(scope="module")
def url():
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()
    server.server_close()


def _keys():
    numbers = itertools.count()
    return lambda: f"odd-KEY-{next(numbers):04}"


def _async_keys():
    take = _keys()

    async def key():
        return take()

    return key


class _Auth(openai.DefaultHttpxClient):
    """An HTTP client that adds a key of its own."""

    def build_request(self, *args, **kwargs):
        request = super().build_request(*args, **kwargs)
        request.headers["authorization"] = "Bearer odd-KEY-0815"
        return request


def _azure(url, **given):
    return openai.AzureOpenAI(azure_endpoint=url, api_version="v", max_retries=0, **given)


def _anthropic(url):
    anthropic = pytest.importorskip("anthropic", reason="anthropic is in the group test")
    credentials = pytest.importorskip("anthropic.lib.credentials", reason="this version takes no function")
    return anthropic.Anthropic(
        base_url=url, max_retries=0, credentials=lambda **_: credentials.AccessToken("odd-KEY-0000", 0)
    )


def _azure_key(url):
    if int(openai.__version__.split(".")[0]) < 3:
        pytest.skip("openai 2 takes no function as the key of Azure")
    return _azure(url, api_key=_keys())


MAKES = {
    "openai": lambda url: openai.OpenAI(base_url=url, api_key=_keys(), max_retries=0),
    "openai-async": lambda url: openai.AsyncOpenAI(base_url=url, api_key=_async_keys(), max_retries=0),
    "azure-token": lambda url: _azure(url, azure_ad_token_provider=_keys()),
    "azure-key": _azure_key,
    "http-client": lambda url: openai.OpenAI(base_url=url, api_key="k", max_retries=0, http_client=_Auth()),
    "anthropic": _anthropic,
}


def _ask(client):
    made = client.messages if hasattr(client, "messages") else client.chat.completions
    given = {"max_tokens": 5} if hasattr(client, "messages") else {}
    return made.create(model="m", messages=MESSAGES, **given)


@pytest.mark.parametrize("make", MAKES.values(), ids=MAKES)
def test_an_error_quotes_no_key_that_a_function_returned(make, url):
    """Neither the call's nor the turn's; the exception is the caller's as it is."""
    client = make(url)
    moa.instrument(client)

    @moa.turn
    def run(_question):
        _ask(client)

    @moa.turn
    async def run_async(_question):
        await _ask(client)

    with capture_turns() as turns, pytest.raises(Exception, match="odd-KEY-"):
        if isinstance(client, openai.AsyncOpenAI):
            asyncio.run(run_async("count"))
        else:
            run("count")
    (turn,) = turns
    call = turn["aggregator"] or turn["calls"][0]
    assert "[secret]" in call["error"]["message"]
    assert "[secret]" in turn["error"]["message"]
    assert "odd-KEY" not in json.dumps(turn)


def test_a_key_that_another_thread_has_renewed_is_not_quoted(url):
    """The client has the newer one by the time the call fails."""
    client = openai.OpenAI(base_url=url, api_key=_keys(), max_retries=0)
    moa.instrument(client)

    @moa.turn
    def run(_question):
        _ask(client)

    def renew(call):
        try:
            yield call
        finally:
            client.api_key = "odd-KEY-newer"

    moa.configure(middleware=[renew])
    with capture_turns() as turns, pytest.raises(openai.AuthenticationError):
        run("count")
    (turn,) = turns
    assert "odd-KEY" not in json.dumps(turn)
