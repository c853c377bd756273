"""
Token usage as providers report it, brought to one form.

`input_tokens` of the record leave out what was read from a cache and what was written to one, and
`output_tokens` include the reasoning, whatever the provider's own counts mean: `usage_names` has
their names, and `token_sums` finds out what they include.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from ..flow.model import Usage
from ..flow.outcome import is_interrupt
from . import usage_names as names
from .cost import price_in, usd_of
from .fields import data_of, fields_of, get, named_fields
from .token_sums import Counts, settled
from .usage_names import BITS, count_of

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["read_usage", "read_usage_and_cost", "usage_in"]


class _UsageDraft:
    """A usage that is being filled, as `flow.model` does it for a call."""

    __slots__ = Usage.__slots__


def read_usage(raw: Any) -> Usage | None:
    """Return the tokens that a provider's usage object reports, `None` if it reports none."""
    return read_usage_and_cost(raw)[0]


_CHAT = frozenset(
    ("prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details")
)
_OTHERS = frozenset(names.DETAILS) - {"cached_tokens", "cache_write_tokens", "reasoning_tokens"}
"""Names in details that OpenAI does not use."""


def _of_chat(fields: dict[str, Any]) -> Usage | None:
    """
    Return the tokens of OpenAI's own usage object of a chat, `None` if it is not quite that.

    Nearly every reply has this one, and the general reading takes five times as long.
    """
    prompt, output = fields.get("prompt_tokens"), fields.get("completion_tokens")
    if type(prompt) is not int or type(output) is not int or (prompt | output) >> BITS:
        return None
    total = fields.get("total_tokens")
    if total is not None and total != prompt + output:
        return None
    fresh, cached, written, reasoned = prompt, None, None, None
    # The two objects with details are read alike, and not in a loop: most servers send neither.
    details = fields.get("prompt_tokens_details")
    if details is not None:
        inside = (
            details
            if type(details) is dict
            else None
            if getattr(details, "__pydantic_extra__", True)
            else details.__dict__
        )
        if inside is None or not _OTHERS.isdisjoint(inside):
            return None
        cached, written = inside.get("cached_tokens"), inside.get("cache_write_tokens")
        for count in (cached, written):
            if count is not None:
                if type(count) is not int or count < 0:
                    return None
                fresh -= count
        if fresh < 0:
            return None
    details = fields.get("completion_tokens_details")
    if details is not None:
        outside = (
            details
            if type(details) is dict
            else None
            if getattr(details, "__pydantic_extra__", True)
            else details.__dict__
        )
        if outside is None or not _OTHERS.isdisjoint(outside):
            return None
        reasoned = outside.get("reasoning_tokens")
        if reasoned is not None and (type(reasoned) is not int or not 0 <= reasoned <= output):
            return None
    draft: Any = _UsageDraft()
    draft.input_tokens, draft.output_tokens = fresh, output
    draft.cache_read_tokens, draft.cache_write_tokens, draft.reasoning_tokens = cached, written, reasoned
    draft.__class__ = Usage
    return cast("Usage", draft)


def _object(value: Any) -> dict[str, Any]:
    """Return the fields of an object in a usage object; empty if it is not one."""
    if not value or isinstance(value, int | float | str | list | tuple):
        return {}
    return named_fields(value, names.ASKED)


_PLACES = ("usage", "usage_metadata", "usageMetadata", "token_usage", "models_usage")
"""Where objects have their usage: most, LangChain's, Google's, LangChain's older ones, AutoGen's."""
_TOKENS = frozenset(name for name, slot in names.TOP.items() if slot in {names.PROMPT, names.INPUT, names.OUTPUT})
_BESIDE = frozenset((*names.TOP, *names.OBJECTS, "cost_in_usd_ticks", "is_byok"))


def usage_in(data: Mapping[str, Any]) -> tuple[Any, bool]:
    """
    Return the usage of an object of no known SDK, and whether the object itself has the counts, next to its text.

    Args:
        data: The fields of the object.
    """
    for name in _PLACES:
        usage = data.get(name)
        if usage:
            return usage, False
    # Where messages of LangChain had it before `usage_metadata`.
    usage = data_of(data.get("response_metadata")).get("token_usage") if "response_metadata" in data else None
    if usage:
        return usage, False
    if _TOKENS.isdisjoint(data):
        return None, False
    # Without the rest, or the record would have the text twice.
    return {name: data[name] for name in data if name in _BESIDE and data[name] is not None}, True


_DATE = re.compile(r"-\d{8}$")
"""The end of a model's full name at Anthropic, which its alias has not."""


def _of_iterations(iterations: Any, model: Any, whole: Usage | None) -> Usage | None:
    """
    Return the sums of the iterations of one model, `whole` if none is its.

    Anthropic bills each sampling step of a request. The counts at the top leave out those that shortened the
    context (`compaction`), and those of other models that were asked on the way (`advisor_message`).

    Args:
        iterations: The steps, each with counts as the whole has them.
        model: The model of the reply.
        whole: The counts at the top; each counts where no iteration reports it.
    """
    found: list[Usage] = []
    for item in iterations:
        fields = named_fields(item, names.ASKED)
        other = fields.get("model")
        if other is None or type(model) is not str:
            is_own = fields.get("type") != "advisor_message"
        else:
            is_own = _DATE.sub("", str(other)) == _DATE.sub("", model)
        usage = read_usage(fields) if is_own and isinstance(fields.get("type"), str) else None
        if usage is not None:
            found.append(usage)
    if not found:
        return whole
    sums: dict[str, int | None] = {}
    for name in Usage.__slots__:
        counts = [count for usage in found if (count := getattr(usage, name)) is not None]
        sums[name] = sum(counts) if counts else getattr(whole, name, None)
    return Usage(**sums)


