"""
The package's own log: dotted events under `moa_middleware`, never any content.

Structlog is never configured here. Unconfigured it prints to stdout, so events go to it only where
the host has configured it, else to the standard logger `moa_middleware`.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["count_fault", "debug", "faults", "load_for_teardown", "log"]

_MINUTE = 60.0
_last: dict[str, tuple[float, int]] = {}
_total = [0]
"""Faults of ours, and of observers, in this process."""
_loaded: list[Any] = []
"""Holds the module `logging` once something was logged."""
_plain: list[Any] = []
"""Holds what writes to stderr at the end of the interpreter, where the host has no handler for our events."""


def log(event: str, **fields: Any) -> None:
    """
    Log a warning, each kind of event at most once a minute; `count` says how many there were.

    Args:
        event: Dotted name; with `key` among the fields, each key is a kind of its own.
        **fields: What is known of it; never content.
    """
    try:
        _log(event, fields)
    except Exception:  # a host's broken log must not break its call
        if _plain and sys.is_finalizing():
            # Python has taken `logging` apart, or what it needs. It would have written this, to the same place.
            with suppress(Exception):
                _plain[0](f"{event} {_text(fields)}\n")


def _log(event: str, fields: dict[str, Any]) -> None:
    kind = f"{event}:{fields.get('key', '')}"
    now = time.monotonic()
    then, missed = _last.get(kind, (0.0, 0))
    if then and now - then < _MINUTE:
        _last[kind] = (then, missed + 1)
        return
    _last[kind] = (now, 0)
    # It says which events are one kind; where another field contains it, it would only be printed twice.
    key = str(fields.get("key", ""))
    if any(key in str(value) for name, value in fields.items() if name != "key"):
        fields.pop("key", None)
    if missed:
        fields["count"] = missed + 1
    _emit(event, fields)


def debug(event: str, **fields: Callable[[], Any]) -> None:
    """
    Log an event at the level debug, each time that it happens.

    Args:
        event: Dotted name.
        **fields: Functions that return what is known of it; called only where the event is logged.
    """
    with suppress(Exception):
        structlog, logging = sys.modules.get("structlog"), sys.modules.get("logging")
        is_wanted = logging is not None and logging.getLogger("moa_middleware").isEnabledFor(logging.DEBUG)
        if is_wanted or (structlog is not None and structlog.is_configured()):
            _emit(event, {name: value() for name, value in fields.items()}, level="debug")


def _emit(event: str, fields: dict[str, Any], level: str = "warning") -> None:
    structlog = sys.modules.get("structlog")
    if structlog is not None and structlog.is_configured():
        getattr(structlog.get_logger("moa_middleware"), level)(event, **fields)
        return
    logging = _loaded[0] if _loaded else _load_logging()
    getattr(logging.getLogger("moa_middleware"), level)("%s %s", event, _text(fields))


def _text(fields: dict[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in fields.items())


def _load_logging() -> Any:
    """Import the standard library's `logging`, and return it: at the end of the interpreter it is too late for that."""
    import logging

    _loaded[:] = [logging]
    return logging


def load_for_teardown() -> None:
    """Have what it takes to log while Python takes its modules apart, and imports none."""
    logger = _load_logging().getLogger("moa_middleware")
    structlog = sys.modules.get("structlog")
    if sys.stderr is not None and not logger.hasHandlers() and not (structlog and structlog.is_configured()):
        _plain[:] = [sys.stderr.write]


def forget() -> None:
    """Forget which events were logged, so that the next of each kind is logged again."""
    _last.clear()


def faults() -> int:
    """Return how often an observer, or the recording, has failed in this process."""
    return _total[0]


def count_fault(name: str, error: BaseException, **fields: str) -> None:
    """Count and log a fault of ours, or of an observer's; `fields` hold no content."""
    _total[0] += 1
    with suppress(Exception):  # the error's class may be odd, and at the end of the interpreter much is gone
        log("moa.observer_failed", key=name, observer=name, error=type(error).__qualname__, **fields)
