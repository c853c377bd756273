"""
What a reply of Gemini's holds next to its text: grounding, parts of other kinds, ratings, log probabilities.

Source of the format: the Gemini API reference, *Generating content* (`Candidate`, `Part`, `GroundingMetadata`,
`CitationMetadata`, `LogprobsResult`, `SafetyRating`). The SDK has `snake_case` and the JSON `camelCase`; the record has
the SDK's names.
"""

from __future__ import annotations

import base64
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from .excerpt import copied, digest_of, is_blank
from .fields import data_of
from .items import items_of, listed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .choice import Choice

    Data = Mapping[str, Any]

__all__ = ["data_in", "take_candidate", "take_facts", "take_part"]

_READ_OF_PART = frozenset({"text", "thought", "function_call"})
_READ_OF_CALL = frozenset({"id", "name", "args"})
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
_GROUNDING = "gemini_grounding"
"""In the details of a reply: by choice, the sources and the supports that its chunks have named so far."""


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
        item.start, item.length = sum(map(len, choice.text)), len(text)
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
            for one in listed(fields.get("citations") or fields.get("citation_sources")):
                made = {key: _copied(item, key) for key, item in data_in(one).items() if item is not None}
                span = _span(made, 0, "".join(choice.text))
                rest = made if span is None else {**made, "start_index": span[0], "end_index": span[1]}
                place = (made.get("start_index"), made.get("end_index"), made.get("uri"))
                items_of(details).item((choice.index, name), choice.index).add_citation(rest, place=place)
        elif name == "safety_ratings":
            items_of(details).add_filter(name, _copied(value), choice.index)
        elif name == "avg_logprobs":
            items_of(details).logprobs.setdefault(choice.index, {})[name] = value
        elif name == "logprobs_result":
            known = items_of(details).logprobs.setdefault(choice.index, {})
            for kind, found in data_of(_copied(value)).items():
                known[kind] = [*known.get(kind, ()), *found] if isinstance(found, list) else found
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


# Grounding. -----------------------------------------------------------------------------------------


def _take_grounding(details: dict[str, Any], choice: Choice, metadata: Data, parts: Any) -> None:
    """Take in the sources of a candidate, and which piece of its text each supports."""
    chunks, supports = details.setdefault(_GROUNDING, {}).setdefault(choice.index, ([], {}))
    sources = listed(metadata.get("grounding_chunks"))
    if sources:
        # Chunks of a stream repeat the list, and it grows.
        chunks[: len(sources)] = [_source(one) for one in sources]
    text, starts = "".join(choice.text), _starts(choice, parts)
    for one in listed(metadata.get("grounding_supports")):
        support = _copied(one)
        if not isinstance(support, dict):
            continue
        segment = data_of(support.get("segment"))
        key = tuple(segment.get(name) or 0 for name in ("part_index", "start_index", "end_index"))
        supports[key] = (support, _place(segment, text, starts))
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
    item.citations.clear()
    cited = set()
    for support, span in supports.values():
        scores = listed(support.get("confidence_scores"))
        for place, number in enumerate(listed(support.get("grounding_chunk_indices"))):
            if type(number) is not int or not 0 <= number < len(chunks):
                continue
            cited.add(number)
            known = (
                {"segment": support.get("segment")} if span is None else {"start_index": span[0], "end_index": span[1]}
            )
            score = {"confidence_score": scores[place]} if place < len(scores) else {}
            item.add_citation({**chunks[number], **score, **known})
    for number, source in enumerate(chunks):
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
    """Return the characters of the text before each of the parts that came with it."""
    lengths = []
    for part in parts:
        fields = data_in(part)
        text = fields.get("text")
        lengths.append(len(text) if isinstance(text, str) and fields.get("thought") is not True else 0)
    start = sum(map(len, choice.text)) - sum(lengths)
    return [start + sum(lengths[:number]) for number in range(len(lengths))]


def _place(segment: Data, text: str, starts: list[int]) -> tuple[int, int] | None:
    """
    Return the place of a segment in a text, in characters; `None` if it is not known.

    The API counts in bytes of UTF-8 from the start of a part; of a stream, whose parts are pieces, from that of the
    whole text. So the text that the segment quotes has to be there.
    """
    number = segment.get("part_index") or 0
    quoted = segment.get("text")
    for start in {starts[number] if type(number) is int and 0 <= number < len(starts) else 0, 0}:
        span = _span(segment, start, text)
        if span is not None and (quoted is None or text[span[0] : span[1]] == quoted):
            return span
    return None


def _span(holder: Data, start: int, text: str) -> tuple[int, int] | None:
    """Return `start_index` and `end_index`, which count bytes, as characters of a text; the first is missing if it is 0."""
    begin, end = holder.get("start_index") or 0, holder.get("end_index")
    if type(begin) is not int or type(end) is not int or not 0 <= begin <= end:
        return None
    data = text[start:].encode("utf-8", "surrogatepass")
    if end > len(data):
        return None
    before, inside = (data[a:b].decode("utf-8", "replace") for a, b in ((0, begin), (begin, end)))
    return start + len(before), start + len(before) + len(inside)
