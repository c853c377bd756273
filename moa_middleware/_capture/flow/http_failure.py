"""
What an exception of an SDK says of the HTTP response behind it: status, code, id of the request, and when to try again.

Request id and `retry-after` are the only headers that are read here. Only what an exception and its response
store is looked at, since a property may read a connection, or raise; of the classes of HTTP libraries the
properties are known. Sources: the exceptions of the openai,
anthropic, groq, together, litellm, google-genai, mistralai, cohere, ollama, botocore, huggingface_hub,
httpx, requests and aiohttp packages, and RFC 9110, section 10.2.3, for `retry-after`.
"""

from __future__ import annotations

import re
from time import time
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any

from ...errors import ProviderError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["facts_of", "without_headers"]

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
        return _facts(stored, is_ours=issubclass(type(error), ProviderError)) if stored else {}
    except Exception:  # a class without `__dict__`
        return {}


def without_headers(message: str, error: BaseException) -> str:
    """Return the message of an exception without the headers that it stores: Cohere's quotes all of a response."""
    try:
        headers = object.__getattribute__(error, "__dict__").get("headers")
        return message.replace(str(headers), "{…}") if type(headers) is dict and headers else message
    except Exception:  # a class without `__dict__`, or a value with a `__repr__` that raises
        return message


def _facts(stored: Mapping[str, Any], *, is_ours: bool) -> dict[str, Any]:
    response = stored.get("response", stored.get("raw_response"))
    bodies = [value for value in (*map(stored.get, _BODIES), response) if issubclass(type(value), dict)]
    status_of_response, given = _of_response(response)
    if not (is_ours or given is not None or _is_of_http(stored, response, bodies)):
        return {}
    found: dict[str, Any] = {}
    statuses = (*map(stored.get, ("status_code", "status", "http_status", "code")), *status_of_response)
    status = _first(_is_status, (*statuses, *_codes(stored, bodies)))
    if status is not None:
        found["status"] = status
    code = _first(
        lambda value: _is_word(value) and value != status and str(value) != str(status), _codes(stored, bodies)
    )
    if code is not None:
        found["code"] = code
    headers = _headers(stored.get("headers") if given is None else given)
    ids = [stored.get("request_id"), *map(headers.get, _REQUEST_IDS), *(_in(body, "request_id") for body in bodies)]
    request_id = _first(_is_text, [*ids, *(_in(body, "x_groq", "id") for body in bodies)])
    if request_id is not None:
        found["request_id"] = request_id
    seconds = _seconds(headers)
    if seconds is not None:
        found["retry_after"] = seconds
    return found


def _is_of_http(stored: Mapping[str, Any], response: Any, bodies: list[Any]) -> bool:
    """Return True if an exception is about an HTTP request: what it stores shows that, and no class is asked for."""
    if not _OF_HTTP.isdisjoint(stored):
        return True
    if "response" in stored and response is None:
        return True  # google-genai's of an event, with a `code` that is the status
    return any(type(_in(body, name)) is dict for body in bodies for name in ("error", "Error", "ResponseMetadata"))


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
        # Not by a method of the value's own: a subclass of `dict` may have another one.
        value = dict.get(value, name) if issubclass(type(value), dict) else None
    return value


def _of_response(response: Any) -> tuple[list[Any], Any]:
    """Return what may be the status of a response, and its headers, `None` if it has none."""
    if response is None:
        return [], None
    if issubclass(type(response), dict):  # botocore's
        metadata = _in(response, "ResponseMetadata")
        headers = _in(metadata, "HTTPHeaders")
        ids = {"x-amzn-requestid": _in(metadata, "RequestId")}
        given = {**ids, **headers} if issubclass(type(headers), dict) else ids
        return [_in(metadata, "HTTPStatusCode")], None if metadata is None else given
    return [_stored(response, "status_code"), _stored(response, "status")], _stored(response, "headers")


def _stored(obj: Any, name: str) -> Any:
    """Return an attribute of an object that it stores, or that a class of an HTTP library has; `None` for any other."""
    kind = type(obj)
    try:
        fields = object.__getattribute__(obj, "__dict__")
    except AttributeError:  # it has slots only
        fields = {}
    if type(fields) is dict and name in fields:
        return fields[name]
    found = next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)
    is_slot = isinstance(found, MemberDescriptorType) or type(found).__name__ == "_tuplegetter"  # of a named tuple
    if not is_slot and not _is_of_library(kind, name):
        return None
    try:
        return object.__getattribute__(obj, name)
    except Exception:
        return None


def _is_of_library(kind: type, name: str, *further: str) -> bool:
    """Return True if a class has an attribute from a library of HTTP, or a further one, and not from one of the user's."""
    owner = next((base for base in kind.__mro__ if name in vars(base)), None)
    module = None if owner is None else vars(owner).get("__module__")
    return isinstance(module, str) and module.partition(".")[0] in (*_LIBRARIES, *further)


_LIBRARIES = (
    *("aiohttp", "botocore", "curl_cffi", "email", "http", "httpx", "httpx2", "multidict", "niquests", "requests"),
    *("urllib3", "werkzeug"),
)
"""Libraries whose responses and headers have properties and methods that do no more than look."""


def _codes(stored: Mapping[str, Any], bodies: Iterable[Any]) -> Iterable[Any]:
    yield stored.get("code")
    for body in bodies:
        # OpenAI's SDK keeps what is under `error`, others the whole body; of Anthropic's error the code is its type.
        yield _in(body, "error", "code")
        yield _in(body, "code")
        yield _in(body, "Error", "Code")
        yield _in(body, "error", "status")
        yield _in(body, "error", "type")
        yield _in(body, "type")
    status = stored.get("status")
    yield status if type(status) is str else None


def _headers(given: Any) -> dict[str, str]:
    """Return those headers that are read here, by their names in small letters; none of an object of an unknown class."""
    if issubclass(type(given), dict):
        return {name.lower(): value for name, value in dict.items(given) if type(name) is str and type(value) is str}
    kind = type(given)
    if not (_is_of_library(kind, "__getitem__") and _is_of_library(kind, "get", "collections")):
        return {}
    found = {}
    for name in (*_REQUEST_IDS, *_WAITS):
        try:
            value = given.get(name)
        except Exception:  # a broken one says nothing, and the others are read
            value = None
        if type(value) is str:
            found[name] = value
    return found


_WAITS = {"retry-after-ms": 1000.0, "retry-after": 1.0}
"""Headers that say when to try again, and how many of their units are a second."""


def _seconds(headers: Mapping[str, str]) -> float | None:
    """Return the seconds after which the provider asks to try again."""
    for name, unit in _WAITS.items():
        value = headers.get(name)
        if value is None:
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
    except (TypeError, ValueError, OverflowError):
        return -1.0
