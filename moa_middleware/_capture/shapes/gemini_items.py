"""
What a reply of Gemini's holds next to its text: grounding, parts of other kinds, ratings, log probabilities.

Source of the format: the Gemini API reference, *Generating content* (`Candidate`, `Part`, `GroundingMetadata`,
`CitationMetadata`, `LogprobsResult`, `SafetyRating`). The SDK has `snake_case` and the JSON `camelCase`; the record has
the SDK's names.
"""

from __future__ import annotations

import base64
import re
from array import array
from bisect import bisect_left
from functools import lru_cache, partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from .excerpt import copied, digest_of, is_blank
from .fields import data_of
from .items import items_of, listed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .choice import Choice
    from .items import Item

    Data = Mapping[str, Any]

__all__ = ["data_in", "take_candidate", "take_facts", "take_part"]

_READ_OF_PART = frozenset({"text", "thought", "function_call"})
_READ_OF_CALL = frozenset({"id", "name", "args", "partial_args", "will_continue"})
_ABOUT_PART = frozenset({"thought_signature", "video_metadata", "media_resolution", "part_metadata"})
"""Keys that say something of the part's content, and are none."""
_PLAIN_CANDIDATE = frozenset({"content", "finish_reason", "index", "token_count"})
_PLAIN_REPLY = frozenset(
    (
        *("candidates", "create_time", "model_version", "response_id", "usage_metadata", "sdk_http_response"),
        *("automatic_function_calling_history", "parsed"),
    )
)
"""Keys that other keys of the record have, or that the SDK has made."""
_FREE = frozenset({"args", "response", "part_metadata", "custom_metadata"})
"""Keys of objects whose own keys are a caller's, and are left as they are."""
_CAPITAL = re.compile(r"(?<=[a-z0-9])([A-Z])")
_CITATIONS = "gemini_citations"
_GROUNDING = "gemini_grounding"
"""In the details of a reply: by choice, what its chunks have named so far."""


@lru_cache(maxsize=512)
def _snake(name: str) -> str:
    return _CAPITAL.sub(r"_\1", name).lower()


def data_in(obj: Any) -> Data:
    """Return the fields of an object under the SDK's names, also those of the JSON, whose names differ."""
    data = data_of(obj)
    if type(obj) is dict and not "".join(filter(_is_text, obj)).islower():
        return {_snake(key) if type(key) is str else key: item for key, item in data.items()}
    return data


def _is_text(key: object) -> bool:
    return type(key) is str


def _copied(value: Any, name: str = "") -> Any:
    """Return a copy under the SDK's names."""
    return _renamed(copied(value, name))


def _renamed(value: Any) -> Any:
    if type(value) is list:
        return [_renamed(item) for item in value]
    if type(value) is dict:
        names = ((_snake(key), item) for key, item in value.items())
        return {name: item if name in _FREE else _renamed(item) for name, item in names}
    return value


# Parts. ---------------------------------------------------------------------------------------------


def take_part(details: dict[str, Any], choice: Choice, part: Data) -> None:
    """
    Take in what a part has next to a text, a thought and the call of a function, before these are taken.

    Args:
        details: Those of the reply; they get the items, if there are any.
        choice: What the candidate has said before.
        part: The part's fields.
    """
    rest = {key: item for key, item in part.items() if key not in _READ_OF_PART and not is_blank(item)}
    call = part.get("function_call")
    further = (
        {} if call is None else {k: v for k, v in data_in(call).items() if k not in _READ_OF_CALL and v is not None}
    )
    if not rest and not further:
        return
    found = items_of(details)
    item = found.item((choice.index, "part", len(found.items)), choice.index)
    text = part.get("text")
    kind = next((key for key in rest if key not in _ABOUT_PART), "text")
    made: dict[str, Any] = {"type": kind if call is None else "function_call"}
    if call is not None:
        made["index"] = len(choice.tools)
    if part.get("thought") is True:
        made["thought"] = True
    elif isinstance(text, str):
        item.text, item.first = choice.text, len(choice.text)
        item.stop = item.first + bool(text)
    for name, value in {**rest, **further}.items():
        made[name] = _blob(value) if name == "inline_data" else _sealed(value) if name == "thought_signature" else None
        if made[name] is None:
            made[name] = _copied(value, name)
    item.part = made


