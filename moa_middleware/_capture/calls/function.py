"""
What is said of a wrapped function, by its decorator and by the function itself.

An option may be a value or a function of the bound arguments; one that fails is counted and costs
the call nothing.
"""

from __future__ import annotations

import inspect
from dataclasses import replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, NamedTuple

import wrapt

from ..flow.model import Reply
from ..log import count_fault
from ..shapes.catalog import CATALOG, sdk_of_module
from ..shapes.http_request import HttpRequest
from ..shapes.params import bare_url_of
from ..shapes.parts import read_parts
from ..shapes.replies import read_reply
from ..shapes.sdk_request import request_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..flow.model import Call
    from ..turns.turn import Turn

__all__ = ["Mark", "Options", "WrappedFunction", "arguments_of_option", "layer_of_option", "unmet_parameter"]


class Mark:
    """Whether a function that was named was called."""

    __slots__ = ("called",)

    def __init__(self) -> None:
        self.called = False


class Options(NamedTuple):
    """What a decorator or `instrument` says of a function; each may be a value or a function."""

    kind: str
    """`turn` or `call`."""
    role: str | None = None
    label: Any = None
    layer: Any = None
    model: Any = None
    provider: Any = None
    session_id: Any = None
    preset: Any = None
    messages: str | None = None
    """Name of the parameter that holds the request, or a dotted path from one, as are `system` and a path in `model`."""
    tags: Mapping[str, Any] | None = None
    reads: Callable[[Any], Reply | None] | None = None
    """Reads what a call returned in one piece, `None` to leave it to the shapes."""
    inside: bool = False
    """True if the call is recorded only inside an open turn; outside one it passes through untraced."""
    prepares: Any = None
    """Of a turn in two calls: `True` for the first, what that one returned for the second, else `None`."""
    system: str | None = None
    redacts: Any = None
    """A function of the arguments that returns the `Turn.redacts` of the turn that the function opens."""
    mark: Mark | None = None
    """Learns of the first call that is recorded or goes through middleware."""
    family: str | None = None
    """Shape of its request, where its name and its parameters do not show that."""
    alone: bool = False
    """True if this name of the function alone is meant: its other names, and who else holds it, are left alone."""


class WrappedFunction:
    """What is known of one wrapped function, found out at its first traced call."""

    def __init__(self, fn: Callable[..., Any], options: Options, path: str) -> None:
        if options.mark is not None:
            options.mark.called = True
        bare = _called(fn)
        module = str(getattr(bare, "__module__", ""))
        self.sdk = sdk_of_module(module)
        """The SDK that it is of."""
        link = CATALOG[self.sdk].link if self.sdk else "_client"
        # Of Bedrock it is the client itself that has the credentials, and not what it shares.
        self.link = "" if link == "meta" else link
        """Attribute in which its object holds the client; "" where the object is the client."""
        self.is_manager = bool(self.sdk and "." in path) and path.rpartition(".")[2] in CATALOG[self.sdk].managers
        """True if it returns a stream manager, whatever its arguments say."""
        self.place = _place_of(fn, path)
        """A name that no other function has, `None` if there is none."""
        self.is_method = not inspect.ismodule(getattr(fn, "__self__", inspect))
        """True if it is bound to an object."""
        self.returns_coroutine = inspect.iscoroutinefunction(bare)
        self.is_async_generator = inspect.isasyncgenfunction(bare)
        self.is_async = self.returns_coroutine or self.is_async_generator
        """True if it returns an awaitable, or an async stream."""
        self.is_generator = self.is_async_generator or (inspect.isgeneratorfunction(bare) and not _is_awaited(bare))
        """True if it returns a stream, whatever its arguments say."""
        self.spec = request_spec(
            fn,
            messages=options.messages,
            system=options.system,
            model=options.model,
            path=path,
            is_turn=options.kind == "turn",
            family=options.family,
        )
        self.family = self.form = self.spec.family
        """Shape of its replies: that of its request, until one has shown another."""
        self.reads = options.reads
        """What makes a reply of what it returned in one piece, where the shapes would not understand it."""
        # From Python 3.13 on a class method calls the wrapper inside it with the class, and no longer binds it.
        self.takes_class = self.spec.names[:1] == ("cls",)
        """True if its first argument may be the class that it is a method of."""
        self.defaults = self.spec.defaults
        self.required = _required(fn) if self.returns_coroutine else 0
        """Of a coroutine function: the number of arguments without which Python refuses the call."""
        self.name = str(_first(fn, "__name__") or type(fn).__name__)
        self.method = path.rpartition(".")[2] or self.name
        """The name by which its client calls it: `self.create = self._create_v2` is a `create`."""
        self.qualname = str(_first(fn, "__qualname__") or self.name)

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments by name, the defaults of those that were not given among them."""
        return self.defaults | self.spec.bind(args, kwargs) if self.defaults else self.spec.bind(args, kwargs)

    def sdk_and_endpoint(self, instance: object, fn: Callable[..., Any]) -> tuple[str | None, str | None]:
        """Return the SDK's name and the URL of its endpoint, for a function, or a method of a resource, of an SDK."""
        of = fn if instance is None else type(instance)
        sdk = CATALOG.get(sdk_of_module(str(getattr(of, "__module__", ""))))
        if sdk is None:
            return (instance.host or None, instance.endpoint) if type(instance) is HttpRequest else (None, None)
        if sdk.endpoint is None:
            url = getattr(getattr(instance, "_client", None), "base_url", None)
        else:
            url = sdk.endpoint(instance)
        if url is None:
            return sdk.provider, None
        return sdk.provider, bare_url_of(url)

    def key_of(self, call: Call) -> str | None:
        """Return the key of a request, `None` if it has none. See `request_key`."""
        from .request_key import key_of  # not with the package: few programs have a cache

        return key_of(call, self)

    def reply_of(self, value: Any, turn: Turn) -> Reply:
        """Return what the function returned as a reply that is new; a fault of `reads` is counted in the turn."""
        if self.reads is not None:
            try:
                reply = self.reads(value)
            except Exception as error:
                count_fault(f"option reads of {self.qualname}", error)
                turn.faults += 1
            else:
                if isinstance(reply, Reply):
                    return replace(reply)
        reply = read_reply(value)
        if reply.text is not None:
            return reply
        try:
            return read_parts(value, reply)
        except Exception as error:  # of a class, perhaps, whose metaclass refuses to be asked
            count_fault("reply", error)
            turn.faults += 1
            return reply


