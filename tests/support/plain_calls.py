"""A model that answers, clients made of it, and a writer that keeps lines in memory."""

from __future__ import annotations

import moa_middleware as moa


@moa.reference(label="r")
def ask(messages, *, temperature=None, **options):
    """Answer with the messages themselves where they are a text."""
    return "an answer"


class Plain:
    """Something whose calls have no role until one is inferred."""

    def create(self, messages):
        return "an answer"


class Memory:
    """A writer of the user's."""

    def __init__(self):
        self.lines = []
        self.fail = False

    def write(self, session_id, line):
        if self.fail:
            raise OSError(28, "No space left on device")
        self.lines.append((session_id, line))
