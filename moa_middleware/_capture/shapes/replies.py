"""
Reading what came back, by duck typing, whoever returned it.

`Accumulator` is for the chunks of a stream, `read_reply` for a value in one piece, `read_chunk` for
a tap.

An object that nobody understands is counted and named, never an error, and no SDK is imported.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import TYPE_CHECKING, Any

from ..flow.model import Chunk, Reply, Usage, complete
from . import anthropic, openai_chat, openai_responses, plain
from .choice import Choice
from .raw import body_of
from .usage import read_cost, read_usage

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Accumulator", "describe", "read_chunk", "read_reply", "register_shape"]

_registered: list[tuple[type, Callable[[Any], Chunk | None] | None, Callable[[Any], Reply | None] | None]] = []


def register_shape(
    cls: type, *, chunk: Callable[[Any], Chunk | None] | None = None, reply: Callable[[Any], Reply | None] | None = None
) -> None:
    """
    Teach the library a class of your own.

    Args:
        cls: The class of the objects; subclasses are meant too.
        chunk: Reads one object of a stream into a `Chunk`, `None` for one that carries nothing.
        reply: Reads a value in one piece into a `Reply`, `None` to leave it to the built-in shapes.

    Raises:
        TypeError: If `cls` is not a class.
    """
    if not isinstance(cls, type):
        msg = f"register_shape() takes a class first, got {type(cls).__name__}"
        raise TypeError(msg)
    _registered.insert(0, (cls, chunk, reply))


def describe(obj: object) -> dict[str, str]:
    """Return the type of an unknown object and the head of its `repr`, longer than the key `raw` shows it."""
    kind = type(obj)
    try:
        text = repr(obj)
    except Exception:
        text = ""
    return {"type": f"{kind.__module__}.{kind.__qualname__}", "repr": text[:2000]}


_SHAPES = (openai_chat, openai_responses, anthropic, plain)
"""In the order in which they are asked; the last takes whatever it can."""


_TELLING = frozenset({"choices", "object", "type"})
"""Keys without which a dict is of none of the SDKs' shapes."""


