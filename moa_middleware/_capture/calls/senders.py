"""Whether a request, or an SDK's call, is the one that a call around it sends: an SDK's call, or an HTTP client's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ..scope import Scope
from ..shapes.http_request import MESSAGES, HttpRequest
from ..shapes.iterators import Recorder
from ..shapes.params import place_of_url
from ..shapes.parts import parts_of, texts_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..shapes.request import Request
    from ..turns.stack_like import StackLike
    from ..turns.turn import Attempt
    from .function import WrappedFunction

__all__ = ["is_sent_by", "keep_sent", "scope_of_call", "scope_outside"]

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
    said = _said_of(attempt)
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


def scope_of_call(  # noqa: PLR0917 - as `call_through` has them
    here: Scope,
    stack: StackLike,
    function: WrappedFunction,
    wrapped: Any,
    instance: object,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Scope | None:
    """
    Return the scope that a call belongs in which is made inside an SDK's call and is not the one that it sends.

    A tool that the SDK runs, a callback and a hook may call another SDK, or the same one again. litellm calls openai's
    client, and two stacks on one client are two layers around one call: such a call is recorded with the call around it.

    Args:
        here: Where the call is made; the call around it sends requests itself.
        stack: The stack of the call.
        function: What is known of its function.
        wrapped: The function.
        instance: The object whose method it is.
        args: Of the function.
        kwargs: Of the function.

    Returns:
        `None` if it belongs where it is made.
    """
    if type(instance) is HttpRequest:
        return None  # found out already
    try:
        request = function.spec.read(function.bind(args, kwargs), instance)
        # By the object and not by the function, which the SDK may have made by a wrapper of somebody else's.
        sdk, endpoint = function.sdk_and_endpoint(instance, wrapped)
        client = getattr(instance, function.link, None) if function.link else instance
        said = _Said(_words(request), request.model)
        outside = here
        while outside.parent is not None and outside.parent.call_state.sends:
            around: Attempt = outside.parent
            state = around.call_state
            # A stream manager asks by another method of its client when it is entered.
            is_entered = state.name == "stream" != function.name
            is_layer = state.client is client is not None and (
                is_entered or (state.name == function.name and _is_new(stack, around))
            )
            if is_layer or _is_delegated(around, request, said, sdk, endpoint):
                break
            outside = scope_outside(outside)
    except Exception:
        return None  # the call reads its arguments again, and counts the fault there
    return outside if outside is not here else None


def _is_new(stack: StackLike, around: Attempt | None) -> bool:
    """Return True if no call around is one of this stack."""
    while around is not None:
        if around.call_state.stack is stack:
            return False
        around = around.call_state.parent
    return True


def _is_delegated(around: Attempt, request: Request, said: _Said, sdk: str | None, endpoint: str | None) -> bool:
    """Return True if a call is the one by which the call around it asks its model."""
    state = around.call_state
    if sdk is not None and request.messages is None:
        return True  # a part of an SDK whose request is not known
    asked = state.request
    known = around.sent or _Said(
        _last_words(asked.messages if asked is not None else None), around.model or state.model
    )
    is_same = known.words <= said.words
    if state.endpoint is None:
        # litellm: it names models in its own way, and asks another one where the first fails.
        is_first = around.sent is None
        is_own = is_same or (is_first and bool(said.model and known.model) and _is_model(said.model, known.model))
        if is_own and is_first:
            around.sent = _Said(_last_words(request.messages), said.model)
        return is_own
    if sdk is None or endpoint is None:
        return False  # an SDK with a client sends requests by that, and not by a function of the program's
    return is_same and _is_model(said.model, known.model) and _host(endpoint) == _host(state.endpoint)


def _words(request: Request) -> frozenset[str]:
    """Return the texts of a call's last messages; an iterator is not read."""
    messages = request.messages
    if issubclass(type(messages), Recorder):
        messages = messages.items
    if hasattr(type(messages), "__next__") or hasattr(type(messages), "__anext__"):
        return frozenset()
    if issubclass(type(messages), list | tuple):
        messages = messages[-_LAST:]
    return frozenset(map(str.strip, texts_in(messages, _DEPTH)))


def _is_model(model: Any, asked: str | None) -> bool:
    """Return True if a body may be of a request to a model; litellm's `openai/gpt-4o` is `gpt-4o` there."""
    return not model or not asked or model == asked or asked.endswith(f"/{model}")


def _said_of(attempt: Attempt) -> _Said:
    """Return what a request of a call says: as it was sent, or else as the function was asked to."""
    if attempt.sent is not None:
        said: _Said = attempt.sent
        return said
    state = attempt.call_state
    messages = attempt.messages
    if messages is None and state.request is not None:
        messages = state.request.messages
    return _Said(_last_words(messages), attempt.model or state.model)


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
