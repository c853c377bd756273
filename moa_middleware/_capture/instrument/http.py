"""
Plain HTTP clients: requests to a model are calls, whichever code makes them.

One method of each client is patched, by which all its requests go. A request is a call if its JSON body
has a known form, and if no SDK that is instrumented makes it: that one records it. The caller gets the
client's own response. Middleware see such calls and may send them again, but not change or answer them.
"""

from __future__ import annotations

import re
import sys
import weakref
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import wrapt

from ...errors import ReplyFormError, RequestError
from ..calls.function import Mark, Options
from ..calls.senders import is_sent_by
from ..log import log
from ..shapes.http_request import copy_body, is_same, read_http
from ..shapes.params import place_of_url
from ..streams.http_reply import HttpReply
from .http_bodies import is_open, read_value
from .patch import apply_patch, known_patch, lock
from .request_patch import RequestPatch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..shapes.http_request import HttpRequest
    from ..turns.stack_like import StackLike
    from ..turns.turn import Attempt
    from .request_patch import Relation

__all__ = [
    "CLIENTS",
    "OPTIONS",
    "Filter",
    "instrument_http",
    "instrumented_methods",
    "problem_of",
    "uninstrument_http",
    "was_called",
]

OPTIONS = ("host", "path")
"""What an entry in a list may name of the requests that are meant; each may have `*`."""


_HOST = re.compile(r"(\[[0-9a-f:.*]+\]|[^\s/:#@\[\]]+)(:(\d+|\*))?", re.IGNORECASE)
_NO_HOST = re.compile(r"(true|false|none|null|\d*(\.\d*){0,2}|\d*(\.\d*){4,})(:.*)?", re.IGNORECASE)
"""Words and numbers that are not a host: an address of four numbers is one."""
_PATH = re.compile(r"[/*][^\s?#]*")


def problem_of(option: str, value: str) -> str | None:
    """Return why an option of a filter cannot match any request, `None` if it can."""
    if option == "host" and (not _HOST.fullmatch(value) or _NO_HOST.fullmatch(value)):
        return f"host takes a host without scheme and path, api.x.ai, *.x.ai or 127.0.0.1:*, not {value!r:.80}"
    if option == "path" and not _PATH.fullmatch(value):
        return f"path takes a path from the / on without query, /v1/* for example, not {value!r:.80}"
    return None


class Filter(NamedTuple):
    """Which requests are meant."""

    host: str = "*"
    """Of the host, with a port if one follows it after a colon; an IPv6 address is in brackets."""
    path: str = "*"

    def takes(self, url: str) -> bool:
        """Return True if a request to a URL is meant."""
        host, port, path = place_of_url(url)
        host = f"[{host}]" if ":" in host else host
        if ":" in self.host.rpartition("]")[2]:
            host = f"{host}:{port or (443 if url.startswith('https:') else 80)}"
        # A bracket is that of an address, and not the beginning of a set of letters.
        wanted = self.host.lower().replace("[", "[[]")
        return fnmatchcase(host, wanted) and fnmatchcase(path, self.path)


class _Sent(NamedTuple):
    """What a client is about to send."""

    method: str
    url: str
    content: Any
    headers: Any


def _of_httpx(_client: Any, request: Any, **_: Any) -> _Sent:
    # A body that is made while it is sent is not in memory, and is left alone.
    return _Sent(request.method, str(request.url), vars(request).get("_content"), request.headers)


def _of_requests(_client: Any, request: Any, **_: Any) -> _Sent:
    return _Sent(request.method or "", request.url or "", request.body, request.headers)


def _of_aiohttp(
    client: Any,
    method: str,
    str_or_url: Any,
    *,
    data: Any = None,
    json: Any = None,
    params: Any = None,
    headers: Any = None,
    **_: Any,
) -> _Sent:
    url = client._build_url(str_or_url)
    # A dict under `data` becomes a form; aiohttp's own payloads, such as `JsonPayload`, keep their bytes under this name.
    content = getattr(data, "_value", None if type(data) is dict else data) if json is None else json
    sent = {**client.headers, **dict(headers or {})}
    return _Sent(method, str(url.update_query(params) if params else url), content, sent)


class _Client(NamedTuple):
    """One HTTP client."""

    module: str
    classes: tuple[str, ...]
    method: str
    """By which all its requests go."""
    read: Callable[..., _Sent]


CLIENTS = {
    "httpx": _Client("httpx", ("Client", "AsyncClient"), "send", _of_httpx),
    "httpx2": _Client("httpx2", ("Client", "AsyncClient"), "send", _of_httpx),
    "requests": _Client("requests", ("Session",), "send", _of_requests),
    "aiohttp": _Client("aiohttp", ("ClientSession",), "_request", _of_aiohttp),
}
"""By the name that `instrument` and `MOA_INSTRUMENT` take."""


class _Wanted(NamedTuple):
    """What a stack wants of one client; the filters grow while the patches are there."""

    filters: list[Filter]
    options: Options
    mark: Mark


_wanted: weakref.WeakKeyDictionary[StackLike, dict[str, _Wanted]] = weakref.WeakKeyDictionary()


