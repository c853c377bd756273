"""The view of a turn: one line with its late calls joined, and what follows from them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ._call import FAILED, CallView, TokenUsage, error_of
from ._cost import Cost, cost_of, usage_of
from ._fidelity import fidelity
from ._fields import Field, View, flag, items, mapping, number, text, texts, whole
from ._nesting import Nesting
from ._overlap import overlap_of
from ._prompt import question_of
from ._timeline import timeline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ._fidelity import Fidelity
    from ._overlap import Overlap
    from ._timeline import Span

__all__ = ["TurnView", "WriterInfo"]


class WriterInfo(View):
    """The process that wrote a line."""

    __slots__ = ()

    version = Field(text)
    """Of this library."""
    host = Field(text)
    """Name of the machine."""
    pid = Field(whole)
    """Id of the process."""
    started_at = Field(number)
    """When the process began to trace, in epoch seconds."""
    seq = Field(whole)
    """Number of the line among the process's, from 1."""
    integrity = Field(text)
    """How the line proves itself: `digest` or `hmac`; `None` if it does not."""
    key_id = Field(text)
    """The key of an HMAC, by its id."""
    previous = Field(text)
    """Digest of the line that the process completed before this one."""
    digest = Field(text)
    """Digest of the line's bytes before it."""

    def __repr__(self) -> str:
        """Name the process and the line."""
        return f"<WriterInfo {self.host}:{self.pid} #{self.seq}>"


