"""
Which argument is what: where the messages, the system text, the model and the parameters of a request are.

Found out once per function, from its dotted path and signature; read per call without iterating,
copying or changing any argument.
"""

from __future__ import annotations

from collections import UserList, deque
from enum import Enum
from typing import TYPE_CHECKING, Any, NamedTuple

from ...errors import RequestError
from .fields import data_of, of_type
from .params import Params, read_params
from .signature import SELVES, Argument, Signature, follow, log_dead_end

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..flow.model import Call

__all__ = ["UNREAD", "Request", "RequestSpec", "class_has_model", "model_of", "why_no_request"]

_SYSTEM = {"anthropic": "system", "openai_responses": "instructions"}
"""Name of the argument that the model reads before the messages, by family."""
_MESSAGES = ("messages", "prompt", "query", "input", "task", "question", "conversation")
# Of a plain function only. The SDKs have a parameter `user` that is the id of an end user, and so has a view of a web
# application, which is a turn: there it is a text only where the function has a parameter for the system text too.
_MESSAGES_PLAIN = (*_MESSAGES, "user", "text", "content")
_SYSTEM_PLAIN = ("system", "system_prompt", "instructions")
_MODEL_PLAIN = ("model", "model_name")
# Of the standard library, and of exactly these types: their items are there, and no code of the user's runs.
_LISTED = frozenset({deque, UserList, type({}.values()), type({}.keys())})
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
    """Name of the argument that holds the messages, or a dotted path; "" where it is not known."""
    system: Any = None
    """What the model reads before the messages, where that is an argument of its own."""
    system_place: str = ""
    """Name of that argument, or a dotted path; "" where there is none."""


UNREAD = Request(None, None, {}, (), False, "")
"""In place of a request whose reading raised."""


def _family(where: str, parameters: frozenset[str]) -> str:
    """Return the shape of a function's request, from where it is and what it takes."""
    if ("completions" in where or where.startswith("litellm.")) and "messages" in parameters:
        return "openai_chat"
    if "responses" in where and {"input", "model"} <= parameters:
        return "openai_responses"
    if where.startswith("anthropic.") and {"messages", "max_tokens"} <= parameters:
        return "anthropic"
    return "plain"


