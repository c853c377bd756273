"""
Plain values: strings, dicts, tuples, message objects and the events of hand-written generators.

What carries text is looked for under the names that such code uses (`text`, `content`, `delta`,
`output`); nothing is assumed beyond that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..flow.model import Chunk, Reply
from ..flow.outcome import outcome_of
from .choice import Choice, new_reply, replaced
from .failure import failure_in
from .fields import data_of
from .usage import read_usage, read_usage_and_cost, usage_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .choice import StreamContent

__all__ = ["feed", "read_value", "render_chunk", "says"]

_TEXT = ("text", "content", "delta", "output_text", "output", "answer", "response")
_LAST = ("done", "final", "completed")
"""Ends of the types of events that repeat what was said before them; some hold a message of their own."""
_SPEAKER = ("model", "source", "agent", "label")
"""Keys under which events name whose text they carry."""
_SCALARS = int | float | None
_MARGIN = 1000
"""Characters before the end of a text in which an event that repeats a part of it is looked for, however short."""
_SHARE = 64
"""How many times longer a text may be than an event that repeats an earlier part of it."""


def _find_text(data: Mapping[str, Any], depth: int = 2) -> str | None:
    """Return the text among the fields of an object, the first that is not empty; `None` if no known name holds one."""
    empty: str | None = None
    for name in _TEXT:
        value = data.get(name)
        if isinstance(value, str):
            if value:
                return value
            empty = value
        elif isinstance(value, list):
            parts: list[Any] = [part if isinstance(part, str) else data_of(part).get("text") for part in value]
            if parts and all(isinstance(part, str) for part in parts):
                return "".join(parts)
        elif value is not None and depth and not callable(value) and not isinstance(value, _SCALARS):
            found = _find_text(data_of(value), depth - 1)
            if found:
                return found
            empty = found if found is not None else empty
    return empty


def says(data: Mapping[str, Any]) -> bool:
    """Return True if the fields of an object hold a text under one of the names that hand-written code uses."""
    return bool(_find_text(data))


def _speaker(data: Mapping[str, Any]) -> str | None:
    for name in _SPEAKER:
        value = data.get(name)
        if isinstance(value, str) and value:
            return value
    return None


def _is_result(gathered: StreamContent, kind: tuple[type, Any], text: str, pieces: list[str]) -> bool:
    """
    Return True if a chunk says once more what the stream has said: its last event, or the whole as an object.

    Args:
        gathered: The stream so far.
        kind: Class and `type` of the chunk.
        text: The text of the chunk.
        pieces: The pieces of text before it.
    """
    if not any(pieces):
        return False
    # This is asked of every chunk, so it may take no longer than the chunk is: the whole is looked at only where
    # its length is in proportion.
    if isinstance(kind[1], str) and kind[1].endswith(_LAST):
        if text.strip() in _end_of(pieces, 2 * len(text) + _MARGIN):
            return True
        if gathered.length_of(pieces) > _SHARE * len(text):
            return False
        whole = "".join(pieces)
        return text.strip() in whole or whole.strip() in text
    # A generator that yields pieces and then its result would have its text twice in the record. A lone piece may be
    # said twice, but not by another class.
    if len(pieces) == 1 and gathered.kind_of_first == kind:
        return False
    return (
        len(text) >= len(pieces)
        and text.startswith(pieces[0])
        and gathered.length_of(pieces) == len(text)
        and text == "".join(pieces)
    )


def _end_of(pieces: list[str], length: int) -> str:
    """Return the last of some pieces, so many characters of them or more."""
    found: list[str] = []
    for piece in reversed(pieces):
        found.append(piece)
        length -= len(piece)
        if length <= 0:
            break
    return "".join(reversed(found))


def _parts(data: Mapping[str, Any]) -> tuple[str | None, Any, str | None]:
    """Return the text, the tool calls and the finish reason among the fields of an object."""
    # LangChain's chunks hold the pieces next to what they make so far.
    calls = data.get("tool_call_chunks") or data.get("tool_calls")
    finish = data.get("finish_reason")
    return (
        _find_text(data),
        calls if isinstance(calls, list | tuple) else (),
        finish if isinstance(finish, str) else None,
    )


def _in_openai_form(call: Any) -> Any:
    """Return a tool call in OpenAI's form; one that is in it stays as it is."""
    data = data_of(call)
    if data.get("function") is not None or data.get("args") is None:
        return call
    one = Choice(0)
    one.add_tool_call(call)
    return one.calls()[0]


