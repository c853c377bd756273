"""Who takes part: each wraps a client whose replies are ready, and leaves its lines in a file of its own."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import moa_middleware as moa

from .captures import SameFields, Seed, TextOnly
from .ready import Ready, ReadyAsync

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

__all__ = [
    "BARE",
    "DIGEST",
    "HAND",
    "HMAC",
    "MIDDLEWARE",
    "OFF",
    "ON",
    "SAME",
    "SEED",
    "Contender",
    "contenders",
    "switch",
]

BARE = "bare"
OFF = "moa, off"
ON = "moa, on"
MIDDLEWARE = "moa, on, 3 middleware"
DIGEST = "moa, on, digest"
HMAC = "moa, on, hmac"
_KEY = b"a key of no worth, for benchmarks"
HAND = "by hand, text only"
SAME = "by hand, same fields"
SEED = "seed's writer"


def switch(*, on: bool) -> None:
    """Turn the traces on or off, as a user does it in a running process."""
    os.environ["MOA_SAVE_TRACES"] = "1" if on else "0"


class LostError(AssertionError):
    """A contender that lost text does not count."""


class Contender:
    """
    One of those who are compared.

    Args:
        name: As in the table.
        directory: For its lines.
    """

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.path: Path | None = None
        self.capture: TextOnly | None = None
        kinds = {HAND: TextOnly, SAME: SameFields, SEED: Seed}
        if name in kinds:
            self.path = directory / f"{name.replace(' ', '-')}.jsonl"
            self.capture = kinds[name](self.path)
        self.stack: Any = None
        """Whose decorators are used, `None` for those who have none."""
        if name.startswith(ON.partition(",")[0]):
            self.stack = moa.Stack([_one, _two, _three]) if name == MIDDLEWARE else moa
        self.on = self.stack is not None and name != OFF
        if self.on:
            self.path = directory / "moa" / "unknown-session.jsonl"
        self.integrity = name.rpartition(" ")[2] if name in (DIGEST, HMAC) else "off"
        self.key = directory / "key"

    def creates(self, answer: Callable[[], Any]) -> Callable[..., Any]:
        """Return what the caller calls for a stream, or a value if `answer` makes one."""
        return self._around(Ready(answer))

    def creates_async(self, answer: Callable[[], Any]) -> Callable[..., Any]:
        """Return the same for an async client."""
        return self._around(ReadyAsync(answer))

    def _around(self, client: Any) -> Callable[..., Any]:
        if self.stack is not None:
            self.stack.instrument(client)
        create: Callable[..., Any] = client.chat.completions.create
        if self.capture is None:
            return create
        capture = self.capture
        if isinstance(client, ReadyAsync):

            async def ask_async(**request: Any) -> Any:
                return capture.astream(request, await create(**request))

            return ask_async

        def ask(**request: Any) -> Any:
            source = create(**request)
            return capture.stream(request, source) if request.get("stream") else capture.reply(request, source)

        return ask

    def ready(self) -> None:
        """Set the switch for this one, and make room for its line."""
        switch(on=self.on)
        os.environ["MOA_INTEGRITY"] = self.integrity
        if self.integrity != "off":
            self.key.write_bytes(_KEY)
            self.key.chmod(0o600)
            os.environ["MOA_INTEGRITY_KEY_FILE"] = str(self.key)
        moa.status()  # which makes the tracer of these settings, if one is wanted
        if self.path is not None and self.path.exists():
            os.truncate(self.path, 0)

    def check(self, text: str, drafts: list[str] | None = None) -> None:
        """
        Compare what was captured last with the truth.

        Args:
            text: The aggregator's, or of the only call.
            drafts: Those of the references.

        Raises:
            LostError: It is not that.
        """
        if self.path is None:
            return
        record = json.loads(self.path.read_bytes().splitlines()[-1])
        aggregator = record.get("aggregator")
        output = aggregator["output"] if aggregator else record["output"]
        if output != text:
            msg = f"{self.name} lost text: {len(output or '')} characters of {len(text)}"
            raise LostError(msg)
        if drafts is not None and drafts != [one["output"] for one in record["references"]]:
            msg = f"{self.name} lost text of references"
            raise LostError(msg)


def _one(call: Any) -> Any:
    yield call


def _two(call: Any) -> Any:
    yield call.replace(tags={"tenant": "a"})


def _three(call: Any) -> Any:
    reply = yield call
    assert reply.outcome


def contenders(directory: Path, *names: str) -> dict[str, Contender]:
    """Return some of them by name."""
    return {name: Contender(name, directory) for name in names}
