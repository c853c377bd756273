"""What the choices of a reply have said so far, in whichever format it came, and the reply that is made of them."""

from __future__ import annotations

from copy import copy
from operator import setitem
from typing import TYPE_CHECKING, Any, Never, cast

from ..flow.model import Reply
from .fields import get
from .tool_calls import ToolCalls

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..flow.model import Usage
    from .tool_calls import ToolCall

__all__ = ["KINDS", "Choice", "StreamContent", "add_text", "new_reply", "replaced", "texts_of"]


KINDS = ("text", "reasoning", "refusal")
"""Kinds of text, by their names in a choice, a chunk and a reply."""


class Choice:
    """What one choice has said so far."""

    __slots__ = ("began", "finish_reason", "index", "reasoning", "refusal", "speaker", "spoke", "text", "tools")

    def __init__(self, index: int) -> None:
        self.index = index
        self.text: list[str] = []
        self.reasoning: list[str] = []
        self.refusal: list[str] = []
        self.tools: ToolCalls | list[Never] = []
        """`ToolCalls` as soon as there is one: most choices have none."""
        self.finish_reason: str | None = None
        self.speaker: str | None = None
        """Who says it, where a stream names several."""
        self.began = self.spoke = 0
        """Places of its first and its last piece among those of all speakers."""

    def add_tool_call(self, delta: Any) -> None:
        """Take in a tool-call delta, or a whole tool call."""
        if not self.tools:
            self.tools = ToolCalls()
        cast("ToolCalls", self.tools).add(delta)

    def tool_call(self, index: object) -> ToolCall | None:
        """Return the call of this index, `None` if there is none."""
        return cast("ToolCalls", self.tools).find(index) if self.tools else None

    def joined(self, kind: str) -> str | None:
        """Return one kind of text, `None` if there was none."""
        pieces: list[Any] = getattr(self, kind)
        if not pieces:
            return None
        # The hot loops of a stream append what `content` holds without a look at its type, and a server may
        # send a list of parts there. To find it out here costs an exception in that case only.
        try:
            return "".join(pieces)
        except TypeError:  # a content that is a list of parts
            self._take_lists()
            return "".join(getattr(self, kind)) or None

    def _take_lists(self) -> None:
        """Read the lists of parts among the pieces of the text."""
        pieces, self.text = self.text, []
        for piece in pieces:
            self.add_content(piece)

    def add_content(self, content: Any) -> None:
        """Take in a content: a text, or a list of parts."""
        if isinstance(content, str):
            add_text(self.text, content)
            return
        for part in content if isinstance(content, list | tuple) else ():
            kind = get(part, "type")
            if kind == "thinking":
                # Mistral's, whose value is a list of parts again; a text in older models.
                thinking = get(part, "thinking")
                self.reasoning += [thinking] if isinstance(thinking, str) else texts_of(thinking)
            elif kind == "refusal":
                add_text(self.refusal, get(part, "refusal"))
            else:
                add_text(self.text, part if isinstance(part, str) else get(part, "text"))

    def calls(self) -> tuple[dict[str, Any], ...]:
        """Return the tool calls in OpenAI's form."""
        return cast("ToolCalls", self.tools).whole() if self.tools else ()

    def call_pieces(self) -> tuple[dict[str, Any], ...]:
        """Return the tool calls of one chunk, each with its index."""
        return cast("ToolCalls", self.tools).pieces() if self.tools else ()

    def as_dict(self) -> dict[str, Any]:
        """Return the choice as the record's `choices` hold it."""
        return {
            **({"model": self.speaker} if self.speaker is not None else {}),
            "index": self.index,
            **{kind: self.joined(kind) for kind in KINDS},
            "tool_calls": list(self.calls()),
            "finish_reason": self.finish_reason,
        }


