"""What the tests of `moa.instrument` share."""

from __future__ import annotations

HELLO = [{"role": "user", "content": "hello"}]


def attributes(*owners):
    """Return the very objects that classes hold: a wrapper compares equal to what it wraps."""
    return [{name: id(value) for name, value in vars(owner).items()} for owner in owners]


class Plain:
    """A client that knows nothing of us."""

    def create(self, messages):
        return "plain"
