"""The page as a person uses it: with a mouse, with keys, by links, on a desk and on paper."""

from __future__ import annotations

import re

import pytest

from moa_middleware import read, report
from tests.read.conftest import SEED, write

from .conftest import names_of, unfold, until

pytestmark = pytest.mark.browser


def test_the_list_shows_the_turns_in_the_order_of_the_files(page, sampled):
    """Name, question, outcome and cost of each, as the reader has them."""
    turns = list(read.open(sampled))
    assert [turn.name for turn in turns] == names_of(page)
    assert [" ".join(str(turn.cost).split()) for turn in turns] == [
        " ".join(text.split()) for text in page.locator(".turns td.cost").all_inner_texts()
    ]
    assert "1 of 5 failed" in page.inner_text(".turns tbody tr:nth-child(2)")
    assert "1 of 5 late" in page.inner_text(".turns tbody tr:nth-child(3)")
    assert "nested" in page.inner_text(".turns")


def test_search_finds_what_is_typed(page):
    """Words of the question, of the answer, a model, an id; all of them must be there."""
    page.click("#search")
    page.keyboard.type("postgresql null")
    assert ["api-review#2", "api-review-2#2"] == names_of(page)
    assert "2 of 12 turns" == page.inner_text(".told")
    page.fill("#search", "gpt-5 P99")
    assert ["api-review-2#1"] == names_of(page)
    page.fill("#search", "4,812 orders")
    assert 2 == len(names_of(page))
    page.fill("#search", "no such words")
    assert [] == names_of(page)
    assert page.is_visible("text=No turn fits these filters.")
    page.fill("#search", "")
    assert 12 == len(names_of(page))


def test_filters_narrow_the_list_and_stand_in_the_address(page, tab):
    """Session, preset, model, outcome and cost; a link with them shows the same turns."""
    page.select_option("select[name=session]", label="api-review-2")
    assert 6 == len(names_of(page))
    page.select_option("select[name=state]", label="With a failure")
    assert ["api-review-2#2"] == names_of(page)
    page.select_option("select[name=state]", label="With a late call")
    assert ["api-review-2#3"] == names_of(page)
    page.wait_for_url(re.compile("session=.*state=late"))
    other = tab()
    other.page.goto(page.url)
    other.page.wait_for_selector(".turns")
    assert ["api-review-2#3"] == names_of(other.page)
    page.select_option("select[name=session]", label="All")
    page.select_option("select[name=state]", label="Without either")
    assert 8 == len(names_of(page))
    page.select_option("select[name=model]", label="gpt-5")
    assert 3 == len(names_of(page))
    page.select_option("select[name=preset]", label="quick")
    assert [] == names_of(page)
    page.select_option("select[name=preset]", label="All")
    page.select_option("select[name=model]", label="All")
    page.select_option("select[name=state]", label="Any outcome")
    page.fill("input[name=cost]", "0.02")
    assert 4 == len(names_of(page))
    page.select_option("select[name=sort]", label="Dearest first")
    assert "api-review-2#1" == names_of(page)[0]


def test_a_permalink_opens_its_turn(tab, page_file, sampled):
    """`#t=<turn_id>` is the turn, also when the page is opened by it; an id that is not there is said."""
    turn = read.open(sampled).turn("api-review-2#4")
    page = tab().open(page_file, f"#t={turn.id}")
    assert "api-review-2#4" == page.inner_text("h1")
    assert page.title().startswith("api-review-2#4")
    page = tab().open(page_file, "#t=no-such-turn")
    assert "No such turn" == page.inner_text("h1")
    page.click("text=All turns")
    assert 12 == len(names_of(page))


