"""
Citations of every provider in one form, `records.CitationRecord`.

Sources of the formats, as their API references give them: OpenAI's *Chat* (`annotations`) and *Responses*
(annotations of `output_text`), OpenRouter's *Web search* and *PDFs*, Anthropic's *Citations* and *Search
results*, Perplexity's `citations` and `search_results`, Groq's `document_citation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["citation", "sources"]

_KINDS = {
    "url_citation": "url",
    "web_search_result_location": "url",
    "file_citation": "file",
    "container_file_citation": "file",
    "file_path": "file",
    "char_location": "document",
    "page_location": "document",
    "content_block_location": "document",
    "search_result_location": "document",
    "document_citation": "document",
}
_NAMES = (
    ("url", ("url", "uri", "link")),
    ("file_id", ("file_id",)),
    ("title", ("title", "document_title", "filename", "name")),
    ("quote", ("cited_text", "quote", "snippet", "content", "text")),
)
"""Keys of the record, and under which a provider has their text."""


def citation(raw: Mapping[str, Any], *, offset: int = 0, span: tuple[int, int] | None = None) -> dict[str, Any]:
    """
    Return one citation.

    Args:
        raw: The provider's, of builtin types.
        offset: Characters of `output` before the text that its own places count in.
        span: The place in `output` of the text that it supports, where the provider gives none of its own.
    """
    word = raw.get("type")
    # OpenAI's chat has it one level below, under the name of its type.
    inner = raw.get(word) if isinstance(word, str) else None
    rest = dict(inner) if isinstance(inner, dict) else {key: item for key, item in raw.items() if key != "type"}
    made: dict[str, Any] = {"type": ""}
    for key, names in _NAMES:
        for name in names:
            if isinstance(rest.get(name), str) and rest[name]:
                made[key] = rest.pop(name)
                break
    source = rest.get("source")
    if "url" not in made and isinstance(source, str) and "://" in source:
        made["url"] = rest.pop("source")
    made["type"] = _kind(word, made)
    if span is not None:
        made["start"], made["end"] = span
    else:
        for key in ("start", "end"):
            place = rest.get(f"{key}_index")
            if type(place) is int:
                made[key] = rest.pop(f"{key}_index") + offset
    rest = {key: item for key, item in rest.items() if item is not None}
    return {**made, "details": rest} if rest else made


def _kind(word: Any, made: Mapping[str, Any]) -> str:
    if isinstance(word, str) and word in _KINDS:
        return _KINDS[word]
    if "url" in made:
        return "url"
    return "file" if "file_id" in made else word if isinstance(word, str) and word else "document"


def sources(urls: Iterable[Any], results: Iterable[Any]) -> list[dict[str, Any]]:
    """
    Return the sources of a whole reply, each once, in the order in which its text counts them.

    Args:
        urls: URLs, or citations.
        results: What a search found, each with its URL.
    """
    found: dict[str, dict[str, Any]] = {}
    for one in (*urls, *results):
        raw = {"url": one} if isinstance(one, str) else one
        if isinstance(raw, dict):
            made = citation(raw)
            key = made.get("url") or f"{len(found)}"
            found[key] = {**found.get(key, {}), **made}
    return list(found.values())
