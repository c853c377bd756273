"""What a plain function is asked, and the record of its call."""

from __future__ import annotations

USER = {"role": "user", "content": "Why is the sky blue?"}
SYSTEM = {"role": "system", "content": "Be brief."}
BOTH = [SYSTEM, USER]
ASKED = USER["content"]
BRIEF = SYSTEM["content"]


def call_of(turns):
    """Return the record of the one reference of the last turn."""
    (call,) = turns[-1]["references"]
    return call
