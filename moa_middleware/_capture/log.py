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

from .turns.turn import current_turn

if TYPE_CHECKING:
    from collections.abc import MutableMapping

__all__ = ["add_turn_ids", "log"]

_MINUTE = 60.0
_last: dict[str, tuple[float, int]] = {}


def log(event: str, **fields: Any) -> None:
    """
    Log a warning, each kind of event at most once a minute; `count` says how many there were.

    Args:
        event: Dotted name; with `key` among the fields, each key is a kind of its own.
        **fields: What is known of it; never content.
    """
    kind = f"{event}:{fields.get('key', '')}"
    now = time.monotonic()
    then, missed = _last.get(kind, (0.0, 0))
    if then and now - then < _MINUTE:
        _last[kind] = (then, missed + 1)
        return
    _last[kind] = (now, 0)
    if missed:
        fields["count"] = missed + 1
    with suppress(Exception):  # a host's broken log must not break its call
        _emit(event, fields)


def _emit(event: str, fields: dict[str, Any]) -> None:
    structlog = sys.modules.get("structlog")
    if structlog is not None and structlog.is_configured():
        structlog.get_logger("moa_middleware").warning(event, **fields)
        return
    import logging

    text = " ".join(f"{name}={value}" for name, value in fields.items())
    logging.getLogger("moa_middleware").warning("%s %s", event, text)


def forget() -> None:
    """Forget which events were logged, so that the next of each kind is logged again."""
    _last.clear()


def add_turn_ids(_logger: object, _name: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """
    Add `moa_turn_id` and `moa_session_id` to the host's own log events: a structlog processor.

    Outside a turn the event passes unchanged, and so does a key that the host has set itself.
    """
    turn = current_turn()
    if turn is not None:
        event.setdefault("moa_turn_id", turn.id)
        if turn.session_id is not None:
            event.setdefault("moa_session_id", turn.session_id)
    return event
