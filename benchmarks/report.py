"""
How long a report takes to be written and to be opened in headless Chromium.

    uv run --group browser python -m benchmarks.report
    uv run --group browser python -m benchmarks.report --turns 500 --kb 116 --split-turns 10000

First one page: turns with four references and an aggregator, of so many kB of the page each. Then many
short turns in 100 sessions, as a split report: its index, its search, and one page of a session. Times
are medians of five openings, in a fresh context each, from the start of the navigation: until rows of
the list are drawn, and until the whole file is read.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
import uuid
from pathlib import Path

from moa_middleware import report
from tests.support.chromium import launched

from .reading import call, words

OPENINGS = 5
SESSIONS = 100
TIMES = """() => {
  const [load] = performance.getEntriesByType("navigation");
  return [performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? 0, load.loadEventEnd];
}"""
OPEN_TURN = """(hash) => new Promise((done) => {
  const began = performance.now();
  addEventListener("hashchange", () => requestAnimationFrame(() => setTimeout(() => done(performance.now() - began))), { once: true });
  location.hash = hash;
})"""
SEARCH = """(text) => {
  const field = document.getElementById("search");
  const began = performance.now();
  field.value = text;
  field.dispatchEvent(new Event("input"));
  document.body.getBoundingClientRect();
  return [performance.now() - began, document.querySelector(".told").innerText];
}"""


def write(folder, turns, size, sessions):
    """Write turns whose part of a page is about so many bytes."""
    rng = random.Random(1)  # noqa: S311 - texts, no secrets
    piece = size // 11
    pool = [words(rng, max(40, piece)) for _ in range(400)]
    files = [(folder / f"s-{number}.jsonl").open("w", encoding="utf-8") for number in range(sessions)]
    for number in range(turns):
        session = number * sessions // turns
        started = 1_790_000_000.25 + 10 * number
        answers = rng.sample(pool, 5)
        asked = [{"role": "user", "content": f"Question {number}: {rng.choice(pool)}"}]
        told = [*asked, {"role": "user", "content": "\n\n".join(answers[:4])}]
        record = {
            "schema": "moa-turn/1",
            "ts": started + 6,
            "turn_id": str(uuid.uuid4()),
            "session_id": f"s-{session}",
            "preset": ("quick", "deep")[number % 2],
            "outcome": "completed",
            "started_at": started,
            "ended_at": started + 6,
            "duration_ms": 6000.5,
            "input_messages": asked,
            "output": answers[4],
            "references": [call("reference", place, asked, answers[place], started) for place in range(4)],
            "aggregator": call("aggregator", 4, told, answers[4], started + 3),
        }
        files[session].write(json.dumps(record, ensure_ascii=False) + "\n")
    for file in files:
        file.close()
    return sum(path.stat().st_size for path in folder.iterdir())


def opened(browser, path):
    """Return the medians until the list is drawn and until all is read, in ms, and the last page."""
    drawn, read = [], []
    for number in range(OPENINGS):
        context = browser.new_context(viewport={"width": 1240, "height": 860})
        page = context.new_page()
        page.goto(path.as_uri())
        page.wait_for_selector(".turns tbody tr")
        first, whole = page.evaluate(TIMES)
        drawn.append(first)
        read.append(whole)
        if number < OPENINGS - 1:
            context.close()
    return statistics.median(drawn), statistics.median(read), page


def one_page(browser, desk, turns, kilobytes):
    """One page of large turns."""
    traces = desk / "large"
    traces.mkdir()
    size = write(traces, turns, kilobytes * 1000, 1)
    began = time.perf_counter()
    found = report.write(traces, desk / "run.html", max_bytes=10**10)
    took = time.perf_counter() - began
    print(
        f"one page: {turns:,} turns with 4 references, {size / 1e6:.1f} MB of traces, {found.size / 1e6:.1f} MB of page"
    )
    print(f"  written in {took:.1f} s")
    drawn, read, page = opened(browser, desk / "run.html")
    print(f"  list drawn after {drawn:.0f} ms, all read after {read:.0f} ms")
    hashes = page.eval_on_selector_all(".turns a", "all => all.map((one) => one.getAttribute('href'))")
    turn = statistics.median(page.evaluate(OPEN_TURN, one) for one in hashes[1:8])
    print(f"  a turn opened in {turn:.0f} ms")
    page.context.close()


def split(browser, desk, turns):
    """Many short turns, split."""
    traces = desk / "many"
    traces.mkdir()
    size = write(traces, turns, 4000, SESSIONS)
    began = time.perf_counter()
    found = report.write(traces, desk / "web", split=True)
    took = time.perf_counter() - began
    index = found.paths[0].stat().st_size
    print(f"split: {turns:,} turns with 4 references in {SESSIONS} sessions, {size / 1e6:.1f} MB of traces")
    print(
        f"  {len(found.paths)} files of {found.size / 1e6:.1f} MB written in {took:.1f} s, the index {index / 1e6:.1f} MB"
    )
    drawn, read, page = opened(browser, found.paths[0])
    print(f"  index: list drawn after {drawn:.0f} ms, all read after {read:.0f} ms")
    for text in ("q", "question 77", "deep model-3", ""):
        took, told = page.evaluate(SEARCH, text)
        print(f"  search {text!r}: {took:.0f} ms, {told}")
    page.context.close()
    drawn, read, page = opened(browser, found.paths[1])
    print(f"  page of a session: list drawn after {drawn:.0f} ms, all read after {read:.0f} ms")
    page.context.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=500, help="of the one page; default 500")
    parser.add_argument("--kb", type=int, default=116, help="kB of the page for each of them, about; default 116")
    parser.add_argument("--split-turns", type=int, default=10_000, help="of the split report; default 10000")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, launched() as browser:
        one_page(browser, Path(name), options.turns, options.kb)
        split(browser, Path(name), options.split_turns)


if __name__ == "__main__":
    main()
