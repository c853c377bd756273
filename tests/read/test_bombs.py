"""Lines that were made to fill the memory: they are counted before they are parsed, skipped and named."""

from __future__ import annotations

import gzip
import json
import resource
import subprocess
import sys
import time

import pytest

from moa_middleware import errors, read
from tests.read.conftest import SEED, write

MOST = 64_000
VALUES = MOST // 32


def line_of(value):
    """Return a turn as a line, with a value in one of its prompts."""
    record = json.loads(json.dumps(SEED))
    record["turn_id"] = "bomb"
    record["references"][0]["params"] = {"extra_body": value}
    return json.dumps(record, separators=(",", ":")).encode()


BOMBS = {
    "lists": b'{"schema":"moa-turn/1","a":[' + b"[]," * VALUES + b"[]]}",
    "objects": b'{"schema":"moa-turn/1","a":[' + b"{}," * VALUES + b"{}]}",
    "numbers": b'{"schema":"moa-turn/1","a":[' + b"1," * VALUES + b"1]}",
    "texts": b'{"schema":"moa-turn/1","a":[' + b'"a",' * VALUES + b'"a"]}',
    "keys": b'{"schema":"moa-turn/1","a":{' + b'"a":1,' * VALUES + b'"a":1}}',
    "open brackets": b"[" * (VALUES + 1),
    "open objects": b'{"a":' * (VALUES + 1),
    "in a turn": line_of([[] for _ in range(VALUES)]),
}
WHOLE = {
    "commas in a text": line_of("a, [b], {c}, " * 4000),
    "an escaped text": line_of('"\\\\", [' * 4000),
    "values that are allowed": line_of(list(range(VALUES - 200))),
}


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("packed", [False, True])
def test_a_line_of_too_many_values_is_skipped_and_named(name, packed, desk):
    """By each way of reading; what is around it is read."""
    line = json.dumps(SEED).encode()
    other = line.replace(b"It sca", b"It too sca")
    file = write(desk / "s.jsonl", line, BOMBS[name], other)
    if packed:
        file = desk / "t.jsonl.gz"
        file.write_bytes(gzip.compress((desk / "s.jsonl").read_bytes()))
    run = read.open(file, max_line_bytes=MOST)
    assert [1, 3] == [turn.line for turn in run]
    (problem,) = run.problems
    assert ("E112", 2, len(line) + 1, len(BOMBS[name])) == (problem.code, problem.line, problem.offset, problem.size)
    assert f"more than {VALUES:,} values" in problem.message
    assert 2 == run.stats().rows[0].turns
    assert {"E112": 1} == dict(run.problem_counts)
    assert [2] == [one.line for one in read.scan(run) if one.rule == "unreadable"]
    if not packed:
        tail = read.tail(file, follow=False, max_line_bytes=MOST)
        assert [1, 3] == [turn.line for turn in tail]
        assert ["E112"] == [one.code for one in tail.problems]


@pytest.mark.parametrize("name", WHOLE)
def test_a_line_with_commas_in_its_texts_is_read(name, desk):
    """Prose and code have commas and brackets, which are not values."""
    file = write(desk / "s.jsonl", WHOLE[name])
    run = read.open(file, max_line_bytes=MOST * 2)
    assert ["bomb"] == [turn.id for turn in run]
    assert () == run.problems


@pytest.mark.parametrize("most", [0, 1023, -1, 2.5, "1MB", True])
def test_a_limit_that_is_none_is_an_error(most, desk):
    """It names the argument and the least."""
    for ask in (read.open, read.tail):
        with pytest.raises(errors.QueryError, match="`max_line_bytes` is a number of bytes, 1,024 or more"):
            ask(desk, max_line_bytes=most)


def test_counting_takes_no_longer_for_quotes_that_never_end():
    """Four times the line, at most five times the time."""
    from moa_middleware.read._line_limit import LineLimit

    def cost(line):
        began = time.process_time()
        LineLimit(1024).why_not_parsed(line)
        return time.process_time() - began

    for pattern in (b'"\\"', b'"', b"\\", b'"a\\', b',"', b'",'):
        # Commas outside of texts end the count, so there is only one of them, and a row of them inside a text.
        short, long = (b'"' + b"," * 100 + b'"' + pattern * size for size in (50_000, 200_000))
        assert min(cost(long) / max(cost(short), 1e-4) for _ in range(3)) < 6, pattern


@pytest.mark.processes
@pytest.mark.parametrize("verb", ["verify", "ls", "stats", "scan", "show"])
def test_a_small_compressed_file_takes_little_memory(verb, desk):
    """60 kB that unpack to 60 MB of brackets, under 700 MB of address space for all; they took 1.8 GB."""
    bomb = b'{"schema":"moa-turn/1","turn_id":"x","a":[' + b"[]," * 20_000_000 + b"[]]}"
    packed = gzip.compress(bomb + b"\n" + json.dumps(SEED).encode() + b"\n")
    assert len(packed) < 100_000
    file = desk / "s.jsonl.gz"
    file.write_bytes(packed)
    command = [sys.executable, "-m", "moa_middleware", verb, *(["last"] if verb == "show" else []), str(file)]
    done = subprocess.run(
        command,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (700 << 20, 700 << 20)),
    )
    assert "Traceback" not in done.stderr
    assert "MemoryError" not in done.stderr
    assert done.returncode in (0, 1, 3)
