"""A page can run nothing but its own program, asks for nothing, and is whole or not there."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import stat

import pytest

from moa_middleware import errors, read, report
from moa_middleware.report import _page
from tests.read.conftest import SEED, write

HOSTILE = (
    "</script><script>alert(1)</script><!--<script>&lt;\u2028\u2029\u202e\ufeff\x07\x1b]52;c;aGk=\x07\x9b\udc80"
    "\U000e0041${x}{{turns}}{{run}}'\"`"
)


def test_no_text_can_leave_the_data(made, desk):
    """Nothing in a data element looks like markup, or breaks a line; the parser gives back the same text."""
    record = {**SEED, "session_id": HOSTILE, "preset": HOSTILE, "aggregator": {**SEED["aggregator"], "output": HOSTILE}}
    page = made(write(desk / "seed.jsonl", record), title=HOSTILE)
    assert HOSTILE == page.run["sessions"][0] == page.run["presets"][0] == page.run["title"]
    assert HOSTILE == page.turns[0]["calls"][-1]["said"]
    assert 1 == len(page.programs)
    assert {"run", "turn-0"} == {attrs["id"] for tag, attrs in page.tags if tag == "script" and "id" in attrs}
    for block in re.findall(
        rb'<script type="application/json" id="[^"]+">(.*)</script>\n', (desk / "run.html").read_bytes()
    ):
        assert not re.search("[<>&\x00-\x1f\x7f-\x9f\u2028-\u202e\ufeff\U000e0041]", block.decode())
    assert "alert" not in "".join(page.programs)


def test_the_title_of_the_window_shows_what_cannot_be_seen(made, sampled):
    """A title cannot turn the reading direction of a browser's tab."""
    page = made(sampled, title="a\u202eb<i>\x07")
    assert "a\\u202eb<i>\\u0007" == page.title


def test_the_policy_names_the_hashes_and_nothing_else(made, sampled):
    """The hashes are those of the one program and the one style, as CSP counts them."""
    page = made(sampled)
    (policy,) = [one["content"] for one in page.metas if one.get("http-equiv") == "Content-Security-Policy"]
    (program,), (style,) = page.programs, page.styles

    def digest(text):
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert policy == (
        f"default-src 'none'; script-src {digest(program)}; style-src {digest(style)}; base-uri 'none'; form-action 'none'"
    )
    assert page.tags.index(("meta", {"http-equiv": "Content-Security-Policy", "content": policy})) < [
        tag for tag, _ in page.tags
    ].index("style")


def test_the_page_names_no_address(made, sampled):
    """No element loads anything, and no attribute holds style or program."""
    page = made(sampled)
    for tag, attrs in page.tags:
        assert tag not in ("img", "link", "iframe", "object", "embed", "base", "form", "audio", "video")
        assert not {name for name in attrs if name.startswith("on") or name in ("style", "src", "srcset")}
    assert not re.search(r"url\(|@import", "".join(page.styles))
    # The name space of SVG is a name, and no address.
    assert [_ for _ in re.findall(r"\w+://[^\s\"']+", "".join(page.programs)) if "w3.org/2000/svg" not in _] == []


BANNED = (
    *(
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "setHTML",
        "DOMParser",
        "createContextualFragment",
    ),
    *("eval(", "new Function", "setAttribute('style'", 'setAttribute("style"', "cssText", "fetch(", "XMLHttpRequest"),
    *(
        "import(",
        "WebSocket",
        "sendBeacon",
        "javascript:",
        "srcdoc",
        ".src =",
        "window.open",
        "postMessage",
        "importScripts",
    ),
)


@pytest.mark.parametrize("name", _page.SCRIPTS)
def test_the_program_makes_elements_and_text_alone(name):
    """None of what reads markup or code out of a text stands in the program, and no file is long."""
    text = (_page.files("moa_middleware.report") / "static" / name).read_text(encoding="utf-8")
    assert [] == [word for word in BANNED if word in text]
    assert not re.search(r"\.on[a-z]+\s*=[^=]", text)
    assert not re.search(r"set(Timeout|Interval)\(\s*[\"'`]", text)
    assert len(text.splitlines()) <= 400


def test_every_file_beside_the_program_is_used():
    """The static files are the template, the style, and the scripts in their order."""
    folder = _page.files("moa_middleware.report") / "static"
    assert {*_page.SCRIPTS, "page.html", "page.css"} == {one.name for one in folder.iterdir()}


# The file ------------------------------------------------------------------------------------------


def test_a_page_is_its_owner_s_alone(made, desk, sampled):
    """Its mode is that of traces, whatever the umask and whatever stood there."""
    made(sampled)
    assert 0o600 == stat.S_IMODE((desk / "run.html").stat().st_mode)
    (desk / "run.html").chmod(0o644)
    made(sampled)
    assert 0o600 == stat.S_IMODE((desk / "run.html").stat().st_mode)
    assert ["run.html"] == [path.name for path in desk.iterdir()]


def test_what_is_no_report_is_not_overwritten(desk, sampled):
    """A trace file that is named by mistake stays, and the error names it."""
    file = write(desk / "s.jsonl", SEED)
    before = file.read_bytes()
    with pytest.raises(errors.QueryError, match=r"s\.jsonl' is there, and is no report"):
        report.write(sampled, file)
    assert before == file.read_bytes()
    (desk / "web").mkdir()
    (desk / "web" / "index.html").write_text("<!doctype html>mine")
    with pytest.raises(errors.QueryError, match="name another directory"):
        report.write(sampled, desk / "web", split=True)
    with pytest.raises(errors.QueryError, match="is a directory"):
        report.write(sampled, desk / "web")
    with pytest.raises(errors.QueryError, match="is no directory"):
        report.write(sampled, file, split=True)
    with pytest.raises(errors.QueryError, match="there is no directory"):
        report.write(sampled, desk / "nowhere" / "run.html")


