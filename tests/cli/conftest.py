"""Traces that the real client wrote against the scripted server, and `moa` in processes of its own."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import openai
import pytest

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer
from tests.support import forked

COMMAND = [sys.executable, "-m", "moa_middleware"]
MODELS = ("ref-a", "ref-b", "ref-c")
SAID = {
    "ref-a": "Air scatters blue light far more than red light, which is why the sky is blue.",
    "ref-b": "Short waves are scattered most by the molecules of the air; this is Rayleigh scattering.",
    "ref-c": "It is a reflection of the sea, as everybody who lives at a coast can tell you.",
    "agg": "The sky is blue since air scatters blue light far more than red light. And good night.",
}
HOSTILE = "\x1b]52;c;aGk=\x07\x1b[2J\x1b]8;;http://x.example\x07link\x1b]8;;\x07[bold]loud[/bold]\u202e\x9b31m\x7f"
ESCAPED = (
    "\\x1b]52;c;aGk=\\x07\\x1b[2J\\x1b]8;;http://x.example\\x07link\\x1b]8;;\\x07[bold]loud[/bold]\\u202e\\x9b31m\\x7f"
)


class Client:
    """Three references in threads; what fails or is late stands in the question."""

    def __init__(self, sdk):
        self.sdk = moa.instrument(sdk)
        self.pool = ThreadPoolExecutor(4)
        self.left = []

    @moa.reference
    def ask(self, model, messages):
        return self.sdk.chat.completions.create(model=model, messages=messages)

    @moa.aggregator
    def act(self, messages):
        return self.sdk.chat.completions.create(
            model="agg", messages=messages, stream=True, stream_options={"include_usage": True}
        )

    @moa.turn
    def create(self, messages):
        question = messages[-1]["content"]
        asked = {model: self.pool.submit(self.ask, model, messages) for model in MODELS}
        told = []
        for model, future in asked.items():
            if f"late {model}" in question:
                self.left.append(future)
                continue
            with suppress(openai.APIError):
                told.append(future.result().choices[0].message.content)
        drafts = "\n\n".join(told)
        stream = self.act([{"role": "system", "content": f"Weigh these:\n\n{drafts}"}, *messages])
        return "".join(choice.delta.content or "" for chunk in stream for choice in chunk.choices)


def write_traces(path, turns=6):
    """Write turns of two sessions and two presets: of each six one has a failure, and one a late reference."""
    gate = threading.Event()

    def model(body):
        name, question = body["model"], body["messages"][-1]["content"]
        if f"fail {name}" in question:
            return Script(status=500, error={"message": "out of order"})
        late = f"late {name}" in question
        usage = {
            "prompt_tokens": 900 + 7 * len(name),
            "completion_tokens": 60,
            "cost": 0.0083 + 0.004 * (name == "agg"),
        }
        if name == "ref-b":
            usage.pop("cost")
        return Script(SAID[name], usage=usage, usage_always=True, wait=(lambda: gate.wait(30)) if late else None)

    moa.configure(save_traces=True, trace_dir=path)
    with ScriptedServer(dict.fromkeys(SAID, model)) as server:
        sdk = openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0)
        client = Client(sdk)
        for number in range(turns):
            wrong = {1: " (fail ref-c)", 2: " (late ref-b)"}.get(number % 6, "")
            with moa.tag(session_id=f"s-{number % 2}", preset=("duo", "trio")[number % 2]):
                client.create([{"role": "user", "content": f"Why is the sky blue, take {number}?{wrong}"}])
        gate.set()
        for future in client.left:
            future.result()
        client.pool.shutdown()
        sdk.close()
    moa.flush()
    return path


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """Return a directory with six turns, which no test may change."""
    path = tmp_path_factory.mktemp("written") / "traces"
    write_traces(path)
    return path


@pytest.fixture
def desk(tmp_path_factory):
    """Return a directory whose files may be damaged."""
    return tmp_path_factory.mktemp("desk")


@pytest.fixture
def env(desk):
    """Return an environment without settings, colours or widths of the machine's."""
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    return {**env, "TERM": "xterm-256color", "HOME": str(desk), "XDG_STATE_HOME": str(desk / "state")}


@pytest.fixture
def run(env, desk, quick):
    """Return a function that runs `moa` on pipes; a quick run forks for it, where that is the same."""

    def run(*args, stdin=None, **more):
        if quick and forked.can_run(more):
            return forked.run([*map(str, args)], env={**env, **more}, cwd=desk, stdin=stdin)
        return subprocess.run(
            [*COMMAND, *map(str, args)],
            env={**env, **more},
            cwd=desk,
            input=stdin,
            capture_output=True,
            check=False,
            encoding="utf-8",
            timeout=120,
        )

    return run


@pytest.fixture
def told(run):
    """Return a function that runs `moa … --json` and returns the JSON lines, and asserts a code."""

    def told(*args, code=0, **more):
        done = run(*args, "--json", **more)
        assert code == done.returncode, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return told


class Terminal:
    """`moa` on a terminal of its own."""

    def __init__(self, env, args, columns, cwd=None, *, fork=False):
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        words = [*map(str, args)]
        if fork:
            self.process = forked.Started(words, env=env, cwd=cwd or os.getcwd(), stream=theirs)
        else:
            self.process = subprocess.Popen(
                [*COMMAND, *words], env=env, cwd=cwd, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
            )
        os.close(theirs)
        self.written = b""

    def read(self, until=None, seconds=60):
        """Read until a text is there, or to the end; return all that was written."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and (until is None or until not in self.text):
            if not select.select([self.ours], [], [], 0.2)[0]:
                continue
            try:
                data = os.read(self.ours, 65536)
            except OSError:  # Linux says EIO where the last process has closed it
                break
            if not data:
                break
            self.written += data
        return self.text

    @property
    def text(self):
        return self.written.decode("utf-8", "replace")

    def end(self):
        """Read to the end; return the exit code and what was written."""
        self.read()
        code = self.process.wait(timeout=60)
        os.close(self.ours)
        return code, self.text


@pytest.fixture
def terminal(env, quick):
    """Return a function that runs `moa` on a terminal, in a quick run by a fork; it is ended with the test."""
    begun = []

    def start(*args, columns=80, **more):
        fork = quick and forked.can_run(more)
        begun.append(Terminal({**env, **more}, args, columns, fork=fork))
        return begun[-1]

    yield start
    for one in begun:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def send(terminal, number):
    """Send a signal as the terminal does, to all of its processes."""
    os.killpg(terminal.process.pid, number)


def plain(written):
    """Return what was written without the sequences of the terminal."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written).replace("\r", "")
