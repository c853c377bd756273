"""What must not be shown is nowhere in the bytes of a report."""

from __future__ import annotations

import json

import pytest

from moa_middleware import errors, read, report
from tests.read.conftest import records, write

from .conftest import Page, everywhere

KEY = "sk-proj-abcd1234efgh5678ijkl9012"
MAIL = "somebody@example.com"
PHONE = "+49 30 1234567"
ALL = "secrets,emails,phones"


@pytest.fixture
def lines(sampled):
    """Return a record with a failed reference, and its session's others."""
    return records(sampled / "api-review.jsonl")


@pytest.mark.parametrize("split", [False, True], ids=["one", "split"])
@pytest.mark.parametrize("value", [KEY, MAIL, PHONE], ids=["secret", "email", "phone"])
def test_nothing_that_a_rule_takes_is_in_a_redacted_report(lines, desk, value, split):
    """Neither in texts, nor in names, keys, ids, titles, problems, or names of pages."""
    traces = desk / f"{value} traces"
    traces.mkdir()
    write(traces / f"{value}.jsonl", *[everywhere(one, value) for one in lines[:3]], f"no JSON: {value}")
    to = desk / "out"
    report.write(traces, to, title=f"of {value}", split=split)
    paths = list(to.iterdir()) if split else [to]
    bare = value.encode()
    assert any(bare in path.read_bytes() for path in paths), "the rules would have nothing to do"
    found = report.write(traces, to, title=f"of {value}", split=split, redact=ALL)
    for path in found.paths:
        assert bare not in path.read_bytes()
        assert value not in path.name
        assert value.replace(" ", "").encode() not in path.read_bytes().replace(b" ", b"")
    if split:
        assert {path.name for path in found.paths} == {path.name for path in to.iterdir()}


def test_redaction_leaves_the_figures_alone(made, desk, lines):
    """How references compare is worked out on what was recorded, and so are all figures."""
    source = write(desk / "s.jsonl", *[everywhere(one, KEY) for one in lines[:3]])
    bare, redacted = made(source, "bare.html"), made(source, "redacted.html", redact=["secrets"])
    assert ["secrets"] == redacted.run["redacted"]
    assert bare.run["figures"]["stats"]["total"] == redacted.run["figures"]["stats"]["total"]
    for one, other in zip(bare.turns, redacted.turns, strict=True):
        for call, same in zip(one["calls"], other["calls"], strict=True):
            for key in ("ms", "usd", "fidelity", "covered", "unique", "start", "length"):
                assert call.get(key) == same.get(key) or key == "length"
        assert "".join(text for text, _ in one["answer"]).replace(KEY, "[secret]") == "".join(
            text for text, _ in other["answer"]
        )


SENTINEL = "zyxwvut-sentinel"
WORDS = ("garbage", "latency", "Retry-After", "catalog", "overloaded", 'query_warehouse", "arguments')


@pytest.mark.parametrize("split", [False, True], ids=["one", "split"])
def test_without_content_no_text_of_anybody_is_there(lines, desk, split):
    """Only names, times, counts and prices; names of tags and parameters stay, as they do in MOA_CAPTURE=metadata."""
    record = everywhere(lines[1], SENTINEL)
    # What stays by intention: see the page on privacy.
    keep = {"session_id": "s", "preset": "p", "writer": lines[1]["writer"], "trace_context": None, "omitted": {}}
    record |= {**keep, "tags": {"team": SENTINEL, "many": {SENTINEL: 1}}, "params": {"stop": [SENTINEL], "n": 2}}
    record["turns"], record["parent_turn_id"] = [], None
    for place, call in enumerate([*record["references"], record["aggregator"], *record["calls"]]):
        call |= {
            "label": f"l{place}",
            "model": "m",
            "provider": "x",
            "role": call["role"].split()[-1],
            "finish_reason": "stop",
        }
        call |= {"role_source": "tag", "response_model": "m", "cost_source": "provider", "params_omitted": ["api_key"]}
        call["params"] = {"stop": SENTINEL, "n": 1}
    source = write(desk / "s.jsonl", record, *lines[2:])
    found = report.write(source, desk / "out", split=split, content=False)
    for path in found.paths:
        # The program has words of its own.
        data = path.read_text(encoding="utf-8").replace(Page(path).programs[0], "")
        assert SENTINEL not in data
        for word in WORDS:
            assert word not in data
        for line in lines[1:]:
            for message in line["input_messages"] or ():
                assert message["content"][:30] not in data
        assert '"team"' in data or path.name == "index.html"


