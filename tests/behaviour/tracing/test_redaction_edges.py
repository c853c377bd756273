"""Secrets in unusual places: a token in the middle of a sentence, an `extra_body` of another type."""

from __future__ import annotations

import json

import pytest

import moa_middleware as moa
from moa_middleware._capture.tracing.content import Content
from moa_middleware._capture.tracing.encode import encode
from moa_middleware._capture.tracing.redact import Redactor
from moa_middleware._redaction import MARK, secrets

HELLO = [{"role": "user", "content": "hi"}]


def test_a_bearer_token_is_removed_without_its_header():
    """A prompt that quotes how to log in: the word `Authorization` does not stand before the token."""
    assert f"Use Bearer {MARK} to log in" == secrets("Use Bearer abc123def456ghi789 to log in")


OPTIONS = [{"redact": ["emails"]}, {"capture": "metadata"}]


@pytest.mark.parametrize("options", OPTIONS, ids=["redact", "metadata"])
def test_only_extra_body_has_the_names_of_extra_body(options, trace_dir):
    """`provider` is a name of the format inside `extra_body`; in another parameter it is the user's text."""

    @moa.reference
    def ask(messages, *, prediction, extra_body):
        return "answer"

    moa.configure(**options)
    ask(HELLO, prediction={"provider": "write to a.b@example.com"}, extra_body={"provider": "deepseek"})
    (file,) = trace_dir.rglob("*.jsonl")
    line = file.read_text()
    assert "example.com" not in line
    record = json.loads(line)
    assert 0 == record["instrumentation_errors"]
    assert {"provider": "deepseek"} == record["references"][0]["params"]["extra_body"]


@pytest.mark.parametrize(
    ("content", "shown"),
    [(Content(metadata=True), None), (Content(redactor=Redactor(rules=["emails"])), "write to [email]")],
    ids=["metadata", "redact"],
)
@pytest.mark.parametrize("make", [list, " ".join], ids=["list", "text"])
def test_an_extra_body_of_any_type_is_redacted(make, content, shown):
    """A line of another writer may have a list or a text there: nothing of it passes, and the line stays."""
    record = {"schema": "moa-turn/1", "params": {"extra_body": make(["write to a.b@example.com"]), "top_p": 0.5}}
    line, urgent = content.line(encode(record))
    assert urgent is None
    assert {"extra_body": shown and make([shown]), "top_p": 0.5} == json.loads(line)["params"]
