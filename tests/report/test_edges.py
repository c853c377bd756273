"""Reports at their edges: a write that fails, a turn without a question of a user's, odd figures."""

from __future__ import annotations

import errno
import json
import math
from pathlib import Path

import pytest

from moa_middleware import report
from moa_middleware.report._page import as_block

from ..read.conftest import write
from .conftest import Page

LINE = {"schema": "moa-turn/1", "turn_id": "t", "session_id": "s", "outcome": "completed", "output": "an answer"}


def test_a_report_that_cannot_be_written_leaves_nothing(desk, monkeypatch):
    """The disk is full, or the place is taken at the last moment: no half page stays beside it."""
    source = write(desk / "s.jsonl", LINE)

    def refuse(path, target):
        raise OSError(errno.EBUSY, "Device or resource busy", str(target))

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="busy"):
        report.write(source, desk / "run.html")
    monkeypatch.undo()
    assert ["s.jsonl"] == [path.name for path in desk.iterdir()]


def test_a_turn_without_a_user_shows_its_last_message(desk):
    """An agent's step has no message of a user's: the list shows the last one that there is."""
    messages = [{"role": "system", "content": "Be brief."}, {"role": "tool", "content": "It rains."}]
    asked = [*messages, {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Hm."}]
    source = write(
        desk / "s.jsonl",
        {**LINE, "input_messages": messages},
        {**LINE, "turn_id": "u", "input_messages": asked},
        {**LINE, "turn_id": "v", "input_messages": []},
    )
    report.write(source, desk / "run.html")
    rows = {row["id"]: row["q"] for row in Page(desk / "run.html").run["rows"]}
    assert {"t": "It rains.", "u": "Why?", "v": ""} == rows


def test_an_infinite_figure_costs_no_letter_of_the_text_beside_it():
    """It is null; names in any script stay as they are, and no larger than they are."""
    block = as_block("run", {"cost": math.inf, "name": "Zoë 中文", "rest": [math.nan, (1.5, "</script>")]}).decode()
    assert "Zoë 中文" in block
    assert 1 == block.count("</script>")
    found = json.loads(block.partition(">")[2].partition("</script>")[0])
    assert {"cost": None, "name": "Zoë 中文", "rest": [None, [1.5, "</script>"]]} == found
