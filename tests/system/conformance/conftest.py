"""What is loaded by the first use of an SDK stays out of every collection: tests collect often."""

from __future__ import annotations

import gc

import pytest

from moa_middleware.testing import conformance
from tests.support.worlds.worlds import WORLDS


@pytest.fixture(scope="package", autouse=True)
def _loaded():
    for world in WORLDS:
        for case in conformance.cases(world):
            if case.scenario.name in ("value", "read_by_for", "manager_read", "raw_value_parsed") and not case.lacking:
                list(case.differences())
    gc.collect()
    gc.freeze()
