"""What the library adds to a chunk, a call and a turn, in instructions: they are the same on a busy machine."""

import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import NormalDist

import pytest

pytest.importorskip("openai", reason="the benchmark's replies are its objects")

from benchmarks import contenders, measure, table

ROOT = Path(__file__).parents[2]
BARE, HAND, OFF, ON = contenders.BARE, contenders.HAND, contenders.OFF, contenders.ON

MOST = {"chunk": 54, "call": 5_500, "turn": 27_500}
"""Instructions that tracing may add, a turn being one of 50 chunks: a quarter above what they are."""
MOST_OFF = {"chunk": 0, "call": 290, "turn": 1400}


def run(*arguments):
    """Run a module of the benchmark by itself, without whoever counts or traces in here."""
    left_out = ("MOA_", "COVERAGE_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, check=False, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def counts():
    """Return the counts of each contender."""
    return json.loads(run("benchmarks.counts"))


@pytest.mark.parametrize("what", MOST)
def test_tracing_adds_no_more_instructions_than_this(what, counts, capsys):
    """A chunk, a call and a turn stay within a generous bound."""
    found = {name: one["instructions"] for name, one in counts[what].items()}
    with capsys.disabled():
        told = ", ".join(f"{name} {number:.0f}" for name, number in found.items())
        print(f"\ninstructions a {what}: {told}")
    assert found[ON] - found[BARE] <= MOST[what]
    assert found[OFF] - found[BARE] <= MOST_OFF[what]


def test_off_does_nothing_for_a_chunk(counts):
    """Not an instruction and not a call."""
    assert counts["chunk"][OFF] == counts["chunk"][BARE]


def test_the_counts_are_the_same_in_each_run(counts):
    """What is asserted here cannot depend on how busy the machine is."""
    assert counts["chunk"] == json.loads(run("benchmarks.counts"))["chunk"]


def test_the_table_tells_what_was_measured_and_whether_it_is_met(tmp_path):
    """One part, by the command of the documentation."""
    path = tmp_path / "rows.json"
    printed = run("benchmarks", "--only", "calls", "--pairs", "2", "--json", str(path))
    rows = {row["what"]: row for row in json.loads(path.read_text())["rows"]}
    assert rows["uninstrumented: attributes that are not the original ones"]["met"]
    assert rows["off: streams that come back wrapped"]["met"]
    assert all(what in printed for what in rows)


def test_a_contender_that_lost_text_does_not_count(tmp_path):
    """The line is compared with what was said."""
    part = contenders.Contender(HAND, tmp_path)
    part.capture.keep({"output": "what was s"})
    part.check("what was s")
    with pytest.raises(contenders.LostError, match="10 characters of 13"):
        part.check("what was said")
    part.path.unlink()  # it is no record of ours


@pytest.mark.parametrize("count", [31, 41, 101])
def test_the_interval_holds_the_median_with_95_percent(count):
    """The order statistics are those of the textbook's normal approximation, give or take one."""
    found = measure.spread(range(count))
    half = NormalDist().inv_cdf(0.975) * count**0.5 / 2
    assert found.middle == (count - 1) / 2
    assert abs(found.middle - half - found.low) <= 1
    assert found.high - found.middle == found.middle - found.low


def test_a_limit_is_met_when_the_lower_end_of_the_interval_reaches_it():
    """That is the rule, and the table shows the whole interval."""
    spread = measure.Spread(1.4, 1.3, 1.5, 41)
    assert table.Row("part", "what", spread, "ms", 1.3).met is True
    assert table.Row("part", "what", spread, "ms", 1.29).met is False
    assert table.Row("part", "what", spread, "ms").met is None
