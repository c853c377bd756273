"""Short rounds of faults, with real processes and signals; `benchmarks/faults.py` runs the long ones."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.support.faults import endings, rounds
from tests.support.faults.evidence import directory

pytestmark = pytest.mark.processes


@pytest.fixture
def place():
    """Return a directory that nobody checks for torn lines, which are what is counted here."""
    with directory() as name:
        yield Path(name)


@pytest.fixture
def seed(capsys):
    """Return a seed; a failing test shows it."""
    found = random.randrange(10**6)
    print(f"seed {found}")
    return found


@pytest.mark.parametrize(("processes", "threads"), [(1, 4), (4, 2), (16, 1)])
def test_crowds_tear_nothing(processes, threads, place, seed):
    """Turns of 10 kB, 500 kB and 5 MB in one file: each acknowledged one is there, with its checksum."""
    sizes = [10_000] * 12 + [500_000] * 2
    big = [5_000_000] if processes == 4 else []
    found = rounds.crowd(place, processes=processes, threads=threads, sizes=sizes + big, seed=seed)
    assert found.acknowledged == processes * threads * len(sizes + big) == found.turns
    assert found.clean
    assert 0 == found.torn


def test_kills_cost_no_acknowledged_turn(place, seed):
    """At most one torn tail a round, and the next writer's line is whole."""
    found, after = rounds.kills(place, rounds=30, seed=seed)
    assert found.clean
    assert found.acknowledged >= 30  # the first of each round; how many more depends on the machine
    assert found.torn <= 30
    assert 30 == after


def test_kills_cost_no_finished_reference_where_there_is_a_journal(place, seed):
    """Recovery runs beside the writers; each reference that had returned is on record once, and no journal is left."""
    found, crashed, left = rounds.journals(place, rounds=20, seed=seed)
    assert found.clean
    assert found.acknowledged >= 4 * 20
    assert crashed > 0
    assert 0 == left


def test_a_full_disk_destroys_no_line(place):
    """Each call had its answer; what was refused waited, and was written afterwards."""
    found, told = rounds.full_disk(place, turns=10, size=50_000)
    assert 10 == told["answers"]
    assert told["refused"] == told["waited"] > 0
    assert (0, 0, 20) == (told["lost"], told["waiting"], told["written"])
    assert found.clean
    assert (20, 10) == (found.turns, found.acknowledged)
    assert found.torn <= told["refused"]


def test_a_lock_that_hangs_delays_a_turn_by_half_a_second_at_most(place):
    """The first one only; all are written."""
    longest = []
    for attempt in range(3):  # a busy machine adds what it likes
        found, seconds = rounds.held_lock(place / str(attempt), turns=10)
        assert found.clean
        assert (10, 0) == (found.turns, found.torn)
        longest.append(sorted(seconds)[-2:])
        if longest[-1][1] < 0.5 and longest[-1][0] < 0.2:
            return
    pytest.fail(str(longest))


def test_an_event_loop_does_not_stand_still_for_a_lock(place):
    """200 turns at once; the longest gap between two ticks is below 20 ms."""
    gaps = []
    for attempt in range(4):  # a virtual machine may stand still as a whole
        found, gap, _ = rounds.event_loop(place / str(attempt), turns=200)
        assert found.clean
        assert (201, 200, 0) == (found.turns, found.acknowledged, found.torn)
        gaps.append(gap)
        if gap < 0.02:
            break
    assert min(gaps) < 0.02, gaps


def test_collections_neither_hang_nor_lose(place):
    """At each allocation, in several threads, with streams that are finished in the middle of a line."""
    found = rounds.collections(place, turns=25)
    assert found.clean
    assert (200, 100, 0) == (found.turns, found.acknowledged, found.torn)


@pytest.mark.parametrize("name", endings.ENDINGS)
def test_however_a_process_ends(name, place):
    """Nothing acknowledged is lost, and nothing is written twice."""
    if not endings.available(name):
        pytest.skip("not installed")
    found = endings.end(name, place)
    assert found.acknowledged >= 10 or name == "spawn"
    assert found.clean
    assert found.torn <= (name in ("SIGKILL", "SIGTERM", "daemon threads"))


@pytest.mark.slow
def test_many_kills(place, seed):
    """The same as the short one, longer."""
    found, after = rounds.kills(place, rounds=120, seed=seed)
    assert found.clean
    assert found.torn <= 120
    assert 120 == after
