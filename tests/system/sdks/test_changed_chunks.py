"""What `map_chunks` makes of words is where the provider put them: in the transcript, in each place of the reasoning."""

from __future__ import annotations

import pytest

import moa_middleware as moa
from moa_middleware.testing import capture_turns
from tests.support.wire_forms import all_forms
from tests.support.wire_replay import Wire

FORMS = {form.name: form for form in all_forms()}
SPOKEN = FORMS["chat-stream-spoken"]
REQUEST = {"model": "m", "messages": [{"role": "user", "content": "q"}], "stream": True}


def louder(call):
    """Change each piece of text."""
    call.map_chunks(lambda chunk: chunk.replace(text=chunk.text.upper()))
    yield call


def transcripts(stream):
    found = [chunk.choices[0].delta.model_dump(exclude_unset=True).get("audio") or {} for chunk in stream]
    return [audio["transcript"] for audio in found if "transcript" in audio]


def test_a_changed_piece_is_in_the_transcript():
    """The consumer reads the changed words where the provider put them; no second text appears."""
    wire = Wire("openai", is_async=False)
    wire.form = SPOKEN
    stack = moa.Stack([louder])
    client = stack.instrument(wire.client)
    with capture_turns() as turns:
        seen = [*client.chat.completions.create(**REQUEST)]
    assert ["IT IS ", "A HAT."] == transcripts(seen)
    assert not any(chunk.choices[0].delta.content for chunk in seen)
    [turn] = turns
    assert turn["output"] == "IT IS A HAT."


def test_a_tap_sees_the_transcript():
    """A progress bar or a live view of an answer works for a spoken one."""
    pieces = []

    def look(call):
        call.on_chunk(lambda chunk: pieces.append(chunk.text))
        yield call

    wire = Wire("openai", is_async=False)
    wire.form = SPOKEN
    client = moa.Stack([look]).instrument(wire.client)
    assert ["It is ", "a hat."] == transcripts(client.chat.completions.create(**REQUEST))
    assert ["It is ", "a hat."] == [piece for piece in pieces if piece]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("reasoning-content", ["Rou", "nd."]),
        ("reasoning", ["Rou", "nd."]),
        ("reasoning-details", ["Rou", "nd."]),
        ("reasoning-summaries", ["**Sha", "pe**"]),
        ("reasoning-twice", ["Round."]),
        ("thinking-parts", ["Round, ", "with a brim."]),
    ],
)
def test_changed_reasoning_leaves_no_other_copy(name, words):
    """Some servers send it twice, and a consumer reads it where it came: what was taken out is nowhere."""

    def hide(call):
        call.map_chunks(lambda chunk: chunk.replace(reasoning="[hidden]") if chunk.reasoning else chunk)
        yield call

    wire = Wire("openai", is_async=False)
    wire.form = FORMS[f"chat-stream-{name}"]
    stack = moa.Stack([hide])
    client = stack.instrument(wire.client)
    with capture_turns() as turns:
        seen = [repr(chunk) for chunk in client.chat.completions.create(**REQUEST)]
    stack.uninstrument(client)
    bare = [repr(chunk) for chunk in client.chat.completions.create(**REQUEST)]
    changed = [chunk for chunk, before in zip(seen, bare, strict=True) if chunk != before]
    assert len(words) == len(changed)
    for word, chunk in zip(words, changed, strict=True):
        assert word not in chunk
        assert "[hidden]" in chunk
    [turn] = turns
    assert (turn["output"], turn["aggregator"]["reasoning"]) == ("A hat.", "[hidden]" * len(words))
    [call] = turn["calls"]
    assert ("provider", "".join(words)) == (call["source"], call["reasoning"])
