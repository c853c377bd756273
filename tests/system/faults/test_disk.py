"""A disk that refuses by chance: each turn is written once and unaltered, and each call has its result."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.support.faults import closing, disk
from tests.support.faults.evidence import directory

pytestmark = pytest.mark.skipif(bool(closing.why_unavailable()), reason=closing.why_unavailable())


@pytest.mark.parametrize(
    ("turns", "threads"),
    [(40, 1), pytest.param(150, 4, marks=pytest.mark.slow), pytest.param(600, 1, marks=pytest.mark.slow)],
)
def test_what_a_disk_refuses_is_written_once_it_can(turns, threads, capsys):
    """One call in three fails: no space, also after a part of a line, no quota, errors, short writes, no descriptor, no permission, no lock."""
    seed = random.randrange(2**32)
    with capsys.disabled():
        print(f"\na disk that refuses: seed {seed}")
    with directory() as name:
        found = list(disk.rounds(Path(name), seed=seed, turns=turns, threads=threads))
    assert 2 * len(disk.CASES) == len(found)
    wrong = [(one, what, counts) for counts, one in found if (what := disk.wrong_in(counts, one, turns * threads))]
    assert [] == wrong