def test_back_and_forward_lead_where_one_was(page):
    """From the list to a turn, to the next, to the run; back each step, to the same filters and place."""
    page.fill("#search", "api-review-2")
    page.wait_for_url(re.compile("q=api-review-2"))
    page.click("text=api-review-2#2")
    assert "api-review-2#2" == page.inner_text("h1")
    page.click("text=Next")
    until(lambda: "api-review-2#3" == page.inner_text("h1"))
    page.click("nav >> text=Run")
    page.wait_for_selector(".view.run")
    page.go_back()
    until(lambda: "api-review-2#3" == page.inner_text("h1"))
    page.go_back()
    until(lambda: "api-review-2#2" == page.inner_text("h1"))
    page.go_back()
    page.wait_for_selector(".turns")
    assert 6 == len(names_of(page))
    assert "api-review-2" == page.input_value("#search")
    assert "api-review-2#2" == page.evaluate("document.activeElement.innerText")
    page.go_forward()
    until(lambda: "api-review-2#2" == page.inner_text("h1"))


def test_all_can_be_done_by_keys(page):
    """j, k and the arrows move, Enter opens, Escape goes back, / searches, ? helps, r and t do what they say."""
    page.keyboard.press("j")
    assert "api-review#1" == page.evaluate("document.activeElement.innerText")
    page.keyboard.press("j")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("k")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("j")
    assert "api-review#2" == page.evaluate("document.activeElement.innerText")
    page.keyboard.press("Enter")
    page.wait_for_selector(".view.turn")
    assert "api-review#2" == page.inner_text("h1")
    page.keyboard.press("j")
    until(lambda: "api-review#3" == page.inner_text("h1"))
    page.keyboard.press("k")
    until(lambda: "api-review#2" == page.inner_text("h1"))
    page.keyboard.press("Escape")
    page.wait_for_selector(".turns")
    assert "api-review#2" == page.evaluate("document.activeElement.innerText")
    page.keyboard.press("/")
    until(lambda: "search" == page.evaluate("document.activeElement.id"))
    page.keyboard.type("jk?r")
    assert "jk?r" == page.input_value("#search")
    page.fill("#search", "")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.is_visible("dialog h2")
    page.keyboard.press("j")
    page.keyboard.press("Escape")
    assert not page.is_visible("dialog")
    page.keyboard.press("r")
    page.wait_for_selector(".view.run")
    page.keyboard.press("/")
    until(lambda: "search" == page.evaluate("document.activeElement.id"))


def test_the_focus_can_be_seen_and_reaches_everything(page):
    """Tab goes through real links, fields and buttons, each with an outline and a name."""
    page.keyboard.press("Tab")
    assert "Skip to the content" == page.evaluate("document.activeElement.innerText")
    seen = set()
    for _ in range(16):
        page.keyboard.press("Tab")
        tag, outline, label = page.evaluate(
            "() => { const one = document.activeElement; const style = getComputedStyle(one);"
            " return [one.tagName, style.outlineStyle, (one.innerText || one.ariaLabel || one.closest('label')?.innerText || '')] }"
        )
        assert tag in ("A", "INPUT", "SELECT", "BUTTON")
        assert "none" != outline
        assert label.strip()
        seen.add(tag)
    assert {"A", "INPUT", "SELECT", "BUTTON"} == seen


def background(page):
    return page.evaluate("getComputedStyle(document.body).backgroundColor")


def test_the_theme_is_the_system_s_or_the_one_that_was_chosen(tab, page_file):
    """Auto follows the system; the button goes through auto, light and dark, and the choice is kept."""
    light, dark = tab(color_scheme="light"), tab(color_scheme="dark")
    bright, dim = background(light.open(page_file)), background(dark.open(page_file))
    assert bright != dim
    page = dark.page
    assert "Theme: auto" == page.inner_text("#theme")
    page.click("#theme")
    assert ("Theme: light", bright) == (page.inner_text("#theme"), background(page))
    page.reload()
    page.wait_for_selector("#theme")
    assert ("Theme: light", bright) == (page.inner_text("#theme"), background(page))
    page.keyboard.press("t")
    assert ("Theme: dark", dim) == (page.inner_text("#theme"), background(page))
    page.keyboard.press("t")
    assert "Theme: auto" == page.inner_text("#theme")


