"""One invocation of a wrapped function, and the turn or call that it opens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..flow.new_call import new_call
from ..flow.outcome import is_interrupt
from ..log import count_fault
from ..scope import NO_TAGS, Tags
from ..shapes.iterators import recorder_of
from ..shapes.params import Params
from ..shapes.request import UNREAD, class_has_model, model_of
from ..turns.turn import CallState, Turn
from .function import arguments_of_option, layer_of_option, unmet_parameter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..flow.model import Call
    from ..scope import Scope
    from ..shapes.request import Request
    from ..turns.stack_like import StackLike
    from ..turns.turn import Recording
    from .function import Options, WrappedFunction

__all__ = ["Invocation"]

_NOTHING: dict[str, Any] = {}
_NOT_SET = (None,) * 4
"""Label, layer, model and provider of most decorators: one comparison shows that there is nothing to ask."""


class Invocation:
    """Who called what: the stack, the wrapped function with what is known of it, and the arguments."""

    __slots__ = ("args", "faults", "function", "instance", "kwargs", "options", "recording", "stack", "wrapped")

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
        self.faults = 0
        """Failed options that no turn has counted yet: some are read before there is a turn."""

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
        turn = Turn(self._turn_tags(named), self.recording, request=request)
        if request is UNREAD:
            turn.faults += 1
        if self.options.redacts is not None:
            turn.redacts = self.option("redacts", named)
        if self.faults:
            self._count_faults(turn)
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
            turn = Turn(self._turn_tags(named), self.recording, implicit=True)
            if options.redacts is not None:
                turn.redacts = self.option("redacts", named)
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
            if state.provider is not None:
                state.sends = True
            if state.endpoint is not None and (turn.recording is not None or self.stack.middleware):
                link = self.function.link
                state.client = getattr(instance, link, None) if link else instance
            if options.provider is not None:
                state.provider = self._text("provider", self.option("provider", named)) or state.provider
            if options.tags or tags.own:
                state.tags = {**(options.tags or {}), **tags.own}
        except Exception as error:
            # An object's own code, or a fault of ours: the call is recorded with what is known by now.
            count_fault("entry", error)
            turn.faults += 1
        if self.faults:
            self._count_faults(turn)
        return state

    def _count_faults(self, turn: Turn) -> None:
        turn.faults += self.faults
        self.faults = 0

    def option(self, name: str, named: Mapping[str, Any]) -> Any:
        """
        Return an option's value; a function is called with the bound arguments that it takes.

        One that raises has no value. It is counted in `faults`.
        """
        option = getattr(self.options, name)
        if not callable(option):
            return option
        given: dict[str, Any] | None = None
        try:
            given = arguments_of_option(option, self.instance, named)
            return option(**given)
        except BaseException as error:
            if is_interrupt(error):
                raise
            is_refused = given is not None and isinstance(error, TypeError)
            unmet = unmet_parameter(option, given or {}) if is_refused else None
            self._option_failed(name, error, **({} if unmet is None else {"parameter": unmet}))
            return None

    def _text(self, name: str, value: Any) -> str | None:
        """Return the text of an option's value, `None` if there is none: its `__str__` may be code of the user's."""
        try:
            return None if value is None else str(value)
        except BaseException as error:
            if is_interrupt(error):
                raise
            self._option_failed(name, error)
            return None

    def _option_failed(self, name: str, error: BaseException, **fields: str) -> None:
        self.faults += 1
        count_fault(f"option {name} of {self.function.qualname}", error, **fields)

    def _turn_tags(self, named: Mapping[str, Any]) -> Tags:
        """Return the session, preset and tags that the decorator gives a turn; an argument `session_id` names the session too."""
        session = self.option("session_id", named)
        if session is None and issubclass(type(named.get("session_id")), (str, int)):
            session = named["session_id"]
        return Tags(
            session_id=self._text("session_id", session),
            preset=self._text("preset", self.option("preset", named)),
            own=self.options.tags or {},
        )

    def _name(self, state: CallState, named: Mapping[str, Any], tags: Tags) -> None:
        """Name a call by what tags and options say; an option may be a function of the arguments."""
        options = self.options
        if tags.role:
            state.role, state.role_source = tags.role, "tag"
        else:
            role: Any = options.role
            state.role = self._text("role", self.option("role", named)) if callable(role) else role
            state.role_source = "declared" if state.role else None
        if tags.layer is not None:
            state.layer = tags.layer
        else:
            state.layer = layer_of_option(self.option("layer", named))
        state.label = self._text("label", tags.label or self.option("label", named))
        if not state.model and not self.function.spec.names_model:
            state.model = self._text("model", self.option("model", named))

    def call(self, state: CallState, request: Request) -> Call:
        """Return the call as middleware sees it."""
        state.function = self.function
        return new_call(
            state.turn.id,
            state.role,
            state.label or state.model or self.function.name,
            state.layer,
            state.parent.id if state.parent is not None else None,
            state.model,
            state.provider,
            request.messages,
            Params(request.params),
            state.tags or {},
            self.args,
            self.kwargs,
            self.function.spec,
            state,
            stream=request.stream,
            is_async=self.function.is_async,
        )
