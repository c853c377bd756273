"""Whatever a trace holds: it runs nothing, asks for nothing, and is seen for what it is."""

from __future__ import annotations

import functools
import http.server
import json
import threading

import pytest

from moa_middleware import report
from tests.read.conftest import records, write
from tests.report.conftest import everywhere

from .conftest import go, unfold

pytestmark = pytest.mark.browser

PWN = "window.PWNED=(window.PWNED||0)+1"
HOSTILE = [
    f"</script><script>{PWN}</script>",
    f"<img src=x onerror={PWN}>",
    f"<svg/onload={PWN}>",
    f"<!--<script>{PWN}</script>--><script>/*",
    "</style><style>@import 'http://127.0.0.1:9/x.css';body{display:none}</style>",
    f"\u2028{PWN}\u2029;'\"`${{{PWN}}}",
    "\x1b]52;c;aGk=\x07\x1b[2J\x9b31m\udc80",
    "\u202egnp.exe\u2066\u200f\ufeff\U000e0041",
    f"javascript:{PWN}//http://127.0.0.1:9/",
    '__proto__"]};' + PWN + ';({"constructor": {{turns}} $\' $& </title></textarea>',
]


@pytest.fixture(scope="module")
def hostile(sampled, tmp_path_factory):
    """Return traces that hold a hostile string in every text of every record, ids and names among them."""
    folder = tmp_path_factory.mktemp("hostile")
    lines = records(sampled / "api-review.jsonl")
    made = []
    for place, text in enumerate(HOSTILE):
        one = everywhere(lines[place % len(lines)], text)
        one |= {"turn_id": f"turn {place} {text}", "turns": [f"turn {place - 1} {HOSTILE[place - 1]}"], "outcome": text}
        one["params"] = {text: text}
        made.append(one)
    traces = write(folder / "hostile.jsonl", *made, '{"schema": "moa-turn/1", "output": "brok')
    whole = folder / "run.html"
    report.write(traces, whole, title=" ".join(HOSTILE))
    report.write(traces, folder / "web", split=True, title=HOSTILE[0])
    return folder


def visit(page):
    """Look at every view of a page, with everything unfolded, and do what a person may do with it."""
    links = page.eval_on_selector_all(".turns tbody .what a", "all => all.map((one) => one.getAttribute('href'))")
    for select in page.locator(".filters select").all():
        for option in range(select.locator("option").count()):
            select.select_option(index=option)
        select.select_option(index=0)
    for text in HOSTILE:
        page.fill("#search", text[:40])
    page.fill("#search", "")
    page.wait_for_timeout(350)
    seen = set()
    for href in ["#run", *[one for one in links if one.startswith("#")]]:
        go(page, href)
        page.wait_for_selector(".view.turn, .view.run")
        seen.add(page.inner_text("h1"))
        unfold(page)
        for link in page.eval_on_selector_all("a", "all => all.map((one) => one.getAttribute('href'))"):
            assert link is None or link.startswith(("#", "index.html", "session-")), link
    assert len(seen) == 1 + len([one for one in links if one.startswith("#")])
    return links


def clean(page):
    """Assert that nothing ran, and that nothing is there but what the program makes."""
    assert page.evaluate("() => window.PWNED") is None
    assert (
        0
        == page.locator(
            "img, iframe, object, embed, link, base, style ~ style, [onerror], [onload], [style*=import]"
        ).count()
    )
    assert 1 == page.locator("script:not([type])").count()
    assert "none" != page.evaluate("() => getComputedStyle(document.body).display")


def test_hostile_strings_run_nothing_and_ask_for_nothing(tab, hostile):
    """In each text of each record, on every view, from a disk: one request, no message, nothing run."""
    one = tab()
    path = hostile / "run.html"
    page = one.open(path)
    assert len(HOSTILE) == len(visit(page))
    clean(page)
    one.quiet(path.as_uri())
    assert [path.as_uri()] == one.asked


def test_hostile_strings_on_pages_of_a_split_report(tab, hostile):
    """From the index each link leads to a page of the report, which is as clean."""
    one = tab()
    page = one.open(hostile / "web" / "index.html")
    for href in visit(page):
        page.goto((hostile / "web" / "index.html").as_uri())
        page.wait_for_selector(".turns")
        page.evaluate("(href) => { location.href = href }", href)
        page.wait_for_selector(".view.turn")
        unfold(page)
        clean(page)
    one.quiet(*[path.as_uri() for path in (hostile / "web").iterdir()])


def test_over_a_server_nothing_else_is_asked_for(tab, hostile):
    """Served, not opened from a disk, a page asks for no icon either."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            asked.append(self.path)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(hostile)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        one = tab()
        one.page.goto(f"http://127.0.0.1:{server.server_port}/run.html")
        one.page.wait_for_selector(".turns")
        visit(one.page)
        clean(one.page)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert ["/run.html"] == asked


def test_the_strings_are_hostile(tab, tmp_path):
    """A page that reads markup out of texts, without a policy, is taken over by most of them: the test has teeth."""
    taken = 0
    for place, text in enumerate(HOSTILE):
        path = tmp_path / f"{place}.html"
        data = json.dumps(text).replace("</", "<\\/").replace("<!--", "<\\!--")
        path.write_text(
            "<!doctype html><meta charset=utf-8><title>control</title><main><h1>x</h1><p></p></main>"
            f"<script>const text = {data}; document.querySelector('p').innerHTML = text;"
            "if (text.startsWith('javascript:')) location.href = text;</script>",
            encoding="utf-8",
        )
        one = tab()
        one.page.goto(path.as_uri())
        one.page.wait_for_timeout(100)
        taken += one.page.evaluate("() => window.PWNED") is not None
        one.said.clear()
    raw = tmp_path / "raw.html"
    raw.write_text(
        f"<!doctype html><title>x</title><script type='application/json'>{json.dumps(HOSTILE)}</script>",
        encoding="utf-8",
    )
    one = tab()
    one.page.goto(raw.as_uri())
    assert one.page.evaluate("() => window.PWNED")
    one.said.clear()
    assert taken >= 3


def test_what_cannot_be_seen_is_shown_as_an_escape(tab, hostile):
    """Nothing turns the reading direction or moves a cursor, and an auditor sees each character."""
    page = tab().open(hostile / "run.html")
    shown = page.inner_text("main")
    for char in "\u202e\u2066\u200f\ufeff\x1b\x9b\U000e0041\x07":
        assert char not in shown
    for escape in ("\\u202egnp.exe\\u2066\\u200f\\ufeff\\U000e0041", "\\x1b]52;c;aGk=\\x07\\x1b[2J\\x9b31m\\udc80"):
        assert escape in shown
    assert "\u202e" not in page.title()
    assert "\\u202e" in page.title()
    options = " ".join(page.locator("select[name=session] option").all_inner_texts())
    assert "\\u202egnp.exe" in options
    for text in page.eval_on_selector_all(
        "*", "all => all.flatMap((one) => [...one.attributes].map((it) => it.value))"
    ):
        assert "\u202e" not in text


def test_a_filter_by_a_hostile_name_finds_its_turn(tab, hostile):
    """Names are compared as they are, and shown escaped."""
    page = tab().open(hostile / "run.html")
    select = page.locator("select[name=session]")
    for option in range(1, select.locator("option").count()):
        select.select_option(index=option)
        assert "1 of 10 turns" == page.inner_text(".told")
