"""
The texts of a stream of the Responses API, by their places in its output, and what `map_chunks` let through of each.

Source of the format: the OpenAI API reference, *Responses streaming*. Each piece of a text comes in a `*.delta` event,
and the whole text once more in `*.done`, in the part, in the item and in the response that ends the stream. A change
of the pieces alone would leave the original in four events, and the SDK's `responses.stream()` would return it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import ReplyFormError
from ..flow.model import DROPPED
from .accumulator import read_chunks
from .choice import KINDS, replaced
from .chunk_changes import paired, parts_of_call
from .fields import data_of
from .openai_responses import ARGUMENTS, tool_call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ..flow.model import Chunk

__all__ = ["ResponseTexts"]

_Key = tuple[str, str, int, int]
"""Kind, part of the item, `output_index`, and index in that part."""
_CONTENT, _SUMMARY = "content", "summary"
_OF_PART = {
    "output_text": ("text", "text"),
    "refusal": ("refusal", "refusal"),
    "reasoning_text": ("text", "reasoning"),
    "summary_text": ("text", "reasoning"),
    "text": ("text", "reasoning"),
}
"""By the type of a part: the key of its text, and which kind of text that is."""
_OF_CALL = ("arguments", "input", "code")
"""Keys of the arguments of a call that are a text; those of the provider's other tools are objects."""
_DONE = {
    "output_text": ("text", "text", _CONTENT),
    "refusal": ("refusal", "refusal", _CONTENT),
    "reasoning_text": ("text", "reasoning", _CONTENT),
    "reasoning_summary_text": ("text", "reasoning", _SUMMARY),
    **{name: (name.rpartition("_")[2], "arguments", "") for name in ARGUMENTS},
}
"""By the name of a text in the types of its events: its key in the `done` one, its kind, and the part of the item."""


class _Place(NamedTuple):
    """A text in an event."""

    key: _Key
    path: tuple[str | int, ...]
    text: str
    is_piece: bool = False


class _Known:
    """One text of the output: what the provider sent of it, and what went on."""

    __slots__ = ("passed", "sent")

    def __init__(self) -> None:
        self.sent = self.passed = ""


def _index(value: Any) -> int:
    return value if type(value) is int else 0


def _in_part(part: Any, output: int, where: str, number: int, path: tuple[str | int, ...]) -> Iterator[_Place]:
    data = data_of(part)
    name, kind = _OF_PART.get(data.get("type") or "", ("", ""))
    text = data.get(name)
    if isinstance(text, str):
        yield _Place((kind, where, output, number), (*path, name), text)


def _arguments_of(item: Any) -> str:
    """Return the key under which a call has its arguments as a text, "" if it has none."""
    data = data_of(item)
    return next((name for name in _OF_CALL if isinstance(data.get(name), str)), "")


def _in_item(item: Any, output: int, path: tuple[str | int, ...]) -> Iterator[_Place]:
    data = data_of(item)
    if tool_call(data) is not None and isinstance(data.get("name"), str):
        yield _Place(("name", "", output, 0), (*path, "name"), data["name"])
    for where in (_SUMMARY, _CONTENT):
        parts = data.get(where)
        for number, part in enumerate(parts if isinstance(parts, list) else ()):
            yield from _in_part(part, output, where, number, (*path, where, number))
    name = _arguments_of(item)
    if name and tool_call(data) is not None:
        yield _Place(("arguments", "", output, 0), (*path, name), data[name])


def _is_begun(event: Mapping[str, Any]) -> bool:
    """Return True for the event with which an item or a part begins."""
    kind = event.get("type")
    return isinstance(kind, str) and kind.endswith(".added")


def _items(event: Mapping[str, Any]) -> list[tuple[int, Any]]:
    """Return the items that an event, or a whole response, holds, with their indexes in the output."""
    if event.get("item") is not None:
        return [(_index(event.get("output_index")), event["item"])]
    items = (event if event.get("object") == "response" else data_of(event.get("response"))).get("output")
    return list(enumerate(items)) if isinstance(items, list) else []


def _places(event: Mapping[str, Any]) -> Iterator[_Place]:
    """Yield where an event, or a whole response, has texts of the output."""
    kind, output = event.get("type"), _index(event.get("output_index"))
    of_response = ("output",) if event.get("object") == "response" else ("response", "output")
    for number, item in _items(event):
        path = ("item",) if event.get("item") is not None else (*of_response, number)
        yield from _in_item(item, number, path)
    if not isinstance(kind, str):
        return
    where = _SUMMARY if "summary" in kind else _CONTENT
    number = _index(event.get(f"{where}_index"))
    yield from _in_part(event.get("part"), output, where, number, ("part",))
    name, _, end = kind.removeprefix("response.").rpartition(".")
    if name not in _DONE or end not in ("delta", "done"):
        return
    key, said, where = _DONE[name]
    key = "delta" if end == "delta" else key
    if isinstance(event.get(key), str):
        yield _Place((said, where, output, number if where else 0), (key,), event[key], is_piece=end == "delta")


