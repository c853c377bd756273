"""
What middleware sees: a call, its reply and a chunk of it.

Plain, frozen values. This module knows nothing about how they are made, driven or stored; how a
request is laid out in the arguments of a function is the business of `shapes.request`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, fields
from dataclasses import replace as _replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias, cast

from ...errors import RequestError, TagError

if TYPE_CHECKING:
    from .effects import Sleep, Wait

__all__ = ["SAID", "Call", "Chunk", "Flow", "Middleware", "Outcome", "Reply", "Tap", "Usage", "complete"]

Outcome: TypeAlias = Literal["completed", "closed", "abandoned", "cancelled", "consumer_error", "error", "crashed"]
"""How a call or a turn ended; the table is in the docs, *Concepts*."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """
    Tokens of one call; `None` where the provider reported none.

    Attributes:
        input_tokens: Tokens of the prompt, without those read from a cache and those written to one.
        output_tokens: Tokens of the reply, those of its reasoning among them.
        cache_read_tokens: Tokens of the prompt that came from a cache.
        cache_write_tokens: Tokens of the prompt that were written to a cache.
        reasoning_tokens: The part of `output_tokens` spent on reasoning.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """
    One piece of one choice of a streamed reply, made only if somebody taps the stream.

    Attributes:
        text: The piece of the answer, "" if the chunk has none.
        choice: Index of the choice that it belongs to.
        reasoning: The piece of the reasoning, "" if there is none.
        refusal: The piece of the refusal, "" if there is none.
        tool_calls: Tool calls, or pieces of them, in OpenAI's form: mappings with `index`, `id`, `type` and
            `function`. The pieces of one call share its index; most have no id and no name. `index` is `None`
            where the provider sends none.
        finish_reason: Why the choice ended, on its last chunk.
        usage: Tokens so far, where the chunk reports them.
        raw: The SDK's own object. A chunk that `map_chunks` returns unchanged passes this very object on.
    """

    text: str = ""
    choice: int = 0
    reasoning: str = ""
    refusal: str = ""
    tool_calls: Sequence[Any] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    raw: Any = None

    def replace(self, **changes: Any) -> Chunk:
        """
        Return a copy with these fields changed.

        Of a chunk that `map_chunks` returns, `text`, `reasoning`, `refusal` and `tool_calls` are written back.
        """
        return _replace(self, **changes)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Reply:
    """
    What came back, or what a middleware answers in its stead.

    Attributes:
        text: The answer of the first choice, `None` if it has no text.
        tool_calls: Tool calls of the first choice, in OpenAI's form, arguments joined.
        reasoning: Reasoning that the provider showed.
        refusal: The refusal, if the model refused.
        choices: Every choice, where there is more than one: mappings with `index`, `text`,
            `reasoning`, `refusal`, `tool_calls`, `finish_reason`.
        finish_reason: Why the first choice ended, in the provider's word.
        usage: Tokens, `None` if the provider reported none.
        cost_usd: Price in US dollars, `None` if it is not known.
        outcome: How the call ended.
        error: The exception that ended it, if one did.
        duration_ms: Milliseconds from the request to the end of the reply.
        first_chunk_ms: Milliseconds from the request to the first chunk of a stream.
        chunks: Number of chunks of a stream, `None` for a reply in one piece.
        source: Who answered: `provider`, `cache` or `middleware`.
        raw: The SDK's own object, for a reply in one piece.

    What else a provider's reply holds is under the names that the record has for it: `citations`, `parts`,
    `served_by`, `filters`, `stop_sequence` and `timings`, each as a copy.
    """

    text: str | None = None
    tool_calls: Sequence[Any] = ()
    reasoning: str | None = None
    refusal: str | None = None
    choices: Sequence[Mapping[str, Any]] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    cost_usd: float | None = None
    outcome: Outcome = "completed"
    error: BaseException | None = field(default=None, repr=False)
    duration_ms: float | None = None
    first_chunk_ms: float | None = None
    chunks: int | None = None
    source: str = "middleware"
    raw: Any = field(default=None, repr=False)
    _details: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def replace(self, **changes: Any) -> Reply:
        """
        Return a copy with these fields changed.

        One that says something else is no longer the provider's: `raw` is dropped and `source` is
        `middleware`, unless they are given too. A change of the first choice's fields is made in
        `choices` as well.
        """
        said = changes.keys() & SAID
        if said:
            changes.setdefault("raw", None)
            if self.source == "provider":
                changes.setdefault("source", "middleware")
            if self.choices and "choices" not in changes:
                first = {**self.choices[0], **{name: changes[name] for name in said}}
                changes["choices"] = [first, *self.choices[1:]]
        return _replace(self, **changes)

    def _held(self, name: str) -> Any:
        items = self._details.get("items")
        # A copy: the record has the same objects.
        return None if items is None else deepcopy(items.record().get(name))

    @property
    def citations(self) -> Sequence[Mapping[str, Any]]:
        """Sources that the reply names, in one form for all providers."""
        return self._held("citations") or ()

    @property
    def parts(self) -> Sequence[Mapping[str, Any]]:
        """What else the reply consists of, in its order and in the provider's words."""
        return self._held("parts") or ()

    @property
    def served_by(self) -> Mapping[str, str]:
        """Who computed the reply, where the endpoint passed the request on."""
        return self._held("served_by") or {}

    @property
    def filters(self) -> Mapping[str, Any]:
        """What the provider's filters found in prompt and reply, by the provider's names."""
        return self._held("filters") or {}

    @property
    def stop_sequence(self) -> str | None:
        """Which of the request's sequences ended the reply, `None` if none did or that is not known."""
        return cast("str | None", self._held("stop_sequence"))

    @property
    def timings(self) -> Mapping[str, float]:
        """Durations by the provider's names and in its units."""
        return self._held("timings") or {}

    def __repr__(self) -> str:
        """Name the reply without its content, so that a log of it leaks nothing."""
        return f"<Reply {self.outcome} source={self.source} chunks={self.chunks}>"


