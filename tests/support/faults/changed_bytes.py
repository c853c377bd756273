"""Bytes of trace files that are changed or torn off, one place at a time, and which of them `verify` does not find."""

from __future__ import annotations

import os
import random
import time

from moa_middleware import read

from .evidence import start

CHANGES = ("bit", "byte", "cut")
WEEK = 7 * 86400

WRITTEN = """
moa.configure(integrity=sys.argv[3], integrity_key_file=sys.argv[4] or None, session_id=None)
go_on = threading.Event()
@moa.reference
def slow(name):
    go_on.wait(20)
    return f"{name} late"
@moa.turn
def create(name):
    thread = threading.Thread(target=slow, args=(name,))
    thread.start()
    return thread
for number in range(8):
    with moa.tag(session_id=f"s-{number % 2}"):
        turn(f"{number}", 500)
with moa.tag(session_id="s-0"):
    thread = create("slow")
go_on.set()
thread.join()
turn("last")
"""


def written(place, kind, key=None):
    """Write turns of two sessions, and a late call, in lines with a digest or an HMAC; return their directory."""
    worker = start(WRITTEN, place, kind, key or "")
    assert 0 == worker.wait(60)
    return place / "traces"


def age(*paths, seconds=WEEK):
    """Make files so old that a torn line in them is not waited for, as in one that is being written."""
    for path in paths:
        os.utime(path, (time.time() - seconds,) * 2)


def missed(folder, change, count, draw: random.Random, **how):
    """
    Change files below a directory, one place at a time, and put each back as it was.

    Args:
        folder: The directory.
        change: One of `CHANGES`: one bit, one byte, or a tail that is torn off.
        count: How many places.
        draw: Draws them.
        **how: For `read.verify`, as `key_files`.

    Returns:
        The file, place, old byte and new byte of each change that `verify` did not find.
    """
    files = sorted(folder.rglob("*.jsonl"))
    found, done = [], 0
    while done < count:
        file = draw.choice(files)
        data = file.read_bytes()
        place = draw.randrange(len(data))
        changed = bytearray(data)
        if change == "bit":
            changed[place] ^= 1 << draw.randrange(8)
        elif change == "byte":
            changed[place] = draw.choice([value for value in range(256) if value != data[place]])
        else:
            # A cut between two lines takes whole lines away, which the chain shows, but for the last of a process.
            del changed[place:]
            if not changed or changed.endswith((b"\n", b'"}}')):
                continue
        done += 1
        file.write_bytes(changed)
        age(file)
        if not read.verify(folder, semantics=False, **how).counts:
            found.append((file.name, place, data[place], bytes(changed[place : place + 1])))
        file.write_bytes(data)
    return found