class StreamContent:
    """
    What a stream has said so far: the state that the shapes fill, chunk by chunk.

    It keeps strings and not the chunks (65 bytes a chunk in place of 2.7 kB; clients may reuse a
    chunk object), by choice, kind and index of the tool call.
    """

    __slots__ = (
        *("choices", "columns", "details", "failure", "has_events", "is_passing", "is_single", "kind_of_first"),
        *("lengths", "read_whole", "settled", "shape", "simple", "speakers", "spoken", "texts", "usage"),
    )

    def __init__(self, *, single: bool = False) -> None:
        self.is_single = single
        """True if it takes one chunk, for a tap: an event that repeats others adds nothing then."""
        self.read_whole = 0
        """Number of chunks that were read as a whole."""
        self.simple = False
        """True if the chunks so far are OpenAI's with one choice that says nothing but text."""
        # From then on the text of each is all that is read at once, with its tool calls where the request
        # offers tools: each further attribute of a pydantic model costs 25 ns on Python 3.11, a tenth of
        # the whole. What else may come with a text, the finish reason or the usage, is read from the last
        # of a run of texts. The first text and all chunks without one are read as a whole, so that a stream
        # that thinks or calls tools is not simple. `n` in the request is not a hint: a server may send a
        # choice of index 1 unasked. `tests/unit/_capture/shapes/test_fast_path.py` reads the same streams both ways.
        self.texts: list[Any] = []
        """The texts of that choice."""
        self.settled = 0
        """Number of texts that are counted in `read_whole`."""
        self.choices: dict[int, Choice] = {}
        self.details: dict[str, Any] = {}
        self.usage: Any = None
        self.shape: str | None = None
        """The family, where it is known that the chunks are an SDK's."""
        self.has_events = False
        """True if they are Anthropic's events, whose types are words that others use as well."""
        self.kind_of_first: object = None
        """Class and `type` of the first plain object that carried text."""
        self.speakers: dict[str | None, int] = {}
        """Index of the choice of each name that a stream of plain events has given."""
        self.spoken = 0
        """Number of their pieces."""
        self.lengths: dict[int, tuple[int, int]] | None = None
        """Pieces and characters of texts that were counted, by their identities; the choices keep them."""
        self.columns: dict[object, list[str]] = {}
        """Texts of tuples by their places, and of dicts by their only key: which of them are the reply shows in the end."""
        self.failure: BaseException | None = None
        """The failure that the provider reported without raising."""
        self.is_passing = False
        """True if the failure is in an event of a program's own that is not an error by its type."""

    def forgive(self) -> None:
        """Take in that a text follows: a program goes on after a retry, or without the model that failed."""
        if self.is_passing:
            self.failure, self.is_passing = None, False

    @property
    def count(self) -> int:
        """Number of chunks so far."""
        return self.read_whole + len(self.texts) - self.settled

    def length_of(self, pieces: list[str]) -> int:
        """Return the characters of the text of a choice; what was counted before is not counted again."""
        known = self.lengths = self.lengths or {}
        count, length = known.get(id(pieces), (0, 0))
        if count < len(pieces):
            length += sum(map(len, pieces[count:]))
            known[id(pieces)] = len(pieces), length
        return length

    def choice(self, index: int) -> Choice:
        """Return the choice of this index, made at its first chunk."""
        return self.choices.get(index) or self.choices.setdefault(index, Choice(index))

    def choice_of_speaker(self, speaker: str | None) -> Choice:
        """
        Return the choice of one speaker, so that models that speak at once are not joined.

        Pieces without a name belong to the first who has one, until somebody else speaks.
        """
        known = self.speakers
        if speaker is None and len(known) <= 1:
            index = 0
        elif speaker in known:
            index = known[speaker]
        else:
            index = known[speaker] = len(known)
        choice = self.choice(index)
        choice.speaker = choice.speaker or speaker
        self.spoken += 1
        choice.spoke = self.spoken
        choice.began = choice.began or choice.spoke
        return choice


class _ReplyDraft:
    """A reply that is being filled, as `flow.model` does it for a call."""

    __slots__ = Reply.__slots__


