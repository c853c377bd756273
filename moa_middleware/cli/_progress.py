"""
The progress of a turn, call by call, as an observer on the stack sees it.

On a terminal one row a call, redrawn while it runs; in a pipe one line when it is asked and one when
it ends. It is a user of the library's public names only, and must not know who runs the turn.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table

from ._screen import cell, fit_width
from ._text import one_line

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import TracebackType
    from typing import Self

    from rich.console import RenderableType

    from .. import Call, Flow, Reply
    from ._screen import Screen

__all__ = ["Progress"]

_ROLE_WIDTH = len("aggregator")
_ANSWERING = "answering"
_HEAD = 200  # characters of an answer
_MARKS = {"completed": ("✓", "+", "green"), _ANSWERING: ("→", ">", "cyan")}
_FAILED = ("✗", "x", "red")


@dataclass(slots=True)
class _Row:
    role: str
    model: str
    call: str | None = None
    outcome: str | None = None
    text: str = ""
    began: float = 0.0
    ms: float | None = None
    spinner: Spinner = field(default_factory=lambda: Spinner("dots", style="cyan"))


class Progress:
    """
    The calls of one turn; use it in a `with`, and `watch` as an observer.

    Args:
        screen: Where it is shown.
        references: Their models, in the order of the rows.
        aggregator: Its model, the last row.
        explain: Says in a line what an exception means.
    """

    def __init__(
        self, screen: Screen, references: Sequence[str], aggregator: str, explain: Callable[[BaseException], str]
    ) -> None:
        self._screen = screen
        self._explain = explain
        self._lock = threading.Lock()
        self._rows = [_Row("reference", model) for model in references]
        self._rows.append(_Row("aggregator", aggregator))
        self._model_width = max(len(one_line(row.model)) for row in self._rows)
        self._live: Live | None = None
        if screen.animated:
            self._live = Live(
                console=screen.console, get_renderable=self._table, refresh_per_second=12, transient=False
            )

    def __enter__(self) -> Self:
        """Begin to draw."""
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Leave the last state on the screen: the aggregator's answer has begun, or nothing has."""
        answering = self._rows[-1]
        if answering.call is not None and answering.outcome is None:
            answering.outcome, answering.text = _ANSWERING, "answers, below"
            answering.ms = 1000 * (time.monotonic() - answering.began)
        if self._live is not None:
            self._live.stop()

    def watch(self, call: Call) -> Flow:
        """Observe a call: an observer for `moa.configure(observers=[…])`."""
        row = self._row_of(call)
        if row is None:
            yield call
            return
        try:
            reply: Reply = yield call
        except BaseException as error:
            self._ended(row, "error", self._explain(error))
            raise
        if reply.error is not None:
            self._ended(row, reply.outcome, self._explain(reply.error))
        else:
            self._ended(row, reply.outcome, one_line(reply.text or "(no text)", _HEAD))

    def _row_of(self, call: Call) -> _Row | None:
        """Return the row that waits for such a call; a call inside a call has none of its own."""
        if call.parent is not None:
            return None
        with self._lock:
            for row in self._rows:
                # What the aggregator asks for is not among the arguments of a function of the user's.
                if row.call is None and row.role == call.role and call.model in (None, row.model):
                    row.call, row.began = call.id, time.monotonic()
                    break
            else:
                return None
        self._print_row(row, "asked")
        return row

    def _ended(self, row: _Row, outcome: str, text: str) -> None:
        with self._lock:
            row.outcome, row.text = outcome, text
            row.ms = 1000 * (time.monotonic() - row.began)
        if row.role == "reference":  # the aggregator's text is shown as it comes
            self._print_row(row, outcome, f"{row.ms:.0f} ms", text)

    def _print_row(self, row: _Row, *what: str) -> None:
        if self._live is None:
            model = fit_width(one_line(row.model), self._model_width)
            self._screen.line("  ".join([row.role.ljust(_ROLE_WIDTH), model, *what]), wrap=False)

    def _table(self) -> RenderableType:
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(width=1)
        table.add_column(no_wrap=True, width=_ROLE_WIDTH)
        table.add_column(no_wrap=True, overflow="ellipsis", width=min(self._model_width, self._screen.width // 3))
        table.add_column(no_wrap=True, justify="right", width=6)
        table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
        with self._lock:
            for row in self._rows:
                table.add_row(*self._cells(row))
        return table

    def _cells(self, row: _Row) -> list[RenderableType]:
        ascii_only = self._screen.console.options.ascii_only
        names = [cell(row.role), cell(one_line(row.model), style="bold")]
        if row.call is None:
            return [cell(" "), *names, cell(""), cell("waits", style="dim")]
        seconds = time.monotonic() - row.began if row.ms is None else row.ms / 1000
        clock = cell(f"{seconds:.1f} s", style="dim")
        if row.outcome is None:
            doing = "asked" if row.role == "reference" else "reads the answers"
            spinner: RenderableType = cell("*") if ascii_only else row.spinner
            return [spinner, *names, clock, cell(doing, style="dim")]
        mark, plain, style = _MARKS.get(row.outcome, _FAILED)
        text = cell(row.text, style="red" if style == "red" else "")
        return [cell(plain if ascii_only else mark, style=style), *names, clock, text]
