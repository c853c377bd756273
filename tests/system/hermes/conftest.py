"""
The whole Hermes Agent, unmodified, on a scripted server: how one run of it is made and what is kept of it.

It is the agent of that name, or `async-hermes-agent`, a later version whose functions are coroutines; whichever the
environment has. Tests call the agent through `now`, so that one test runs with both.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import inspect
import json
import os
import socket
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

import moa_middleware as moa
from moa_middleware.testing import ScriptedServer

VERSIONS = {"hermes-agent": "0.19.0", "async-hermes-agent": "0.20.4.1"}
QUESTION = "Why is the sky blue?"


def installed():
    """Return the versions of the agents that are here, by their names."""
    found = {}
    for name in VERSIONS:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


IS_ASYNC = "async-hermes-agent" in installed()
"""True if the agent here is the one of coroutines."""

sync_only = pytest.mark.skipif(IS_ASYNC, reason="threads and functions that async-hermes-agent does not have")
async_only = pytest.mark.skipif(not IS_ASYNC, reason="needs async-hermes-agent, whose version has this")


def missing():
    """Return why these tests cannot run, `None` if they can."""
    found = installed()
    if not found:
        names = " or ".join(f"{name}=={version}" for name, version in VERSIONS.items())
        return f"needs {names}, which pin other versions than ours: give each an environment of its own"
    wrong = [f"needs {name}=={VERSIONS[name]}, found {at}" for name, at in found.items() if at != VERSIONS[name]]
    return wrong[0] if wrong else None


_loop = []


def now(value):
    """Return a value, or what an awaitable comes down to. One event loop runs them all: the agent keeps clients."""
    if not inspect.isawaitable(value):
        return value
    if not _loop:
        _loop.append(asyncio.new_event_loop())

    async def run():
        return await value

    return _loop[0].run_until_complete(run())


def text_of(stream):
    """Return the text of a stream, read to its end."""

    async def read():
        return [chunk async for chunk in stream]

    chunks = now(read()) if hasattr(stream, "__aiter__") else stream
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def pytest_collection_modifyitems(items):
    """Skip these tests, with a reason, where the agent is not installed."""
    reason = missing()
    here = os.path.dirname(__file__)
    for item in items:
        if str(item.path).startswith(here):
            if reason is not None:
                item.add_marker(pytest.mark.skip(reason=reason))
            # The agent's own are none of ours.
            item.add_marker(pytest.mark.filterwarnings("ignore"))


def _only_loopback(real):
    def getaddrinfo(host, *args, **kwargs):
        name = host.decode() if isinstance(host, bytes) else host
        if name not in (None, "localhost", "127.0.0.1", "::1"):
            raise socket.gaierror(socket.EAI_NONAME, "the tests stay on loopback")
        return real(host, *args, **kwargs)

    return getaddrinfo


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """Return the agent's home, set before it is imported: it looks prices and versions up on the net, which fails here."""
    path = tmp_path_factory.mktemp("hermes")
    patch = pytest.MonkeyPatch()
    for name in ("HERMES_HOME", "HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        patch.setenv(name, str(path))
    for name in list(os.environ):
        if name.endswith(("_API_KEY", "_PROXY", "_proxy")):
            patch.delenv(name)
    patch.setattr(socket, "getaddrinfo", _only_loopback(socket.getaddrinfo))
    yield path
    patch.undo()


CONFIG = """
model: {{provider: moa, default: team}}
providers:
  openai: {{name: openai, base_url: "{url}", api_key: sk-canary-of-the-tests-0123456789}}
moa:
  privacy_filter: "{privacy}"
  save_traces: true
  trace_dir: "{traces}"
  default_preset: team
  presets:
    team:
      fanout: {fanout}
      reference_models: [{references}]
      aggregator: {{provider: openai, model: aggregator}}
"""


@dataclass
class Run:
    """What a user of the agent saw of a run, and what the server did."""

    answer: str | None = None
    pieces: list[Any] = field(default_factory=list)
    api_calls: int | None = None
    messages: list[Any] = field(default_factory=list)
    asked: list[Any] = field(default_factory=list)
    """Model, stream flag and messages after the system prompt of each request, sorted."""
    own: list[Any] = field(default_factory=list)
    """The lines of the agent's own trace."""
    turns: list[Any] = field(default_factory=list)
    """Ours."""
    url: str = ""

    def seen(self):
        """Return what must not depend on us."""
        return self.answer, self.pieces, self.api_calls, self.messages, self.asked


class World:
    """The agent with a preset, and a server that it talks to."""

    def __init__(self, home, turns):
        self.home = home
        self.traces = home / "own"
        self.turns = turns
        self.server = None

    @contextmanager
    def serving(self, scripts, *, references=("one", "two"), fanout="per_iteration", privacy=""):
        """Serve scripts as models, and let the agent's configuration say so."""
        from agent import moa_loop
        from hermes_cli import config

        with ScriptedServer(scripts) as server:
            slots = ", ".join(f"{{provider: openai, model: {name}}}" for name in references)
            settings = {"references": slots, "fanout": fanout, "privacy": privacy}
            text = CONFIG.format(url=server.base_url, traces=self.traces, **settings)
            (self.home / "config.yaml").write_text(text)
            for of in (config, moa_loop):
                for name in ("_LOAD_CONFIG_CACHE", "_CONFIG_CACHE", "_runtime_cache", "_preset_cache"):
                    cache = getattr(of, name, None)
                    if hasattr(cache, "clear"):
                        cache.clear()
            self.server = server
            yield server

    def agent(self, *, session="s-1", stream=None, toolsets=(), **more):
        """Return an agent that works with the preset."""
        from run_agent import AIAgent

        return AIAgent(
            provider="moa",
            model="team",
            quiet_mode=True,
            session_id=session,
            enabled_toolsets=list(toolsets),
            skip_context_files=True,
            skip_memory=True,
            max_iterations=6,
            platform="cli",
            stream_delta_callback=stream,
            **more,
        )

    def run(self, scripts, *, question=QUESTION, stream=False, toolsets=(), session="s-1", **serving):
        """Run the agent once, as it is now; `scripts` is called for fresh ones."""
        before = len(self.turns)
        run = Run()
        for file in self.traces.glob("*"):
            file.unlink()
        with self.serving(scripts(), **serving) as server:
            agent = self.agent(session=session, stream=run.pieces.append if stream else None, toolsets=toolsets)
            result = now(agent.run_conversation(question))
            run.answer = result["final_response"]
            run.api_calls = result.get("api_calls")
            run.messages = [_plain(message) for message in result["messages"]]
            chats = [r.body for r in server.received if r.path.endswith("/chat/completions")]
            run.asked = sorted(map(_asked, chats))
            run.url = server.base_url
        run.own = [json.loads(line) for file in self.traces.glob("*.jsonl") for line in file.read_text().splitlines()]
        run.turns = self.turns[before:]
        return run

    def twice(self, scripts, **how):
        """Run it uninstrumented and instrumented; what its user sees is the same. Returns the second run."""
        bare = self.run(scripts, **how)
        assert bare.turns == []
        moa.instrument("hermes")
        run = self.run(scripts, **how)
        assert run.seen() == bare.seen()
        assert len(run.own) == len(bare.own)
        moa.uninstrument("hermes")
        return run


def _plain(message):
    """Return a message of the conversation without what differs from run to run."""
    return {name: value for name, value in message.items() if name in ("role", "content", "tool_calls", "reasoning")}


def _asked(body):
    messages = [message for message in body["messages"] if message["role"] != "system"]
    messages = [{name: value for name, value in m.items() if name != "timestamp"} for m in messages]
    return json.dumps([body["model"], body.get("stream"), messages, body.get("tools")], sort_keys=True)


@pytest.fixture
def world(home, turns, caplog):
    """Return the agent's world, with what we record gathered; of ours, nothing has failed or logged a warning."""
    before = moa.status().faults
    yield World(home, turns)
    records = [*caplog.get_records("setup"), *caplog.get_records("call")]
    logged = [record.getMessage() for record in records if record.name.startswith("moa_middleware")]
    assert (logged, moa.status().faults) == ([], before)


def at_once(*functions):
    """Run functions at the same time, in threads or as tasks; whatever one raises is raised here."""
    failed = []

    async def gathered():
        await asyncio.gather(*(function() for function in functions))

    if IS_ASYNC:
        now(gathered())
        return

    def run(fn):
        try:
            fn()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(fn,)) for fn in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    if failed:
        raise failed[0]
