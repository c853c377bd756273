"""
The notebook's HTML of a turn: in a frame that can run nothing and load nothing, every text escaped.

The frame is an `iframe` with an empty `sandbox`, so nothing in it is of the notebook's origin; its
own policy forbids every request besides.
"""

from __future__ import annotations

import re
from html import escape
from typing import TYPE_CHECKING

from .._unsafe import UNSAFE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._call import CallView

__all__ = ["frame", "seconds"]

_MOST = 20_000
"""Characters of a text that are shown."""
_UNSEEN = re.compile(f"[{UNSAFE}]")
_STYLE = (
    "body{font:13px system-ui,sans-serif;margin:8px;color:#222;background:#fff}"
    "table{border-collapse:collapse}td,th{text-align:left;padding:2px 10px 2px 0;vertical-align:top}"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:2px 0 8px;max-height:14em;overflow:auto}"
    ".bad{color:#a00}summary{cursor:pointer}"
)
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def frame(name: str, facts: Sequence[str], output: str | None, calls: Sequence[CallView]) -> str:
    """
    Return a turn as an `iframe`.

    Args:
        name: Its name.
        facts: What to print behind the name.
        output: Its answer.
        calls: Its calls, a row each.
    """
    page = escape(_page(name, facts, output, calls), quote=True)
    return (
        f'<iframe sandbox="" referrerpolicy="no-referrer" style="width:100%;height:420px;border:1px solid #ccc" '
        f'srcdoc="{page}"></iframe>'
    )


def _page(name: str, facts: Sequence[str], output: str | None, calls: Sequence[CallView]) -> str:
    rows = "".join(_row(call) for call in calls)
    line = _text("  ".join(facts))
    return (
        f'<!doctype html><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<style>{_STYLE}</style><b>{_text(name)}</b> {line}"
        f"<pre>{_text(output or '')}</pre>"
        "<table><tr><th>role<th>label<th>outcome<th>time<th>cost<th>output</tr>"
        f"{rows}</table>"
    )


def _row(call: CallView) -> str:
    cost = "" if call.cost_usd is None else f"${call.cost_usd:.4f}"
    outcome = f"{call.outcome or 'unknown'}{' late' if call.late else ''}"
    kind = ' class="bad"' if call.failed else ""
    return (
        f"<tr><td>{_text(call.role or 'call')}<td>{_text(call.name)}<td{kind}>{_text(outcome)}"
        f"<td>{seconds(call.duration_ms)}<td>{_text(cost)}"
        f"<td><details><summary>{len(call.output or ''):,} characters</summary><pre>{_text(call.output or '')}</pre></details></tr>"
    )


def seconds(value: float | None) -> str:
    """Return a duration of milliseconds in seconds, empty if it is unknown."""
    return "" if value is None else f"{value / 1000:.2f} s"


def _text(value: str) -> str:
    shown = _UNSEEN.sub(lambda found: f"\\u{{{ord(found.group()):x}}}", value[:_MOST])
    return escape(shown + ("… (cut here, not in the trace)" if len(value) > _MOST else ""), quote=True)
