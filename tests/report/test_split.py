"""A report of several pages: each turn once, under a name that leads nowhere else."""

from __future__ import annotations

import pytest

from moa_middleware import errors, report
from tests.read.conftest import SEED, write

from .conftest import Page

IDS = [
    "../../x",
    "",
    ".",
    "..",
    "a/b",
    "a\\b",
    "CON",
    "nul.txt",
    "s\0t",
    "\u202egpj.exe",
    "x" * 300,
    "~",
    "S",
    "s",
    "javascript:alert(1)",
    "<b>",
    "é",
    None,
]


def lines_of(ids):
    return [
        {**SEED, "session_id": session, "turn_id": f"turn-{place:04d}", "ts": SEED["ts"] + place}
        for place, session in enumerate(ids)
    ]


def test_a_session_is_a_page_and_each_turn_is_there_once(desk, sampled):
    """The index lists all turns, and says on which page each is."""
    found = report.write(sampled, desk / "web", split=True)
    assert ["index.html", "session-api-review-2.html", "session-api-review.html"] == sorted(
        path.name for path in found.paths
    )
    index = Page(found.paths[0])
    assert "index" == index.run["kind"]
    assert [] == index.turns
    for path in found.paths[1:]:
        page = Page(path)
        ids = [row["id"] for row in page.run["rows"]]
        assert ids == [told["id"] for told in page.turns]
        assert ids == [row["id"] for row in index.run["rows"] if index.run["pages"][row["pg"]] == path.name]
        assert 1 == len(page.run["sessions"])
        assert page.run["figures"]["stats"]["total"]["turns"] == len(ids)
    assert found.turns == len(index.run["rows"])
    assert found.size == sum(path.stat().st_size for path in (desk / "web").iterdir())


def test_hostile_sessions_have_safe_pages(desk):
    """No name leaves the directory, and no two sessions share a page, on a disk that ignores case either."""
    source = write(desk / "s.jsonl", *lines_of(IDS))
    found = report.write(source, desk / "web", split=True)
    names = [path.name for path in found.paths]
    assert len(IDS) + 1 == len({name.casefold() for name in names})
    assert set(names) == {path.name for path in (desk / "web").iterdir()}
    assert all(path.parent == desk / "web" for path in found.paths)
    assert all(name.isprintable() and not set('/\\:*?"<>|#') & set(name) for name in names)
    assert [desk / "s.jsonl", desk / "web"] == sorted(desk.iterdir())


def test_a_session_that_is_too_large_has_several_pages(desk):
    """Each page stays below the size; the pages are numbered, and say so."""
    text = "word " * 4000
    big = [{**one, "aggregator": {**SEED["aggregator"], "output": text}} for one in lines_of(["s"] * 9)]
    source = write(desk / "s.jsonl", *big, *lines_of(["t"]))
    whole = report.write(source, desk / "one.html").size
    most = whole // 2
    found = report.write(source, desk / "web", split=True, max_bytes=most)
    parts = [path for path in found.paths if path.name.startswith("session-s~")]
    assert len(parts) > 1
    assert [f"session-s~{number}.html" for number in range(1, len(parts) + 1)] == [path.name for path in parts]
    rows = []
    for number, path in enumerate(parts, 1):
        assert path.stat().st_size <= most
        page = Page(path)
        assert [number, len(parts)] == page.run["part"]
        assert 9 == page.run["figures"]["stats"]["total"]["turns"]
        rows += [row["id"] for row in page.run["rows"]]
    assert [f"turn-{place:04d}" for place in range(9)] == rows


def test_a_turn_that_is_too_large_has_a_page_of_its_own(desk):
    """A page may then be larger than was asked for: a turn is never cut."""
    source = write(desk / "s.jsonl", *lines_of(["s"] * 3))
    found = report.write(source, desk / "web", split=True, max_bytes=1000)
    assert 4 == len(found.paths)


def test_pages_of_an_earlier_report_go(desk, sampled):
    """What was split with texts must not stay beside what was split without; other files stay."""
    report.write(write(desk / "s.jsonl", *lines_of(["old"])), desk / "web", split=True)
    (desk / "web" / "mine.html").write_text("<!doctype html>mine")
    report.write(sampled, desk / "web", split=True, content=False)
    assert ["index.html", "mine.html", "session-api-review-2.html", "session-api-review.html"] == sorted(
        path.name for path in (desk / "web").iterdir()
    )


def test_a_report_that_is_not_split_stays_beside_one_that_is(desk, sampled):
    """`runs/` may hold several: only pages of a split report are replaced and removed."""
    (desk / "web").mkdir()
    report.write(sampled, desk / "web" / "baseline.html")
    report.write(sampled, desk / "web", split=True)
    assert (desk / "web" / "baseline.html").exists()


def test_what_is_no_report_is_not_overwritten_by_a_page(desk, sampled):
    """A file that has the name of a session's page stays, and no page is written."""
    (desk / "web").mkdir()
    (desk / "web" / "session-api-review.html").write_text("mine")
    with pytest.raises(errors.QueryError, match=r"session-api-review\.html' is there, and is no report"):
        report.write(sampled, desk / "web", split=True)
    assert ["session-api-review.html"] == [path.name for path in (desk / "web").iterdir()]
    assert "mine" == (desk / "web" / "session-api-review.html").read_text()


def test_turns_around_and_inside_are_known_across_pages(desk):
    """A page tells on which other page the turn around one is, and the ones inside it."""
    outer, inner = lines_of(["a", "b"])
    outer |= {"turns": ["turn-0001"]}
    inner |= {"parent_turn_id": "turn-0000"}
    report.write(write(desk / "s.jsonl", outer, inner), desk / "web", split=True)
    a, b = Page(desk / "web" / "session-a.html"), Page(desk / "web" / "session-b.html")
    assert {"turn-0001": ["session-b.html", "b", 1, "turn-0000"]} == a.run["elsewhere"]
    assert {"turn-0000": ["session-a.html", "a", 1, None]} == b.run["elsewhere"]


@pytest.mark.parametrize("split", [False, True], ids=["one", "split"])
def test_a_run_without_turns_makes_a_report(desk, split):
    """A pipeline gets a page that says that there is nothing."""
    (desk / "none").mkdir()
    found = report.write(desk / "none", desk / "out", split=split)
    assert 0 == found.turns
    assert [] == Page(found.paths[0]).run["rows"]


def test_filters_are_those_of_a_reading(made, sampled):
    """Only the turns that are asked for are in the report, and its figures are of them."""
    page = made(sampled, failed=True, session="api-review")
    assert 1 == len(page.turns)
    assert 1 == page.run["figures"]["stats"]["total"]["turns"]
