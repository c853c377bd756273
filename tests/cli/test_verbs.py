"""What each verb shows: the reader's figures, on a terminal of any width and as JSON."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import jsonschema
import pytest
from rich.cells import cell_len

from moa_middleware import read
from moa_middleware.cli._verbs import VERBS
from tests.read.conftest import SEED

from .conftest import SAID, plain, send, write_traces

WIDTHS = (60, 80, 140)


def alike(value):
    """Return a result of the reader as JSON brings it back."""
    return json.loads(json.dumps(read.to_jsonable(value)))


def shown(terminal, *args, columns=80):
    """Return the lines that a terminal shows, none of which is wider than it."""
    code, written = terminal(*args, columns=columns).end()
    assert 0 == code, written
    lines = plain(written).split("\n")
    assert max(map(len, lines)) <= columns
    return lines


# ls -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_list_has_the_newest_turn_last(terminal, written, columns):
    """Name, time, calls and cost stand there at any width, the question where there is room."""
    head, *rows = [line for line in shown(terminal, "ls", written, columns=columns) if line]
    assert ["s-0#1", "s-1#1", "s-0#2", "s-1#2", "s-0#3", "s-1#3"] == [row.split()[1] for row in rows]
    assert "4, 1 failed" in rows[1]
    assert "4, 1 late" in rows[2]
    assert all(">= $0." in row for row in rows)
    assert (columns == 140) is ("QUESTION" in head)


def test_a_list_as_json_is_one_object_a_line(told, written):
    """Each object has the reader's figures of its turn, in the order of time."""
    found = told("ls", written)
    turns = sorted(read.open(written).turns(), key=lambda turn: turn.at)
    assert [turn.id for turn in turns] == [one["id"] for one in found]
    for one, turn in zip(found, turns, strict=True):
        assert alike(turn.cost) == one["cost"]
        assert (turn.name, turn.failed_calls, turn.late_calls) == (one["name"], one["failed_calls"], one["late_calls"])


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["-n", "2"], ["s-0#3", "s-1#3"]),
        (["-n", "0"], ["s-0#1", "s-0#2", "s-0#3", "s-1#1", "s-1#2", "s-1#3"]),
        (["--session", "s-1"], ["s-1#1", "s-1#2", "s-1#3"]),
        (["--preset", "duo", "--failed"], []),
        (["--failed"], ["s-1#1"]),
        (["--model", "ref-*", "--since", "1h", "-n", "1"], ["s-1#3"]),
        (["--until", "2020-01-01"], []),
        (["--min-cost", "0.02"], ["s-0#1", "s-1#1", "s-0#2", "s-1#2", "s-0#3", "s-1#3"]),
        (["--min-cost", "9"], []),
    ],
)
def test_a_list_can_be_narrowed(told, written, options, names):
    """The filters are the reader's."""
    assert names == [one["name"] for one in told("ls", written, *options)]


def test_the_dearest_and_the_slowest_come_last(told, written):
    """`--sort` tells by what the last ones are chosen."""
    turns = list(read.open(written).turns())
    for sort, key in (("cost", lambda turn: turn.cost.known_usd), ("duration", lambda turn: turn.duration_ms)):
        values = sorted(map(key, turns))[-3:]
        names = [one["name"] for one in told("ls", written, "--sort", sort, "-n", "3")]
        assert values == [key(turn) for name in names for turn in turns if turn.name == name]


# show ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_turn_has_a_waterfall_and_what_became_of_its_references(terminal, written, columns):
    """Bars on one scale with marks for failed and late calls; prices with shares, fidelity and overlap."""
    text = "\n".join(shown(terminal, "show", "s-0#2", written, columns=columns))
    assert re.search(r"✓ ref 0  ref-a +█+ ", text)
    assert re.search(r"~ ref 1  ref-b +█+ ", text)
    assert re.search(r"✓ agg  agg +[░█]+ ", text)
    assert re.search(r"✓  ref 0 ref-a .*\$0\.0083 .*29 % .* verbatim .*%", text)
    assert re.search(r"~  ref 1 ref-b .*\? \(late\)", text)
    assert ">= $0.0289 (1 unpriced)" in text
    assert "in no reference" in " ".join(text.split())
    assert SAID["agg"] in " ".join(text.split())
    failed = "\n".join(shown(terminal, "show", "s-1#1", written, columns=columns))
    assert re.search(r"✗ ref 2  ref-c +█+ ", failed)
    assert "InternalServerError" in failed


