"""The rule for secrets: what it takes, and above all what it leaves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import moa_middleware as moa
from moa_middleware._patterns import MARK, secrets

TAKEN = {
    "openai": "Incorrect API key provided: sk-proj-abcDEF1234567890abcd.",
    "anthropic": "key sk-ant-api03-AAAABBBBCCCCDDDDEEEE-_ was refused",
    "github": "token ghp_" + "a1B2" * 9,
    "gitlab": "glpat-abcdefghij0123456789",
    "hugging face": "hf_" + "aB3" * 12,
    "slack": "xoxb-123456789012-abcdefABCDEF",
    "google": "AIza" + "Sy0" * 11 + "ab",
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlMTIz",
    "bearer": "Authorization: Bearer abcdef123456",
    "header": "{'x-api-key': 'abcdef123456'}",
    "query": "https://host/v1?api_key=abcdef123456&x=1",
    "password": "password=hunter22",
    "url": "https://user:hunter22@host/path",
}
LEFT = [
    "commit 3f786850e387550fdab836ed7e6dc881de23001b",
    "line 1234, column 56",
    "2026-11-22T10:00:00Z",
    "127.0.0.1:8080 and ::1",
    "version 3.54.0rc1",
    "request req_0123456789abcdef0123456789abcdef failed",
    "01a20925-facd-753e-857b-9fc9b3bbaf21",
    "Missing API key: pass api_key=",
    "the bearer of bad news",
    "task-based disk-usage risk-free-0123456789abcdef",
    "Rate limit reached for gpt-5 in organization org-abcdefghijklmnop on tokens per min",
    "https://example.com/a/b?c=d",
]


@pytest.mark.parametrize("name", TAKEN)
def test_a_credential_is_taken_out(name):
    """By its form or by the name before it; the words around it stay."""
    found = secrets(TAKEN[name])
    assert MARK in found
    for piece in (
        "abcDEF123",
        "AAAABBBB",
        "a1B2",
        "abcdefghij",
        "aB3",
        "abcdefABC",
        "Sy0",
        "IOSFO",
        "c2lnb",
        "abcdef123",
        "hunter22",
    ):
        assert piece not in found


@pytest.mark.parametrize("text", LEFT)
def test_what_is_no_credential_stays(text):
    """Hashes, lines, dates, addresses, versions and ids."""
    assert text == secrets(text)


@given(st.text())
def test_any_text_comes_out_as_a_text_and_twice_is_once(text):
    """It never raises, and is idempotent."""
    once = secrets(text)
    assert once == secrets(once)


def test_an_error_message_on_record_holds_no_key(trace_dir, read_lines):
    """Always, whatever is configured; the caller's own exception is untouched."""

    @moa.reference
    def ask():
        raise ValueError("Incorrect API key provided: sk-proj-abcDEF1234567890abcd")

    with pytest.raises(ValueError, match="sk-proj-abcDEF1234567890abcd"):
        ask()
    (record,) = read_lines(trace_dir)
    for error in (record["error"], record["references"][0]["error"]):
        assert f"Incorrect API key provided: {MARK}" == error["message"]
