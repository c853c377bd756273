"""
Token usage and prices as providers report them, brought to one form.

Sources: OpenAI's `CompletionUsage` (`prompt_tokens` includes the cached part) and `ResponseUsage`,
Anthropic's `Usage` (`input_tokens` excludes it), LangChain's `UsageMetadata`, OpenRouter's `cost` in
US dollars next to the tokens, litellm's `response_cost` among the `_hidden_params` of a response.
"""

from __future__ import annotations

from typing import Any, cast

from ..flow.model import Usage
from ..flow.outcome import is_interrupt
from .fields import fields_of, get

__all__ = ["read_usage", "read_usage_and_cost"]

_ASKED = (
    *("prompt_tokens", "input_tokens", "completion_tokens", "output_tokens", "reasoning_tokens", "reasoning"),
    *("cached_tokens", "cache_read", "cache_read_input_tokens", "cache_read_tokens"),
    *("cache_creation", "cache_creation_input_tokens", "cache_write_tokens", "cost"),
    *("prompt_tokens_details", "input_tokens_details", "input_token_details"),
    *("completion_tokens_details", "output_tokens_details", "output_token_details"),
)
"""Names that are read from an object whose fields are not in a dict."""


_BITS = 63
"""Of a count; below 0, all bits above are set."""


class _UsageDraft:
    """A usage that is being filled, as `flow.model` does it for a call."""

    __slots__ = Usage.__slots__


def read_usage(raw: Any) -> Usage | None:
    """Return the tokens that a provider's usage object reports, `None` if it reports none."""
    return read_usage_and_cost(raw)[0]


_CHAT = frozenset(
    ("prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details")
)
_OTHERS = frozenset(("cache_read", "cache_creation"))


def _of_chat(fields: dict[str, Any]) -> Usage | None:
    """
    Return the tokens of OpenAI's own usage object of a chat, `None` if it is not quite that.

    Nearly every reply has this one, and the general reading takes five times as long.
    """
    prompt, output = fields.get("prompt_tokens"), fields.get("completion_tokens")
    if type(prompt) is not int or type(output) is not int or (prompt | output) >> _BITS:
        return None
    found: list[dict[str, Any]] = []
    for details in (fields.get("prompt_tokens_details"), fields.get("completion_tokens_details")):
        if details is None or type(details) is dict:
            found.append(details or {})
        elif getattr(details, "__pydantic_extra__", True):
            return None
        else:
            found.append(details.__dict__)
    inside, outside = found
    if not _OTHERS.isdisjoint(inside) or "reasoning" in outside:
        return None
    cached, written, reasoned = (
        inside.get("cached_tokens"),
        inside.get("cache_write_tokens"),
        outside.get("reasoning_tokens"),
    )
    for count in (cached, written, reasoned):
        if count is not None and (type(count) is not int or count >> _BITS):
            return None
    draft: Any = _UsageDraft()
    draft.input_tokens, draft.output_tokens = max(prompt - (cached or 0), 0), output
    draft.cache_read_tokens, draft.cache_write_tokens, draft.reasoning_tokens = cached, written, reasoned
    draft.__class__ = Usage
    return cast("Usage", draft)


def _asked(raw: Any) -> dict[str, Any]:
    """Return the counts and details of a usage object as a dict, whatever else it raises."""
    found: dict[str, Any] = {}
    for name in _ASKED:
        value = get(raw, name)
        if name.endswith("_details") and value is not None:
            value = {inner: count for inner in _ASKED if type(count := get(value, inner)) is int}
        if type(value) in (int, float, dict):
            found[name] = value
    return found


def read_usage_and_cost(raw: Any, hidden: Any = None) -> tuple[Usage | None, float | None]:
    """
    Return the tokens and the price in US dollars that came with a reply, `None` for what is missing.

    Args:
        raw: The usage object. One that raises reports nothing: its properties are anybody's code,
            and a text is worth more than its price.
        hidden: The `_hidden_params` of the response.
    """
    usage = cost = inside = outside = None
    try:
        own = raw if type(raw) is dict else None if getattr(raw, "__pydantic_extra__", True) else raw.__dict__
        if own and own.keys() <= _CHAT and hidden is None:
            usage = _of_chat(own)
            if usage is not None:
                return usage, None
        # In one piece, where functions would be clearer: every reply passes here, and the calls would
        # take as long as the reading.
        counts: list[Any] = []
        parts = [] if raw is None else [raw]
        for part in parts:
            if type(part) is dict:
                fields = part
            elif not getattr(part, "__pydantic_extra__", True):
                fields = part.__dict__  # a model without extra fields, as in `fields_of`
            else:
                fields = fields_of(part)
                if type(fields) is not dict:
                    fields = {name: get(part, name) for name in _ASKED}
            if not counts:
                find, cost = fields.get, fields.get("cost")
                inside = find("prompt_tokens_details") or find("input_tokens_details") or find("input_token_details")
                outside = find("completion_tokens_details") or find("output_tokens_details")
                outside = outside or find("output_token_details")
                parts += ({} if inside is None else inside, {} if outside is None else outside)
            numbers = {}
            for name, value in fields.items():
                # A server may write words, and `True` is not one token. Nor is a number a count that is below 0, or
                # has thousands of digits, which Python does not read back.
                if isinstance(value, int) and type(value) is not bool and not value >> _BITS:
                    numbers[name] = value  # noqa: PERF403 - a comprehension is a call on Python 3.11
            counts.append(numbers.get)
        if counts:
            count, count_in, count_out = counts
            cached = count_in("cached_tokens", count_in("cache_read"))
            written = count_in("cache_write_tokens", count_in("cache_creation"))
            prompt = count("prompt_tokens", None if inside is None else count("input_tokens"))
            draft: Any = _UsageDraft()
            # OpenAI counts cached tokens in the prompt, Anthropic and the record count them apart. The two
            # differ by their names: only OpenAI has `prompt_tokens`, and where `input_tokens`
            # comes with details it is the Responses API's, or LangChain's. Should a server report more
            # cached tokens than tokens, the rest is 0 and not below.
            draft.input_tokens = count("input_tokens") if prompt is None else max(prompt - (cached or 0), 0)
            draft.output_tokens = count("completion_tokens", count("output_tokens"))
            if cached is None:
                cached = count("cache_read_input_tokens", count("cache_read_tokens"))
            if written is None:
                written = count("cache_creation_input_tokens", count("cache_write_tokens"))
            reasoned = (
                count("reasoning_tokens") if outside is None else count_out("reasoning_tokens", count_out("reasoning"))
            )
            draft.cache_read_tokens, draft.cache_write_tokens, draft.reasoning_tokens = cached, written, reasoned
            if not (draft.input_tokens is draft.output_tokens is cached is written is reasoned is None):
                draft.__class__ = Usage
                usage = cast("Usage", draft)
    except BaseException as error:
        if is_interrupt(error):
            raise
        # An object that raises where it is asked for what it lacks: each name by itself.
        found = _asked(raw)
        usage, cost = read_usage_and_cost(found) if found and type(raw) is not dict else (None, None)
    if not isinstance(cost, int | float) or isinstance(cost, bool):
        cost = hidden.get("response_cost") if isinstance(hidden, dict) else None
    return usage, float(cost) if isinstance(cost, int | float) and not isinstance(cost, bool) else None