class TurnView(View):
    """
    One turn: the keys of the record as attributes, and what follows from them.

    What a line does not tell, and a value of another type than its key has, is `None`, or empty for
    a list or a mapping. The keys are those of `moa_middleware.records.TurnRecord`.
    """

    __slots__ = ("_kept", "estimates", "file", "id", "line", "number", "offset", "raw")

    schema = Field(text)
    """`moa-turn/1`; `None` in traces of Hermes Agent."""
    ts = Field(number)
    """When the line was written, in epoch seconds."""
    turn_id = Field(text)
    """Id of the turn; `None` in traces of Hermes Agent."""
    session_id = Field(text)
    """Its session."""
    preset = Field(text)
    """Name of the ensemble."""
    outcome = Field(text)
    """How it ended."""
    error = Field(error_of)
    """The exception that ended it, an `ErrorDetails`."""
    params = Field(mapping)
    """Its parameters."""
    parent_turn_id = Field(text)
    """Id of the turn around it."""
    turns = Field(texts)
    """Ids of the turns opened inside it."""
    tags = Field(mapping)
    """The user's own tags."""
    notes = Field(items)
    """What the client noted of its decisions: mappings with `kind`, `at` and its own keys."""
    totals = Field(mapping)
    """The sums of the record, made when the turn closed."""
    implicit = Field(flag)
    """Whether it was opened for a single call outside any turn."""
    instrumentation_errors = Field(whole)
    """Faults of observers and of the tracing."""
    trace_context = Field(mapping)
    """OpenTelemetry's span, or empty."""
    omitted = Field(mapping)
    """Why values are `None` or cut, by their paths."""

    _known = frozenset(
        {
            *("started_at", "ended_at", "duration_ms", "input_messages", "output"),
            *("references", "aggregator", "calls", "writer"),
        }
    )

    # Set once, by the constructor.
    raw: bytes
    """The line's own bytes, without its newline and without late calls."""
    file: str
    """Name of the file."""
    line: int
    """Number of the line in the file, from 1."""
    offset: int
    """Where the line begins, in bytes of the (uncompressed) file."""
    number: int
    """Which turn of its session it is in the run, from 1."""
    id: str
    """`turn_id`, else a digest of the line that stands for it."""
    estimates: bool
    """Whether costs hold estimates of the prices that were not recorded."""
    _kept: dict[str, Any]

    def __init__(
        self,
        data: Mapping[str, Any],
        *,
        raw: bytes = b"",
        file: str = "",
        line: int = 0,
        offset: int = 0,
        number: int = 0,
        id: str = "",  # noqa: A002 - the attribute's name
        estimates: bool = False,
    ) -> None:
        put = object.__setattr__
        put(self, "_data", data)
        put(self, "raw", raw)
        put(self, "file", file)
        put(self, "line", line)
        put(self, "offset", offset)
        put(self, "number", number)
        put(self, "id", id or text(data.get("turn_id")) or "")
        put(self, "estimates", estimates)
        put(self, "_kept", {})

    def __reduce__(self) -> tuple[Any, ...]:
        place = {name: getattr(self, name) for name in ("raw", "file", "line", "offset", "number", "id", "estimates")}
        return partial(TurnView, **place), (self._data,)

    def __hash__(self) -> int:
        return hash((self.id, self.file, self.offset))

    # Calls ---------------------------------------------------------------------------------------

    @property
    def references(self) -> tuple[CallView, ...]:
        """The references, in the order of submission; one that ended late has its real outcome."""
        kept = self._kept.get("references")
        if kept is None:
            kept = self._kept["references"] = _calls(self._data.get("references"))
        return kept

    @property
    def aggregator(self) -> CallView | None:
        """The call that answered."""
        kept = self._kept
        if "aggregator" not in kept:
            found = self._data.get("aggregator")
            kept["aggregator"] = CallView(found) if isinstance(found, dict) else None
        found = kept["aggregator"]
        return found if isinstance(found, CallView) else None

    @property
    def calls(self) -> tuple[CallView, ...]:
        """Further calls: of other roles, earlier attempts, calls inside calls, and late ones that were not listed."""
        kept = self._kept.get("calls")
        if kept is None:
            kept = self._kept["calls"] = _calls(self._data.get("calls"))
        return kept

    @property
    def all_calls(self) -> tuple[CallView, ...]:
        """References, further calls and the aggregator."""
        aggregator = self.aggregator
        return (*self.references, *self.calls, *(() if aggregator is None else (aggregator,)))

    @property
    def requests(self) -> tuple[CallView, ...]:
        """The calls that stand for one request each: a call that is the sum of others inside it is not among them."""
        kept = self._kept.get("requests")
        if kept is None:
            kept = self._kept["requests"] = tuple(self.nesting().requests)
        return kept

    def nesting(self) -> Nesting:
        """Return which calls are inside which: see `Nesting`."""
        kept = self._kept.get("nesting")
        if kept is None:
            kept = self._kept["nesting"] = Nesting(self.all_calls, self.references, self.aggregator)
        return kept

    # Figures, with late calls --------------------------------------------------------------------

    @property
    def cost(self) -> Cost:
        """What its own calls cost, late ones among them; nested turns have costs of their own."""
        if not self._tells_calls():
            return Cost(None, self._total("unpriced"))
        kept = self._kept.get("cost")
        if kept is None:
            kept = self._kept["cost"] = cost_of(self.requests, estimate=self.estimates)
        return kept

    @property
    def usage(self) -> TokenUsage:
        """The tokens of its own calls, late ones among them."""
        return usage_of(self.requests)

    @property
    def call_count(self) -> int:
        """Calls that asked a model themselves; what a cache or another middleware answered is not counted."""
        if not self._tells_calls():
            return self._total("calls")
        return sum(call.source in (None, "provider") for call in self.requests)

    @property
    def failed_calls(self) -> int:
        """Calls that failed: those that their function handled, and refusals by a middleware, among them."""
        return sum(call.failed for call in self.requests)

    @property
    def handled_calls(self) -> int:
        """Those of `failed_calls` whose error or cancellation their function caught."""
        return sum(call.handled for call in self.requests)

    @property
    def late_calls(self) -> int:
        """Calls that ended after the turn, as far as late lines tell."""
        return sum(call.late for call in self.all_calls)

    @property
    def pending_calls(self) -> int:
        """Calls that were still running when the turn closed, and whose end no late line tells."""
        return sum(call.pending for call in self.requests)

    @property
    def failed(self) -> bool:
        """Whether the turn itself failed: `error` or `crashed`."""
        return self.outcome in FAILED

    def _tells_calls(self) -> bool:
        # A record that could not be made whole lists no calls, but knows how many there were.
        return bool(self.all_calls) or not self._total("calls")

    def _total(self, name: str) -> int:
        return whole(self.totals.get(name)) or 0

    # The rest ------------------------------------------------------------------------------------

    @property
    def started_at(self) -> float | None:
        """When it began, in epoch seconds; for a trace that tells no turn's times, when its first call did."""
        own = number(self._data.get("started_at"))
        if own is not None or "started_at" in self._data:
            return own
        return min((at for call in self.all_calls if (at := call.started_at) is not None), default=None)

    @property
    def ended_at(self) -> float | None:
        """When it was complete, in epoch seconds."""
        own = number(self._data.get("ended_at"))
        if own is not None or "ended_at" in self._data:
            return own
        return max((at for call in self.all_calls if (at := call.ended_at) is not None), default=None)

    @property
    def duration_ms(self) -> float | None:
        """How long it took, in milliseconds."""
        own = number(self._data.get("duration_ms"))
        if own is not None or "duration_ms" in self._data:
            return own
        start, end = self.started_at, self.ended_at
        return None if start is None or end is None else number(1000 * (end - start))

    @property
    def at(self) -> float | None:
        """When it began, else when its line was written, in epoch seconds."""
        started = self.started_at
        return self.ts if started is None else started

    @property
    def input_messages(self) -> Any:
        """The request to `create`, as it was when the turn began."""
        return self._data.get("input_messages")

    @property
    def output(self) -> str | None:
        """The text that the turn returned; the aggregator's in traces that tell no turn's."""
        if "output" in self._data:
            return text(self._data["output"])
        return self.aggregator.output if self.aggregator is not None else None

    @property
    def writer(self) -> WriterInfo:
        """The process that wrote the line."""
        return WriterInfo(mapping(self._data.get("writer")))

    @property
    def name(self) -> str:
        """`SESSION#N`, as `Run.turn` takes it."""
        return f"{self.session_id if self.session_id is not None else 'unknown-session'}#{self.number}"

    @property
    def prompt(self) -> Any:
        """What the turn was asked: its `input_messages`, those of its first call where a trace has no turn's."""
        if self.input_messages is not None:
            return self.input_messages
        return next((call.input_messages for call in self.all_calls if call.input_messages is not None), None)

    @property
    def question(self) -> str:
        """The text of the user's last message in `prompt`, empty if there is none; what is not text is in brackets."""
        return question_of(self.prompt)

    @property
    def answer(self) -> str:
        """The text that the turn answered with: its `output`, else the aggregator's, empty if there is none."""
        return self.output or (self.aggregator.output if self.aggregator is not None else None) or ""

    def fidelity(self) -> tuple[Fidelity, ...]:
        """
        Return, for each reference, whether its output is in what the aggregator got.

        See `Fidelity`; the order is that of `references`.
        """
        return fidelity(self.references, self.aggregator)

    def overlap(self) -> Overlap:
        """Return which part of the answer is in which reference: see `Overlap`."""
        return overlap_of(self.answer, [None if one.failed else one.output for one in self.references])

    def timeline(self) -> tuple[Span, ...]:
        """
        Return the requests in the order in which they began, each a `Span` with its times and its part of the cost.

        A reference, an aggregator or another call with a role that made several requests is listed too, before these.
        """
        return timeline(self.nesting(), self.references, self.aggregator, self.started_at, estimate=self.estimates)

    def __repr__(self) -> str:
        """Name the turn; never its content."""
        return f"<TurnView {self.name} {self.id} {self.outcome or 'unknown'}, {len(self.all_calls)} calls>"

    def _repr_html_(self) -> str:
        """Return the turn for a notebook, in a frame that can run nothing and load nothing."""
        from ._html import frame, seconds  # only notebooks need it

        facts = (self.preset or "", self.outcome or "unknown", seconds(self.duration_ms), str(self.cost))
        return frame(self.name, facts, self.output, self.all_calls)


def _calls(value: Any) -> tuple[CallView, ...]:
    return tuple(CallView(one) for one in items(value) if isinstance(one, dict))
