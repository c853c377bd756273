"""The figures that a person reads on the page are those of `moa stats`."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields

import pytest

from moa_middleware import report
from moa_middleware.cli._format import count_text, duration_text
from moa_middleware.read import Cost

from .conftest import names_of

pytestmark = pytest.mark.browser

COLUMNS = {
    "calls": lambda row: row["calls"],
    "failed": lambda row: row["failed"],
    "late": lambda row: row["late"],
    "input_tokens": lambda row: row["usage"]["input_tokens"],
    "output_tokens": lambda row: row["usage"]["output_tokens"],
    "total_usd": lambda row: row["cost"]["total_usd"],
    "p50": lambda row: row["call_ms"]["p50"],
    "p95": lambda row: row["call_ms"]["p95"],
}
READ = """() => [...document.querySelectorAll('.models tbody tr, .models tfoot tr')].map((row) => [
  row.cells[0].innerText.trim(),
  Object.fromEntries([...row.querySelectorAll('data')].map((one) => [one.dataset.figure, [one.value, one.innerText.trim()]])),
])"""


def stats_of(*args):
    """Return what `moa stats --json` prints."""
    done = subprocess.run(
        [sys.executable, "-m", "moa_middleware", "stats", "--json", *map(str, args)], capture_output=True, check=True
    )
    return json.loads(done.stdout)


def agrees(page, stats):
    """Assert that the table of models holds the figures, exactly, and shows them in the words of the command."""
    rows = page.evaluate(READ)
    assert ["?" if row["key"] is None else row["key"] for row in stats["rows"]] + ["All"] == [name for name, _ in rows]
    for (_, cells), row in zip(rows, [*stats["rows"], stats["total"]], strict=True):
        for column, value in COLUMNS.items():
            exact, shown = cells[column]
            wanted = value(row)
            assert (None if exact == "" else float(exact)) == wanted, column
            if column in ("p50", "p95"):
                assert duration_text(wanted) == shown
            elif column == "total_usd":
                cost = Cost(*(row["cost"][one.name] for one in fields(Cost)))
                # Only the total names the price table.
                words = str(cost) if row is stats["total"] else str(cost).replace(f", {cost.price_table}", "")
                assert words == " ".join(shown.split())
            elif column != "failed":
                assert count_text(wanted) == shown


def test_the_run_s_figures_are_those_of_moa_stats(page, sampled):
    """Read back from the page, value by value: calls, failures, tokens, dollars and times of each model, and all."""
    page.click("nav >> text=Run")
    page.wait_for_selector(".models")
    stats = stats_of(sampled)
    agrees(page, stats)
    total = stats["total"]
    strip = page.locator(".strip").inner_text()
    assert f"{total['calls']}\n{total['failed']} failed, {total['late']} late" in strip
    for key, value in {"turns": total["turns"], "turn_p50": total["turn_ms"]["p50"]}.items():
        assert {float(value)} == {
            float(one)
            for one in page.locator(f"data[data-figure={key}]").evaluate_all("all => all.map((one) => one.value)")
        }


def test_unknown_prices_stay_unknown(page):
    """A model without a price is unknown and never $0; a sum of some is `>=`, and says how many are missing."""
    page.click("nav >> text=Run")
    row = page.locator(".models tr", has_text="deepseek-v3").inner_text()
    assert "unknown" in row
    assert "(10 unpriced)" in row
    assert "$0" not in row
    assert ">= $" in page.locator(".models tfoot").inner_text()


@pytest.mark.parametrize("filters", [{"failed": True}, {"session": "api-review"}, {"model": "gpt-5"}], ids=str)
def test_figures_of_a_part_are_those_of_moa_stats_with_the_same_filter(tab, sampled, tmp_path, filters):
    """A report of some turns counts those alone."""
    report.write(sampled, tmp_path / "run.html", **filters)
    page = tab().open(tmp_path / "run.html", "#run")
    args = [f"--{key}" if value is True else f"--{key}={value}" for key, value in filters.items()]
    agrees(page, stats_of(sampled, *args))


def test_a_page_of_a_session_has_the_figures_of_the_session(tab, sampled, tmp_path):
    """And the index those of all."""
    report.write(sampled, tmp_path / "web", split=True)
    page = tab().open(tmp_path / "web" / "session-api-review-2.html", "#run")
    agrees(page, stats_of(sampled, "--session=api-review-2"))
    page = tab().open(tmp_path / "web" / "index.html", "#run")
    agrees(page, stats_of(sampled))


def test_each_turn_of_the_list_has_its_own_figures(page, sampled):
    """Time, calls and cost in the list are those of `moa ls --json`."""
    done = subprocess.run(
        [sys.executable, "-m", "moa_middleware", "ls", "--json", "-n", "0", str(sampled)],
        capture_output=True,
        check=True,
    )
    listed = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["name"] for one in listed] == names_of(page)
    for one, row in zip(listed, page.locator(".turns tbody tr").all(), strict=True):
        calls, ms, usd = row.locator("data").evaluate_all("all => all.map((one) => one.value)")
        assert (one["call_count"], one["duration_ms"]) == (int(calls), float(ms))
        assert one["cost"]["total_usd"] == (None if usd == "" else float(usd))
