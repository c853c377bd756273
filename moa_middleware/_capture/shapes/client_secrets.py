"""
What is secret in the client of an SDK: its keys and tokens, headers and parts of a query of its own.

This module must not know what becomes of them: they are taken out of messages, and distinguish two clients.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .http_request import HttpRequest
from .params import query_of_url, users_of_url

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["secrets_of", "secrets_of_error", "texts_within"]

_DEPTH = 4
_TELLING = re.compile("auth|key|token|secret|cookie|password", re.IGNORECASE)
"""Names of headers whose values are credentials."""
_HARMLESS = re.compile(
    r"x-stainless-|accept|content-|(anthropic-|api-|openai-)?(version|beta)$|connection$|host$|user-agent$|x-title$",
    re.IGNORECASE,
)
"""Names of headers and of parts of a query whose values are no credentials; the SDKs' own are among them."""
_OF_CLIENTS = (
    "api_key",
    "auth_token",
    "organization",
    "project",
    "webhook_secret",
    "_azure_ad_token",
    "_custom_headers",
    "_custom_query",
    "token",
    "sdk_configuration.security.api_key",
    "_client_wrapper._token",
    "_client._auth._auth_header",
    "_client._auth._password",
    "_request_signer._auth_token.token",
    "_request_signer._auth_token._frozen_token.token",
)
"""
Attributes of clients, as paths: OpenAI's and those like it, Hugging Face's, Mistral's, Cohere's, `auth` of an HTTP client
of httpx that was given to one, botocore's.
"""
_HEADERS = ("_client.headers", "headers", "_http_options.headers", "_client_wrapper._headers")
"""Where clients have headers of their own."""
_OF_BOTOCORE = ("access_key", "secret_key", "token")


def _of_request(request: HttpRequest) -> Iterator[Any]:
    """Yield what is secret in the URL and the headers of a request of a plain HTTP client, as sent and decoded."""
    yield query_of_url(request.url)
    for name, passwords in users_of_url(request.url):
        yield [*passwords, b64encode(f"{name}:{passwords[-1]}".encode()).decode()]
    yield from _telling(request.headers)


def _telling(headers: Any) -> Iterator[Any]:
    """Yield the values of headers that are credentials."""
    for name, value in headers.items() if isinstance(headers, Mapping) else ():
        if isinstance(name, str) and _TELLING.search(name):
            yield value
            if isinstance(value, str):
                yield value.strip()  # a line break at its end is refused, and is quoted as a backslash and an n


def secrets_of(client: object) -> Iterator[Any]:
    """Yield what is secret in a client of an SDK, or in a request of a plain HTTP client: texts, and what holds them."""
    if type(client) is HttpRequest:
        yield from _of_request(client)
        return
    for path in _OF_CLIENTS:
        yield _at(client, path)
    for path in _HEADERS:
        yield from _telling(_at(client, path))
    # Not by their names: to ask for those of a role may ask AWS for new ones.
    signed = getattr(_at(client, "_request_signer._credentials"), "__dict__", {})
    yield [value for name, value in signed.items() if name.lstrip("_") in _OF_BOTOCORE]
    yield dict(_at(client, "_client.params") or {})
    url = _get(client, "base_url")
    user, password = _get(url, "username"), _get(url, "password")
    if password:
        yield [password, b64encode(f"{user}:{password}".encode()).decode()]


def secrets_of_error(error: BaseException) -> Iterator[Any]:
    """
    Yield the credentials in the headers of the request that failed, as far as an exception holds it.

    A key may come from a function that returns another one each time, and an HTTP client may add its own: then no
    client has what was sent.
    """
    for holder in (error, *(_stored(error, name) for name in _RESPONSES)):
        for name in _REQUESTS:
            yield from _telling(_get(_stored(holder, name), "headers"))


_RESPONSES = ("response", "raw_response")
_REQUESTS = ("request", "_request", "request_info")
"""Under these names exceptions and responses of httpx, requests, aiohttp and the SDKs on them store the request."""


def _stored(obj: object, name: str) -> Any:
    """Return an attribute that an object stores, `None` for any other: a property may read a connection."""
    try:
        return object.__getattribute__(obj, "__dict__").get(name)
    except AttributeError:
        return None


def _at(client: object, path: str) -> Any:
    """Return what is at the end of a path of attributes, `None` where one is missing."""
    value: Any = client
    for name in path.split("."):
        value = _get(value, name)
    return value


def _get(obj: object, name: str) -> Any:
    try:
        return getattr(obj, name, None)
    except Exception:  # a property of the user's own class
        return None


def texts_within(value: Any, depth: int = _DEPTH) -> Iterator[str]:
    """Yield the texts in a value that may be secret, so many levels down."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        yield value
        scheme, _, rest = value.partition(" ")
        if scheme.lower() in {"bearer", "basic"}:
            yield rest
    elif depth and isinstance(value, Mapping):
        for name, item in value.items():
            # Of `with_streaming_response` the SDK's own header has the value "stream", which is a part of many messages.
            if not (isinstance(name, str) and _HARMLESS.match(name)):
                yield from texts_within(item, depth - 1)
    elif depth and isinstance(value, list | tuple):
        for item in value:
            yield from texts_within(item, depth - 1)
    elif depth and hasattr(type(value), "model_fields"):
        # Gemini's `config`, which holds headers.
        yield from texts_within(getattr(value, "__dict__", None), depth)
