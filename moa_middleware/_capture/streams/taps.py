"""The taps of a request: middleware that sees each chunk of a stream, or changes it, on its way out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import ReplyFormError
from ..flow.model import DROPPED, Chunk
from ..frames import add_note
from ..shapes.accumulator import Accumulator, read_chunks
from ..shapes.chat_chunks import with_said
from ..shapes.fields import data_of
from ..shapes.openai_responses import is_event
from ..shapes.render import render_chunk, without_choice
from ..shapes.reply_quotes import without_quotes
from ..shapes.response_texts import ResponseTexts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..flow.model import Tap

__all__ = ["Taps", "taps_of"]


class Taps:
    """The taps of one request, with the text that `map_chunks` made of its stream."""

    __slots__ = ("is_changed", "mapped", "responses", "taps")

    def __init__(self, taps: list[Tap]) -> None:
        self.taps = taps
        """From the wire outwards."""
        self.mapped = Accumulator() if any(tap.kind == "map_chunks" for tap in taps) else None
        """What the consumer gets, where a middleware may change it."""
        self.is_changed = False
        """True if `map_chunks` changed or dropped one of its chunks."""
        self.responses: ResponseTexts | None = None
        """What of a stream of the Responses API went on, as soon as it is known for one."""

    def apply(self, raw: Any) -> Any:
        """Show a chunk to the taps; returns the chunk that goes on, or `DROPPED`."""
        out = self._apply(raw)
        if self.mapped is not None:
            self.is_changed = self.is_changed or out is not raw
            if out is not DROPPED:
                self.mapped.feed(out)
                if self.is_changed:
                    out = self._without_original(out)
        return out

    def _without_original(self, out: Any) -> Any:
        """Return a chunk of a stream that was changed, without what repeats or quotes the original."""
        assert self.mapped is not None  # noqa: S101 - it was changed
        if self.mapped.shape == "openai_chat":
            return with_said(out, self.mapped.choices)
        first = self.mapped.choices.get(0)
        return without_quotes(out, first) if self.responses is None else out

    def _apply(self, raw: Any) -> Any:
        if is_event(data_of(raw)):
            # What is new in its events, the stream knows alone: most of them repeat what others have said.
            if self.responses is None:
                self.responses = ResponseTexts(changes=self.mapped is not None)
            return self.responses.apply(raw, self._show)
        out, dropped = raw, []
        shown = read_chunks(raw)
        for chunk in shown:
            view = self._show(chunk)
            if view is DROPPED:
                dropped.append(chunk)
            elif view is not chunk:
                out = render_chunk(out, chunk, view)
        if len(dropped) == len(shown):
            return DROPPED
        for chunk in dropped:
            out = without_choice(out, chunk)
        return out

    def _show(self, shown: Chunk) -> Any:
        """Return what the taps make of a chunk of one choice, or `DROPPED`."""
        view = shown
        for tap in self.taps:
            try:
                result = tap.fn(view)
            except Exception as error:
                if tap.guard is None:
                    add_note(error, f"raised by a tap of the middleware `{tap.owner}`")
                    raise
                tap.guard(error)
                continue
            if tap.kind != "map_chunks":
                continue
            if result is None:
                return DROPPED
            if isinstance(result, str):
                # The same text changes nothing: the very chunk goes on, also one without a text.
                view = view.replace(text=result) if result != view.text else view
            elif isinstance(result, Chunk):
                # A chunk made by hand has the index of the first choice.
                view = result if result.choice == shown.choice else result.replace(choice=shown.choice)
            else:
                msg = f"`{tap.owner}`: map_chunks takes a Chunk, a str or None, got {type(result).__name__}"
                raise ReplyFormError(msg)
        return view


def taps_of(taps: Iterable[Tap], *, only_read: bool = False) -> Taps | None:
    """
    Return the taps of a request, None if nothing sees its chunks as they pass.

    Args:
        taps: As the middleware registered them, outermost first; a tap that buffers is none of the chunks'.
        only_read: Leave those out that would change a chunk.
    """
    kinds = ("on_chunk",) if only_read else ("on_chunk", "map_chunks")
    found = [tap for tap in taps if tap.kind in kinds]
    return Taps(found[::-1]) if found else None
