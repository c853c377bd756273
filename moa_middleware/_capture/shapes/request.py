"""
Which argument is what: where the messages, the model and the parameters of a request are.

Found out once per function, from its dotted path and signature; read per call without iterating,
copying or changing any argument.
"""

from __future__ import annotations

import inspect
import itertools
from copy import deepcopy
from types import GeneratorType
from typing import TYPE_CHECKING, Any, NamedTuple

import wrapt

from ...errors import RequestError
from .params import read_params

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..flow.model import Call

__all__ = ["Recorder", "Request", "RequestSpec", "recorder_of"]

_SYSTEM = {"anthropic": "system", "openai_responses": "instructions"}
"""Name of the argument that the model reads before the messages, by family."""
_MESSAGES = ("messages", "prompt", "query", "input", "task", "question", "conversation")
_SENTINELS = frozenset({"Omit", "NotGiven"})
"""Names of the classes of an SDK's words for "not given" (`omit`, `NOT_GIVEN`)."""


# The types of Python's own iterators, found by making one of each: most have no name that could be
# imported. An iterator of a class of the user's may be a file or a socket, so only these are recorded.
_ITERABLES: tuple[Any, ...] = ([], (), {}, {}.values(), {}.items(), set(), "", "é", range(0), range(1 << 70))
_ITERATORS = frozenset(
    (
        *(type(iter(made)) for made in _ITERABLES),
        *(map, filter, zip, enumerate, reversed, type(reversed([])), type(reversed({}))),
        *(kind for kind in vars(itertools).values() if isinstance(kind, type) and hasattr(kind, "__next__")),
    )
)


class Recorder(wrapt.BaseObjectProxy):  # type: ignore[type-arg]  # wrapt's C types are untyped
    """
    An iterator of messages on its way to the SDK, which keeps what is pulled from it.

    `rewind` lets a further request of the same call read the same messages from where the call
    found them.
    """

    def __init__(self, source: Any, system: Any = None) -> None:
        super().__init__(source)
        self._self_items: list[Any] = []
        self._self_position = 0
        self._self_head = [] if system is None else [{"role": "system", "content": system}]

    @property
    def items(self) -> list[Any]:
        """What was pulled so far, after what the model reads before it."""
        return [*self._self_head, *self._self_items]

    def __iter__(self) -> Recorder:
        return self

    def __next__(self) -> Any:
        if self._self_position == len(self._self_items):
            self._self_items.append(next(self.__wrapped__))
        item = self._self_items[self._self_position]
        self._self_position += 1
        return item

    def __copy__(self) -> Recorder:
        # Wrapt refuses to copy a proxy, and Python to copy a generator, but `itertools.tee` asks for a copy:
        # both read on from here, and what either pulls is kept.
        made = type(self)(self.__wrapped__)
        made._self_items, made._self_position = self._self_items, self._self_position
        made._self_head = self._self_head
        return made

    def __deepcopy__(self, memo: Any) -> Any:
        make, rest = self.__reduce_ex__(2)
        return make(*deepcopy(rest, memo))

    def __reduce_ex__(self, _protocol: Any) -> Any:
        return itertools.chain, (self._self_items[self._self_position :], self.__wrapped__)

    def rewind(self) -> None:
        """Start again at the first message."""
        self._self_position = 0


class _GeneratorRecorder(Recorder):
    """The same for a generator, which can be sent to as well; `close` is its own."""

    def send(self, value: Any) -> Any:
        if value is None:
            return next(self)
        return self._kept(self.__wrapped__.send(value))

    def throw(self, *error: Any) -> Any:
        return self._kept(self.__wrapped__.throw(*error))

    def _kept(self, item: Any) -> Any:
        self._self_items.append(item)
        self._self_position = len(self._self_items)
        return item


def recorder_of(messages: Any, system: Any = None) -> Recorder | None:
    """
    Return an iterator of messages as one that keeps what is pulled, `None` for anything else.

    Args:
        messages: The messages.
        system: What the model reads before them, where that is an argument of its own.

    A file, or an iterator of a class of the user's own, is passed on as it is and never read.
    """
    kind = type(messages)
    if kind is GeneratorType or kind is _GeneratorRecorder:
        return _GeneratorRecorder(messages, system)
    return Recorder(messages, system) if kind in _ITERATORS or kind is Recorder else None


_TOOLS = ("tools", "functions", "tool_choice", "function_call", "extra_body")
"""Keywords of the SDKs' functions that offer tools, or may."""


class Request(NamedTuple):
    """The parts of one request, as they stand in its arguments."""

    messages: Any
    model: str | None
    params: dict[str, Any]
    omitted: tuple[str, ...]
    """Names of the arguments that are not recorded."""
    stream: bool
    place: str
    """Name of the argument that holds the messages, "" where it is not known."""
    system: Any = None
    """What the model reads before the messages, where that is an argument of its own."""


def _family(where: str, parameters: set[str]) -> str:
    """Return the shape of a function's request, from where it is and what it takes."""
    if ("completions" in where or where.startswith("litellm.")) and "messages" in parameters:
        return "openai_chat"
    if "responses" in where and {"input", "model"} <= parameters:
        return "openai_responses"
    if where.startswith("anthropic.") and {"messages", "max_tokens"} <= parameters:
        return "anthropic"
    return "plain"