def test_a_bar_begins_and_ends_where_its_call_did(run, written):
    """The aggregator's bar begins right of where the last reference that it waited for ends."""
    turn = read.open(written).turn("s-0#1")
    text = run("show", "s-0#1", written).stdout
    end = max(turn.duration_ms, *(span.end_ms for span in turn.timeline()))
    for place, call in enumerate(turn.references):
        row = re.search(rf"^. ref {place}  {call.label} +", text, re.MULTILINE)
        bar = text[row.start() :].split("\n")[0]
        room = bar.count("█")
        assert abs(room - 60 * call.duration_ms / end) < 66 * 0.5, bar
    agg = next(line for line in text.split("\n") if " agg  agg" in line)
    refs = [line for line in text.split("\n") if re.match(r". ref \d", line)]
    last = max(line.rindex("█") for line in refs)
    assert re.search("[░█]", agg).start() >= last


def test_a_turn_as_json_is_what_the_reader_has(told, written):
    """The record whole, and what follows from it."""
    turn = read.open(written).turn("s-0#2")
    (found,) = told("show", turn.id[:30], written)
    assert alike(turn)["record"] == found["record"]
    assert alike(turn.fidelity()) == found["fidelity"]
    assert alike(turn.overlap()) == found["overlap"]
    assert alike(turn.cost) == found["cost"]
    assert [span.start_ms for span in turn.timeline()] == [span["start_ms"] for span in found["timeline"]]
    assert [call.call_id for call in turn.requests] == sorted(
        (span["call_id"] for span in found["timeline"]), key=[call.call_id for call in turn.requests].index
    )


def test_a_call_as_json_is_that_call_alone(told, written):
    """With the name of its turn, and without the others."""
    (found,) = told("show", "s-0#1", written, "--call", "ref:1")
    assert {"turn": "s-0#1", **alike(read.open(written).turn("s-0#1").references[1])} == found


def test_whole_texts_and_inputs_are_shown_when_asked_for(run, written):
    """What each model saw and said, of all calls or of one."""
    text = run("show", "s-0#1", written, "--full", "--inputs").stdout
    assert text.count("saw system\nWeigh these:") == 1
    assert all(said in text for said in SAID.values())
    one = run("show", "s-0#1", written, "--call", "ref:1").stdout
    assert SAID["ref-b"] in one
    assert SAID["ref-a"] not in one
    call = read.open(written).turn("s-0#1").references[1]
    assert one == run("show", "s-0#1", written, "--call", call.call_id).stdout


def test_the_raw_line_goes_into_a_pipe_and_to_no_terminal(run, terminal, written):
    """`--raw` is the line's own bytes."""
    line = (written / "s-0.jsonl").read_text(encoding="utf-8").split("\n")[0]
    assert f"{line}\n" == run("show", "s-0#1", written, "--raw").stdout
    code, text = terminal("show", "s-0#1", written, "--raw").end()
    assert (2, True) == (code, "not for a terminal" in text)


def test_a_path_alone_shows_its_last_turn(run, written):
    """`moa show traces/` means the last turn there."""
    assert run("show", "last", written).stdout == run("show", written).stdout


@pytest.mark.parametrize("more", [{"PYTHONIOENCODING": "ascii"}, {"TERM": "dumb"}])
def test_poor_terminals_do(terminal, written, more):
    """ASCII alone has marks and bars of its own."""
    code, text = terminal("show", "s-1#1", written, **more).end()
    assert 0 == code
    if "PYTHONIOENCODING" in more:
        assert text.isascii()
        assert re.search(r"x ref 2  ref-c +=+", plain(text))


