"""A file to append to, what a killed process left, and no memory of files that other tests have locked."""

from __future__ import annotations

import pytest

from moa_middleware._layout import lock
from tests.support.killed import journals


@pytest.fixture(autouse=True)
def _patient():
    """Hold nothing against a file that another test has locked."""
    lock._until.clear()
    yield
    lock._until.clear()


@pytest.fixture
def path(tmp_path):
    """Return a file that is not there yet; its name keeps it from being checked as a trace."""
    return tmp_path / "lines.txt"


@pytest.fixture
def place(tmp_path):
    """Return a directory for traces; what is left of journals is no trace to be checked."""
    directory = tmp_path / "traces"
    yield directory
    for path in journals(directory):
        path.unlink()
