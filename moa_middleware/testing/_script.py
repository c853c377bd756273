"""What a scripted model answers: `Script`, its validation, and its rendering into OpenAI's JSON and SSE payloads.

Everything here is a pure function of a script and a request body: it must not know sockets, threads, HTTP or the
clock. The server decides when a payload goes out and whether anybody is still there to read it.

The forms are those of https://platform.openai.com/docs/api-reference/chat (completion object, chunk object, errors);
`reasoning_content` is the field that DeepSeek, vLLM and others add to them.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from types import NoneType
from typing import Any, Literal, TypeAlias, cast

__all__ = ["Event", "Script", "ScriptLike", "as_script", "as_steps", "error_body", "reply_body", "stream_events"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What one model does on one request.

    A script decides alone what is sent: the request's `n`, `max_tokens` and the like are not obeyed.

    Attributes:
        text: The content of the reply.
        pieces: The deltas of `text` in a stream; by default its words, each with the spaces before it. With `pieces`
            alone, `text` is what they join to.
        reasoning: Sent as `reasoning_content`, in a stream before the text.
        refusal: Sent as `refusal`.
        tool_calls: In OpenAI's form (`id`, `type`, `function` with `name` and `arguments`, a string). In a stream
            each is two deltas, which share the arguments.
        choices: Several choices instead of one. Of each, only the content and the finish reason are used. In a
            stream they are interleaved.
        finish_reason: By default "tool_calls" with tool calls, else "stop".
        usage: In OpenAI's form; by default word counts (`prompt_tokens`, `completion_tokens`, `total_tokens`).
        usage_in: Where a stream has it: "tail" is a last chunk without choices, sent if the request has
            `stream_options.include_usage`; "finish" rides on the last finish chunk, asked for or not; "none" is
            nowhere. A value has it unless this is "none".
        usage_always: Send the tail though the request did not ask for it.
        delay: Wait before the first byte, in seconds.
        piece_delay: Wait between deltas, in seconds.
        status: HTTP status. Anything but 200 answers with `error`.
        error: The error object (`message`, `type`, `param`, `code`; what is missing has a default), or the whole
            body `{"error": …}`; for `status` or `error_after`.
        break_after: Cut the connection after this many deltas, 0 being straight after the response headers. A
            reply that is no stream is cut before its first byte, whatever the number.
        error_after: End the stream with an error event after this many deltas. Streams only.
        wait: Called before the first byte and before `delay`, on the thread of the request: a
            `threading.Barrier.wait`, which makes calls overlap, or an event's `wait`. Give it a timeout.
        raw_chunks: Payloads of `data:` events, sent verbatim instead of all chunks of a stream but "[DONE]". Each
            counts as a delta. `Sent.text` is then `text`.
        headers: Further response headers.
        reply_model: The model that the reply names; by default the one that was asked for.
        system_fingerprint: Omitted if None.
        service_tier: Omitted if None.
    """

    text: str = field(default="", kw_only=False)
    pieces: Sequence[str] | None = None
    reasoning: str | None = None
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


