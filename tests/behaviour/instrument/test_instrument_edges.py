"""Patches at their edges: clients of before, modules that come later or refuse, forks."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import pytest

SDK = {
    "__init__.py": """
        class Chat:
            @property
            def completions(self):
                from groq.resources.chat.completions import Completions

                made = Completions()
                made._client = self._client
                return made

        class Groq:
            def __init__(self):
                self.chat = Chat()
                self.chat._client = self

            def copy(self):
                return Groq()

            with_options = copy
    """,
    "resources/__init__.py": "",
    "resources/chat/__init__.py": "",
    "resources/chat/completions.py": """
        class Kind(type):
            def __setattr__(cls, name, value):
                if cls.refuses:
                    raise TypeError("this class is sealed")
                super().__setattr__(name, value)

        class Completions(metaclass=Kind):
            refuses = REFUSES

            def create(self, *, model, messages):
                return {"choices": [{"message": {"content": "answer"}}]}
    """,
}
"""An SDK that loads its resources when they are first used, as some versions of the real ones do."""
PRELUDE = """
import os, signal, threading
import groq
import moa_middleware as moa
from moa_middleware.testing import capture_turns

client = groq.Groq()

def ask(client=client):
    return client.chat.completions.create(model="m", messages="hi")["choices"][0]["message"]["content"]
"""


@pytest.fixture
def output_of(tmp_path):
    """Return a function that runs a program beside the SDK, and returns what it prints."""

    def output_of(body, *, refuses=False):
        for name, text in SDK.items():
            path = tmp_path / "groq" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text).replace("REFUSES", str(refuses)))
        done = subprocess.run(
            [sys.executable, "-c", PRELUDE + textwrap.dedent(body)],
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            check=False,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )
        assert 0 == done.returncode, done.stderr
        return done.stdout.split()

    return output_of


def test_a_client_of_before_is_not_patched_by_a_later_import(output_of):
    """After `uninstrument()` the SDK may load its modules: they stay as they are, and nothing is recorded."""
    body = """
    moa.instrument(client)
    moa.uninstrument()
    with capture_turns() as turns:
        print(ask(), len(turns))
    from groq.resources.chat.completions import Completions
    print(type(vars(Completions)["create"]).__name__)
    """
    assert ["answer", "0", "function"] == output_of(body)


def test_a_client_is_patched_by_a_later_import(output_of):
    """Without `uninstrument()` that import is the moment at which the client is traced."""
    body = """
    moa.instrument(client)
    with capture_turns() as turns:
        print(ask(), len(turns))
    """
    assert ["answer", "1"] == output_of(body)


def test_a_module_that_cannot_be_patched_is_imported(output_of):
    """A version of an SDK seals its classes: the program runs untraced, with a warning, and not into an ImportError."""
    body = """
    import structlog
    from structlog.testing import capture_logs

    moa.instrument(client)
    with capture_logs() as logs, capture_turns() as turns:
        print(ask(), len(turns))
    print(*[(entry["event"] + ":" + entry["target"]) for entry in logs])
    """
    assert ["answer", "0", "moa.target_missing:groq.resources.chat.completions"] == output_of(body, refuses=True)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this platform")
def test_a_fork_while_another_thread_instruments_can_instrument(output_of):
    """The child has no such thread: it must not wait for it. A server that forks its workers would hang at its start."""
    body = """
    from moa_middleware._capture.instrument.patch import lock

    held, go_on = threading.Event(), threading.Event()

    def hold():
        with lock:
            held.set()
            go_on.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    pid = os.fork()
    if not pid:
        signal.alarm(20)
        moa.instrument(client)
        with capture_turns() as turns:
            ask()
        os._exit(len(turns))
    _, status = os.waitpid(pid, 0)
    go_on.set()
    thread.join()
    print(status if os.WIFSIGNALED(status) else os.WEXITSTATUS(status))
    """
    assert ["1"] == output_of(body)
