"""What the tests of trace files share: a line, its append, locked files and full disks."""

from __future__ import annotations

import fcntl
import resource
from contextlib import contextmanager

from moa_middleware._capture.tracing.trace_file import Receipt, append

LINE = b'{"schema": "moa-turn/1"}\n'


def write(path, line, **kwargs):
    receipt = Receipt()
    append(str(path), line, receipt, **kwargs)
    assert receipt.whole
    return receipt


@contextmanager
def locked(path):
    """Hold the lock of a file."""
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def limited(size):
    """Let no file of this process grow above a size, in bytes: a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
