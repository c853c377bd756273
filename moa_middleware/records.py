"""
What one line of a trace holds: the only definition of the record.

One JSON object a line, UTF-8, ended by a newline. Times are epoch seconds, durations milliseconds,
money US dollars; what is not known is `null`, never 0. Every key is always there, but for those that
are `NotRequired`: they are written only where they hold something. Within `moa-turn/1` keys may be
added; none is removed or changes its meaning. Readers ignore keys and accept values that they do not
know. `record_classes` says which keys hold content.

The keys of `TurnRecord` and `CallRecord` down to `output_location` are those of the MoA traces of
Hermes Agent (`agent/moa_trace.py`), so that readers of such files read these.
"""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from typing_extensions import TypedDict

__all__ = [
    "EMPTY_CALL",
    "EMPTY_TURN",
    "LATE_SCHEMA",
    "SCHEMA",
    "TOKENS",
    "CallRecord",
    "ErrorRecord",
    "LateRecord",
    "OmittedRecord",
    "TotalsRecord",
    "TraceContextRecord",
    "TurnRecord",
    "UsageRecord",
    "WriterRecord",
]

SCHEMA = "moa-turn/1"
LATE_SCHEMA = "moa-late/1"

OutcomeName = Literal["completed", "closed", "abandoned", "cancelled", "consumer_error", "error", "crashed"]


class ErrorRecord(TypedDict):
    """An exception."""

    type: str
    """Its class with the module, but for built-in ones."""
    message: str | None
    status: NotRequired[int]
    """Of the HTTP response."""
    code: NotRequired[str | int]
    """The provider's word for it."""
    request_id: NotRequired[str]
    """The provider's id of the request."""
    retry_after: NotRequired[float]
    """Seconds after which the provider asked to try again."""


class CitationRecord(TypedDict):
    """A source that a reply names, in one form for all providers."""

    type: str | None
    """`url`, `file` or `document` (a passage of the request's own); else the provider's word."""
    url: NotRequired[str | None]
    file_id: NotRequired[str | None]
    title: NotRequired[str | None]
    """Title or name of the page, the file or the document."""
    quote: NotRequired[str | None]
    """The source's own words."""
    start: NotRequired[int]
    """Where the text that it supports begins in `output`, in characters from 0."""
    end: NotRequired[int]
    """Where that text ends."""
    choice: NotRequired[int]
    """Index of the choice, but for the first."""
    details: NotRequired[dict[str, Any] | None]
    """What else the provider says of it, in its own words."""


class ServedByRecord(TypedDict):
    """Who computed the reply, where the endpoint is not the one who did."""

    provider: NotRequired[str | None]
    region: NotRequired[str | None]
    native_finish_reason: NotRequired[str | None]
    """Why it ended, in that provider's word."""


class UsageRecord(TypedDict, total=False):
    """Tokens; an empty object where the provider reported none."""

    input_tokens: int | None
    """Of the prompt, without those read from a cache."""
    output_tokens: int | None
    """Of the reply, those of its reasoning among them."""
    cache_read_tokens: int | None
    cache_write_tokens: int | None
    reasoning_tokens: int | None


class OmittedRecord(TypedDict):
    """Why a value is `null` or cut, and how large the whole was."""

    reason: str
    """`metadata`, `limit` or `redactor_failed`."""
    bytes: int
    sha256: NotRequired[str]


class CallRecord(TypedDict):
    """One request to one model, and its reply."""

    label: str | None
    model: str | None
    provider: str | None
    temperature: float | None
    input_messages: Any
    """The request, as it was when the call began."""
    output: str | None
    usage: UsageRecord
    cost_usd: float | None
    cost_status: str | None
    """`reported` where the provider named the price."""
    cost_source: str | None
    streamed: bool
    output_location: str
    """`inline`, `inline_from_stream` or `absent`."""
    call_id: str
    parent: str | None
    """`call_id` of the call around this one."""
    role: str | None
    """`reference`, `aggregator`, `call`, or a word of the user's."""
    role_source: str | None
    """`tag`, `declared` (by a decorator or `instrument`), `inferred`, or `unknown`: then the role is `call`."""
    layer: int | None
    """Round of references, from 1."""
    index: int
    """Place in the order of submission, from 0."""
    attempt: int
    """1 for the first request, 2 for the next one after it."""
    outcome: OutcomeName | None
    """`null` while it was still running when its turn closed."""
    error: ErrorRecord | None
    started_at: float
    ended_at: float | None
    duration_ms: float | None
    first_chunk_ms: float | None
    chunks: int | None
    finish_reason: str | None
    tool_calls: list[Any]
    reasoning: str | None
    refusal: str | None
    choices: list[Any] | None
    """Every choice, where there was more than one."""
    params: dict[str, Any]
    params_omitted: list[str]
    """Names of the arguments that are not recorded."""
    endpoint: str | None
    """Scheme, host and path of the base URL."""
    response_id: str | None
    response_model: str | None
    system_fingerprint: str | None
    service_tier: str | None
    usage_raw: Any
    """The provider's own usage object."""
    source: str
    """Who answered: `provider`, `cache` or `middleware`."""
    late: bool
    """Whether it ended after its turn."""
    model_output: NotRequired[str | None]
    """What the model itself said, where its caller's function made something else of it in `output`."""
    handled: NotRequired[Literal[True]]
    """The function around the request caught its error or cancellation, and went on."""
    citations: NotRequired[list[CitationRecord]]
    parts: NotRequired[list[Any] | None]
    """What else the reply consists of, in its order and in the provider's words, without what other keys hold."""
    served_by: NotRequired[ServedByRecord]
    filters: NotRequired[dict[str, Any] | None]
    """What the provider's filters found in prompt and reply, by the provider's names."""
    logprobs: NotRequired[Any]
    """The provider's object, where the request asked for it."""
    stop_sequence: NotRequired[str | None]
    """Which of the request's ended the reply."""
    created: NotRequired[float]
    """When the provider says that it made the reply."""
    timings: NotRequired[dict[str, float] | None]
    """Durations by the provider's names and in its units."""
    omitted: NotRequired[dict[str, OmittedRecord]]
    raw: NotRequired[Any]
    """Type and head of the `repr` of a value that no shape understands."""


