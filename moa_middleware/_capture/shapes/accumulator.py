"""
Reading the chunks of a stream, by duck typing, whichever SDK made them.

`Accumulator` gathers them into one reply, `read_chunks` shows one of them to a tap. An object of an
unknown class is counted and named, never an error, and no SDK is imported.
"""

from __future__ import annotations

from time import perf_counter_ns
from typing import Any

from ..flow.model import Chunk, Reply, Usage
from ..flow.outcome import is_interrupt
from . import anthropic, formats, openai_chat, openai_responses, plain, registry
from .choice import KINDS, Choice, StreamContent, add_text, new_reply
from .usage import read_usage, read_usage_and_cost

__all__ = ["Accumulator", "read_chunks"]

_SHAPES = (openai_chat, openai_responses, anthropic, *formats.FORMATS.values(), plain)
"""In the order in which they are asked; the last takes whatever it can."""
_TELLING = frozenset({"base_resp", "choices", "error", "object", "type"}) | formats.KEYS
"""Keys without which a dict is of none of the SDKs' shapes."""


class Accumulator(StreamContent):
    """The text of a stream, gathered as it passes."""

    __slots__ = ("first_ns", "last", "tools", "unknown", "unread", "words")

    def __init__(self, *, single: bool = False, tools: bool = True) -> None:
        super().__init__(single=single)
        self.tools = tools
        """True if tool calls may come next to a text."""
        self.words = False
        """True if the chunks so far are strings."""
        self.last: Any = None
        """The chunk with the last of the texts that are not settled."""
        self.first_ns: int | None = None
        """Monotonic time of the first chunk, in nanoseconds."""
        self.unread = 0
        """Number of chunks that raised while they were read, or of which nothing was understood."""
        self.unknown: dict[str, str] | None = None
        """The first chunk of which nothing was understood."""

    def feed(self, chunk: Any) -> None:
        """Take one chunk in; never raises."""
        if self.simple:
            # The loops of `streams` hold a copy of this: a call costs as much again.
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
        if self.words and type(chunk) is str:
            self.texts.append(chunk)
            return
        self.feed_whole(chunk)

    def feed_whole(self, chunk: Any) -> None:
        """Take one chunk in with all that it says; never raises."""
        if self.settled != len(self.texts):
            self.settle(chunk)
        if not self.read_whole:
            self.first_ns = perf_counter_ns()
        self.read_whole += 1
        try:
            if not self._feed(chunk):
                self.unread += 1
                if self.unknown is None:
                    self.unknown = registry.describe(chunk)
        except BaseException as error:
            if is_interrupt(error):
                raise
            self.unread += 1
        self.settled = len(self.texts)

    def settle(self, chunk: Any = None) -> None:
        """
        Take in the rest of the last chunk of which only the text was read.

        Args:
            chunk: The one that comes next. A client that uses an object again has by now written the
                next chunk into the last one, which must not be read twice.
        """
        number = len(self.texts)
        if number == self.settled:
            return
        self.read_whole += number - self.settled
        self.settled = number
        last, self.last = self.last, None
        # One chunk of a run is enough: the id, the model and the fingerprint are in each, and the finish
        # reason and the usage come with the last text or after it.
        try:
            if last is not None and not openai_chat.is_used_again(last, chunk):
                openai_chat.feed(self, last, text=False)
        except Exception:
            self.unread += 1

    def _feed(self, chunk: Any) -> bool:
        if type(chunk) is str:
            self.texts = (self.choice_of_speaker(None) if self.speakers else self.choice(0)).text
            self.texts.append(chunk)
            self.words = not self.speakers
            self.forgive()
            return True
        self.words = False
        for cls, read, _ in registry.registered:
            if read is not None and isinstance(chunk, cls):
                self.add(read(chunk))
                return True
        # Most events of hand-written generators are dicts of none of the SDKs: one look in place of three.
        if type(chunk) is dict and _TELLING.isdisjoint(chunk):
            return plain.feed(self, chunk)
        for shape in _SHAPES:  # noqa: SIM110 - a generator's steps are calls
            if shape.feed(self, chunk):
                return True
        return False

    def add(self, chunk: Chunk | None) -> None:
        """Take in a chunk that a reader of the user's has read."""
        if chunk is None:
            return
        choice = self.choice(chunk.choice)
        for kind in KINDS:
            add_text(getattr(choice, kind), getattr(chunk, kind))
        for call in chunk.tool_calls:
            choice.add_tool_call(call)
        if chunk.finish_reason is not None:
            choice.finish_reason = chunk.finish_reason
        if chunk.usage is not None:
            self.usage = chunk.usage

    @property
    def finished(self) -> bool:
        """True if every choice has its finish reason, so that nothing of it is missing."""
        self.settle()
        return bool(self.choices) and all(choice.finish_reason is not None for choice in self.choices.values())

    def _answering_choice(self, choices: list[Choice]) -> Choice | None:
        """Return the first choice; of several speakers the one who began when all others had ended, if there is one."""
        # A generator that streams several references and then the aggregator's answer names each as the
        # source of its pieces. Only a voice that begins when the others are silent can have read them.
        if len(self.speakers) > 1:
            last = max(choices, key=lambda choice: choice.began)
            others = [choice.spoke for choice in choices if choice is not last]
            return last if last.began > max(others) else None
        return choices[0] if choices else None

    def reply(self) -> Reply:
        """Return what has been gathered so far, as a reply that is new; never raises."""
        self.settle()
        choices = [self.choices[index] for index in sorted(self.choices)]
        first = self._answering_choice(choices) or Choice(0)
        model = self.details.get("response_model")
        tokens = (self.usage, None) if isinstance(self.usage, Usage) else read_usage_and_cost(self.usage, model=model)
        details = {"shape": self.shape, "usage_raw": self.usage, "unread": self.unread}
        details["unknown"] = None if self.choices else self.unknown
        details |= self.details
        if self.columns and not self.choices:
            # A name comes with each piece, and pieces differ: the column with the most different texts is the reply's.
            columns = sorted(self.columns.values(), key=lambda column: (len(set(column)), sum(map(len, column))))
            details["texts"] = tuple(map("".join, columns))
            first = Choice(0)
            first.text = columns[-1]
        return new_reply(None, first, choices, tokens, details, None, self.count, error=self.failure)


def read_chunks(raw: Any) -> tuple[Chunk, ...]:
    """Return one raw chunk as taps see it, once for each choice in it; an odd one has no text."""
    try:
        for cls, read, _ in registry.registered:
            if read is not None and isinstance(raw, cls):
                return ((read(raw) or Chunk()).replace(raw=raw),)
        one = Accumulator(single=True)
        one.feed(raw)
        usage = read_usage(one.usage)
        *others, last = one.choices.values() or (Choice(0),)
        # The tokens are those of the whole request: a tap that adds them up shall not meet them twice.
        return (*(_chunk(choice, raw) for choice in others), _chunk(last, raw, usage))
    except Exception:
        return (Chunk(raw=raw),)


def _chunk(choice: Choice, raw: Any, usage: Usage | None = None) -> Chunk:
    said: dict[str, Any] = {kind: "".join(getattr(choice, kind)) for kind in KINDS}
    said |= {"choice": choice.index, "tool_calls": choice.call_pieces(), "finish_reason": choice.finish_reason}
    return Chunk(**said, usage=usage, raw=raw)
