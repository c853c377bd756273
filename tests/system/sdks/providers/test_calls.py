"""Ollama, Cohere and Bedrock: every form of each SDK is recorded as the bytes say it, and the caller sees no difference."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
from importlib import import_module

import pytest

import moa_middleware as moa
from moa_middleware.testing import capture_turns
from tests.support.loopback import Answer
from tests.support.providers import ASKED, OUTPUT, PIECES, SYSTEM, TEXT, is_installed, taken, taken_async, tool_calls_of

NAMES = {
    "google-genai": ("google.genai", "gemini", "PROVIDER"),
    "huggingface_hub": ("huggingface_hub", "huggingface", "PROVIDER"),
    "mistralai": ("mistralai", "mistral", "PROVIDER"),
    "ollama": ("ollama", "ollama", "PROVIDER"),
    "cohere": ("cohere", "cohere", "PROVIDER"),
    "cohere-v1": ("cohere", "cohere", "PROVIDER_V1"),
    "boto3": ("boto3", "bedrock", "PROVIDER"),
    "aiobotocore": ("aiobotocore", "bedrock", "PROVIDER_ASYNC"),
}


def _cases():
    for title, (sdk, module, name) in NAMES.items():
        if not is_installed(sdk):
            skip = pytest.mark.skip(reason=f"{sdk} is not installed (it needs an environment of its own)")
            yield pytest.param(None, None, id=title, marks=skip)
            continue
        provider = getattr(import_module(f"tests.support.providers.{module}"), name)
        yield from (pytest.param(provider, form, id=f"{title}-{form.name}") for form in provider.forms)


def of_kind(**wanted):
    """Return the cases whose forms are of a kind."""
    return [
        case
        for case in CASES
        if case.values[1] is None or all(getattr(case.values[1], k) == v for k, v in wanted.items())
    ]


CASES = list(_cases())
every_form = pytest.mark.parametrize(("provider", "form"), CASES)
every_stream = pytest.mark.parametrize(("provider", "form"), of_kind(streamed=True))
# The bodies of the models differ, and how they are asked does not: two of five will do where that is tested.
_OTHERS = ("nova", "titan", "llama3")


def _without_others(cases):
    return [case for case in cases if not any(name in case.id for name in _OTHERS)]


each_form = pytest.mark.parametrize(("provider", "form"), _without_others(CASES))
each_stream = pytest.mark.parametrize(("provider", "form"), _without_others(of_kind(streamed=True)))


class Wire:
    """What a provider answers, and what passed."""

    def __init__(self, provider, answer=None):
        self.provider = provider
        self.passed = []
        """Path, request and answer of each request."""
        self.answer = answer or provider.answer

    def __call__(self, path, asked):
        said = self.answer(path, asked)
        self.passed.append((path, asked, said))
        return said

    def truth(self, number=0):
        path, asked, said = self.passed[number]
        return self.provider.truth(path, asked, said.pieces)


def run(provider, form, wire, *, prepare=None, ask=None, most=None):
    """Ask once; returns what the caller got, the objects and the text."""
    with provider.connect(wire, is_async=form.is_async) as client:
        if form.is_async:
            return asyncio.run(_run_async(form, client, prepare, ask or taken_async, most))
        if prepare is not None:
            prepare(client)
        return (ask or taken)(form, client, most)


async def _run_async(form, client, prepare, ask, most):
    opened = client() if callable(client) and not hasattr(client, "chat") else contextlib.nullcontext(client)
    async with opened as one:
        if prepare is not None:
            prepare(one)
        return await ask(form, one, most)


def is_of_module(form):
    return form.name.startswith("module_")


def prepare_of(provider, form):
    """Return what instruments a client; the functions of a module are instrumented with their SDK."""
    if is_of_module(form):
        return lambda _client: moa.instrument(provider.entry)
    return moa.instrument


def calls_of(turns):
    [turn] = turns
    assert "canary" not in json.dumps(turn)
    return [*turn["references"], *([turn["aggregator"]] if turn["aggregator"] else []), *turn["calls"]]


def only(turns):
    [call] = calls_of(turns)
    return call


def recorded(provider, form, wire, **more):
    with capture_turns() as turns:
        got = run(provider, form, wire, prepare=prepare_of(provider, form), **more)
        gc.collect()
        moa.flush()
    return only(turns), got


def tokens_of(call):
    """Return the counts that a record has."""
    return {name: count for name, count in call["usage"].items() if count is not None}


def text(content):
    """Return the text of a content, which is a string or a list of parts."""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


@every_form
def test_the_record_says_what_the_bytes_say(provider, form):
    """Text, reasoning, tool calls, reason, ids, tokens; and of the request the model, prompt, system text, parameters."""
    wire = Wire(provider)
    call, (_, said) = recorded(provider, form, wire)
    truth = wire.truth()
    assert said == truth["output"] == TEXT
    assert (call["outcome"], call["output"], call["streamed"]) == ("completed", TEXT, form.streamed)
    assert (call["reasoning"] or None) == (truth["reasoning"] or None)
    assert tool_calls_of(call) == truth["tool_calls"]
    assert call["finish_reason"] == truth["finish_reason"]
    assert tokens_of(call) == truth["usage"]
    for name in ("response_id", "response_model"):
        assert name not in truth or call[name] == truth[name]
    assert (call["model"], call["provider"]) == (truth["model"], provider.provider)
    shown = [(message["role"], text(message["content"])) for message in call["input_messages"]]
    assert shown == [(message["role"], text(message["content"])) for message in truth["input_messages"]]
    assert shown[-1] == ("user", ASKED)
    assert ("system", SYSTEM) in shown or len(shown) == 1
    assert {name: call["params"].get(name) for name in form.params or ()} == (form.params or {})
    assert (call["chunks"] is not None) == form.streamed


@each_form
def test_the_caller_sees_no_difference(provider, form):
    """Uninstrumented, instrumented while nothing is recorded, and recorded: equal objects of the same types."""
    plain, text_of_plain = run(provider, form, Wire(provider))
    off, _ = run(provider, form, Wire(provider), prepare=prepare_of(provider, form))
    moa.uninstrument()
    _, (on, text_of_on) = recorded(provider, form, Wire(provider))
    assert list(map(type, plain)) == list(map(type, off)) == list(map(type, on))
    assert list(map(shown_of, plain)) == list(map(shown_of, off)) == list(map(shown_of, on))
    assert text_of_plain == text_of_on


def shown_of(value):
    """Return an object as JSON, without what differs from request to request."""
    if isinstance(value, dict):
        return {name: shown_of(item) for name, item in value.items() if name not in ("HTTPHeaders", "ResponseMetadata")}
    dump = getattr(value, "model_dump", None) or getattr(value, "dict", None)
    return dump() if dump is not None else value


@each_stream
def test_a_stream_that_is_broken_off_has_the_text_so_far(provider, form):
    """The consumer leaves after the first piece of text."""
    wire = Wire(provider)
    objects, _ = run(provider, form, wire)
    most = 1 + next(place for place, one in enumerate(objects) if form.text_of(one))
    call, (_, said) = recorded(provider, form, Wire(provider), most=most)
    assert said == PIECES[0]
    assert call["output"] == PIECES[0]
    assert call["outcome"] in ("closed", "abandoned")
    assert (call["usage"].get("output_tokens") or 0) < OUTPUT  # those so far, where a provider counts them


@each_form
def test_an_error_of_the_provider_is_an_error_in_the_record(provider, form):
    """The caller gets the SDK's own exception, the same with and without tracing."""
    with pytest.raises(Exception) as plain:
        run(provider, form, Wire(provider, provider.refuses))
    with capture_turns() as turns:
        with pytest.raises(Exception) as error:
            run(provider, form, Wire(provider, provider.refuses), prepare=prepare_of(provider, form))
        moa.flush()
    # boto3 makes the classes of its exceptions for each client.
    assert (str(error.value), type(error.value).__name__) == (str(plain.value), type(plain.value).__name__)
    call = only(turns)
    assert call["outcome"] == "error"
    assert call["error"]["type"].endswith(type(plain.value).__name__)


