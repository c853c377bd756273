"""
Prompts in any container that an SDK takes: sent as without us, and recorded as they were sent.

The SDKs are the real ones, on the loopback server. What one of them refuses, it refuses with us as well.
"""

from __future__ import annotations

import asyncio
import inspect
import json

import pytest

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer
from tests.support.containers import CONTAINERS, OwnIterable, OwnIterator, OwnSequence, generator, lazily
from tests.support.sdk_forms import client_of, installed

PARTS = [{"type": "text", "text": "Look at this."}, {"type": "text", "text": "And this."}]
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": PARTS},
    {"role": "assistant", "content": "Done.", "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "1", "content": "ok"},
]
MESSAGES = [
    {"role": "user", "content": PARTS},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "ok"}]},
]
INPUT = [
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Look at this."}]},
    {"type": "message", "role": "user", "content": "And this."},
]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]


@pytest.fixture(scope="module")
def server():
    with ScriptedServer({}, default=Script("One two.", pieces=["One ", "two."])) as made:
        yield made


async def all_of(stream):
    """Take an async stream whole."""
    return [item async for item in stream]


def value(create, **request):
    """Ask for a value."""
    create(**request)


def stream(create, **request):
    """Ask for a stream."""
    list(create(stream=True, **request))


async def async_value(create, **request):
    """Ask for a value."""
    await create(**request)


async def async_stream(create, **request):
    """Ask for a stream."""
    await all_of(await create(stream=True, **request))


def manager(create, **request):
    """Enter a stream manager."""
    with create(**request) as opened:
        list(opened)


async def async_manager(create, **request):
    """Enter an async stream manager."""
    async with create(**request) as opened:
        await all_of(opened)


def chat(client, method="create"):
    return getattr(client.chat.completions, method)


def raw_chat(client, method="create"):
    return chat(client).__self__.with_raw_response.create


def messages(client, method="create"):
    return getattr(client.messages, method)


def responses(client, method="create"):
    return getattr(client.responses, method)


# sdk, name of the argument, its value, further arguments, path, method, how it is asked
WAYS = {
    "openai": ("openai", "messages", CHAT, {}, chat, "create", value),
    "openai raw": ("openai", "messages", CHAT, {}, raw_chat, "create", value),
    "openai stream": ("openai", "messages", CHAT, {}, chat, "create", stream),
    "openai manager": ("openai", "messages", CHAT, {}, chat, "stream", manager),
    "openai async": ("openai", "messages", CHAT, {}, chat, "create", async_value),
    "openai async stream": ("openai", "messages", CHAT, {}, chat, "create", async_stream),
    "openai async manager": ("openai", "messages", CHAT, {}, chat, "stream", async_manager),
    "openai parse": ("openai", "messages", CHAT, {}, chat, "parse", value),
    "responses": ("openai", "input", INPUT, {"instructions": "Be brief."}, responses, "create", value),
    "responses stream": ("openai", "input", INPUT, {"instructions": "Be brief."}, responses, "create", stream),
    "responses manager": ("openai", "input", INPUT, {}, responses, "stream", manager),
    "responses async": ("openai", "input", INPUT, {}, responses, "create", async_value),
    "anthropic": (
        "anthropic",
        "messages",
        MESSAGES,
        {"max_tokens": 9, "system": "Be brief."},
        messages,
        "create",
        value,
    ),
    "anthropic stream": ("anthropic", "messages", MESSAGES, {"max_tokens": 9}, messages, "create", stream),
    "anthropic manager": ("anthropic", "messages", MESSAGES, {"max_tokens": 9}, messages, "stream", manager),
    "anthropic async": ("anthropic", "messages", MESSAGES, {"max_tokens": 9}, messages, "create", async_value),
    "anthropic async manager": (
        *("anthropic", "messages", MESSAGES, {"max_tokens": 9, "system": "Be brief."}),
        *(messages, "stream", async_manager),
    ),
    "groq": ("groq", "messages", CHAT, {}, chat, "create", value),
    "groq async stream": ("groq", "messages", CHAT, {}, chat, "create", async_stream),
    "together": ("together", "messages", CHAT, {}, chat, "create", value),
    "together async stream": ("together", "messages", CHAT, {}, chat, "create", async_stream),
}


