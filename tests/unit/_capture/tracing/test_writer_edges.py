"""Lines at their hardest: a file that goes at every opening, an interrupt while others wait."""

from __future__ import annotations

import itertools
import os
import sys

import pytest

from moa_middleware._capture.tracing import outbox, trace_file
from moa_middleware._capture.tracing.backlog import Line
from moa_middleware._capture.tracing.trace_file import Receipt, append
from moa_middleware._capture.tracing.writer import FileWriter

from .test_writer import interrupted

LINE = b'{"schema": "moa-turn/1"}\n'


@pytest.mark.parametrize("how", ["deleted", "sealed"])
def test_a_file_that_goes_at_every_opening_gets_the_line_at_the_last(how, tmp_path, monkeypatch):
    """Another program replaces the file again and again: the line is written all the same, once."""
    path = tmp_path / "lines.txt"
    path.write_bytes(b"old\n")
    real, openings = trace_file.acquire_at_once, []

    def replaced_meanwhile(descriptor):
        """Stand for another process, which acts between the opening and the lock."""
        openings.append(descriptor)
        if how == "deleted":
            path.unlink()
        else:
            path.rename(tmp_path / f"lines~{len(openings)}.txt")
        path.write_bytes(b"new\n")
        return real(descriptor)

    monkeypatch.setattr(trace_file, "acquire_at_once", replaced_meanwhile)
    receipt = Receipt()
    kept = os.open(path, os.O_RDONLY)
    try:
        append(str(path), LINE, receipt, limit=1000)
    finally:
        os.close(kept)
    assert receipt.whole
    assert 8 == len(openings)
    if how == "sealed":
        assert b"new\n" + LINE == (tmp_path / "lines~8.txt").read_bytes()
    assert b"new\n" == path.read_bytes()


@pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="Python 3.12 does not trace single instructions this way")
def test_an_interrupt_anywhere_in_the_first_line_costs_neither_of_two(tmp_path):
    """Two lines wait when Ctrl-C comes: the one that had begun is on the disk, once, and the other one there or waiting."""
    below = (outbox.__file__,)
    for place in itertools.count(1):
        writer = FileWriter(tmp_path / str(place))
        texts = [f'{{"n": {number}}}\n'.encode() for number in (1, 2)]
        lines = [Line(text, session_id="s", writer=writer) for text in texts]
        there = interrupted(lambda lines=lines: outbox.send(lines), place, below)
        path = writer.path_of("s")
        found = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        if path.exists():
            path.rename(path.with_suffix(".txt"))  # it is no trace to be checked
        # Between the two lines it may leave the second one waiting, never the one that had begun.
        assert found[:1] == (texts[:1] if lines[0].begun else []), place
        assert len(texts) == len(found) + outbox.waiting() or not lines[0].begun, place
        outbox.forget()
        if not there:
            break
    assert place > 20
