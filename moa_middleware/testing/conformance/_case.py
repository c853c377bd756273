"""Cases: a scenario, a harness and a way; running them under a test framework or by themselves."""

from __future__ import annotations

import unittest
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

# The modules of scenarios register them.
from . import _crowds, _forms, _replies, _streams  # noqa: F401
from ._compare import differences, flaws
from ._record_check import complaints
from ._scenario import SCENARIOS
from ._scenario_run import run_once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ._harness import ClientHarness
    from ._scenario import Scenario
    from ._scenario_run import Mode, Way

__all__ = ["Case", "CaseResult", "ConformanceError", "ConformanceReport", "cases", "run"]

_WAYS: tuple[Way, ...] = ("sync", "async")


class ConformanceError(AssertionError):
    """
    A client and its instrumentation do not conform.

    Attributes:
        case: Name of the case.
        mode: `bare`: the harness itself does not do what it says; `off`, `on`: the run that differs.
        what: The first difference.
    """

    def __init__(self, case: str, mode: Mode, what: str) -> None:
        super().__init__(f"{case}, {mode}: {what}")
        self.case = case
        self.mode = mode
        self.what = what

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.case, self.mode, self.what)


@dataclass(frozen=True, slots=True)
class Case:
    """
    One scenario in one harness, sync or async.

    Its `str` names it: `MyHarness-closed_early-async`.
    """

    harness: type[ClientHarness]
    scenario: Scenario = field(repr=False)
    way: Way

    def __str__(self) -> str:
        return f"{self.harness.__name__}-{self.scenario.name}-{self.way}"

    @property
    def description(self) -> str:
        """What the caller does, in a sentence."""
        return (self.scenario.body.__doc__ or "").strip()

    @property
    def lacking(self) -> str | None:
        """Why it cannot be run: what the harness does not support; `None` if it can."""
        missing = sorted(self.scenario.needs - self.harness.supports)
        return f"{self.harness.__name__} does not support {', '.join(missing)}" if missing else None

    def check(self) -> None:
        """
        Run the scenario bare, off and on, and compare.

        Raises:
            ConformanceError: The caller saw another thing than uninstrumented, or the record is wrong. It names the case,
                the run and the first difference.
            unittest.SkipTest: The harness lacks what the scenario needs; pytest knows it as a skip.
        """
        __tracebackhide__ = True  # pytest: the message says it all
        if self.lacking is not None:
            raise unittest.SkipTest(self.lacking)
        for mode, what in self.differences():
            raise ConformanceError(str(self), mode, what)

    def differences(self) -> Iterator[tuple[Mode, str]]:
        """Run the scenario, and yield each run and what is wrong with it."""
        bare = run_once(self.scenario, self.harness, self.way, "bare", None)
        found = False
        for what in flaws(bare):
            found = True
            yield "bare", what
        if found:
            return
        off = run_once(self.scenario, self.harness, self.way, "off", bare)
        for what in differences(bare, off):
            yield "off", what
        if off.files:
            yield "off", "something was written"
        on = run_once(self.scenario, self.harness, self.way, "on", bare)
        for what in differences(bare, on):
            yield "on", what
        for what in complaints(on) if on.failure is None else ():
            yield "on", what


def cases(harness: type[ClientHarness]) -> list[Case]:
    """
    Return every case of a harness, those too that it lacks something for: they are skipped when they are checked.

    A harness that is only sync, or only async, has no cases of the other way.

        @pytest.mark.parametrize("case", conformance.cases(MyHarness), ids=str)
        def test_it_conforms(case):
            case.check()

    Raises:
        ValueError: The harness supports nothing that could be called.
    """
    ways: list[Way] = [way for way in _WAYS if way in harness.supports]
    if not ways or not {"value", "stream"} & harness.supports:
        msg = f"{harness.__name__}.supports: it needs 'sync' or 'async', and 'value' or 'stream'"
        raise ValueError(msg)
    return [Case(harness, each, way) for each in SCENARIOS for way in ways if _fits(each, way)]


def _fits(scenario: Scenario, way: Way) -> bool:
    """Return True if a scenario makes sense in this way."""
    only = scenario.needs & {*_WAYS}
    return not only or way in only


class CaseResult(NamedTuple):
    """
    What became of a case.

    Attributes:
        case: The case.
        verdict: What became of it.
        reason: The failure, or why it was skipped; empty if it passed.
    """

    case: Case
    verdict: Literal["passed", "failed", "skipped"]
    reason: str


@dataclass(frozen=True, slots=True)
class ConformanceReport:
    """
    What became of every case of a harness; its `str` is a summary to print.

    Attributes:
        results: One for each case, in order.
    """

    results: tuple[CaseResult, ...]

    @property
    def failures(self) -> list[CaseResult]:
        """The cases that failed."""
        return [one for one in self.results if one.verdict == "failed"]

    @property
    def skipped(self) -> list[CaseResult]:
        """The cases that the harness lacks something for."""
        return [one for one in self.results if one.verdict == "skipped"]

    @property
    def passed(self) -> list[CaseResult]:
        """The cases that passed."""
        return [one for one in self.results if one.verdict == "passed"]

    def check(self) -> None:
        """
        Raise if a case failed, or if none was run.

        Raises:
            AssertionError: It names every case that failed.
        """
        if self.failures or not self.passed:
            raise AssertionError(str(self))

    def __str__(self) -> str:
        count = Counter(one.verdict for one in self.results)
        lines = [f"{count['passed']} passed, {count['failed']} failed, {count['skipped']} skipped"]
        lines += [f"failed: {one.reason}" for one in self.failures]
        lacking = {name for one in self.skipped for name in one.case.scenario.needs - one.case.harness.supports}
        lines += [f"skipped for lack of: {', '.join(sorted(lacking))}"] if lacking else []
        return "\n".join(lines)


def run(harness: type[ClientHarness], *, each: Callable[[CaseResult], object] | None = None) -> ConformanceReport:
    """
    Run every case of a harness.

    Args:
        harness: The harness's class.
        each: Called with each result when it is there, to show progress.
    """
    results: list[CaseResult] = []
    for case in cases(harness):
        result = _result(case)
        results.append(result)
        if each is not None:
            each(result)
    return ConformanceReport(tuple(results))


def _result(case: Case) -> CaseResult:
    try:
        case.check()
    except unittest.SkipTest as skip:
        return CaseResult(case, "skipped", str(skip))
    except ConformanceError as error:
        return CaseResult(case, "failed", str(error))
    return CaseResult(case, "passed", "")
