"""What all connections of the scripted server share: the scripts, and the logs of what came and what went."""

from __future__ import annotations

import copy
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from moa_middleware.testing._script import Script, ScriptLike, as_script, as_steps

__all__ = ["Answer", "Book", "Received", "Sent"]


@dataclass(frozen=True, slots=True)
class Received:
    """One request, as it came.

    Attributes:
        path: With its query.
        headers: Names in lower case. Not in the repr, since a test's output must not show a key that the SDK took
            from the environment.
        body: The decoded JSON object; empty if there was none or it was bad.
        at: When it was read, in epoch seconds.
    """

    path: str
    headers: dict[str, str] = field(repr=False)
    body: dict[str, Any]
    at: float


@dataclass(frozen=True, slots=True)
class Sent:
    """One answer of a model, logged before its last byte goes out: who read the end finds it here.

    Attributes:
        model: The model that was asked for; empty if the request named none.
        text: The text of the first choice, as far as it was sent.
        usage: The usage that was sent, in the form of its API; None if none was.
        status: HTTP status; 200 also for a connection cut before the first byte.
        streamed: The request asked for a stream.
        complete: False if the client went away before the end or the script broke the reply off. What fits the
            kernel's buffers counts as sent.
        at: When it ended, in epoch seconds.
    """

    model: str
    text: str
    usage: Mapping[str, Any] | None
    status: int
    streamed: bool
    complete: bool
    at: float


class Book:
    """The scripts and the logs: what all connections share."""

    def __init__(self, scripts: Mapping[str, ScriptLike], default: ScriptLike | None) -> None:
        if not isinstance(scripts, Mapping) or not all(isinstance(model, str) for model in scripts):
            message = f"ScriptedServer: `scripts` must map models' names to scripts, not {scripts!r}"
            raise TypeError(message)
        self.steps = {name: as_steps(script, f"script of model {name!r}") for name, script in scripts.items()}
        self.default = None if default is None else as_steps(default, "default script")
        self.received: list[Received] = []
        self.sent: list[Sent] = []
        self.lock = threading.Lock()
        self.ids = count(1)
        self._used: Counter[str] = Counter()

    def script_for(self, body: dict[str, Any] | None) -> Script:
        """Return what to do about a request, after the script's `wait`; what went wrong is a script as well."""
        model = None if body is None else body.get("model")
        if body is None or not isinstance(model, str):
            return _refusal(400, "The body must be a JSON object whose `model` is a string")
        steps = self.steps.get(model, self.default)
        if steps is None:
            scripted = ", ".join(map(repr, self.steps)) or "none"
            return _refusal(404, f"The model {model!r} does not exist; scripted are: {scripted}", "model_not_found")
        with self.lock:
            step = steps[min(self._used[model], len(steps) - 1)]
            self._used[model] += 1
        where = f"script of model {model!r}"
        try:
            # The function may change its argument, the log must not follow.
            script = step if isinstance(step, Script) else as_script(step(copy.deepcopy(body)), where)
            if script.wait is not None:
                script.wait()
        except BaseException as error:
            return _refusal(500, f"{where} raised {type(error).__name__}: {error}")
        return script


def _refusal(status: int, message: str, code: str | None = None) -> Script:
    return Script(status=status, error={"message": message, "code": code})


@dataclass(slots=True)
class Answer:
    """What was sent of one answer so far."""

    book: Book
    model: str
    streamed: bool
    status: int = 200
    text: str = ""
    usage: Mapping[str, Any] | None = None
    logged: Sent | None = None

    def log(self, *, complete: bool, more: str = "") -> None:
        """Write the log's entry, or correct it."""
        usage = None if self.usage is None else dict(self.usage)
        entry = Sent(self.model, self.text + more, usage, self.status, self.streamed, complete, time.time())
        with self.book.lock:
            if self.logged in self.book.sent:
                self.book.sent.remove(self.logged)
            self.book.sent.append(entry)
        self.logged = entry
