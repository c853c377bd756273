"""
What a reply of Cohere's holds next to its text: citations with their sources, and log probabilities.

Source of the format: Cohere's API reference, *Chat* and *Chat with streaming* of both versions.
"""

from __future__ import annotations

from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from .excerpt import copied
from .fields import data_of
from .items import items_of, listed, word_of

if TYPE_CHECKING:
    from .choice import Choice
    from .items import Item

__all__ = ["add_documents", "begin_block", "take_citations", "take_logprobs", "take_search"]

_STARTS = "cohere_starts"
"""In the details of a reply: pieces of its text before each block, by the block's place in the message."""
_DOCUMENTS = "cohere_documents"
"""In the details of a reply of version 1: documents by their ids."""
_FOUND = "cohere_found"
"""In the details of a reply of version 1: ids of the documents that a search found, in their order."""
_CITATIONS = "cohere_citations"
"""In the details of a reply: citations as they came, until its text is complete."""


def begin_block(details: dict[str, Any], choice: Choice, index: Any) -> None:
    """Note where a block of the content begins."""
    if type(index) is int:
        details.setdefault(_STARTS, {})[index] = len(choice.text)


def add_documents(details: dict[str, Any], documents: Any) -> None:
    """Note the documents that citations of version 1 name by their ids."""
    for one in listed(documents):
        fields = data_of(copied(one))
        if isinstance(fields.get("id"), str):
            details.setdefault(_DOCUMENTS, {})[fields["id"]] = dict(fields)


def take_search(details: dict[str, Any], choice: Choice, results: Any) -> None:
    """Note what searches of version 1 found: what no citation names is a source of the whole reply."""
    ids = [word_of(name) for one in listed(results) for name in listed(data_of(one).get("document_ids"))]
    if ids:
        details.setdefault(_FOUND, {}).update(dict.fromkeys(filter(None, ids)))
        _at_end(details, choice)


def take_citations(details: dict[str, Any], choice: Choice, given: Any) -> None:
    """
    Take citations in, of which each source is one in the record.

    Args:
        details: Those of the reply; they get the items.
        choice: What the reply has said so far.
        given: One citation, as an event has it, or a list.
    """
    found = _each(given)
    if found:
        details.setdefault(_CITATIONS, []).extend(data_of(copied(one)) for one in found)
        _at_end(details, choice)


def _each(given: Any) -> list[Any]:
    """Return what an event has once, and a whole reply as a list."""
    return list(given) if isinstance(given, list | tuple) else [] if given is None else [given]


def _at_end(details: dict[str, Any], choice: Choice) -> None:
    found = items_of(details)
    found.at_end["citations"] = partial(_add_citations, found.item("citations"), details, choice)


def _add_citations(item: Item, details: dict[str, Any], choice: Choice) -> None:
    """Add the citations with their places in the text, which is complete."""
    text = "".join(choice.text)
    before = [0, *accumulate(map(len, choice.text))]
    starts = {index: before[min(count, len(before) - 1)] for index, count in details.get(_STARTS, {}).items()}
    documents = details.get(_DOCUMENTS, {})
    uncited = {**details.get(_FOUND, {})}
    for fields in details.get(_CITATIONS, ()):
        cited = {key: fields[key] for key in ("type", "start", "end", "text") if fields.get(key) is not None}
        span = _place(fields, text, starts)
        known = {"cited": cited} if span is None else {"start_index": span[0], "end_index": span[1]}
        sources = [_source(source) for source in listed(fields.get("sources"))]
        ids = [word_of(name) for name in listed(fields.get("document_ids"))]
        sources += [{**documents.get(name, {"id": name}), "type": "document_citation"} for name in ids]
        for name in ids:
            uncited.pop(name, None)
        place = (fields.get("content_index"), word_of(fields.get("type")), fields.get("start"), fields.get("end"))
        for number, source in enumerate(sources or [{}]):
            item.add_citation({**source, **known}, place=(repr(place), number))
    for name in uncited:
        item.add_citation({**documents.get(name, {"id": name}), "type": "document_citation"}, place=("found", name))


def _place(fields: Any, text: str, starts: dict[int, int]) -> tuple[int, int] | None:
    """Return the place of a citation in the reply's text, `None` if its words are not there (but in a plan, for example)."""
    begin, end, quoted = fields.get("start"), fields.get("end"), fields.get("text")
    if type(begin) is not int or type(end) is not int or not 0 <= begin <= end:
        return None
    if word_of(fields.get("type")) not in ("", "TEXT_CONTENT"):
        return None
    index = fields.get("content_index")
    # Some models count the block of their thinking, and some do not.
    for start in (starts.get(index, 0) if type(index) is int else 0, 0):
        if start + end <= len(text) and quoted in (None, text[start + begin : start + end]):
            return start + begin, start + end
    return None


def _source(source: Any) -> dict[str, Any]:
    """Return a source; a document's fields, which are the caller's own, are one below it."""
    fields = data_of(source)
    if fields.get("type") == "document":
        rest = {key: item for key, item in fields.items() if key not in ("type", "document") and item is not None}
        return {**rest, **data_of(fields.get("document")), "type": "document_citation"}
    return {key: item for key, item in fields.items() if item is not None}


def take_logprobs(details: dict[str, Any], given: Any) -> None:
    """Take in the log probabilities of a reply, or of one event."""
    for one in _each(given):
        items_of(details).item("logprobs").logprobs.append(copied(one))
