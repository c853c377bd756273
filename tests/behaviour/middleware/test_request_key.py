"""The key of a request: equal for requests with the same answer, different for all others, and none where that is not known."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from functools import partial

import pytest

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer

MESSAGES = [{"role": "user", "content": "Why?"}]


@pytest.fixture
def keys():
    """Keep the keys that a middleware sees."""
    found = []

    def keep(call):
        found.append(call.request_key())
        yield call

    moa.configure(middleware=[keep])
    return found


@moa.reference
def ask(prompt, *, temperature=None, stream=False, **more):
    return f"an answer to {prompt}"


@moa.reference
def ask_other(prompt, *, temperature=None, stream=False, **more):
    return f"another answer to {prompt}"


@moa.reference
async def ask_async(prompt):
    return f"an answer to {prompt}"


class Client:
    """A client of the program's own, which may answer as it likes."""

    def __init__(self, name):
        self.name = name

    @moa.reference
    def ask(self, prompt):
        return f"{self.name} answers {prompt}"

    @staticmethod
    @moa.reference
    def ask_static(prompt):
        return "an answer"


def test_equal_requests_have_one_key(keys):
    """However the arguments are given, and whether the answer is to be streamed."""
    ask("one", temperature=0.5)
    ask(prompt="one", temperature=0.5)
    ask("one", temperature=0.5, stream=True, stream_options={"include_usage": True}, timeout=3)
    assert len(set(keys)) == 1
    assert len(keys[0]) == 64
    int(keys[0], 16)


DIFFERENT = {
    "prompt": lambda: ask("two"),
    "parameter": lambda: ask("one", temperature=1),
    "unrecorded": lambda: ask("one", user_data={"a": 1}),
    "type": lambda: ask("one", temperature=1.5),
    "function": lambda: ask_other("one"),
    "async": lambda: asyncio.run(ask_async("one")),
    "static": lambda: Client.ask_static("one"),
    "messages": lambda: ask([{"role": "user", "content": "one"}]),
}


def test_other_requests_have_other_keys(keys):
    """In any argument, and in the function."""
    ask("one")
    for make in DIFFERENT.values():
        make()
    assert None not in keys
    assert len(set(keys)) == len(DIFFERENT) + 1


def nested():
    @moa.reference
    def inner(prompt):
        return "an answer"

    inner("one")


UNKNOWN = {
    "method": lambda: Client("a").ask("one"),
    "nested function": nested,
    "lambda": lambda: moa.reference(lambda prompt: "an answer")("one"),
    "partial": moa.reference(partial(ask.__wrapped__, "one")),
    "iterator": lambda: ask(iter([{"role": "user", "content": "one"}])),
    "object": lambda: ask("one", tool=object()),
    "object inside": lambda: ask("one", tools=[{"fn": open}]),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_not_known_to_be_equal_has_no_key(name, keys):
    """Objects, what a function holds besides its arguments, and values without a form."""
    UNKNOWN[name]()
    assert keys == [None]


def test_a_change_of_a_middleware_changes_the_key(keys):
    """The key is that of the request as it goes out from here."""
    ask("two")

    def change(call):
        yield call.replace(messages="two")

    def keep(call):
        keys.append(call.request_key())
        yield call

    moa.configure(middleware=[change, keep])
    ask("one")
    assert keys[0] == keys[1]


def test_a_call_that_was_made_by_hand_has_no_key():
    """Nothing is known of its function."""
    assert moa.Call(id="i", turn_id="t").request_key() is None


# SDKs ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server():
    with ScriptedServer({}, default=Script("An answer.")) as made:
        yield made


@pytest.mark.sdks
@pytest.mark.parametrize("save_traces", [True, False], ids=["traced", "not"])
def test_clients_share_a_key_only_with_endpoint_and_credentials(save_traces, server, keys, tmp_path):
    """Also where nothing is recorded; and no key of the provider's can be read from ours."""
    openai, httpx = pytest.importorskip("openai"), pytest.importorskip("httpx")
    moa.configure(save_traces=save_traces, trace_dir=tmp_path)

    def made(**options):
        client = openai.OpenAI(**{"api_key": "sk-first", "base_url": server.base_url, "max_retries": 0, **options})
        return moa.instrument(client)

    def say(client, **more):
        client.chat.completions.create(model="m", messages=MESSAGES, **more)

    say(made())
    say(made())
    for _ in say(made(), stream=True) or ():
        pass
    same = len(keys)
    assert len(set(keys)) == 1
    assert keys[0] is not None
    others = [
        made(api_key="sk-second"),
        made(base_url=server.base_url.replace("127.0.0.1", "localhost")),
        made(default_headers={"x-tenant": "b"}),
        made(default_query={"a": "b"}),
        made(organization="org"),
        made(http_client=httpx.Client(auth=("user", "first-password"))),
        made(http_client=httpx.Client(auth=("user", "second-password"))),
        made(http_client=httpx.Client(auth=httpx.DigestAuth("user", "first-password"))),
        made(http_client=httpx.Client(auth=httpx.DigestAuth("user", "second-password"))),
    ]
    for client in others:
        say(client)
    for more in (
        {"extra_body": {"a": 1}},
        {"extra_headers": {"x-a": "1"}},
        {"extra_query": {"a": "1"}},
        {"store": True},
    ):
        say(made(), **more)
    say(made().with_options(default_headers={"x-tenant": "c"}))
    assert None not in keys
    assert len(set(keys[same:])) == len(keys) - same
    assert keys[0] not in keys[same:]


@pytest.mark.sdks
def test_two_methods_of_one_client_have_two_keys(server, keys):
    """The same prompt may be answered otherwise."""
    openai = pytest.importorskip("openai")
    client = moa.instrument(openai.OpenAI(api_key="k", base_url=server.base_url, max_retries=0))
    client.responses.create(model="m", input="Why?")
    client.chat.completions.create(model="m", messages=MESSAGES)
    assert None not in keys
    assert len(set(keys)) == 2


PROGRAM = """
import json, sys
import moa_middleware as moa

def keep(call):
    print(json.dumps([call.request_key(), other.__wrapped__.__name__]))
    yield call

@moa.reference
def other(prompt, given=None):
    return "an answer"

moa.configure(middleware=[keep])
other("one", given={"b": [1, 2], "a": "\\u00e4"})
"""


def run(path):
    """Return the key that a program prints."""
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)[0]


def test_a_key_is_the_same_in_another_process_and_not_in_another_program(tmp_path):
    """Hashes of Python's differ from process to process, and `__main__` is any program."""
    paths = [tmp_path / name for name in ("one.py", "two.py")]
    for path in paths:
        path.write_text(PROGRAM)
    first, again, other = run(paths[0]), run(paths[0]), run(paths[1])
    assert first == again
    assert first is not None
    assert other not in (first, None)