def test_without_content_the_comparisons_are_there(made, sampled):
    """Fidelity, overlap, times and prices are the same as with it."""
    whole, bare = made(sampled, "whole.html"), made(sampled, "bare.html", content=False)
    assert bare.run["content"] is False
    assert whole.run["figures"] == bare.run["figures"]
    assert whole.run["grid"] == bare.run["grid"]
    for one, other in zip(whole.turns, bare.turns, strict=True):
        assert other["answer"] is None
        assert one["overlap"] == other["overlap"]
        for call, same in zip(one["calls"], other["calls"], strict=True):
            assert (call.get("fidelity"), call["length"], call["usd"]) == (
                same.get("fidelity"),
                same["length"],
                same["usd"],
            )


@pytest.mark.parametrize("name", [f"a.jsonl.{MAIL}", f"{MAIL}.jsonl", f"{MAIL}.jsonl.gz", f"{KEY}"])
def test_the_whole_name_of_a_file_is_redacted(desk, lines, name):
    """Also what stands behind `.jsonl` in it."""
    write(desk / name, lines[0])
    report.write(desk / name, desk / "run.html", redact=ALL)
    told = (desk / "run.html").read_text()
    assert MAIL not in told
    assert KEY not in told


def test_without_content_odd_keys_bring_none_in(desk, lines):
    """What another writer put where this one has words: paths and reasons, spans, a schema that is not known."""
    record = lines[0] | {
        "omitted": {SENTINEL: {"reason": SENTINEL, "bytes": 3}, f"output.{SENTINEL}": {"reason": "limit", "bytes": 4}},
        "trace_context": {"trace_id": "1f", SENTINEL: SENTINEL},
    }
    source = write(desk / "s.jsonl", record, {"schema": f"x-{SENTINEL}"})
    found = report.write(source, desk / "run.html", content=False)
    assert SENTINEL not in found.paths[0].read_text()
    page = Page(found.paths[0])
    assert [["?", "?", 3], ["output", "limit", 4]] == page.turns[0]["omitted"]
    assert [["trace_id", "1f"]] == page.turns[0]["trace"]
    assert ["E106"] == [one["code"] for one in page.run["problems"]]


def test_an_unknown_rule_is_an_error_before_anything_is_read(sampled, desk):
    """A typing error never leads to a report that is not redacted."""
    with pytest.raises(errors.QueryError, match="there is no rule 'secret': need one of secrets, emails, phones"):
        report.write(sampled, desk / "run.html", redact="secret")
    assert not (desk / "run.html").exists()


def test_a_report_names_no_directory(made, sampled):
    """It is shown to others: of files only the names stand in it."""
    page = made(sampled)
    assert {"api-review.jsonl", "api-review-2.jsonl"} == set(page.run["files"])
    assert "traces" == page.run["title"]
    assert str(sampled.parent) not in json.dumps([page.run, page.turns])


def test_problems_are_told_without_directories(made, desk, lines):
    """A torn line is named by its code and its file's name."""
    source = write(desk / "s.jsonl", lines[0], json.dumps(lines[1])[:500])
    page = made(source)
    assert [["E101", "torn-line", 1]] == page.run["problem_counts"]
    assert [("E101", "s.jsonl", 2)] == [(one["code"], one["file"], one["line"]) for one in page.run["problems"]]
    assert 1 == len(read.open(source).problems)