def ask(server, way, request, stack=None):
    """Ask in one way; returns what the server got, `None` if nothing, and the type of what was raised."""
    sdk, _, _, more, path, method, run = WAYS[way]
    if not installed(sdk):
        pytest.skip(f"{sdk} is not installed")
    client = client_of(sdk, server, is_async=inspect.iscoroutinefunction(run))
    if stack is not None:
        stack.instrument(client)
    before, raised = len(server.received), None

    async def main():
        async with client:
            await run(path(client, method), model="m", **more, **request)

    try:
        if inspect.iscoroutinefunction(run):
            asyncio.run(main())
        else:
            with client:
                run(path(client, method), model="m", **more, **request)
    except Exception as error:
        raised = type(error)
    got = server.received[before:]
    return (got[0].body if got else None), raised


def call_of(turns):
    """Return the record of the only call of the last turn."""
    turn = turns[-1]
    (call,) = [*turn["references"], *([turn["aggregator"]] if turn["aggregator"] else []), *turn["calls"]]
    return call


def recorded(body, place, more):
    """Return the messages of a body as the record has them: the system text first."""
    name = "instructions" if place == "input" else "system"
    head = [{"role": "system", "content": body[name]}] if name in more else []
    return [*head, *json.loads(json.dumps(body[place]))]


CASES = [(way, container) for way in WAYS for container in CONTAINERS]


@pytest.mark.crowd(facets=lambda way, container: (way, container))
@pytest.mark.parametrize(("way", "container"), CASES)
def test_a_prompt_is_recorded_as_it_was_sent(turns, server, way, container):
    """The server gets what it gets without us, once; the record has that."""
    _, place, items, more, *_ = WAYS[way]
    make = CONTAINERS[container]
    bare, refused = ask(server, way, {place: make(items)})
    traced, raised = ask(server, way, {place: make(items)}, moa.default_stack)
    assert (bare, refused) == (traced, raised)
    call = call_of(turns)
    assert 0 == turns[-1]["instrumentation_errors"]
    if bare is not None:
        assert recorded(bare, place, more) == call["input_messages"]
        assert {"extra_headers"} >= {*call["params_omitted"]}  # of the SDK's own, in a manager


@pytest.mark.parametrize("way", ["openai", "openai async stream", "anthropic", "groq", "together"])
def test_both_roads_record_it(turns, server, way):
    """Also where a middleware looks on, which sees the very object that the caller passed."""
    seen = []

    def watch(call):
        seen.append(call.messages)
        yield call

    _, place, items, more, *_ = WAYS[way]
    given = OwnSequence(items)
    body, raised = ask(server, way, {place: given}, moa.Stack([watch]))
    assert (None, recorded(body, place, more)) == (raised, call_of(turns)["input_messages"])
    assert given is seen[0]


@pytest.mark.parametrize("container", [OwnSequence, OwnIterable])
def test_nothing_is_walked_more_often_than_by_the_sdk(turns, server, container):
    """The walks of the user's own container are counted."""
    walks = []
    for stack in (None, moa.default_stack):
        given = container(CHAT)
        ask(server, "openai", {"messages": given}, stack)
        walks.append(given.walks)
    assert walks[0] == walks[1]


def test_the_sdk_gets_the_very_object(turns, server, monkeypatch):
    """Its own function is called with what the caller passed, and on a resource of the same client."""
    openai = pytest.importorskip("openai")
    from openai.resources.chat.completions import Completions

    got, original = [], Completions._post if hasattr(Completions, "_post") else None
    assert original is None  # an attribute of each object
    client = openai.OpenAI(api_key="k", base_url=server.base_url)
    transform = openai.resources.chat.completions.completions.maybe_transform
    monkeypatch.setattr(
        openai.resources.chat.completions.completions,
        "maybe_transform",
        lambda data, kind: (got.append(data["messages"]), transform(data, kind))[1],
    )
    moa.instrument(client)
    given = OwnSequence(CHAT)
    resource = client.chat.completions
    before = dict(vars(resource))
    resource.create(model="m", messages=given)
    assert given is got[0]
    assert before == vars(resource)


