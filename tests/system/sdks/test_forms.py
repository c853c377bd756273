"""
Every form in which an SDK is asked: the caller gets what it would have got, the record all of it.

The SDKs are the real ones, on the loopback server.
"""

from __future__ import annotations

import asyncio

import pytest

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer
from tests.support.sdk_forms import FORMS, MESSAGES, ask, client_of, installed

PIECES = ["One ", "two ", "three."]
TEXT = "".join(PIECES)
USAGE = {"prompt_tokens": 7, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 2}}
SYSTEM = {"role": "system", "content": "be brief"}


@pytest.fixture(scope="module")
def server():
    with ScriptedServer({}, default=Script(TEXT, pieces=PIECES, usage=USAGE)) as made:
        yield made


@pytest.fixture
def run(server):
    """Return a function that runs a form on a client of its own, instrumented by a stack unless told otherwise."""

    def call(form, stack=None):
        if not installed(form.sdk):
            pytest.skip(f"{form.sdk} is not installed")
        client = client_of(form.sdk, server, is_async=form.is_async)
        if stack is not None:
            stack.instrument(client)
        return ask(form, client)

    return call


def of(turn):
    """Return the only call of a turn."""
    calls = [*turn["references"], *([turn["aggregator"]] if turn["aggregator"] else []), *turn["calls"]]
    assert len(calls) == 1
    return calls[0]


def forms(test):
    """Run a test with every form; a quick run has each SDK and each form at least once."""
    test = pytest.mark.crowd(facets=lambda form: (form.sdk, (form.family, form.name)))(test)
    return pytest.mark.parametrize("form", FORMS, ids=str)(test)


@forms
def test_the_caller_gets_the_reply_and_the_record_holds_it(form, run, turns, server):
    """One request, the very text, one line with the whole reply."""
    before = len(server.received)
    assert run(form, moa.default_stack) == TEXT
    assert len(server.received) == before + 1
    [turn] = turns
    call = of(turn)
    assert (call["outcome"], call["output"], call["streamed"]) == ("completed", TEXT, form.streamed)
    assert call["model"] == "m"
    assert call["provider"] == form.sdk
    assert call["endpoint"].startswith("http://127.0.0.1")
    assert call["response_id"]
    assert call["finish_reason"] == {"chat": "stop", "responses": "completed", "messages": "end_turn"}[form.family]
    assert call["input_messages"] == (MESSAGES if form.family == "chat" else [SYSTEM, *MESSAGES])
    assert (call["chunks"] is not None) == form.streamed == (call["first_chunk_ms"] is not None)
    if not (form.family == "chat" and form.streamed):  # a chat's stream tells its tokens where it is asked to
        assert (call["usage"]["input_tokens"], call["usage"]["output_tokens"]) == (5, 5)
        assert call["usage"]["cache_read_tokens"] == 2


@forms
def test_a_reply_of_a_middlewares_own_comes_in_the_form_that_was_asked_for(form, run, turns, server):
    """A cache answers, and nothing is sent: value, stream, manager and raw response are all real."""

    def cache(call):
        return moa.Reply(text="From the cache.", source="cache")

    before = len(server.received)
    assert run(form, moa.Stack([cache])) == "From the cache."
    assert len(server.received) == before
    [turn] = turns
    assert (of(turn)["output"], of(turn)["source"]) == ("From the cache.", "cache")


@forms
def test_a_middleware_changes_what_the_model_reads(form, run, turns, server):
    """Also what stands before the messages, where the SDK has an argument of its own for it."""

    def redact(call):
        yield call.replace(messages=[{**message, "content": f"<{message['content']}>"} for message in call.messages])

    assert run(form, moa.Stack([redact])) == TEXT
    body = server.received[-1].body
    if form.family == "chat":
        assert body["messages"] == [{"role": "user", "content": "<count>"}]
    elif form.family == "messages":
        assert body["messages"] == [{"role": "user", "content": "<count>"}]
        assert body["system"] == "<be brief>"
    else:
        assert body["input"] == [{"role": "user", "content": "<count>"}]
        assert body["instructions"] == "<be brief>"


@forms
def test_a_middleware_changes_the_pieces_of_a_stream(form, run, turns):
    """`map_chunks` gets at the text however the stream is read; a body that the caller reads stays as it is."""

    def shout(call):
        call.map_chunks(lambda chunk: chunk.text.upper())
        yield call

    text = run(form, moa.Stack([shout]))
    if form.streamed and not form.raw and not form.name.endswith("response_manager_final"):
        assert text == TEXT.upper()
    else:
        assert text.lower() == TEXT.lower()


@forms
def test_a_middleware_repeats_a_request_that_failed(form, turns):
    """The first answer is an error; the caller gets the second, and the record has both attempts."""
    if not installed(form.sdk):
        pytest.skip(f"{form.sdk} is not installed")

    def retry(call):
        try:
            return (yield call)
        except Exception:
            return (yield call)

    failing = Script("", status=500, error={"message": "down"})
    with ScriptedServer({"m": [failing, Script(TEXT, pieces=PIECES)]}) as server:
        client = moa.Stack([retry]).instrument(client_of(form.sdk, server, is_async=form.is_async))
        got = asyncio.run(form.run(client)) if form.is_async else form.run(client)
    assert got == TEXT
    [turn] = turns
    attempts = sorted(
        [*turn["calls"], *([turn["aggregator"]] if turn["aggregator"] else [])], key=lambda c: c["attempt"]
    )
    assert [(one["attempt"], one["outcome"]) for one in attempts] == [(1, "error"), (2, "completed")]


@forms
def test_a_middleware_holds_a_reply_back_and_passes_it_on(form, run, turns):
    """`call.buffer()` alone: the caller gets the very text, in the form that was asked for."""

    def hold(call):
        call.buffer()
        yield call

    assert run(form, moa.Stack([hold])) == TEXT
    assert (of(turns[0])["outcome"], of(turns[0])["output"]) == ("completed", TEXT)


@forms
def test_a_middleware_holds_a_reply_back_and_answers_another(form, run, turns, server):
    """Nothing of the provider's text gets through, however the caller reads it."""

    def guard(call):
        call.buffer()
        reply = yield call
        assert reply.text == TEXT
        return moa.Reply(text="Withheld.")

    before = len(server.received)
    assert run(form, moa.Stack([guard])) == "Withheld."
    assert len(server.received) == before + 1
    [turn] = turns
    assert turn["aggregator"]["output"] == "Withheld."
    assert [call["output"] for call in turn["calls"]] == [TEXT]