def test_turns_inside_a_turn_lead_to_each_other(run, told, written, desk):
    """A turn names those inside it, and they name it."""
    lines = [json.loads(line) for line in (written / "s-0.jsonl").read_bytes().splitlines()]
    lines[0]["turns"] = [lines[1]["turn_id"]]
    lines[1]["parent_turn_id"] = lines[0]["turn_id"]
    (desk / "s-0.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n", encoding="utf-8")
    assert "inside    s-0#2  completed, >= $0.0" in run("show", "s-0#1", desk / "s-0.jsonl").stdout
    assert "inside of s-0#1\n" in run("show", "s-0#2", desk / "s-0.jsonl").stdout
    assert ["s-0#2"] == told("show", "s-0#1", desk / "s-0.jsonl")[0]["children"]


def test_a_trace_of_hermes_agent_is_shown_too(run, desk):
    """No times, no outcomes, prices as texts: what is known is shown, and the rest is not made up."""
    (desk / "seed.jsonl").write_text(json.dumps(SEED) + "\n", encoding="utf-8")
    text = run("show", desk / "seed.jsonl").stdout
    assert "this trace tells no times" in text
    assert re.search(r"✓  ref 0 openai:gpt-4\.1 .*\$0\.0012", text)
    assert re.search(r"✗  ref 1 x:broken .*\? \(failed\)", text)
    assert "seed#1" in run("ls", desk / "seed.jsonl").stdout