def _feed_tuple(gathered: StreamContent, chunk: tuple[Any, ...]) -> bool:
    """Take a tuple in: an event with what is said of it, a text with its tokens, or a name and a text."""
    others = [item for item in chunk if not isinstance(item, str | _SCALARS)]
    for item in others:
        # An event, or a message, has the text. The texts next to it say which kind of event it is.
        if isinstance(item, tuple) or _find_text(data_of(item)) is not None:
            return feed(gathered, item)
    texts = [(place, item) for place, item in enumerate(chunk) if isinstance(item, str)]
    took = False
    for item in others:  # the usage, for example
        took = feed(gathered, item) or took
    if len(texts) > 1 and not gathered.is_single:
        return _add_to_columns(gathered, texts)
    return feed(gathered, texts[-1][1]) if texts else took


def _add_to_columns(gathered: StreamContent, items: Iterable[tuple[object, Any]]) -> bool:
    """Keep texts of which it is not known yet whether they are a name or a piece; `False` if there is none."""
    found = [(place, item) for place, item in items if isinstance(item, str)]
    for place, item in found:
        gathered.columns.setdefault(place, []).append(item)
    return bool(found)


def feed(gathered: StreamContent, chunk: Any) -> bool:
    """Take one chunk in; `False` if nothing in it is understood."""
    if chunk is None:
        return True
    if isinstance(chunk, tuple):
        return _feed_tuple(gathered, chunk)
    if isinstance(chunk, str):
        (gathered.choice_of_speaker(None) if gathered.speakers else gathered.choice(0)).text.append(chunk)
        return True
    data = data_of(chunk)
    text, calls, finish = _parts(data)
    usage, _ = usage_in(data)
    has_usage = usage is not None and read_usage(usage) is not None
    if has_usage:
        gathered.usage = usage
    if finish is not None:
        gathered.choice(0).finish_reason = finish
    for call in calls:
        gathered.choice(0).add_tool_call(call)
    kind = type(chunk), data.get("type")
    if text is None:
        if has_usage or finish is not None or calls or isinstance(kind[1], str):
            return True
        return type(chunk) is dict and len(chunk) == 1 and _add_to_columns(gathered, chunk.items())
    speaker = _speaker(data)
    is_alone = speaker is None and not gathered.speakers
    pieces = (gathered.choice(0) if is_alone else gathered.choice_of_speaker(speaker)).text
    if not _is_result(gathered, kind, text, pieces) and (text or not pieces):
        if not any(pieces):
            gathered.kind_of_first = kind
        if text:
            gathered.forgive()
        pieces.append(text)
    return True


def read_value(value: Any, data: Mapping[str, Any], raw: Any) -> Reply | None:
    """
    Read a value in one piece; `None` if nothing in it is understood.

    Args:
        value: The value, or the JSON of a raw response.
        data: Its fields.
        raw: What the function returned.
    """
    if value is None:
        return new_reply(raw=raw)
    if isinstance(value, str):
        return new_reply(value, raw=raw)
    if isinstance(value, BaseException):
        # Nothing was raised, and yet it failed: a reference that returns its failure, for
        # `gather(return_exceptions=True)` or by hand.
        return Reply(outcome=outcome_of(value), error=value, source="provider", raw=raw)
    text, calls, finish = _parts(data)
    raw_usage, is_beside = usage_in(data)
    usage, cost = (None, None) if raw_usage is None else read_usage_and_cost(raw_usage)
    # A program's own result may have a text for its reader under `error`, next to what else it says.
    is_own_text = type(value) is dict and value is raw and len(data) > 1 and type(data.get("error")) is str
    failure = None if text or calls or is_own_text else failure_in(data.get)
    if text is None and usage is None and not calls and failure is None:
        return None
    return new_reply(
        text,
        tokens=(usage, cost),
        # The words of an error are not the reply's, so no other reader shall look for a text in it.
        details={"usage_raw": raw_usage, "counts": is_beside, **({} if failure is not None else {"plain": True})},
        raw=raw,
        error=failure,
        tool_calls=tuple(map(_in_openai_form, calls)),
        finish_reason=finish,
    )


def render_chunk(raw: Any, chunk: Chunk) -> Any:
    """Return a raw chunk with another text, `None` where its form has no place for one."""
    if isinstance(raw, str):
        return chunk.text
    way = _way_to_text(raw) if isinstance(raw, dict) else None
    if way is None:
        return None
    return replaced(raw, chunk.text, *way)


def _way_to_text(data: Mapping[str, Any], depth: int = 2) -> tuple[str, ...] | None:
    """Return the keys on the way to the text that `_find_text` finds in dicts, or to an empty text."""
    empty: tuple[str, ...] | None = None
    for name in _TEXT:
        value = data.get(name)
        way: tuple[str, ...] | None = None
        if isinstance(value, str):
            way = (name,)
        elif isinstance(value, dict) and depth:
            inner = _way_to_text(value, depth - 1)
            way, value = (None, None) if inner is None else ((name, *inner), _at(value, inner))
        if way is not None and value:
            return way
        empty = way if empty is None else empty
    return empty


def _at(data: Mapping[str, Any], way: tuple[str, ...]) -> Any:
    value: Any = data
    for name in way:
        value = value[name]
    return value