def _asked(raw: Any) -> dict[str, Any]:
    """Return the counts and objects of a usage object as a dict, whatever else it raises."""
    found: dict[str, Any] = {}
    for name in names.ASKED:
        value = get(raw, name)
        if name in names.OBJECTS and value is not None and type(value) not in _PLAIN:
            value = {inner: count for inner in names.ASKED if type(count := get(value, inner)) in _PLAIN}
            found[name] = value or None
        elif type(value) in _PLAIN:
            found[name] = value
    return found


_PLAIN = frozenset((int, float, str, bool))
_ASKED = object()
"""In the place of the hidden parameters: the usage is what `_asked` has returned."""


def read_usage_and_cost(raw: Any, hidden: Any = None, model: Any = None) -> tuple[Usage | None, float | None]:
    """
    Return the tokens and the price in US dollars that came with a reply, `None` for what is missing.

    Args:
        raw: The usage object, or a reply that has its counts next to its text, as Ollama's. One that raises
            reports nothing: its properties are anybody's code, and a text is worth more than its price.
        hidden: The `_hidden_params` of the response.
        model: The model that replied, for a usage with counts of several.
    """
    usage = cost = None
    try:
        own = raw if type(raw) is dict else None if getattr(raw, "__pydantic_extra__", True) else raw.__dict__
        if own and own.keys() <= _CHAT and hidden is None:
            usage = _of_chat(own)
            if usage is not None:
                return usage, None
        fields = fields_of(raw) if own is None else own
        if type(fields) is not dict:
            fields = named_fields(raw, names.ASKED)
        # In one piece, where functions would be clearer: each reply of Anthropic's and of a gateway passes here,
        # and the calls would take as long as the reading.
        find = fields.get
        inside = find("prompt_tokens_details") or find("input_tokens_details") or find("input_token_details")
        outside = find("completion_tokens_details") or find("output_tokens_details") or find("output_token_details")
        counts: list[int | None] = [None] * names.SLOTS
        # Details come first: they are the newer form, and a gateway that knows both forms fills them.
        for part, slots in ((inside, names.DETAILS), (outside, names.DETAILS), (fields, names.TOP)):
            if not part:
                continue
            if type(part) is not dict:
                part = _object(part) if getattr(part, "__pydantic_extra__", True) else part.__dict__  # noqa: PLW2901
            for name, value in part.items():
                if name in slots and value is not None:
                    slot = slots[name]
                    # A count of 0 gives way to another: a class of an SDK may have 0 where the server reported the
                    # count under another name.
                    if not counts[slot]:
                        count = value if type(value) is int and not value >> BITS else count_of(value)
                        if count is not None:
                            counts[slot] = count
        prompt, asked, output, total, tools, reasoned, thoughts, cached, read, written, short, long = counts
        if written is short is long is None and find("cache_creation") is not None:
            by_age = _object(find("cache_creation"))
            short, long = (count_of(by_age.get(f"ephemeral_{age}_input_tokens")) for age in ("5m", "1h"))
        if not written and (short is not None or long is not None):
            written = (short or 0) + (long or 0)
        excludes_cache = False
        if not prompt and asked is not None:
            # With details, or with a name for a part of the prompt, it is not Anthropic's.
            prompt, excludes_cache = asked, not inside and cached is None
        if prompt is output is None and (part := _object(find("tokens")) or _object(find("billed_units"))):
            prompt, output = count_of(part.get("input_tokens")), count_of(part.get("output_tokens"))
        cached = cached or (cached if read is None else read)
        reasoned = reasoned or (reasoned if thoughts is None else thoughts)
        if not (prompt is output is cached is written is reasoned is None):
            draft: Any = _UsageDraft()
            if cached or written or reasoned or tools:
                prompt, output = settled(
                    Counts(
                        prompt, output, cached, written, reasoned, tools, total, excludes_cache, thoughts is not None
                    )
                )
            draft.input_tokens, draft.output_tokens = prompt, output
            draft.cache_read_tokens, draft.cache_write_tokens, draft.reasoning_tokens = cached, written, reasoned
            draft.__class__ = Usage
            usage = cast("Usage", draft)
        if "cost" in fields or "cost_in_usd_ticks" in fields:
            cost = price_in(fields)
        iterations = find("iterations")
        if iterations and isinstance(iterations, list | tuple):
            usage = _of_iterations(iterations, model, usage)
    except BaseException as error:
        if is_interrupt(error):
            raise
        # An object that raises where it is asked for what it lacks, or one in it: each name by itself.
        usage, cost = (None, None) if hidden is _ASKED else read_usage_and_cost(_asked(raw), _ASKED, model)
    if cost is None and isinstance(hidden, dict):
        cost = usd_of(hidden.get("response_cost"))
    return usage, cost
