"""The rounds: crowds of writers, kills, full disks, a hanging lock and an event loop beside it."""

from __future__ import annotations

import fcntl
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from .evidence import environment, lines_of, look, start

CROWD = """
processes, threads, me = map(int, sys.argv[3:6])
sizes = [int(size) for size in sys.argv[6].split(",")]
def work(thread):
    for number, size in enumerate(sizes):
        turn(f"{me}-{thread}-{number}", size)
running = [threading.Thread(target=work, args=(t,)) for t in range(threads)]
[thread.start() for thread in running]; [thread.join() for thread in running]
assert (0, 0) == (moa.status().refused, moa.status().waiting), moa.status()
"""


def crowd(place, *, processes, threads, sizes, seed):
    """Let processes with threads append turns of some sizes, each in an order of its own, to one file."""
    running = []
    for me in range(processes):
        order = [*sizes]
        random.Random(f"{seed} {me}").shuffle(order)
        running.append(start(CROWD, place, processes, threads, me, ",".join(map(str, order))))
    codes = [process.wait(600) for process in running]
    assert not any(codes), codes
    return look(place)


KILLED = """
# A nursery: it forks a warm writer for each round, so that a round takes no start of an interpreter.
import moa_middleware._capture.tracing.tracer
ask("warm-up", "")
sizes = [int(size) for size in sys.argv[3].split(",")]
for line in sys.stdin:
    round_ = line.strip()
    pid = os.fork()
    if not pid:
        for number in range(10**9):
            turn(f"{round_}-{number}", sizes[number % len(sizes)])
            if not number:
                os.write(1, b"%d\\n" % os.getpid())
    os.waitpid(pid, 0)
    ask(f"after-{round_}", "")
    os.write(1, b"next\\n")
"""


