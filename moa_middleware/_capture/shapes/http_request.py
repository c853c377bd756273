"""
A request of a plain HTTP client to a model, by its URL and its JSON body. Headers say nothing of it.

The paths are those of OpenAI's and Anthropic's API references, which other servers have taken over; a
server with another path is known by a body that is a conversation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .params import bare_url, place_of_url

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HTTP_CLIENTS", "MESSAGES", "HttpRequest", "copy_body", "is_same", "read_http"]

MESSAGES = {"openai_chat": "messages", "openai_responses": "input", "anthropic": "messages", "plain": "prompt"}
"""Name of the part of the body that holds the request, by family; `plain` is the one of text completions."""
HTTP_CLIENTS = frozenset({"aiohttp", "httpx", "httpx2", "requests"})
"""Names of the clients that are known; `instrument/http.py` says what is patched of them."""
_NOT_ASKED = frozenset({"count_tokens", "tokenize", "batches", "embeddings", "moderations", "rerank"})
"""Last parts of paths whose requests look alike, and ask no model for an answer."""
_LARGEST = 64_000_000
"""Bytes; a larger body is not read."""


class HttpRequest(NamedTuple):
    """One request to a model, as it goes over the wire."""

    family: str
    """Shape of the request and its reply."""
    body: Mapping[str, Any]
    endpoint: str
    """The URL without user and query."""
    host: str
    client: str = ""
    """Name of the HTTP client."""
    url: str = ""
    """The whole URL: what is secret in it, and in the headers, no error message may quote."""
    headers: Any = None
    """The client's own object, to which it may add until it sends them; read only for that."""

    @property
    def streams(self) -> bool:
        """True if the request asks for a stream."""
        return self.body.get("stream") is True

    @property
    def _client(self) -> HttpRequest:
        """The request itself: what holds the credentials of an SDK's call has this name in most SDKs."""
        return self

    def __repr__(self) -> str:
        return f"<request of {self.client or 'an HTTP client'}>"


def read_http(url: str, content: Any, client: str, headers: Any = None) -> HttpRequest | None:
    """
    Return a POST request to a model, `None` for any other.

    Args:
        url: The whole URL.
        content: The body: bytes, a string, or the object that the client makes JSON of.
        client: Name of the HTTP client.
        headers: Those of the request.
    """
    body = _object_in(content)
    if body is None or not all(type(name) is str for name in body):
        return None
    host, _, path = place_of_url(url)
    family = _family(path.rstrip("/"), body)
    return None if family is None else HttpRequest(family, body, bare_url(url), host, client, url, headers)


def _object_in(content: Any) -> dict[str, Any] | None:
    if type(content) is dict:
        return content
    if not isinstance(content, bytes | bytearray | str) or not 1 < len(content) < _LARGEST:
        return None
    first = content.lstrip()[:1]
    if first not in (b"{", "{"):
        return None
    import json

    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return found if type(found) is dict else None


def _family(path: str, body: Mapping[str, Any]) -> str | None:
    """Return the shape of a body, `None` if it is none that is known."""
    last = path.rpartition("/")[2]
    if last in _NOT_ASKED:
        return None
    if _is_conversation(body.get("messages")):
        is_anthropic = last == "messages" or "anthropic_version" in body
        return "anthropic" if is_anthropic and "max_tokens" in body else "openai_chat"
    if last == "responses" and "input" in body:
        return "openai_responses"
    if last == "completions" and isinstance(body.get("prompt"), str | list):
        return "plain"
    return None


def _is_conversation(messages: Any) -> bool:
    return type(messages) is list and bool(messages) and all(type(one) is dict and "role" in one for one in messages)


# aiohttp takes a dict with objects of any class in it, of which the program's own function makes JSON later. So only
# what JSON is made of is copied and compared: the code of other objects is the program's.


def copy_body(value: Any, depth: int = 50) -> Any:
    """Return a copy of the dicts and lists in a body, so many levels of it; the values in them are the same objects."""
    if type(value) is dict and depth:
        return {name: copy_body(item, depth - 1) for name, item in value.items()}
    return [copy_body(item, depth - 1) for item in value] if type(value) is list and depth else value


def is_same(value: Any, other: Any) -> bool:
    """Return True if what `copy_body` has returned is unchanged."""
    if value is other:
        return True
    kind = type(value)
    if kind is not type(other):
        return False
    if kind is dict:
        return value.keys() == other.keys() and all(is_same(item, other[name]) for name, item in value.items())
    if kind is list:
        return len(value) == len(other) and all(map(is_same, value, other))
    return kind in _SCALARS and bool(value == other)


_SCALARS = frozenset({str, int, float, bool})