@dataclass(frozen=True, slots=True)
class Event:
    """One step of a stream.

    Attributes:
        data: The payload of a `data:` event; None cuts the connection.
        pause: Wait before it, in seconds.
        text: What it adds to the text of the first choice.
        usage: The usage in it.
        last: The stream ends with it.
        whole: With it the reply has been sent as it should be.
    """

    data: str | None
    pause: float = 0.0
    text: str = ""
    usage: Mapping[str, Any] | None = None
    last: bool = False
    whole: bool = False


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
        "`delay` is in seconds, 0 or more": not 0 <= script.delay < math.inf,
        "`piece_delay` is in seconds, 0 or more": not 0 <= script.piece_delay < math.inf,
        "`status` is 200 or an error, 400 to 599": script.status != 200 and not 400 <= script.status <= 599,  # noqa: PLR2004
        "`break_after` counts deltas, from 0": script.break_after is not None and script.break_after < 0,
        "`error_after` counts deltas, from 0": script.error_after is not None and script.error_after < 0,
        "`error` needs a `status` or `error_after`": (
            script.error is not None and script.status == 200 and script.error_after is None  # noqa: PLR2004
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


# --- rendering ------------------------------------------------------------------------------------------------------


def dump(value: object) -> str:
    """Encode as JSON, in ASCII (lone surrogates pass); mappings of any kind are objects."""
    return json.dumps(value, default=_plain)


def error_body(status: int, error: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return OpenAI's error body, with defaults for what `error` lacks."""
    kind = {429: "rate_limit_error"}.get(status, "invalid_request_error" if 400 <= status < 500 else "server_error")  # noqa: PLR2004
    given = error or {}
    if given.keys() == {"error"} and isinstance(given["error"], Mapping):
        given = given["error"]
    return {"error": {"message": f"scripted error {status}", "type": kind, "param": None, "code": None, **given}}


def reply_body(script: Script, request: Mapping[str, Any], reply_id: str, created: int) -> dict[str, Any]:
    """Return the completion object for a request without `stream`.

    Args:
        script: What to answer.
        request: The decoded body.
        reply_id: The reply's `id`.
        created: In epoch seconds.
    """
    choices = [
        {"index": index, "message": _message(choice), "logprobs": None, "finish_reason": _finish_reason(choice)}
        for index, choice in enumerate(_choices(script))
    ]
    body = {**_envelope(script, request, "chat.completion", reply_id, created), "choices": choices}
    return body if script.usage_in == "none" else {**body, "usage": _usage(script, request)}


def stream_events(script: Script, request: Mapping[str, Any], reply_id: str, created: int) -> Iterator[Event]:
    """Yield the events of a stream, to its end or to where the script breaks it off; arguments as `reply_body`."""
    envelope = _envelope(script, request, "chat.completion.chunk", reply_id, created)
    asked = _asks_for_usage(request)
    if asked and script.usage_in == "tail":
        envelope["usage"] = None  # OpenAI: with `include_usage` every chunk has the key, null but in the last.

    def chunk(index: int, delta: Mapping[str, Any], finish_reason: str | None = None, **more: object) -> str:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return dump({**envelope, "choices": [choice], **more})

    opening, closing, final = list[Event](), list[Event](), ""
    deltas: Iterable[tuple[str, str]]
    if script.raw_chunks is not None:
        raw, final = script.raw_chunks, _text(script)
        deltas = ((data, "") for data in (raw[:-1] if raw[-1:] and raw[-1] == "[DONE]" else raw))
    else:
        choices = _choices(script)
        usage = _usage(script, request)
        opening = [Event(chunk(index, {"role": "assistant", "content": ""})) for index in range(len(choices))]
        deltas = (
            (chunk(index, delta), delta.get("content", "") if index == 0 else "")
            for each in zip_longest(*map(_deltas, choices))
            for index, delta in enumerate(each)
            if delta is not None
        )
        closing = [Event(chunk(index, {}, _finish_reason(each))) for index, each in enumerate(choices)]
        if script.usage_in == "finish":
            index = len(choices) - 1
            closing[-1] = Event(chunk(index, {}, _finish_reason(choices[-1]), usage=usage), usage=usage)
        elif script.usage_in == "tail" and (asked or script.usage_always):
            closing.append(Event(dump({**envelope, "choices": [], "usage": usage}), usage=usage))

    stops = {
        script.error_after: Event(dump(error_body(500, script.error)), last=True),
        script.break_after: Event(None, last=True),
    }
    if 0 in stops:
        yield stops[0]
        return
    yield from opening
    for count, (data, text) in enumerate(deltas, 1):
        yield Event(data, pause=script.piece_delay if count > 1 else 0.0, text=text)
        if count in stops:
            yield stops[count]
            return
    yield from closing
    yield Event("[DONE]", text=final, last=True, whole=True)


def _plain(value: object) -> dict[Any, Any]:
    if isinstance(value, Mapping):
        return dict(value)
    message = f"{value!r} is not JSON"
    raise TypeError(message)


def _envelope(script: Script, request: Mapping[str, Any], kind: str, reply_id: str, created: int) -> dict[str, Any]:
    optional = {"system_fingerprint": script.system_fingerprint, "service_tier": script.service_tier}
    return {
        "id": reply_id,
        "object": kind,
        "created": created,
        "model": script.reply_model or request.get("model"),
        **{name: value for name, value in optional.items() if value is not None},
    }


def _choices(script: Script) -> Sequence[Script]:
    return (script,) if script.choices is None else script.choices


def _text(script: Script) -> str:
    return script.text or "".join(script.pieces or ())


def _finish_reason(script: Script) -> str:
    return script.finish_reason or ("tool_calls" if script.tool_calls else "stop")


def _message(script: Script) -> dict[str, Any]:
    content = _text(script)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if not content and (script.tool_calls or script.refusal is not None) else content,
        "refusal": script.refusal,
    }
    if script.reasoning is not None:
        message["reasoning_content"] = script.reasoning
    if script.tool_calls:
        message["tool_calls"] = list(script.tool_calls)
    return message


def _deltas(script: Script) -> Iterator[dict[str, Any]]:
    yield from ({"reasoning_content": piece} for piece in _words(script.reasoning or ""))
    yield from ({"refusal": piece} for piece in _words(script.refusal or ""))
    yield from ({"content": piece} for piece in (_words(script.text) if script.pieces is None else script.pieces))
    for index, call in enumerate(script.tool_calls):
        arguments = call["function"]["arguments"]
        half = len(arguments) // 2
        head = {**call, "index": index, "function": {**call["function"], "arguments": arguments[:half]}}
        yield {"tool_calls": [head]}
        yield {"tool_calls": [{"index": index, "function": {"arguments": arguments[half:]}}]}


def _words(text: str) -> list[str]:
    """Split into words, each with the white space before it; the pieces join to the text."""
    return re.findall(r"\s*\S+|\s+\Z", text)


def _asks_for_usage(request: Mapping[str, Any]) -> bool:
    options = request.get("stream_options")
    return isinstance(options, dict) and options.get("include_usage") is True


def _usage(script: Script, request: Mapping[str, Any]) -> Mapping[str, Any]:
    if script.usage is not None:
        return script.usage
    prompt = sum(len(text.split()) for text in _prompt_texts(request))
    completion = 0
    for choice in _choices(script):
        texts = [_text(choice), choice.reasoning or "", choice.refusal or ""]
        texts += [call["function"]["arguments"] for call in choice.tool_calls]
        completion += sum(len(text.split()) for text in texts)
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def _prompt_texts(request: Mapping[str, Any]) -> Iterator[str]:
    messages = request.get("messages")
    for message in messages if isinstance(messages, list) else ():
        content = message.get("content") if isinstance(message, Mapping) else None
        for part in content if isinstance(content, list) else [content]:
            text = part.get("text") if isinstance(part, Mapping) else part
            if isinstance(text, str):
                yield text