def kills(place, *, rounds, seed, sizes=(20_000, 2_000_000), longest=0.03):
    """
    Kill a writer at a random moment, again and again; each time the next one writes a line.

    The moment lies within `longest` seconds, or within thrice what a first turn took where the machine is slower.
    """
    chance = random.Random(seed)
    with start(KILLED, place, ",".join(map(str, sizes)), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as nursery:
        for number in range(rounds):
            began = time.perf_counter()
            nursery.stdin.write(b"%d\n" % number)
            nursery.stdin.flush()
            pid = int(nursery.stdout.readline())
            time.sleep(chance.random() * max(longest, 3 * (time.perf_counter() - began)))
            os.kill(pid, signal.SIGKILL)
            assert b"next\n" == nursery.stdout.readline()
        nursery.stdin.close()
        assert 0 == nursery.wait(60)
    found = look(place)
    text = (place / "traces" / "s.jsonl").read_bytes()
    after = sum(text.count(b'"output":"after-%d "' % number) == 2 for number in range(rounds))
    return found, after


JOURNALS = """
moa.configure(journal=True)
@moa.turn
def create(name, size):
    for number in range(4):
        turn(f"{name}-{number}", size)
create("warm-up", 100)
os.write(1, b"ready\\n")
for line in sys.stdin:
    round_ = line.strip()
    pid = os.fork()
    if not pid:
        for number in range(10**9):
            create(f"{round_}-{number}", (2_000, 200_000)[number % 2])
            if not number:
                os.write(1, b"%d\\n" % os.getpid())
    os.waitpid(pid, 0)
    os.write(1, b"next\\n")
"""


RECOVERED = (0, 1)
"""How `moa recover` ends: nothing was to be done, or turns were recovered."""


def journals(place, *, rounds, seed, longest=0.03, every=20):
    """
    Kill a writer that keeps a journal, again and again, with `moa recover` beside it; a reference is what counts.

    Returns what is found, how many turns crashed, and how many journals with a whole line are left.
    """
    chance = random.Random(seed)
    recover = [sys.executable, "-m", "moa_middleware", "recover", str(place / "traces"), "--json"]
    beside = None
    with start(JOURNALS, place, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as nursery:
        assert b"ready\n" == nursery.stdout.readline()
        for number in range(rounds):
            began = time.perf_counter()
            nursery.stdin.write(b"%d\n" % number)
            nursery.stdin.flush()
            pid = int(nursery.stdout.readline())
            time.sleep(chance.random() * max(longest, 3 * (time.perf_counter() - began)))
            os.kill(pid, signal.SIGKILL)
            assert b"next\n" == nursery.stdout.readline()
            if number % every == 0:
                assert beside is None or beside.wait(60) in RECOVERED
                beside = subprocess.Popen(recover, env=environment(), stdout=subprocess.DEVNULL)
        nursery.stdin.close()
        assert 0 == nursery.wait(60)
    assert beside.wait(60) in RECOVERED
    assert subprocess.call(recover, env=environment(), stdout=subprocess.DEVNULL) in RECOVERED
    crashed = sum(b'"outcome":"crashed"' in line for line in lines_of(place / "traces" / "s.jsonl"))
    # One that was killed while it began holds no whole line, and nothing that had been acknowledged.
    left = sum(b"\n" in path.read_bytes() for path in (place / "traces" / "open").iterdir())
    return look(place), crashed, left


FULL = """
import resource
count, size = int(sys.argv[3]), int(sys.argv[4])
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
answers = 0
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[5]), hard))
for number in range(count):
    name = f"{number}"
    answers += ask(name, text_of(name, size)).startswith(name)
full = moa.status()
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
for number in range(count, 2 * count):
    turn(f"{number}", size)
end = moa.flush()
import json
print(json.dumps({"answers": answers, "refused": full.refused, "waited": full.waiting, "lost": end.lost,
                  "waiting": end.waiting, "written": end.written}))
"""


def full_disk(place, *, turns, size):
    """Let a disk be full, then have space again; returns the worker's own counters too."""
    worker = start(FULL, place, turns, size, turns * size // 2, stdout=subprocess.PIPE)
    told, _ = worker.communicate(timeout=120)
    assert 0 == worker.returncode
    return look(place), json.loads(told)


@contextmanager
def locked(path):
    """Hold the lock of a file, in another process than the writers'."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


HELD = """
for number in range(int(sys.argv[3])):
    began = time.perf_counter()
    turn(f"{number}", 50_000)
    print(time.perf_counter() - began)
"""


def held_lock(place, *, turns):
    """Hold the lock for ever; returns what is found, and the seconds that each turn took."""
    with locked(place / "traces" / "s.jsonl"):
        worker = start(HELD, place, turns, stdout=subprocess.PIPE)
        told, _ = worker.communicate(timeout=120)
    assert 0 == worker.returncode
    return look(place), [float(line) for line in told.split()]


LOOP = """
import asyncio
async def answer(name):
    await asyncio.sleep(random.random() * 0.3)
    text = text_of(name, 20_000)
    @moa.turn
    async def create():
        await asyncio.sleep(0.01)
        return ask(name, text)
    await create()
    os.write(acks, f"{name} {hashlib.sha256(f'{name} {text}'.encode()).hexdigest()}\\n".encode())

def seconds_not_run():
    # How long this thread was ready to run and the machine ran others: no stall of ours. Linux tells it in
    # nanoseconds, in the second number (the kernel's Documentation/scheduler/sched-stats.rst).
    try:
        with open("/proc/thread-self/schedstat", "rb", buffering=0) as file:
            return int(file.read().split()[1]) / 1e9
    except OSError:
        return 0.0

async def tick(gaps):
    last, missed = time.perf_counter(), seconds_not_run()
    while True:
        await asyncio.sleep(0.001)
        now, missed_now = time.perf_counter(), seconds_not_run()
        gaps.append((now - last - (missed_now - missed), now - last))
        last, missed = now, missed_now

async def main():
    ask("warm-up", "")
    gaps = []
    ticker = asyncio.create_task(tick(gaps))
    await asyncio.sleep(0.05)
    gaps.clear()
    for burst in range(int(sys.argv[4])):
        await asyncio.gather(*(answer(f"{burst}-{number}") for number in range(int(sys.argv[3]))))
    ticker.cancel()
    print(*map(max, zip(*gaps)))

import gc
gc.collect(); gc.freeze()
asyncio.run(main())
"""


def event_loop(place, *, turns, bursts=1, traced=True):
    """
    Let a server work on many turns at once while another process holds the lock; returns its longest stalls.

    The first is without the time in which the machine ran other processes, the second is with it, both in seconds.
    Without traces it is the control: how long the work of the server itself stalls the same loop.
    """
    first = "" if traced else "import moa_middleware\nmoa_middleware.configure = lambda **_: None\n"
    with locked(place / "traces" / "s.jsonl"):
        worker = start(LOOP, place, turns, bursts, first=first, stdout=subprocess.PIPE)
        told, _ = worker.communicate(timeout=120)
    assert 0 == worker.returncode
    own, wall = map(float, told.split())
    return look(place), own, wall


COLLECTED = """
import gc
class Cycle:
    def __init__(self, name):
        @moa.reference
        def stream():
            yield f"{name} "
            yield "never read"
        self.stream = stream()
        next(self.stream)
        self.me = self
def work(thread):
    for number in range(int(sys.argv[3])):
        Cycle(f"dropped-{thread}-{number}")
        turn(f"{thread}-{number}", 2000)
gc.set_threshold(1)
threads = [threading.Thread(target=work, args=(t,)) for t in range(4)]
[thread.start() for thread in threads]; [thread.join() for thread in threads]
gc.set_threshold(700)
gc.collect()
assert moa.status().waiting == 0
"""


def collections(place, *, turns):
    """Force a collection at each allocation while lines are written; streams are finished in the middle of them."""
    worker = start(COLLECTED, place, turns)
    assert 0 == worker.wait(300)
    return look(place)


def spread(values):
    """Return median and maximum, in milliseconds."""
    return 1000 * statistics.median(values), 1000 * max(values)


def size_of(place):
    """Return the bytes of the files below a directory."""
    return sum(path.stat().st_size for path in Path(place).rglob("*") if path.is_file())
