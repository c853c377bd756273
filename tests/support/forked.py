"""
`moa` in a fork of the test's own process: what it imports is loaded already.

Arguments, environment, directory, streams and exit code are its own, as in a process that is started; the start of an
interpreter and the imports, nine tenths of the time of most commands, are saved. `--all` starts interpreters.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from functools import cache

import moa_middleware
from moa_middleware._capture import config, log
from moa_middleware.cli import main

READ_AT_START = ("PYTHON", "LC_", "LANG", "COVERAGE")
"""Beginnings of the names of variables that an interpreter reads once."""


def can_run(more):
    """Return True if a fork with these variables does what a started process would."""
    return not any(name.startswith(READ_AT_START) for name in more)


WINGS = ("_capture", "_layout", "_redaction", "cli", "read", "report", "records", "settings")
# `typer.rich_utils` is not among them: it reads the environment when it is imported.
OTHERS = ("typer.main", "pydantic_settings", "platformdirs", *(f"rich.{name}" for name in ("live", "markup", "table")))


@cache
def load():
    """
    Import what the commands import.

    Commands import late, so that each loads no more than it needs. Without this, every fork would import typer, rich
    and our modules for itself: 0.4 seconds, more than most commands take. The client of the demo is instrumented when
    it is imported; the `moa.uninstrument()` between two tests would undo that for all forks, so they import it.
    """
    for found in pkgutil.walk_packages(moa_middleware.__path__, "moa_middleware."):
        if found.name.split(".")[1] in WINGS and "._demo_" not in found.name:
            importlib.import_module(found.name)
    for name in OTHERS:
        importlib.import_module(name)


def run(args, *, env, cwd, stdin="", timeout=120):
    """Run `moa` with some arguments; return what `subprocess.run` would."""
    load()
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        given.write((stdin or "").encode())
        given.seek(0)
        with warnings.catch_warnings():
            # Python 3.12 and later warn of forks beside threads, such as those of a test's server.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if not pid:
            _child(args, env, cwd, (given, out, err))
        code = _wait(pid, args, timeout)
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(args, code, out.read().decode(), err.read().decode())


class Started:
    """`moa` in a fork that goes on beside the test, with what tests ask of a `subprocess.Popen`."""

    def __init__(self, args, *, env, cwd, stream):
        load()
        self.args, self.returncode = args, None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if not self.pid:
            os.setsid()
            _child(args, env, cwd, (stream, stream, stream))

    def poll(self):
        """Return the exit code, None while it runs."""
        if self.returncode is None:
            ended, status = os.waitpid(self.pid, os.WNOHANG)
            if ended:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout=120):
        """Wait for its end; return the exit code."""
        deadline = time.monotonic() + timeout
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(self.args, timeout)
            time.sleep(0.002)
        return self.returncode

    def kill(self):
        """End it."""
        os.kill(self.pid, signal.SIGKILL)


def _wait(pid, args, timeout):
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    raise subprocess.TimeoutExpired(args, timeout)


def _child(args, env, cwd, streams):
    """Become `moa`; never returns."""
    code = 1
    try:
        for number, stream in enumerate(streams):
            os.dup2(stream if isinstance(stream, int) else stream.fileno(), number)
        sys.stdin, sys.stdout, sys.stderr = (
            os.fdopen(number, mode, encoding="utf-8", closefd=False, errors=errors)
            for number, mode, errors in ((0, "r", "strict"), (1, "w", "strict"), (2, "w", "backslashreplace"))
        )
        os.chdir(cwd)
        os.environ.clear()
        os.environ.update(env)
        sys.argv = ["moa", *args]
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
        config.reset()
        log.forget()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        finally:
            os._exit(code)
