"""What a reply of each SDK holds besides its text, and how far that goes in the record."""

from __future__ import annotations

import gc
import pickle

import anthropic
import openai
import pytest

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer
from tests.support.sdk_forms import CHAT, MESSAGE, MESSAGES, RESPONSE, client_of

CALLS = [
    {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"at": "the sky"}'}},
    {"id": "c2", "type": "function", "function": {"name": "count", "arguments": '{"to": 3}'}},
]
WHOLE = Script(
    "The answer.",
    pieces=["The ", "answer."],
    reasoning="Let me think.",
    tool_calls=CALLS,
    usage={
        "prompt_tokens": 30,
        "completion_tokens": 9,
        "prompt_tokens_details": {"cached_tokens": 20, "cache_write_tokens": 4},
        "completion_tokens_details": {"reasoning_tokens": 6},
    },
)


@pytest.fixture
def server():
    with ScriptedServer({"m": WHOLE}) as made:
        yield made


def of(turn):
    calls = [*turn["references"], *([turn["aggregator"]] if turn["aggregator"] else []), *turn["calls"]]
    assert len(calls) == 1
    return calls[0]


def drain(stream):
    for _ in stream:
        pass


def response(client, *, stream):
    drain(client.responses.create(stream=True, **RESPONSE)) if stream else client.responses.create(**RESPONSE)


def response_manager(client, *, stream):
    with client.responses.stream(**RESPONSE) as events:
        events.until_done()


def message(client, *, stream):
    drain(client.messages.create(stream=True, **MESSAGE)) if stream else client.messages.create(**MESSAGE)


def message_manager(client, *, stream):
    with client.messages.stream(**MESSAGE) as events:
        events.until_done()


def chat(client, *, stream):
    options = {"include_usage": True}
    if stream:
        drain(client.chat.completions.create(stream=True, stream_options=options, **CHAT))
    else:
        client.chat.completions.create(**CHAT)