@pytest.mark.parametrize("make", [tuple, generator, OwnIterable, OwnIterator, lazily], ids=lambda make: make.__name__)
def test_tools_are_recorded_as_they_were_sent(turns, server, make):
    """In any container; a server's credentials are not among them."""
    tools = [*TOOLS, {"type": "mcp", "server_label": "s", "authorization": "a secret of mine"}]
    body, _ = ask(server, "openai", {"messages": CHAT, "tools": make(tools)}, moa.default_stack)
    call = call_of(turns)
    assert tools == body["tools"]
    assert [*TOOLS, {"type": "mcp", "server_label": "s"}] == call["params"]["tools"]
    assert (["tools.authorization"], CHAT) == (call["params_omitted"], call["input_messages"])


def test_a_system_text_in_parts_is_recorded(turns, server):
    """Anthropic's `system` in a generator, in front of messages in a container of the user's."""
    request = {"messages": OwnSequence(MESSAGES), "system": generator(PARTS), "max_tokens": 9}
    client = client_of("anthropic", server, is_async=False)
    moa.instrument(client).messages.create(model="m", **request)
    assert [{"role": "system", "content": PARTS}, *MESSAGES] == call_of(turns)["input_messages"]


def test_the_sdks_own_retries_are_one_prompt(turns, server):
    """The body is made once, and sent twice."""
    openai = pytest.importorskip("openai")
    with ScriptedServer({"m": [Script(status=500), "An answer."]}) as failing:
        client = moa.instrument(openai.OpenAI(api_key="k", base_url=failing.base_url, max_retries=1))
        client.chat.completions.create(model="m", messages=OwnIterator(CHAT))
        assert [CHAT, CHAT] == [one.body["messages"] for one in failing.received]
    assert CHAT == call_of(turns)["input_messages"]


@pytest.mark.parametrize("make", [OwnSequence, OwnIterator, CONTAINERS["parts in generator"]])
def test_a_middlewares_retry_sends_the_same_prompt(turns, make):
    """What the first request used up is there for the second."""
    openai = pytest.importorskip("openai")

    def retry(call):
        try:
            return (yield call)
        except openai.InternalServerError:
            return (yield call)

    with ScriptedServer({"m": [Script(status=500), "An answer."]}) as failing:
        client = openai.OpenAI(api_key="k", base_url=failing.base_url, max_retries=0)
        moa.Stack([retry]).instrument(client)
        client.chat.completions.create(model="m", messages=make(CHAT))
        assert [CHAT, CHAT] == [one.body["messages"] for one in failing.received]
    (turn,) = turns
    calls = [*turn["references"], *([turn["aggregator"]] if turn["aggregator"] else []), *turn["calls"]]
    assert [CHAT, CHAT] == [call["input_messages"] for call in calls]


def test_an_sdk_of_another_make_is_called_as_ever(turns, server):
    """Without the attribute that shows the body: the type is recorded, and the argument named."""
    openai = pytest.importorskip("openai")
    client = moa.instrument(openai.OpenAI(api_key="k", base_url=server.base_url))
    resource = client.chat.completions
    type(resource)._post = None
    try:
        post = vars(resource).pop("_post")
        type(resource)._post = staticmethod(post)
        resource.create(model="m", messages=OwnSequence(CHAT))
    finally:
        del type(resource)._post
    call = call_of(turns)
    assert ("<tests.support.containers.OwnSequence>", ["messages"]) == (call["input_messages"], call["params_omitted"])


def test_a_list_of_dicts_is_read_from_the_arguments_alone(turns, server, monkeypatch):
    """The usual form costs nothing more."""
    from moa_middleware._capture.calls import straight

    monkeypatch.setattr(straight, "showing_body", lambda *_: pytest.fail("the body was looked at"))
    ask(server, "openai", {"messages": CHAT, "tools": TOOLS}, moa.default_stack)
    assert CHAT == call_of(turns)["input_messages"]