def _sealed(value: Any) -> Any:
    """Return a signature as the text that the API sends, which the next request has to send back."""
    return base64.b64encode(value).decode() if isinstance(value, bytes) else None


def _blob(value: Any) -> dict[str, Any]:
    fields = data_in(value)
    kind, data = fields.get("mime_type"), fields.get("data")
    made = {name: copied(item, name, fields) for name, item in fields.items() if item is not None}
    if isinstance(data, bytes):
        made["data"] = digest_of(data, kind if isinstance(kind, str) else None)
    return made


# Candidates. ----------------------------------------------------------------------------------------


def take_candidate(details: dict[str, Any], choice: Choice, candidate: Data) -> None:
    """Take in what a candidate, or a piece of one, has next to its content, after its content is taken."""
    for name, value in candidate.items():
        if name in _PLAIN_CANDIDATE or is_blank(value):
            continue
        if name == "grounding_metadata":
            _take_grounding(details, choice, data_in(value), listed(data_in(candidate.get("content")).get("parts")))
        elif name == "citation_metadata":
            fields = data_in(value)
            _take_citations(details, choice, listed(fields.get("citations") or fields.get("citation_sources")))
        elif name == "safety_ratings":
            items_of(details).add_filter(name, _copied(value), choice.index)
        elif name == "avg_logprobs":
            items_of(details).logprobs.setdefault(choice.index, {})[name] = value
        elif name == "logprobs_result":
            known = items_of(details).logprobs.setdefault(choice.index, {})
            for kind, found in data_of(_copied(value)).items():
                if isinstance(found, list) and isinstance(known.setdefault(kind, []), list):
                    known[kind] += found
                else:
                    known[kind] = found
        else:
            items_of(details).add_piece(name, _copied(value, name), choice.index)


def take_facts(details: dict[str, Any], reply: Data) -> None:
    """Take in what a reply, or a chunk, says as a whole."""
    for name, value in reply.items():
        if name in _PLAIN_REPLY or is_blank(value) or name.startswith("_"):
            continue
        if name == "prompt_feedback":
            found = _copied(value)
            if found:
                items_of(details).add_filter(name, found)
        else:
            items_of(details).add_field(name, _copied(value, name))


# Citations and grounding. -----------------------------------------------------------------------------


def _take_citations(details: dict[str, Any], choice: Choice, given: Any) -> None:
    """Take in the citations of a candidate: their places are looked up when its text is complete."""
    known = details.setdefault(_CITATIONS, {}).setdefault(choice.index, {})
    for one in given:
        made = {key: _copied(item, key) for key, item in data_in(one).items() if item is not None}
        known[repr([made.get(name) for name in ("start_index", "end_index", "uri")])] = made
    found = items_of(details)
    item = found.item((choice.index, "citation_metadata"), choice.index)
    found.at_end[choice.index, "citation_metadata"] = partial(_add_citations, item, known, choice)


def _add_citations(item: Item, known: dict[Any, dict[str, Any]], choice: Choice) -> None:
    text = _Text(choice)
    for made in known.values():
        span = text.span(made)
        item.add_citation(made if span is None else {**made, "start_index": span[0], "end_index": span[1]})


class _Grounding(NamedTuple):
    """What the chunks of a candidate have named so far."""

    sources: list[dict[str, Any]]
    supports: dict[Any, tuple[dict[str, Any], list[int]]]
    """Each with the places of its part among the pieces of the text, by its place."""


def _take_grounding(details: dict[str, Any], choice: Choice, metadata: Data, parts: Any) -> None:
    """Take in the sources of a candidate, and which piece of its text each supports."""
    known = details.setdefault(_GROUNDING, {}).setdefault(choice.index, _Grounding([], {}))
    sources = listed(metadata.get("grounding_chunks"))
    if sources:
        # Chunks of a stream repeat the list, and it grows.
        known.sources[: len(sources)] = [_source(one) for one in sources]
    starts = _starts(choice, parts)
    for one in listed(metadata.get("grounding_supports")):
        support = _copied(one)
        if not isinstance(support, dict):
            continue
        segment = data_of(support.get("segment"))
        key = repr([segment.get(name) or 0 for name in ("part_index", "start_index", "end_index")])
        known.supports[key] = (support, starts)
    rest = {
        name: _copied(value, name)
        for name, value in metadata.items()
        if name not in ("grounding_chunks", "grounding_supports") and not is_blank(value)
    }
    found = items_of(details)
    if rest:
        found.item((choice.index, "grounding_metadata"), choice.index).part = {
            "type": "grounding_metadata",
            "grounding_metadata": rest,
        }
    item = found.item((choice.index, "grounding"), choice.index)
    found.at_end[choice.index, "grounding"] = partial(_add_grounding, item, known, choice)


