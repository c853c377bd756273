"""Something foreign in each place of a shared trace directory, for each verb: it stays, and nothing waits for it."""

from __future__ import annotations

import pytest

from tests.support.faults import hostile

pytestmark = pytest.mark.skipif(bool(hostile.why_unavailable()), reason=hostile.why_unavailable())


@pytest.fixture
def place(tmp_path):
    """Return a directory that is checked for nothing afterwards."""
    yield tmp_path
    for path in tmp_path.rglob("*.jsonl"):
        path.rename(path.with_suffix(".seen"))


@pytest.mark.parametrize("verb", hostile.VERBS)
def test_what_is_foreign_stays_wherever_it_is(verb, place):
    """Links, pipes, devices, hard links and files of another user, in seven places; each wrong case is named."""
    found = list(hostile.cases(place, (verb,)))
    assert len(hostile.KINDS) * len(hostile.PLACES + hostile.PAGES * (verb == "report")) == len(found)
    assert [] == [(kind, where, wrong) for _, kind, where, wrong in found if wrong]
