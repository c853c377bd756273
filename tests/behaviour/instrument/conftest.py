"""A module of clients that is there to be named by targets."""

from __future__ import annotations

import importlib
import sys
import textwrap

import pytest

import moa_middleware as moa
from tests.support.targets_world import CLIENT


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Return a function that makes a module, not imported yet, and returns its name."""
    made = []

    def make(text=CLIENT, name="targets_world"):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
        monkeypatch.syspath_prepend(tmp_path)
        made.append(name)
        return name

    yield make
    moa.uninstrument()
    for name in made:
        sys.modules.pop(name, None)


@pytest.fixture
def world(module):
    """Return a module that is imported."""
    return importlib.import_module(module())
