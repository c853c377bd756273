"""
The run behind `moa demo`: settings, client, progress, and the line read back from its file.

Importing this imports openai and rich.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import openai
from pydantic import ValidationError

import moa_middleware as moa

from .._capture.tracing.writer import FileWriter
from ..settings import Settings, describe_problem
from ..testing import ScriptedServer
from ._demo_client import DemoClient
from ._demo_script import AGGREGATOR, QUESTION, REFERENCES, SCRIPTS
from ._exit import INTERRUPTED, MISSING, UNREADABLE, USAGE, Failure
from ._out import note
from ._progress import Progress
from ._screen import Screen, StreamedText
from ._summary import print_summary
from ._text import one_line, safe_text

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Endpoint", "run", "run_scripted"]

_SHORT = 8
"""Shorter keys are words ("ollama", "none") that occur in other texts too, and are not secret."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """
    Where the models are.

    Attributes:
        base_url: As the SDK takes it.
        host: Host and port, to be shown.
        key: Never shown.
        local: The scripted server: no proxy stands before it.
    """

    base_url: str
    host: str
    key: str = field(repr=False)
    local: bool = False

    def client(self) -> openai.OpenAI:
        """Return an SDK client; a request that fails is one call, and is not sent again."""
        http = openai.DefaultHttpxClient(trust_env=False) if self.local else None
        return openai.OpenAI(base_url=self.base_url, api_key=self.key, max_retries=0, http_client=http)

    def hide(self, text: str) -> str:
        """Return a text without the key, which some servers repeat in their errors."""
        return text.replace(self.key, "[key]") if len(self.key) >= _SHORT else text

    def explain(self, error: BaseException) -> str:
        """Return what an exception says, in a line."""
        if isinstance(error, openai.APIStatusError):
            body = error.body if isinstance(error.body, dict) else {}
            says = body.get("message")
            text = f"HTTP {error.status_code}: {says if isinstance(says, str) else type(error).__name__}"
        elif isinstance(error, openai.APIConnectionError):
            text = str(error.__cause__ or error).strip() or type(error).__name__
        else:
            text = f"{type(error).__name__}: {error}".removesuffix(": ")
        return one_line(self.hide(text))

    def failed(self, error: Exception, aggregator: str) -> str:
        """Return why there is no answer, in a line."""
        if isinstance(error, openai.AuthenticationError):
            return f"{self.host} refuses the key in OPENAI_API_KEY ({self.explain(error)})"
        if isinstance(error, openai.APIConnectionError):
            return f"cannot reach {self.host} ({self.explain(error)})"
        return f"the aggregator {one_line(aggregator)} at {self.host} failed ({self.explain(error)})"


class _NothingSent(Exception):  # noqa: N818 - its text is for the user
    """A stream without any event, which is how the SDK sees a web page."""

    def __init__(self) -> None:
        super().__init__("it sent no completion; is the URL right? most end in /v1")


def run_scripted() -> None:
    """Run the demonstration against the scripted server."""
    with ScriptedServer(SCRIPTS) as server:
        url = server.base_url
        host = url.removeprefix("http://").removesuffix("/v1")
        run(Endpoint(url, host, "none", local=True), REFERENCES, AGGREGATOR, QUESTION)


def run(endpoint: Endpoint, references: Sequence[str], aggregator: str, question: str) -> None:
    """
    Run one turn and show what its line holds.

    Raises:
        Failure: A setting is bad, the endpoint gave no answer, or there is no line.
    """
    path, session_id = _configured()
    screen = Screen(goes_on=True)
    what = "a scripted server" if endpoint.local else "an endpoint of yours"
    screen.line(("moa demo", "bold"), f" against {what} ({endpoint.host})")
    screen.line()
    screen.line(("question  ", "bold"), safe_text(question))
    screen.line()
    progress = Progress(screen, references, aggregator, endpoint.explain)
    moa.configure(session_id=session_id, middleware=[], observers=[progress.watch])
    failure = None
    try:
        _ask(screen, progress, DemoClient(moa.instrument(endpoint.client()), references, aggregator), question)
    except KeyboardInterrupt:
        _leave(path)
    except Exception as error:
        failure = Failure(f"moa demo: {endpoint.failed(error, aggregator)}", MISSING)
    screen.heading("The record, read back from its file")
    print_summary(screen, _read_back(path), endpoint.hide)
    screen.line()
    screen.line("saved to ", (safe_text(str(path)), "bold"), wrap=False)
    moa_command, folder = _moa_command(), shlex.quote(str(path.parent))
    screen.line("look at it with ", (safe_text(f"{moa_command} show last {folder}"), "bold"), wrap=False)
    screen.line("or as a page: ", (safe_text(f"{moa_command} report {folder} -o demo.html"), "bold"), wrap=False)
    if failure is not None:
        raise failure


def _moa_command() -> str:
    """
    Return the words that start `moa` from the shell where the demo was started.

    `uv run` and `uvx` put the environment's scripts on the path of their child alone, so that `shutil.which` finds a
    `moa` here which the user's shell does not have. Both set `UV`, and only `uv run` sets `UV_RUN_RECURSION_DEPTH`
    (uv's reference of environment variables). `uv run` finds the project again from a directory inside it only, so
    outside of one, as after `uv run --project DIR`, the interpreter is named: that works from everywhere.
    """
    if "UV" not in os.environ:
        if shutil.which("moa"):
            return "moa"
    elif "UV_RUN_RECURSION_DEPTH" in os.environ:
        here = Path.cwd()
        if any((folder / "pyproject.toml").is_file() for folder in (here, *here.parents)):
            return "uv run moa"
    return f"{shlex.quote(sys.executable)} -m moa_middleware"


def _configured() -> tuple[Path, str]:
    """
    Turn traces on for this run, and return its file and its session.

    Raises:
        Failure: A setting in the environment is bad, or the directory cannot be written.
    """
    try:
        trace_dir = Settings().trace_dir.absolute()
    except ValidationError as error:
        raise Failure(f"moa demo: {one_line(describe_problem(error))}", USAGE) from None
    there = next(folder for folder in (trace_dir, *trace_dir.parents) if os.path.lexists(folder))
    if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        why = "cannot be written" if there.is_dir() else "is not a directory"
        message = f"moa demo: traces would go to {one_line(str(trace_dir))}, but {one_line(str(there))} {why}"
        raise Failure(f"{message}: set MOA_TRACE_DIR", USAGE)
    session_id = f"demo-{datetime.now().astimezone():%Y%m%d-%H%M%S-%f}"
    moa.configure(save_traces=True, trace_dir=trace_dir, turns="all", propagate_threads=True)
    return FileWriter(trace_dir).path_of(session_id), session_id


def _ask(screen: Screen, progress: Progress, client: Any, question: str) -> None:
    """Run the turn; references are shown as rows, the answer as it comes."""
    chunks = 0
    with ExitStack() as until_the_end:
        with progress:
            stream = until_the_end.enter_context(client.create([{"role": "user", "content": question}]))
        screen.heading("The answer, as it is streamed")
        flowing = StreamedText(screen)
        until_the_end.callback(flowing.end)
        for chunk in stream:
            chunks += 1
            for choice in chunk.choices or ():
                if choice.delta and choice.delta.content:
                    flowing.write(safe_text(choice.delta.content))
    if not chunks:
        raise _NothingSent


def _read_back(path: Path) -> dict[str, Any]:
    """
    Return the record in a file of one line.

    Raises:
        Failure: There is none.
    """
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        why = type(error).__name__ if isinstance(error, ValueError) else error.strerror
        raise Failure(f"moa demo: no trace in {one_line(str(path))}: {why}", UNREADABLE) from None
    if not isinstance(record, dict):
        raise Failure(f"moa demo: no trace in {one_line(str(path))}", UNREADABLE)
    return record


def _leave(path: Path) -> None:
    """
    End the process after Ctrl-C.

    Raises:
        Failure: Always, unless a model is still being waited for: Python would join its thread.
    """
    moa.flush(open_streams=True)
    saved = f"; the turn so far is in {one_line(str(path))}" if path.exists() else ""
    message = f"moa demo: interrupted{saved}"
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            sys.stdout.flush()
            note(message)
            os._exit(INTERRUPTED)
    raise Failure(message, INTERRUPTED)