class Tap(NamedTuple):
    """One registration of a middleware on a stream."""

    kind: Literal["on_chunk", "map_chunks", "buffer"]
    fn: Callable[[Chunk], Any]
    owner: str
    guard: Callable[[BaseException], None] | None
    """Takes the faults of an observer's tap; `None` for a middleware, whose faults are the caller's."""


DROPPED: Any = object()
"""In place of a chunk that `map_chunks` has dropped."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Call:
    """
    One request to one model, as middleware sees it.

    Attributes:
        id: UUIDv7 of the call.
        turn_id: UUIDv7 of the turn that it belongs to.
        role: `reference`, `aggregator`, a word of your own, or `None` while it is to be inferred.
        label: Name of the slot in the ensemble; the model's name unless one was given.
        layer: Round of references it belongs to, from 1; `None` while it is to be inferred.
        attempt: 1 for the first request, 2 for the next one after it …
        parent: Id of the call around this one, `None` for most.
        model: The model's name, if the request has one.
        provider: Name of the SDK or provider, if it is known.
        messages: The request as the function got it; a string is shown as one user message.
        params: Parameters of the request, by name; credentials and headers are not among them.
        stream: Whether the caller asked for a stream.
        tags: The caller's own tags.
        args: Positional arguments, as the function gets them.
        kwargs: Keyword arguments, as the function gets them.
        is_async: Whether the function is a coroutine function, or makes an async stream. A plain function may
            return an awaitable all the same.
    """

    id: str
    turn_id: str
    role: str | None = None
    label: str | None = None
    layer: int | None = None
    attempt: int = 1
    parent: str | None = None
    model: str | None = None
    provider: str | None = None
    messages: Any = None
    params: Mapping[str, Any] = field(default_factory=dict)
    stream: bool = False
    tags: Mapping[str, Any] = field(default_factory=dict)
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    is_async: bool = False
    _state: Any = field(default=None, compare=False)
    """Its `CallState`, `None` for a call that was made by hand."""
    _binding: Any = None
    """The `RequestSpec` of the function: where the parts of the request are in its arguments."""
    _taps: list[Tap] = field(default_factory=list)
    _outer: int = 0
    """How many of the registrations are of middleware further out."""
    _owner: str = ""
    _guard: Callable[[BaseException], None] | None = None

    def replace(self, **changes: Any) -> Call:
        """
        Return a copy with these fields changed; registrations on the stream are carried along.

        A change of `messages`, `model`, `params` or `stream` is written into the arguments, and a
        change of `args` or `kwargs` is read back from them.

        Raises:
            TagError: For a field that a call does not have.
            RequestError: For a part of the request whose argument is not known.
        """
        unknown = changes.keys() - _PUBLIC
        if unknown:
            name = min(unknown)
            msg = (
                f"a call has no field {name!r}; it has {', '.join(sorted(_PUBLIC))}; "
                f"a parameter goes in params={{**call.params, {name!r}: …}}"
            )
            raise TagError(msg)
        if changes.keys() & _REQUEST:
            if self._binding is None:
                msg = "this call was made by hand: its arguments cannot be edited"
                raise RequestError(msg)
            changes |= self._binding.rebind(self, changes)
        # A list of its own: what is registered on the copy is not registered here.
        return _replace(self, _taps=[*self._taps], **changes)

    @property
    def session_id(self) -> str | None:
        """The session of its turn, `None` if it has none."""
        return None if self._state is None else cast("str | None", self._state.turn.session_id)

    @property
    def endpoint(self) -> str | None:
        """The URL that it is sent to, without credentials and query, `None` if that is not known."""
        return None if self._state is None else cast("str | None", self._state.endpoint)

    @property
    def turn_state(self) -> dict[Any, Any]:
        """
        A dict of the outermost turn, for what a middleware keeps from one call of the turn to the next.

        All calls of the turn, of the turns inside it, and of any thread share it, so each middleware keeps its own under
        itself: `call.turn_state.setdefault(self, Spent())`. It goes with the turn.
        """
        if self._state is None:
            return {}
        turn = self._state.turn
        while turn.parent is not None:
            turn = turn.parent
        # In one step: references of one turn ask for it from several threads.
        found: dict[Any, Any] = vars(turn).setdefault("state", {})
        return found

    def request_key(self) -> str | None:
        """
        Return a key that requests with the same answer share, for a cache: 64 hex digits.

        It is made of the function, the endpoint, all arguments but `stream`, `stream_options` and `timeout`, and of the
        client's credentials, of which it shows nothing. `None` if that cannot be said: an argument has no form as
        JSON, or the function is a method of an object of the program's own, a nested function or a `partial`.
        """
        function = None if self._state is None else self._state.function
        return None if function is None else cast("str | None", function.key_of(self))

    def on_chunk(self, fn: Callable[[Chunk], object]) -> None:
        """Call `fn` with each chunk as it passes; what it returns is ignored."""
        self._register("on_chunk", fn)

    def map_chunks(self, fn: Callable[[Chunk], Chunk | str | None]) -> None:
        """
        Pass each chunk through `fn` on its way to the consumer.

        `fn` returns the chunk, a changed one (`chunk.replace(text=…)`), a `str` as its new text, or
        `None` to drop it. What repeats the text at the end of a stream is made anew from what went on. A change that
        the chunk has no place for ends the stream with `ReplyFormError`.
        """
        self._register("map_chunks", fn)

    def buffer(self) -> None:
        """Hold the stream back until it is complete, so that its reply can still be replaced."""
        self._register("buffer", _nothing)

    def _register(self, kind: Literal["on_chunk", "map_chunks", "buffer"], fn: Callable[[Chunk], Any]) -> None:
        # Taps run from the end of the list, the wire, outwards; those of one middleware in the order
        # in which it registered them.
        self._taps.insert(self._outer, Tap(kind, fn, self._owner, self._guard))

    def __repr__(self) -> str:
        """Name the call without its content, so that a log of it leaks nothing."""
        return f"<Call {self.id} role={self.role} label={self.label} attempt={self.attempt}>"


SAID = frozenset({"text", "tool_calls", "reasoning", "refusal", "choices", "finish_reason"})
"""The fields of a reply that the caller reads."""
_PUBLIC = frozenset(f.name for f in fields(Call) if not f.name.startswith("_"))
_REQUEST = frozenset({"messages", "model", "params", "stream", "args", "kwargs"})


def _nothing(_chunk: Chunk) -> None:
    """Stand in where a tap has no function."""


def complete(reply: Reply, **changes: Any) -> Reply:
    """Change a reply that is still ours alone, and return it: a copy costs 6 µs."""
    put = object.__setattr__
    for name, value in changes.items():
        put(reply, name, value)
    return reply


Flow: TypeAlias = Generator["Call | Sleep | Wait[Any]", Reply, Any]
"""What a middleware returns: a generator that yields the call and gets its reply."""


class Middleware(Protocol):
    """Any callable that takes a call and returns a flow; a generator function is the usual one."""

    def __call__(self, call: Call, /) -> Flow:
        """Return the flow around `call`."""
        ...
