"""What a scripted model answers: `Script` and its validation.

A script says what a model does, in the words of OpenAI's chat completions, since those are the best known; the wire
modules say how each API writes that. So nothing here may know a wire, a socket, a thread or the clock.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from types import NoneType
from typing import Any, Literal, TypeAlias, cast

__all__ = ["Script", "ScriptFunction", "ScriptLike", "as_script", "as_steps", "dump"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What one model does on one request, to whichever API.

    A script decides alone what is sent: the request's `n`, `max_tokens` and the like are not obeyed. Where the APIs
    differ, *Responses* is OpenAI's and *Messages* is Anthropic's.

    Attributes:
        text: The content of the reply.
        pieces: The deltas of `text` in a stream; by default its words, each with the spaces before it. With `pieces`
            alone, `text` is what they join to.
        reasoning: Sent as `reasoning_content`, in a stream before the text. Responses: a `reasoning` item. Messages:
            a `thinking` block with a signature.
        reasoning_in: Responses: the item's "summary", or its "text".
        refusal: Sent as `refusal`. Messages: the explanation of the stop reason "refusal".
        tool_calls: In the form of chat completions (`id`, `type`, `function` with `name` and `arguments`, a string).
            In a stream each is two deltas, which share the arguments. Messages: arguments that are no JSON object
            are an empty input in a value.
        choices: Several choices instead of one. Of each, only the content and the finish reason are used. In a
            stream they are interleaved. Responses, Messages: only the first is sent.
        finish_reason: By default "tool_calls" with tool calls, else "stop". Responses: "length" and "content_filter"
            are incomplete, "failed" has failed, with `error`; all others are complete. Messages: the four of chat
            completions have their counterparts ("end_turn", "max_tokens", "tool_use", "refusal"), others stay.
        usage: In the form of chat completions, cached tokens in `prompt_tokens_details` (`cached_tokens`,
            `cache_write_tokens`), from which the others follow; by default word counts (`prompt_tokens`,
            `completion_tokens`, `total_tokens`). Responses, Messages: with `input_tokens` in it, sent as it is.
        usage_in: Where a stream has it: "tail" is a last chunk without choices, sent if the request has
            `stream_options.include_usage`; "finish" rides on the last finish chunk, asked for or not; "none" is
            nowhere. A value has it unless this is "none". Responses: in the last event unless "none". Messages:
            the input's in `message_start`, the output's in `message_delta`; with "finish" that one has all.
        usage_always: Send the tail though the request did not ask for it.
        delay: Wait before the first byte, in seconds.
        piece_delay: Wait between deltas, in seconds.
        status: HTTP status. Anything but 200 answers with `error`.
        error: The error object (`message`, `type`, `param`, `code`; what is missing has a default), or the whole
            body `{"error": …}`; for `status`, `error_after` or the finish reason "failed".
        break_after: Cut the connection after this many deltas, 0 being straight after the response headers. A
            reply that is no stream is cut before its first byte, whatever the number.
        error_after: End the stream with an error event after this many deltas. Streams only. Responses: with the
            finish reason "failed" that event is `response.failed`.
        wait: Called before the first byte and before `delay`, on the thread of the request: a
            `threading.Barrier.wait`, which makes calls overlap, or an event's `wait`. Give it a timeout.
        raw_chunks: Payloads of `data:` events, sent verbatim instead of all chunks of a stream but "[DONE]". Each
            counts as a delta. `Sent.text` is then `text`. Responses, Messages: a `type` in it names the event.
        headers: Further response headers. `x-request-id`, `request-id` in Messages, has a default.
        reply_model: The model that the reply names; by default the one that was asked for.
        system_fingerprint: Omitted if None; chat completions only.
        service_tier: Omitted if None. Messages: in the usage.
    """

    text: str = field(default="", kw_only=False)
    pieces: Sequence[str] | None = None
    reasoning: str | None = None
    reasoning_in: Literal["summary", "text"] = "summary"
    refusal: str | None = None
    tool_calls: Sequence[Mapping[str, Any]] = ()
    choices: Sequence[Script] | None = None
    finish_reason: str | None = None
    usage: Mapping[str, Any] | None = None
    usage_in: Literal["tail", "finish", "none"] = "tail"
    usage_always: bool = False
    delay: float = 0.0
    piece_delay: float = 0.0
    status: int = 200
    error: Mapping[str, Any] | None = None
    break_after: int | None = None
    error_after: int | None = None
    wait: Callable[[], object] | None = None
    raw_chunks: Sequence[str] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    reply_model: str | None = None
    system_fingerprint: str | None = "fp_scripted"
    service_tier: str | None = None


ScriptFunction: TypeAlias = Callable[[dict[str, Any]], Script | str]
"""A function from a request's decoded body to the script for it."""

ScriptLike: TypeAlias = Script | str | ScriptFunction | Sequence[Script | str | ScriptFunction]
"""What a model does: one step for all requests, or one a request, of which the last repeats."""


# --- validation -----------------------------------------------------------------------------------------------------

