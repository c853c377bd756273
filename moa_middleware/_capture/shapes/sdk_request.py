"""
The requests of SDKs whose arguments have a form of their own, such as Gemini's `contents` and `config`.

Where the parts are is in `catalog`; how they are brought into messages, and back, in the SDK's module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import RequestError
from .catalog import method_of
from .fields import fields_of
from .formats import FORMATS
from .params import USUAL, read_params
from .request import Request, RequestSpec
from .signature import follow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..flow.model import Call
    from .catalog import Methods

__all__ = ["SdkRequestSpec", "request_spec"]


def request_spec(fn: Callable[..., Any], *, path: str = "", **options: Any) -> RequestSpec:
    """
    Return what the arguments of a function mean.

    Args:
        fn: The function that will be called.
        path: Dotted path by which it was found, "" for a decorated function.
        **options: As `RequestSpec` takes them.
    """
    name = path or str(getattr(fn, "__qualname__", ""))
    row = method_of(str(getattr(fn, "__module__", "")), name.rpartition(".")[2])
    if row is None or row.form is None:
        return RequestSpec(fn, path=path, **options)
    return SdkRequestSpec(fn, row, name.rpartition(".")[2], path=path, **options)


_ARGUMENTS = frozenset(
    {
        *("accept", "body", "contentType", "modelId", "trace", "guardrailIdentifier", "guardrailVersion"),
        *("performanceConfigLatency", "requestMetadata", "serviceTier", "stream"),
    }
)
"""Of `invoke_model`, and what its name says; other parameters are in its body."""


class SdkRequestSpec(RequestSpec):
    """What the arguments of a method mean of which `catalog` has the form."""

    __slots__ = ("allowed", "format", "holders", "holds_body", "is_stream")

    def __init__(self, fn: Callable[..., Any], row: Methods, name: str, **options: Any) -> None:
        super().__init__(fn, **options)
        form = row.form
        assert form is not None  # noqa: S101 - `request_spec` asked
        self.family = form.family
        self.format: Any = FORMATS.get(form.family)
        """The module of a form that is not one of the old ones."""
        self.messages = options.get("messages") or form.messages
        self.system = options.get("system") or form.system
        self.usual = self.systems = ()
        if not self.names_model:
            self.model = form.model
        self.holders = form.holders
        self.holds_body = hasattr(self.format, "params_of")
        """True if the messages and the parameters are in one text, the body of the request."""
        is_config = len(form.holders) == 1 and not self.holds_body
        self.allowed = form.params | USUAL if is_config else form.params
        """Names that are recorded; those that a holder may have, where there is one."""
        self.is_stream = name in row.streams
        """True if the method returns a stream, whatever its arguments say."""
        self.has_paths = any("." in place for place in (self.messages, self.system, self.model) if place)

    def read(self, named: Mapping[str, Any], instance: object = None) -> Request:
        """Return the parts of a request; nothing is iterated or changed."""
        place, system_place = self.messages or "", self.system or ""
        messages = given = follow(place, named, instance)
        if self.holds_body:
            given = self.format.opened(given)
        if self.format is not None:
            messages = self.format.messages_of(given)
        elif issubclass(type(given), str):
            messages = [{"role": "user", "content": given}]
        system = follow(system_place, named, instance) if system_place else None
        if system is not None and (messages is None or issubclass(type(messages), list | tuple)):
            content = self.format.system_of(system) if self.format is not None else system
            messages = [{"role": "system", "content": content}, *(messages or ())]
        model = follow(self.model, named, instance)
        elsewhere = (place, system_place, self.model, *self.holders)
        params, omitted = read_params(named, elsewhere, self.family, self.allowed)
        for holder in self.holders:
            fields = fields_of(named.get(holder))
            if self.format is not None and self.holds_body and holder == place:
                fields = self.format.params_of(given)
            if type(fields) is dict:
                inside = tuple(path.removeprefix(f"{holder}.") for path in elsewhere)
                found, hidden = read_params(fields, inside, self.family, self.allowed)
                params |= found
                omitted += tuple(f"{holder}.{name}" for name in hidden)
        stream = self.is_stream or named.get("stream") is True
        model = model if isinstance(model, str) else None
        return Request(messages, model, params, omitted, stream, place, system, system_place)

    def put(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], path: str, value: Any
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments with one of them set: see `Signature.put`; a parameter may be in a holder."""
        name, _, rest = path.partition(".")
        if self.holds_body:
            body = self.bind(args, kwargs).get(self.messages or "")
            if not rest and name not in kwargs and name not in _ARGUMENTS and body is not None:
                path, value = self.messages or "", self.format.param_into(body, name, value)
        elif not rest and name not in self.known and name in self.allowed and self.holders:
            given = self.bind(args, kwargs)
            holding = (one for one in self.holders if name in (fields_of(given.get(one)) or ()))
            name = next(holding, self.holders[0])
            path = rest = f"{name}.{path}"
        if rest and name in self.holders and self.bind(args, kwargs).get(name) is None:
            kwargs = {**kwargs, name: {}}
        return super().put(args, kwargs, path, value)

    def leads(self, path: str) -> bool:
        """Return True if a path begins at a parameter, or names one that is in a holder."""
        return super().leads(path) or bool(self.holders and path in self.allowed)

    def _fields(
        self, call: Call, changes: Mapping[str, Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> dict[str, Any]:
        dropped = call.params.keys() - changes.get("params", call.params).keys()
        for holder in self.holders:
            fields = fields_of(self.bind(args, kwargs).get(holder))
            if self.holds_body and dropped:
                for name in dropped & self.format.params_of(fields).keys():
                    args, kwargs = self.put(args, kwargs, name, None)
            for name in dropped & fields.keys() if type(fields) is dict else ():
                args, kwargs = self.put(args, kwargs, f"{holder}.{name}", None)
        request = self.read(self.defaults | self.bind(args, kwargs))
        return {
            "args": args,
            "kwargs": kwargs,
            "messages": request.messages,
            "model": request.model or call.model,
            "params": request.params,
            "stream": request.stream,
        }

    def _put_messages(
        self, call: Call, args: tuple[Any, ...], kwargs: dict[str, Any], messages: Any
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if self.format is None:
            return super()._put_messages(call, args, kwargs, messages)
        if isinstance(messages, str):
            messages = [{"role": "user", "content": messages}]
        if not isinstance(messages, list | tuple):
            msg = f"call.replace(messages=…): {self.family} takes a list of messages, not {type(messages).__name__}"
            raise RequestError(msg)
        if self.holds_body:
            body = self.bind(args, kwargs).get(self.messages or "")
            return self.put(args, kwargs, self.messages or "", self.format.messages_into(body, messages))
        if self.system is not None:
            system = next((one["content"] for one in messages if _role(one) == "system"), None)
            before = follow(self.system, self.bind(args, kwargs))
            messages = [one for one in messages if _role(one) != "system"]
            if system is None and before is not None:
                args, kwargs = self.put(args, kwargs, self.system, None)
            elif system is not None and (before is None or system != self.format.system_of(before)):
                args, kwargs = self.put(args, kwargs, self.system, self.format.system_from(system))
        return self.put(args, kwargs, self.messages or "", self.format.messages_from(messages))


def _role(message: Any) -> Any:
    return message.get("role") if isinstance(message, dict) else None
