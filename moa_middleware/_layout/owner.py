"""
What tells one process from another, on this machine and elsewhere, and whether it runs still.

Both wings need it: to recover what a dead process left, and to leave alone what a live one writes.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

__all__ = ["is_alive", "machine", "started"]


def is_alive(process: dict[str, Any]) -> bool | None:
    """
    Whether a process runs still.

    Returns:
        `None` if that cannot be told from here: it belongs to another machine, container or sandbox.
    """
    here = machine()
    if process.get("host") != here["host"]:
        return None
    if process.get("machine") != here["machine"]:
        return None  # another of the same name
    boot = process.get("boot")
    if (boot is None) != (here["boot"] is None):
        return None  # one of the two could not see `/proc`, in a sandbox say
    if boot != here["boot"]:
        return False
    if process.get("space") != here["space"]:
        return None
    pid, began = process.get("pid"), process.get("started")
    if type(pid) is not int or pid <= 0:
        return None
    if began is None:
        return _exists(pid)
    now = started(pid)
    if now is None and started(os.getpid()) is None:
        return _exists(pid)  # this process cannot see when any began
    return bool(now == began)


def machine() -> dict[str, Any]:
    """Return the machine by name and id (machine-id(5)), its boot, and the space of process ids (a container has its own)."""
    return {
        "host": os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME"),
        "machine": _read("/etc/machine-id"),
        "boot": _read("/proc/sys/kernel/random/boot_id"),
        "space": _space(),
    }


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _space() -> str | None:
    try:
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - it is no path
    except (OSError, AttributeError):
        return None


def started(pid: int) -> int | None:
    """Return when a process started, in clock ticks since boot; `None` if there is none, or no way to know."""
    text = _read(f"/proc/{pid}/stat")
    if text is None:
        return None
    # The name in parentheses may hold anything; the state is the first field behind it.
    fields = text.rpartition(")")[2].split()
    try:
        return None if fields[0] in ("Z", "X") else int(fields[19])
    except (IndexError, ValueError):
        return None


def _exists(pid: int) -> bool | None:
    if os.name != "posix":
        return None  # a signal would end it there
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