def test_without_storage_the_theme_still_changes(tab, page_file):
    """In a frame that has no storage nothing breaks; the choice holds as long as the page."""
    one = tab(color_scheme="light")
    one.page.add_init_script(
        "Object.defineProperty(window, 'localStorage', { get() { throw new DOMException('denied', 'SecurityError') } })"
    )
    page = one.open(page_file)
    before = background(page)
    page.click("#theme")
    page.click("#theme")
    assert "Theme: dark" == page.inner_text("#theme")
    assert before != background(page)


def opened(page, name):
    """Open a turn from the list."""
    page.click(f".turns >> text='{name}'")
    page.wait_for_selector(".view.turn")
    return page


def test_the_link_of_a_turn_can_be_copied(tab, page_file):
    """With the clipboard it is the turn's address; without one the button says where it stands."""
    one = tab(permissions=["clipboard-read", "clipboard-write"])
    page = opened(one.open(page_file), "api-review#1")
    page.click("text=Copy link")
    until(lambda: page.is_visible("text=Copied"))
    assert page.url == page.evaluate("navigator.clipboard.readText()")
    page = tab().page
    page.add_init_script("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.goto(page_file.as_uri())
    opened(page, "api-review#1").click("text=Copy link")
    until(lambda: page.is_visible("text=Copy it from the address bar"))


def test_a_turn_shows_who_saw_and_said_what(page):
    """References stand beside the aggregator; what they saw unfolds; failures and tool calls are there."""
    opened(page, "api-review#2")
    cards = page.locator(".call")
    assert 5 == cards.count()
    first, aggregator = cards.nth(0), cards.nth(4)
    assert first.bounding_box()["x"] < aggregator.bounding_box()["x"]
    assert "verbatim" in first.inner_text()
    assert "Since PostgreSQL 11" in first.inner_text()
    assert "openai.InternalServerError" in cards.nth(3).inner_text()
    assert "failed" in cards.nth(3).inner_text()
    assert 0 == aggregator.locator(".message").count()
    aggregator.locator("summary", has_text="Saw 3 messages").click()
    assert "Draft 2:" in aggregator.locator(".message").nth(2).inner_text()
    page.keyboard.press("Escape")
    opened(page, "api-review#4")
    assert "query_warehouse" in page.inner_text("main")
    assert "select count(*)" in page.inner_text(".tool pre")


def test_the_answer_is_painted_by_colour_line_and_number(page):
    """Each piece that stands in a reference carries its number, and marks differ by more than their colour."""
    opened(page, "api-review#1")
    marks = page.locator(".answer mark")
    kinds = set(marks.evaluate_all("all => all.map((one) => one.className)"))
    assert {"r0", "r1", "r2"} <= kinds
    styles = page.locator(".answer mark").evaluate_all(
        "all => all.map((one) => [one.className, getComputedStyle(one).textDecorationStyle])"
    )
    assert len({style for kind, style in styles if kind in ("r0", "r1", "r2")}) == 3
    assert "with the CPU at 40 % the requests are waiting, not working" in " ".join(
        page.locator(".answer mark.r2").all_inner_texts()
    )
    assert "lexical" in page.inner_text(".legend")


def test_the_timeline_marks_what_failed_what_was_late_and_the_critical_path(page):
    """In words beside the bars, not in colours alone."""
    opened(page, "api-review#2")
    rows = page.locator(".timeline tbody tr")
    assert "critical path" in rows.last.inner_text()
    assert any("failed" in text for text in rows.all_inner_texts())
    page.keyboard.press("j")
    until(lambda: "api-review#3" == page.inner_text("h1"))
    assert any("late" in text for text in page.locator(".timeline tbody tr").all_inner_texts())
    assert 1 <= page.locator(".timeline rect.late").count()


def test_turns_around_and_inside_are_linked(page):
    """From the outer turn to the inner one and back."""
    opened(page, "api-review#6")
    assert page.inner_text(".kin").startswith("Around")
    page.click(".kin a")
    until(lambda: "api-review#5" == page.inner_text("h1"))
    assert page.inner_text(".kin").startswith("Inside")


def test_a_long_text_is_cut_until_it_is_asked_for(tab, tmp_path):
    """The button says how much there is; on paper all of it is there."""
    long = {**SEED, "aggregator": {**SEED["aggregator"], "output": "All of this is an answer. " * 400}}
    report.write(write(tmp_path / "s.jsonl", long), tmp_path / "run.html")
    (tmp_path / "s.jsonl").unlink()  # it is of another schema than every test's lines
    page = tab().open(tmp_path / "run.html")
    page.click(".turns a")
    text = page.locator(".call .prose.cut")
    before = text.bounding_box()["height"]
    page.click("text=Show all 10,400 characters")
    shown = page.locator(".call .prose").last.bounding_box()["height"]
    assert shown > 3 * before
    page.click("text=Show less")
    page.emulate_media(media="print")
    assert page.locator(".call .prose.cut").bounding_box()["height"] > 2 * before


def test_paper_gets_everything_and_no_buttons(page):
    """What is folded is unfolded for printing, and folded again behind it."""
    opened(page, "api-review#1")
    assert not page.is_visible("text=Answer with the help of these drafts.")
    unfold(page)
    page.emulate_media(media="print", color_scheme="dark")
    assert page.is_visible("text=Answer with the help of these drafts.")
    assert not page.is_visible("#theme")
    assert "rgb(255, 255, 255)" == background(page)
    page.evaluate("() => window.dispatchEvent(new Event('afterprint'))")
    assert not page.is_visible("text=Answer with the help of these drafts.")


def test_without_content_the_page_says_so(tab, sampled, tmp_path):
    """Times and comparisons are there, texts are named as withheld."""
    report.write(sampled, tmp_path / "run.html", content=False)
    page = tab().open(tmp_path / "run.html")
    assert "without content" in page.inner_text("main")
    opened(page, "api-review#1")
    assert "not in this report" in page.inner_text(".call")
    assert "verbatim" in page.inner_text(".call")
    assert "garbage" not in page.inner_text("main")


def test_a_split_report_is_used_like_one_page(tab, sampled, tmp_path):
    """The index lists, searches and links; a permalink of the index leads to the page of the turn, and back."""
    report.write(sampled, tmp_path / "web", split=True)
    one = tab()
    page = one.open(tmp_path / "web" / "index.html")
    assert 12 == len(names_of(page))
    page.fill("#search", "gpt-5 quota")
    page.click("text=api-review-2#3")
    page.wait_for_selector(".view.turn")
    assert page.url.partition("#")[0].endswith("session-api-review-2.html")
    assert "api-review-2#3" == page.inner_text("h1")
    turn = read.open(sampled).turn("api-review#4")
    page.goto((tmp_path / "web" / "index.html").as_uri() + f"#t={turn.id}")
    page.wait_for_selector(".view.turn")
    assert "api-review#4" == page.inner_text("h1")
    page.click("text=All sessions")
    page.wait_for_selector(".turns")
    assert 12 == len(names_of(page))
    one.quiet(*[path.as_uri() for path in (tmp_path / "web").iterdir()])


def test_a_turn_that_says_nothing_is_a_page_too(tab, tmp_path):
    """No calls, no times, no text: what is not known is said."""
    line = {"schema": "moa-turn/1", "turn_id": "t-empty", "session_id": None, "outcome": "crashed"}
    report.write(write(tmp_path / "s.jsonl", line), tmp_path / "run.html")
    (tmp_path / "s.jsonl").unlink()
    page = tab().open(tmp_path / "run.html", "#t=t-empty")
    assert "unknown-session#1" == page.inner_text("h1")
    assert "crashed" in page.inner_text("main")
    assert "no calls are told" in page.inner_text("main")