def new_reply(  # noqa: PLR0917 - on the path of every call, where keywords cost
    text: str | None = None,
    said: Choice | None = None,
    choices: Sequence[Choice] = (),
    tokens: tuple[Usage | None, float | None] = (None, None),
    details: Mapping[str, Any] | None = None,
    raw: Any = None,
    chunks: int | None = None,
    *,
    error: BaseException | None = None,
    tool_calls: Sequence[Any] = (),
    finish_reason: str | None = None,
) -> Reply:
    """
    Return a provider's reply, `completed` or, with an error, `error`.

    Args:
        text: The text, where no choice was gathered.
        said: The choice that answers; what it said comes before the single values given here.
        choices: Every choice, recorded where there are several.
        tokens: Usage and price, as `read_usage_and_cost` returns them.
        details: What the record shows next to the reply.
        raw: The SDK's own object.
        chunks: Number of chunks of a stream.
        error: The failure that the provider reported without raising.
        tool_calls: Tool calls in OpenAI's form.
        finish_reason: Why it ended, in the provider's word.
    """
    draft: Any = _ReplyDraft()
    draft.text, draft.tool_calls, draft.finish_reason = text, tool_calls, finish_reason
    draft.reasoning = draft.refusal = None
    if said is not None:
        # Most choices have said nothing but a text: no call is made for what is not there.
        draft.finish_reason = said.finish_reason
        try:
            draft.text = "".join(said.text) if said.text else text
        except TypeError:
            draft.text = said.joined("text")
        if said.reasoning:
            draft.reasoning = "".join(said.reasoning)
        if said.refusal:
            draft.refusal = "".join(said.refusal)
        if said.tools:
            draft.tool_calls = said.calls()
    draft.choices = [choice.as_dict() for choice in choices] if len(choices) > 1 else ()
    draft.usage, draft.cost_usd = tokens
    draft.chunks, draft.raw, draft.source = chunks, raw, "provider"
    draft.error, draft.outcome = error, "completed" if error is None else "error"
    draft.duration_ms = draft.first_chunk_ms = None
    draft._details = {} if details is None else details
    draft.__class__ = Reply
    return cast("Reply", draft)


DETAILS = (
    ("id", "response_id"),
    ("model", "response_model"),
    ("system_fingerprint", "system_fingerprint"),
    ("service_tier", "service_tier"),
    ("created", "created"),
    ("created_at", "created"),
)


def details_of(*sources: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the objects around an answer say of it, under the names that the record has for that."""
    details: dict[str, Any] = {}
    for source in sources:
        for name, key in DETAILS:
            value = source.get(name)
            if value is not None:
                details[key] = value
    return details


def add_text(pieces: list[str], text: Any) -> None:
    """Add a piece of text; an empty one, or what is not a text, adds nothing."""
    if isinstance(text, str) and text:
        pieces.append(text)


def texts_of(content: Any) -> list[str]:
    """Return the texts of a content, which is a string or a list of parts."""
    if isinstance(content, str):
        return [content] if content else []
    if isinstance(content, list):
        return [text for part in content if isinstance(text := get(part, "text"), str) and text]
    return []


def replaced(obj: Any, value: Any, name: str | int, *path: str | int) -> Any:
    """
    Return a copy of a chunk with another value in one place; the SDK's own object stays as it is.

    Args:
        obj: The chunk, or what is in it.
        value: What to put in.
        name: Key, attribute or index on the way to the place.
        path: The rest of the way.
    """
    # Hugging Face's objects are dicts whose values are attributes as well, and in the dict everything is plain.
    is_item = isinstance(obj, dict) and not (isinstance(name, str) and name in getattr(obj, "__dict__", ()))
    if path:
        inner = obj[name] if isinstance(name, int) else get(obj, name) if is_item else getattr(obj, name, None)
        value = replaced(inner, value, *path)
    # Not `model_copy`: a look-alike has none, and a pydantic model's `__copy__` copies its fields' dict, so
    # that what is set on the copy is not seen by others who hold the SDK's object.
    made = list(obj) if isinstance(name, int) else copy(obj)
    if isinstance(obj, dict) and not is_item:
        vars(made).update(vars(obj))  # copying the items has set plain ones as attributes
    put: Any = setattr if isinstance(name, str) and not is_item else setitem
    put(made, name, value)
    return made
