"""Roles and layers that are not declared: programs with a known truth, run through the library, and their lines read."""

from __future__ import annotations

import pytest

from tests.support.flows import chance, runner

FEWEST = 0.93
"""Share of the calls whose role and layer have to be right; the others have to be unknown."""


def measured(flows, capsys, what):
    """Return the verdicts on programs; the rates are printed, whether the test passes or not."""
    verdicts = runner.judge(flows)
    rates = runner.rates(verdicts)
    with capsys.disabled():
        print(
            f"\nroles, {what}: {', '.join(f'{count} {rate}' for rate, count in rates.items())} of {len(verdicts)} calls"
        )
    return verdicts, rates


def assert_none_is_wrong(verdicts, rates):
    """Assert the bar."""
    assert [] == [verdict for verdict in verdicts if verdict.rate == "wrong"]
    assert rates["right"] >= FEWEST * len(verdicts)


def test_no_role_of_the_corpus_is_wrong(capsys):
    """Each program as a turn's function and inside a block; at most 7 % of the calls are unknown."""
    flows = runner.load()
    assert len({name.partition("[")[0] for name in flows}) >= 60
    assert_none_is_wrong(*measured(flows.values(), capsys, f"{len(flows)} programs"))


def test_no_role_of_programs_drawn_by_chance_is_wrong(capsys):
    """A hundred in a quick run."""
    assert_none_is_wrong(*measured(map(chance.flow, range(100)), capsys, "100 drawn programs"))


@pytest.mark.slow
def test_no_role_of_more_programs_drawn_by_chance_is_wrong(capsys):
    """Five hundred, among them the hundred of the quick run."""
    assert_none_is_wrong(*measured(map(chance.flow, range(500)), capsys, "500 drawn programs"))


def test_a_call_that_is_called_known_and_is_not_is_wrong():
    """The measure itself: unknown is only what is marked so."""
    rate = {known: runner.Verdict("", "f", 0, "R1", "C", known).rate for known in (True, False)}
    assert {True: "wrong", False: "unknown"} == rate
    assert "wrong" == runner.Verdict("", "f", 0, "R1", "R2", True).rate
    assert "right" == runner.Verdict("", "f", 0, "R1/A", "A", True).rate
