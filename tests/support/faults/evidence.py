"""
What the rounds of faults have in common: turns with checksums, acknowledgements, and what is found afterwards.

A worker is a process of its own. A turn is acknowledged when its call has returned: only then does
the worker write the turn's number and checksum to a file beside the trace.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import textwrap
from collections import Counter
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[3]

PRELUDE = """
import hashlib, os, random, signal, sys, threading, time
import moa_middleware as moa

TRACES, ACKS = sys.argv[1:3]
moa.configure(save_traces=True, trace_dir=TRACES, session_id="s")
acks = os.open(ACKS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

@moa.reference
def ask(name, text):
    return f"{name} {text}"

BLOCK = random.Random(0).randbytes(10_000).hex()

def text_of(name, size):
    # The record holds it twice: as the call's output and as the turn's.
    size, begin = size // 2, sum(name.encode()) % 1000
    return (BLOCK * (1 + (begin + size) // len(BLOCK)))[begin:begin + size]

def turn(name, size=200):
    text = ask(name, text_of(name, size))
    os.write(acks, f"{name} {hashlib.sha256(text.encode()).hexdigest()}\\n".encode())
"""


class Found(NamedTuple):
    """What is in the files after a round."""

    turns: int
    """Whole lines of turns."""
    acknowledged: int
    lost: int
    """Acknowledged turns that are in no whole line, or with another text."""
    twice: int
    """Turns that are in more than one line."""
    torn: int
    """Lines that are no JSON."""

    @property
    def clean(self) -> bool:
        """Whether nothing acknowledged is lost, and nothing is there twice."""
        return not self.lost and not self.twice


def environment():
    """Return the environment of a worker."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MOA_", "COVERAGE"))}
    # Python 3.12 and later warn of a fork beside threads, which is what some of the workers are for.
    return {**env, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore:This process:DeprecationWarning"}


def start(code, place, *args, first="", python=sys.executable, extra=None, **kwargs):
    """Start a worker; `first` is run before the library is imported, and `extra` is added to its environment."""
    code = first + PRELUDE + textwrap.dedent(code)
    command = [python, "-c", code, place / "traces", place / "acks", *map(str, args)]
    return subprocess.Popen(command, env={**environment(), **(extra or {})}, **kwargs)


def lines_of(path):
    """Yield the lines of a file that are not blank."""
    with path.open("rb") as file:
        for line in file:
            if line.strip():
                yield line


def look(place):
    """Read what is there, and compare it with what was acknowledged."""
    acknowledged = {}
    acks = place / "acks"
    if acks.exists():
        for line in acks.read_text().splitlines():
            name, _, digest = line.partition(" ")
            acknowledged[name] = digest
    texts, seen, ids, torn = {}, Counter(), Counter(), 0
    for path in sorted((place / "traces").glob("*.jsonl")):
        for line in lines_of(path):
            try:
                record = json.loads(line)
            except ValueError:
                torn += 1
                continue
            ids[record["turn_id"]] += 1
            for call in record["references"]:
                text = call["output"] or ""
                name = text.partition(" ")[0]
                seen[name] += 1
                texts[name] = hashlib.sha256(text.encode()).hexdigest()
    lost = sum(texts.get(name) != digest for name, digest in acknowledged.items())
    twice = sum(count > 1 for count in (*seen.values(), *ids.values()))
    return Found(sum(ids.values()), len(acknowledged), lost, twice, torn)


def directory():
    """Return a temporary directory on the disk, for use in a `with`."""
    return tempfile.TemporaryDirectory(prefix="moa-faults-", ignore_cleanup_errors=True)
