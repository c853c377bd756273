"""What the choices of a reply have said so far, in whichever format it came, and the reply that is made of them."""

from __future__ import annotations

from copy import copy
from operator import setitem
from typing import TYPE_CHECKING, Any, cast

from ..flow.model import Reply
from .fields import get

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..flow.model import Usage

__all__ = ["KINDS", "Choice", "StreamContent", "add_text", "json_text", "new_reply", "replaced", "texts_of"]


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
        self.tools: list[tuple[Any, dict[str, Any], list[str]]] = []
        """Index in the stream, head of the call, pieces of its arguments."""
        self.finish_reason: str | None = None
        self.speaker: str | None = None
        """Who says it, where a stream names several."""
        self.began = self.spoke = 0
        """Places of its first and its last piece among those of all speakers."""

    def add_tool_call(self, delta: Any) -> None:
        """Take in a tool-call delta, or a whole tool call."""
        function = get(delta, "function")
        index, ident = get(delta, "index"), get(delta, "id")
        if not isinstance(ident, str | int):
            ident = None
        name = get(function, "name") or get(delta, "name")
        # Several forms come here: OpenAI's, whose name and arguments are under `function`; a chat's delta of
        # one, which has an index and a piece of the arguments; Anthropic's and the Responses API's, which
        # their readers bring into OpenAI's form; and LangChain's, which has `args`, in pieces or decoded.
        arguments = get(function, "arguments") if function is not None else get(delta, "args")
        found: tuple[Any, dict[str, Any], list[str]] | None = None
        for tool in reversed(self.tools):
            # Pieces of parallel calls come interleaved and differ by the index alone: only the first
            # piece of each has an id. No index: it goes on with the last call unless it names itself.
            if (index is None and not ident) or (index is not None and tool[0] == index):
                found = tool
                break
        # Ollama sends every call under index 0: another id there is another call.
        if found is None or (ident and found[1]["id"] and found[1]["id"] != str(ident)):
            found = (index, {"id": None, "type": "function", "name": None}, [])
            self.tools.append(found)
        head = found[1]
        if ident:
            head["id"] = str(ident)
        kind = get(delta, "type")
        if isinstance(kind, str):
            head["type"] = kind
        if isinstance(name, str) and name:
            # MiniMax repeats the whole name in each chunk, so it is set and not joined.
            head["name"] = name
        if isinstance(arguments, str):
            found[2].append(arguments)
        elif arguments is not None:
            found[2].append(json_text(arguments))

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
            return "".join(text for piece in list(pieces) for text in texts_of(piece)) or None

    def calls(self) -> tuple[dict[str, Any], ...]:
        """Return the tool calls in OpenAI's form."""
        return tuple(
            {"id": head["id"], "type": head["type"], "function": {"name": head["name"], "arguments": "".join(pieces)}}
            for _, head, pieces in self.tools
        )

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
        *("choices", "columns", "details", "failure", "has_events", "is_single", "kind_of_first"),
        *("read_whole", "settled", "shape", "simple", "speakers", "texts", "usage"),
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
        self.columns: dict[object, list[str]] = {}
        """Texts of tuples by their places, and of dicts by their only key: which of them are the reply shows in the end."""
        self.failure: BaseException | None = None
        """The failure that the provider reported without raising."""

    @property
    def count(self) -> int:
        """Number of chunks so far."""
        return self.read_whole + len(self.texts) - self.settled

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
        choice.spoke = max((each.spoke for each in self.choices.values()), default=0) + 1
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


# `json` is imported here and not with the package: few calls have arguments that are not text already.
def json_text(value: Any) -> str:
    """Return a value as JSON, a pydantic model as its fields, what else JSON does not know as a string."""
    import json

    return json.dumps(value, ensure_ascii=False, default=_as_json)


def _as_json(value: Any) -> Any:
    dump = getattr(value, "model_dump", None)
    return dump() if callable(dump) else str(value)


def replaced(obj: Any, value: Any, name: str | int, *path: str | int) -> Any:
    """
    Return a copy of a chunk with another value in one place; the SDK's own object stays as it is.

    Args:
        obj: The chunk, or what is in it.
        value: What to put in.
        name: Key, attribute or index on the way to the place.
        path: The rest of the way.
    """
    if path:
        value = replaced(get(obj, name) if isinstance(name, str) else obj[name], value, *path)
    # Not `model_copy`: a look-alike has none, and a pydantic model's `__copy__` copies its fields' dict, so
    # that what is set on the copy is not seen by others who hold the SDK's object.
    made = list(obj) if isinstance(name, int) else copy(obj)
    put: Any = setattr if isinstance(name, str) and not isinstance(obj, dict) else setitem
    put(made, name, value)
    return made
