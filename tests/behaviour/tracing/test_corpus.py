"""
The lines that a fixed corpus of runs writes, byte for byte, but for ids, times and the writer.

A line is compared as text, so that the order of its keys and the form of its numbers count. Where a
line is meant to change, write the golden files anew and read the difference:

    MOA_WRITE_GOLDEN=1 uv run pytest tests/behaviour/tracing/test_corpus.py && git diff tests/golden/corpus
"""

from __future__ import annotations

import gc
import importlib.metadata
import os
import re
from pathlib import Path

import pytest

from tests.support.corpus import SCRIPTS

GOLDEN = Path(__file__).parents[2] / "golden" / "corpus"
WRITE = "MOA_WRITE_GOLDEN" in os.environ
SDKS = {"openai": "3", "anthropic": "2"}

_ID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\b")
_SAME = (
    (
        re.compile(r'(?<!\\)"(ts|started_at|ended_at|duration_ms|first_chunk_ms|created)":-?\d+\.\d+(?:e-?\d+)?'),
        r'"\1":0.0',
    ),
    (re.compile(r'(?<!\\)"(ts|started_at|ended_at|duration_ms|first_chunk_ms|created)":-?\d+(?=[,}])'), r'"\1":0'),
    (re.compile(r'(?<!\\)"(version|host)":"[^"\\]*"'), r'"\1":""'),
    (re.compile(r'(?<!\\)"(pid|seq)":\d+'), r'"\1":0'),
    (re.compile(r'"process \d+ on [^"\\]*"'), '"process 0 on host"'),
    (re.compile(r"\bat 0x[0-9a-f]+"), "at 0x0"),
    (re.compile(r"\b127\.0\.0\.1:\d+"), "127.0.0.1:0"),
    # Python 3.13 keeps the classes of pathlib in a module of its own.
    (re.compile(r"\bpathlib\._local\."), "pathlib."),
)


def normal(text):
    """Return what is written without what differs between two runs of the same script."""
    ids = {}
    text = _ID.sub(lambda found: f"<id {ids.setdefault(found[0], len(ids) + 1)}>", text)
    for pattern, same in _SAME:
        text = pattern.sub(same, text)
    return text


def written(directory):
    """Return every line of a directory, each file headed by its name."""
    found = []
    for path in sorted(directory.rglob("*.jsonl")):
        found += [f'{{"file":"{path.relative_to(directory).as_posix()}"}}\n', path.read_text(encoding="utf-8")]
    return "".join(found)


def version_of(package):
    """Return the installed version of a package, "" if there is none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_run_writes_the_same_lines_as_ever(name, trace_dir, monkeypatch):
    """Ids are numbered as they appear, times are 0; every other byte counts."""
    for sdk, major in SDKS.items():
        if version_of(sdk).partition(".")[0] != major:
            pytest.skip(f"the golden files are those of {sdk} {major}")
    for key, value in SCRIPTS[name].env.items():
        monkeypatch.setenv(key, value)
    SCRIPTS[name].run()
    gc.collect()
    found = normal(written(trace_dir))
    golden = GOLDEN / f"{name}.jsonl"
    if WRITE:
        golden.write_text(found, encoding="utf-8")
    assert golden.read_text(encoding="utf-8").split("\n") == found.split("\n")


def test_every_golden_file_has_its_script():
    """A script that is renamed leaves nothing behind."""
    assert sorted(SCRIPTS) == sorted(path.stem for path in GOLDEN.glob("*.jsonl"))


def test_what_is_made_equal_is_only_what_differs():
    """Numbers and texts of the same form elsewhere in a line are left as they are."""
    line = '{"ts":1.5,"started_at":2,"duration_ms":null,"output":"\\"ts\\":1.5","usage":{"input_tokens":7},"pid":12}'
    assert (
        '{"ts":0.0,"started_at":0,"duration_ms":null,"output":"\\"ts\\":1.5","usage":{"input_tokens":7},"pid":0}'
        == (normal(line))
    )
    one, two = "01a20930-47b2-7da0-8204-a29b50c49efc", "01a20930-47b2-7da0-8204-a29b50c49efd"
    assert "<id 1> <id 2> <id 1>" == normal(f"{one} {two} {one}")
