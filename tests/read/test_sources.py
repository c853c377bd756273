"""What can be opened, in which order it is read, and how turns are chosen and named."""

from __future__ import annotations

import gzip
import io
import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime

import pytest

import moa_middleware as moa
from moa_middleware import errors, read
from moa_middleware._capture.tracing.writer import FileWriter

from .conftest import SEED, Plain, ask, late_turn, records, write


def outputs(run):
    return [turn.input_messages[0]["content"] for turn in run]


ALL = [f"Question {n}?" for n in (0, 2, 4, 1, 3, 5)]


def test_a_directory_is_read_by_the_names_of_its_files(traces):
    """Line by line, and again each time that it is asked."""
    run = read.open(traces)
    assert ALL == outputs(run) == outputs(run) == outputs(read.open(str(traces)))
    assert (str(traces),) == run.names
    assert str(traces) in repr(run)


def test_a_file_a_list_and_a_pattern(traces):
    """Each names the same lines."""
    first, second = traces / "s-0.jsonl", traces / "s-1.jsonl"
    assert ALL[:3] == outputs(read.open(first))
    assert ALL == outputs(read.open([first, second])) == outputs(read.open(iter([str(first), second])))
    assert ALL == outputs(read.open(str(traces / "*.jsonl"))) == outputs(read.open(f"{traces.parent}/**/s-*.jsonl"))
    assert ALL[3:] == outputs(read.open(f"{traces}/s-[1-9].jsonl"))


