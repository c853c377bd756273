"""
What a request was when it began: taken at call entry, as bytes, since the caller may change it.

An iterator of messages is not touched: what the SDK pulled from it is taken at the end. Where the
arguments hold what cannot be read, the body that the SDK sends takes their place, if it is known.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ..shapes.fields import get
from ..shapes.iterators import Recorder
from ..shapes.values import number_of
from .encode import Raw, decode, encode, encode_again, join

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..shapes.request import Request
    from ..turns.turn import Turn

__all__ = ["EMPTY", "NULL", "Snapshot", "known_of"]

NULL = Raw(b"null")
EMPTY = Raw(b"{}")
_LARGEST = sys.float_info.max


class Snapshot:
    """One request, encoded."""

    # Most requests have none of these: the class holds what an attribute is until somebody sets it.
    messages: Raw | None = NULL
    """The messages as JSON; `None` for those of an iterator, which `pulled` returns."""
    params = EMPTY
    temperature: float | None = None
    secrets: Sequence[Any] = ()
    """Arguments that are not recorded; looked into only where the call fails, since its error may quote them."""
    is_unread = False
    """True if what could not be read from the arguments is looked for in the body that goes out."""
    sent: tuple[Mapping[str, Any], Mapping[str, Any]] | None = None
    """The arguments by name, and the body that went out in place of them, where they could not be read."""
    unread: tuple[str, ...] = ()
    """Names of the arguments that could be read in part only."""

    def __init__(
        self,
        turn: Turn,
        messages: Any,
        params: Mapping[str, Any],
        known: Request | None,
        kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Encode a request.

        Args:
            turn: The turn that it belongs to.
            messages: The messages.
            params: The parameters.
            known: The request as it stood in the arguments; a middleware may have changed it since.
            kwargs: The keyword arguments.
        """
        omitted = known.omitted if known is not None else ()
        missed: list[str] = []
        if type(messages) is not list and issubclass(type(messages), Recorder):
            self.messages, self._recorder = None, messages
        elif turn.over:
            self.messages = encode(messages, missed)
        elif messages is not None:
            before = turn.last_encoded
            self.messages, turn.last_encoded = encode_again(messages, before, missed)
            if before is None or self.messages is not before[1]:
                turn.held += len(self.messages)
        if missed and known is not None:
            self._add_unread(known.place)
            if known.system is not None and not issubclass(type(messages), (list, tuple)):
                # No list that the system text could have been put in front of.
                self.messages = encode([{"role": "system", "content": known.system}, messages])
        if params:
            missed = []
            self.params = encode(dict(params), missed)
            temperature = params.get("temperature")
            if type(temperature) is not float and type(temperature) is not int:
                temperature = number_of(temperature) if temperature is not None else None
            # JSON has no NaN and no infinity, and its readers no integer beyond a float.
            if temperature is not None and -_LARGEST <= temperature <= _LARGEST:
                self.temperature = temperature
            if missed:
                self._add_unread(*_unread_in(params))
        if "tools" in omitted:
            self._add_unread("tools")
        if self.unread or self.messages is None:
            self.is_unread = True
        self.omitted = omitted
        if omitted and kwargs:
            self.secrets = [_left_out(kwargs, name) for name in omitted if name.partition(".")[0] in kwargs]

    @property
    def params_omitted(self) -> list[str]:
        """Names of the arguments that are not recorded, or not as a whole."""
        return [*dict.fromkeys((*self.omitted, *self.unread))]

    def _add_unread(self, *names: str) -> None:
        self.unread = tuple(dict.fromkeys((*self.unread, *filter(None, names))))

    def take_sent(self, sent: Request, place: str) -> None:
        """
        Take what could not be read from the arguments out of the body that goes out.

        Args:
            sent: The body, read as the arguments are.
            place: Name of the argument that holds the messages.
        """
        unread = self.unread
        self.unread = ()
        self._take(sent, place, unread)
        self.is_unread = bool(self.unread)

    def _take(self, sent: Request, place: str, unread: tuple[str, ...]) -> None:
        if place in unread or self.messages is None:
            missed: list[str] = []
            self.messages = encode(sent.messages, missed)
            if missed:
                self._add_unread(place)
        names = [name for name in unread if name != place]
        if not names:
            return
        read = {name: sent.params[name] for name in names if name in sent.params}
        self._add_unread(*_unread_in(read), *(name for name in names if name not in read))
        self.params = join({**decode(self.params), **{name: encode(value) for name, value in read.items()}})
        if "tools" in read:
            shown = tuple(name for name in sent.omitted if name.startswith("tools."))
            self.omitted = (*(name for name in self.omitted if name != "tools"), *shown)

    def pulled(self) -> Raw:
        """Return the messages of an iterator as JSON, as far as they were pulled."""
        return encode(self._recorder.items)


def _left_out(kwargs: Mapping[str, Any], name: str) -> Any:
    """Return what is not recorded, by its name, or by a path such as `config.http_options`; else the whole argument."""
    first, _, rest = name.partition(".")
    inner = get(kwargs[first], rest) if rest else None
    return kwargs[first] if inner is None else inner


def _unread_in(params: Mapping[str, Any]) -> list[str]:
    """Return the names of the parameters that can be read in part only."""
    found = []
    for name, value in params.items():
        missed: list[str] = []
        encode(value, missed)
        if missed:
            found.append(name)
    return found


def known_of(turn: Turn, shot: Snapshot | None) -> dict[str, Any]:
    """Return what is known of a turn before it ends, by the record's keys."""
    return {
        "turn_id": turn.id,
        "session_id": turn.session_id,
        "preset": turn.preset,
        "started_at": turn.clock.started_at,
        "input_messages": (shot.messages or shot.pulled()) if shot is not None else NULL,
        "params": shot.params if shot is not None else EMPTY,
        "parent_turn_id": turn.parent.id if turn.parent is not None else None,
        "turns": list(turn.turns),
        "tags": dict(turn.tags),
        "implicit": turn.implicit,
        "instrumentation_errors": turn.faults,
        "trace_context": turn.trace_context,
    }