class TotalsRecord(TypedDict):
    """Sums over the turn's own calls."""

    calls: int
    failed: int
    """Calls that failed, those that their function handled among them."""
    usage: UsageRecord
    cost_usd: float | None
    """Sum of the known prices, `null` if none is known."""
    unpriced: int
    """Calls whose price is not known."""
    no_usage: NotRequired[int]
    """Calls whose tokens are not known: the sums are lower bounds."""
    unread: NotRequired[int]
    """Calls whose reply was not understood: it is in their `raw`."""


class TraceContextRecord(TypedDict):
    """OpenTelemetry's active span when the turn began."""

    trace_id: str
    span_id: str


class WriterRecord(TypedDict):
    """The process that wrote the line; the keys behind `seq` prove it."""

    version: str
    host: str
    pid: int
    started_at: float
    seq: int
    """Counts the process's lines from 1: a gap shows a missing line."""
    integrity: NotRequired[str]
    """`digest`, or `hmac`: then the digest was made with a secret key."""
    key_id: NotRequired[str]
    """Names that key."""
    previous: NotRequired[str]
    """`digest` of the line that the process completed before this one; missing in the first."""
    digest: NotRequired[str]
    """SHA-256 or HMAC-SHA-256 of the line's bytes up to the comma before this key, in hex; always last."""


class LateWriterRecord(TypedDict):
    """The process that wrote a late line, and what proves it: these lines have no number."""

    version: str
    host: str
    pid: int
    started_at: float
    integrity: NotRequired[str]
    key_id: NotRequired[str]
    previous: NotRequired[str]
    digest: NotRequired[str]


class TurnRecord(TypedDict):
    """One turn: one line."""

    schema: str
    ts: float
    """When the line was written."""
    turn_id: str
    session_id: str | None
    preset: str | None
    outcome: OutcomeName
    error: ErrorRecord | None
    started_at: float
    ended_at: float | None
    duration_ms: float | None
    input_messages: Any
    params: dict[str, Any]
    output: str | None
    references: list[CallRecord]
    aggregator: CallRecord | None
    calls: list[CallRecord]
    """Further calls: of other roles, earlier attempts, calls inside calls."""
    parent_turn_id: str | None
    turns: list[str]
    """Ids of the turns opened inside this one."""
    tags: dict[str, Any]
    totals: TotalsRecord
    implicit: bool
    """Whether it was opened for a single call outside any turn."""
    instrumentation_errors: int
    trace_context: TraceContextRecord | None
    notes: NotRequired[list[dict[str, Any]]]
    """What the client itself decided, in this order: each with `kind` (a text), `at` (when) and keys of its own."""
    writer: WriterRecord
    omitted: NotRequired[dict[str, OmittedRecord]]


class LateRecord(TypedDict):
    """A call that ended after its turn, in a file of its own below `late/`."""

    schema: str
    turn_id: str
    session_id: str | None
    ts: float
    call: CallRecord
    writer: NotRequired[LateWriterRecord]
    """Only where lines prove themselves."""


TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens", "reasoning_tokens")
"""Keys of a `UsageRecord`."""

EMPTY_CALL: CallRecord = {
    "label": None,
    "model": None,
    "provider": None,
    "temperature": None,
    "input_messages": None,
    "output": None,
    "usage": {},
    "cost_usd": None,
    "cost_status": None,
    "cost_source": None,
    "streamed": False,
    "output_location": "absent",
    "call_id": "",
    "parent": None,
    "role": None,
    "role_source": None,
    "layer": None,
    "index": 0,
    "attempt": 1,
    "outcome": None,
    "error": None,
    "started_at": 0.0,
    "ended_at": None,
    "duration_ms": None,
    "first_chunk_ms": None,
    "chunks": None,
    "finish_reason": None,
    "tool_calls": [],
    "reasoning": None,
    "refusal": None,
    "choices": None,
    "params": {},
    "params_omitted": [],
    "endpoint": None,
    "response_id": None,
    "response_model": None,
    "system_fingerprint": None,
    "service_tier": None,
    "usage_raw": None,
    "source": "provider",
    "late": False,
}
"""A call of which nothing is known. Every writer of calls copies it, so a line has all keys, in this order."""

EMPTY_TURN: TurnRecord = {
    "schema": SCHEMA,
    "ts": 0.0,
    "turn_id": "",
    "session_id": None,
    "preset": None,
    "outcome": "completed",
    "error": None,
    "started_at": 0.0,
    "ended_at": None,
    "duration_ms": None,
    "input_messages": None,
    "params": {},
    "output": None,
    "references": [],
    "aggregator": None,
    "calls": [],
    "parent_turn_id": None,
    "turns": [],
    "tags": {},
    "totals": {"calls": 0, "failed": 0, "usage": {}, "cost_usd": None, "unpriced": 0},
    "implicit": False,
    "instrumentation_errors": 0,
    "trace_context": None,
    "writer": {"version": "", "host": "", "pid": 0, "started_at": 0.0, "seq": 0},
}
"""A turn of which nothing is known, likewise."""
