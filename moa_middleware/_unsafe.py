r"""
Characters that must not be shown as they are: the one list of them, for terminal, notebook and report.

What a model said, or a file holds, can move a terminal's cursor, turn the reading direction round
("Trojan Source", CVE-2021-42574), or hide text in characters that nobody sees. Each constant is the inside of a
character class of a regular expression. This module must import nothing: the command imports it first.
"""

from __future__ import annotations

__all__ = ["UNSAFE"]

_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f"
"""C0 but for tab and newline, DEL, and C1, which begin sequences as ESC does."""
_DIRECTIONS = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""Marks, embeddings, overrides and isolates of the bidirectional algorithm (Unicode Standard Annex 9)."""
_INVISIBLE = "\ufeff\U000e0000-\U000e007f"
"""A byte order mark inside a text, and tags, which can spell out a whole text that is not seen."""
_SURROGATES = "\ud800-\udfff"
"""Halves of a pair, which no encoding takes."""
UNSAFE = _CONTROLS + _DIRECTIONS + _INVISIBLE + _SURROGATES
