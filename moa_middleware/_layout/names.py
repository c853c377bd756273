"""Names in a directory: a session's, for its traces' file and its page of a report, and a turn's, for its journal."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata

__all__ = ["is_turn_id", "session_stem"]

_UNKNOWN = "unknown-session"
_LONGEST = 100
_DEVICES = frozenset({"con", "prn", "aux", "nul"} | {f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³"})
_TURN_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def is_turn_id(name: str) -> bool:
    """Return True if a name is an id that a turn of this library may have: a UUIDv7 (RFC 9562, section 5.7)."""
    return _TURN_ID.fullmatch(name) is not None


def session_stem(session_id: str | None) -> str:
    """
    Return the name of a session's file, without directory and ending: no two sessions share one.

    Letters, digits and `-_.` stay, as in the seed's traces; anything else becomes `_`. An id that
    was changed, is long, begins or ends with a dot or is the name of a Windows device gets `~` and
    8 hex digits of its SHA-256.
    """
    if session_id is None:
        return _UNKNOWN
    normal = unicodedata.normalize("NFC", session_id)
    kept = "".join(c if c.isalnum() or c in "-_." else "_" for c in normal)
    changed = (
        kept != session_id
        or not kept
        or len(kept) > _LONGEST
        or len(kept.encode()) > 2 * _LONGEST
        or kept.startswith(".")
        or kept.endswith(".")
        or kept.partition(".")[0].casefold() in _DEVICES
        or kept == _UNKNOWN
    )
    if changed:
        digest = hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        short = kept.strip(".")[:_LONGEST]
        while len(short.encode()) > 2 * _LONGEST:
            short = short[:-1]
        kept = f"{short}~{digest}"
    try:
        os.fsencode(kept)
    except UnicodeEncodeError:  # in the locale C, say
        digest = hashlib.sha256(session_id.encode("utf-8", "surrogatepass")).hexdigest()[:8]
        kept = f"{''.join(c if c.isascii() else '_' for c in kept.partition('~')[0])}~{digest}"
    return kept
