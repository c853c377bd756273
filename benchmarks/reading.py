"""
How fast traces are read, and in how much memory: MB/s and peak over start, for N GB of them.

    uv run python benchmarks/reading.py            1 GB
    uv run python benchmarks/reading.py 2 --line-kb 8

It writes sessions of turns with three references and an aggregator into a temporary directory, and
reads them in a process of its own for each figure. `peak over start` is the highest resident size
less that before the first line, as the kernel counts it. The first reading warms the page cache.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from pathlib import Path

READS = {
    "lines": "for _ in run._inputs[0].bases(): pass\nfrom collections import deque\nfrom moa_middleware.read._files import opened\nfrom moa_middleware.read._bytes import lines\n"
    "for _, found in opened(run._inputs[0]):\n    for _, file in found: deque(lines(file), maxlen=0)",
    "turns": "for turn in run.turns(): pass",
    "stats": "run.stats()",
    "stats by model": "run.stats('model')",
    "verify": "run.verify()",
}
PROVEN = {"verify": READS["verify"], "verify without semantics": "run.verify(semantics=False)"}
"""What is read with and without digests."""
CODE = """
import os, resource, sys, time
from moa_middleware import read

def resident():
    return int(next(l for l in open("/proc/self/status") if l.startswith("VmRSS")).split()[1]) / 1024