class Accumulator:
    """
    The text of a stream, gathered as it passes.

    It keeps strings and not the chunks (65 bytes a chunk in place of 2.7 kB; clients may reuse a
    chunk object), by choice, kind and index of the tool call.
    """

    __slots__ = (
        "choices",
        "cost_usd",
        "details",
        "events",
        "failure",
        "fed",
        "first_ns",
        "form",
        "last",
        "settled",
        "shape",
        "simple",
        "single",
        "speakers",
        "texts",
        "tools",
        "unknown",
        "unread",
        "usage",
        "words",
    )

    def __init__(self, *, single: bool = False, tools: bool = True) -> None:
        self.single = single
        """Whether it takes one chunk, for a tap: an event that repeats others has nothing to say then."""
        self.tools = tools
        """Whether tool calls may come beside a text."""
        self.fed = 0
        """Chunks that were read as a whole."""
        self.simple = False
        """
        Whether the chunks so far are OpenAI's with one choice that says nothing but text.

        From then on the text of each is all that is read at once, with its tool calls where the
        request offers tools: each further attribute of a pydantic model costs 25 ns on Python 3.11,
        a tenth of the whole. What else may come with a text is read from the last of a run of texts.
        The first text and all chunks without one are read as a whole, so that a stream that thinks
        or calls tools is none of these.
        """
        self.words = False
        """Whether the chunks so far are strings."""
        self.texts: list[Any] = []
        """The texts of that choice."""
        self.settled = 0
        """How many of them are counted in `fed`."""
        self.last: Any = None
        """The chunk with the last of those that are not."""
        self.first_ns: int | None = None
        """Monotonic time of the first chunk, in nanoseconds."""
        self.unread = 0
        """Chunks that raised while they were read, or that nobody understood."""
        self.unknown: dict[str, str] | None = None
        self.choices: dict[int, Choice] = {}
        self.details: dict[str, Any] = {}
        self.usage: Any = None
        self.cost_usd: float | None = None
        self.shape: str | None = None
        """The family, where it is known that the chunks are an SDK's."""
        self.events = False
        """Whether they are Anthropic's events, whose types are words that others use as well."""
        self.form: object = None
        """Class and `type` of the first plain object that carried text."""
        self.speakers: dict[str | None, int] = {}
        """Index of the choice of everybody who was named in a stream of plain events."""
        self.failure: BaseException | None = None
        """What the provider told of a failure, without raising."""

    @property
    def count(self) -> int:
        """Chunks so far."""
        return self.fed + len(self.texts) - self.settled

    def feed(self, chunk: Any) -> None:
        """Take one chunk in; never raises."""
        if self.words and type(chunk) is str:
            self.texts.append(chunk)
            return
        if self.simple:
            # The loops of `_loops` hold a copy of this: a call costs as much again.
            try:
                (item,) = chunk.choices
                delta = item.delta
                text = delta.content
                if text and not item.index and not (self.tools and getattr(delta, "tool_calls", None)):
                    self.texts.append(text)
                    self.last = chunk
                    return
            except Exception:
                pass  # it is read as a whole then
        self.feed_whole(chunk)

    def feed_whole(self, chunk: Any) -> None:
        """Take one chunk in with all that it says; never raises."""
        self.settle(chunk)
        if not self.fed:
            self.first_ns = perf_counter_ns()
        self.fed += 1
        try:
            if not self._feed(chunk):
                self.unread += 1
                if self.unknown is None:
                    self.unknown = describe(chunk)
        except Exception:
            self.unread += 1
        self.settled = len(self.texts)

    def settle(self, chunk: Any = None) -> None:
        """
        Take in what else the last of the chunks said of which only the text was read.

        Args:
            chunk: The one that comes next. Where a client uses an object again, the last one says by
                now what this one says, and must not be read twice.
        """
        number = len(self.texts)
        if number == self.settled:
            return
        self.fed += number - self.settled
        self.settled = number
        last, self.last = self.last, None
        try:
            if last is not None and not openai_chat.is_used_again(last, chunk):
                openai_chat.feed_rest(self, last)
        except Exception:
            self.unread += 1

    def _feed(self, chunk: Any) -> bool:
        if type(chunk) is str:
            self.texts = (plain.voice(self, None) if self.speakers else self.choice(0)).text
            self.texts.append(chunk)
            self.words = not self.speakers
            return True
        self.words = False
        for cls, read, _ in _registered:
            if read is not None and isinstance(chunk, cls):
                self.add(read(chunk))
                return True
        if type(chunk) is dict and _TELLING.isdisjoint(chunk):
            return plain.feed(self, chunk)
        return any(shape.feed(self, chunk) for shape in _SHAPES)

    def choice(self, index: int) -> Choice:
        """Return the choice of this index, made at its first chunk."""
        found = self.choices.get(index)
        if found is None:
            found = self.choices[index] = Choice(index)
        return found

    def add(self, chunk: Chunk | None) -> None:
        """Take in a chunk that a shape has read."""
        if chunk is None:
            return
        choice = self.choice(chunk.choice)
        if chunk.text:
            choice.text.append(chunk.text)
        if chunk.reasoning:
            choice.reasoning.append(chunk.reasoning)
        if chunk.refusal:
            choice.refusal.append(chunk.refusal)
        for call in chunk.tool_calls:
            choice.add_tool_call(call)
        if chunk.finish_reason is not None:
            choice.finish_reason = chunk.finish_reason
        if chunk.usage is not None:
            self.usage = chunk.usage

    @property
    def finished(self) -> bool:
        """Whether every choice has told its finish reason, so that nothing of it is missing."""
        self.settle()
        return bool(self.choices) and all(choice.finish_reason is not None for choice in self.choices.values())

    def _main(self, choices: list[Choice]) -> Choice | None:
        """Return the first choice; of several speakers the one who began when all others had ended, if there is one."""
        if len(self.speakers) > 1:
            last = max(choices, key=lambda choice: choice.began)
            others = [choice.spoke for choice in choices if choice is not last]
            return last if last.began > max(others) else None
        return choices[0] if choices else None

    def reply(self) -> Reply:
        """Return what has been gathered so far, as a reply that is new; never raises."""
        self.settle()
        try:
            return self._reply()
        except Exception:  # an odd usage object, say
            self.usage = None
            self.unread += 1
            return self._reply()

    def _reply(self) -> Reply:
        choices = [self.choices[index] for index in sorted(self.choices)]
        first = self._main(choices) or Choice(0)
        return Reply(
            text=first.joined("text"),
            tool_calls=first.calls(),
            reasoning=first.joined("reasoning"),
            refusal=first.joined("refusal"),
            choices=[choice.as_dict() for choice in choices] if len(choices) > 1 else (),
            finish_reason=first.finish_reason,
            usage=self.usage if isinstance(self.usage, Usage) else read_usage(self.usage),
            cost_usd=self.cost_usd if self.cost_usd is not None else read_cost(self.usage),
            chunks=self.count,
            outcome="completed" if self.failure is None else "error",
            error=self.failure,
            source="provider",
            _details={
                **self.details,
                "shape": self.shape,
                "usage_raw": self.usage,
                "unknown": self.unknown if not self.choices else None,
                "unread": self.unread,
            },
        )


def read_chunk(raw: Any) -> Chunk:
    """Return one raw chunk as taps see it; an odd one has no text."""
    try:
        for cls, read, _ in _registered:
            if read is not None and isinstance(raw, cls):
                return (read(raw) or Chunk()).replace(raw=raw)
        one = Accumulator(single=True)
        one.feed(raw)
        for index, choice in one.choices.items():
            return Chunk(
                text="".join(choice.text),
                choice=index,
                reasoning="".join(choice.reasoning),
                refusal="".join(choice.refusal),
                tool_calls=choice.calls(),
                finish_reason=choice.finish_reason,
                usage=read_usage(one.usage),
                raw=raw,
            )
        return Chunk(usage=read_usage(one.usage), raw=raw)
    except Exception:
        return Chunk(raw=raw)


def read_reply(value: Any) -> Reply:
    """Return a value in one piece as a reply that is new; what is not understood is named under `raw`."""
    try:
        for cls, _, read in _registered:
            if read is not None and isinstance(value, cls):
                found = read(value)
                if found is not None:
                    return found.replace(source="provider", raw=value)
        body = body_of(value)
        for shape in _SHAPES:
            reply: Reply | None = shape.read(value if body is None else body)
            if reply is not None:
                return complete(reply, raw=value)
    except Exception:
        pass
    return Reply(source="provider", raw=value, _details={"unknown": describe(value)})
