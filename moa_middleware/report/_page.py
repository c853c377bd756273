"""
The HTML document of a page: program and style by their hashes, the data as JSON that nothing can leave.

The policy allows the two inline elements whose hashes it names, and nothing else: no request, no
other script, no image, no form, no other base. See Content Security Policy Level 3, section 8.3.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import math
import re
from functools import cache
from importlib.resources import files
from typing import IO, TYPE_CHECKING, Any

from .._layout.folder import open_regular
from .._unsafe import UNSAFE
from .._version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["as_block", "is_ours", "overhead", "pages_in", "write_page"]

SCRIPTS = ("base.js", "data.js", "charts.js", "list.js", "call.js", "turn.js", "run.js", "app.js")
"""In their order; together one function."""
_MARK = re.compile(
    rb'<!doctype html>\s*<html[^<>]*>\s*<head>\s*(?:<meta [^<>]*>\s*){0,8}<meta name="generator" content="moa_middleware '
)
"""
How a page of ours begins: the mark is an element of its head.

A page that only quotes the mark, in a text, a comment or an attribute, is not ours.
"""
_HEAD = 1024
"""Bytes of a page in which the mark is."""
_ACTIVE = re.compile(f"[<>&\u2028\u2029{UNSAFE}]")
"""What ends a script element or a line of one, turns the reading direction, cannot be seen, or is not UTF-8."""
_UNSEEN = re.compile(f"[\t\n\u2028\u2029{UNSAFE}]")
"""The same in a title, which is one line."""
_BMP = 0xFFFF


def _escaped(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code <= _BMP:
        return f"\\u{code:04x}"
    return f"\\u{0xD800 + (code - 0x10000 >> 10):04x}\\u{0xDC00 + (code - 0x10000 & 0x3FF):04x}"


def as_block(name: str, value: Any) -> bytes:
    """Return a value as an element that no browser runs, and that no text in it can end."""
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:  # a browser reads no Infinity, which sums of odd figures may be
        text = json.dumps(_finite(value), ensure_ascii=False, separators=(",", ":"))
    return f'<script type="application/json" id="{name}">{_ACTIVE.sub(_escaped, text)}</script>\n'.encode()


def _finite(value: Any) -> Any:
    """Return a value with `None` for numbers that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


@cache
def _static() -> tuple[str, str, str]:
    """Return template, style and program."""
    folder = files(__name__.rpartition(".")[0]).joinpath("static")
    template, style = (folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.html", "page.css"))
    program = "".join(folder.joinpath(name).read_text(encoding="utf-8") for name in SCRIPTS)
    return template, f"\n{style}", f'\n(() => {{\n"use strict";\n{program}}})();\n'


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _parts(title: str) -> list[str]:
    """Return the document around the data of the run, and of the turns: three parts."""
    template, style, program = _static()
    policy = f"default-src 'none'; script-src {_hash(program)}; style-src {_hash(style)}; base-uri 'none'; form-action 'none'"
    whole = template.replace("{{policy}}", policy).replace("{{version}}", __version__)
    whole = whole.replace("{{style}}", style).replace("{{program}}", program)
    head, _, rest = whole.partition("{{run}}")
    middle, _, tail = rest.partition("{{turns}}")
    shown = html.escape(_UNSEEN.sub(_escaped, title))
    return [head.replace("{{title}}", shown), middle, tail]


def overhead() -> int:
    """Return the bytes of a page without data."""
    return sum(len(part.encode()) for part in _parts(""))


def write_page(out: IO[bytes], title: str, run: dict[str, Any], blocks: Iterable[bytes]) -> None:
    """
    Write a page.

    Args:
        out: Where to.
        title: The title of the window.
        run: What the page has of the run as a whole, the list of turns among it.
        blocks: An element for each turn, `turn-0` for the first row of the list.
    """
    head, middle, tail = _parts(title)
    out.write(head.encode())
    out.write(as_block("run", run))
    out.write(middle.encode())
    for block in blocks:
        out.write(block)
    out.write(tail.encode())


def is_ours(path: Path) -> bool:
    """Return True if a file is such a page, and no more than that is lost with it; a link to one counts as one."""
    try:
        with open_regular(path, follow=True) as file:
            return _MARK.match(file.read(_HEAD)) is not None
    except OSError:
        return False


def pages_in(folder: Path) -> Iterator[Path]:
    """Yield the pages of an earlier split report in a directory; other reports next to it do not belong to it."""
    for path in sorted(folder.glob("session-*.html")):
        if is_ours(path):
            yield path
