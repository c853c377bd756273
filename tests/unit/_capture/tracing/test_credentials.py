"""Which words an error message loses: those that let somebody in, and no others."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from moa_middleware._capture.shapes.http_request import HttpRequest
from moa_middleware._capture.tracing.credentials import hide, texts


def shown(message, *hidden, **client):
    """Return a message without what is hidden, and without what a client holds."""
    return hide(message, texts(hidden, SimpleNamespace(**client)))


@pytest.mark.parametrize(
    ("message", "hidden"),
    [
        ("upstream said: stream is closed", {"X-Stainless-Raw-Response": "stream"}),
        ("python 3.11.7 is not supported", {"x-stainless-runtime-version": "3.11.7"}),
        ("identity is not an encoding", {"Accept-Encoding": "identity", "Accept": "text/event-stream"}),
        ("cannot decode application/json", {"Content-Type": "application/json"}),
        ("the version 2024-10-21 is too old", {"api-version": "2024-10-21"}),
        ("the version 2023-06-01 is too old", {"anthropic-version": "2023-06-01", "anthropic-beta": "tools-2025"}),
        ("My-Program/1.0 is blocked", {"User-Agent": "My-Program/1.0"}),
    ],
)
def test_headers_that_let_nobody_in_stay(message, hidden):
    """The values of the SDK's own headers, and of those that describe a body or a version, are words of many messages."""
    assert shown(message, hidden) == message


@pytest.mark.parametrize("key", ["ollama", "lm-studio", "not-needed", "EMPTY", "Stream", "placeholder"])
def test_a_key_that_is_none_stays(key):
    """Programs give any word to a server that asks for no key, and its messages hold the word as well."""
    message = f"try {key} instead"
    assert shown(message, {"Authorization": f"Bearer {key}"}, api_key=key) == message


def test_a_word_is_not_cut_out_of_a_longer_one():
    """A credential that is a plain word is found as a word."""
    assert shown("research in search, Search_it", api_key="search") == "research in [secret], Search_it"
    assert shown("prosearch", {"X-Token": "search"}) == "prosearch"


@pytest.mark.parametrize(
    ("message", "hidden"),
    [
        ("key=abc123def456", {"X-Any": "abc123def456"}),
        ("keyabc123def456x", {"Authorization": "Bearer abc123def456"}),
        ("at abc123def456", [{"nested": ("abc123def456",)}]),
        ("at abc123def456", b"abc123def456"),
    ],
)
def test_credentials_are_taken_out(message, hidden):
    """Under any name but those, wherever they are in a message."""
    found = shown(message, hidden)
    assert "abc123" not in found
    assert "[secret]" in found


def test_a_query_is_read_by_its_names():
    """A signature is hidden, the version of the API is not."""
    client = SimpleNamespace(headers={}, params={"api-version": "2024-10-21", "sig": "q8Zr41xx"})
    assert shown("2024-10-21 q8Zr41xx", _client=client) == "2024-10-21 [secret]"


@pytest.mark.parametrize("headers", [{"x-key": None}, {b"x-key": b"hidden-one"}, {1: 2}, 7, [("x-key", "a")]])
def test_headers_of_any_kind_do_no_harm(headers):
    """What a program passes is refused by the client, after it was looked at; the URL's secrets are hidden all the same."""
    request = HttpRequest("openai_chat", {}, "", "", "aiohttp", "http://me:passW0rd@h/?key=a%2Bb-c-d-e", headers)
    assert hide("passW0rd a+b-c-d-e a%2Bb-c-d-e", texts((), request)) == "[secret] [secret] [secret]"
    assert "passW0rd" not in repr(request)
