"""The view of a call: one request to one model and its reply, as a line holds it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._fields import Field, View, flag, items, mapping, number, text, texts, whole
from ._prices import price_table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._prices import Estimate

__all__ = ["FAILED", "CallView", "ErrorDetails", "LateCall", "TokenUsage", "error_of", "is_failed"]

FAILED = frozenset({"error", "crashed"})
"""Outcomes that mean that a call or a turn failed."""
_SAYS_FAILED = ("[failed:", "[skipped:")
"""What Hermes Agent puts in the place of a reference's text where the record has no outcome."""


@dataclass(frozen=True, slots=True)
class TokenUsage:
    """
    Tokens; `None` is unknown, never 0.

    Attributes:
        input_tokens: Of the prompt, without those read from a cache and those written to one.
        output_tokens: Of the reply, those of its reasoning among them.
        cache_read_tokens: Of the prompt, read from a cache.
        cache_write_tokens: Of the prompt, written to a cache.
        reasoning_tokens: The part of `output_tokens` that was reasoning.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None

    def __add__(self, other: TokenUsage) -> TokenUsage:
        """Add what is known: a sum is unknown only where both are."""
        return TokenUsage(
            _plus(self.input_tokens, other.input_tokens),
            _plus(self.output_tokens, other.output_tokens),
            _plus(self.cache_read_tokens, other.cache_read_tokens),
            _plus(self.cache_write_tokens, other.cache_write_tokens),
            _plus(self.reasoning_tokens, other.reasoning_tokens),
        )


def _plus(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return one if other is None else other
    return one + other


def _usage(value: Any) -> TokenUsage:
    get = mapping(value).get
    return TokenUsage(
        whole(get("input_tokens")),
        whole(get("output_tokens")),
        whole(get("cache_read_tokens")),
        whole(get("cache_write_tokens")),
        whole(get("reasoning_tokens")),
    )


@dataclass(frozen=True, slots=True)
class ErrorDetails:
    """
    An exception.

    Attributes:
        type: Its class with the module, but for built-in ones.
        message: `None` where it was withheld.
        status: Of the HTTP response.
        code: The provider's word for it, as a text.
        request_id: The provider's id of the request.
        retry_after: Seconds after which the provider asked to try again.
    """

    type: str
    message: str | None
    status: int | None = None
    code: str | None = None
    request_id: str | None = None
    retry_after: float | None = None


def error_of(value: Any) -> ErrorDetails | None:
    """Return the exception that an object of a line is, `None` if it is not an object."""
    if not isinstance(value, dict):
        return None
    code = value.get("code")
    return ErrorDetails(
        text(value.get("type")) or "",
        text(value.get("message")),
        whole(value.get("status")),
        str(whole(code)) if type(code) is int else text(code),
        text(value.get("request_id")),
        number(value.get("retry_after")),
    )


def is_failed(data: Mapping[str, Any]) -> bool:
    """Return True if a call failed, by the keys of its record; `handled` is an error or cancellation that was caught."""
    outcome = data.get("outcome")
    return (type(outcome) is str and outcome in FAILED) or data.get("handled") is True


class CallView(View):
    """
    One request to one model, and its reply: the keys of the record as attributes.

    What a line does not tell, and a value of another type than its key has, is `None`, or empty for
    a list or a mapping. The keys are those of `moa_middleware.records.CallRecord`.
    """

    __slots__ = ()

    label = Field(text)
    """Name of the slot in the ensemble."""
    model = Field(text)
    """The model that was asked for."""
    provider = Field(text)
    """Name of the SDK or provider."""
    temperature = Field(number)
    """The parameter."""
    output = Field(text)
    """The text of the first choice."""
    usage = Field(_usage)
    """Tokens, a `TokenUsage`."""
    cost_usd = Field(number)
    """The price, in USD; traces of Hermes Agent may hold it as a text."""
    cost_status = Field(text)
    """`reported` where the provider named the price."""
    cost_source = Field(text)
    """Who named it."""
    streamed = Field(flag)
    """Whether the reply was a stream."""
    output_location = Field(text)
    """`inline`, `inline_from_stream`, `absent`, or a word of another writer's."""
    call_id = Field(text)
    """Id of the call."""
    parent = Field(text)
    """`call_id` of the call around it."""
    role = Field(text)
    """`reference`, `aggregator`, `call`, or a word of the user's."""
    role_source = Field(text)
    """`tag`, `declared` or `inferred`."""
    layer = Field(whole)
    """Round of references, from 1."""
    index = Field(whole)
    """Place in the order of submission, from 0."""
    attempt = Field(whole)
    """1 for the first request, 2 for the next one after it."""
    outcome = Field(text)
    """How it ended."""
    error = Field(error_of)
    """The exception that ended it, an `ErrorDetails`."""
    started_at = Field(number)
    """When the request went out, in epoch seconds."""
    ended_at = Field(number)
    """When the reply was complete, in epoch seconds."""
    duration_ms = Field(number)
    """To the end of the reply, in milliseconds."""
    first_chunk_ms = Field(number)
    """To the first chunk of a stream, in milliseconds."""
    chunks = Field(whole)
    """Number of chunks of a stream."""
    finish_reason = Field(text)
    """Why the first choice ended, in the provider's word."""
    tool_calls = Field(items)
    """Tool calls of the first choice."""
    reasoning = Field(text)
    """Reasoning that the provider showed."""
    refusal = Field(text)
    """The refusal, if the model refused."""
    model_output = Field(text)
    """What the model itself said, where that differs from `output`."""
    handled = Field(flag)
    """True if the function, or a middleware that tried again, caught this call's error or cancellation and went on."""
    choices = Field(items)
    """Every choice, where there was more than one."""
    params = Field(mapping)
    """Parameters that are known to be harmless."""
    params_omitted = Field(texts)
    """Names of the arguments that are not recorded."""
    endpoint = Field(text)
    """Scheme, host and path of the base URL."""
    response_id = Field(text)
    """The provider's id of the reply."""
    response_model = Field(text)
    """The model that the reply names."""
    system_fingerprint = Field(text)
    """As the provider gave it."""
    service_tier = Field(text)
    """As the provider gave it."""
    citations = Field(items)
    """Sources that the reply names."""
    parts = Field(items)
    """What else the reply consists of, in the provider's words."""
    served_by = Field(mapping)
    """Provider, region and native finish reason, where the endpoint passed the request on."""
    filters = Field(mapping)
    """What the provider's filters found."""
    stop_sequence = Field(text)
    """The sequence that ended the reply."""
    created = Field(number)
    """When the provider says that it made the reply, in epoch seconds."""
    timings = Field(mapping)
    """Durations by the provider's names and in its units."""
    source = Field(text)
    """Who answered: `provider`, `cache` or `middleware`."""
    late = Field(flag)
    """Whether it ended after its turn."""
    omitted = Field(mapping)
    """Why values are `None` or cut, by their paths."""

    _known = frozenset({"input_messages", "logprobs", "usage_raw", "raw"})

    @property
    def input_messages(self) -> Any:
        """The request, as it was when the call began: mostly a list of messages."""
        return self._data.get("input_messages")

    @property
    def usage_raw(self) -> Any:
        """The provider's own usage object."""
        return self._data.get("usage_raw")

    @property
    def logprobs(self) -> Any:
        """The provider's object with the probabilities of tokens."""
        return self._data.get("logprobs")

    @property
    def raw_reply(self) -> Any:
        """Type and head of the `repr` of a reply that no shape understood: the key `raw`."""
        return self._data.get("raw")

    @property
    def failed(self) -> bool:
        """
        Return True if it failed: `error`, `crashed`, or what its function caught (`handled`).

        Where the record has no outcome its text says so.
        """
        if "outcome" in self._data:
            return is_failed(self._data)
        return (self.output or "").lstrip().lower().startswith(_SAYS_FAILED)

    @property
    def pending(self) -> bool:
        """Whether it was still running when its turn closed, and no late line tells its end."""
        return "outcome" in self._data and self._data["outcome"] is None

    def estimate(self) -> Estimate | None:
        """
        Return what the call costs by a table of list prices, whether or not its price was recorded.

        `None` if no model was asked, its tokens, its model or who sold it is unknown, or the extra `prices`
        is missing.
        """
        usage = self.usage
        if self.source not in (None, "provider") or usage.input_tokens is None or usage.output_tokens is None:
            return None
        table = price_table()
        if table is None:
            return None
        return table.estimate(
            endpoint=self.endpoint,
            provider=self.provider,
            models=(self.response_model, self.model),
            tokens=(
                *(usage.input_tokens, usage.output_tokens),
                *(usage.cache_read_tokens, usage.cache_write_tokens, usage.reasoning_tokens),
            ),
            at=self.started_at,
            tier=self.service_tier,
        )

    @property
    def name(self) -> str:
        """Its label, else its model, else `?`."""
        return self.label or self.model or "?"

    def __repr__(self) -> str:
        """Name the call; never its content."""
        return f"<CallView {self.name!r} {self.role or 'call'} {self.outcome or 'unknown'}>"


@dataclass(frozen=True, slots=True)
class LateCall:
    """
    A call that ended after its turn, as its own line tells it.

    Attributes:
        turn_id: Its turn.
        session_id: The turn's session.
        ts: When the line was written, in epoch seconds.
        call: The call.
        file: Name of the file.
        line: Number of the line, from 1.
    """

    turn_id: str
    session_id: str | None
    ts: float | None
    call: CallView
    file: str
    line: int

    @classmethod
    def of(cls, data: Mapping[str, Any], *, file: str, line: int) -> LateCall:
        """Return the call of a `moa-late/1` line."""
        return cls(
            text(data.get("turn_id")) or "",
            text(data.get("session_id")),
            number(data.get("ts")),
            CallView(mapping(data.get("call"))),
            file,
            line,
        )