class RequestSpec:
    """What the arguments of one function mean."""

    __slots__ = ("accepts", "family", "messages", "names", "system")

    def __init__(self, fn: Callable[..., Any], *, messages: str | None = None, path: str = "") -> None:
        """
        Read the signature once.

        Args:
            fn: The function that will be called.
            messages: Name of the parameter that holds the messages, where it has a name of its own.
            path: Dotted path by which it was found, "" for a decorated function.
        """
        where = f"{getattr(fn, '__module__', '')}.{path or getattr(fn, '__qualname__', '')}"
        try:
            parameters = list(inspect.signature(fn).parameters.values())
        except (TypeError, ValueError):
            parameters = []
        self.names = tuple(p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD))
        anything = not parameters or any(p.kind is p.VAR_KEYWORD for p in parameters)
        self.accepts = None if anything else frozenset(p.name for p in parameters)
        """Names of the arguments that it takes, `None` where it takes any or its signature is not known."""
        self.family = _family(where.lower(), {p.name for p in parameters})
        self.system = _SYSTEM.get(self.family)
        # Not by the usual names: `prompt` is the name of a template there.
        self.messages = messages or ("input" if self.family == "openai_responses" else None)

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return the given arguments by name, without those that an SDK calls not given."""
        named: dict[str, Any] = dict(zip(self.names, args, strict=False)) if args else {}
        named.update(kwargs)
        given = named
        for name, value in named.items():
            # By the class's name: the classes are the SDK's own, one of each SDK, and none is imported here.
            if type(value).__name__ in _SENTINELS:
                given = given.copy() if given is named else given
                del given[name]
        return given

    def read(self, named: Mapping[str, Any]) -> Request:
        """Return the parts of a request from its bound arguments; nothing is iterated or changed."""
        place = self.messages
        if place is None:
            for name in _MESSAGES:
                if named.get(name) is not None:
                    place = name
                    break
        messages = named.get(place) if place is not None else None
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        system = named.get(self.system) if self.system is not None else None
        if system is not None and isinstance(messages, list | tuple):
            messages = [{"role": "system", "content": system}, *messages]
        params, omitted = read_params(named, (place, self.system), self.family)
        model, stream = named.get("model"), named.get("stream") is True
        model = model if isinstance(model, str) else None
        return Request(messages, model, params, omitted, stream, place or "", system)

    def offers_tools(self, kwargs: Mapping[str, Any]) -> bool:
        """Return True if a request may be answered with tool calls, or if that is not known."""
        return self.family == "plain" or any(map(kwargs.get, _TOOLS))

    def put(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], name: str, value: Any
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments with one of them set, at the place where it was given."""
        if name not in kwargs and name in self.names[: len(args)]:
            index = self.names.index(name)
            return (*args[:index], value, *args[index + 1 :]), dict(kwargs)
        return args, {**kwargs, name: value}

    def rebind(self, call: Call, changes: Mapping[str, Any]) -> dict[str, Any]:
        """
        Return the fields of `call` that follow from `changes`.

        Raises:
            RequestError: For new messages where the function's parameter for them is not known, or
                where it takes a string and they are more than one user message; for a parameter
                that the function does not take.
        """
        args = tuple(changes.get("args", call.args))
        kwargs = dict(changes.get("kwargs", call.kwargs))
        if "messages" in changes:
            named = self.bind(args, kwargs)
            place = self.read(named).place
            if not place:
                msg = (
                    "call.replace(messages=…): it is not known which argument holds the messages; "
                    'name it in the decorator, messages="…"'
                )
                raise RequestError(msg)
            value = changes["messages"]
            if self.system is not None:
                value, kwargs = self._without_system(value, kwargs)
            if isinstance(named.get(place), str) and not isinstance(value, str) and self.family == "plain":
                value = _as_string(place, value)
            args, kwargs = self.put(args, kwargs, place, value)
        wanted = {
            name: changes[name]
            for name in ("model", "stream")
            if name in changes and (self._takes(name) or changes[name] != getattr(call, name))
        }
        params = changes.get("params", call.params)
        wanted |= {n: value for n, value in params.items() if n not in call.params or call.params[n] is not value}
        for name, value in wanted.items():
            if not self._takes(name):
                known = ", ".join(sorted(self.accepts or ()))
                msg = f"call.replace: the function has no parameter {name!r}; it takes {known}"
                raise RequestError(msg)
            args, kwargs = self.put(args, kwargs, name, value)
        for name in call.params.keys() - params.keys():
            kwargs.pop(name, None)
        before, named = self.bind(call.args, call.kwargs), self.bind(args, kwargs)
        request = self.read(named)
        # A parameter of `call.params` may come from no argument at all: its default in the signature is
        # recorded, too, and a change of the arguments leaves it as it is.
        implied = {n: value for n, value in call.params.items() if n not in before and n not in named}
        given = before.keys() | named.keys()
        return {
            "args": args,
            "kwargs": kwargs,
            "messages": request.messages,
            "model": request.model if "model" in given else call.model,
            "params": {**implied, **request.params},
            "stream": request.stream if "stream" in given else call.stream,
        }

    def _without_system(self, messages: Any, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Put a leading system message where the function takes it; returns the others, and the arguments."""
        assert self.system is not None  # noqa: S101 - the caller asked
        if isinstance(messages, list | tuple):
            kwargs = {name: value for name, value in kwargs.items() if name != self.system}
            first = messages[0] if messages else None
            if isinstance(first, dict) and first.get("role") == "system":
                return list(messages[1:]), {**kwargs, self.system: first.get("content")}
        return messages, kwargs

    def _takes(self, name: str) -> bool:
        return self.accepts is None or name in self.accepts


def _as_string(name: str, messages: Any) -> str:
    """Return one user message as the string that the function takes."""
    if isinstance(messages, list | tuple) and len(messages) == 1:
        content = messages[0].get("content") if isinstance(messages[0], dict) else None
        if isinstance(content, str):
            return content
    msg = f"call.replace(messages=…): the argument {name!r} is a string; give a string or one user message"
    raise RequestError(msg)
