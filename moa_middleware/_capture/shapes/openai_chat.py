"""
OpenAI's chat completions, and everything that looks like them: SDK objects, dicts, look-alikes.

Source of the format: the OpenAI API reference, *Chat* and *Chat streaming*; the quirks below are
those of servers that speak the format (Ollama, MiniMax, OpenRouter, Azure).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .chat_items import LISTS, PLAIN_CHOICE, PLAIN_MESSAGE, PLAIN_REPLY, has_more, take
from .choice import DETAILS, Choice, add_text, new_reply
from .failure import failure_in, failure_of
from .fields import data_of, fields_of, get, getter, has
from .plain import says
from .usage import read_usage_and_cost

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ...errors import ProviderError
    from ..flow.model import Reply
    from .choice import StreamContent

__all__ = ["feed", "is_used_again", "read_value"]

_NONE = object()
_NO_FIELDS: Mapping[str, Any] = MappingProxyType({})
_OF_CHAT = frozenset({"delta", "message"})
_OF_COMPLETION = frozenset({"text", "finish_reason"})
"""
Keys of an item of `choices`: of a chat, and of the completions that were there before chat.

Each item has one; Azure sends a choice of a chat that it has filtered without a message.
"""
_OF_REPLY = frozenset({"object", "created", "usage"})
"""Keys next to the choices: each completion of the API has one of them."""


def _take(choice: Choice, find: Callable[[str], Any], message: Any, *, text: bool = True) -> bool:
    """
    Take in an item of the `choices` of a chunk, or of a whole response.

    Args:
        choice: The choice.
        find: Looks up the fields of the item.
        message: Its delta, or its whole message: they have the same keys.
        text: Whether its text has not been read yet.

    Returns:
        True if it holds something that is not read here: `chat_items.take` does that.
    """
    # `getter` returns a method of the dict in which the fields are: `__self__` is that dict.
    more = find("logprobs") is not None or not PLAIN_CHOICE.issuperset(getattr(find, "__self__", ()))
    if message is not None:
        of_message = getter(message)
        content = of_message("content") if text else None
        if type(content) is str:
            if content:
                choice.text.append(content)
        elif content is not None:
            choice.add_content(content)
            more = True
        elif text and (audio := of_message("audio")) is not None:
            add_text(choice.text, get(audio, "transcript"))  # of a spoken answer, which has no content
        # OpenAI's API shows no reasoning. DeepSeek, Qwen and vLLM call it `reasoning_content`, OpenRouter,
        # Groq and Ollama `reasoning`. OpenRouter and Snowflake show some of it in `reasoning_details` alone:
        # summaries, and texts.
        reasoning = of_message("reasoning_content") or of_message("reasoning")
        if isinstance(reasoning, str) and reasoning:
            choice.reasoning.append(reasoning)
        elif details := of_message("reasoning_details"):
            for detail in details if isinstance(details, list | tuple) else ():
                add_text(choice.reasoning, get(detail, "text") or get(detail, "summary"))
        elif reasoning == "":
            choice.reasoning.append("")
        refusal = of_message("refusal")
        if isinstance(refusal, str) and refusal:
            choice.refusal.append(refusal)
        calls = of_message("tool_calls")
        for call in calls if isinstance(calls, list | tuple) else ():
            choice.add_tool_call(call)
            more = more or has_more(call)
        more = more or any(map(of_message, LISTS)) or not PLAIN_MESSAGE.issuperset(getattr(of_message, "__self__", ()))
        function = of_message("function_call")  # the form before tools
        if function is not None and not calls and isinstance(get(function, "name") or get(function, "arguments"), str):
            choice.add_tool_call({"function": function})
    elif text and isinstance(find("text"), str):  # the completions that were there before chat
        choice.text.append(find("text"))
    finish = find("finish_reason")
    if isinstance(finish, str):
        choice.finish_reason = finish
    return more


def _failure(find: Callable[[str], Any], choice: Choice) -> ProviderError | None:
    """Return the failure that an item of `choices` reports, `None` if it reports none."""
    failure = failure_in(find) if find("error") is not None else None
    if failure is None and choice.finish_reason == "error":
        failure = failure_of("the finish reason is error")
    return failure


def _choices(obj: Any) -> Any:
    """Return the choices of a chat object, `()` where they are null, `None` where it has none."""
    # Once: it may be a property of a look-alike.
    try:
        choices = fields_of(obj).get("choices", _NONE) if isinstance(obj, dict) else getattr(obj, "choices", _NONE)
    except Exception:  # an object that raises where it has no such attribute
        choices = _NONE
    if choices is _NONE:
        return None
    if not choices:
        # A refusal, or the last chunk, with the usage; a dict that says its text itself is another thing.
        return None if isinstance(obj, dict) and says(obj) else ()
    if type(choices) is not list and (not isinstance(choices, Sequence) or isinstance(choices, str)):
        return None
    # `choices` is a word that others use as well, for the options of a question in a user's own result.
    # One item that looks right is enough: a server may send `null` for another.
    is_completion = False
    for item in choices:
        fields = fields_of(item)
        if isinstance(fields, dict):
            if not _OF_CHAT.isdisjoint(fields):
                return choices
            is_completion = is_completion or not _OF_COMPLETION.isdisjoint(fields)
        elif any(map(partial(has, item), (*_OF_CHAT, *_OF_COMPLETION))):
            return choices
    return choices if is_completion and not _is_own_result(data_of(obj)) else None


def _is_own_result(fields: Mapping[str, Any]) -> bool:
    """Return True for a program's own result: texts to choose from, next to the text that it has chosen."""
    others = {name: item for name, item in fields.items() if name != "choices"}
    return _OF_REPLY.isdisjoint(others) and says(others)