@pytest.mark.parametrize("columns", WIDTHS)
def test_wide_letters_and_long_names_keep_the_columns(terminal, written, desk, columns):
    """A letter of two columns counts as two, and the number of a turn is never cut off its name."""
    line = json.loads((written / "s-0.jsonl").read_bytes().splitlines()[0])
    line |= {"session_id": "\u4f1a\u8bdd" * 30, "preset": "\u9884\u8bbe" * 20}
    (desk / "s-0.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    code, written = terminal("ls", desk / "s-0.jsonl", columns=columns).end()
    head, row = plain(written).rstrip().split("\n")
    assert 0 == code
    assert cell_len(row) <= columns
    assert re.search(r"\u4f1a.*#1 ", row)
    assert row.index("ms") > 0
    assert cell_len(row[: row.index(" ms") + 3]) == head.index("TIME") + 4


@pytest.mark.parametrize(
    "verb", [["ls"], ["show", "last"], ["tail"], ["stats", "--by", "preset"]], ids=lambda verb: verb[0]
)
@pytest.mark.parametrize("columns", WIDTHS)
def test_an_encoding_without_a_letter_keeps_the_columns(terminal, written, desk, verb, columns):
    """An escape takes more columns than the letter that it stands for; what is cut ends in dots."""
    (desk / "traces").mkdir()
    for number, letter in enumerate(("\xe9", "\u5929", "e")):
        line = json.loads((written / "s-0.jsonl").read_bytes().splitlines()[number])
        line |= {"session_id": letter * 9, "preset": letter * 40}
        line["input_messages"][-1]["content"] = f"{letter} " * 200
        line["writer"]["seq"] = number + 1
        (desk / "traces" / f"{number}.jsonl").write_text(json.dumps(line))
    code, text = terminal(*verb, desk / "traces", columns=columns, PYTHONIOENCODING="ascii").end()
    rows = plain(text).split("\n")
    assert 0 == code
    assert text.isascii()
    assert max(map(len, rows)) <= columns, rows
    assert "..." in text
    assert "\\u2026" not in text
    if verb == ["ls"]:
        (head,) = [row for row in rows if "TURN" in row]
        assert 3 == sum(row[: head.index("TIME") + 4].endswith(("s", "ms")) for row in rows)


def test_wide_letters_do_not_break_the_lines_of_a_tail(terminal, written, desk):
    """The question is cut to what is left of the line, by columns and not by letters."""
    line = json.loads((written / "s-0.jsonl").read_bytes().splitlines()[0])
    line["input_messages"][-1]["content"] = "\u5929\u7a7a" * 100
    (desk / "s-0.jsonl").write_text(json.dumps(line) + "\n")
    code, text = terminal("tail", desk / "s-0.jsonl").end()
    assert 0 == code
    assert 60 < cell_len(plain(text).rstrip("\n")) <= 80


def test_a_list_tells_that_turns_were_left_out(run, told, written):
    """How many there are, of those that are asked for, on stderr; a program is told nothing."""
    assert "2 of 6 turns: -n 6 shows all\n" == run("ls", written, "-n", "2").stderr
    assert "2 of 3 turns: -n 3 shows all\n" == run("ls", written, "-n", "2", "--session", "s-0").stderr
    assert ["", "", ""] == [run("ls", written, "-n", number).stderr for number in ("0", "6", "7")]
    assert "" == run("ls", written, "-n", "2", "--json").stderr


def test_an_id_gives_way_to_a_question(terminal, written):
    """The ID is shown where 40 columns are left for the question, and not before."""
    seen = set()
    for columns in range(120, 170, 7):
        head, *rows = shown(terminal, "ls", written, columns=columns)
        room = max(len(row) for row in rows) - head.index("QUESTION")
        seen.add("ID" in head.split())
        assert "ID" not in head.split() or room >= min(40, len("Why is the sky blue, take 1? (fail ref-c)"))
    assert {True, False} == seen


# stats --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [*read.GROUPINGS, "none"])
def test_stats_as_json_are_the_reader_s(told, written, by):
    """Every grouping of the reader can be asked for."""
    (found,) = told("stats", written, "--by", by)
    assert alike(read.stats(written, None if by == "none" else by)) == found


@pytest.mark.parametrize("columns", WIDTHS)
def test_stats_tell_shares_of_the_cost(terminal, written, columns):
    """Each model has a row, and all of them one; what is not priced is said."""
    text = "\n".join(shown(terminal, "stats", written, columns=columns))
    total = read.stats(written).total.cost
    agg = read.stats(written, "model").row("agg").cost
    assert re.search(rf"agg .*\$0\.0738 +{100 * agg.known_usd / total.known_usd:.0f} %", text)
    assert re.search(r"ref-b .*unknown +-", text)
    assert str(total) in " ".join(text.split())


def test_stats_as_csv_have_a_row_for_each_group(run, written):
    """Plain numbers under plain names."""
    rows = list(csv.DictReader(io.StringIO(run("stats", written, "--csv").stdout)))
    found = read.stats(written, "model")
    assert [row.key for row in found] == [row["model"] for row in rows]
    assert [row.usage.input_tokens for row in found] == [int(row["input_tokens"]) for row in rows]
    assert [row.cost.known_usd for row in found] == [
        float(row["cost_usd"]) if row["cost_usd"] else None for row in rows
    ]
    assert [row.call_ms.p95 for row in found] == [float(row["call_ms_p95"]) for row in rows]


# verify, compare, scan, prune, schema -------------------------------------------------------------


def test_whole_traces_verify_clean(run, told, written):
    """Nothing is wrong: 0, and what was looked at."""
    done = run("verify", written)
    assert (0, "") == (done.returncode, done.stderr)
    assert "clean  6 turns of 2 sessions in 2 files, 6 lines" in done.stdout
    (found,) = told("verify", written)
    assert {**alike(read.verify(written)), "clean": True, "total": 0} == found


def test_problems_are_named_by_their_codes(run, told, written, desk):
    """A torn tail, a foreign line and a line that is there twice: 1, code, name and place."""
    data = (written / "s-0.jsonl").read_bytes()
    lines = data.splitlines(keepends=True)
    path = desk / "s-0.jsonl"
    path.write_bytes(data + lines[0] + b'{"not": "ours"}\n' + lines[1][:500])
    done = run("verify", path)
    assert 1 == done.returncode
    for place, (code, name) in {
        4: ("E103", "duplicate-id"),
        5: ("E102", "foreign-line"),
        6: ("E101", "torn-line"),
    }.items():
        assert re.search(rf"^{code} {name}  {re.escape(str(path))}:{place}: ", done.stdout, re.MULTILINE)
    (found,) = told("verify", path, code=1)
    assert alike(read.verify(path).counts) == found["counts"]
    assert 1 == run("verify", path, "--ignore", "E101", "--ignore", "E102").returncode
    ignored = [word for code in found["counts"] for word in ("--ignore", code)]
    assert 0 == run("verify", path, *ignored).returncode
    stats = run("stats", path)
    assert (0, True) == (stats.returncode, "E101 torn-line (1)" in stats.stderr)


def test_a_problem_of_a_turn_names_it_behind_a_space(run, written, desk):
    """The id in brackets is no part of the message's last word."""
    line = json.loads((written / "s-0.jsonl").read_bytes().splitlines()[0])
    line["aggregator"]["input_messages"] = [{"role": "user", "content": "nothing"}]
    (desk / "s-0.jsonl").write_text(json.dumps(line) + "\n")
    done = run("verify", desk / "s-0.jsonl")
    assert f"in a prompt that came after it ({line['turn_id']})\n" in done.stdout


def test_what_rounds_to_nothing_is_no_difference(run, written, desk):
    """The hundred-thousandth of a millisecond that floats leave."""
    line = json.loads((written / "s-0.jsonl").read_bytes().splitlines()[0])
    (desk / "a.jsonl").write_text(json.dumps(line) + "\n")
    for call in (*line["references"], line["aggregator"]):
        call["duration_ms"] += 1e-5
    (desk / "b.jsonl").write_text(json.dumps(line) + "\n")
    done = run("compare", desk / "a.jsonl", desk / "b.jsonl")
    total = re.findall(r"B-A .*", done.stdout)[-1]
    assert re.search(r" 0 ms +0 ms$", total), total
    assert "e-0" not in done.stdout


def test_two_runs_are_compared(run, told, terminal, written, desk):
    """Figures of both, their differences, and a code for what may not differ."""
    other = write_traces(desk / "other", turns=4)
    (found,) = told("compare", written, other)
    assert alike(read.compare(written, other)) == found
    for columns in WIDTHS:
        text = " ".join(" ".join(shown(terminal, "compare", written, other, columns=columns)).split())
        assert "4 turns matched, 4 with the same output, 0 failed in B only; 2 in A only, 0 in B only" in text
        assert "B-A" in text
    assert 0 == run("compare", written, other, "--fail-on", "output", "--fail-on", "failed").returncode
    assert 1 == run("compare", written, other, "--fail-on", "unmatched").returncode


def in_version(path, version):
    """Write a trace anew as if another version of the library had written it; `None` names no version."""
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    for line in lines:
        line["writer"] = None if version is None else {**line["writer"], "version": version}
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


VERSIONS = {
    "one": (("0.1.0", "0.1.0", "0.1.0", "0.1.0"), False),
    "two": (("0.1.0", "0.1.0", "0.2.0", "0.2.0"), True),
    "mixed": (("0.1.0", "0.2.0", "0.2.0", "0.2.0"), True),
    "unknown and mixed": (("0.1.0", "0.2.0", None, None), True),
    "unknown and one": ((None, None, "0.2.0", "0.2.0"), False),
}


def runs_of_versions(written, desk, versions):
    """Return two copies of a run, whose files were written by some versions."""
    runs = [shutil.copytree(written, desk / name) for name in ("a", "b")]
    paths = [folder / name for folder in runs for name in ("s-0.jsonl", "s-1.jsonl")]
    for path, version in zip(paths, versions, strict=True):
        in_version(path, version)
    return runs


@pytest.mark.parametrize("name", VERSIONS)
def test_versions_of_both_runs(name, written, desk):
    """A figure may mean something else in another version, so each that wrote a turn is named."""
    versions, differ = VERSIONS[name]
    found = read.compare(*runs_of_versions(written, desk, versions))
    assert found.versions_a == tuple(sorted({*versions[:2]} - {None}))
    assert found.versions_b == tuple(sorted({*versions[2:]} - {None}))
    assert found.versions_differ == differ


def test_runs_of_different_versions_are_named(run, told, written, desk):
    """On the terminal, only if they differ, and as JSON."""
    runs = runs_of_versions(written, desk, VERSIONS["mixed"][0])
    assert "A was written by version 0.1.0, 0.2.0, B by 0.2.0" in " ".join(run("compare", *runs).stdout.split())
    (found,) = told("compare", *runs)
    assert (found["versions_a"], found["versions_b"]) == (["0.1.0", "0.2.0"], ["0.2.0"])
    assert "written by version" not in run("compare", runs[1], runs[1]).stdout


def test_a_scan_names_places_and_no_value(run, told, written, desk):
    """1, rule, file, line and path; never what stands there."""
    line = json.loads((written / "s-0.jsonl").read_bytes().splitlines()[0])
    line["output"] = "write to somebody@example.com or somebody.else@example.com"
    (desk / "s-0.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    done = run("scan", desk / "s-0.jsonl")
    assert (1, "") == (done.returncode, done.stderr)
    assert re.search(r"^emails +\S+s-0\.jsonl:1  output \(2\)$", done.stdout, re.MULTILINE)
    assert "found 2 emails" in done.stdout
    assert "somebody" not in done.stdout
    assert alike(list(read.scan(desk / "s-0.jsonl"))) == told("scan", desk / "s-0.jsonl", code=1)
    assert (0, "nothing found\n") == ((clean := run("scan", written)).returncode, clean.stdout)
    assert [] == told("scan", desk / "s-0.jsonl", "--rule", "phones")


def test_old_files_are_removed_and_a_dry_run_removes_none(run, told, desk):
    """Files by their last write; a dry run says what would be done."""
    traces = write_traces(desk / "traces", turns=2)
    old = time.time() - 40 * 86400
    os.utime(traces / "s-0.jsonl", (old, old))
    dry = run("prune", traces, "--older-than", "30d", "--dry-run")
    assert (0, "") == (dry.returncode, dry.stderr)
    assert re.search(r"s-0\.jsonl  would be removed, turns, ", dry.stdout)
    assert "1 file would be removed" in dry.stdout
    assert (traces / "s-0.jsonl").exists()
    (found,) = told("prune", traces, "--older-than", "30d")
    assert ([str(traces / "s-0.jsonl")], 1) == ([one["path"] for one in found["files"]], found["recent"])
    assert ["s-1.jsonl"] == [path.name for path in traces.glob("*.jsonl")]
    assert "0 files removed" in run("prune", traces, "--older-than", "4w").stdout


def test_the_schema_is_the_reader_s_and_fits_the_lines(run, told, written):
    """`moa schema` prints what the lines of this version obey."""
    (found,) = told("schema")
    assert read.json_schema() == found == json.loads(run("schema").stdout)
    for line in (written / "s-0.jsonl").read_bytes().splitlines():
        jsonschema.validate(json.loads(line), found)


# tail ---------------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from tests.cli.conftest import write_traces
write_traces(Path(sys.argv[1]), turns=3)
"""


@pytest.mark.parametrize("as_json", [True, False])
def test_a_turn_of_another_process_is_shown_while_it_follows(terminal, env, written, desk, as_json):
    """Turns and late calls come as they are written, each on its line at once; Ctrl-C ends it with 130."""
    (desk / "traces").mkdir()
    tail = terminal("tail", "-f", desk / "traces", *["--json"] * as_json, columns=400)
    writer = subprocess.run([sys.executable, "-c", WRITER, str(desk / "traces")], env=env, timeout=120, check=False)
    assert 0 == writer.returncode
    late = '"kind": "late"' if as_json else "late: ref-b"
    text = plain(tail.read(until=late, seconds=30))
    names = ["s-0#1", "s-0#2", "s-1#1"]
    assert all(name in text for name in names)
    assert late in text
    send(tail, signal.SIGINT)
    code, text = tail.end()
    assert 130 == code
    assert plain(text).endswith("moa tail: interrupted\n")


def test_the_last_turns_are_shown_without_following(told, written):
    """`moa tail` ends when everything is shown."""
    found = told("tail", written, "-n", "2")
    assert [("turn", "s-0#3"), ("turn", "s-1#3")] == [(one["kind"], one["name"]) for one in found]


# help ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_has_help_that_begins_with_its_line(run, verb):
    """What `moa --help` says of a verb is what the verb says of itself."""
    done = run(verb, "--help")
    assert (0, "") == (done.returncode, done.stderr)
    if verb != "run":  # that one is no typer command
        assert VERBS[verb].split(":")[0] in " ".join(done.stdout.split())
        assert "Args:" not in done.stdout


def test_the_help_is_the_same_from_each_entry_point(run):
    """What `moa` prints without a verb, through typer, is what `moa --help` prints without it."""
    alone, asked = run(), run("--help")
    assert (2, 0, "") == (alone.returncode, asked.returncode, asked.stderr)
    assert asked.stdout.strip() == (alone.stdout + alone.stderr).strip()
    assert all(f"  {verb} " in asked.stdout for verb in VERBS)


def test_the_help_imports_no_verb_and_nothing_heavy():
    """`moa --help` imports neither typer, rich nor pydantic, neither wing, nor any verb."""
    code = (
        "import sys; from moa_middleware.cli import main; sys.argv[1:] = ['--help']\n"
        "try: main()\n"
        "finally: print(*sorted(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=False, timeout=60)
    loaded = set(done.stdout.splitlines()[-1].split())
    heavy = {
        "typer",
        "rich",
        "pydantic",
        "pydantic_core",
        "pydantic_settings",
        "structlog",
        "platformdirs",
        "openai",
        "pyarrow",
    }
    wings = {
        "moa_middleware.read",
        "moa_middleware._capture.tracing",
        "moa_middleware.settings",
        "moa_middleware.testing",
    }
    assert not loaded & (heavy | wings | {f"moa_middleware.cli.{verb}" for verb in VERBS})
    assert "moa_middleware.cli._help" in loaded


def test_a_sum_of_tokens_that_is_not_whole_is_marked(run, desk):
    """One of two calls told none: what is known is the least that it can be."""
    call = {
        "label": "a",
        "model": "m",
        "outcome": "completed",
        "output": "x",
        "usage": {"input_tokens": 5, "output_tokens": 6},
    }
    line = {"schema": "moa-turn/1", "turn_id": "t-12", "session_id": "s", "references": [call, {**call, "usage": None}]}
    (desk / "s.jsonl").write_text(f"{json.dumps(line)}\n")
    assert ">= 5 tokens in, >= 6 out" in run("show", "last", "s.jsonl").stdout
    told = run("stats", "s.jsonl").stdout
    assert {"5+", "6+"} <= set(told.split())
    assert "1 call told no tokens" in told


def test_notices_count_only_if_it_is_strict(run, desk):
    """`moa verify` lists turns without a call; its exit code is 1 for them with `--strict` alone."""
    import moa_middleware as moa

    moa.configure(save_traces=True, trace_dir=desk / "empty")
    moa.turn(lambda: "nothing")()
    moa.configure(save_traces=False)
    for options, code in ((), 0), (("--strict",), 1):
        done = run("verify", "empty", *options)
        assert code == done.returncode
        assert (
            "N301       1  turn-without-call: a turn in which no call was recorded, nor a turn; first " in done.stdout
        )
        assert "clean" in done.stdout