_KINDS: dict[str, tuple[type, ...]] = {
    "text": (str,),
    **dict.fromkeys(("reasoning", "refusal", "finish_reason"), (str, NoneType)),
    **dict.fromkeys(("reply_model", "system_fingerprint", "service_tier"), (str, NoneType)),
    **dict.fromkeys(("pieces", "raw_chunks", "choices"), (Sequence, NoneType)),
    "tool_calls": (Sequence,),
    **dict.fromkeys(("usage", "error"), (Mapping, NoneType)),
    "headers": (Mapping,),
    **dict.fromkeys(("delay", "piece_delay"), (int, float)),
    "status": (int,),
    **dict.fromkeys(("break_after", "error_after"), (int, NoneType)),
    "usage_always": (bool,),
    "wait": (Callable, NoneType),  # type: ignore[dict-item]  # abc's Callable is a class at run time
}
_ITEMS: dict[str, type] = {"pieces": str, "raw_chunks": str, "choices": Script, "tool_calls": Mapping}
_FRAMING = {"content-length", "transfer-encoding", "connection"}


def as_steps(script: object, where: str) -> tuple[Script | ScriptFunction, ...]:
    """Check what a user gave for a model and return its steps.

    Args:
        script: A `ScriptLike`, or a user's mistake.
        where: What to call it in an error: "script of model 'm'".

    Raises:
        TypeError: It is no script, or a field has the wrong type.
        ValueError: It has no step, or a field has an impossible value.
    """
    if not isinstance(script, Sequence) or isinstance(script, (str, bytes)):
        return (_step(script, where),)
    if not script:
        message = f"{where}: the sequence is empty; it needs one step at least"
        raise ValueError(message)
    return tuple(_step(step, f"{where}, step {number}") for number, step in enumerate(script, 1))


def as_script(step: object, where: str) -> Script:
    """Return the checked script for a script or its text; raises as `as_steps` does."""
    script = Script(step) if isinstance(step, str) else step
    if not isinstance(script, Script):
        message = f"{where}: need a Script, its text, or a function that returns one of these, not {step!r}"
        raise TypeError(message)
    _check_types(script, where)
    _check_values(script, where)
    for number, choice in enumerate(script.choices or (), 1):
        as_script(choice, f"{where}, choice {number}")
        if choice.choices is not None:
            message = f"{where}, choice {number}: a choice has no `choices` of its own"
            raise ValueError(message)
    return script


def _step(step: object, where: str) -> Script | ScriptFunction:
    # A class is callable too, but `{"m": Script}` is a forgotten pair of brackets.
    if callable(step) and not isinstance(step, type):
        return cast("ScriptFunction", step)
    return as_script(step, where)


def _check_types(script: Script, where: str) -> None:
    for name, kinds in _KINDS.items():
        value = getattr(script, name)
        if not isinstance(value, kinds) or (isinstance(value, (str, bytes)) and Sequence in kinds):
            message = f"{where}: `{name}` cannot be {value!r}"
            raise TypeError(message)
    items = [(name, item, kind) for name, kind in _ITEMS.items() for item in getattr(script, name) or ()]
    items += [("headers", text, str) for text in chain(script.headers, script.headers.values())]
    for name, item, kind in items:
        if not isinstance(item, kind):
            message = f"{where}: `{name}` cannot contain {item!r}"
            raise TypeError(message)
    for call in script.tool_calls:
        function = call.get("function")
        if not isinstance(function, Mapping) or not isinstance(function.get("arguments"), str):
            message = f"{where}: a tool call needs a `function` with `name` and `arguments` (a str), not {call!r}"
            raise TypeError(message)
    try:
        dump([script.tool_calls, script.usage, script.error])
    except (TypeError, ValueError) as error:
        message = f"{where}: `tool_calls`, `usage` and `error` must be JSON: {error}"
        raise TypeError(message) from None


def _check_values(script: Script, where: str) -> None:
    own = (script.text, script.pieces, script.reasoning, script.refusal, script.tool_calls, script.finish_reason)
    rules = {
        "`pieces` must join to `text`": script.pieces and script.text and "".join(script.pieces) != script.text,
        "`choices` needs one script at least": script.choices is not None and not script.choices,
        "with `choices`, the content belongs into them": script.choices and any(own),
        "`usage_in` is 'tail', 'finish' or 'none'": script.usage_in not in {"tail", "finish", "none"},
        "`reasoning_in` is 'summary' or 'text'": script.reasoning_in not in {"summary", "text"},
        "`delay` is in seconds, 0 or more": not 0 <= script.delay < math.inf,
        "`piece_delay` is in seconds, 0 or more": not 0 <= script.piece_delay < math.inf,
        "`status` is 200 or an error, 400 to 599": script.status != 200 and not 400 <= script.status <= 599,  # noqa: PLR2004
        "`break_after` counts deltas, from 0": script.break_after is not None and script.break_after < 0,
        "`error_after` counts deltas, from 0": script.error_after is not None and script.error_after < 0,
        "`error` needs a `status`, `error_after` or the finish reason 'failed'": (
            script.error is not None
            and (script.status, script.error_after) == (200, None)
            and script.finish_reason != "failed"
        ),
        "`headers` leave framing to the server": any(name.lower() in _FRAMING for name in script.headers),
        "`headers` are lines of Latin-1": any(
            "\r" in line or "\n" in line or max(map(ord, line), default=0) > 0xFF  # noqa: PLR2004
            for line in chain(script.headers, script.headers.values())
        ),
    }
    for rule, broken in rules.items():
        if broken:
            message = f"{where}: {rule}"
            raise ValueError(message)


def dump(value: object) -> str:
    """Encode as JSON, in ASCII (lone surrogates pass); mappings of any kind are objects."""
    return json.dumps(value, default=_plain)


def _plain(value: object) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    message = f"{value!r} is not JSON"
    raise TypeError(message)
