"""Every world of ours conforms: callers see the same bare, off and on, and the record says what happened."""

from __future__ import annotations

import pytest

from moa_middleware.testing import conformance
from tests.support.worlds.worlds import MISSING, WORLDS

CASES = [case for world in WORLDS for case in conformance.cases(world) if not case.lacking]


@pytest.mark.crowd(facets=lambda case: (case.harness, (case.scenario.name, case.way)))
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_caller_sees_the_same_and_the_record_says_what_happened(case):
    """A scenario runs uninstrumented, off and on."""
    case.check()


@pytest.mark.parametrize("module", MISSING)
def test_worlds_without_their_sdk(module):
    """What was not run is told."""
    pytest.skip(MISSING[module])


def test_every_scenario_runs_in_a_world_of_ours():
    """No scenario is only written down: each is run, in each way that it has."""
    every = {(case.scenario.name, case.way) for world in WORLDS for case in conformance.cases(world)}
    run = {(case.scenario.name, case.way) for case in CASES}
    assert every == run