MARK = '<meta name="generator" content="moa_middleware 1.0">'


@pytest.mark.parametrize(
    "text",
    [
        f"<!doctype html><title>How reports look</title><pre>{MARK}</pre>",
        f'<!doctype html>\n<html lang="en">\n<head>\n<!-- {MARK} -->\n<meta charset="utf-8">\n',
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta name="description" content=\'{MARK}\'>\n',
        f'<!doctype html>\n<html lang="en">\n<head>\n<title>{MARK}</title>\n',
        f'<!doctype html>\n<html lang="en">\n<head></head>\n<body>{MARK}\n',
        f"{MARK}\n",
        f"notes\n<!doctype html>\n<html>\n<head>\n{MARK}\n",
        "",
    ],
    ids=["text", "comment", "attribute", "title", "body", "bare", "quoted page", "empty"],
)
@pytest.mark.parametrize("split", [False, True], ids=["one", "split"])
def test_a_page_that_only_quotes_the_mark_is_not_ours(text, split, desk, sampled):
    """The mark counts as an element of the head, where our pages have it; so nothing is replaced or removed."""
    (desk / "web").mkdir()
    names = ("index.html", "session-api-review.html", "session-old.html") if split else ("run.html",)
    for name in names[-1:] if split else names:
        (desk / "web" / name).write_text(text)
    if split:
        report.write(sampled, desk / "web", split=True)
        assert text == (desk / "web" / "session-old.html").read_text()
        for name in names[:2]:
            (desk / "web" / name).write_text(text)
            with pytest.raises(errors.QueryError, match="is no report"):
                report.write(sampled, desk / "web", split=True)
            assert text == (desk / "web" / name).read_text()
            (desk / "web" / name).unlink()
        return
    with pytest.raises(errors.QueryError, match="is no report"):
        report.write(sampled, desk / "web" / "run.html")
    assert text == (desk / "web" / "run.html").read_text()


def test_a_page_that_is_put_there_while_others_are_written_stays(desk, sampled):
    """A report takes a while; what came to its place meanwhile is not replaced."""
    put = []

    def meanwhile(_size):
        (desk / "run.html").write_text("mine")
        put.append(True)

    with pytest.raises(errors.QueryError, match="is not a report"):
        report.write(sampled, desk / "run.html", progress=meanwhile)
    assert put
    assert "mine" == (desk / "run.html").read_text()
    assert ["run.html"] == [path.name for path in desk.iterdir()]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes")
def test_a_pipe_in_the_place_of_a_report_is_not_waited_for(desk, sampled):
    """It is no report; to look into it would wait for ever."""
    os.mkfifo(desk / "pipe")
    with pytest.raises(errors.QueryError, match="is no report"):
        report.write(sampled, desk / "pipe")


def test_a_link_to_a_report_is_replaced_and_not_what_it_leads_to(desk, sampled):
    """What a link leads to may be somebody's."""
    report.write(sampled, desk / "old.html")
    before = (desk / "old.html").read_bytes()
    (desk / "run.html").symlink_to(desk / "old.html")
    report.write(sampled, desk / "run.html", title="new")
    assert before == (desk / "old.html").read_bytes()
    assert not (desk / "run.html").is_symlink()


def test_a_report_may_stand_among_its_traces(desk, lines_of_seed):
    """It is no trace, and is not read as one."""
    traces = desk / "traces"
    for to, split in (("run.html", False), (".", True)):
        found = report.write(traces, traces / to, split=split)
        assert 2 == found.turns
    assert [] == list(read.open(traces).problems)


@pytest.fixture
def lines_of_seed(desk):
    (desk / "traces").mkdir()
    return write(desk / "traces" / "s.jsonl", SEED, {**SEED, "ts": SEED["ts"] + 1})


def test_a_page_that_would_be_too_large_is_not_written(desk, sampled):
    """The error names both sizes and the mends; what stood there before stays, and nothing else is left."""
    report.write(sampled, desk / "run.html")
    before = (desk / "run.html").read_bytes()
    with pytest.raises(errors.ReportSizeError, match=r"[\d,]+ bytes, more than 50,000: split it .*--no-content"):
        report.write(sampled, desk / "run.html", max_bytes=50_000)
    with pytest.raises(errors.ReportSizeError) as caught:
        report.write(sampled, desk / "run.html", max_bytes=50_000, content=False)
    assert "--no-content" not in str(caught.value)
    assert before == (desk / "run.html").read_bytes()
    assert ["run.html"] == [path.name for path in desk.iterdir()]
    size = len(before)
    # The moment when it is made has more digits or fewer.
    assert abs(size - report.write(sampled, desk / "run.html", max_bytes=size + 100).size) < 20


def test_a_reading_that_is_interrupted_leaves_the_old_page(desk, sampled):
    """Ctrl-C in the middle, here from the progress, leaves no half page and no other file."""
    report.write(sampled, desk / "run.html")
    before = (desk / "run.html").read_bytes()

    def interrupt(done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        report.write(sampled, desk / "run.html", progress=interrupt)
    assert before == (desk / "run.html").read_bytes()
    assert ["run.html"] == [path.name for path in desk.iterdir()]


def test_progress_is_told_to_the_end(desk, sampled):
    """The bytes that are read come to the size of the files."""
    told = []
    report.write(sampled, desk / "run.html", progress=told.append)
    whole = sum(path.stat().st_size for path in sampled.glob("*.jsonl"))
    assert abs(told[-1] - whole) < 100