@each_stream
def test_a_connection_that_is_lost_is_an_error(provider, form):
    """The text before it is kept."""

    def cut(path, asked):
        said = provider.answer(path, asked)
        half = said.pieces[: len(said.pieces) // 2]
        return Answer([*half, *provider.failure], said.kind, headers=said.headers, cut=True)

    with pytest.raises(Exception) as plain:
        run(provider, form, Wire(provider, cut))
    with capture_turns() as turns:
        with pytest.raises(type(plain.value)):
            run(provider, form, Wire(provider, cut), prepare=prepare_of(provider, form))
        moa.flush()
    call = only(turns)
    assert call["outcome"] == "error"
    assert TEXT.startswith(call["output"] or "")


@each_form
def test_nothing_is_recorded_after_uninstrument(provider, form):
    """The methods are the SDK's own again."""

    def there_and_back(client):
        prepare_of(provider, form)(client)
        moa.uninstrument()

    with capture_turns() as turns:
        _, said = run(provider, form, Wire(provider), prepare=there_and_back)
    assert said == TEXT
    assert turns == []


@each_form
def test_an_sdk_is_instrumented_for_every_client(provider, form):
    """By its name, before a client is made."""
    moa.instrument(provider.entry)
    with capture_turns() as turns:
        _, said = run(provider, form, Wire(provider))
    assert said == TEXT
    assert only(turns)["output"] == TEXT


# Middleware. ----------------------------------------------------------------------------------------


@every_form
def test_a_middleware_changes_what_is_sent(provider, form):
    """Messages in the form of a chat reach the server in the SDK's own."""

    def other(call):
        yield call.replace(messages=[{"role": "system", "content": "be long"}, {"role": "user", "content": "sing"}])

    moa.configure(middleware=[other])
    wire = Wire(provider)
    call, (_, said) = recorded(provider, form, wire)
    sent = json.dumps(wire.passed[0][1])
    assert said == TEXT
    assert "sing" in sent
    assert ASKED not in sent
    assert SYSTEM not in sent
    # A model that takes one prompt reads the system text before it.
    assert text(call["input_messages"][-1]["content"]) in ("sing", "be long\n\nsing")


@every_stream
def test_a_middleware_changes_the_chunks(provider, form):
    """What the consumer gets is a changed copy, of the same class."""

    def shout(call):
        call.map_chunks(lambda chunk: chunk.replace(text=chunk.text.upper()) if chunk.text else chunk)
        yield call

    plain, _ = run(provider, form, Wire(provider))
    moa.configure(middleware=[shout])
    with capture_turns() as turns:
        objects, said = run(provider, form, Wire(provider), prepare=prepare_of(provider, form))
        gc.collect()
        moa.flush()
    assert said == TEXT.upper()
    assert list(map(type, objects)) == list(map(type, plain))
    # What the model said, and what the caller got in its stead.
    assert {call["output"] for call in calls_of(turns)} == {TEXT, TEXT.upper()}


@every_form
def test_a_middleware_answers_in_the_form_of_the_sdk(provider, form):
    """Nothing is sent; the caller reads the reply as it reads every other."""

    def cache(_call):
        return moa.Reply(text="From the cache.", finish_reason="stop")
        yield

    moa.configure(middleware=[cache])
    wire = Wire(provider)
    call, (objects, said) = recorded(provider, form, wire)
    assert said == "From the cache."
    assert wire.passed == []
    assert call["output"] == "From the cache."
    moa.configure(middleware=[])
    plain, _ = run(provider, form, Wire(provider))
    assert {type(one) for one in objects} <= {type(one) for one in plain}


@each_stream
def test_a_middleware_holds_a_stream_back(provider, form):
    """It reads it whole before the caller gets its chunks."""
    seen = []

    def whole(call):
        call.buffer()
        reply = yield call
        seen.append(reply.text)

    moa.configure(middleware=[whole])
    call, (_, said) = recorded(provider, form, Wire(provider))
    assert seen == [TEXT]
    assert said == call["output"] == TEXT
