"""A quick run and the whole one: the same promises, in smaller doses, and nothing is left out silently."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

from tests.support import doses

ROOT = Path(__file__).parents[2]
SAMPLE = """
    import pytest
    from hypothesis import given, settings, strategies as st

    seen = []

    @pytest.mark.parametrize("first", range(6))
    @pytest.mark.parametrize("second", range(6))
    def test_two(first, second):
        pass

    @pytest.mark.crowd(facets=lambda case: (case % 3,))
    @pytest.mark.parametrize("case", range(30))
    def test_crowd(case):
        pass

    @pytest.mark.slow
    def test_slow():
        pass

    @settings(max_examples=2 * settings.default.max_examples)
    @given(st.integers())
    def test_drawn(number):
        seen.append(number)

    def test_count():
        print("drawn", len(seen))

    def test_lessened(quick):
        print("lessened", quick)
"""


def functions(items):
    return {(item.path, item.originalname) for item in items}


def is_left(item):
    return any(item.get_closest_marker(mark) for mark in doses.LEFT_BY_MARK)


def test_the_quick_run_has_every_function_that_is_not_left_by_its_mark(request):
    """Also every value of each parameter, or of what a `crowd` names in place of them."""
    every = [item for item in request.config.stash[doses.collected_key] if not is_left(item)]
    kept = doses.select(every)
    assert functions(every) == functions(kept)
    assert values(every) == values(kept)


def values(items):
    return {
        (item.path, item.originalname, value)
        for item in items
        if hasattr(item, "callspec")
        for value in doses.facets_of(item)
    }


def run(place, *args):
    """Run pytest on the sample, with the doses of this suite; return what it printed."""
    (place / "conftest.py").write_text('pytest_plugins = ["tests.support.doses"]\n')
    (place / "pytest.ini").write_text("[pytest]\nmarkers =\n    slow: long\n    crowd(facets): many\n")
    (place / "test_sample.py").write_text(textwrap.dedent(SAMPLE))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-s", *args],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert 0 == done.returncode, done.stdout + done.stderr
    return done.stdout


def test_a_quick_run_says_what_it_left_out(tmp_path):
    """On one core, and with xdist, whose controller collects nothing."""
    for args in (["-n", "0"], ["-p", "no:xdist"], ["-n", "1"]):
        printed = run(tmp_path, *args)
        assert "doses: quick (everything: uv run pytest --all)" in printed
        left = int(printed.partition("quick doses: ")[2].partition(" ")[0])
        passed = int(printed.rpartition(" passed")[0].rpartition(" ")[2])
        # 36 of two parameters, 30 of a crowd, and 4 others.
        assert 36 + 30 + 4 == left + passed
        assert 6 + 3 + 3 <= passed <= 2 * 6 + 3 + 3
        assert args == ["-n", "1"] or "drawn 40" in printed


def test_all_leaves_nothing_out(tmp_path):
    """Every parameter, every mark, and the whole number of examples."""
    printed = run(tmp_path, "--all", "-p", "no:xdist")
    assert "doses: all" in printed
    assert "70 passed" in printed
    assert "left out" not in printed
    assert "drawn 200" in printed


def test_what_is_selected_runs_undiminished(tmp_path):
    """By node id, by `-k` and by `-m`."""
    assert "36 passed" in run(tmp_path, "test_sample.py::test_two")
    assert "30 passed" in run(tmp_path, "-k", "crowd")
    assert "1 passed" in run(tmp_path, "-m", "slow")


def test_the_rest_is_what_a_quick_run_leaves_out(tmp_path):
    """Together they run every test; what a quick run tries less of runs in both."""
    printed = run(tmp_path, "-p", "no:xdist")
    left = int(printed.partition("quick doses: ")[2].partition(" ")[0])
    printed = run(tmp_path, "--rest", "-p", "no:xdist")
    assert "doses: what a quick run leaves out" in printed
    assert f"{left + 2} passed" in printed
    assert "drawn 200" not in printed  # it is counted by a test that a quick run has
    assert "lessened False" in printed
