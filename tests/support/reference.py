"""A reference that says a text, and what a record says of it."""

from __future__ import annotations

import moa_middleware as moa


def reference(text, *, wait=None):
    """Return a decorated reference that answers `text`."""

    @moa.reference(label=text)
    def ask(messages):
        if wait is not None:
            wait()
        return text

    return ask


def outputs(record):
    return [call["output"] for call in record["references"]]