class RequestSpec(Signature):
    """What the arguments of one function mean."""

    __slots__ = ("family", "has_paths", "messages", "model", "names_model", "system", "systems", "usual")

    def __init__(
        self,
        fn: Callable[..., Any],
        *,
        messages: str | None = None,
        system: str | None = None,
        model: Any = None,
        path: str = "",
        is_turn: bool = False,
        family: str | None = None,
    ) -> None:
        """
        Read the signature once.

        Args:
            fn: The function that will be called.
            messages: Name of the parameter that holds the messages, or a dotted path from one, where
                it is not a usual one. A name that the function does not have is passed over.
            system: The same for the text that the model reads before them.
            model: The same for the model's name. Anything but such a place is left to the caller.
            path: Dotted path by which it was found, "" for a decorated function.
            family: Shape of the request, if it is known.
            is_turn: True if the function is a turn; then `user` is its request only next to a system text.
        """
        super().__init__(fn)
        where = f"{getattr(fn, '__module__', '')}.{path or getattr(fn, '__qualname__', '')}"
        self.family = family or _family(where.lower(), self.known)
        plain = self.family == "plain"
        # Not by the usual names: `prompt` is the name of a template there.
        usual = "input" if self.family == "openai_responses" else None
        self.messages = messages if messages is not None and self.leads(messages) else usual
        self.system = system if system is not None and self.leads(system) else _SYSTEM.get(self.family)
        usual_names: tuple[str, ...] = _MESSAGES_PLAIN if plain else _MESSAGES
        if is_turn and self.system is None and self.known.isdisjoint(_SYSTEM_PLAIN):
            usual_names = tuple(name for name in usual_names if name != "user")
        self.usual = tuple(filter(self.takes, usual_names))
        self.systems = tuple(filter(self.takes, _SYSTEM_PLAIN)) if plain and self.system is None else ()
        """Names of the arguments that may hold the system text of a plain function."""
        if isinstance(model, Argument):
            model = model.path
        elif not (isinstance(model, str) and self._is_place(model)):
            model = None
        self.names_model = model is not None
        """True if the option names where the model is; else it is the model itself, or a function."""
        taken = [name for name in _MODEL_PLAIN if name in self.known] if plain else []
        self.model: str = model or (taken[0] if taken else "model")
        self.has_paths = any("." in place for place in (self.messages, self.system, self.model) if place)

    def _is_place(self, text: str) -> bool:
        """Return True if a text names a parameter, or an attribute of the object; else it is a model's name."""
        head, _, rest = text.partition(".")
        return head in self.known or text == "model" or bool(rest and head in SELVES)

    def read(self, named: Mapping[str, Any], instance: object = None) -> Request:
        """
        Return the parts of a request; nothing is iterated or changed.

        Args:
            named: The arguments by name.
            instance: The object of the method, at which a dotted path may begin.
        """
        place, system_place = self.messages, self.system
        if place is None:
            for name in self.usual:
                if named.get(name) is not None:
                    place = name
                    break
        if self.systems:
            for name in self.systems:
                if name != place and issubclass(type(named.get(name)), (str, list, tuple)):
                    system_place = name
                    break
        if self.has_paths:
            messages = follow(place, named, instance) if place is not None else None
            system = follow(system_place, named, instance) if system_place is not None else None
            model = follow(self.model, named, instance)
            if messages is None or model is None or (system is None and system_place is not None):
                for path, value in ((place, messages), (system_place, system), (self.model, model)):
                    if value is None and path is not None:
                        log_dead_end(path, named, instance)
        else:
            messages = named.get(place) if place is not None else None
            system = named.get(system_place) if system_place is not None else None
            model = named.get(self.model)
        # Of the type: what a lazy object answers for its class is code of its own.
        kind = type(messages)
        if issubclass(kind, str):
            messages = [{"role": "user", "content": messages}]
            kind = list
        is_listed = messages is None or issubclass(kind, (list, tuple)) or kind in _LISTED
        if is_listed and system is not None and (system or not self.systems):
            messages = [{"role": "system", "content": system}, *(messages or ())]
        params, omitted = read_params(named, (place, system_place, self.model), self.family)
        stream = named.get("stream") is True
        if model is not None and type(model) is not str:
            model = _name_in(model)
            if model is None:
                omitted = (*omitted, self.model)
        return Request(messages, model, params, omitted, stream, place or "", system, system_place or "")

    def offers_tools(self, kwargs: Mapping[str, Any]) -> bool:
        """Return True if a request may be answered with tool calls, or if that is not known."""
        return self.family == "plain" or any(map(kwargs.get, _TOOLS))

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
            args, kwargs = self._put_messages(call, args, kwargs, changes["messages"])
        wanted: dict[str, Any] = {}
        if "model" in changes and (self.leads(self.model) or changes["model"] != call.model):
            wanted[self.model] = changes["model"]
        if "stream" in changes and (self.takes("stream") or changes["stream"] != call.stream):
            wanted["stream"] = changes["stream"]
        params = changes.get("params", call.params)
        wanted |= {n: value for n, value in params.items() if n not in call.params or call.params[n] is not value}
        for name, value in wanted.items():
            if not self.leads(name) and name not in self.bound:
                known = ", ".join(sorted(self.accepts or ()))
                msg = f"call.replace: the function has no parameter {name!r}; it takes {known}"
                raise RequestError(msg)
            args, kwargs = self.put(args, kwargs, name, value)
        for name in call.params.keys() - params.keys():
            kwargs.pop(name, None)
        return self._fields(call, changes, args, kwargs)

    def _fields(
        self, call: Call, changes: Mapping[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        """Return the fields of a call as they follow from its arguments."""
        named = self.defaults | self.bind(args, kwargs)
        request = self.read(named)
        # A parameter of `call.params` may come from no argument at all; a change of the arguments leaves it
        # as it is. So it is with what was read from the object of the method.
        before = self.defaults | self.bind(call.args, call.kwargs)
        implied = {n: value for n, value in call.params.items() if n not in before and n not in named}
        found = {**implied, **request.params}
        messages = request.messages
        if self.has_paths and not named.keys() >= {place.partition(".")[0] for place in _paths(self)}:
            messages = changes.get("messages", call.messages)
            messages = [{"role": "user", "content": messages}] if isinstance(messages, str) else messages
        given = before.keys() | named.keys()
        return {
            "args": args,
            "kwargs": kwargs,
            "messages": messages,
            "model": request.model if self.model.partition(".")[0] in given else call.model,
            "params": Params({**{n: found[n] for n in call.params if n in found}, **found}),
            "stream": request.stream if "stream" in given else call.stream,
        }

    def _put_messages(
        self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], messages: Any
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Put other messages, and the system text that they begin with, where the function takes them."""
        named = self.defaults | self.bind(args, kwargs)
        request = self.read(named)
        place, system_place, system = request.place, request.system_place, request.system
        if system_place.partition(".")[0] in SELVES:
            system = _system_in(call.messages)  # the object of the method is not known here
        old = follow(place, named) if place else None
        if not place and not system_place:
            msg = (
                "call.replace(messages=…): it is not known which argument holds the messages; "
                'name it in the decorator, messages="…"'
            )
            raise RequestError(msg)
        if not system_place and self.systems and isinstance(old, str):
            system_place = self.systems[0]
        if system_place and isinstance(messages, list | tuple):
            content = _system_in(messages)
            if content is not None:
                messages = list(messages[1:])
                if content is not system:
                    args, kwargs = self.put(args, kwargs, system_place, content)
            elif system is not None or system_place in named:
                args, kwargs = self.without(args, kwargs, system_place)
        if not place and messages:
            msg = "call.replace(messages=…): the function takes a system text only; give one system message"
            raise RequestError(msg)
        if place and isinstance(old, str) and not isinstance(messages, str) and self.family == "plain":
            messages = _as_string(place, messages)
        return self.put(args, kwargs, place, messages) if place else (args, kwargs)


def why_no_request(fn: Callable[..., Any], request: str | None, *, is_method: bool = False) -> str | None:
    """
    Return why a function takes no request, `None` if it does or if that is not known.

    Args:
        fn: The function.
        request: Name of the parameter that holds the request, or a dotted path from one, if it was given.
        is_method: True if the first parameter is the object, since the function was found on its class.
    """
    import inspect

    try:
        parameters = [*inspect.signature(fn).parameters.values()]
    except (TypeError, ValueError):
        return None  # of a C function, for example
    if is_method and not isinstance(getattr(fn, "__self__", None), type) and parameters[:1] and _is_self(parameters[0]):
        del parameters[0]
    names = {request.partition(".")[0]} if request is not None else {*_MESSAGES_PLAIN}
    places = [p for p in parameters if p.name in names]
    # What may be left out while something else may not is an extra: `create(model, from_=None, messages=None)` of
    # Ollama makes a model.
    required = [p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    is_extra = bool(required) and not any(p in required for p in places)
    takes_any = any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)
    if takes_any or (places and not is_extra):
        return None
    return f"takes no request: its parameters are {', '.join(p.name for p in parameters) or 'none'}"


def _is_self(parameter: Any) -> bool:
    return parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)


def _name_in(model: Any) -> str | None:
    """Return the text of a model's name that is an `Enum` or a subclass of `str`, `None` for anything else."""
    value = model._value_ if issubclass(type(model), Enum) else model
    return str.__str__(value) if issubclass(type(value), str) else None


def _paths(spec: RequestSpec) -> list[str]:
    return [place for place in (spec.messages, spec.system) if place and "." in place]


def _system_in(messages: Any) -> Any:
    """Return the content of a system message that messages begin with, `None` if there is none."""
    first = messages[0] if isinstance(messages, list | tuple) and messages else None
    return first.get("content") if isinstance(first, dict) and first.get("role") == "system" else None


def _as_string(name: str, messages: Any) -> str:
    """Return one user message as the string that the function takes."""
    if isinstance(messages, list | tuple) and len(messages) == 1:
        content = messages[0].get("content") if isinstance(messages[0], dict) else None
        if isinstance(content, str):
            return content
    msg = f"call.replace(messages=…): the argument {name!r} is a string; give a string or one user message"
    raise RequestError(msg)


@of_type
def class_has_model(kind: type) -> bool:
    """Return True if the objects of a class may have a `model` that is not in their `__dict__`; a class may itself."""
    return issubclass(kind, type) or any(name in vars(base) for base in kind.__mro__ for name in _MODEL_PLAIN)


def model_of(instance: object) -> str | None:
    """
    Return the `model` or `model_name` of an object, `None` if it has none that is a text.

    Only what is stored, on the object or its class: a property is code of the user's, which may do
    anything. It is read where it is named, `model="self.model"`.
    """
    kind: Any = instance if isinstance(instance, type) else type(instance)
    try:
        stored = data_of(instance)
        for name in _MODEL_PLAIN:
            value = stored.get(name)
            if value is None:
                value = next((vars(base)[name] for base in kind.__mro__ if name in vars(base)), None)
            if value is not None and (model := _name_in(value)) is not None:
                return model
    except Exception:  # a `__dict__` or `__getattribute__` of the user's
        return None
    return None
