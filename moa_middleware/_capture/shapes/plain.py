"""
Plain values: strings, dicts, tuples, message objects and the events of hand-written generators.

What carries text is looked for under the names that such code uses (`text`, `content`, `delta`,
`output`); nothing is assumed beyond that.
"""

from __future__ import annotations

from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any

from ..flow.model import Chunk, Reply
from ..flow.outcome import outcome_of
from .choice import Choice
from .usage import read_usage

if TYPE_CHECKING:
    from .replies import Accumulator

__all__ = ["feed", "peek", "read", "render_chunk"]

_TEXT = ("text", "content", "delta", "output_text", "output", "answer", "response")
_LAST = ("done", "final", "completed")
"""Ends of the types of events that repeat what was said before them; some hold a message of their own."""
_SPEAKER = ("model", "source", "agent", "label")
"""Keys under which events name whose text they carry."""
_SCALARS = (int, float, bool, type(None))


def peek(obj: Any, name: str) -> Any:
    """
    Return a key of a dict or a data attribute of an object, `None` where it has none.

    Properties are left alone: `.text` and `.content` of an HTTP response read its body, and a
    stream that was read here would be empty for its owner.
    """
    if isinstance(obj, dict):
        return obj.get(name)
    kind = type(obj)
    if hasattr(kind, "__object_proxy__"):
        return None
    namespace = getattr(obj, "__dict__", None)
    if isinstance(namespace, dict) and name in namespace:
        return namespace[name]
    if isinstance(getattr(kind, name, None), MemberDescriptorType):
        return getattr(obj, name, None)
    return None


def _find_text(obj: Any, depth: int = 2) -> str | None:
    """Return the text of an object, the first that is not empty; `None` if no known name holds one."""
    empty: str | None = None
    for name in _TEXT:
        value = peek(obj, name)
        if isinstance(value, str):
            if value:
                return value
            empty = value
        if isinstance(value, list):
            parts = [part if isinstance(part, str) else peek(part, "text") for part in value]
            if parts and all(isinstance(part, str) for part in parts):
                return "".join(parts)
        elif value is not None and depth and not callable(value) and not isinstance(value, _SCALARS):
            found = _find_text(value, depth - 1)
            if found:
                return found
            empty = found if found is not None else empty
    return empty


def voice(acc: Accumulator, speaker: str | None) -> Choice:
    """
    Return the choice of who speaks, so that models that speak at once are not joined.

    Pieces without a name belong to the first who has one, until somebody else speaks.
    """
    known = acc.speakers
    if speaker is None and len(known) <= 1:
        index = 0
    elif speaker in known:
        index = known[speaker]
    else:
        index = known[speaker] = len(known)
    choice = acc.choice(index)
    choice.speaker = choice.speaker or speaker
    choice.spoke = max((each.spoke for each in acc.choices.values()), default=0) + 1
    choice.began = choice.began or choice.spoke
    return choice


def _speaker(chunk: Any) -> str | None:
    for name in _SPEAKER:
        value = peek(chunk, name)
        if isinstance(value, str) and value:
            return value
    return None


def _is_result(acc: Accumulator, chunk: Any, text: str, said: list[str]) -> bool:
    """Whether a chunk says once more what the stream has said: its last event, or the whole as an object."""
    if not any(said):
        return False
    kind = peek(chunk, "type")
    if isinstance(kind, str) and kind.endswith(_LAST):
        whole = "".join(said)
        return text.strip() in whole or whole.strip() in text
    # The lengths come first: this is asked of every chunk. A lone piece may be said twice, but not by another class.
    if len(said) == 1 and acc.form == _form(chunk):
        return False
    return len(text) >= len(said) and text.startswith(said[0]) and text == "".join(said)


def _form(chunk: Any) -> object:
    return type(chunk), peek(chunk, "type")


def _tool_calls(obj: Any) -> Any:
    # LangChain's chunks hold the pieces beside what they make so far.
    calls = peek(obj, "tool_call_chunks") or peek(obj, "tool_calls")
    return calls if isinstance(calls, list | tuple) else ()


def _whole(call: Any) -> Any:
    """Return a tool call in OpenAI's form; one that is in it stays as it is."""
    if peek(call, "function") is not None or peek(call, "args") is None:
        return call
    one = Choice(0)
    one.add_tool_call(call)
    return one.calls()[0]


def feed(acc: Accumulator, chunk: Any) -> bool:
    """Take one chunk in; `False` if nothing in it is understood."""
    if chunk is None:
        return True
    if isinstance(chunk, tuple):
        # (text, tokens), (event, metadata): what carries text is the first that can.
        return any(feed(acc, item) for item in chunk if not isinstance(item, _SCALARS))
    if isinstance(chunk, str):
        (voice(acc, None) if acc.speakers else acc.choice(0)).text.append(chunk)
        return True
    known = False
    usage = peek(chunk, "usage") or peek(chunk, "usage_metadata")
    if read_usage(usage) is not None:
        acc.usage = usage
        known = True
    finish = peek(chunk, "finish_reason")
    if isinstance(finish, str):
        acc.choice(0).finish_reason = finish
        known = True
    for call in _tool_calls(chunk):
        acc.choice(0).add_tool_call(call)
        known = True
    text = _find_text(chunk)
    if text is None:
        return known or isinstance(peek(chunk, "type"), str)
    speaker = _speaker(chunk)
    said = (acc.choice(0) if speaker is None and not acc.speakers else voice(acc, speaker)).text
    if not _is_result(acc, chunk, text, said) and (text or not said):
        if not any(said):
            acc.form = _form(chunk)
        said.append(text)
    return True


def read(value: Any) -> Reply | None:
    """Read a value in one piece; `None` if nothing in it is understood."""
    if value is None:
        return Reply(source="provider")
    if isinstance(value, str):
        return Reply(text=value, source="provider")
    if isinstance(value, BaseException):
        # A reference that returns its failure, for `gather(return_exceptions=True)` or by hand.
        return Reply(outcome=outcome_of(value), error=value, source="provider")
    if isinstance(value, tuple):
        for item in value:
            if isinstance(item, _SCALARS):
                continue
            found = read(item)
            if found is not None:
                return found
        return None
    text = _find_text(value)
    calls = _tool_calls(value)
    raw = peek(value, "usage") or peek(value, "usage_metadata")
    usage = read_usage(raw)
    if text is None and usage is None and not calls:
        return None
    finish = peek(value, "finish_reason")
    return Reply(
        text=text,
        tool_calls=tuple(map(_whole, calls)),
        finish_reason=finish if isinstance(finish, str) else None,
        usage=usage,
        source="provider",
        _details={"usage_raw": raw},
    )


def render_chunk(raw: Any, chunk: Chunk) -> Any:
    """Return a raw chunk with another text, `None` where its form has no place for one."""
    if isinstance(raw, str):
        return chunk.text
    if isinstance(raw, dict):
        for name in _TEXT:
            if isinstance(raw.get(name), str):
                return {**raw, name: chunk.text}
    return None
