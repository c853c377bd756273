"""The whole Hermes Agent, unmodified, on a scripted server: how one run of it is made and what is kept of it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import socket
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

import moa_middleware as moa
from moa_middleware.testing import ScriptedServer

VERSION = "0.19.0"
QUESTION = "Why is the sky blue?"


def missing():
    """Return why these tests cannot run, `None` if they can."""
    try:
        found = importlib.metadata.version("hermes-agent")
    except importlib.metadata.PackageNotFoundError:
        return f"needs hermes-agent=={VERSION}, which pins other versions than ours: give it an environment of its own"
    return None if found == VERSION else f"needs hermes-agent=={VERSION}, found {found}"


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
    def serving(self, scripts, *, references=("one", "two"), fanout="per_iteration"):
        """Serve scripts as models, and let the agent's configuration say so."""
        from hermes_cli import config

        with ScriptedServer(scripts) as server:
            slots = ", ".join(f"{{provider: openai, model: {name}}}" for name in references)
            text = CONFIG.format(url=server.base_url, traces=self.traces, references=slots, fanout=fanout)
            (self.home / "config.yaml").write_text(text)
            for name in ("_LOAD_CONFIG_CACHE", "_CONFIG_CACHE"):
                cache = getattr(config, name, None)
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
            result = agent.run_conversation(question)
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
    return json.dumps([body["model"], body.get("stream"), messages, body.get("tools")], sort_keys=True)


@pytest.fixture
def world(home, turns):
    """Return the agent's world, with what we record gathered."""
    return World(home, turns)


def in_threads(*functions):
    """Run functions at the same time; whatever one raises is raised here."""
    failed = []

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
