"""The name that a session has in a directory: its traces' file, and its page of a report."""

from __future__ import annotations

import hashlib
import os
import unicodedata

__all__ = ["session_stem"]

_UNKNOWN = "unknown-session"
_LONGEST = 100
_DEVICES = frozenset({"con", "prn", "aux", "nul"} | {f"{port}{n}" for port in ("com", "lpt") for n in "0123456789¹²³"})


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
