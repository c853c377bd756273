"""Replies in every form around real SDKs: the caller's text, the model's words, and errors that were caught."""

from __future__ import annotations

import asyncio
import inspect

import anthropic
import openai
import pytest

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer, capture_turns

WORDS = "Air scatters blue light."
NAME = "a-model-whose-name-is-longer-than-its-answer"
MESSAGES = [{"role": "user", "content": "Why is the sky blue?"}]


@pytest.fixture(scope="module")
def server():
    """Serve a model that answers, one that fails, and one that breaks off."""
    scripts = {
        NAME: Script(WORDS, usage_always=True),
        "failing": Script(status=500),
        "refusing": Script(status=400),
        "breaking": Script(WORDS, break_after=2),
    }
    with ScriptedServer(scripts) as made:
        yield made


def client_of(sdk, server):
    """Return an instrumented client, and a function that asks it for a text."""
    if sdk == "openai":
        client = moa.instrument(openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0))

        def ask(model):
            return client.chat.completions.create(model=model, messages=MESSAGES).choices[0].message.content

    elif sdk == "openai, async":
        client = moa.instrument(openai.AsyncOpenAI(base_url=server.base_url, api_key="k", max_retries=0))

        async def ask(model):
            reply = await client.chat.completions.create(model=model, messages=MESSAGES)
            return reply.choices[0].message.content

    elif sdk == "responses":
        client = moa.instrument(openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0))

        def ask(model):
            return client.responses.create(model=model, input="Why?").output_text

    else:
        url = server.base_url.removesuffix("/v1")
        client = moa.instrument(anthropic.Anthropic(base_url=url, api_key="k", max_retries=0))

        def ask(model):
            return client.messages.create(model=model, messages=MESSAGES, max_tokens=50).content[0].text

    return client, ask


SDKS = pytest.mark.parametrize("sdk", ["openai", "openai, async", "responses", "anthropic"])


def recorded(ask, shape, model):
    """Return the reference around one call of an SDK, and its turn."""
    if inspect.iscoroutinefunction(ask):

        @moa.reference(label="slot")
        async def propose(model):
            try:
                return shape(await ask(model), None)
            except (openai.APIError, anthropic.APIError) as error:
                return shape(None, error)

    else:

        @moa.reference(label="slot")
        def propose(model):
            try:
                return shape(ask(model), None)
            except (openai.APIError, anthropic.APIError) as error:
                return shape(None, error)

    async def main():
        with moa.turn():
            result = propose(model)
            await result if inspect.isawaitable(result) else None

    with capture_turns() as found:
        asyncio.run(main())
    (record,) = found
    (call,) = record["references"]
    return call, record


@SDKS
@pytest.mark.parametrize(
    "shape",
    [
        lambda text, error: (NAME, text),
        lambda text, error: (text, NAME, True),
        lambda text, error: {NAME: text},
        lambda text, error: [NAME, {"answer": text}],
    ],
    ids=["name, text", "text, name, flag", "dict", "list"],
)
def test_a_name_is_never_the_answer(sdk, shape, server):
    """The text is the model's, with its tokens."""
    _, ask = client_of(sdk, server)
    call, record = recorded(ask, shape, NAME)
    assert (WORDS, "completed", NAME) == (call["output"], call["outcome"], call["model"])
    assert "model_output" not in call
    assert call["usage"]["output_tokens"] > 0
    assert not {"no_usage", "unread"} & set(record["totals"])


@SDKS
@pytest.mark.parametrize("model", ["failing", "refusing"])
@pytest.mark.parametrize(
    ("instead", "output"),
    [
        (lambda model: "[failed]", "[failed]"),
        (lambda model: None, None),
        (lambda model: (model, "[no]"), "[no]"),
        (lambda model: {model: "[no]", "ok": False}, "[no]"),
    ],
    ids=["text", "nothing", "name, text", "dict"],
)
def test_an_error_that_was_caught_is_in_the_record(sdk, model, instead, output, server):
    """With the provider's error, and among those that failed."""
    _, ask = client_of(sdk, server)
    call, record = recorded(ask, lambda text, error: instead(model), model)
    assert ("error", True, output) == (call["outcome"], call["handled"], call["output"])
    assert call["error"]["type"] in (
        f"{sdk.partition(',')[0].replace('responses', 'openai')}.InternalServerError",
        f"{sdk.partition(',')[0].replace('responses', 'openai')}.BadRequestError",
    )
    assert (1, 1, 1) == tuple(record["totals"][name] for name in ("calls", "failed", "no_usage"))


@pytest.mark.parametrize("handled", [True, False])
def test_a_stream_that_was_refused_was_asked_for(handled, server):
    """A call with `stream=True` that failed before its first chunk says that it is streamed."""
    client, _ = client_of("openai", server)

    @moa.reference
    def propose(model):
        try:
            return list(client.chat.completions.create(model=model, messages=MESSAGES, stream=True))
        except openai.APIError:
            if not handled:
                raise
            return None

    with capture_turns() as found, moa.turn():
        try:
            propose("refusing")
        except openai.BadRequestError:
            assert not handled
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model="refusing", messages=MESSAGES, stream=True)
        with pytest.raises(openai.BadRequestError):
            client.chat.completions.create(model="refusing", messages=MESSAGES)
    record = found[0]
    answer = [record["aggregator"]] if record["aggregator"] else []
    calls = sorted([*record["references"], *answer, *record["calls"]], key=lambda call: call["index"])
    assert [True, True, False] == [call["streamed"] for call in calls]
    assert 3 == record["totals"]["failed"]


def test_a_stream_that_broke_and_was_caught_keeps_both_texts(server):
    """What the function made of it, and the part that the model had said."""
    client, _ = client_of("openai", server)

    @moa.reference
    def propose(model):
        said = []
        try:
            for chunk in client.chat.completions.create(model=model, messages=MESSAGES, stream=True):
                said.append(chunk.choices[0].delta.content or "")
        except Exception:
            return model, "[broke off]"
        return model, "".join(said)

    with capture_turns() as found, moa.turn():
        propose("breaking")
    (call,) = found[0]["references"]
    assert ("error", True, "[broke off]", True) == (call["outcome"], call["handled"], call["output"], call["streamed"])
    assert WORDS.startswith(call["model_output"])
    assert call["model_output"]


def test_a_middleware_gets_the_text_and_never_the_name():
    """`reply.text` is what the record has."""
    heard = []

    def listen(call):
        reply = yield call
        heard.append(reply.text)

    stack = moa.Stack([listen])

    @stack.reference(label="slot")
    def pair(prompt, model):
        return model, WORDS

    @stack.reference(label="slot")
    def pieces(prompt, model):
        for word in ("Air ", "scatters ", "blue ", "light."):
            yield model, word

    with capture_turns() as found, moa.turn():
        assert pair("Why?", NAME) == (NAME, WORDS)
        assert len(list(pieces("Why?", NAME))) == 4
    assert [WORDS, WORDS] == heard
    assert [WORDS, WORDS] == [call["output"] for call in found[0]["references"]]
