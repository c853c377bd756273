"""
Python frames of this package that are entered for a call, a stream and a turn: the same in each run.

    uv run --group bench python -m benchmarks.frames

A frame is counted when a function begins and when a generator goes on. It does not measure time; it
shows at once that a layer was added. `tests/house/test_frames.py` holds the budgets, for Python 3.11: later
ones inline comprehensions and count fewer.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import moa_middleware as moa

from . import ready
from .mixture import DRAFTS, Now, client_of, consume
from .turn import decorated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["CASES", "count", "counts"]

PACKAGE = str(Path(moa.__file__).parent) + os.sep
CHUNKS = 21
WARM, RUNS = 3, 5
TEXT = "An answer."
MESSAGES = ready.messages(200)
REQUEST: dict[str, Any] = {"model": "m", "messages": MESSAGES}


def count(run: Callable[[], object]) -> int:
    """Return how many frames of ours a function enters, in this thread and in those that it starts."""
    found = [0]

    def profile(frame: Any, event: str, _: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            found[0] += 1

    threading.setprofile(profile)
    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]  # as `sys.setprofile` takes it
    return found[0]


def settled(run: Callable[[], object]) -> int:
    """Return the fewest frames of some runs, once the caches are full."""
    for _ in range(WARM):
        run()
    return min(count(run) for _ in range(RUNS))


class Real:
    """The `openai` SDK's client on a transport whose replies are ready."""

    def __init__(self) -> None:
        from openai import OpenAI

        whole = ready.reply(TEXT).to_json().encode()
        events = ready.events(CHUNKS)

        def answer(request: Any) -> Any:
            streamed = json.loads(request.content).get("stream")
            kind = "text/event-stream" if streamed else "application/json"
            return ready.httpx.Response(200, headers={"content-type": kind}, content=events if streamed else whole)

        transport = ready.httpx.MockTransport(answer)
        http = ready.httpx.Client(transport=transport)
        self.client: Any = OpenAI(api_key="k", base_url="http://localhost/v1", http_client=http)


def _object() -> Any:
    """Return a client of the SDK's form, instrumented, whose reply is ready."""
    reply = ready.reply(TEXT)
    return moa.instrument(ready.Ready(lambda: reply)).chat.completions.create


def _streaming() -> Any:
    chunks = ready.openai_chunks(CHUNKS)
    return moa.instrument(ready.Ready(lambda: ready.ready_stream(chunks))).chat.completions.create


def _method(create: Any) -> Any:
    class Mixture:
        @moa.reference
        def ask(self, model: str, messages: Any) -> Any:
            return create(model=model, messages=messages)

    return Mixture().ask


def _inside(run: Callable[[], object]) -> int:
    with moa.turn():
        return settled(run)


def value_in_turn() -> int:
    """Count a call in one piece on an undecorated SDK object, inside an open turn."""
    return _inside(partial(_object(), **REQUEST))


def value_under_method() -> int:
    """Count the same call under a decorated method."""
    return _inside(partial(_method(_object()), **REQUEST))


def value_of_sdk() -> int:
    """Count a call of the real SDK's client, inside an open turn."""
    return _inside(partial(moa.instrument(Real().client).chat.completions.create, **REQUEST))


def value_of_sdk_under_method() -> int:
    """Count a call of the real SDK's client under a decorated method."""
    return _inside(partial(_method(moa.instrument(Real().client).chat.completions.create), **REQUEST))


def stream_in_turn() -> int:
    """Count a stream of 21 chunks on an undecorated SDK object, inside an open turn."""
    create = _streaming()

    def run() -> None:
        for _ in create(stream=True, **REQUEST):
            pass

    return _inside(run)


def stream_of_sdk() -> int:
    """Count a stream of 21 chunks of the real SDK, inside an open turn."""
    create = moa.instrument(Real().client).chat.completions.create

    def run() -> None:
        for _ in create(stream=True, **REQUEST):
            pass

    return _inside(run)


def turn_of_one() -> int:
    """Count a whole turn of one call on an undecorated SDK object, its line included."""
    create = _object()

    @moa.turn
    def turn(messages: Any) -> Any:
        return create(model="m", messages=messages)

    return settled(partial(turn, MESSAGES))


def turn_of_one_under_method() -> int:
    """Count a whole turn of one call under a decorated method, its line included."""
    ask = _method(_object())

    @moa.turn
    def turn(messages: Any) -> Any:
        return ask(model="m", messages=messages)

    return settled(partial(turn, MESSAGES))


def call_alone() -> int:
    """Count a call outside any turn, its line included."""
    return settled(partial(_object(), **REQUEST))


def mixture() -> int:
    """Count a decorated turn of four references and a stream of 21 chunks, one after the other."""
    client = decorated(moa)(moa.instrument(client_of(ready.openai_chunks(CHUNKS), DRAFTS)), Now())
    return settled(partial(consume, client, MESSAGES, 1))


def mixture_bare_sdk() -> int:
    """Count the same turn where the SDK is not instrumented."""
    client = decorated(moa)(client_of(ready.openai_chunks(CHUNKS), DRAFTS), Now())
    return settled(partial(consume, client, MESSAGES, 1))


CASES: dict[str, Callable[[], int]] = {
    "value call in an open turn, SDK object": value_in_turn,
    "value call under a decorated method, SDK object": value_under_method,
    "value call in an open turn, openai's client": value_of_sdk,
    "value call under a decorated method, openai's client": value_of_sdk_under_method,
    "stream of 21 chunks in an open turn, SDK object": stream_in_turn,
    "stream of 21 chunks in an open turn, openai's client": stream_of_sdk,
    "call outside any turn, with its line": call_alone,
    "turn of one call, with its line": turn_of_one,
    "turn of one call under a decorated method, with its line": turn_of_one_under_method,
    "turn of 4 decorated references and a stream, with its line": mixture,
    "the same, the SDK not instrumented": mixture_bare_sdk,
}
"""What is counted, by name; the budgets have the same names."""


@contextmanager
def traced(directory: str) -> Iterator[None]:
    """Write traces into a directory, whatever the environment says."""
    before = {name: value for name, value in os.environ.items() if name.startswith("MOA_")}
    for name in before:
        del os.environ[name]
    os.environ.update(MOA_SAVE_TRACES="1", MOA_TRACE_DIR=directory)
    try:
        yield
    finally:
        del os.environ["MOA_SAVE_TRACES"], os.environ["MOA_TRACE_DIR"]
        os.environ.update(before)


def counts() -> dict[str, int]:
    """Return every count by its name."""
    with tempfile.TemporaryDirectory(prefix="moa-frames-") as directory, traced(directory):
        return {name: case() for name, case in CASES.items()}


def main() -> None:
    """Print the counts as a table, or as JSON."""
    parser = argparse.ArgumentParser(description="Count the frames of this package.")
    parser.add_argument("--json", action="store_true", help="print JSON")
    as_json = parser.parse_args().json
    found = counts()
    if as_json:
        print(json.dumps(found, indent=1))
        return
    print(f"Frames of moa_middleware entered, Python {sys.version.partition(' ')[0]}")
    for name, number in found.items():
        print(f"{number:6}  {name}")


if __name__ == "__main__":
    main()
