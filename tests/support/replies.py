"""Replies and chunks in every form that a reader may get them in."""

from __future__ import annotations

import json
from types import SimpleNamespace


def namespace(value):
    """Return JSON as a look-alike of an SDK's object."""
    return json.loads(json.dumps(value), object_hook=lambda d: SimpleNamespace(**d))
