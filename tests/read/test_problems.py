"""What is wrong with lines and files: each kind has a code, and none stops a reading."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import moa_middleware as moa
from moa_middleware import errors, read

from .conftest import SEED, Plain, ask, late_turn, records, write

ROOT = Path(__file__).parents[2]


def found(path, **kwargs):
    """Return the problems of a directory or file: code and line."""
    return [(problem.code, problem.line) for problem in read.verify(path, **kwargs).problems]


def file_of(traces, name="s-0"):
    return traces / f"{name}.jsonl"


def append(path, data):
    with path.open("ab") as file:
        file.write(data)


def test_a_healthy_directory_is_clean(traces):
    """Blank lines mean nothing, and neither does a missing newline at the end."""
    file = file_of(traces)
    data = file.read_bytes()
    file.write_bytes(b"\n\n" + data.replace(b"\n", b"\n \n\r\n\n").rstrip())
    report = read.verify(traces)
    assert (True, (), {}) == (report.clean, report.problems, dict(report.counts))
    assert (2, 6, 6, 2, 0, 0) == (
        report.files,
        report.lines,
        report.turns,
        report.sessions,
        report.late,
        report.journals,
    )
    assert report.bytes == len(data) - 3 + file_of(traces, "s-1").stat().st_size - 3
    assert 0 == report.total


def test_a_torn_tail_is_e101(traces):
    """At every byte: whole lines before it are read."""
    file = file_of(traces)
    data = file.read_bytes()
    start = data.rindex(b"\n", 0, len(data) - 1) + 1
    for cut in [start + 1, start + 2, start + 100, (start + len(data)) // 2, len(data) - 2]:
        file.write_bytes(data[:cut])
        report = read.verify(file, ignore=["E104"])
        (problem,) = report.problems
        assert ("E101", "torn-line", 3, start, cut - start) == (
            problem.code,
            problem.name,
            problem.line,
            problem.offset,
            problem.size,
        )
        assert 2 == report.turns
        assert str(problem).startswith(f"E101 torn-line {file}:3: ")


def test_a_tail_torn_inside_a_character_is_torn(traces):
    """It is no case of bad UTF-8."""
    file = file_of(traces)
    append(file, '{"schema":"moa-turn/1","output":"ä'.encode()[:-1])
    assert [("E101", 4)] == found(file)


def test_a_torn_line_does_not_take_the_next_one_with_it(traces):
    """Writers without a lock of their own glue the next line to it; it is read all the same."""
    file = file_of(traces)
    lines = file.read_bytes().split(b"\n")
    seed = json.dumps(SEED).encode()
    write(file, lines[0], lines[1][:200] + lines[2], seed[:90] + seed, b"{" + lines[1])
    report = read.verify(traces, ignore=["E105"])
    assert ["E101", "E101", "E101"] == [problem.code for problem in report.problems]
    assert 3 + 4 == report.turns
    run = read.open(file)
    turn = run.turn(json.loads(lines[2])["turn_id"])
    assert (turn.line, turn.offset) == (2, len(lines[0]) + 1 + 200)
    assert lines[2] == turn.raw


@pytest.mark.parametrize(
    "line",
    [
        b"no JSON",
        b"42",
        b"null",
        b'"text"',
        b"[]",
        b"{}",
        b'{"a": 1}',
        b'{"references": 3, "aggregator": null}',
        b'{"schema": 7}',
        b'{"schema": "moa-turn/1"}',
        b'{"schema": "moa-late/1", "turn_id": "x"}',
        b'{"schema": "moa-journal/1", "turn_id": "x"}',
        b"\0" * 500,
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"a": 1}}',
        b'{"a": 1,}',
    ],
)
def test_a_foreign_line_is_e102(traces, line):
    """Whatever it is, turns around it are read."""
    file = file_of(traces)
    lines = file.read_bytes().split(b"\n")
    write(file, lines[0], line, *lines[1:3])
    report = read.verify(traces)
    assert [("E102", 2)] == [(problem.code, problem.line) for problem in report.problems]
    assert 6 == report.turns


def test_a_duplicate_id_is_e103_and_counts_once(traces):
    """In one file, or in two."""
    file = file_of(traces)
    lines = file.read_bytes().split(b"\n")
    append(file, lines[0] + b"\n")
    append(file_of(traces, "s-1"), lines[1] + b"\n")
    assert [("E103", 4), ("E103", 4)] == found(traces)
    assert 6 == read.stats(traces).total.turns
    write(file, SEED, SEED)
    assert [("E103", 2)] == found(file)


def test_a_missing_line_is_e104(traces):
    """A gap in the numbers of a process, whichever file the line stood in."""
    file = file_of(traces)
    lines = file.read_bytes().split(b"\n")
    write(file, lines[0], lines[2])
    (problem,) = read.verify(traces).problems
    seq = json.loads(lines[1])["writer"]["seq"]
    assert ("E104", "", None) == (problem.code, problem.file, problem.line)
    assert problem.message.startswith(f"line {seq:,} of process {os.getpid()} on ")
    assert [("E104", None)] == found(file)
    write(file_of(traces, "s-1"), *file_of(traces, "s-1").read_bytes().split(b"\n")[1:3])
    (problem,) = read.verify(traces).problems
    assert problem.message.startswith(f"lines {seq - 1:,} to {seq:,} of process ")


def test_lines_before_the_first_are_not_missing(traces):
    """The process may have written them into another directory, or somebody has removed old files."""
    file = file_of(traces)
    assert records(file)[0]["writer"]["seq"] >= 1
    write(file, *file.read_bytes().split(b"\n")[1:3])
    write(file_of(traces, "s-1"), *file_of(traces, "s-1").read_bytes().split(b"\n")[:3])
    assert [] == found(traces)


def test_a_file_alone_is_not_blamed_for_lines_of_another_session(traces):
    """The process wrote its other lines into files beside it."""
    assert [] == found(file_of(traces))
    assert [] == found([file_of(traces), file_of(traces, "s-1")])
    file_of(traces, "s-1").unlink()
    assert [("E104", None)] * 2 == found(file_of(traces, "s-0"))


def test_numbers_are_kept_in_any_order():
    """In pieces of a thousand, far apart and out of order."""
    from moa_middleware.read._seen import SeenNumbers

    numbers = SeenNumbers()
    for seq in [*range(5000, 2, -1), 10**15, 2]:
        numbers.add(("h", 1, None), seq)
    assert [(("h", 1, None), 5001, 10**15 - 1)] == list(numbers.gaps())


@given(st.sets(st.integers(1, 5000)))
def test_the_gaps_are_what_is_missing(seen):
    """For any set of numbers."""
    from moa_middleware.read._seen import SeenNumbers

    numbers = SeenNumbers()
    for seq in seen:
        numbers.add(("h", 1, None), seq)
    missing = {seq for _, first, last in numbers.gaps() for seq in range(first, last + 1)}
    assert set(range(min(seen, default=1), max(seen, default=0) + 1)) - seen == missing


def test_mixed_sessions_are_e105(traces):
    """Once for each further session of a file; not of what comes through a pipe."""
    both = file_of(traces).read_bytes() + file_of(traces, "s-1").read_bytes()
    mixed = traces / "mixed.jsonl"
    mixed.write_bytes(both)
    file_of(traces).unlink()
    file_of(traces, "s-1").unlink()
    assert [("E105", 4)] == found(traces)


def test_an_unknown_schema_is_e106(traces):
    """Its line is skipped, not guessed at."""
    file = file_of(traces)
    (record, *_), line = records(file), file.read_bytes().split(b"\n")[0]
    append(file, line.replace(b"moa-turn/1", b"moa-turn/9", 1) + b"\n")
    (problem,) = read.verify(traces).problems
    assert ("E106", 4) == (problem.code, problem.line)
    assert "moa-turn/9" in problem.message
    assert record["output"] not in problem.message


def test_bad_utf8_is_e107(traces):
    """Inside a text, or anywhere."""
    file = file_of(traces)
    line = file.read_bytes().split(b"\n")[0]
    append(file, line.replace(b"Why", b"Wh\xff").replace(b"says", b"s\xe4ys") + b"\n\xff\xfe\n")
    assert [("E107", 4), ("E107", 5)] == found(file)


def test_an_unreadable_file_is_e108(traces):
    """The others are read."""
    (traces / "gone.jsonl").symlink_to(traces / "nowhere")
    packed = gzip.compress(file_of(traces).read_bytes())
    (traces / "s-0.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    (traces / "s-1~s1.jsonl.gz").write_bytes(packed[:20] + bytes(len(packed)))
    os.mkfifo(traces / "pipe.jsonl")
    (traces / "late").mkdir()
    (traces / "late" / "s-1.jsonl.gz").write_bytes(packed[:30])
    report = read.verify(traces)
    found = {Path(problem.file).name for problem in report.problems if problem.code == "E108"}
    assert {"s-0.jsonl.gz", "s-1~s1.jsonl.gz", "pipe.jsonl"} <= found
    assert 6 == report.turns


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_e108(traces):
    """In a directory; one that is named is an error."""
    file_of(traces).chmod(0)
    assert [("E108", None)] == found(traces, ignore=["E104"])
    with pytest.raises(errors.UnreadableError, match="Permission denied"):
        read.open(file_of(traces))


def test_odd_values_are_e109(traces):
    """They are named by their places, and read as unknown; words and keys that are new are fine."""
    record, other, _ = records(file_of(traces))
    record["duration_ms"] = "long"
    record["references"][0]["cost_usd"] = [1]
    record["references"][1] = 7
    other["outcome"] = other["references"][0]["outcome"] = "postponed"
    other["brand_new"] = other["references"][0]["brand_new"] = {"a": 1}
    write(file_of(traces), record, other)
    (problem,) = read.verify(file_of(traces), ignore=["E104"]).problems
    assert ("E109", record["turn_id"]) == (problem.code, problem.turn_id)
    assert "duration_ms" in problem.message
    assert "references.0.cost_usd" in problem.message
    turn, new = read.open(file_of(traces))
    assert (None, None, 1) == (turn.duration_ms, turn.references[0].cost_usd, len(turn.references))
    assert ({"brand_new": {"a": 1}}, "postponed") == (new.extra, new.outcome)
    assert {"brand_new": {"a": 1}} == new.references[0].extra


def test_an_absent_reference_is_e201(traces):
    """Nothing of it reached the aggregator, though it had ended by then."""
    record, *others = records(file_of(traces))
    record["references"][0]["output"] = "Something that no later prompt has in it, in any form."
    write(file_of(traces), record, *others)
    (problem,) = read.verify(traces).problems
    assert ("E201", "absent-reference", 1, record["turn_id"]) == (
        problem.code,
        problem.name,
        problem.line,
        problem.turn_id,
    )
    assert "call 0" in problem.message
    assert "prompt has" not in str(problem)
    assert [] == found(traces, semantics=False)


ROUNDS = (
    ("short waves are scattered more than long ones", "sunlight holds every colour of the rainbow"),
    ("air molecules send blue light to all sides", "our eyes see violet less well than blue"),
)


def test_references_of_references_are_not_absent(desk):
    """The second round reads the first, and the aggregator only the second."""

    @moa.reference(model=lambda messages, layer, number: f"m-{layer}-{number}")
    def propose(messages, layer, number):
        return ROUNDS[layer][number]

    @moa.aggregator(model="agg")
    def answer(messages):
        return "so it is"

    @moa.turn(session_id="s")
    def create(messages):
        for layer in range(2):
            with moa.tag(layer=layer + 1):
                told = [propose(messages, layer, number) for number in range(2)]
            messages = [*ask(), {"role": "system", "content": " | ".join(told)}]
        return answer(messages)

    moa.configure(save_traces=True, trace_dir=desk / "traces")
    create(ask())
    (turn,) = read.open(desk / "traces")
    assert ["absent", "absent", "verbatim", "verbatim"] == [one.status for one in turn.fidelity()]
    assert [] == found(desk / "traces")


def test_a_call_that_never_ended_is_e202(desk):
    """Until its late line comes."""
    end = late_turn(desk / "traces")
    assert [("E202", 1)] == found(desk / "traces")
    (turn,) = read.open(desk / "traces")
    assert (1, 0, True) == (turn.pending_calls, turn.late_calls, turn.references[0].pending)
    end()
    assert [] == found(desk / "traces")
    (turn,) = read.open(desk / "traces")
    assert (0, 1, "at last") == (turn.pending_calls, turn.late_calls, turn.references[0].output)


def test_codes_can_be_ignored_and_unknown_ones_are_an_error(traces):
    """A wrong code would ignore nothing, silently."""
    append(file_of(traces), b"what\n")
    assert read.verify(traces, ignore=["E102"]).clean
    assert read.verify(traces, ignore="E102").clean
    with pytest.raises(errors.QueryError, match="E999"):
        read.verify(traces, ignore=["E999"])


def test_strict_reading_raises_at_the_first_problem(traces):
    """With the problem at hand."""
    append(file_of(traces), b"what\n")
    with pytest.raises(errors.ProblemError, match="E102 foreign-line") as caught:
        list(read.open(traces).turns(strict=True))
    assert 4 == caught.value.problem.line
    assert 6 == len(list(read.open(traces).turns()))


def test_problems_are_never_silent(traces):
    """Asked before anything was read, a run is read first; they are those of a whole reading."""
    append(file_of(traces), b"what\n")
    run = read.open(traces)
    assert ["E102"] == [problem.code for problem in run.problems]
    assert {"E102": 1} == run.problem_counts
    next(run.turns())
    assert ["E102"] == [problem.code for problem in run.problems]
    append(file_of(traces), b"what else\n")
    list(run)
    assert {"E102": 2} == run.problem_counts


def test_endless_problems_are_counted_and_not_all_kept(desk):
    """A foreign file of a million lines does not fill the memory."""
    file = desk / "x.jsonl"
    file.write_bytes(b"x\n" * 20_000)
    report = read.verify(desk)
    assert (10_000, 20_000) == (len(report.problems), report.total)


# Whatever the bytes ------------------------------------------------------------------------------


def base_line():
    return json.dumps({**SEED, "schema": "moa-turn/1", "turn_id": "t", "tags": {}}).encode()


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.sampled_from([1e308, 5e-324, 10**4299]) | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)
RECORD_KEYS = (
    *("schema", "ts", "turn_id", "session_id", "preset", "outcome", "error", "references", "aggregator", "calls"),
    *("totals", "writer", "tags", "turns", "omitted", "input_messages", "output", "started_at", "params"),
)
CALL_KEYS = (
    *("call_id", "parent", "outcome", "usage", "cost_usd", "input_messages", "output", "model", "omitted", "late"),
    *("started_at", "ended_at", "attempt", "index", "error", "source", "label", "choices", "tool_calls"),
)
numbers = st.floats() | st.sampled_from([1e308, -1e308, 5e-324, 10**4299, 2**63]) | st.integers()
calls = st.builds(
    lambda call, figures, tokens: {**call, **figures, **({"usage": tokens} if tokens else {})},
    st.dictionaries(st.sampled_from(CALL_KEYS), json_values, max_size=8),
    st.dictionaries(st.sampled_from(["cost_usd", "duration_ms", "started_at", "first_chunk_ms"]), numbers),
    st.dictionaries(st.sampled_from(["input_tokens", "output_tokens"]), numbers),
)
LATE = {"schema": "moa-late/1", "turn_id": "t", "call": {"call_id": "c", "outcome": "completed"}}
odd_records = st.builds(
    lambda head, record, references, aggregator: (
        {**head, **record}
        | ({"references": references} if references is not None else {})
        | ({"aggregator": aggregator} if aggregator is not None else {})
    ),
    # A line that names no schema may have anything for its id.
    st.sampled_from([{"schema": "moa-turn/1", "turn_id": "t"}, {"references": [], "aggregator": None}]),
    st.dictionaries(st.sampled_from(RECORD_KEYS), json_values, max_size=8),
    st.none() | st.lists(calls | json_values, max_size=3),
    st.none() | calls,
)


def use_all(path):
    """Ask a file everything that can be asked."""
    os.utime(path, (0, 0))  # nobody is writing to it just now
    report = read.verify(path)
    run = read.open(path)
    for turn in run:
        turn.fidelity(), turn.overlap(), str(turn.cost), turn.usage, turn.duration_ms, repr(turn), turn._repr_html_()
        turn.timeline()
        for call in turn.all_calls:
            repr(call), call.usage, call.error, call.failed, call.extra, call.name
        run.children(turn), run.parent(turn), turn.extra, turn.name, turn.writer
    for by in (None, *read.GROUPINGS):
        json.dumps(read.to_jsonable(run.stats(by)))
    run.cost(), run.tables()
    list(read.scan(path))
    read.compare(run, run)
    list(read.tail(path, follow=False))
    return report


@settings(
    max_examples=3 * settings.default.max_examples // 5,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)
@given(st.lists(odd_records, max_size=3))
def test_any_values_can_be_read(desk, found):
    """Every key may hold anything."""
    path = desk / "odd.jsonl"
    path.write_bytes(b"\n".join(json.dumps(record).encode() for record in [*found, LATE]))
    use_all(path)


@settings(
    max_examples=3 * settings.default.max_examples // 2,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    deadline=None,
)
@given(data=st.data())
def test_any_bytes_can_be_verified(desk, data):
    """Cut, spliced, overwritten and random lines: the verifier names them, and never fails."""
    pieces = []
    line = base_line()
    for _ in range(data.draw(st.integers(0, 4))):
        kind = data.draw(st.sampled_from(["whole", "cut", "random", "changed"]))
        if kind == "whole":
            pieces.append(line)
        elif kind == "cut":
            pieces.append(line[data.draw(st.integers(0, len(line))) : data.draw(st.integers(0, len(line)))])
        elif kind == "random":
            pieces.append(data.draw(st.binary(max_size=60)))
        else:
            at = data.draw(st.integers(0, len(line)))
            pieces.append(line[:at] + data.draw(st.binary(max_size=6)) + line[at + 3 :])
    path = desk / "any.jsonl"
    path.write_bytes(data.draw(st.sampled_from([b"\n", b"", b"\r\n", b"\0"])).join(pieces))
    report = use_all(path)
    # Each line is a turn or has a problem.
    assert report.turns + report.total >= report.lines


# The reference -------------------------------------------------------------------------------------


def test_every_code_is_in_the_documentation():
    """A line each, with its name, and none that does not exist."""
    text = (ROOT / "docs" / "how-to" / "read-traces.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| `E")]
    told = {row[1].strip(" `"): row[2].strip(" `") for row in rows}
    assert {code: name for code, (name, _) in read.CODES.items()} == told


def test_a_failed_turn_is_found(traces):
    """`failed` means that the turn or one of its calls failed."""
    moa.configure(save_traces=True, trace_dir=traces, session_id="s-2")
    Plain("one", "two", fails=(1,)).create(ask())
    (turn,) = read.open(traces).turns(failed=True)
    assert (1, False, "ValueError") == (turn.failed_calls, turn.failed, turn.references[1].error.type)
    assert 6 == len(list(read.open(traces).turns(failed=False)))
