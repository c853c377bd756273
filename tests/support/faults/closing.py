"""Errors at `close`, as a network file system raises them, by a library that is loaded before the C library's own."""

from __future__ import annotations

import shutil
import subprocess
import sys

SOURCE = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int number, lost, failures;
static char part[256];

void fail_close(int error, int lose, const char *name) {
    number = error, lost = lose, failures = 0;
    strncpy(part, name, sizeof part - 1);
}

int failed(void) { return failures; }

int close(int descriptor) {
    static int (*real)(int);
    char name[64], path[4096];
    if (!real) real = (int (*)(int)) dlsym(RTLD_NEXT, "close");
    if (!number) return real(descriptor);
    snprintf(name, sizeof name, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(name, path, sizeof path - 1);
    if (length < 0) return real(descriptor);
    path[length] = 0;
    if (!strstr(path, part) || (fcntl(descriptor, F_GETFL) & O_ACCMODE) == O_RDONLY) return real(descriptor);
    if (lost && ftruncate(descriptor, 0)) return real(descriptor);
    real(descriptor);
    failures++;
    errno = number;
    return -1;
}
"""
PRELUDE = """
import ctypes, errno, os, sys
from pathlib import Path
library = ctypes.CDLL(sys.argv[1])

def fail_close(error, part, lose):
    library.fail_close(error, lose, os.fsencode(part))
"""


def why_unavailable():
    """Return why there are no such errors here, an empty text if there are."""
    if not sys.platform.startswith("linux"):
        return "needs LD_PRELOAD and /proc"
    return "" if shutil.which("gcc") else "needs gcc"


def built(folder):
    """Return the library, built in a directory."""
    return compiled(folder, "closing", SOURCE)


def compiled(folder, name, code):
    """Return a library of C, built in a directory."""
    source, library = folder / f"{name}.c", folder / f"{name}.so"
    source.write_text(code)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True, timeout=60)
    return library
