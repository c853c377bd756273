"""
Frames of ours that a call, a stream and a turn enter: no more than the budgets, on Python 3.11.

`python -m benchmarks.frames --json` prints the counts in this form. A change that enters fewer lowers
the budget in the same commit, so that none of it is lost again.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BUDGETS = {
    "value call in an open turn, SDK object": 44,
    "value call under a decorated method, SDK object": 82,
    "value call in an open turn, openai's client": 45,
    "value call under a decorated method, openai's client": 83,
    "stream of 21 chunks in an open turn, SDK object": 132,
    "stream of 21 chunks in an open turn, openai's client": 133,
    "call outside any turn, with its line": 117,
    "turn of one call, with its line": 147,
    "turn of one call under a decorated method, with its line": 210,
    "turn of 4 decorated references and a stream, with its line": 772,
    "the same, the SDK not instrumented": 449,
}


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="later versions inline comprehensions")
def test_no_path_enters_more_frames_than_its_budget():
    """Counted in a process of its own, where no other test has filled or emptied a cache."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.frames", "--json"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert BUDGETS == json.loads(done.stdout)
