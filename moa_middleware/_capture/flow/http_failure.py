"""
What an exception of an SDK says of the HTTP response behind it: status, code, id of the request, and when to try again.

Request id and `retry-after` are the only headers that are read here. Only what an exception
stores is looked at, since a property may read a connection. Sources: the exceptions of the openai,
anthropic, groq, together, litellm, google-genai, mistralai, cohere, ollama, botocore, huggingface_hub,
httpx, requests and aiohttp packages, and RFC 9110, section 10.2.3, for `retry-after`.
"""

from __future__ import annotations

import re
from time import time
from typing import TYPE_CHECKING, Any

from ...errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["facts_of"]

_REQUEST_IDS = ("x-request-id", "request-id", "x-amzn-requestid", "apim-request-id", "x-amzn-request-id")
_WORD = re.compile(r"[\w.:/+=-]{1,200}", re.ASCII)
"""A code or an id; anything else might be a text of somebody's."""
_STATUSES = range(100, 600)
_LONGEST_WAIT = 365 * 86400.0
_BODIES = ("body", "error", "details", "response_json")
_OF_HTTP = frozenset({"status_code", "http_status", "headers", "request", "request_info"})
"""Attributes of exceptions about an HTTP request: an error of a program's own may have a `code`, a `status` or a `body`."""


def facts_of(error: BaseException) -> dict[str, Any]:
    """
    Return the keys of an `ErrorRecord` next to its type and message, as far as they are known.

    Args:
        error: Any exception; nothing of it is run, and it is not kept.
    """
    try:
        stored: Mapping[str, Any] = object.__getattribute__(error, "__dict__")
        return _facts(stored, is_ours=isinstance(error, ProviderError)) if stored else {}
    except Exception:  # a class without `__dict__`, or a response whose methods fail
        return {}


def _facts(stored: Mapping[str, Any], *, is_ours: bool) -> dict[str, Any]:
    response = stored.get("response", stored.get("raw_response"))
    bodies = list(_bodies(stored, response))
    if not (is_ours or _is_of_http(stored, response, bodies)):
        return {}
    found: dict[str, Any] = {}
    status = _first(_is_status, (*_statuses(stored, response), *_codes(stored, bodies)))
    if status is not None:
        found["status"] = status
    code = _first(
        _is_word, (value for value in _codes(stored, bodies) if value != status and str(value) != str(status))
    )
    if code is not None:
        found["code"] = code
    headers = _headers(stored, response)
    ids = [stored.get("request_id"), *map(headers.get, _REQUEST_IDS), *(body.get("request_id") for body in bodies)]
    request_id = _first(_is_text, [*ids, *(_in(body.get("x_groq"), "id") for body in bodies)])
    if request_id is not None:
        found["request_id"] = request_id
    seconds = _seconds(headers)
    if seconds is not None:
        found["retry_after"] = seconds
    return found


def _is_of_http(stored: Mapping[str, Any], response: Any, bodies: list[dict[str, Any]]) -> bool:
    """Return True if an exception is about an HTTP request: what it stores shows that, and no class is asked for."""
    if not _OF_HTTP.isdisjoint(stored) or hasattr(response, "headers"):
        return True
    if "response" in stored and response is None:
        return True  # google-genai's of an event, with a `code` that is the status
    return any(type(body.get(name)) is dict for body in bodies for name in ("error", "Error", "ResponseMetadata"))


def _first(accepts: Any, values: Iterable[Any]) -> Any:
    # A flag is an integer to Python.
    return next((one for one in values if one is not None and type(one) is not bool and accepts(one)), None)


def _is_status(value: Any) -> bool:
    return type(value) is int and value in _STATUSES


def _is_text(value: Any) -> bool:
    return type(value) is str and _WORD.fullmatch(value) is not None


def _is_word(value: Any) -> bool:
    return type(value) is int or _is_text(value)


def _in(value: Any, *names: str) -> Any:
    """Return what is in objects under these names, one in the other."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _statuses(stored: Mapping[str, Any], response: Any) -> Iterable[Any]:
    for name in ("status_code", "status", "http_status", "code"):
        yield stored.get(name)
    if isinstance(response, dict):  # botocore's
        yield _in(response, "ResponseMetadata", "HTTPStatusCode")
    elif response is not None:
        yield getattr(response, "status_code", None)
        yield getattr(response, "status", None)


def _bodies(stored: Mapping[str, Any], response: Any) -> Iterable[dict[str, Any]]:
    for value in (*map(stored.get, _BODIES), response):
        if isinstance(value, dict):
            yield value


def _codes(stored: Mapping[str, Any], bodies: Iterable[dict[str, Any]]) -> Iterable[Any]:
    yield stored.get("code")
    for body in bodies:
        # OpenAI's SDK keeps what is under `error`, others the whole body; of Anthropic's error the code is its type.
        yield _in(body, "error", "code")
        yield body.get("code")
        yield _in(body, "Error", "Code")
        yield _in(body, "error", "status")
        yield _in(body, "error", "type")
        yield body.get("type")
    status = stored.get("status")
    yield status if isinstance(status, str) else None


class _NoHeaders:
    def get(self, _name: str) -> None:
        """Return nothing."""


def _headers(stored: Mapping[str, Any], response: Any) -> Any:
    if isinstance(response, dict):
        headers = _in(response, "ResponseMetadata", "HTTPHeaders")
        headers = {"x-amzn-requestid": _in(response, "ResponseMetadata", "RequestId"), **(headers or {})}
    else:
        headers = getattr(response, "headers", None) if response is not None else None
    headers = stored.get("headers") if headers is None else headers
    if isinstance(headers, dict):
        return {str(name).lower(): value for name, value in headers.items()}
    return headers if callable(getattr(headers, "get", None)) else _NoHeaders()


def _seconds(headers: Any) -> float | None:
    """Return the seconds after which the provider asks to try again."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = headers.get(name)
        if not isinstance(value, str):
            continue
        try:
            seconds = float(value) / unit
        except ValueError:
            seconds = _until(value) if unit == 1.0 else -1.0
        if 0 <= seconds <= _LONGEST_WAIT:
            return round(seconds, 3)
    return None


def _until(date: str) -> float:
    from email.utils import parsedate_to_datetime

    try:
        return max(parsedate_to_datetime(date).timestamp() - time(), 0.0)
    except (TypeError, ValueError):
        return -1.0