def is_used_again(last: Any, chunk: Any) -> bool:
    """Return True if the next chunk is made of the same objects as the last."""
    # A client that writes each delta into one object to save memory has overwritten what the last chunk
    # said. By identity of the innermost object that is read, because the outer ones may be new.
    if last is chunk:
        return True
    try:
        (item,), other = last.choices, chunk.choices[0]
        return item is other or item.delta is other.delta
    except Exception:
        return False


def feed(gathered: StreamContent, chunk: Any, *, text: bool = True) -> bool:
    """
    Take one chunk in; `False` if it is not of this shape.

    Args:
        gathered: The stream so far.
        chunk: The chunk.
        text: Whether its text is new, and was not taken when the chunk passed.
    """
    choices = _choices(chunk)
    if choices is None:
        return False
    gathered.shape = "openai_chat"
    find = getter(chunk)
    for name, key in DETAILS:
        value = find(name)
        if value:  # Azure's chunks with the results of its filters have empty ones
            gathered.details[key] = value
    rider = find("x_groq")
    usage = find("usage") or (None if rider is None else get(rider, "usage"))
    if usage:
        gathered.usage = usage
    if (
        find("error") is not None
        or rider is not None
        or (not choices and (find("base_resp") is not None or find("object") == "error"))
    ):
        gathered.failure = failure_in(find) or gathered.failure
    reply = getattr(find, "__self__", _NO_FIELDS)
    more = not PLAIN_REPLY.issuperset(reply) or find("moderation") is not None
    with_tokens = False
    choice = None
    for item in choices:
        find = getter(item)
        index = find("index")
        index = index if type(index) is int else 0
        choice = gathered.choices.get(index) or gathered.choice(index)
        said = find("delta")
        if said is None or not (choice.text or gathered.is_single):
            # Perplexity sends a message next to the delta. In a stream that is all that was said so far, and no
            # piece of it; in a reply in one piece, which comes here if its bytes are looked at, the delta is empty.
            message = find("message")
            if message is not None and (said is None or not any(map(getter(said), _SAID))):
                said = message
        more = _take(choice, find, said, text=text) or more
        with_tokens = with_tokens or find("logprobs") is not None
        if not usage and find("usage"):
            gathered.usage = find("usage")  # Moonshot
        if find("error") is not None or (choice.finish_reason == "error" and gathered.failure is None):
            gathered.failure = _failure(find, choice) or gathered.failure
    if more:
        take(gathered.details, reply, choices)
    if choice is not None:
        gathered.texts = choice.text
        gathered.simple = (
            len(gathered.choices) == 1
            and choice.index == 0
            and bool(choice.text)
            and not with_tokens
            and not (choice.reasoning or choice.refusal or choice.tools or gathered.speakers or gathered.is_single)
            and not isinstance(chunk, dict)
        )
    return True


