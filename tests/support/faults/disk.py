"""A disk that refuses by chance: no space, no quota, errors, short writes, no descriptors, no permission, no locks."""

from __future__ import annotations

import json
import subprocess

from .closing import compiled
from .evidence import look, start

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { NONE, WRITE, SHORT, OPEN, LOCK, TEAR };
static int kind, number, one_in = 3, failures;
static uint64_t state;
static char part[256];
static __thread int rest_fails;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

void fail_disk(int where, int error, uint64_t seed, const char *name) {
    kind = where, number = error, state = seed * 0x9E3779B97F4A7C15u + 1, failures = 0;
    strncpy(part, name, sizeof part - 1);
}

int failed(void) { return failures; }

static int by_chance(void) {
    pthread_mutex_lock(&mutex);
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    int hit = state % one_in == 0;
    failures += hit;
    pthread_mutex_unlock(&mutex);
    return hit;
}

static int ours(int descriptor) {
    char name[64], path[4096];
    snprintf(name, sizeof name, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(name, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return strstr(path, part) != 0;
}

#define OPENS(name)                                                                             \
    int name(const char *path, int flags, ...) {                                                \
        static int (*real)(const char *, int, ...);                                             \
        va_list rest;                                                                           \
        va_start(rest, flags);                                                                  \
        int mode = va_arg(rest, int);                                                           \
        va_end(rest);                                                                           \
        if (!real) real = (int (*)(const char *, int, ...)) dlsym(RTLD_NEXT, #name);            \
        if (kind == OPEN && (flags & O_ACCMODE) != O_RDONLY && strstr(path, part) && by_chance()) { \
            errno = number;                                                                     \
            return -1;                                                                          \
        }                                                                                       \
        return real(path, flags, mode);                                                         \
    }
OPENS(open)
OPENS(open64)

ssize_t write(int descriptor, const void *data, size_t count) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = (ssize_t (*)(int, const void *, size_t)) dlsym(RTLD_NEXT, "write");
    int fails = kind == WRITE || kind == SHORT || kind == TEAR;
    if (!fails || count < 2 || !ours(descriptor)) return real(descriptor, data, count);
    int rest = rest_fails;
    rest_fails = 0;
    if (rest || by_chance()) {
        rest_fails = kind == TEAR && !rest;
        if (kind == SHORT || rest_fails) return real(descriptor, data, 1 + state % (count - 1));
        errno = number;
        return -1;
    }
    return real(descriptor, data, count);
}

int flock(int descriptor, int operation) {
    static int (*real)(int, int);
    if (!real) real = (int (*)(int, int)) dlsym(RTLD_NEXT, "flock");
    if (kind == LOCK && ours(descriptor) && by_chance()) {
        errno = number;
        return -1;
    }
    return real(descriptor, operation);
}
"""

CASES = {
    "ENOSPC at write": (1, "ENOSPC"),
    "EDQUOT at write": (1, "EDQUOT"),
    "EIO at write": (1, "EIO"),
    "EINTR at write": (1, "EINTR"),
    "short writes": (2, "EIO"),
    "ENOSPC after a part": (5, "ENOSPC"),
    "EMFILE at open": (3, "EMFILE"),
    "EACCES at open": (3, "EACCES"),
    "ENOLCK at flock": (4, "ENOLCK"),
}
"""What fails: the kind, as the library counts them, and the name of the error."""

UNNOTICED = {"EINTR at write", "short writes", "ENOLCK at flock"}
"""What refuses no line: Python repeats the call, the rest is written, or the line goes out without a lock."""

RARE = {"EACCES at open"}
"""What refuses a line only where the second way to open a file, without reading, fails too."""

WORKER = """
import ctypes, errno, json
from pathlib import Path
library = ctypes.CDLL(sys.argv[3])
library.fail_disk.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_uint64, ctypes.c_char_p]
cases, seed, turns, threads = json.loads(sys.argv[4]), *map(int, sys.argv[5:8])
right = []

@moa.turn
def create(name):
    for half in "ab":
        text = ask(f"{name}{half}", text_of(name, sizes.choice((300, 20_000))))
        right.append(text.startswith(f"{name}{half} "))
        os.write(acks, f"{name}{half} {hashlib.sha256(text.encode()).hexdigest()}\\n".encode())

def work(thread):
    for number in range(turns):
        create(f"{thread}-{number}")

def counted():
    found = moa.status()
    return [found.written, found.refused, found.waiting, found.lost, found.faults]

for number, (name, (kind, error)) in enumerate(cases.items()):
    for journal in (False, True):
        place = Path(TRACES).parent / f"{name}, journal" if journal else Path(TRACES).parent / name
        place.mkdir()
        acks = os.open(place / "acks", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        moa.configure(trace_dir=place / "traces", journal=journal)
        sizes, before = random.Random(seed + number), counted()
        right.clear()
        library.fail_disk(kind, getattr(errno, error), seed + number, b"/traces/")
        running = [threading.Thread(target=work, args=(t,)) for t in range(threads)]
        [thread.start() for thread in running]; [thread.join() for thread in running]
        failures = library.failed()
        library.fail_disk(0, 0, 0, b"")
        moa.flush()
        written, refused, waiting, lost, faults = (now - then for now, then in zip(counted(), before))
        left = len(os.listdir(place / "traces" / "open")) if (place / "traces" / "open").exists() else 0
        print(json.dumps({"name": place.name, "right": sum(right), "failures": failures, "written": written,
                          "refused": refused, "waiting": waiting, "lost": lost, "faults": faults, "journals": left}))
"""


def rounds(place, *, cases=CASES, seed, turns, threads=1):
    """
    Let functions of a disk fail, one in three by chance, without and with a journal; then let all of them work.

    Args:
        place: A directory for the library and the traces.
        cases: Of `CASES`.
        seed: Of the chances.
        turns: Of each thread and case, with two references each.
        threads: How many.

    Yields:
        Of each case the worker's own counts, and what is found in its files.
    """
    library = compiled(place, "disk", SOURCE)
    worker = start(
        *(WORKER, place, library, json.dumps(cases), seed, turns, threads),
        extra={"LD_PRELOAD": str(library)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # the log of what is refused
    )
    printed, _ = worker.communicate(timeout=300)
    assert 0 == worker.returncode
    for line in printed.splitlines():
        counts = json.loads(line)
        yield counts, look(place / counts["name"])


def wrong_in(counts, found, turns):
    """Return in words what is not as it has to be in a case with so many turns; an empty text if all is."""
    name = counts["name"].removesuffix(", journal")
    wanted = {
        "failures": counts["failures"] > 0,
        "results": counts["right"] == 2 * turns,
        "acknowledged": found.acknowledged == 2 * turns,
        "written": counts["written"] == found.turns == turns,
        "clean": found.clean,
        "torn": 0 < found.torn <= counts["failures"] if name == "ENOSPC after a part" else found.torn == 0,
        "refused": counts["refused"] == 0 if name in UNNOTICED else counts["refused"] > 0 or name in RARE,
        "nothing left": not any(counts[key] for key in ("waiting", "lost", "faults", "journals")),
    }
    return ", ".join(key for key, met in wanted.items() if not met)
