"""
Plain values: strings, dicts, tuples, message objects and the events of hand-written generators.

What carries text is looked for under the names that such code uses (`text`, `content`, `delta`,
`output`); nothing is assumed beyond that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._call import Chunk, Reply
from .usage import get, read_usage

if TYPE_CHECKING:
    from .reply import Accumulator

__all__ = ["feed", "read", "render_chunk"]

_TEXT = ("text", "content", "delta", "output_text", "output", "answer", "response")
_SCALARS = (int, float, bool, type(None))


def _find_text(obj: Any, depth: int = 2) -> str | None:
    """Return the text of an object, `None` if it shows none under a known name."""
    for name in _TEXT:
        value = get(obj, name)
        if isinstance(value, str):
            return value
        if isinstance(value, list):
            parts = [part if isinstance(part, str) else get(part, "text") for part in value]
            if parts and all(isinstance(part, str) for part in parts):
                return "".join(parts)
        elif value is not None and depth and not callable(value) and not isinstance(value, _SCALARS):
            found = _find_text(value, depth - 1)
            if found is not None:
                return found
    return None


def _tool_calls(obj: Any) -> Any:
    calls = get(obj, "tool_calls")
    return calls if isinstance(calls, list | tuple) else ()


def feed(acc: Accumulator, chunk: Any) -> bool:
    """Take one chunk in; `False` if nothing in it is understood."""
    if chunk is None:
        return True
    if isinstance(chunk, tuple):
        # (text, tokens), (event, metadata): what carries text is the first that can.
        return any(feed(acc, item) for item in chunk if not isinstance(item, _SCALARS))
    if isinstance(chunk, str):
        acc.choice(0).text.append(chunk)
        return True
    known = False
    usage = get(chunk, "usage") or get(chunk, "usage_metadata")
    if read_usage(usage) is not None:
        acc.usage = usage
        known = True
    finish = get(chunk, "finish_reason")
    if isinstance(finish, str):
        acc.choice(0).finish_reason = finish
        known = True
    for call in _tool_calls(chunk):
        acc.choice(0).add_tool_call(call)
        known = True
    text = _find_text(chunk)
    if text is None:
        return known or isinstance(get(chunk, "type"), str)
    acc.choice(0).text.append(text)
    return True


def read(value: Any) -> Reply | None:
    """Read a value in one piece; `None` if nothing in it is understood."""
    if value is None:
        return Reply(source="provider")
    if isinstance(value, str):
        return Reply(text=value, source="provider")
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
    raw = get(value, "usage") or get(value, "usage_metadata")
    usage = read_usage(raw)
    if text is None and usage is None and not calls:
        return None
    finish = get(value, "finish_reason")
    return Reply(
        text=text,
        tool_calls=tuple(calls),
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
