"""Whether an HTTP request is the one that a call around it sends: an SDK's call, or an HTTP client's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..scope import Scope
from ..shapes.http_request import MESSAGES
from ..shapes.iterators import Recorder
from ..shapes.params import place_of_url
from ..shapes.parts import parts_of, texts_in

if TYPE_CHECKING:
    from ..shapes.http_request import HttpRequest
    from ..turns.turn import Attempt

__all__ = ["is_sent_by", "keep_sent", "scope_outside"]

_PORTS = {"http": 80, "https": 443}
_NAMING = frozenset({"id", "name", "role", "status", "type"})
"""Keys of a message under which nothing is said."""
_NAMES = frozenset({"", "user", "assistant", "system", "text", "input_text", "message"})
"""Texts that are names in most forms of a message."""
_LAST = 20
"""Messages at the end of a body that are searched. An SDK adds, merges and splits some, and sends the others as they are."""
_DEPTH = 6


class _Said(NamedTuple):
    """What a request says: by this it is known again."""

    words: frozenset[str]
    """The texts of its last message, empty if they are not known."""
    model: str | None


def is_sent_by(attempt: Attempt, request: HttpRequest) -> bool:
    """
    Return True if an HTTP request is the one that a call sends; another one is a call of its own.

    A tool that the SDK runs, and a hook of the HTTP client, may ask another model inside the call. SDKs and HTTP clients
    do not say which request is whose. They may send one again, redirect it, hand it to another HTTP client and write it
    in another form, and a gateway changes its URL. So requests are compared by what they say last, by model and by host.

    Args:
        attempt: Of a call that sends requests itself, as an SDK's does and a decorated function does not.
        request: The request that is about to go out.
    """
    call_state, sent = attempt.call_state, attempt.sent
    asked = call_state.request
    messages = asked.messages if asked is not None else None
    said = sent or _Said(_last_words(messages), attempt.model or call_state.model)
    is_first, is_same = sent is None, said.words <= _words_in(request)
    is_model = _is_model(request.body.get("model"), said.model)
    if call_state.endpoint is None:
        # litellm: where a model fails it asks another one, at another host.
        is_own = is_same or (is_first and is_model)
    else:
        is_host = _host(call_state.endpoint) == _host(request.url or request.endpoint)
        # The SDK, or a middleware, may have rewritten the messages or the model: the first request shows how.
        is_own = (is_model or (is_first and is_host)) if is_same else (is_first and is_model and is_host)
    if is_own and is_first:
        attempt.sent = _said_by(request)
    return is_own


def keep_sent(here: Scope | None, request: HttpRequest) -> None:
    """Keep what a request says with the call that it is, from where it is sent."""
    attempt: Attempt | None = here.parent if here is not None else None
    if attempt is not None and attempt.call_state.sends:
        attempt.sent = _said_by(request)


def scope_outside(here: Scope) -> Scope:
    """Return the scope next to the call around, for a request that is made inside it and is not its own."""
    around, turn = here.parent.call_state.parent, here.turn
    if around is not None or not turn.implicit:
        return Scope(turn, here.tags, around, here.order)
    # A turn that was opened for the call alone closes with it: the request gets one of its own, in the same session.
    return Scope(None, here.tags._replace(session_id=turn.session_id, preset=turn.preset))


def _is_model(model: Any, asked: str | None) -> bool:
    """Return True if a body may be of a request to a model; litellm's `openai/gpt-4o` is `gpt-4o` there."""
    return not model or not asked or model == asked or asked.endswith(f"/{model}")


def _host(url: str) -> tuple[str, int | None]:
    host, port, _ = place_of_url(url)
    return host, port or _PORTS.get(url.partition(":")[0])


def _said_by(request: HttpRequest) -> _Said:
    return _Said(_last_words(request.body.get(MESSAGES[request.family])), request.body.get("model"))


def _words_in(request: HttpRequest) -> frozenset[str]:
    messages = request.body.get(MESSAGES[request.family])
    if type(messages) is list:
        messages = messages[-_LAST:]
    return frozenset(map(str.strip, texts_in(messages, _DEPTH)))


def _last_words(messages: Any) -> frozenset[str]:
    if issubclass(type(messages), Recorder):
        messages = messages.items
    kind = type(messages)
    if issubclass(kind, list | tuple):
        messages = messages[-1] if messages else None
    if not issubclass(type(messages), str):
        messages = [part.value for part in parts_of(messages) if part.name not in _NAMING]
    found = (text.strip() for text in texts_in(messages, _DEPTH))
    return frozenset(text for text in found if text not in _NAMES)
