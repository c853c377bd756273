"""Faults and interrupts at any line of the live wing: results are those of the bare function, and no turn stays open."""

from __future__ import annotations

import json
import random
import subprocess
import sys

import pytest

from tests.support.faults.evidence import ROOT, environment
from tests.support.faults.injected import ENTRIES, functions

LEFT = {"_claim", "end", "end_async", "_finish", "drop", "run_async", "__exit__"}
"""Functions with a line or two at which an interrupt leaves a turn open: before their `try`, or behind a claim."""


def injected(what, every):
    """Inject into calls of six kinds, in a process of its own; a failing test shows the seed."""
    seed = random.randrange(10**6)
    command = [sys.executable, "-m", "tests.support.faults.injected", what, str(every), str(seed)]
    print(" ".join(command[1:]))
    done = subprocess.run(
        command, env=environment(), cwd=ROOT, capture_output=True, text=True, timeout=500, check=False
    )
    assert 0 == done.returncode, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("every", [17, pytest.param(1, marks=pytest.mark.processes)])
def test_a_fault_at_any_line_of_the_tracing_code_costs_the_record_alone(every):
    """Of six kinds, one a call: hardly a line is there again, and each record that is lost is a counted fault."""
    found = injected("fault", every)
    assert sum(count for count, *_ in found.values()) > 1500 / every
    for name, (count, wrong, left, lost, doubled, counted) in found.items():
        assert functions(wrong) <= ENTRIES, (name, wrong)
        assert [] == left, name
        assert 0 <= lost <= counted, name
        assert 0 <= doubled <= 1 + count // 50, name


@pytest.mark.parametrize("every", [29, pytest.param(1, marks=pytest.mark.processes)])
def test_an_interrupt_at_any_line_goes_on_and_leaves_no_turn_open(every):
    """Ctrl-C at lines of the whole live wing, one a call."""
    found = injected("interrupt", every)
    assert sum(count for count, _, _ in found.values()) > 3500 / every
    for name, (_, kept, left) in found.items():
        assert [] == kept, name
        assert functions(left) <= LEFT, (name, left)
        assert len(left) <= 4, (name, left)
