"""
The blocks that a user opens by hand: `with tag(…)` and `with turn(…)`.

A block keeps nothing of a single use, so that several tasks may enter the same one at once. Leaving
it in another context or thread, as fixtures and dependencies do, never raises.
"""

from __future__ import annotations

import atexit
import sys
from inspect import CO_GENERATOR
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar

from ...errors import TagError
from ..flow.outcome import outcome_of
from ..scope import NO_TAGS, Scope, Tags, current, put_back, put_current
from .requests import give_up, hand_over, request_around
from .turn import Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from types import TracebackType
    from typing import Unpack

    from .stack_like import StackLike

__all__ = ["Tag", "TurnBlock", "checked_tags", "left_open", "tag"]

F = TypeVar("F")

_TEXTS = ("role", "label", "session_id", "preset")


def checked_tags(where: str, given: Mapping[str, Any]) -> Tags:
    """
    Return keywords as tags.

    Raises:
        TagError: For an unknown keyword, or a value of the wrong type.
    """
    for name, value in given.items():
        if name not in TagWords.__annotations__:
            import difflib

            near = difflib.get_close_matches(name, TagWords.__annotations__, n=1)
            hint = f", did you mean {near[0]!r}?" if near else ""
            msg = f"{where}() got an unknown tag {name!r}{hint} (your own go in tags={{…}})"
            raise TagError(msg)
        if value is None:
            continue
        if name in _TEXTS and not isinstance(value, str):
            msg = f"{where}({name}=…) takes a str, got {type(value).__name__}"
            raise TagError(msg)
        if name == "layer" and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            msg = f"{where}(layer=…) takes a round of references, an int from 1, got {value!r:.40}"
            raise TagError(msg)
        if name == "tags" and not (isinstance(value, dict) and all(isinstance(key, str) for key in value)):
            msg = f"{where}(tags=…) takes a dict with str keys, got {type(value).__name__}"
            raise TagError(msg)
    own = dict(given.get("tags") or {})
    return Tags(own=own, **{name: given.get(name) for name in (*_TEXTS, "layer")})


class TagWords(TypedDict, total=False):
    """The keywords of `tag`; checked by hand, for the sake of the message."""

    role: str | None
    layer: int | None
    label: str | None
    session_id: str | None
    preset: str | None
    tags: Mapping[str, Any] | None


class Tag:
    """A block whose turns and calls get these tags; made by `tag`."""

    __slots__ = ("_tags",)

    def __init__(self, tags: Tags) -> None:
        self._tags = tags

    def __enter__(self) -> None:
        """Apply the tags to the code inside."""
        here = current()
        if here is None:
            inner = Scope(None, self._tags, block=self)
        else:
            tags = self._tags.within(here.tags)
            inner = Scope(here.turn, tags, here.parent, here.order, previous=here, block=self)
        put_current(inner)
        frame = sys._getframe(1)
        if frame.f_code.co_flags & CO_GENERATOR:
            hand_over(inner, frame)

    def __exit__(self, *_: object) -> None:
        """Restore the tags from before."""
        # Only where the tags still apply. In another context, or with a later block still open, there is
        # nothing of ours to restore, and raising would hide the error of the body.
        here = current()
        if here is not None and here.block is self:
            put_back(here.previous)
        request = request_around(here)
        if request is not None:
            request.release(self, here)


class TurnBlock:
    """A turn opened by hand, or a decorator with options; made by `turn`."""

    __slots__ = ("_decorate", "_dynamic", "_open", "_stack", "_tags")

    def __init__(
        self, stack: StackLike, tags: Tags, decorate: Callable[[Any], Any], *, dynamic: Sequence[str] = ()
    ) -> None:
        self._stack = stack
        self._dynamic = dynamic
        """Names of tags that are functions of the bound arguments, which only a decorator has."""
        self._tags = tags
        self._decorate = decorate
        self._open: dict[str, Turn] = {}
        """Turns that were entered and not left, by id: one may be left in another context."""

    def __call__(self, fn: F) -> F:
        """Use it as a decorator."""
        decorated: F = self._decorate(fn)
        return decorated

    def __enter__(self) -> Turn:
        """
        Open a turn.

        Raises:
            TagError: A tag is a function: a block has no arguments to call it with.
        """
        if self._dynamic:
            msg = f"with turn({self._dynamic[0]}=…) takes a str: a function of the arguments is for decorators"
            raise TagError(msg)
        turn = Turn(self._tags, self._stack.recording(), by_hand=True)
        here = current()
        # Role, label and layer of a tag were meant for the turn, and do not go on to the calls in it.
        tags = NO_TAGS if here is None or here.tags is NO_TAGS else here.tags.for_body()
        if self._tags.own:
            tags = tags._replace(own={**tags.own, **self._tags.own})
        # By id, on the block and for the process. A task or a thread that never leaves the block, as a
        # generator fixture that is not finished, must not lose the line.
        try:
            self._open[turn.id] = turn
            left_open[turn.id] = turn
            inner = Scope(turn, tags, None, turn.order, previous=here, block=self)
            put_current(inner)
            frame = sys._getframe(1)
            if frame.f_code.co_flags & CO_GENERATOR:
                hand_over(inner, frame)
            return turn
        except BaseException as raised:  # an interrupt: this block will not be left
            put_current(here)
            self._give_up(turn, raised)
            raise

    def _give_up(self, turn: Turn | None, raised: BaseException) -> None:
        """Close a turn whose block was interrupted where it is entered or left."""
        if turn is not None and not turn.over:
            self._open.pop(turn.id, None)
            left_open.pop(turn.id, None)
            turn.close(outcome_of(raised), raised)

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Close the turn, now or with the last stream begun in it."""
        here = current()
        try:
            self._leave(here, error)
        except BaseException as raised:  # an interrupt: the block is left all the same
            if here is not None and here.block is self:
                put_back(here.previous)
                self._give_up(here.turn, raised)
            raise

    def _leave(self, here: Scope | None, error: BaseException | None) -> None:
        turn: Turn | None = None
        if here is not None and here.block is self:
            turn = self._open.pop(here.turn.id, None) if here.turn is not None else None
            put_back(here.previous)
        request = request_around(here)
        held = request.release(self, here) if request is not None else None
        if turn is None and held is not None and held.turn is not None:
            turn = self._open.pop(held.turn.id, None)
        if turn is None and self._open:
            # It was entered in another context or thread (a fixture, a dependency), so the current scope
            # does not say which turn this is. Close the oldest, or it would stay open for ever.
            turn = self._open.pop(next(iter(self._open)), None)
        if turn is None:
            return
        left_open.pop(turn.id, None)
        if error is None and request is not None and request.is_gone:
            give_up(turn)
            turn.leave("cancelled")
        else:
            turn.leave("completed" if error is None else outcome_of(error), error)

    async def __aenter__(self) -> Turn:
        """Do the same in `async with`."""
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do the same in `async with`."""
        self.__exit__(kind, error, trace)


left_open: dict[str, Turn] = {}
"""Turns that were entered by hand and not left. They are written at exit, so that a script loses none."""


@atexit.register
def _close_at_exit() -> None:
    for turn in list(left_open.values()):
        turn.leave("abandoned")


def tag(**tags: Unpack[TagWords]) -> Tag:
    """
    Apply tags to the turns and calls made inside: `with moa.tag(role="reference", layer=1):`.

    Args:
        **tags: `role`, `layer`, `label`, `session_id`, `preset`; your own as a mapping,
            `tags={"tenant": "a"}`.

    Raises:
        TagError: An unknown keyword, or a value of the wrong type.
    """
    return Tag(checked_tags("tag", tags))
