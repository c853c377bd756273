"""Addresses, figures and moments that nobody thought of: the page stands."""

from __future__ import annotations

import http.server
import re
import threading

import pytest

from moa_middleware import report
from tests.read.conftest import SEED, write

from .conftest import go, names_of, until

pytestmark = pytest.mark.browser

LINE = {"schema": "moa-turn/1", "turn_id": "t", "session_id": "s", "outcome": "completed"}


@pytest.mark.parametrize(
    "address", ["#sort=__proto__", "#sort=hasOwnProperty", "#session=__proto__&state=constructor", "#main", "#%E0%A4%A"]
)
def test_an_odd_address_breaks_nothing(tab, page_file, address):
    """Whatever stands behind `#` in a link, a list is drawn, and nothing is said."""
    page = tab().open(page_file, address)
    assert page.is_visible("#search")


def test_who_leaves_while_typing_is_not_taken_back(page):
    """Filters are remembered a moment after the last letter; a turn that was opened before stays open."""
    page.evaluate(
        "() => { const search = document.getElementById('search'); search.value = 'api-review-2';"
        " search.dispatchEvent(new Event('input')); document.querySelectorAll('.turns tbody a')[1].click(); }"
    )
    until(lambda: "api-review-2#2" == page.inner_text("h1"))
    page.wait_for_timeout(400)
    assert "api-review-2#2" == page.inner_text("h1")
    page.go_back()
    page.wait_for_selector(".turns")
    assert 6 == len(names_of(page))
    assert "api-review-2" == page.input_value("#search")


def test_after_a_search_the_first_turn_is_the_first(page):
    """`j` begins anew in what was found."""
    for _ in range(3):
        page.keyboard.press("j")
    page.fill("#search", "api-review-2")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    assert "api-review-2#1" == page.evaluate("document.activeElement.innerText")


def test_a_reason_of_another_writer_is_a_text(tab, tmp_path):
    """Also one that every object has a property of."""
    line = {**LINE, "omitted": {"output": {"reason": "constructor"}, "params": {"reason": "__proto__"}}}
    report.write(write(tmp_path / "s.jsonl", line), tmp_path / "run.html")
    (tmp_path / "s.jsonl").unlink()
    page = tab().open(tmp_path / "run.html", "#t=t")
    assert ["output: withheld, constructor", "params: withheld, __proto__"] == [
        text.strip() for text in page.locator(".withheld").all_inner_texts()[:2]
    ]


def test_failures_that_asked_no_model_are_no_part_of_the_calls(tab, tmp_path):
    """A budget refused them: there is no share of nothing."""
    refused = {"label": "a", "model": "m", "outcome": "error", "source": "middleware", "error": {"type": "E"}}
    report.write(write(tmp_path / "s.jsonl", {**LINE, "references": [refused]}), tmp_path / "run.html")
    (tmp_path / "s.jsonl").unlink()
    page = tab().open(tmp_path / "run.html")
    assert "1 failed" in page.inner_text(".turns tbody")
    go(page, "#run")
    assert "Infinity" not in page.inner_text("main")
    assert "1" == page.inner_text(".models tbody data[data-figure=failed]")


def test_a_call_that_never_ended_is_not_called_late(tab, tmp_path):
    """Late is what ended after its turn."""
    call = {"label": "a", "model": "m", "outcome": None, "source": "provider"}
    report.write(write(tmp_path / "s.jsonl", {**LINE, "references": [call]}), tmp_path / "run.html")
    (tmp_path / "s.jsonl").unlink()
    assert "1 of 1 never ended" in tab().open(tmp_path / "run.html").inner_text(".turns tbody")


def test_figures_of_any_size_are_shown(tab, tmp_path):
    """Tokens to the last figure; a price that no sum could hold is unknown, and nothing breaks."""
    call = {"label": "a", "model": "m", "output": "x", "cost_usd": 1e308, "usage": {"input_tokens": 2**53 + 1}}
    source = write(tmp_path / "s.jsonl", {**LINE, "references": [call, {**call, "usage": {}}]})
    report.write(source, tmp_path / "run.html")
    (tmp_path / "s.jsonl").unlink()
    page = tab().open(tmp_path / "run.html", "#run")
    assert "9,007,199,254,740,993" == page.inner_text(".models tbody data[data-figure=input_tokens]")
    assert "unknown" in page.inner_text(".models tbody")
    go(page, "#t=t")
    assert "9,007,199,254,740,993" in page.inner_text(".strip")