def _add_grounding(item: Item, known: _Grounding, choice: Choice) -> None:
    """Add the sources as citations, each with the places that it supports, which the complete text shows."""
    text = _Text(choice)
    cited = set()
    for support, starts in known.supports.values():
        span = _place(data_of(support.get("segment")), text, starts)
        scores = listed(support.get("confidence_scores"))
        for place, number in enumerate(listed(support.get("grounding_chunk_indices"))):
            if type(number) is not int or not 0 <= number < len(known.sources):
                continue
            cited.add(number)
            at = {"segment": support.get("segment")} if span is None else {"start_index": span[0], "end_index": span[1]}
            score = {"confidence_score": scores[place]} if place < len(scores) else {}
            item.add_citation({**known.sources[number], **score, **at})
    for number, source in enumerate(known.sources):
        if number not in cited:
            item.add_citation(source)


def _source(chunk: Any) -> dict[str, Any]:
    """Return a source under names of which `citations` knows the meaning; it is one below the name of its kind."""
    kind, value = next(((name, item) for name, item in data_in(chunk).items() if item is not None), ("", None))
    fields = _copied(value, kind)
    fields = fields if isinstance(fields, dict) else {}
    if kind == "image" and isinstance(fields.get("source_uri"), str):
        fields["uri"] = fields.pop("source_uri")
    # A passage of a store of the caller's own, whatever its address is.
    return {"type": "document_citation" if kind == "retrieved_context" else kind, **fields}


def _starts(choice: Choice, parts: Any) -> list[int]:
    """Return the number of pieces of the text before each of the parts that came with it."""
    counts = []
    for part in parts:
        fields = data_in(part)
        text = fields.get("text")
        counts.append(isinstance(text, str) and bool(text) and fields.get("thought") is not True)
    return [*accumulate(counts, initial=len(choice.text) - sum(counts))]


_GOES_ON = 0b1000_0000
"""The first two bits of a byte of UTF-8 that goes on with a character."""


class _Text:
    """The text of a candidate that is complete: its places in characters, where the API counts bytes of UTF-8."""

    def __init__(self, choice: Choice) -> None:
        self.whole = "".join(choice.text)
        self.starts = [0, *accumulate(map(len, choice.text))]
        """Characters before each piece."""
        data = () if self.whole.isascii() else self.whole.encode("utf-8", "surrogatepass")
        begins = (place for place, byte in enumerate(data) if byte & 0b1100_0000 != _GOES_ON)
        self._before: Sequence[int] = array("Q", (*begins, len(data))) if data else range(len(self.whole) + 1)
        """Bytes before each character."""

    def span(self, holder: Data, start: int = 0) -> tuple[int, int] | None:
        """
        Return `start_index` and `end_index`, of which the first is missing if it is 0, as places in the text.

        Args:
            holder: What has the two, in bytes.
            start: Characters before the text in which they count.
        """
        begin, end = holder.get("start_index") or 0, holder.get("end_index")
        if type(begin) is not int or type(end) is not int or not 0 <= begin <= end:
            return None
        before = self._before
        if before[start] + end > before[-1]:
            return None
        return bisect_left(before, before[start] + begin), bisect_left(before, before[start] + end)


def _place(segment: Data, text: _Text, starts: list[int]) -> tuple[int, int] | None:
    """
    Return the place of a segment in a text, in characters; `None` if it is not known.

    The API counts in bytes of UTF-8 from the start of a part; of a stream, whose parts are pieces, from that of the
    whole text. So the text that the segment quotes has to be there.
    """
    number = segment.get("part_index") or 0
    quoted = segment.get("text")
    first = starts[number] if type(number) is int and 0 <= number < len(starts) else 0
    found = text.starts[min(first, len(text.starts) - 1)]
    for start in (found, 0) if number else (0, found):
        span = text.span(segment, start)
        if span is not None and (quoted is None or text.whole[span[0] : span[1]] == quoted):
            return span
    return None
