"""
The HTML report of a run: one file that needs nothing else, and asks for nothing.

    from moa_middleware import report

    report.write("traces/", "run.html")

What models said is data in it and nothing more: it is held as escaped JSON, drawn as text, under a
policy that lets no other script run and no request go out. It stands on the reading wing.
"""

from __future__ import annotations

from ._write import ReportFiles, write

__all__ = ["ReportFiles", "write"]
