"""One invocation of a wrapped function, and the turn or call that it opens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..flow.model import new_call
from ..log import count_fault
from ..scope import NO_TAGS
from ..shapes.iterators import recorder_of
from ..shapes.request import UNREAD, class_has_model, model_of
from ..turns.turn import CallState, Turn
from .function import layer_of_option, resolve_option, text_of, turn_tags

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..flow.model import Call
    from ..scope import Scope, Tags
    from ..shapes.request import Request
    from ..turns.turn import Recording, StackLike
    from .function import Options, WrappedFunction

__all__ = ["Invocation"]

_NOTHING: dict[str, Any] = {}
_NOT_SET = (None,) * 4
"""Label, layer, model and provider of most decorators: one comparison shows that there is nothing to ask."""


class Invocation:
    """Who called what: the stack, the wrapped function with what is known of it, and the arguments."""

    __slots__ = ("args", "function", "instance", "kwargs", "options", "recording", "stack", "wrapped")

    def __init__(  # noqa: PLR0917 - on the path of every call, where keywords cost
        self,
        stack: StackLike,
        options: Options,
        function: WrappedFunction,
        wrapped: Callable[..., Any],
        instance: object,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        recording: Recording | None,
    ) -> None:
        self.stack = stack
        self.options = options
        self.function = function
        self.wrapped = wrapped
        self.instance = instance
        self.args = args
        self.kwargs = kwargs
        self.recording = recording

    # What is read here is never iterated, copied deep or changed: `messages` may be a generator that the
    # SDK is about to read, and a list that another thread goes on appending to.
    def read(self) -> tuple[dict[str, Any], Request]:
        """Return the arguments by name, and the request in them; an iterator of messages is replaced by a recorder."""
        function = self.function
        try:
            named = function.bind(self.args, self.kwargs)
            request = function.spec.read(named, self.instance)
            if type(request.messages) is not list:
                recorder = recorder_of(request.messages, request.system)
                if recorder is not None and "." not in request.place:
                    self.args, self.kwargs = function.spec.put(self.args, self.kwargs, request.place, recorder)
                    request = request._replace(messages=recorder)
        except Exception as error:
            # An argument's own code, or a fault of ours: the call is recorded, without its request.
            count_fault("entry", error)
            return {}, UNREAD
        return named, request

    def open_turn(self, named: Mapping[str, Any], request: Request) -> Turn:
        """Open a turn of the function's own."""
        turn = Turn(turn_tags(self.options, self.instance, named), self.recording, request=request)
        if request is UNREAD:
            turn.faults += 1
        if self.options.redacts is not None:
            turn.redacts = resolve_option(self.options.redacts, self.instance, named)
        self.enter(turn)
        return turn

    def enter(self, turn: Turn) -> None:
        """Remember which method of which object is the turn: its `super()` call joins it."""
        # By identity and name: the instance itself would be kept alive by its turn, and two clients that
        # compare equal are two clients.
        if self.instance is not None:
            fn = getattr(self.wrapped, "__func__", self.wrapped)
            turn.frames.append((id(self.instance), self.function.method, fn))

    def open_call(self, named: Mapping[str, Any], request: Request, here: Scope | None, turn: Turn | None) -> CallState:
        """
        Return the state of a call that begins, in `turn` or in a turn of its own.

        Tags win over what the decorator says.
        """
        options, instance = self.options, self.instance
        if turn is None:
            turn = Turn(turn_tags(options, instance, named), self.recording, implicit=True)
            if options.redacts is not None:
                turn.redacts = resolve_option(options.redacts, instance, named)
        if here is not None and here.turn is turn:
            state = CallState(turn, here.parent, here.order)
        else:
            state = CallState(turn, None, None)
        tags = here.tags if here is not None else NO_TAGS
        state.name, state.stack, state.request = self.function.name, self.stack, request
        if request is UNREAD:
            turn.faults += 1
        try:
            state.model = request.model
            if state.model is None and instance is not None and options.model is None:
                # Looked for here and not in `model_of`: most objects have none, and a look enters no frame.
                try:
                    stored = instance.__dict__
                except Exception:  # slots, or an object with a `__getattribute__` of its own
                    stored = _NOTHING
                if "model" in stored or "model_name" in stored or class_has_model(type(instance)):
                    state.model = model_of(instance)
            if tags is NO_TAGS and options[2:6] == _NOT_SET and not callable(options.role):
                if options.role:
                    state.role, state.role_source = options.role, "declared"
            else:
                self._name(state, named, tags)
            state.provider, state.endpoint = self.function.sdk_and_endpoint(instance, self.wrapped)
            if state.endpoint is not None and turn.recording is not None:
                state.client = getattr(instance, "_client", None)
            if options.provider is not None:
                state.provider = text_of(resolve_option(options.provider, instance, named)) or state.provider
            if options.tags or tags.own:
                state.tags = {**(options.tags or {}), **tags.own}
        except Exception as error:
            # An object's own code, or a fault of ours: the call is recorded with what is known by now.
            count_fault("entry", error)
            turn.faults += 1
        return state

    def _name(self, state: CallState, named: Mapping[str, Any], tags: Tags) -> None:
        """Name a call by what tags and options say; an option may be a function of the arguments."""
        options, instance = self.options, self.instance
        if tags.role:
            state.role, state.role_source = tags.role, "tag"
        else:
            role: Any = options.role
            state.role = text_of(resolve_option(role, instance, named)) if callable(role) else role
            state.role_source = "declared" if state.role else None
        if tags.layer is not None:
            state.layer = tags.layer
        else:
            state.layer = layer_of_option(resolve_option(options.layer, instance, named))
        state.label = text_of(tags.label or resolve_option(options.label, instance, named))
        if not state.model and not self.function.spec.names_model:
            state.model = text_of(resolve_option(options.model, instance, named))

    def call(self, state: CallState, request: Request) -> Call:
        """Return the call as middleware sees it."""
        return new_call(
            state.turn.id,
            state.role,
            state.label or state.model or self.function.name,
            state.layer,
            state.parent.id if state.parent is not None else None,
            state.model,
            state.provider,
            request.messages,
            request.params,
            state.tags or {},
            self.args,
            self.kwargs,
            self.function.spec,
            stream=request.stream,
        )
