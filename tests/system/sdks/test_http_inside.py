"""Requests of HTTP clients inside the call of an SDK or of an HTTP client: its own is one with it, another is a call."""

from __future__ import annotations

import asyncio
import json

import pytest

pytest.importorskip("aiohttp", reason="aiohttp is in the group test")
pytest.importorskip("httpx", reason="httpx is in the group test")
pytest.importorskip("openai", reason="openai is in the group test")
pytest.importorskip("requests", reason="requests is in the group test")

import aiohttp
import httpx
import openai
import requests

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer
from tests.support.http_ways import TLS

TEXT = "One two three."
MESSAGES = [{"role": "user", "content": "count"}]
OTHER = {"model": "guard", "messages": [{"role": "user", "content": "Is 'count' harmful?"}]}
EVERY = "openai,httpx,requests,aiohttp"


@pytest.fixture(scope="module")
def server():
    scripts = {"guard": Script("No.", usage={"prompt_tokens": 3, "completion_tokens": 1}), "bad": Script(status=503)}
    usage = {"prompt_tokens": 50, "completion_tokens": 7}
    with ScriptedServer(scripts, default=Script(TEXT, usage=usage)) as made:
        yield made


@pytest.fixture(scope="module")
def elsewhere():
    with ScriptedServer({}, default=Script("No.", usage={"prompt_tokens": 3, "completion_tokens": 1})) as made:
        yield made


async def _aiohttp(url, body):
    async with aiohttp.ClientSession() as session, session.post(url, json=body) as response:
        return await response.read()


ASKS = {
    "httpx": lambda url, body: httpx.post(url, json=body, verify=TLS),
    "requests": lambda url, body: requests.post(url, json=body),
    "aiohttp": lambda url, body: asyncio.run(_aiohttp(url, body)),
}


def calls_of(turn):
    return [*turn["references"], *turn["calls"], *filter(None, [turn["aggregator"]])]


def entries(turns):
    """Return text and tokens of each call, by model."""
    calls = [call for turn in turns for call in calls_of(turn)]
    assert {call["parent"] for call in calls} == {None}
    found = {call["model"]: (call["output"], call["usage"]["input_tokens"]) for call in calls}
    assert len(found) == len(calls)
    return found


def count(turns):
    return sum(turn["totals"]["calls"] for turn in turns)


BOTH = {"m": (TEXT, 50), "guard": ("No.", 3)}