run = read.open(sys.argv[1])
start, began, used = resident(), time.perf_counter(), time.process_time()
{body}
used, took = time.process_time() - used, time.perf_counter() - began
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(took, used, max(0.0, peak - start))
"""


def words(rng, size):
    """Text with line ends, quotes and letters beyond ASCII in it, as answers have."""
    found, length = [], 0
    while length < size:
        word = "".join(rng.choices("abcdefghijklmnopqrstuvwxyzäöé", k=rng.randint(2, 10)))
        word = rng.choices([word, word + ".\n", f'"{word}"'], [90, 6, 4])[0]
        found.append(word)
        length += len(word) + 1
    return " ".join(found)


def call(role, index, prompt, answer, started):
    return {
        "label": f"slot-{index}",
        "model": f"model-{index}",
        "provider": "openai",
        "temperature": 0.7,
        "input_messages": prompt,
        "output": answer,
        "usage": {
            "input_tokens": 900,
            "output_tokens": 600,
            "cache_read_tokens": 0,
            "cache_write_tokens": None,
            "reasoning_tokens": 12,
        },
        "cost_usd": 0.0083,
        "cost_status": "reported",
        "cost_source": "provider",
        "streamed": role == "aggregator",
        "output_location": "inline",
        "call_id": str(uuid.uuid4()),
        "parent": None,
        "role": role,
        "role_source": "declared",
        "layer": 1 if role == "reference" else None,
        "index": index,
        "attempt": 1,
        "outcome": "completed",
        "error": None,
        "started_at": started,
        "ended_at": started + 2.5,
        "duration_ms": 2500.25,
        "first_chunk_ms": 301.5,
        "chunks": 200,
        "finish_reason": "stop",
        "tool_calls": [],
        "reasoning": None,
        "refusal": None,
        "choices": None,
        "params": {"temperature": 0.7},
        "params_omitted": [],
        "endpoint": "https://api.example/v1",
        "response_id": "r",
        "response_model": "m",
        "system_fingerprint": None,
        "service_tier": None,
        "usage_raw": {"prompt_tokens": 900, "completion_tokens": 600},
        "source": "provider",
        "late": False,
    }


def turn(rng, pool, number, size, started_at):
    """Return a line of about `size` bytes: the prompt stands in it once for each call, and once for the turn."""
    started = 1_790_000_000.25 + number
    answers = [rng.choice(pool)[: size // 16] for _ in range(4)]
    asked = [{"role": "user", "content": rng.choice(pool)[: size // 8]}]
    told = [*asked, {"role": "user", "content": "\n\n".join(answers[:3])}]
    references = [call("reference", index, asked, answers[index], started) for index in range(3)]
    record = {
        "schema": "moa-turn/1",
        "ts": started + 6,
        "turn_id": str(uuid.uuid4()),
        "session_id": f"s-{number % 20}",
        "preset": "p",
        "outcome": "completed",
        "error": None,
        "started_at": started,
        "ended_at": started + 6,
        "duration_ms": 6000.5,
        "input_messages": asked,
        "params": {},
        "output": answers[3],
        "references": references,
        "aggregator": call("aggregator", 3, told, answers[3], started + 3),
        "calls": [],
        "parent_turn_id": None,
        "turns": [],
        "tags": {},
        "totals": {"calls": 4, "failed": 0, "usage": {}, "cost_usd": 0.0332, "unpriced": 0},
        "implicit": False,
        "instrumentation_errors": 0,
        "trace_context": None,
        "writer": {"version": "1", "host": "h", "pid": 1, "started_at": started_at, "seq": number + 1},
    }
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def proven(line, previous):
    """Return a line with its digest, and that."""
    head = line[:-3] + b',"integrity":"digest"' + (b',"previous":"%b"' % previous if previous else b"")
    digest = hashlib.sha256(head).hexdigest().encode()
    return head + b',"digest":"%b"}}\n' % digest, digest


def write(folder, size, line, *, digests=False):
    """Fill a directory with so many bytes, in 20 sessions; returns bytes and turns."""
    previous = b""
    rng = random.Random(1)  # noqa: S311 - texts, no secrets
    pool = [words(rng, line) for _ in range(50)]
    written = number = 0
    with ExitStack() as stack:
        files = [stack.enter_context((folder / f"s-{number}.jsonl").open("wb")) for number in range(20)]
        while written < size:
            data = turn(rng, pool, number, line, 1.5)
            if digests:
                data, previous = proven(data, previous)
            written += files[number % 20].write(data)
            number += 1
    return written, number


def measure(folder, body):
    done = subprocess.run(  # noqa: S603 - this very file
        [sys.executable, "-c", CODE.replace("{body}", body), str(folder)], capture_output=True, text=True, check=True
    )
    return [float(part) for part in done.stdout.split()]


def compare_digests(plain, options):
    """Print what `verify` takes of the same lines with digests, as a multiple of without; three times each."""
    with tempfile.TemporaryDirectory(dir=options.dir) as other:
        write(Path(other), options.gigabytes * 1e9, int(options.line_kb * 1000), digests=True)
        for what, body in PROVEN.items():
            rounds = [(measure(plain, body), measure(other, body)) for _ in range(3)]
            without, found = (min(one[side][1] for one in rounds) for side in (0, 1))
            peaks = [max(one[side][2] for one in rounds) for side in (0, 1)]
            print(
                f"{what:25} {without:.1f} s of CPU time, with digests {found:.1f}: {found / without:.3f} ×; peak {peaks} MB"
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gigabytes", type=float, nargs="?", default=1.0, help="of traces; default 1")
    parser.add_argument("--line-kb", type=float, default=26, help="kB of a line, about; default 26")
    parser.add_argument("--dir", help="where to write them; default the system's")
    parser.add_argument("--digests", action="store_true", help="verify the same lines with and without digests instead")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.dir) as name:
        began = time.perf_counter()
        size, turns = write(Path(name), options.gigabytes * 1e9, int(options.line_kb * 1000))
        print(
            f"{size / 1e9:.2f} GB, {turns:,} turns of {size / turns / 1e3:.1f} kB, written in {time.perf_counter() - began:.0f} s"
        )
        if options.digests:
            compare_digests(Path(name), options)
            return
        for what, body in READS.items():
            took, used, peak = measure(name, body)
            print(
                f"{what:15} {size / took / 1e6:6.0f} MB/s ({size / used / 1e6:.0f} of CPU time), peak {peak:.0f} MB over start"
            )


if __name__ == "__main__":
    main()
