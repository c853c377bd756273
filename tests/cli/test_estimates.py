"""`moa` with prices that were not recorded: estimated, marked as such, or left out."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import subprocess
import sys
from importlib.metadata import version

import pytest

from moa_middleware.records import EMPTY_CALL, EMPTY_TURN
from tests.support import forked

TABLE = f"genai-prices {version('genai-prices')}"
WITHOUT = [
    sys.executable,
    "-c",
    "import sys; sys.modules['genai_prices'] = None; from moa_middleware.cli import main; main()",
]
HINT = "costs that were not recorded can be estimated: pip install 'moa-middleware[prices]'"


def call(model, usd=None):
    usage = {"input_tokens": 1000, "output_tokens": 100}
    known = {"role": "reference", "role_source": "declared", "outcome": "completed", "source": "provider"}
    return {**EMPTY_CALL, **known, "model": model, "cost_usd": usd, "usage": usage, "started_at": 1_796_000_000.0}


@pytest.fixture
def traces(tmp_path):
    """Return a directory with one turn: a recorded cost, one in the table, and one that is unknown."""
    folder = tmp_path / "traces"
    folder.mkdir()
    calls = [call("claude-haiku-4-5", 0.5), call("gpt-4.1"), call("no-such-model")]
    totals = {**EMPTY_TURN["totals"], "calls": 3, "unpriced": 2, "cost_usd": 0.5}
    turn = {**EMPTY_TURN, "turn_id": "t-1", "session_id": "s", "ts": 1_796_000_000.0, "outcome": "completed"}
    (folder / "s.jsonl").write_text(json.dumps({**turn, "references": calls, "totals": totals}) + "\n")
    return folder


def moa(*args, command=None):
    words = [*map(str, args)]
    if command is None:
        done = forked.run(words, env=dict(os.environ), cwd=os.getcwd())
    else:
        done = subprocess.run([*command, *words], capture_output=True, text=True, timeout=60, check=False)
    assert (0, "") == (done.returncode, done.stderr)
    return done.stdout


def test_figures_are_marked_and_can_be_left_out(traces):
    """By `~` in columns and by the table's name and version below them."""
    shown = moa("stats", traces)
    assert re.search(r"gpt-4\.1 .* ~\$0\.0028 ", shown)
    assert re.search(r"claude-haiku-4-5 .* \$0\.5000 ", shown)
    assert re.search(r"no-such-model .* unknown ", shown)
    assert re.search(r"all .* >= ~\$0\.5028 ", shown)
    assert f"~ $0.0028 of the cost is estimated: list prices of 1 call by {TABLE}\n" in shown
    assert f"1 call without a known price: the cost is >= $0.5028 ($0.0028 estimated, {TABLE}; 1 unpriced)\n" in shown
    plain = moa("stats", "--no-estimate", traces)
    assert "~" not in plain
    assert "2 calls without a known price: the cost is >= $0.5000 (2 unpriced)\n" in plain


def test_a_turn_names_the_table(traces):
    """In its head, in the row of each call, in a call's facts, and in the list."""
    shown = moa("show", "last", traces)
    assert f"cost      >= $0.5028 ($0.0028 estimated, {TABLE}; 1 unpriced)\n" in shown
    assert re.search(r"gpt-4\.1 .* ~\$0\.0028 +1 %", shown)
    assert f"cost      $0.0028 (estimated, {TABLE})\n" in moa("show", "last", traces, "--call", "ref:1")
    assert "cost      >= $0.5000 (2 unpriced)\n" in moa("show", "last", traces, "--no-estimate")
    assert ">= ~$0.5028" in moa("ls", traces)
    assert ">= ~$0.5028" in moa("tail", traces)
    assert ">= $0.5000" in moa("ls", traces, "--no-estimate")
    assert "list prices of 2 calls" in moa("compare", traces, traces)


def test_programs_get_both_apart(traces):
    """In JSON and in CSV."""
    cost = json.loads(moa("stats", "--json", traces))["total"]["cost"]
    assert (0.5, 2, 1, TABLE) == (cost["known_usd"], cost["unpriced"], cost["estimated"], cost["price_table"])
    assert (0.0028, 0.5028) == (pytest.approx(cost["estimated_usd"]), pytest.approx(cost["total_usd"]))
    assert cost == json.loads(moa("show", "last", traces, "--json"))["cost"]
    assert cost == json.loads(moa("ls", traces, "--json"))["cost"]
    rows = {row["model"]: row for row in csv.DictReader(io.StringIO(moa("stats", "--csv", traces)))}
    columns = ("cost_usd", "unpriced", "estimated_usd", "estimated", "price_table")
    assert ["0.5", "0", "", "0", ""] == [rows["claude-haiku-4-5"][name] for name in columns]
    assert ["", "1", "0.0028", "1", TABLE] == [rows["gpt-4.1"][name] for name in columns]
    assert ["", "1", "", "0", ""] == [rows["no-such-model"][name] for name in columns]


def test_without_the_extra_one_line_says_how(traces):
    """Below figures and below a turn; not with `--no-estimate`, in a list, or for a program."""
    for verb in (("stats",), ("show", "last")):
        shown = moa(*verb, traces, command=WITHOUT)
        assert 1 == shown.count(HINT)
        assert ">= $0.5000 (2 unpriced)" in shown
        assert "~" not in shown
        assert HINT not in moa(*verb, traces, "--no-estimate", command=WITHOUT)
        assert HINT not in moa(*verb, traces, "--json", command=WITHOUT)
    assert HINT not in moa("ls", traces, command=WITHOUT)


def test_a_report_shows_estimates(traces, tmp_path):
    """The page's figures, rows, turns and calls have them, with the table's name in the totals."""
    page = tmp_path / "run.html"
    moa("report", traces, "-o", page)
    text = page.read_text(encoding="utf-8")
    assert f"($0.0028 estimated, {TABLE}; 1 unpriced)" in text
    assert '"cost":"$0.0028 (estimated)"' in text
    assert f'"priced_by":"{TABLE}"' in text
    moa("report", traces, "-o", page, "--no-estimate")
    assert TABLE not in page.read_text(encoding="utf-8")