@pytest.fixture
def client(server):
    """Return a function that makes a client of openai whose HTTP client runs a function before each request."""
    made = []

    def make(hook, **options):
        once = []

        def before(request):
            if not once:
                once.append(request)
                hook()

        http = httpx.Client(event_hooks={"request": [before]}, verify=TLS)
        options = {"base_url": server.base_url, "max_retries": 0, **options}
        made.append(openai.OpenAI(api_key="k", http_client=http, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()


# Another request ---------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["elsewhere", "server"])
@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_a_hook_that_asks_another_model_is_a_call(ask, host, client, request, turns):
    """Next to the SDK's, at any host: both with their own tokens."""
    url = f"{request.getfixturevalue(host).base_url}/chat/completions"
    moa.instrument(EVERY)
    asking = client(lambda: ask(url, OTHER))
    assert asking.chat.completions.create(model="m", messages=MESSAGES).choices[0].message.content == TEXT
    assert entries(turns) == BOTH


DIFFERENT = {
    "other words, same model": {"model": "m", "messages": OTHER["messages"]},
    "same words, other model": {"model": "guard", "messages": MESSAGES},
    "the words and more": {"model": "guard", "messages": [{"role": "system", "content": "Is it harmful?"}, *MESSAGES]},
    "another form": {"model": "guard", "messages": OTHER["messages"], "max_tokens": 5},
}


@pytest.mark.parametrize("asked", DIFFERENT.values(), ids=DIFFERENT)
@pytest.mark.parametrize("host", ["elsewhere", "server"])
def test_a_different_request_is_a_call(asked, host, client, request, turns):
    """It says something else, or asks another model."""
    url = f"{request.getfixturevalue(host).base_url}/chat/completions"
    moa.instrument(EVERY)
    client(lambda: ASKS["httpx"](url, asked)).chat.completions.create(model="m", messages=MESSAGES)
    assert count(turns) == 2


@pytest.mark.parametrize("inner", ["httpx", "requests"])
@pytest.mark.parametrize("outer", ["httpx", "requests"])
def test_a_hook_of_an_http_client_that_asks_another_model_is_a_call(outer, inner, server, turns):
    """The request of a plain client has its own record too."""
    url = f"{server.base_url}/chat/completions"
    moa.instrument("httpx,requests")
    body = {"model": "m", "messages": MESSAGES}

    def hook(*_args, **_options):
        ASKS[inner](url, OTHER)

    if outer == "httpx":
        with httpx.Client(event_hooks={"response": [hook]}, verify=TLS) as made:
            made.post(url, json=body)
    else:
        requests.post(url, json=body, hooks={"response": hook})
    assert entries(turns) == BOTH


class _Signed(httpx.Auth):
    """Asks a model before it signs a request."""

    def __init__(self, ask):
        self.ask = ask

    def auth_flow(self, request):
        self.ask()
        yield request


def test_an_auth_of_an_http_client_that_asks_another_model_is_a_call(server, turns):
    """In a turn that is open, and under a function that is a call itself."""
    url = f"{server.base_url}/chat/completions"
    moa.instrument("httpx")

    @moa.turn
    def run(_question):
        auth = _Signed(lambda: ASKS["httpx"](url, OTHER))
        return httpx.post(url, json={"model": "m", "messages": MESSAGES}, auth=auth, verify=TLS).json()

    run("count")
    (turn,) = turns
    assert entries(turns) == BOTH
    assert turn["totals"]["usage"]["input_tokens"] == 53


def test_an_async_hook_that_asks_another_model_is_a_call(server, turns):
    """Of an async client."""
    url = f"{server.base_url}/chat/completions"
    moa.instrument("httpx,openai")
    asked = []

    async def before(_request):
        if not asked:
            asked.append(True)
            async with httpx.AsyncClient(verify=TLS) as other:
                await other.post(url, json=OTHER)

    async def main():
        http = httpx.AsyncClient(event_hooks={"request": [before]}, verify=TLS)
        async with openai.AsyncOpenAI(base_url=server.base_url, api_key="k", http_client=http) as made:
            await made.chat.completions.create(model="m", messages=MESSAGES)

    asyncio.run(main())
    assert entries(turns) == BOTH


def test_a_different_request_is_of_the_same_session(client, elsewhere, turns):
    """Where no turn is open, each call has one of its own."""
    moa.instrument(EVERY)
    url = f"{elsewhere.base_url}/chat/completions"
    with moa.tag(session_id="s", tags={"team": "red"}):
        client(lambda: ASKS["httpx"](url, OTHER)).chat.completions.create(model="m", messages=MESSAGES)
    assert [(turn["session_id"], turn["tags"]) for turn in turns] == [("s", {"team": "red"})] * 2


def test_a_request_in_a_function_that_names_a_provider_is_recorded(server, turns):
    """A decorated function sends nothing itself, whatever it says of its provider."""
    url = f"{server.base_url}/chat/completions"
    moa.instrument("httpx")

    @moa.reference(provider="openai")
    def ask(_question):
        return ASKS["httpx"](url, {"model": "m", "messages": MESSAGES}).json()["choices"][0]["message"]["content"]

    ask("count")
    (turn,) = turns
    (call,) = turn["references"]
    assert (call["model"], call["endpoint"], call["usage"]["input_tokens"]) == ("m", url, 50)


def test_a_different_request_goes_through_middleware(client, elsewhere, turns):
    """As a call next to the SDK's."""
    seen = []

    def watch(call):
        reply = yield call
        seen.append((call.model, call.parent, reply.text))

    moa.configure(middleware=[watch])
    moa.instrument(EVERY)
    url = f"{elsewhere.base_url}/chat/completions"
    client(lambda: ASKS["httpx"](url, OTHER)).chat.completions.create(model="m", messages=MESSAGES)
    assert seen == [("guard", None, "No."), ("m", None, TEXT)]
    assert entries(turns) == BOTH


# The same request --------------------------------------------------------------------------------


class _Gateway(httpx.Client):
    """Sends each request to another host, under another path and with a name for the model."""

    def __init__(self, root, model=None, **options):
        super().__init__(verify=TLS, **options)
        self.root, self.model = root, model

    def send(self, request, **options):
        body = json.loads(request.content)
        if self.model:
            body["model"] = self.model
        return super().send(self.build_request("POST", f"{self.root}/chat/completions", json=body), **options)


class _Handed(httpx.BaseTransport):
    """Hands each request to another HTTP client, with a message more."""

    def handle_request(self, request):
        body = json.loads(request.read())
        body["messages"] = [{"role": "system", "content": "be brief"}, *body["messages"]]
        got = requests.post(str(request.url), json=body)
        return httpx.Response(got.status_code, content=got.content, headers={"content-type": "application/json"})


SENDERS = {
    "a gateway": lambda elsewhere: _Gateway(elsewhere.base_url),
    "a transport": lambda _: httpx.Client(transport=_Handed()),
    "a transport of a gateway": lambda elsewhere: _Gateway(elsewhere.base_url, transport=_Handed()),
}


@pytest.mark.parametrize("make", SENDERS.values(), ids=SENDERS)
@pytest.mark.parametrize("content", ["count", [{"type": "text", "text": "count"}], ""], ids=["text", "parts", "none"])
def test_the_request_of_an_sdk_is_one_call_however_it_is_sent(make, content, server, elsewhere, turns):
    """To another host, by another client, with another message before it."""
    moa.instrument(EVERY)
    with openai.OpenAI(base_url=server.base_url, api_key="k", http_client=make(elsewhere), max_retries=0) as client:
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": content}])
    assert count(turns) == 1


CHANGED = {"messages": {"extra_body": {"messages": OTHER["messages"]}}, "model": {"extra_body": {"model": "bad"}}}


@pytest.mark.parametrize("changed", CHANGED.values(), ids=CHANGED)
def test_a_request_that_is_sent_again_is_one_call(changed, turns):
    """By the SDK's own retries, with other words or another model than the arguments say."""
    script = Script(status=503, headers={"retry-after-ms": "1"})
    moa.instrument(EVERY)
    with (
        ScriptedServer({}, default=script) as failing,
        openai.OpenAI(base_url=failing.base_url, api_key="k", max_retries=2) as client,
        pytest.raises(openai.InternalServerError),
    ):
        client.chat.completions.create(model="m", messages=MESSAGES, **changed)
    assert len(failing.received) == 3
    assert count(turns) == 1


def test_messages_of_a_generator_are_one_call(client, turns):
    """What the SDK pulls of them is known when it sends."""
    moa.instrument(EVERY)
    client(lambda: None).chat.completions.create(model="m", messages=(one for one in MESSAGES))
    assert count(turns) == 1


def test_what_a_middleware_changes_is_one_call(client, turns):
    """Model and messages are other ones than those of the arguments."""

    def change(call):
        yield call.replace(model="n", messages=OTHER["messages"])

    moa.configure(middleware=[change])
    moa.instrument(EVERY)
    client(lambda: None).chat.completions.create(model="m", messages=MESSAGES)
    assert count(turns) == 1
