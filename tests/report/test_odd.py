"""A report of a file that holds anything: deep, endless, alike, many."""

from __future__ import annotations

import json
import sys

import pytest

from moa_middleware import read, report
from tests.read.conftest import SEED, write

from .conftest import Page

LINE = {"schema": "moa-turn/1", "turn_id": "t", "session_id": "s", "outcome": "completed"}

LEVELS = 800 if sys.version_info < (3, 12) else 1200
"""More than Python code can walk, and no more than its parser of JSON takes; from 3.12 on that counts for itself."""


def deep(levels):
    """Return JSON that is nested so deeply."""
    return '{"a":[' * (levels // 2) + "1" + "]}" * (levels // 2)


@pytest.mark.parametrize("rules", [None, "secrets"], ids=["as-it-is", "redacted"])
@pytest.mark.parametrize("key", ["input_messages", "params", "tags", "raw", "odd"])
def test_a_value_that_is_nested_deeply_costs_its_depth_and_no_report(desk, key, rules):
    """What lies deeper than can be worked with is named, and all other turns are there."""
    call = json.dumps({"label": "a", "model": "m", "output": "said"})
    line = json.dumps({**LINE, "references": [], "output": "whole"})
    broken = f'{line[:-1]},"{key}":[{deep(LEVELS)}],"aggregator":{call[:-1]},"{key}":[{deep(LEVELS)}]}}}}'
    source = write(desk / "s.jsonl", broken, {**LINE, "turn_id": "other"})
    assert 2 == len(list(read.open(source)))
    page = Page(report.write(source, desk / "run.html", redact=rules).paths[0])
    assert ["t", "other"] == [told["id"] for told in page.turns]
    assert "whole" == "".join(text for text, _ in page.turns[0]["answer"])
    assert ("nested too deeply" in (desk / "run.html").read_text()) == (key not in ("odd", "params", "tags"))


def test_a_text_that_is_json_nested_deeply_is_redacted(desk):
    """It is redacted as a text then."""
    text = deep(1200).replace("1", '"sk-proj-abcd1234efgh5678ijkl9012"')
    source = write(desk / "s.jsonl", {**LINE, "output": text})
    report.write(source, desk / "run.html", redact="secrets")
    told = (desk / "run.html").read_text()
    assert "sk-proj" not in told
    assert "[secret]" in told


def test_figures_that_no_number_holds_are_unknown_and_break_no_page(desk):
    """A browser reads no Infinity: a sum that overflows, and a span of time, are null, and no page is lost."""
    call = {"label": "a", "model": "m", "output": "x", "cost_usd": 1e308, "started_at": -1e308, "ended_at": 1e308}
    call["duration_ms"] = 1.7e308
    source = write(
        desk / "s.jsonl",
        {**LINE, "started_at": -1e308, "ended_at": 1e308, "references": [call, call], "aggregator": call},
        {**LINE, "turn_id": "u", "references": [call, call]},
    )
    report.write(source, desk / "run.html")

    def refuse(word):
        raise AssertionError(word)

    for block in (desk / "run.html").read_text().split('<script type="application/json" id="')[1:]:
        json.loads(block.partition(">")[2].partition("<")[0], parse_constant=refuse)
    page = Page(desk / "run.html")
    assert page.turns[0]["cost"]["usd"] is None
    assert ("unknown (3 unpriced)", "unknown (5 unpriced)") == (
        page.turns[0]["cost"]["text"],
        page.run["figures"]["cost"],
    )
    assert page.run["figures"]["stats"]["total"]["cost"]["known_usd"] is None


def test_tokens_that_no_browser_counts_are_texts(desk):
    """A browser's numbers hold 53 bits."""
    many = 2**53 + 1
    call = {"label": "a", "model": "m", "output": "x", "usage": {"input_tokens": many, "output_tokens": 7}}
    page = Page(
        report.write(
            write(desk / "s.jsonl", {**LINE, "references": [call], "aggregator": None}), desk / "run.html"
        ).paths[0]
    )
    assert (str(many), 7) == tuple(page.turns[0]["calls"][0]["usage"].values())[:2]
    assert str(many) == page.turns[0]["usage"]["input_tokens"]
    stats = page.run["figures"]["stats"]
    assert str(many) == stats["rows"][0]["usage"]["input_tokens"] == stats["total"]["usage"]["input_tokens"]


def test_turns_whose_ids_become_alike_have_addresses_of_their_own(desk):
    """Redacted, or with halves of characters that no address can hold: each link leads to its own turn."""
    ids = ["sk-proj-abcd1234efgh5678ijkl9012", "sk-proj-abcd1234efgh5678ijkl9013", "\ud800", "\ud801"]
    source = write(
        desk / "s.jsonl", *[json.dumps({**LINE, "turn_id": one, "output": f"number {n}"}) for n, one in enumerate(ids)]
    )
    page = Page(report.write(source, desk / "run.html", redact="secrets").paths[0])
    rows = [row["id"] for row in page.run["rows"]]
    assert ["[secret]", "[secret] (2)", "\ud800", "\ud801 (2)"] == rows
    assert rows == [told["id"] for told in page.turns]


def test_a_turn_with_many_references_has_a_small_grid(desk):
    """Pairs grow with the square: of 200 references the first 24 are compared, and all are there."""
    references = [{**SEED["references"][0], "label": f"r{n}", "output": f"reference {n} says so"} for n in range(200)]
    page = Page(report.write(write(desk / "s.jsonl", {**SEED, "references": references}), desk / "run.html").paths[0])
    (told,) = page.turns
    assert 201 == len(told["calls"])
    assert [24] * 24 == [len(row) for row in told["alike"]]
    assert 188 == page.run["grid"]["left_out"]


@pytest.mark.slow
def test_redaction_remembers_no_turn_that_is_over(desk):
    """Memory does not grow with the prompts of a run."""
    import tracemalloc

    def lines():
        return [
            {**SEED, "turn_id": f"t-{n}", "aggregator": {**SEED["aggregator"], "output": f"{n} " + "x" * 200_000}}
            for n in range(100)
        ]

    source = write(desk / "s.jsonl", *lines())
    tracemalloc.start()
    try:
        report.write(source, desk / "run.html", redact="secrets", content=False)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 50 * 200_000, "of 100 texts of 200 kB those of one turn are held, some times over"
