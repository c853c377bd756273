"""
What survives: the writer under crowds, kills, full disks, hanging locks and every way for a process to end.

    uv run python benchmarks/faults.py             the long version, some 25 minutes on 2 cores
    uv run python benchmarks/faults.py --short     two minutes
    uv run python benchmarks/faults.py kills disk  some of them

It exits with 1 if a figure is not met. `--seed` repeats the random moments of a run as far as the
machine lets it; `--gevent PYTHON` names an interpreter that has gevent, if this one has not.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent.parent))

from moa_middleware._redaction import RULES
from moa_middleware._redaction.inside import by_rules
from tests.support.faults import changed_bytes, closing, endings, hostile, rounds
from tests.support.faults import disk as refusing
from tests.support.faults.evidence import ROOT, directory, environment
from tests.support.faults.injected import ENTRIES, functions
from tests.support.redaction import hostile as texts_of
from tests.support.redaction.timing import GROWTH, growth, measure

LIMIT = 20
"""Longest stall of an event loop, in milliseconds."""

failures = []


def report(name, met, text):
    print(f"{'ok  ' if met else 'FAIL'}  {name}: {text}", flush=True)
    if not met:
        failures.append(name)


def told(found):
    return (
        f"{found.turns} turns, {found.acknowledged} acknowledged, {found.lost} lost, "
        f"{found.twice} twice, {found.torn} torn"
    )


def crowds(options):
    """1, 4 and 16 processes, with threads, append to one file."""
    scale = 1 if not options.short else 0.05
    turns, big, most = 0, 0, 0
    for processes, threads in ((1, 1), (1, 4), (4, 1), (4, 4), (16, 1), (16, 2)):
        workers = processes * threads
        small, middle, large = (max(1, round(scale * count / workers)) for count in (640, 96, 24))
        sizes = [10_000] * small + [500_000] * middle + [5_000_000] * large
        with directory() as name:
            found = rounds.crowd(Path(name), processes=processes, threads=threads, sizes=sizes, seed=options.seed)
            most = max(most, rounds.size_of(name))
        met = found.clean and not found.torn and found.acknowledged == workers * len(sizes)
        report(f"{processes} processes x {threads} threads", met, told(found))
        turns, big = turns + found.turns, big + workers * large
    met = options.short or (turns >= 4000 and big >= 100)
    report("together", met and most < 4e9, f"{turns} turns, {big} of 5 MB; at most {most / 1e9:.2f} GB on disk at once")


def kills(options):
    """Kill -9 at random moments."""
    count = 20 if options.short else 320
    with directory() as name:
        found, after = rounds.kills(Path(name), rounds=count, seed=options.seed)
    met = found.clean and found.torn <= count and after == count
    report(f"kill -9, {count} rounds", met, f"{told(found)}; the next line was whole in {after}")


def journals(options):
    """Kill -9 at random moments, with a journal, and recovery beside the writers."""
    count = 20 if options.short else 320
    with directory() as name:
        found, crashed, left = rounds.journals(Path(name), rounds=count, seed=options.seed)
    words = f"{told(found)}; {crashed} turns recovered, {left} journals left"
    report(f"kill -9 with a journal, {count} rounds, references", found.clean and crashed > 0 and not left, words)


def disk(options):
    """No space, then space again."""
    with directory() as name:
        found, counts = rounds.full_disk(Path(name), turns=10 if options.short else 60, size=200_000)
    met = found.clean and counts["refused"] > 0 and not counts["lost"] and not counts["waiting"]
    report("full disk, then space again", met and found.turns == counts["written"], f"{told(found)}; {counts}")


def refusals(options):
    """One call of the disk in three fails, by chance, without and with a journal; then all work."""
    why = closing.why_unavailable()
    if why:
        report("a disk that refuses", True, f"skipped, {why}")
        return
    turns, threads = (40, 1) if options.short else (150, 4)
    with directory() as name:
        for counts, found in refusing.rounds(Path(name), seed=options.seed, turns=turns, threads=threads):
            wrong = refusing.wrong_in(counts, found, turns * threads)
            words = f"{told(found)}; {counts['failures']} failures, {counts['refused']} lines refused"
            report(counts["name"], not wrong, words + (f"; not met: {wrong}" if wrong else ""))


def lock(options):
    """Somebody holds the lock for ever."""
    with directory() as name:
        found, seconds = rounds.held_lock(Path(name), turns=20 if options.short else 200)
    middle, longest = rounds.spread(seconds)
    met = found.clean and not found.torn and longest < 500
    report("a lock that hangs", met, f"{told(found)}; a turn took {middle:.2f} ms, at most {longest:.0f} ms")


def loop(options):
    """200 turns at once in an event loop, while another process holds the lock."""
    stalls, walls, controls = [], [], []
    clean = True
    for _ in range(1 if options.short else 11):
        bursts = 1 if options.short else 5
        with directory() as name:
            _, control, _ = rounds.event_loop(Path(name), turns=200, bursts=bursts, traced=False)
        with directory() as name:
            found, own, wall = rounds.event_loop(Path(name), turns=200, bursts=bursts)
        clean = clean and found.clean and not found.torn
        stalls.append(1000 * own)
        walls.append(1000 * wall)
        controls.append(1000 * control)
    report(f"event loop, 200 turns at once, {len(stalls)} runs", clean, f"of the last one: {told(found)}")
    report(
        "event loop, longest stall of each run",
        max(stalls) <= LIMIT,
        f"median {median(stalls):.1f} ms, worst {max(stalls):.1f} ms; without traces {median(controls):.1f} and "
        f"{max(controls):.1f} ms; with the time in which the machine ran others {median(walls):.1f} and {max(walls):.1f} ms",
    )


def gc(options):
    """Force a collection at each allocation."""
    with directory() as name:
        found = rounds.collections(Path(name), turns=20 if options.short else 250)
    report("gc.set_threshold(1)", found.clean and not found.torn, told(found))


def folders(options):
    """Something foreign in each place of a shared folder, for each verb."""
    why = hostile.why_unavailable()
    if why:
        report("hostile folders", True, f"skipped, {why}")
        return
    for verb in hostile.VERBS:
        with directory() as name:
            found = list(hostile.cases(Path(name), (verb,)))
        wrong = [f"{kind} in place of {where}: {what}" for _, kind, where, what in found if what]
        first = f"; the first: {wrong[0]}" if wrong else ""
        report(f"hostile folders, {verb}", not wrong, f"{len(found)} cases, {len(wrong)} not met{first}")


def ends(options):
    """Ways for a process to end."""
    for name in endings.ENDINGS:
        python = options.gevent if name == "gevent" and options.gevent else sys.executable
        if python == sys.executable and not endings.available(name):
            report(name, True, "skipped, not installed")
            continue
        for _ in range(1 if options.short else 5):
            with directory() as place:
                found = endings.end(name, Path(place), python)
            if not found.clean:
                break
        report(f"ends by {name}", found.clean and found.acknowledged > 0, told(found))


def injected(options):
    """Raise a fault at each line of the tracing code, one a call; every 7th line in a short run."""
    every = "7" if options.short else "1"
    command = [sys.executable, "-m", "tests.support.faults.injected", "fault", every, str(options.seed)]
    done = subprocess.run(  # noqa: S603 - a module of the tests
        command, env=environment(), cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    for name, (count, wrong, left, lost, doubled, counted) in json.loads(done.stdout.splitlines()[-1]).items():
        # At a line before the `try` of a function only a lack of memory raises an exception; these are counted apart.
        real = [one for one in wrong if not functions([one]) <= ENTRIES]
        met = not real and not left and doubled <= 1 + count // 50 and 0 <= lost <= counted
        words = f"{count} faults, {len(real)} wrong results, and {len(wrong) - len(real)} at a line before a `try`"
        words += f"; {lost} records lost, {doubled} doubled, {counted} faults counted"
        report(f"a fault at each line, {name}", met, words + (f"; the first: {real[0]}" if real else ""))


def changed(options):
    """Change a bit or a byte of a trace, or tear off a tail."""
    count = 20 if options.short else 200
    for kind in ("digest", "hmac"):
        with directory() as name:
            place = Path(name)
            key = place / "key"
            key.write_bytes(os.urandom(32))
            key.chmod(0o600)
            how = {"key_files": key} if kind == "hmac" else {}
            folder = changed_bytes.written(place, kind, key if how else None)
            for change in changed_bytes.CHANGES:
                draw = random.Random(f"{options.seed} {kind} {change}")  # noqa: S311 - a seed repeats it
                missed = changed_bytes.missed(folder, change, count, draw, **how)
                report(f"{kind}, a {change} of each file", not missed, f"{count - len(missed)} of {count} found")


def texts(options):
    """Redact texts that are made to be slow, of 1 MB and of 4 MB."""
    patterns = list(texts_of.patterns(150))
    if options.short:
        patterns = random.Random(options.seed).sample(patterns, 3)  # noqa: S311 - a seed repeats it

    def redact(text):
        return by_rules(text, tuple(RULES))

    figures, wrong = measure(1_000_000, patterns, {"all rules": redact})
    (rate, _, slowest), grown = max(figures), max(figure[1] for figure in figures)
    first = f"; too slow: {wrong[0][2]!r}" if wrong else ""
    words = f"slowest {rate:.2f} s/MB ({slowest[:60]!r}); 4 MB take at most {grown:.1f} times 1 MB"
    report(f"hostile texts, {len(figures)} patterns", not wrong, words + first)
    if options.short:
        return
    pairs = zip(texts_of.structures(1_000_000), texts_of.structures(4_000_000), strict=True)
    for (name, short), (_, long) in pairs:
        grown, rate = growth(redact, short, long)
        # What is made of a long text no longer fits into the cache.
        report(f"hostile JSON, {name}", grown <= GROWTH + 1, f"{rate:.2f} s/MB; 4 MB take {grown:.1f} times 1 MB")


PARTS = {
    "crowds": crowds,
    "kills": kills,
    "journals": journals,
    "disk": disk,
    "refusals": refusals,
    "lock": lock,
    "loop": loop,
    "gc": gc,
    "folders": folders,
    "ends": ends,
    "injected": injected,
    "bytes": changed,
    "texts": texts,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all of them")
    parser.add_argument("--short", action="store_true", help="few rounds")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 10**6)
    parser.add_argument("--gevent", metavar="PYTHON", help="an interpreter that has gevent")
    options = parser.parse_args()
    unknown = set(options.parts) - PARTS.keys()
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    print(f"seed {options.seed}")
    began = time.monotonic()
    for name in options.parts or PARTS:
        PARTS[name](options)
    print(f"{len(failures)} failed, {time.monotonic() - began:.0f} s")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
