"""
Chunks of chat completions with what a middleware changed: each kind of content where the server had put it.

`openai_chat` reads them and names the servers that differ. What a server sends in two places is changed in both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .choice import replaced
from .chunk_changes import paired, parts_of_call
from .fields import get
from .tool_calls import json_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..flow.model import Chunk
    from .choice import Choice

__all__ = ["render_chunk", "with_said"]


def _places(delta: Any) -> dict[str, tuple[tuple[str, ...], ...]]:
    """Return where a delta has its text, its reasoning and its refusal; each as the way to it."""
    spoken = not get(delta, "content") and isinstance(get(get(delta, "audio"), "transcript"), str)
    thoughts = [(name,) for name in ("reasoning_content", "reasoning") if isinstance(get(delta, name), str)]
    return {
        "text": (("audio", "transcript"),) if spoken else (("content",),),
        "refusal": (("refusal",),),
        "reasoning": tuple(thoughts) or (("reasoning_content",),),
    }


def _with_text(details: Sequence[Any], text: str) -> list[Any]:
    """Return the details of a reasoning with another text: in the first that has one, and none in the others."""
    made = []
    for detail in details:
        name = next((name for name in ("text", "summary") if isinstance(get(detail, name), str)), None)
        made.append(detail if name is None else replaced(detail, text, name))
        text = text if name is None else ""
    return made


def _with_calls(calls: Sequence[Any], wanted: Sequence[Any]) -> list[Any]:
    """Return the tool calls of a delta with what a middleware made of their ids, names and arguments."""
    made = []
    for call, other in paired(calls, wanted) or ():
        if other is None:
            continue
        is_custom = get(call, "function") is None and get(call, "custom") is not None
        holder, last = ("custom", "input") if is_custom else ("function", "arguments")
        said = parts_of_call(other)
        for value, way in (
            (said["id"], ("id",)),
            (said["name"], (holder, "name")),
            (said["arguments"], (holder, last)),
        ):
            before = get(call, way[0]) if len(way) == 1 else get(get(call, holder), way[1])
            if value is not None and value != (before if isinstance(before, str | None) else json_text(before)):
                call = replaced(call, value, *way)  # noqa: PLW2901 - a copy of it
        made.append(call)
    return made


def with_said(raw: Any, choices: Mapping[int, Choice]) -> Any:
    """
    Return a copy of a chunk whose messages next to the deltas (Perplexity sends them) have the text let through so far.

    Args:
        raw: The chunk.
        choices: What was let through of each, this chunk included.
    """
    for place, item in enumerate(get(raw, "choices") or ()):
        content = get(get(item, "message"), "content") if get(item, "delta") is not None else None
        if not content:
            continue
        choice = choices.get(get(item, "index") or 0)
        text = "" if choice is None else choice.joined("text") or ""
        if content != text:
            raw = replaced(raw, text, "choices", place, "message", "content")
    return raw


def render_chunk(raw: Any, chunk: Chunk) -> Any:
    """Return a copy of a raw chunk with the text, reasoning, refusal and tool calls of a changed one."""
    for place, item in enumerate(get(raw, "choices") or ()):
        if (get(item, "index") or 0) == chunk.choice:
            whole = get(item, "delta") is None
            if whole and get(item, "message") is None:
                return replaced(raw, chunk.text, "choices", place, "text")
            holder = "message" if whole else "delta"
            at: tuple[str | int, ...] = ("choices", place, holder)
            delta = get(item, holder)
            details = get(delta, "reasoning_details")
            for kind, ways in _places(delta).items():
                text = getattr(chunk, kind)
                for way in ways:
                    # A server that has the reasoning in the details alone gets it back there.
                    is_in_details = kind == "reasoning" and isinstance(details, list) and not get(delta, way[0])
                    if get(delta, way[0]) or (text and not is_in_details):
                        raw = replaced(raw, text, *at, *way)
            if isinstance(details, list):
                raw = replaced(raw, _with_text(details, chunk.reasoning), *at, "reasoning_details")
            calls = get(delta, "tool_calls")
            if isinstance(calls, list | tuple) and calls:
                raw = replaced(raw, _with_calls(calls, chunk.tool_calls), *at, "tool_calls")
            elif get(delta, "function_call") is not None and len(chunk.tool_calls) == 1:
                said = parts_of_call(chunk.tool_calls[0])
                for name in ("name", "arguments"):
                    if said[name] is not None and said[name] != (get(get(delta, "function_call"), name) or ""):
                        raw = replaced(raw, said[name], *at, "function_call", name)
            if not whole and get(item, "text"):  # Together's, which has it twice
                raw = replaced(raw, chunk.text, "choices", place, "text")
            if get(item, "logprobs") is not None:
                # They quote the tokens of what was there before.
                raw = replaced(raw, None, "choices", place, "logprobs")
            break
    return raw