def test_a_call_that_told_no_tokens_has_no_share_of_them(tab, tmp_path):
    """Unknown is not nothing."""
    call = {"label": "a", "model": "m", "output": "x", "usage": {"input_tokens": 5, "output_tokens": 5}}
    source = write(tmp_path / "s.jsonl", {**LINE, "references": [call, {**call, "usage": {}}]})
    report.write(source, tmp_path / "run.html")
    (tmp_path / "s.jsonl").unlink()
    page = tab().open(tmp_path / "run.html", "#t=t")
    shares = [row.inner_text().split("\t")[5] for row in page.query_selector_all(".figures tbody tr")]
    assert ["100 %", "\u2013"] == shares
    assert "1 call told no tokens." in page.inner_text("main")


def test_a_bar_ends_where_its_call_ended_though_it_began_before_the_turn(tab, tmp_path):
    """A clock that was set back draws no longer bar."""
    call = {"label": "a", "model": "m", "outcome": "completed", "started_at": 90.0, "ended_at": 105.0}
    line = {**LINE, "started_at": 100.0, "ended_at": 110.0, "duration_ms": 10_000, "references": [call]}
    report.write(write(tmp_path / "s.jsonl", line), tmp_path / "run.html")
    (tmp_path / "s.jsonl").unlink()
    page = tab().open(tmp_path / "run.html", "#t=t")
    assert ("0.000%", "50.000%") == tuple(
        page.locator(".timeline rect.span").evaluate("one => [one.getAttribute('x'), one.getAttribute('width')]")
    )


def test_the_legend_says_what_is_painted(tab, tmp_path):
    """Words only in this reference, in several, in none: they make up the answer."""
    words = [f"w{number}" for number in range(30)]
    said = [words[:17], words[9:22], words[3:9]]
    line = {
        **SEED,
        "aggregator": {**SEED["aggregator"], "output": " ".join(words)},
        "references": [
            {**SEED["references"][0], "label": f"ref-{n}", "output": " ".join(one)} for n, one in enumerate(said)
        ],
    }
    report.write(write(tmp_path / "s.jsonl", line), tmp_path / "run.html")
    (tmp_path / "s.jsonl").unlink()
    page = tab().open(tmp_path / "run.html")
    page.click(".turns a")
    page.wait_for_selector(".legend")
    entries = page.locator(".legend li").all_inner_texts()
    shares = [int(re.search(r"(\d+) %$", text.strip())[1]) for text in entries]
    assert 100 == sum(shares)
    painted = page.locator(".answer").evaluate(
        "node => [...node.childNodes].map((one) => [one.className || '', (one.lastChild || one).textContent.split(/ +/).filter(Boolean).length])"
    )
    for kind, share in zip(("r0", "r1", "r2", "several", ""), shares, strict=True):
        assert abs(100 * sum(count for name, count in painted if name == kind) / 30 - share) < 1
    assert ["only in", "only in", "only in", "in", "in no reference"] == [
        re.match(r"only in|in no reference|in", text)[0] for text in entries
    ]


class _Halves(http.server.BaseHTTPRequestHandler):
    """Sends a page in two pieces."""

    def do_GET(self):
        first, rest = self.server.halves
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(first) + len(rest)))
        self.end_headers()
        self.wfile.write(first)
        self.wfile.flush()
        self.server.go_on.wait(30)
        self.wfile.write(rest)

    def log_message(self, *args):
        pass


def test_a_turn_of_which_half_has_come_is_waited_for(tab, tmp_path):
    """Over a slow network an element may be there before its text: nothing breaks, and it is shown when it is whole."""
    line = {**SEED, "aggregator": {**SEED["aggregator"], "output": "All of this is an answer. " * 40_000}}
    found = report.write(write(tmp_path / "s.jsonl", line), tmp_path / "run.html")
    (tmp_path / "s.jsonl").unlink()
    whole = found.paths[0].read_bytes()
    cut = whole.index(b'id="turn-0"') + 600_000
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Halves)
    server.halves, server.go_on = (whole[:cut], whole[cut:]), threading.Event()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        page = tab().page
        page.goto(f"http://127.0.0.1:{server.server_port}/", wait_until="commit")
        page.wait_for_selector(".turns a")
        until(lambda: page.evaluate("() => (document.getElementById('turn-0')?.textContent.length || 0) > 0"))
        page.click(".turns a")
        until(lambda: page.is_visible("text=This turn is still being loaded"))
        server.go_on.set()
        page.wait_for_selector(".view.turn")
    finally:
        server.go_on.set()
        server.shutdown()
        server.server_close()
        thread.join()