def _place_of(fn: Any, path: str) -> str | None:
    """
    Return a name of a function that no other has: its module, and how it is called; `None` if it has none.

    Args:
        fn: The function.
        path: The dotted path by which it was found on a client, "" for a decorated function.
    """
    module, name = getattr(fn, "__module__", None), getattr(fn, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or "<" in name:
        return None  # of a partial application, or a function in a function: what it holds besides is not known
    if module == "__main__":
        # Of each program: two of them may share a cache.
        code = getattr(getattr(fn, "__func__", fn), "__code__", None)
        module = getattr(code, "co_filename", None)
        if module is None:
            return None
    return f"{module}:{path or name}"


def _called(fn: Any) -> Any:
    """
    Return the function whose result the caller gets, under partial applications and proxies.

    A decorator that somebody wrote may turn a coroutine function into a plain one, or the other
    way round, so only an SDK's own are looked through.
    """
    for _ in range(50):
        if isinstance(fn, partial):
            fn = fn.func
        elif isinstance(fn, wrapt.BaseObjectProxy) or _is_of_sdk(fn):
            fn = fn.__wrapped__
        elif not inspect.isroutine(fn) and not isinstance(fn, type) and callable(fn):
            if inspect.iscoroutinefunction(fn):
                break  # marked as one
            fn = type(fn).__call__  # a callable object's own method
        else:
            break
    return fn


# What a function returns decides which driver starts, before it is called: an `async def` must begin
# when its coroutine runs and not when it is called. `inspect.iscoroutinefunction` says no of the async
# SDKs' methods, since each is wrapped in a plain function that returns the coroutine; so those wrappers
# are looked through, and only those (`test_arguments.py`).
def _is_of_sdk(fn: Any) -> bool:
    """Return True if a function is an SDK's wrapper around another: they return what that one returns."""
    inner = getattr(fn, "__func__", fn)
    module = getattr(inner, "__globals__", {}).get("__name__")
    return isinstance(module, str) and bool(sdk_of_module(module)) and hasattr(inner, "__wrapped__")


def _is_awaited(fn: Any) -> bool:
    """Return True if it is a generator function made a coroutine function by `types.coroutine`."""
    code = getattr(getattr(fn, "__func__", fn), "__code__", None)
    return bool(getattr(code, "co_flags", 0) & inspect.CO_ITERABLE_COROUTINE)


def _first(fn: Any, name: str) -> Any:
    """Return a name of a function, under the partial applications around it; `None` if it has none."""
    found = getattr(fn, name, None)
    while not found and isinstance(fn, partial):
        fn = fn.func
        found = getattr(fn, name, None)
    return found


def _required(fn: Callable[..., Any]) -> int:
    """Return how many arguments a function must get, 0 if that is unknown."""
    try:
        # Of this function itself: a wrapper around another may need fewer.
        parameters = inspect.signature(fn, follow_wrapped=False).parameters.values()
    except (TypeError, ValueError):
        return 0
    return sum(p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)


def arguments_of_option(option: Callable[..., Any], instance: object, named: Mapping[str, Any]) -> dict[str, Any]:
    """Return the bound arguments that an option's function takes, by name; `self` is the object of the method."""
    given = dict(named)
    if instance is not None:
        given["self"] = instance
    names = _taken(option)
    return given if names is None else {name: given[name] for name in names if name in given}


def unmet_parameter(option: Callable[..., Any], given: Mapping[str, Any]) -> str | None:
    """Return the first parameter that an option's function needs and the call has no argument for, `None` if none."""
    try:
        parameters = inspect.signature(option).parameters.values()
    except Exception:  # `__signature__` may be anything
        return None
    for p in parameters:
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name not in given:
            return p.name
    return None


@lru_cache(maxsize=256)
def _taken(option: Callable[..., Any]) -> tuple[str, ...] | None:
    """Return the names of the arguments that a function takes, `None` if it takes any; a signature costs 10 µs."""
    parameters = inspect.signature(option).parameters.values()
    return None if any(p.kind is p.VAR_KEYWORD for p in parameters) else tuple(p.name for p in parameters)


def layer_of_option(value: Any) -> int | None:
    """Return a layer as it is, `None` if it is none: a function of the user's has said it."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 1 else None