def instrument_http(name: str, stack: StackLike, default: Options, which: Filter) -> None:
    """
    Let requests of an HTTP client be calls.

    Args:
        name: One of `CLIENTS`; nothing is imported for it.
        stack: The stack.
        default: Options of the calls.
        which: Which requests are meant, besides those that were asked for before.
    """
    with lock:
        known = _wanted.setdefault(stack, {})
        is_new = name not in known
        wanted = known.setdefault(name, _Wanted([], default, Mark()))
        if which not in wanted.filters:
            wanted.filters.append(which)
    if is_new:
        # For a module that is there wrapt runs the hook at once. By a weak reference: a hook cannot be taken back.
        wrapt.register_post_import_hook(partial(_when_imported, weakref.ref(stack), name), CLIENTS[name].module)


def _when_imported(reference: weakref.ref[Any], name: str, module: Any) -> None:
    stack = reference()
    wanted = _wanted.get(stack, {}).get(name) if stack is not None else None
    if stack is None or wanted is None:
        return
    client = CLIENTS[name]
    for kind in client.classes:
        owner = getattr(module, kind, None)
        if owner is None or client.method not in vars(owner):
            log("moa.target_missing", key=name, target=name, error=f"{name} has no {kind}.{client.method}")
            continue
        apply_patch(_HttpPatch, owner, client.method, stack, "http", target=owner, options=wanted, client=name)


def uninstrument_http(name: str, stack: StackLike) -> None:
    """Leave the requests of a client alone again."""
    with lock:
        _wanted.get(stack, {}).pop(name, None)
        for owner, method in _owners(name):
            patch = known_patch(owner, method, stack, "http")
            if patch is not None:
                patch.undo()


def _owners(name: str) -> list[tuple[Any, str]]:
    client = CLIENTS[name]
    module = sys.modules.get(client.module)
    owners = [getattr(module, kind, None) for kind in client.classes]
    return [(owner, client.method) for owner in owners if owner is not None]


def instrumented_methods(name: str, stack: StackLike) -> list[str]:
    """Return the methods of a client that are patched, `AsyncClient.send`."""
    found = [(owner, method) for owner, method in _owners(name) if known_patch(owner, method, stack, "http")]
    return [f"{name}.{owner.__name__}.{method}" for owner, method in found]


def was_called(name: str, stack: StackLike) -> bool:
    """Return True if a request of a client was recorded, or went through middleware."""
    wanted = _wanted.get(stack, {}).get(name)
    return wanted is not None and wanted.mark.called


# One request --------------------------------------------------------------------------------------


class _HttpPatch(RequestPatch):
    """The method of an HTTP client by which its requests go."""

    def __init__(self, owner: Any, name: str, stack: StackLike, kind: str, *, client: str) -> None:
        self.client = client
        self.where = f"http {client}"
        super().__init__(owner, name, stack, kind)

    def read(self, instance: Any, args: Any, kwargs: Any) -> HttpRequest | None:
        """Return the request to a model that the arguments are, `None` for any other."""
        wanted, stack = self.global_options, self.stack
        if wanted is None:
            return None
        sent = CLIENTS[self.client].read(instance, *args, **kwargs)
        if sent.method.upper() != "POST" or not any(one.takes(sent.url) for one in wanted.filters):
            return None
        if stack.recording() is None and not stack.middleware and not stack.observers:
            return None
        return read_http(sent.url, sent.content, self.client, sent.headers)

    def relation(self, attempt: Attempt, request: HttpRequest, instance: Any) -> Relation:  # noqa: ARG002
        """Return what a request is to a call of an SDK or of an HTTP client around it."""
        return "own" if is_sent_by(attempt, request) else "apart"

    def options(self, instance: Any) -> Options:  # noqa: ARG002
        """Return the options of a call."""
        wanted: _Wanted = self.global_options
        return wanted.options._replace(reads=read_value, mark=wanted.mark)

    def shown(self, request: HttpRequest) -> dict[str, Any]:
        """Return a copy of the body where a middleware may change it: what it does in place is seen by the original."""
        body: dict[str, Any] = copy_body(request.body) if self.stack.middleware else dict(request.body)
        return body

    def arguments(self, request: HttpRequest, body: Mapping[str, Any], kwargs: Any) -> Any:
        """
        Return the keyword arguments as they are: the bytes of the body are made already.

        Raises:
            RequestError: A middleware has changed it, by `call.replace` or in place.
        """
        if not is_same(body, request.body):
            msg = (
                f"a middleware has changed a request of {request.client}, whose body is made already; "
                "instrument the SDK, or decorate the function that makes the request"
            )
            raise RequestError(msg)
        return kwargs

    def carried(self, response: Any, request: HttpRequest) -> HttpReply:
        """Return a response as the call returns it."""
        return HttpReply(response, request.client, is_open=is_open(response), asked=request.streams)

    def answer(self, result: Any, request: HttpRequest, *, was_sent: bool) -> Any:  # noqa: ARG002 - the result shows it
        """
        Return the client's response.

        Raises:
            ReplyFormError: A middleware has answered in its place.
        """
        if isinstance(result, HttpReply):  # or a proxy of one
            return result.http_response
        msg = f"a middleware answered a request of {request.client}, which needs a response of that client: pass it on"
        raise ReplyFormError(msg)
