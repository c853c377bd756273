"""Programs that are killed in the middle of a turn, and what they leave on disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time

from moa_middleware._capture.tracing.recover import recover
from moa_middleware._capture.tracing.writer import FileWriter

PRELUDE = """
import asyncio, os, sys, threading, time
import moa_middleware as moa

@moa.reference
def ask(n):
    return {"choices": [{"message": {"content": f"answer number {n}"}, "finish_reason": "stop"}],
            "model": "m", "usage": {"prompt_tokens": 10, "completion_tokens": n + 1, "total_tokens": n + 11}}

def die():
    os.kill(os.getpid(), 9)

def ready():
    print("ready", flush=True)
"""
THREE = """
@moa.turn(preset="trio")
def create(messages):
    for n in range(3):
        ask(n)
    die()

create([{"role": "user", "content": "Why?"}])
"""


def environment(directory, **env):
    return {
        **os.environ,
        "MOA_SAVE_TRACES": "1",
        "MOA_TRACE_DIR": str(directory),
        "MOA_SESSION_ID": "s",
        "MOA_JOURNAL": "1",
        **env,
    }


def script(body):
    return [sys.executable, "-c", PRELUDE + textwrap.dedent(body)]


def killed(directory, body=THREE, **env):
    """Run a program that kills itself."""
    done = subprocess.run(script(body), env=environment(directory, **env), check=False, capture_output=True, timeout=60)
    assert -signal.SIGKILL == done.returncode, done.stderr.decode()


def journals(directory):
    return sorted((directory / "open").glob("*.jsonl")) if (directory / "open").exists() else []


def whats(directory, **kwargs):
    """Recover in this process, and return what was done."""
    return [finding.what for finding in recover(FileWriter(directory), **kwargs)]


def wait_for(what, seconds=20):
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end
        time.sleep(0.001)
