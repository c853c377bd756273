"""What the scripted server's wire formats have in common: events, the course of a stream, usage, small readings.

A wire is how one API writes a script: as a JSON body, as the events of a stream, as an error. Everything is a pure
function of a script and a request body: it must not know sockets, threads, HTTP or the clock. The server decides when
a payload goes out and whether anybody is still there to read it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from moa_middleware.testing._script import Script

__all__ = [
    "Event",
    "Exchange",
    "ScriptedReply",
    "Tokens",
    "Wire",
    "choices_of",
    "finish_reason_of",
    "halves",
    "inner_error",
    "play",
    "raw_events",
    "text_of",
    "tokens_of",
    "usage_of",
    "words",
]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and what answers it.

    Attributes:
        script: What to answer.
        request: The decoded body.
        reply_id: The reply's `id`.
        created: In epoch seconds.
    """

    script: Script
    request: Mapping[str, Any]
    reply_id: str
    created: int


@dataclass(frozen=True, slots=True)
class ScriptedReply:
    """The body of a reply that is no stream, and what the log says of it."""

    body: Mapping[str, Any]
    text: str
    usage: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Event:
    """One step of a stream.

    Attributes:
        data: The payload of a `data:` event; empty sends nothing, None cuts the connection.
        name: The `event:` line, if any.
        delta: It carries a delta, such as `break_after` counts.
        pause: Wait before it, in seconds.
        text: What it adds to the text of the first choice.
        usage: The usage that has been sent with it.
        last: The stream ends with it.
        whole: With it the reply has been sent as it should be.
    """

    data: str | None
    name: str | None = None
    delta: bool = False
    pause: float = 0.0
    text: str = ""
    usage: Mapping[str, Any] | None = None
    last: bool = False
    whole: bool = False


class Wire(Protocol):
    """How one API writes a script.

    Attributes:
        PATH: The end of its path.
        ID: What the ids of its replies begin with.
        REQUEST_ID: The response header that names a request.
    """

    PATH: str
    ID: str
    REQUEST_ID: str

    def reply(self, exchange: Exchange) -> ScriptedReply:
        """Return the answer to a request without `stream`."""
        ...

    def events(self, exchange: Exchange) -> Iterator[Event]:
        """Yield the events of a stream, to its end or to where the script breaks it off."""
        ...

    def error(self, status: int, error: Mapping[str, Any] | None, request_id: str) -> dict[str, Any]:
        """Return the body of an error, with defaults for what `error` lacks."""
        ...


def play(script: Script, events: Iterable[Event], failure: Callable[[], Event]) -> Iterator[Event]:
    """
    Yield events with the pauses between their deltas, and break them off where the script says so.

    Args:
        script: What says so.
        events: The whole course of the stream.
        failure: Makes the event that ends it at `error_after`.
    """

    def stop(count: int) -> Event | None:
        if count == script.break_after:
            return Event(None, last=True)
        return replace(failure(), last=True) if count == script.error_after else None

    if (early := stop(0)) is not None:
        yield early
        return
    count = 0
    for event in events:
        if not event.delta:
            yield event
            continue
        count += 1
        yield replace(event, pause=script.piece_delay) if script.piece_delay and count > 1 else event
        if (end := stop(count)) is not None:
            yield end
            return


def raw_events(script: Script, chunks: Sequence[str]) -> Iterator[Event]:
    """Yield scripted payloads as they are, each named by its own `type`, and the end."""
    for data in chunks:
        kind = None
        with suppress(ValueError):
            payload = json.loads(data)
            kind = payload.get("type") if isinstance(payload, dict) else None
        yield Event(data, name=kind if isinstance(kind, str) else None, delta=True)
    yield Event("", text=text_of(script), last=True, whole=True)


# --- readings of a script ---------------------------------------------------------------------------------------------


def choices_of(script: Script) -> Sequence[Script]:
    """Return the choices; a script without is its own only one."""
    return (script,) if script.choices is None else script.choices


def text_of(script: Script) -> str:
    """Return the text of a value."""
    return script.text or "".join(script.pieces or ())


def finish_reason_of(script: Script) -> str:
    """Return the finish reason, in the words of chat completions."""
    return script.finish_reason or ("tool_calls" if script.tool_calls else "stop")


def inner_error(error: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return a scripted error object without the body that may stand around it; empty if there is none."""
    given = error or {}
    inner = given.get("error")
    return inner if isinstance(inner, Mapping) and given.keys() <= {"error", "type", "request_id"} else given


def words(text: str) -> list[str]:
    """Split into words, each with the white space before it; the pieces join to the text."""
    return re.findall(r"\s*\S+|\s+\Z", text)


def halves(text: str) -> tuple[str, str]:
    """Split in the middle."""
    return text[: len(text) // 2], text[len(text) // 2 :]


# --- usage ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Tokens:
    """Counts of one reply: the input with its cached parts, the output with its reasoning."""

    input: int
    output: int
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0


def usage_of(script: Script, request: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the usage as scripted, or the words of prompt and reply in the form of chat completions."""
    if script.usage is not None:
        return script.usage
    prompt = sum(len(text.split()) for text in _prompt_texts(request))
    completion = 0
    for choice in choices_of(script):
        texts = [text_of(choice), choice.reasoning or "", choice.refusal or ""]
        texts += [call["function"]["arguments"] for call in choice.tool_calls]
        completion += sum(len(text.split()) for text in texts)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def tokens_of(usage: Mapping[str, Any]) -> Tokens:
    """Read a usage in the form of chat completions; what is missing is 0."""

    def number(part: object, name: str) -> int:
        value = part.get(name) if isinstance(part, Mapping) else None
        return value if isinstance(value, int) else 0

    prompt, completion = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    return Tokens(
        number(usage, "prompt_tokens"),
        number(usage, "completion_tokens"),
        number(prompt, "cached_tokens"),
        number(prompt, "cache_write_tokens"),
        number(completion, "reasoning_tokens"),
    )


def _prompt_texts(request: Mapping[str, Any]) -> Iterator[str]:
    """Yield the texts of a request: `messages` and `input` with their parts, `system` and `instructions`."""
    for name in ("system", "instructions", "messages", "input"):
        given = request.get(name)
        for message in given if isinstance(given, list) else [given]:
            content = message.get("content", message) if isinstance(message, Mapping) else message
            for part in content if isinstance(content, list) else [content]:
                text = part.get("text") if isinstance(part, Mapping) else part
                if isinstance(text, str):
                    yield text
