"""What no error message of a plain HTTP client's request may quote: the secrets in its URL and its headers."""

from __future__ import annotations

import asyncio
import json

import pytest

pytest.importorskip("aiohttp", reason="aiohttp is in the group test")
pytest.importorskip("httpx", reason="httpx is in the group test")
pytest.importorskip("requests", reason="requests is in the group test")

import aiohttp
import httpx
import requests

import moa_middleware as moa
from moa_middleware.testing import capture_turns
from tests.support.http_ways import TLS
from tests.support.loopback import Answer, Loopback

BODY = {"model": "m", "messages": [{"role": "user", "content": "count"}]}
SECRETS = ("odd-KEY-0815", "odd+KEY", "odd%2BKEY", "passW0rd")
QUERY = "key=odd%2BKEY&api-version=2024-10-21"


@pytest.fixture(scope="module")
def url():
    refusal = {"error": {"message": "the key odd-KEY-0815 of version 2024-10-21 is unknown", "code": "no_key"}}
    with Loopback(lambda *_: Answer([json.dumps(refusal).encode()], status=401)) as server:
        yield f"{server.url.replace('//', '//me:passW0rd@')}/v1/chat/completions?{QUERY}"


def _requests(url, **given):
    response = requests.post(url, json=BODY, **given)
    response.raise_for_status()


def _httpx(url, **given):
    httpx.post(url, json=BODY, verify=TLS, **given).raise_for_status()


def _aiohttp(url, raises=True, **given):
    async def run():
        async with (
            aiohttp.ClientSession(raise_for_status=raises, headers=given.get("headers")) as session,
            session.post(
                url.partition("?")[0], json=BODY, params={"key": "odd+KEY", "api-version": "2024-10-21"}
            ) as got,
        ):
            await got.read()

    asyncio.run(run())


ASKS = pytest.mark.parametrize("ask", [_requests, _httpx, _aiohttp], ids=["requests", "httpx", "aiohttp"])


def _recorded(ask, url, **given):
    """Return the lines of a turn in which a request fails, as text."""

    @moa.turn
    def run(_prompt):
        ask(url, **given)

    moa.instrument("httpx,requests,aiohttp")
    with capture_turns() as turns, pytest.raises(Exception) as raised:
        run("count")
    (turn,) = turns
    assert turn["totals"]["failed"] == 1
    return turn, json.dumps(turn), str(raised.value)


@ASKS
def test_an_error_quotes_no_secret_of_its_request(ask, url):
    """Neither the provider's words do, nor the client's exception with the URL in it, which the turn ends with."""
    turn, text, _ = _recorded(ask, url, headers={"x-api-key": "odd-KEY-0815"})
    assert [secret for secret in SECRETS if secret in text] == []
    assert "[secret]" in turn["aggregator"]["error"]["message"]
    assert "[secret]" in turn["error"]["message"]
    assert "2024-10-21" in text, "a version is not a credential"


def test_the_words_of_the_provider_lose_the_key_too(url):
    """Of aiohttp without `raise_for_status`, whose exception would have the URL alone."""
    moa.instrument("aiohttp")
    with capture_turns() as (turns):
        _aiohttp(url, raises=False, headers={"x-api-key": "odd-KEY-0815"})
    (turn,) = turns
    assert turn["aggregator"]["error"]["message"] == "no_key: the key [secret] of version 2024-10-21 is unknown"


def test_a_request_that_is_never_sent_quotes_no_secret():
    """The message of `requests` has the path with the query of a host that refuses the connection."""
    turn, text, message = _recorded(_requests, f"http://me:passW0rd@127.0.0.1:1/v1/chat/completions?{QUERY}")
    assert "odd%2BKEY" in message
    assert "key=[secret]&api-version=2024-10-21" in turn["aggregator"]["error"]["message"]
    assert [secret for secret in SECRETS if secret in text] == []


def test_a_header_that_is_refused_is_not_quoted(url):
    """The message of httpx has the value of a header with a line break, which a key read from a file ends with."""
    _, text, message = _recorded(_httpx, url, headers={"x-api-key": "odd-KEY-0815\n"})
    assert "odd-KEY-0815" in message
    assert [secret for secret in SECRETS if secret in text] == []
