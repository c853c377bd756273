"""Sizes in place of content, and texts that are cut."""

from __future__ import annotations

import hashlib
import json

from hypothesis import given
from hypothesis import strategies as st

import moa_middleware as moa
from moa_middleware._capture.tracing.content import Content
from moa_middleware._capture.tracing.encode import encode
from tests.support.canaries import call_of, echo, say

# Sizes in place of content ------------------------------------------------------------------------


def test_metadata_tells_sizes_and_no_digests(monkeypatch, turns):
    """Of a text its UTF-8 bytes, of anything else those of its JSON; a short text could be guessed from a hash."""
    monkeypatch.setenv("MOA_CAPTURE", "metadata")
    messages = [{"role": "user", "content": "süß"}]

    @moa.turn(tags={"tenant": "a", "dotted.key~": [1, 2], "none": None})
    def create(messages):
        return echo(messages, stop=["x"], temperature=0.5, seed=3)

    create(messages)
    (record,) = turns
    call = call_of(record)
    size = len(json.dumps(messages, separators=(",", ":"), ensure_ascii=False).encode())
    assert {
        "input_messages": {"reason": "metadata", "bytes": size},
        "output": {"reason": "metadata", "bytes": 5},
        "params.stop": {"reason": "metadata", "bytes": 5},
    } == call["omitted"]
    assert {"tenant": None, "dotted.key~": None, "none": None} == record["tags"]
    assert {"input_messages", "output", "tags.tenant", "tags.dotted~1key~0"} == record["omitted"].keys()
    assert 5 == record["omitted"]["tags.dotted~1key~0"]["bytes"]
    assert {"stop": None, "temperature": 0.5, "seed": 3} == call["params"]
    assert (None, None, "inline", "completed") == tuple(
        call[name] for name in ("input_messages", "output", "output_location", "outcome")
    )
    assert "sha256" not in json.dumps(record)


def test_what_is_not_there_is_not_omitted(turns):
    """A `null` without an entry was `null` before."""
    moa.configure(capture="metadata")

    @moa.reference
    def silent():
        return None

    silent()
    (record,) = turns
    assert "output" not in call_of(record).get("omitted", {})
    assert "input_messages" not in record.get("omitted", {})


# Cut ----------------------------------------------------------------------------------------------


def test_a_long_text_is_cut_at_a_whole_character_and_declared(monkeypatch, turns):
    """With its size and its digest; a text of the very length stays, and so do words of the format."""
    monkeypatch.setenv("MOA_MAX_FIELD_BYTES", "8")
    long, fitting = "€uro €uro €uro", "01234567"
    echo([{"role": "assistant", "content": fitting}, {"role": "user", "content": long}])
    call = call_of(turns[0])
    data = long.encode()
    entry = {"reason": "limit", "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    assert [fitting, "€uro "] == [message["content"] for message in call["input_messages"]]
    assert "€uro " == call["output"]
    assert {"input_messages.1.content": entry, "output": entry} == call["omitted"]
    assert ["assistant", "user"] == [message["role"] for message in call["input_messages"]]


@given(st.text(), st.integers(1, 40))
def test_whatever_is_cut_is_a_prefix_within_the_limit(text, limit):
    """Whatever the characters are, lone surrogates among them."""
    found, urgent = Content(limit=limit).line(encode({"output": text}))
    record = json.loads(found)
    assert urgent is None
    assert text.startswith(record["output"])
    size = len(text.encode("utf-8", "surrogatepass"))
    kept = len(record["output"].encode("utf-8", "surrogatepass"))
    assert kept <= limit
    assert ("omitted" in record) == (size > limit)
    if size > limit:
        assert kept > limit - 4
        assert size == record["omitted"]["output"]["bytes"]


def test_a_secret_is_taken_out_before_the_cut(turns):
    """Half a secret would match no rule any more."""
    moa.configure(redact="secrets", max_field_bytes=24)
    say("my key: sk-proj-abcDEF1234567890abcdEFGH")
    assert "my key: [secret]" == call_of(turns[0])["output"]