class ResponseTexts:
    """The texts of one stream."""

    __slots__ = ("_changes", "_known")

    def __init__(self, *, changes: bool) -> None:
        """
        Begin a stream.

        Args:
            changes: Whether the taps may change what passes.
        """
        self._changes = changes
        self._known: dict[_Key, _Known] = {}

    def apply(self, raw: Any, show: Callable[[Chunk], Any]) -> Any:
        """
        Show what is new in an event, and write what was let through into what it repeats.

        Args:
            raw: The event.
            show: Returns the chunk that the taps made of one, or `DROPPED`.

        Returns:
            The event that goes on, or `DROPPED`.

        Raises:
            ReplyFormError: The event has no place for what the taps put in.
        """
        event, out = data_of(raw), raw
        new: list[_Place] = []
        for place in _places(event):
            known = None if place.is_piece else self._find(place)
            if _is_begun(event) and place.key[0] != "name":
                # xAI begins an item with all of its text, which comes once more in pieces or with the end of it. No tap
                # has seen that text by now, so it is taken out, as OpenAI begins its items.
                out = _put(out, place, "") if place.text and self._changes else out
            elif known is None:
                new.append(place)
            elif known.passed != known.sent:
                out = _put(out, place, known.passed)
        shown = self._view(raw, event, {place.key for place in new if place.text})
        chunk = show(shown)
        if chunk is DROPPED:
            for place in new:
                self._note(place, "")
            return DROPPED
        wanted = _Wanted(shown, chunk)
        for place in new:
            text = wanted.text_of(place)
            self._note(place, text)
            if text != place.text:
                out = _put(out, place, text)
        wanted.check(raw)
        return out

    def _find(self, place: _Place) -> _Known | None:
        """Return what is known of a text that an event repeats, `None` if it has not come before."""
        known = self._known.get(place.key)
        if known is not None or not place.text:
            return known
        # A server that numbers its events otherwise than the items of its response sends the same text.
        same = (one for key, one in self._known.items() if key[0] == place.key[0] and one.sent == place.text)
        return next(same, None)

    def _note(self, place: _Place, passed: str) -> None:
        if place.text or passed:
            known = self._known.setdefault(place.key, _Known())
            known.sent += place.text
            known.passed += passed

    def _view(self, raw: Any, event: Mapping[str, Any], new: set[_Key]) -> Chunk:
        """
        Return an event as taps see it: with those of its texts that have not come before.

        Args:
            raw: The event.
            event: Its fields.
            new: The places of these texts.
        """
        (chunk,) = read_chunks(raw)
        texts = [] if _is_begun(event) else [place for place in _places(event) if place.key in new]
        said: dict[str, Any] = {kind: "".join(one.text for one in texts if one.key[0] == kind) for kind in KINDS}
        calls: dict[int, dict[str, Any]] = {}
        for index, item in _items(event):
            call = tool_call(data_of(item))
            if call is not None and self._is_news(event, index, item, new):
                calls[index] = {"index": index, **call, "function": {**call["function"]}}
                if ("arguments", "", index, 0) not in new and (_arguments_of(item) or _is_begun(event)):
                    calls[index]["function"]["arguments"] = ""
        for place in texts:
            if place.key[0] == "arguments" and place.key[2] not in calls:
                function = {"name": None, "arguments": place.text}
                calls[place.key[2]] = {"index": place.key[2], "id": None, "type": "function", "function": function}
        return chunk.replace(**said, tool_calls=tuple(calls.values()))

    def _is_news(self, event: Mapping[str, Any], index: int, item: Any, new: set[_Key]) -> bool:
        """Return True if taps have not seen a call, or not its arguments."""
        if not new.isdisjoint((("name", "", index, 0), ("arguments", "", index, 0))):
            return True
        if _arguments_of(item):
            return False
        # The provider's own tools have an object as arguments: there at the beginning or when the item is done.
        key = ("begun" if _is_begun(event) else "done", "", index, 0)
        is_new = key not in self._known
        self._known.setdefault(key, _Known())
        return is_new


class _Wanted:
    """What the taps made of the texts that one event brings."""

    def __init__(self, shown: Chunk, chunk: Chunk) -> None:
        self._texts: dict[str, str] = {
            kind: getattr(chunk, kind) for kind in KINDS if getattr(chunk, kind) != getattr(shown, kind)
        }
        self._calls: dict[tuple[int, str], str] = {}
        self._refused = ""
        pairs = paired(shown.tool_calls, chunk.tool_calls)
        if pairs is None:
            self._refused = "another tool call"
        for call, other in pairs or ():
            before = parts_of_call(call)
            after = {"arguments": ""} if other is None else parts_of_call(other)
            if other is None and before["name"]:
                self._refused = "one tool call less; drop the chunk"
            for name, value in after.items():
                if value is not None and value != before[name]:
                    self._calls[call["index"], name] = value

    def text_of(self, place: _Place) -> str:
        """Return the text for a place: the first of a kind has the whole of what was changed, the others none."""
        kind, _, output, _ = place.key
        if kind in self._texts:
            text = self._texts[kind]
            self._texts[kind] = ""
            return text
        return self._calls.pop((output, kind), place.text)

    def check(self, raw: Any) -> None:
        """Refuse what no place has taken."""
        kinds = [kind for kind, text in self._texts.items() if text]
        refused = self._refused or (f"another {kinds[0]}" if kinds else "")
        if not refused and self._calls:
            refused = f"another {min(name for _, name in self._calls)} of its tool call"
        if refused:
            msg = f"map_chunks: a chunk of type {type(raw).__name__} has no place for {refused}"
            raise ReplyFormError(msg)


def _put(raw: Any, place: _Place, text: str) -> Any:
    """Return a copy of an event with another text, without the probabilities of the tokens of the former one."""
    raw = replaced(raw, text, *place.path)
    holder: Any = raw
    for name in place.path[:-1]:
        holder = holder[name] if isinstance(name, int) else data_of(holder).get(name)
    if data_of(holder).get("logprobs"):
        raw = replaced(raw, [], *place.path[:-1], "logprobs")
    return raw