def test_compressed_files(traces):
    """By what they hold, not by their names."""
    for name in ("s-0", "s-1"):
        path = traces / f"{name}.jsonl"
        (traces / f"{name}.jsonl.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    assert ALL == outputs(read.open(traces)) == outputs(read.open(traces / "*.gz"))
    assert read.verify(traces).clean
    shutil.move(traces / "s-0.jsonl.gz", traces / "s-0.jsonl")
    assert ALL == outputs(read.open(traces))
    with (traces / "s-0.jsonl").open("rb") as file:
        assert ALL[:3] == outputs(read.open(file))


def test_streams_are_read_more_than_once(traces):
    """Bytes, text, and what is not seekable; two readings at once do not mix."""
    data = (traces / "s-0.jsonl").read_bytes()
    run = read.open(io.BytesIO(data))
    assert ALL[:3] == outputs(run) == outputs(run)
    assert [(one, two) for one in ALL[:3] for two in ALL[:3]] == [
        (one.input_messages[0]["content"], two.input_messages[0]["content"]) for one in run for two in run
    ]
    assert ALL[:3] == outputs(read.open(io.StringIO(data.decode())))
    with subprocess.Popen(["cat", traces / "s-0.jsonl"], stdout=subprocess.PIPE) as cat:
        assert 3 == read.open(cat.stdout).stats().total.turns
    assert 3 == run.verify(ignore=["E104"]).turns
    assert ALL[:3] == outputs(read.open([io.BytesIO(data)]))


def test_stdin_and_a_pipe_in_the_file_system(traces):
    """`-`, and what a shell makes of `<(…)`."""
    code = "import sys; from moa_middleware import read; r = read.open(sys.argv[1]); print(len(list(r)), r.names, r.problems)"
    data = b"".join((traces / f"s-{n}.jsonl").read_bytes() for n in range(2))
    done = subprocess.run([sys.executable, "-c", code, "-"], input=data, capture_output=True, check=True)
    assert b"6 ('-',) ()\n" == done.stdout
    command = f'{sys.executable} -c "{code}" <(cat {traces}/*.jsonl)'
    done = subprocess.run(["bash", "-c", command], capture_output=True, check=True)
    assert done.stdout.startswith(b"6 ")


def test_late_lines_within_a_stream_are_joined(desk):
    """Wherever they stand in it: files that somebody put together."""
    turns, late = late_run(desk)
    for data in (turns + late, late + turns):
        run = read.open(io.BytesIO(data))
        (turn,) = run
        assert ("at last", True) == (turn.references[0].output, turn.references[0].late)
        assert run.verify().clean
    both = write(desk / "both.jsonl", turns.strip(), late.strip())
    (turn,) = read.open(both)
    assert "at last" == turn.references[0].output
    both.write_bytes(gzip.compress(both.read_bytes()))
    (turn,) = read.open(both)
    assert "at last" == turn.references[0].output


def late_run(desk):
    """Run a turn with a late reference; return the bytes of its line and of the late one."""
    late_turn(desk / "traces")()
    return (desk / "traces" / "s.jsonl").read_bytes(), (desk / "traces" / "late" / "s.jsonl").read_bytes()


def test_a_late_line_corrects_the_figures(desk):
    """Its tokens and its price count, and it is pending no more; once, though its line is there twice."""
    late_run(desk)
    total = read.stats(desk / "traces").total
    assert (1, 1, 0, 7, 0.5, 0) == (
        total.calls,
        total.late,
        total.pending,
        total.usage.input_tokens,
        total.cost.known_usd,
        total.cost.unpriced,
    )
    late = desk / "traces" / "late" / "s.jsonl"
    late.write_bytes(2 * late.read_bytes())
    run = read.open(desk / "traces")
    assert total.cost == run.stats().total.cost
    assert {"E103": 1} == run.problem_counts
    (turn,) = read.open(desk / "traces" / "s.jsonl")
    assert 0.5 == turn.cost.known_usd
    assert "outcome" in json.loads(turn.raw)["references"][0]


def test_late_lines_without_an_id_of_their_call_are_each_a_call(desk):
    """Nothing says that they are the same one; and a line of another writer's may have no text for its id."""
    turn, late = (json.loads(data) for data in late_run(desk))
    del late["call"]["call_id"]
    other = {**late, "call": {**late["call"], "cost_usd": 0.25}}
    odd = {"turn_id": [], "references": [], "aggregator": None}
    file = write(desk / "all.jsonl", odd, turn, late, other)
    total = read.stats(file).total
    assert (2, 3, 0.75) == (total.turns, total.calls, total.cost.known_usd)
    assert "E103" not in read.open(file).problem_counts


def test_a_late_line_without_its_turn_is_e110(desk):
    """Its session's file may be gone."""
    late_run(desk)
    file = desk / "traces" / "s.jsonl"
    file.unlink()
    (problem,) = read.verify(desk / "traces").problems
    assert ("E110", 1) == (problem.code, problem.line)
    assert problem.turn_id
    assert problem.file.endswith("late/s.jsonl")
    assert {"E110": 1} == dict(read.verify(desk / "traces" / "late" / "s.jsonl").counts)
    write(file, SEED)
    assert read.verify(file).clean


def test_sealed_segments_come_first_and_in_their_order(desk):
    """Ten of them, so that the order is not that of the names."""
    writer = FileWriter(desk / "traces", max_file_bytes=4000)
    moa.configure(save_traces=True, writer=writer, session_id="s")
    for number in range(40):
        Plain("one").create(ask(f"Question {number}?"))
    assert (desk / "traces" / "s~s11.jsonl").exists()
    run = read.open(desk / "traces")
    assert [f"Question {n}?" for n in range(40)] == outputs(run) == outputs(read.open(f"{desk}/traces/*.jsonl"))
    assert list(range(1, 41)) == [turn.number for turn in run]
    assert read.verify(desk / "traces").clean
    assert "Question 17?" == run.turn("s#18").input_messages[0]["content"]


def test_a_session_may_have_more_segments_than_a_process_may_open(desk):
    """They are opened one behind the other, so that neither files nor memory run out."""
    moa.configure(save_traces=True, trace_dir=desk / "one", session_id="s")
    Plain("one").create(ask())
    line = (desk / "one" / "s.jsonl").read_text()
    (turn_id,) = (turn.turn_id for turn in read.open(desk / "one"))
    (desk / "traces").mkdir()
    for number in range(1, 101):
        (desk / "traces" / f"s~s{number}.jsonl").write_text(line.replace(turn_id, f"id-{number}"))
    code = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
from moa_middleware import read
run = read.open(sys.argv[1])
print(run.stats().total.turns, run.problem_counts)
"""
    done = subprocess.run([sys.executable, "-c", code, desk / "traces"], capture_output=True, text=True, check=True)
    assert "100 {}\n" == done.stdout


def test_a_segment_that_is_compressed_or_removed_meanwhile(desk):
    """One is read under its new name, the other is missed by nobody."""
    moa.configure(save_traces=True, writer=FileWriter(desk / "traces", max_file_bytes=3000), session_id="s")
    for number in range(4):
        Plain("one").create(ask(f"Question {number}?"))
    turns = read.open(desk / "traces").turns()
    found = [next(turns)]
    second, third = desk / "traces" / "s~s2.jsonl", desk / "traces" / "s~s3.jsonl"
    (desk / "traces" / "s~s2.jsonl.gz").write_bytes(gzip.compress(second.read_bytes()))
    second.unlink()
    third.unlink()
    found += turns
    assert ["Question 0?", "Question 1?", "Question 3?"] == [turn.input_messages[0]["content"] for turn in found]


def test_directories_are_no_traces_whatever_their_names(desk):
    """Beside the files, in `late/` and in `open/`, and in the place of the file that grows."""
    late_run(desk)
    traces = desk / "traces"
    os.rename(traces / "s.jsonl", traces / "s~s1.jsonl")
    for name in ("s.jsonl", "x.jsonl", "late/y.jsonl", "open/z.jsonl"):
        (traces / name).mkdir(parents=True)
    assert [] == list(read.scan(traces))
    report = read.verify(traces)
    assert (True, 1, 1, 0) == (report.clean, report.turns, report.late, report.journals)


def test_a_directory_that_is_named_twice(desk):
    """By a link, say: its turns are there twice, and its late lines not without their turns."""
    late_run(desk)
    (desk / "link").symlink_to(desk / "traces")
    assert {"E103": 1} == dict(read.verify([desk / "traces", desk / "link"]).counts)


def test_an_error_of_who_listens_is_no_error_of_a_file(desk):
    """It comes out where the reading is asked for."""
    file = write(desk / "x.jsonl", "x" * 9_000_000)

    for source in (desk, file):
        run = read.open(source)
        for ask_it in (run.stats, lambda run=run: list(read.scan(run))):
            told = []

            def tell(size, told=told):
                told.append(size)
                if len(told) == 1:
                    raise OSError("the terminal is gone")

            run.on_progress(tell)
            with pytest.raises(OSError, match="the terminal is gone"):
                ask_it()


def test_a_line_beyond_measure_is_skipped_and_named(desk):
    """E112: a file without line ends must not fill the memory; what is around it is read."""
    most = 2_500_000
    line = json.dumps(SEED).encode()
    other = line.replace(b"It sca", b"It too sca")
    sizes = (2_500_001, 9_000_000)
    file = write(desk / "s.jsonl", line, b"x" * sizes[0], b"\0" * sizes[1], b"y" * 2_000_000, other)
    places = [(2, len(line) + 1, sizes[0]), (3, len(line) + sizes[0] + 2, sizes[1])]
    report = read.open(file, max_line_bytes=most).verify()
    found = [(problem.line, problem.offset, problem.size) for problem in report.problems if problem.code == "E112"]
    assert (2, {"E112": 2, "E102": 1}, places) == (report.turns, dict(report.counts), found)
    assert report.bytes == file.stat().st_size - 5
    tail = read.tail(file, follow=False, max_line_bytes=most)
    assert [1, 5] == [turn.line for turn in tail]
    assert places == [
        (problem.line, problem.offset, problem.size) for problem in tail.problems if problem.code == "E112"
    ]
    scanned = read.scan(read.open(file, max_line_bytes=most))
    assert [("unreadable", 2), ("unreadable", 3)] == [(one.rule, one.line) for one in scanned]
    packed = desk / "t.jsonl.gz"
    packed.write_bytes(gzip.compress(file.read_bytes()))
    assert report.counts == read.open(packed, max_line_bytes=most).verify().counts


def test_journals_are_counted_and_not_read(traces):
    """`moa recover` makes turns of them; what has the name of no turn, and a link, it leaves alone."""
    (traces / "open").mkdir()
    turn_id = "019a0000-0000-7000-8000-000000000000"
    write(traces / "open" / f"{turn_id}.jsonl", {"schema": "moa-journal/1", "turn_id": turn_id})
    write(traces / "open" / "notes.jsonl", {"a": 1})
    (traces / "open" / f"{turn_id[:-1]}1.jsonl").symlink_to(f"{turn_id}.jsonl")
    report = read.verify(traces)
    assert (True, 1, 6) == (report.clean, report.journals, report.turns)
    assert 6 == len(list(read.open(f"{traces}/**/*.jsonl")))


def test_what_is_not_there_is_a_clear_error(desk, monkeypatch):
    """It names the path, and what names the path."""
    with pytest.raises(errors.UnreadableError, match="nowhere does not exist"):
        read.open(desk / "nowhere")
    with pytest.raises(errors.UnreadableError, match="matches no"):
        read.open(f"{desk}/*.jsonl")
    with pytest.raises(OSError, match="nowhere"):
        read.verify(desk / "nowhere")
    monkeypatch.setenv("MOA_TRACE_DIR", str(desk / "nothing"))
    with pytest.raises(errors.UnreadableError, match="MOA_TRACE_DIR"):
        read.open()
    with pytest.raises(errors.UnreadableError):
        read.open([desk, desk / "nowhere"])
    for source in ("", b"traces", 5, [desk, 5]):
        with pytest.raises(errors.QueryError, match="need a path"):
            read.open(source)
    monkeypatch.setenv("MOA_SAVE_TRACES", "perhaps")
    with pytest.raises(errors.SettingsError, match="MOA_SAVE_TRACES"):
        read.open()


def test_a_directory_without_traces_is_empty_and_not_an_error(desk):
    """Nothing was read, and nothing is wrong."""
    report = read.verify(desk)
    assert (True, 0, 0) == (report.clean, report.files, report.turns)
    with pytest.raises(errors.NoTurnError, match="none at all"):
        read.open(desk).turn("last")
    with pytest.raises(errors.NoTurnError, match="none at all"):
        read.open(desk).turn("s#1")
    assert (0, None) == (read.stats(desk).total.calls, read.stats(desk).total.turn_ms.p50)


def test_the_settings_name_the_directory(traces, monkeypatch):
    """Without a source, it is `MOA_TRACE_DIR`."""
    monkeypatch.setenv("MOA_TRACE_DIR", str(traces))
    assert ALL == outputs(read.open())
    assert 6 == read.stats().total.turns
    assert 6 == len(list(read.tail(follow=False)))


def test_only_newlines_end_lines(traces):
    """U+2028, U+0085, form feeds and carriage returns are text."""
    record = records(traces / "s-0.jsonl")[0]
    record["output"] = "one\u2028two\u2029three\x85four\x0cfive\rsix"
    write(traces / "s-0.jsonl", record)
    (turn,) = read.open(traces / "s-0.jsonl")
    assert record["output"] == turn.output


def test_lone_surrogates_and_huge_numbers_are_read(traces):
    """What the writer escapes comes back; figures of a million digits do not stop a reading."""
    moa.configure(save_traces=True, trace_dir=traces, session_id="odd")
    Plain("half \ud83d a pair").create(ask("\udc00"))
    (turn,) = read.open(traces / "odd.jsonl")
    assert "half \ud83d a pair" == turn.references[0].output
    assert read.verify(traces).clean
    assert 1 == turn.overlap().covered[0]
    assert "\\u{d83d}" in turn._repr_html_()
    data = turn.raw.replace(b'"chunks":null', b'"chunks":' + b"9" * 10_000)
    (turn,) = read.open(io.BytesIO(data))
    assert turn.references[0].chunks is None


@pytest.mark.parametrize("text", ["plain", "\\ud83d"], ids=["parser", "fallback"])
@pytest.mark.parametrize("sign", ["", "-"])
def test_an_integer_is_read_alike_by_both_parsers_up_to_4300_digits(text, sign):
    """A lone surrogate in a line sends it to the other parser, and changes no number in it."""
    lines = [
        f'{{"schema": "moa-turn/1", "turn_id": "t", "output": "{text}", "number": {sign}{"9" * digits}}}'.encode()
        for digits in (4000, 4001, 4300, 4301)
    ]
    found = [next(iter(read.open(io.BytesIO(line)))).extra["number"] for line in lines]
    assert [int, int, int, str] == [type(value) for value in found]
    assert [sign + "9" * 4300] == [str(found[2])]


def test_a_lower_limit_of_python_costs_a_line_its_number_alone():
    """`PYTHONINTMAXSTRDIGITS` may be below what a line holds: the line is whole all the same."""
    limit = sys.get_int_max_str_digits()
    line = f'{{"schema": "moa-turn/1", "turn_id": "t", "output": "\\ud83d", "number": {"9" * 1000}}}'.encode()
    sys.set_int_max_str_digits(640)
    try:
        (turn,) = read.open(io.BytesIO(line)).turns(strict=True)
    finally:
        sys.set_int_max_str_digits(limit)
    assert ("t", "9" * 1000) == (turn.turn_id, turn.extra["number"])


def test_numbers_that_nothing_can_be_are_unknown(traces):
    """A price of 1e308 dollars and a count of 4,300 figures do not stop a sum of several."""
    record, other, _ = records(traces / "s-0.jsonl")
    for call in record["references"]:
        call |= {"cost_usd": 1e308, "duration_ms": -1e308, "usage": {"input_tokens": 10**4299, "output_tokens": 2**63}}
    write(traces / "s-0.jsonl", record, other)
    run = read.open(traces / "s-0.jsonl")
    total = run.stats().total
    assert (0.25 + 0.75, 2, 4 * 10, 4) == (
        total.cost.known_usd,
        total.cost.unpriced,
        total.usage.input_tokens,
        total.call_ms.count,
    )
    assert total.cost == run.cost()
    assert json.dumps(read.to_jsonable(total))


def test_a_seed_line_is_read_without_loss():
    """No schema, no id, no times, and the price as a text."""
    line = json.dumps(SEED).encode()
    (turn,) = read.open(io.BytesIO(line + b"\n"))
    assert line == turn.raw
    assert SEED == turn.as_dict()
    assert {} == turn.extra
    assert (None, None, "seed", "old", 1783000000.5) == (
        turn.schema,
        turn.turn_id,
        turn.session_id,
        turn.preset,
        turn.ts,
    )
    first, second = turn.references
    assert (0.0012345678901, "estimated", 100, 3) == (
        first.cost_usd,
        first.cost_status,
        first.usage.input_tokens,
        first.usage.cache_read_tokens,
    )
    assert (False, True, False) == (first.failed, second.failed, second.pending)
    assert (">= $0.0012 (2 unpriced)", 3, 1) == (str(turn.cost), turn.call_count, turn.failed_calls)
    assert "It scatters." == turn.output
    assert (None, None, 1783000000.5) == (turn.duration_ms, turn.started_at, turn.at)
    assert ["verbatim", None] == [one.status for one in turn.fidelity()]
    assert (None, None) == (turn.overlap().covered[1], turn.overlap().unique[1])
    assert turn.id.startswith("~")
    timed = json.loads(line)
    timed["references"][0] |= {"started_at": 5.0, "ended_at": 7.5, "duration_ms": 2500.0}
    (turn,) = read.open(io.BytesIO(json.dumps(timed).encode()))
    assert (5.0, 7.5, 2500.0) == (turn.started_at, turn.ended_at, turn.duration_ms)


# Names ---------------------------------------------------------------------------------------------


def test_turns_are_named_by_session_and_number(traces):
    """From 1, whatever filter found it."""
    run = read.open(traces)
    assert ["s-0#1", "s-0#2", "s-0#3", "s-1#1", "s-1#2", "s-1#3"] == [turn.name for turn in run]
    assert ["s-1#1", "s-1#2", "s-1#3"] == [turn.name for turn in run.turns(session="s-1")]
    for turn in list(run):
        assert turn == run.turn(turn.name) == run.turn(turn.turn_id)
    assert "Question 5?" == run.turn("last").input_messages[0]["content"]
    assert "Question 0?" == run.turn("first").input_messages[0]["content"]


def test_the_beginning_of_an_id_is_a_name_if_one_turn_has_it(traces):
    """Several are an error that names them; the ids of one moment begin alike."""
    run = read.open(traces)
    ids = [turn.turn_id for turn in run]
    assert ids[0] == run.turn(ids[0][:-1]).turn_id
    with pytest.raises(errors.AmbiguousTurnError, match=r"names several turns: .*s-0#1.* and 1 more"):
        run.turn(ids[0][:8])
    with pytest.raises(errors.NoTurnError, match="4 characters"):
        run.turn(ids[0][:3])


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("s-0#4", "session 's-0' has 3 turns"),
        ("s-0#0", "session 's-0' has 3 turns"),
        ("nobody#1", "need SESSION#N"),
        ("ffff-ffff", "need SESSION#N"),
        ("", "4 characters"),
        ("#", "4 characters"),
        ("s-0#\u0663", "need SESSION#N"),
    ],
)
def test_a_name_of_no_turn_is_a_clear_error(traces, name, says):
    """It says what would be one."""
    with pytest.raises(errors.NoTurnError, match=says):
        read.open(traces).turn(name)


def test_sessions_with_odd_ids_have_names_too(desk):
    """A `#` in the id, and no id at all."""
    moa.configure(save_traces=True, trace_dir=desk / "traces")
    for session in ("a#b", None, "a"):
        with moa.tag(session_id=session):
            Plain("one").create(ask(str(session)))
    run = read.open(desk / "traces")
    for name, text in (("a#b#1", "a#b"), ("unknown-session#1", "None"), ("a#1", "a")):
        assert text == run.turn(name).input_messages[0]["content"]


# Filters -------------------------------------------------------------------------------------------


def test_filters(traces):
    """One name or several, and patterns of models."""
    run = read.open(traces)
    count = lambda **filters: len(list(run.turns(**filters)))  # noqa: E731
    assert (6, 3, 6, 0) == (count(), count(session="s-1"), count(session=["s-0", "s-1"]), count(session=[]))
    assert (6, 0) == (count(preset="duo"), count(preset="solo"))
    assert (6, 6, 6, 0, 0) == (
        count(model="agg"),
        count(model="ref-*"),
        count(model=["nobody", "*-1"]),
        count(model="re"),
        count(model="r.f-0"),
    )
    assert (0, 6) == (count(failed=True), count(failed=False))
    assert (6, 0) == (count(min_cost=0.75), count(min_cost=0.76))
    assert 3 == run.stats("session", session="s-1").total.turns
    assert 2.25 == run.cost(session="s-0").known_usd


def test_moments(traces):
    """`since` is included, `until` is not; seconds, datetimes, dates and ISO 8601."""
    run = read.open(traces)
    times = sorted(turn.started_at for turn in run)
    count = lambda **filters: len(list(run.turns(**filters)))  # noqa: E731
    assert (4, 2, 2) == (count(since=times[2]), count(until=times[2]), count(since=times[1], until=times[3]))
    moment = datetime.fromtimestamp(times[2], UTC)
    today = datetime.now().astimezone().date()
    assert 6 == count(since=today) + count(until=today)
    assert count(since=moment) == count(since=moment.isoformat()) == count(since=str(moment.timestamp()))
    assert 6 == count(until="2999-01-01")
    for bad in ("yesterday", True, [1], "nan", "inf", "0001-01-01", float("-inf")):
        with pytest.raises(errors.QueryError, match="since"):
            run.turns(since=bad)
    for bad in ("much", float("nan")):
        with pytest.raises(errors.QueryError, match="min_cost"):
            run.turns(min_cost=bad)
    with pytest.raises(errors.QueryError, match="session"):
        run.turns(session=7)
    with pytest.raises(TypeError):
        run.turns(wheather="fine")
    assert 1783000000.0 == read.parse_moment(1783000000)
    assert 0.0 == read.parse_moment("1970-01-01T00:00Z")


# Memory and order ----------------------------------------------------------------------------------


def test_reading_is_lazy(traces):
    """The first turn comes before a later file is opened."""
    turns = read.open(traces).turns()
    next(turns)
    (traces / "s-1.jsonl").unlink()
    turns.close()
    assert 3 == len(list(read.open(traces)))


def test_a_long_reading_tells_how_far_it_is(desk):
    """In bytes of lines, from time to time, and at its end."""
    moa.configure(save_traces=True, trace_dir=desk / "traces", session_id="s")
    for number in range(3):
        Plain("word " * 1_000_000).create(ask(str(number)))
    run = read.open(desk / "traces")
    told = []
    run.on_progress(told.append)
    run.stats()
    assert told == sorted(told)
    assert len(told) > 3
    assert told[-1] == run.size - 3 == run.verify().bytes
    run.on_progress(None)
    told.clear()
    list(run)
    assert [] == told
    assert read.open(io.BytesIO(b"{}")).size is None


def test_a_file_that_is_sealed_while_it_is_read_is_read_once(traces):
    """The lines that moved are told once, and none is missed."""
    turns = read.open(traces).turns()
    found = [next(turns)]
    os.rename(traces / "s-1.jsonl", traces / "s-1~s1.jsonl")
    moa.configure(save_traces=True, trace_dir=traces, session_id="s-1")
    Plain("one").create(ask("new"))
    found += turns
    assert [*ALL, "new"] == [turn.input_messages[0]["content"] for turn in found]


def test_a_reading_keeps_no_line(desk):
    """100 MB of lines, and a peak that one of them explains."""
    code = """
import resource, sys
from moa_middleware import read
run = read.open(sys.argv[1])
run.stats()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(run.stats("model").total.turns, run.verify(ignore=["E104"]).turns, sum(1 for _ in run))
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""
    moa.configure(save_traces=True, trace_dir=desk / "one", session_id="s")
    Plain("word " * 2000).create(ask("word " * 10_000))
    (record,) = records(desk / "one" / "s.jsonl")
    line = json.dumps(record)
    (desk / "many").mkdir()
    count = 100_000_000 // len(line)
    with (desk / "many" / "s.jsonl").open("w") as file:
        for number in range(count):
            file.write(line.replace(record["turn_id"], f"id-{number}") + "\n")
    done = subprocess.run([sys.executable, "-c", code, desk / "many"], capture_output=True, text=True, check=True)
    counts, grown = done.stdout.splitlines()
    assert [str(count)] * 3 == counts.split()
    assert float(grown) < 60
