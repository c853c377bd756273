"""`moa.instrument` on clients and classes of a real SDK."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys

import openai
import wrapt

import moa_middleware as moa
from moa_middleware._capture.shapes import catalog
from tests.support.instrumented import attributes
from tests.support.sdk_worlds import MESSAGES, TEXT, world


def ask(client):
    return client.chat.completions.create(model="m", messages=MESSAGES).choices[0].message.content


def test_only_the_instrumented_sdk_client_is_traced(turns):
    """Another client of the same class is not, and one `instrument` more is no second layer."""
    with world("mock") as made:
        client, other = made.client(), made.client()
        assert client is moa.instrument(moa.instrument(client))
        assert TEXT == ask(client) == ask(other)
        assert 1 == len(turns)
        moa.uninstrument(client)
        ask(client)
    assert 1 == len(turns)


def test_copies_of_an_sdk_client_are_traced(turns):
    """`with_options()` and `copy()`, and copies of copies; those of another client are not."""
    with world("mock") as made:
        client, other = moa.instrument(made.client()), made.client()
        for copied in (client.with_options(timeout=3), client.copy().with_options(max_retries=0)):
            ask(copied)
        ask(other.with_options(timeout=3))
    assert 2 == len(turns)


def test_copies_of_an_async_sdk_client_are_traced(turns):
    """The same for AsyncOpenAI."""
    with world("mock") as made:
        client = moa.instrument(made.async_client())

        async def main():
            for each in (client, client.with_options(timeout=3)):
                await each.chat.completions.create(model="m", messages=MESSAGES)

        asyncio.run(main())
    assert 2 == len(turns)


def test_an_sdk_class_is_instrumented_for_every_client_to_come(turns):
    """`moa.instrument(openai.OpenAI)`: each client made since is traced, until it is undone."""
    with world("mock") as made:
        before = made.client()
        had = attributes(openai.OpenAI)
        moa.instrument(openai.OpenAI)
        client = made.client()
        assert TEXT == ask(client) == ask(client.with_options(timeout=3))
        ask(before)
        moa.uninstrument(openai.OpenAI)
        ask(client)
    assert 2 == len(turns)
    assert had == attributes(openai.OpenAI)


def test_a_target_on_an_sdk_client_is_a_turn(turns):
    """`instrument(client, turn="chat.completions.create")`."""
    with world("mock") as made:
        client = moa.instrument(made.client(), turn="chat.completions.create")
        ask(client)
    assert [TEXT] == [record["output"] for record in turns]
    assert not turns[0]["implicit"]


def test_uninstrument_puts_the_sdk_back():
    """Its classes have the very functions that they had."""
    from openai.resources.chat.completions import AsyncCompletions, Completions

    owners = (Completions, AsyncCompletions, openai.OpenAI, openai.AsyncOpenAI)
    before = attributes(*owners)
    with world("mock") as made:
        client, later = moa.instrument(made.client()), moa.instrument(made.async_client())
        assert before != attributes(*owners)
        moa.uninstrument(client)
        moa.uninstrument(later)
        assert before[:2] == attributes(Completions, AsyncCompletions)
        moa.instrument(client)
        moa.uninstrument()
    assert before == attributes(*owners)


def test_stacks_whose_clients_are_gone_do_not_pile_up(turns):
    """A stack for each of many clients: what lies on the SDK's class is one wrapper at the end."""
    from openai.resources.chat.completions import Completions

    before = attributes(Completions)
    with world("mock") as made:
        for _ in range(20):
            client = moa.Stack().instrument(made.client())
            ask(client)
            client.close()
            del client
            gc.collect()
        moa.instrument(made.client())
        depth, value = 0, vars(Completions)["create"]
        while id(value) != before[0]["create"]:
            depth, value = depth + 1, value.__wrapped__
    assert (1, 20) == (depth, len(turns))


SCRIPT = """
import sys
import openai, httpx2
import moa_middleware as moa
from moa_middleware.testing import capture_turns

NAME = "openai.resources.chat.completions.completions"
BODY = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [
    {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}]}
transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=BODY, request=request))
client, other, gone = (
    openai.OpenAI(api_key="k", base_url="http://mock/v1", http_client=httpx2.Client(transport=transport))
    for _ in range(3)
)
loaded = set(sys.modules)
for each in (client, gone):
    moa.instrument(each)
moa.uninstrument(gone)
assert "chat" not in vars(client), vars(client)
new = {name for name in set(sys.modules) - loaded if name.startswith("openai.resources")}
assert not new, new
assert NAME not in sys.modules
with capture_turns() as turns:
    for each in (client, other, gone):
        each.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
assert ["hi"] == [turn["output"] for turn in turns], turns
"""


def test_the_sdk_is_not_touched_until_it_is_used():
    """`client.chat` is not loaded by instrument; when its module comes, the right clients are traced."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert ("", 0) == (done.stderr, done.returncode)


MANY = """
import sys
import openai, httpx2
import moa_middleware as moa
from moa_middleware.testing import capture_turns

BODY = {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [
    {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hi"}}]}
transport = httpx2.MockTransport(lambda request: httpx2.Response(200, json=BODY, request=request))
client = openai.OpenAI(api_key="k", base_url="http://mock/v1", http_client=httpx2.Client(transport=transport))
stacks = [moa.Stack() for _ in range(40)]
for stack in stacks:
    stack.instrument(openai)
with capture_turns() as turns:
    client.chat.completions.create(model="m", messages=[{"role": "user", "content": "x"}])
assert ["hi"] == [turn["output"] for turn in turns], turns
for stack in stacks:
    stack.uninstrument()
assert not hasattr(type(client.chat.completions).create, "_self_wrapper")
"""


def test_a_call_passes_forty_stacks_on_one_sdk_class():
    """It returns and is one turn. When each layer doubled what a missing name costs, the first call did not."""
    done = subprocess.run([sys.executable, "-c", MANY], capture_output=True, text=True, check=False, timeout=120)
    assert ("", 0) == (done.stderr, done.returncode)


def test_a_missing_name_is_asked_of_the_original_once_a_layer_at_most():
    """Under 40 stacks, on the function and on the bound method: two for each below would be 2 ** 40."""
    asked = []

    class Original:
        """A function that says what it is asked for and lacks; bound to an instance it is another."""

        def __call__(self, messages):
            return "original"

        def __get__(self, instance, _owner=None):
            return self if instance is None else Original()

        def __getattr__(self, name):
            asked.append(name)
            raise AttributeError(name)

    client = type("Client", (), {"create": Original()})
    stacks = [moa.Stack() for _ in range(40)]
    for stack in stacks:
        stack.instrument(client, call="create")
    for create in (vars(client)["create"], client().create):
        assert isinstance(create, wrapt.BaseObjectProxy)
        asked.clear()
        assert not hasattr(create, "missing")
        assert {"missing"} == set(asked)
        assert len(asked) <= 1 + len(stacks)
    for stack in stacks:
        stack.uninstrument()


def test_a_package_is_of_one_sdk_only():
    """The modules that decide provider and endpoint lead to the SDK whose methods are in them."""
    for sdk in catalog.CATALOG.values():
        assert sdk.methods
        assert {catalog.sdk_of_module(row.module) for row in sdk.methods} == {sdk.name}
    assert catalog.sdk_of_module("openaix.resources") == catalog.sdk_of_module("") == ""
