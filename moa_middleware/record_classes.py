"""
Which keys of a record hold content, and which are figures: one table for redaction, `MOA_CAPTURE`, limits and reports.

`records` says what the keys are.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from .records import TOKENS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CLASSES",
    "CONTENT",
    "FIGURE",
    "PROVIDERS_WORDS",
    "UNREDACTABLE",
    "content_below",
    "figures_below",
    "is_name",
]

CONTENT: Literal["content"] = "content"
"""What models and users wrote: left out of metadata, redacted, and cut where it is long."""
FIGURE: Literal["figure"] = "figure"
"""Counts, times, names, identifiers and words of the format: written as they are."""

CLASSES: Mapping[str, Literal["content", "figure"]] = {
    # Turns and calls, in the order in which content is looked at.
    **dict.fromkeys(("input_messages", "output", "model_output", "reasoning", "refusal", "choices", "raw"), CONTENT),
    **dict.fromkeys(("schema", "ts", "turn_id", "session_id", "preset", "outcome"), FIGURE),
    **dict.fromkeys(("started_at", "ended_at", "duration_ms", "parent_turn_id", "turns"), FIGURE),
    **dict.fromkeys(("implicit", "instrumentation_errors"), FIGURE),
    **dict.fromkeys(("label", "model", "provider", "temperature", "cost_usd", "cost_status", "cost_source"), FIGURE),
    **dict.fromkeys(("streamed", "output_location", "call_id", "parent", "role", "role_source", "layer"), FIGURE),
    **dict.fromkeys(("index", "attempt", "first_chunk_ms", "chunks", "finish_reason", "params_omitted"), FIGURE),
    **dict.fromkeys(("endpoint", "response_id", "response_model", "system_fingerprint", "service_tier"), FIGURE),
    **dict.fromkeys(("source", "late", "handled", "created"), FIGURE),
    **dict.fromkeys(("parts", "logprobs", "stop_sequence"), CONTENT),
    **dict.fromkeys([f"served_by.{name}" for name in ("provider", "region", "native_finish_reason")], FIGURE),
    **dict.fromkeys([f"error.{name}" for name in ("type", "status", "code", "request_id", "retry_after")], FIGURE),
    "error.message": CONTENT,
    "citations.*": CONTENT,
    **dict.fromkeys([f"citations.{name}" for name in ("type", "start", "end", "choice")], FIGURE),
    # Durations alone: other values are not written.
    "timings": FIGURE,
    # The texts in them are content, since a filter may quote what it found; its scores and flags are not.
    "filters.*": CONTENT,
    **dict.fromkeys([f"{record}.{tokens}" for record in ("usage", "totals.usage") for tokens in TOKENS], FIGURE),
    **dict.fromkeys(("totals.calls", "totals.failed", "totals.cost_usd", "totals.unpriced"), FIGURE),
    **dict.fromkeys(("totals.no_usage", "totals.unread"), FIGURE),
    **dict.fromkeys(("trace_context.trace_id", "trace_context.span_id"), FIGURE),
    **dict.fromkeys(("writer.version", "writer.host", "writer.pid", "writer.started_at", "writer.seq"), FIGURE),
    **dict.fromkeys(("writer.integrity", "writer.key_id", "writer.previous", "writer.digest"), FIGURE),
    **dict.fromkeys(("omitted.*.reason", "omitted.*.bytes", "omitted.*.sha256"), FIGURE),
    # The user's own words. Of notes their numbers and flags are no content.
    "tags.*": CONTENT,
    "notes.*": CONTENT,
    **dict.fromkeys(("notes.kind", "notes.at"), FIGURE),
    # The provider's usage object: its texts are content, its numbers and flags are not.
    "usage_raw.*": CONTENT,
    # What distinguishes one tool call from another is not content. The same holds in `function` and `custom`.
    "tool_calls.*": CONTENT,
    **dict.fromkeys([f"tool_calls.{name}" for name in ("id", "type", "name", "index", "call_id", "status")], FIGURE),
    # Of parameters, numbers and flags are no content, and neither are words of the format.
    "params.*": CONTENT,
    **dict.fromkeys(
        [
            f"params.{name}"
            for name in (
                "include",
                "modalities",
                "previous_response_id",
                "reasoning",
                "reasoning_effort",
                "service_tier",
                "stream_options",
                "thinking",
                "tool_choice",
                "truncation",
                "verbosity",
            )
        ],
        FIGURE,
    ),
    "params.extra_body.*": CONTENT,
    **dict.fromkeys([f"params.extra_body.{name}" for name in ("provider", "reasoning", "thinking")], FIGURE),
}
"""
Whether a key is content or a figure, by its path in a turn or a call.

A key has the same class wherever it is. `*` is any key that the table does not name. Redaction,
`MOA_CAPTURE` and the limits read this table; a key without a class fails a test.
"""

UNREDACTABLE = frozenset({"logprobs"})
"""Content in pieces in which no rule finds what it looks for: withheld as soon as anything is redacted."""


PROVIDERS_WORDS = (
    *("finish_reason", "response_id", "response_model", "system_fingerprint", "service_tier"),
    *("served_by.provider", "served_by.region", "served_by.native_finish_reason"),
)
"""Figures that are a provider's own text: one that is not in the form of a name may quote what was said, and is content."""

_OF_SEVERAL_WORDS = frozenset({"response_model", "served_by.provider", "served_by.region"})
"""Names that have blanks at some providers, such as "Google AI Studio"."""
_NAME = re.compile(r"[\w.:/+=$#()\\-]+(?:@[\d-]+)?", re.ASCII)
_LONGEST = 512
"""Characters of an id."""
_MOST_WORDS, _LONGEST_OF_WORDS = 4, 64


def is_name(text: str, path: str = "") -> bool:
    """
    Return True if a text has the form of a name, an id or a word of a format.

    Args:
        text: The text.
        path: Where it is, as in `CLASSES`.
    """
    if not text:
        return True
    if path in _OF_SEVERAL_WORDS and len(text) <= _LONGEST_OF_WORDS:
        words = text.split(" ")
        return len(words) <= _MOST_WORDS and all(map(_NAME.fullmatch, words))
    return len(text) <= _LONGEST and _NAME.fullmatch(text) is not None


def content_below(path: str = "") -> tuple[str, ...]:
    """Return the named keys below a path that are content, in the order of the table."""
    return _below(path, CONTENT)


def figures_below(path: str) -> frozenset[str]:
    """Return the named keys below a path that are figures."""
    return frozenset(_below(path, FIGURE))


def _below(path: str, kind: str) -> tuple[str, ...]:
    start = f"{path}." if path else ""
    names = [key.removeprefix(start) for key, its in CLASSES.items() if its == kind and key.startswith(start)]
    return tuple(name for name in names if "." not in name and name != "*")
