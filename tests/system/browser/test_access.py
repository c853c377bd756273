"""The page for everybody: axe finds nothing, nothing runs over a phone, and it stays quick when it is large."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path

import pytest

from moa_middleware import report
from tests.read.conftest import records, write
from tests.support.chromium import missing

from .conftest import go, unfold, until

pytestmark = pytest.mark.browser

VIEWS = {
    "list": "",
    "turn": "api-review#1",
    "failure": "api-review#2",
    "tools": "api-review#4",
    "inner": "api-review#5",
    "run": "run",
}


@pytest.fixture(scope="session")
def axe():
    """Return the source of axe-core, which MOA_AXE names: `axe.min.js` of the package `axe-core`."""
    path = os.environ.get("MOA_AXE")
    if not path:
        missing("axe-core: MOA_AXE names no axe.min.js")
    return Path(path).read_text(encoding="utf-8")


def show(page, view):
    """Go to a view."""
    if view == "run":
        page.click("nav >> text=Run")
        page.wait_for_selector(".view.run")
    elif view:
        page.click(f".turns >> text='{view}'")
        page.wait_for_selector(".view.turn")


LOOKS = [(view, theme, 1240) for view in VIEWS for theme in ("light", "dark")] + [
    (view, theme, 360) for view, theme in (("list", "dark"), ("failure", "light"), ("run", "light"))
]


@pytest.mark.parametrize(("view", "theme", "width"), LOOKS)
def test_axe_finds_nothing(tab, page_file, axe, view, theme, width):  # noqa: PLR0917 - fixtures and a table
    """By its rules for WCAG 2.2 A and AA and for good practice, contrast among them, with everything unfolded."""
    one = tab(color_scheme=theme, viewport={"width": width, "height": 860})
    page = one.open(page_file)
    show(page, VIEWS[view])
    unfold(page)
    page.evaluate(axe)
    found = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
    wrong = [
        (one["id"], one["impact"], [node["html"][:160] for node in one["nodes"][:3]]) for one in found["violations"]
    ]
    assert [] == wrong
    assert len(found["passes"]) > 15


def test_axe_has_teeth(tab, axe, tmp_path):
    """It finds what is wrong with a page that is."""
    path = tmp_path / "wrong.html"
    path.write_text("<!doctype html><title>x</title><main><h1>x</h1><p style='color:#ccc'>pale</p><input></main>")
    page = tab().open(path)
    page.evaluate(axe)
    found = page.evaluate("() => axe.run(document)")
    assert {"color-contrast", "label", "html-has-lang"} <= {one["id"] for one in found["violations"]}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_nothing_runs_over_a_phone(tab, page_file, view):
    """At 360 pixels no view can be moved sideways, also with everything unfolded."""
    page = tab(viewport={"width": 360, "height": 740}, has_touch=True).open(page_file)
    show(page, view)
    unfold(page)
    width, cost = page.evaluate(
        "() => [document.documentElement.scrollWidth,"
        " [...document.querySelectorAll('.turns td.cost')].every((one) => one.scrollWidth <= one.clientWidth)]"
    )
    assert 360 == width
    assert cost


def test_long_words_and_names_do_not_run_over(tab, sampled, tmp_path):
    """A model, a session, a question and an answer of one long word each are broken, not cut or run over."""
    line = records(sampled / "api-review.jsonl")[0]
    word = "x" * 3000
    line |= {"session_id": word, "preset": word, "output": word, "outcome": word[:300]}
    line["input_messages"][-1]["content"] = word
    for call in [*line["references"], line["aggregator"]]:
        call |= {"label": word, "model": word[:200], "output": word, "finish_reason": word}
    report.write(write(tmp_path / "s.jsonl", line), tmp_path / "run.html")
    (tmp_path / "s.jsonl").unlink()
    for width in (360, 1240):
        page = tab(viewport={"width": width, "height": 740}).open(tmp_path / "run.html")
        for fragment, view in (("#", ".view.list"), ("#run", ".view.run"), (f"#t={line['turn_id']}", ".view.turn")):
            go(page, fragment)
            assert page.is_visible(view)
            assert width == page.evaluate("document.documentElement.scrollWidth"), fragment


def many(path, sampled, turns, size, sessions=1):
    """Write turns with four references each, which all said something else of so many characters."""
    line = next(one for one in records(sampled / "api-review.jsonl") if len(one["references"]) == 4)
    path.mkdir()
    for session in range(sessions):
        with (path / f"s-{session}.jsonl").open("w", encoding="utf-8") as file:
            for number in range(session, turns, sessions):
                one = copy.deepcopy(line)
                one |= {"turn_id": f"turn-{number:06d}", "session_id": f"s-{session}", "output": f"Answer {number}."}
                for place, call in enumerate([*one["references"], one["aggregator"]]):
                    call["output"] = f"{number} {place} of many words, " * (size // 24)
                file.write(json.dumps(one) + "\n")
    return path


def test_a_large_page_builds_what_is_looked_at(tab, sampled, tmp_path_factory):
    """A list is there at once, a turn is built when it is opened; `python -m benchmarks.report` has the figures."""
    folder = tmp_path_factory.mktemp("large")
    found = report.write(many(folder / "traces", sampled, 150, 20_000), folder / "run.html")
    assert found.size > 13_000_000
    page = tab().page
    page.goto((folder / "run.html").as_uri())
    page.wait_for_selector(".turns tbody tr")
    assert 100 == page.locator(".turns tbody tr").count()
    assert 0 == page.locator(".call").count()
    page.evaluate("(hash) => { location.hash = hash }", "#t=turn-000149")
    page.wait_for_selector(".view.turn")
    assert "s-0#150" == page.inner_text("h1")
    assert 5 == page.locator(".call").count()


def test_a_link_into_a_large_page_waits_for_its_turn(tab, sampled, tmp_path_factory):
    """The last turn of a page may arrive behind the list; it is shown when it does."""
    folder = tmp_path_factory.mktemp("linked")
    report.write(many(folder / "traces", sampled, 150, 20_000), folder / "run.html")
    page = tab().page
    page.goto((folder / "run.html").as_uri() + "#t=turn-000149", wait_until="commit")
    page.wait_for_selector(".call")
    assert "s-0#150" == page.inner_text("h1")


def test_the_list_is_built_as_it_is_scrolled(tab, sampled, tmp_path_factory):
    """Thousands of turns are searched at once, and drawn piece by piece."""
    folder = tmp_path_factory.mktemp("long")
    report.write(many(folder / "traces", sampled, 1200, 200, sessions=3), folder / "web", split=True)
    page = tab().open(folder / "web" / "index.html")
    rows = page.locator(".turns tbody tr")
    assert 100 == rows.count()
    page.evaluate("() => window.scrollTo(0, document.body.scrollHeight)")
    until(lambda: rows.count() > 100)
    page.fill("#search", "answer 1199.")
    assert "1 of 1,200 turns" == page.inner_text(".told")
    page.click(".turns tbody a")
    page.wait_for_selector(".view.turn")
    assert "s-2#400" == page.inner_text("h1")
