"""`moa report`: its page, its figures, its codes, and what it says."""

from __future__ import annotations

import gzip
import json

import pytest

from moa_middleware import read, report
from tests.cli.conftest import HOSTILE, plain
from tests.cli.test_ends import one_line
from tests.read.conftest import SEED, write

from .conftest import Page


def test_the_figures_are_those_of_moa_stats(told, desk, sampled):
    """By model, for the whole and under filters, value by value."""
    for number, filters in enumerate(([], ["--failed"], ["--session", "api-review"], ["--model", "gpt-5"])):
        (found,) = told("report", sampled, "-o", f"{number}.html", *filters)
        (stats,) = told("stats", sampled, *filters)
        assert stats == Page(desk / f"{number}.html").run["figures"]["stats"]
        assert found["turns"] == stats["total"]["turns"]
        assert [f"{number}.html"] == found["paths"]
        assert found["size"] == (desk / f"{number}.html").stat().st_size


def test_each_page_of_a_split_report_has_the_figures_of_its_session(told, desk, sampled):
    """They are those of `moa stats --session`."""
    told("report", sampled, "-o", "web", "--split")
    for session in ("api-review", "api-review-2"):
        (stats,) = told("stats", sampled, "--session", session)
        assert stats == Page(desk / "web" / f"session-{session}.html").run["figures"]["stats"]
    (stats,) = told("stats", sampled)
    assert stats == Page(desk / "web" / "index.html").run["figures"]["stats"]


def test_a_line_says_what_was_written(run, sampled, desk):
    """The file to open, how many turns, and the size."""
    done = run("report", sampled, "-o", "run.html", "--title", "Mine")
    assert (0, "") == (done.returncode, done.stderr)
    assert done.stdout.startswith("run.html: 12 turns, ")
    assert "Mine" == Page(desk / "run.html").title
    done = run("report", sampled, "-o", "web", "--split")
    assert done.stdout.startswith("web/index.html and 2 pages beside it: 12 turns, ")


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (["nowhere", "-o", "x.html"], 3, "moa report: nowhere does not exist"),
        (["-o", "x.html"], 3, "MOA_TRACE_DIR is not set"),
        (["@", "-o", "x.html", "--redact", "secrets,names"], 2, "there is no rule 'names'"),
        (["@", "-o", "x.html", "--max-bytes", "much"], 2, "need a size, 64MiB or 20MB say, not 'much'"),
        (["@", "-o", "x.html", "--max-bytes", "20kB"], 2, "more than 20,000: split it"),
        (["@", "-o", "."], 2, "is a directory: name a file, or split the report"),
        (["@", "-o", "mine.txt"], 2, "is there, and is no report: name another file"),
        (["@", "-o", "no/such/x.html"], 2, "there is no directory 'no/such'"),
        (["@", "-o", "-"], 2, "a report is a file and not written to stdout: name one"),
        (["@", "-o", "x.html", "--max-bytes", "9" * 400], 2, "need a size"),
        (["@", "-o", "/proc/x.html"], 3, "/proc/x.html cannot be written: "),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(run, desk, sampled, args, code, says):  # noqa: PLR0917 - fixtures and a table
    """The line names the culprit and the mend, and no page is written."""
    (desk / "mine.txt").write_text("mine")
    assert says in one_line(run("report", *[sampled if arg == "@" else arg for arg in args]), code)
    assert not (desk / "x.html").exists()
    assert "mine" == (desk / "mine.txt").read_text()


def test_without_a_place_there_is_no_report(run, sampled):
    """`-o` must be said: a report holds whole prompts, and goes where it is sent."""
    done = run("report", sampled)
    assert 2 == done.returncode
    assert "--output" in done.stderr


@pytest.mark.parametrize(
    ("size", "bytes_"), [("64MiB", 64 * 2**20), ("20MB", 20_000_000), ("900000", 900_000), ("1.5 GB", 1_500_000_000)]
)
def test_a_size_has_the_units_that_people_write(size, bytes_):
    """Powers of 1,000, or with an i of 1,024."""
    from moa_middleware.cli.report import _bytes

    assert bytes_ == _bytes(size)


def test_no_content_and_redact_reach_the_page(run, desk, sampled):
    """What the options ask for, the page says."""
    assert 0 == run("report", sampled, "-o", "run.html", "--no-content").returncode
    assert Page(desk / "run.html").run["content"] is False
    assert 0 == run("report", sampled, "-o", "run.html", "--redact", "secrets, emails").returncode
    assert ["secrets", "emails"] == Page(desk / "run.html").run["redacted"]


def test_stdin_makes_a_report(run, desk, sampled):
    """Traces may come through a pipe."""
    text = (sampled / "api-review.jsonl").read_text(encoding="utf-8")
    assert 0 == run("report", "-", "-o", "run.html", stdin=text).returncode
    page = Page(desk / "run.html")
    assert 6 == len(page.turns)
    assert "stdin" == page.run["title"]


def test_a_line_that_is_torn_is_said_and_a_file_that_cannot_be_read_ends_with_3(run, desk, sampled):
    """The page is written all the same, from what could be read."""
    write(desk / "s.jsonl", SEED, '{"schema": "moa-turn/1", "output": "brok')
    done = run("report", "s.jsonl", "-o", "run.html")
    assert 0 == done.returncode
    assert "not all could be read: E101 torn-line (1)" in done.stderr
    (desk / "s.jsonl.gz").write_bytes(gzip.compress(b'{"schema": "moa-turn/1"}\n' * 99)[:40])
    done = run("report", "s.jsonl.gz", "-o", "run.html")
    assert 3 == done.returncode
    assert Page(desk / "run.html").run["problem_counts"]


def test_no_turns_are_said(run, desk, sampled):
    """An empty page is no secret."""
    done = run("report", sampled, "-o", "run.html", "--session", "none")
    assert 0 == done.returncode
    assert "no turns in" in done.stderr
    assert "that are asked for" in done.stderr


def test_progress_is_shown_on_a_terminal(terminal, desk, sampled, tmp_path_factory):
    """A report of a large run says how far it is, and takes it back at the end."""
    big = tmp_path_factory.mktemp("big") / "s.jsonl"
    line = json.loads((sampled / "api-review.jsonl").read_bytes().splitlines()[0])
    line["aggregator"]["output"] = "garbage collection pauses " * 4000
    with big.open("w", encoding="utf-8") as file:
        for number in range(400):
            file.write(json.dumps({**line, "turn_id": f"turn-{number:05d}"}) + "\n")
    code, written = terminal("report", big, "-o", desk / "run.html", columns=160).end()
    assert 0 == code
    assert " MB of " in written
    assert plain(written.split("\x1b[K")[-1]).startswith(str(desk / "run.html"))


def test_what_a_file_is_called_cannot_reach_the_terminal(terminal, desk):
    """Names of files and titles are shown as safe text."""
    file = write(desk / "s.jsonl", {**SEED, "session_id": HOSTILE})
    code, written = terminal("report", file, "-o", desk / f"{HOSTILE.replace('/', '')}.html", columns=400).end()
    assert 0 == code
    assert "\x1b]52" not in written
    assert "\\x1b]52" in written


def test_the_library_writes_what_the_command_writes(run, desk, sampled):
    """One reading, in one process or another, makes the same page but for the moment."""
    report.write(read.open(sampled), desk / "one.html")
    run("report", sampled, "-o", "two.html")
    one, two = Page(desk / "one.html"), Page(desk / "two.html")
    assert one.turns == two.turns
    assert {**one.run, "made": 0} == {**two.run, "made": 0}
    assert one.programs == two.programs