_NOT_TEXT = ("refusal", "tool_calls", "function_call", "reasoning_content", "reasoning", "reasoning_details")
_SAID = ("content", "audio", *_NOT_TEXT)


def read_value(value: Any, fields: Any, raw: Any) -> Reply | None:
    """
    Read a completed response; `None` if it is not of this shape.

    Args:
        value: The response, or the JSON of a raw one.
        fields: Its fields, as `fields_of` returns them.
        raw: What the function returned.
    """
    find = fields.get if type(fields) is dict else partial(get, value)
    items = fields.get("choices") if type(fields) is dict else None
    first = text = finish = failure = None
    # An object that keeps its fields elsewhere is asked for those that are known by name, and for no others.
    of_reply: Any = fields if type(fields) is dict else _NO_FIELDS
    more = not PLAIN_REPLY.issuperset(of_reply) or find("moderation") is not None
    choices: list[Choice] = []
    if type(items) is list and len(items) == 1:
        # Nearly every reply is one choice with nothing but a text, and the general way below takes three
        # times as long. So what that would find is looked up here, in the dicts themselves, and whatever
        # is not exactly so goes the general way. An empty `reasoning` is one that the general way keeps.
        item = fields_of(items[0])
        message = fields_of(item.get("message")) if type(item) is dict else None
        if (
            type(message) is dict
            and item.get("error") is None
            and not any(map(message.get, _NOT_TEXT))
            and message.get("reasoning") is None
        ):
            text, finish = message.get("content"), item.get("finish_reason")
            more = (
                more
                or item.get("logprobs") is not None
                or not PLAIN_CHOICE.issuperset(item)
                or not PLAIN_MESSAGE.issuperset(message)
                or any(map(message.get, LISTS))
            )
    if type(text) is not str or not text or finish == "error":
        items = _choices(value)
        if items is None:
            return None
        choices = [_read_choice(item, position) for position, item in enumerate(items)]
        first, text, finish = choices[0] if choices else None, None, None
        more = True
        failure = next(filter(None, map(_failure, map(getter, items), choices)), None)
    if not text or find("error") is not None:
        failure = failure_in(find) or failure
    raw_usage = find("usage")
    if raw_usage is None:
        # Where streams of Groq and Moonshot have it, and of gateways that make one reply of them.
        raw_usage = get(find("x_groq"), "usage")
        for item in (items or ()) if raw_usage is None else ():
            raw_usage = getter(item)("usage") or raw_usage
    # A model without private attributes would look for it in three places, and raise.
    if isinstance(value, dict):
        hidden = find("_hidden_params")
    else:
        try:
            is_bare = getattr(value, "__pydantic_private__", False) is None
            hidden = value.__dict__.get("_hidden_params") if is_bare else getattr(value, "_hidden_params", None)
        except Exception:  # as above
            hidden = None
    details = {
        "response_id": find("id"),
        "response_model": find("model"),
        "system_fingerprint": find("system_fingerprint"),
        "service_tier": find("service_tier"),
        "shape": "openai_chat",
        "usage_raw": raw_usage,
        "created": find("created"),
    }
    if more:
        take(details, of_reply, items or ())
    finish = finish if isinstance(finish, str) else None
    return new_reply(
        text, first, choices, read_usage_and_cost(raw_usage, hidden), details, raw, error=failure, finish_reason=finish
    )


def _read_choice(item: Any, position: int) -> Choice:
    find = getter(item)
    index, message = find("index"), find("message")
    choice = Choice(index if type(index) is int else position)
    _take(choice, find, find("delta") if message is None else message)
    return choice