@pytest.mark.parametrize(
    ("sdk", "ask", "stream"),
    [
        ("openai", chat, False),
        ("openai", chat, True),
        ("openai", response, False),
        ("openai", response, True),
        ("openai", response_manager, True),
        ("anthropic", message, False),
        ("anthropic", message, True),
        ("anthropic", message_manager, True),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_tools_reasoning_and_tokens(sdk, ask, stream, server, turns):
    """In one form and with one meaning, whichever API they came from."""
    ask(moa.instrument(client_of(sdk, server)), stream=stream)
    [turn] = turns
    call = of(turn)
    assert (call["output"], call["reasoning"]) == ("The answer.", "Let me think.")
    assert call["tool_calls"] == CALLS
    usage = call["usage"]
    assert usage == {
        "input_tokens": 6,
        "output_tokens": 9,
        "cache_read_tokens": 20,
        "cache_write_tokens": 4,
        "reasoning_tokens": 6,
    }
    assert turn["totals"]["usage"] == usage


@pytest.mark.parametrize("streamed", [False, True])
def test_a_response_that_says_it_failed_is_an_error(streamed, turns):
    """The SDK raises nothing; the record has the outcome, the code and the words, and the text so far."""
    failed = Script(
        "One two",
        pieces=["One ", "two"],
        finish_reason="failed",
        error={"code": "server_error", "message": "out of luck"},
        error_after=1 if streamed else None,
    )
    with ScriptedServer({"m": failed}) as server:
        client = moa.instrument(client_of("openai", server))
        response(client, stream=streamed)
    [turn] = turns
    call = of(turn)
    assert call["outcome"] == turn["outcome"] == "error"
    assert call["error"]["type"].endswith("ProviderError")
    assert "server_error" in call["error"]["message"]
    assert "out of luck" in call["error"]["message"]
    if streamed:
        assert call["output"] == "One "
    assert turn["totals"]["failed"] == 1


def test_a_response_cut_short_tells_the_reason(turns):
    """`incomplete_details.reason` is why it ended."""
    with ScriptedServer({"m": Script("One", finish_reason="length")}) as server:
        response(moa.instrument(client_of("openai", server)), stream=True)
    assert of(turns[0])["finish_reason"] == "max_output_tokens"


@pytest.mark.parametrize(
    ("sdk", "ask", "error"), [("openai", response, openai.APIError), ("anthropic", message, anthropic.APIError)]
)
def test_an_error_event_in_a_stream_keeps_the_text_before_it(sdk, ask, error, turns):
    """The SDK raises; the caller gets that very exception."""
    with ScriptedServer({"m": Script("One two", pieces=["One ", "two"], error_after=1)}) as server:
        client = moa.instrument(client_of(sdk, server))
        with pytest.raises(error):
            ask(client, stream=True)
    call = of(turns[0])
    assert (call["outcome"], call["output"]) == ("error", "One ")
    assert call["error"]["type"].startswith(sdk)


def test_credentials_of_tools_are_left_out(server, turns):
    """An MCP server's headers and token are named, and never shown."""
    tool = {
        "type": "mcp",
        "server_label": "docs",
        "server_url": "https://example.com",
        "headers": {"Authorization": "Bearer canary-1"},
        "authorization": "canary-2",
    }
    client = moa.instrument(client_of("openai", server))
    client.responses.create(tools=[tool], previous_response_id="resp_0", **RESPONSE)
    call = of(turns[0])
    assert call["params"]["tools"] == [{"type": "mcp", "server_label": "docs", "server_url": "https://example.com"}]
    assert call["params"]["previous_response_id"] == "resp_0"
    assert {"tools.headers", "tools.authorization"} <= set(call["params_omitted"])
    assert "canary" not in str(turns)
    assert server.received[-1].body["tools"] == [tool]


def test_what_stands_before_the_messages_of_an_iterator_is_recorded(server, turns):
    """`system` with a generator of messages: both are in the record, and the SDK pulls them once."""
    client = moa.instrument(client_of("anthropic", server))
    client.messages.create(model="m", max_tokens=5, system="be brief", messages=(each for each in MESSAGES))
    assert server.received[-1].body["messages"] == MESSAGES
    assert of(turns[0])["input_messages"] == [{"role": "system", "content": "be brief"}, *MESSAGES]


def test_a_system_message_can_be_added_and_taken_away(server):
    """`call.replace(messages=…)`: the first system message goes where the SDK takes it."""

    def add(call):
        yield call.replace(messages=[{"role": "system", "content": "new"}, *call.messages])

    def strip(call):
        yield call.replace(messages=[each for each in call.messages if each["role"] != "system"])

    for middleware, system in ((add, "new"), (strip, None)):
        client = moa.Stack([middleware]).instrument(client_of("anthropic", server))
        client.messages.create(
            model="m", max_tokens=5, messages=MESSAGES, **({"system": "old"} if system is None else {})
        )
        assert server.received[-1].body.get("system") == system
        assert server.received[-1].body["messages"] == MESSAGES


def test_azure_is_openai_at_another_address(server, turns):
    """`AzureOpenAI`, instrumented as any client."""
    client = moa.instrument(openai.AzureOpenAI(azure_endpoint=server.root_url, api_version="1", api_key="key"))
    assert client.chat.completions.create(**CHAT).choices[0].message.content == "The answer."
    assert of(turns[0])["provider"] == "openai"


def test_the_parsed_form_comes_from_a_cache_too(server):
    """`parse` gives the caller's own class, whichever side answered."""
    import pydantic

    class Answer(pydantic.BaseModel):
        sky: str

    def cache(call):
        return moa.Reply(text='{"sky": "blue"}')

    client = moa.Stack([cache]).instrument(client_of("openai", server))
    parsed = client.chat.completions.parse(response_format=Answer, **CHAT).choices[0].message.parsed
    assert parsed == Answer(sky="blue")
    assert client.responses.parse(text_format=Answer, **RESPONSE).output_parsed == Answer(sky="blue")
    assert server.received == []


def test_the_users_iterator_is_left_alone_by_a_cache(server):
    """Nothing is sent, so nothing is pulled."""

    def cache(call):
        return moa.Reply(text="From the cache.")

    left = iter(MESSAGES)
    client = moa.Stack([cache]).instrument(client_of("openai", server))
    got = client.chat.completions.create(model="m", messages=left)
    assert got.choices[0].message.content == "From the cache."
    assert list(left) == MESSAGES


def test_a_raw_response_cannot_be_answered_with_a_parsed_one(server):
    """The message names the middleware and what to return."""
    client = client_of("openai", server)
    parsed = client.chat.completions.create(**CHAT)

    def wrong(call):
        return parsed
        yield

    moa.Stack([wrong]).instrument(client)
    with pytest.raises(moa.errors.ReplyFormError, match=r"wrong` answered with ChatCompletion.*raw response.*Reply"):
        client.chat.completions.with_raw_response.create(**CHAT)


@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def test_a_client_that_was_used_before_it_was_instrumented(sdk, server, turns):
    """Its raw forms, which the SDK keeps with the methods as they were, are recorded too."""
    client = client_of(sdk, server)

    def ask():
        if sdk == "openai":
            return client.chat.completions.with_raw_response.create(**CHAT).parse()
        return client.messages.with_raw_response.create(**MESSAGE).parse()

    ask()
    moa.instrument(client)
    ask()
    assert len(turns) == 1
    moa.uninstrument(client)
    ask()
    assert len(turns) == 1


class Everything:
    """The attributes of an SDK's classes, by identity: a wrapper compares equal to what it wraps."""

    def __init__(self):
        from anthropic.resources.messages.messages import AsyncMessages, Messages
        from openai.resources.chat.completions.completions import AsyncCompletions, Completions
        from openai.resources.responses.responses import AsyncResponses, Responses

        owners = (Completions, AsyncCompletions, Responses, AsyncResponses, Messages, AsyncMessages, openai.OpenAI)
        self.held = [{name: id(value) for name, value in vars(owner).items()} for owner in owners]

    def __eq__(self, other):
        return self.held == other.held

    __hash__ = None


def test_an_sdk_is_instrumented_for_every_client_and_put_back(server, turns):
    """`moa.instrument(openai)`, twice, and by its name: one layer; afterwards every attribute is as it was."""
    had = Everything()
    client = client_of("openai", server)
    moa.instrument(openai)
    moa.instrument("openai,anthropic")
    moa.instrument(openai.OpenAI)
    moa.instrument(client)
    chat(client, stream=False)
    message(client_of("anthropic", server), stream=True)
    response(client_of("openai", server), stream=True)
    assert [of(turn)["outcome"] for turn in turns] == ["completed"] * 3
    moa.uninstrument()
    assert had == Everything()
    chat(client, stream=False)
    assert len(turns) == 3


def test_undoing_one_way_leaves_the_others(server, turns):
    """A client that was named itself stays instrumented when the SDK's other clients are let go."""
    named, other = client_of("openai", server), client_of("openai", server)
    moa.instrument(named)
    moa.instrument(openai)
    moa.uninstrument(openai)
    chat(other, stream=False)
    assert turns == []
    chat(named, stream=False)
    assert len(turns) == 1


def test_undoing_a_client_undoes_its_copies(server, turns):
    """`with_options` copies, and copies of them, were instrumented with it."""
    had = Everything()
    client = moa.instrument(client_of("openai", server))
    copies = [client.with_options(timeout=3), client.copy().with_options(timeout=4)]
    moa.uninstrument(client)
    for each in (client, *copies):
        chat(each, stream=False)
    assert turns == []
    assert had == Everything()


@pytest.mark.parametrize(("sdk", "open_one"), [("openai", "chat"), ("openai", "responses"), ("anthropic", "messages")])
def test_a_manager_that_is_entered_by_hand_and_dropped(sdk, open_one, turns):
    """Nobody leaves it: its stream ends as abandoned when it is collected, and its connection closes."""
    script = Script("One two", pieces=["One ", "two"], break_after=None, piece_delay=0.0)
    with ScriptedServer({"m": script}) as server:
        client = moa.instrument(client_of(sdk, server))

        def drop():
            if open_one == "chat":
                stream = client.chat.completions.stream(**CHAT).__enter__()
            elif open_one == "responses":
                stream = client.responses.stream(**RESPONSE).__enter__()
            else:
                stream = client.messages.stream(**MESSAGE).__enter__()
            next(iter(stream))

        drop()
        gc.collect()
        gc.collect()
        assert moa.status().open_turns == 0
    assert [of(turn)["outcome"] for turn in turns] == ["abandoned"]


def test_what_a_helper_raises_is_no_error_of_the_consumers(turns):
    """A reply that does not fit the caller's class: the SDK raises, inside the caller's `with`."""
    import pydantic

    class Answer(pydantic.BaseModel):
        sky: int

    with ScriptedServer({"m": Script('{"sky": "blue"}')}) as server:
        client = moa.instrument(client_of("openai", server))
        with (
            pytest.raises(pydantic.ValidationError),
            client.chat.completions.stream(response_format=Answer, **CHAT) as s,
        ):
            s.until_done()
        with pytest.raises(ZeroDivisionError), client.chat.completions.stream(**CHAT) as s:
            next(iter(s))
            1 / 0
    assert [of(turn)["outcome"] for turn in turns] == ["error", "consumer_error"]


def test_a_parsed_reply_that_the_sdk_refuses_is_on_record(turns):
    """Too long to be parsed: the SDK raises, and hands the completion over with its exception."""
    import pydantic

    class Answer(pydantic.BaseModel):
        sky: str

    with ScriptedServer({"m": Script('{"sky": "bl', finish_reason="length")}) as server:
        client = moa.instrument(client_of("openai", server))
        with pytest.raises(openai.LengthFinishReasonError):
            client.chat.completions.parse(response_format=Answer, **CHAT)
    call = of(turns[0])
    assert (call["outcome"], call["output"], call["finish_reason"]) == ("error", '{"sky": "bl', "length")
    assert call["usage"]["output_tokens"]


@pytest.mark.parametrize("api", ["chat", "responses", "messages"])
def test_a_reply_that_does_not_fit_is_on_record(api, turns):
    """The model answered, and was paid: the caller gets the exception, the record the reply."""
    import pydantic

    class Answer(pydantic.BaseModel):
        sky: int

    with ScriptedServer({"m": Script('{"sky": "blue"}')}) as server:
        client = moa.instrument(client_of("anthropic" if api == "messages" else "openai", server))
        with pytest.raises(pydantic.ValidationError):
            if api == "chat":
                client.chat.completions.parse(response_format=Answer, **CHAT)
            elif api == "responses":
                client.responses.parse(text_format=Answer, **RESPONSE)
            else:
                client.messages.parse(output_format=Answer, **MESSAGE)
    call = of(turns[0])
    assert (call["outcome"], call["output"]) == ("error", '{"sky": "blue"}')
    assert call["usage"]["output_tokens"]
    assert call["error"]["type"].endswith("ValidationError")


def test_a_raw_response_in_a_cycle_is_closed_when_it_is_collected(server, turns):
    """As litellm keeps them: stream, response and client's own objects go at once, in any order."""
    client = moa.instrument(client_of("openai", server))

    def drop():
        cycle = {}
        cycle["self"] = cycle
        cycle["raw"] = client.chat.completions.with_raw_response.create(stream=True, **CHAT)
        cycle["steps"] = iter(cycle["raw"].parse())
        next(cycle["steps"])

    drop()
    gc.collect()  # what cannot be raised there would fail this test
    assert [of(turn)["outcome"] for turn in turns] == ["abandoned"]


def test_a_raw_response_is_of_its_own_class_again(server, turns):
    """While its body is looked at, it is of a subclass; it can be pickled all the while."""
    client = moa.instrument(client_of("openai", server))
    response = client.chat.completions.with_raw_response.create(stream=True, **CHAT).http_response
    name = type(response).__qualname__
    assert pickle.loads(pickle.dumps(response)).status_code == 200
    assert "The " in "".join(response.iter_text())
    assert type(response).__qualname__ == name
    assert type(response) is type(pickle.loads(pickle.dumps(response)))
    assert of(turns[0])["outcome"] == "completed"
