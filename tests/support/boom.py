"""An exception that only tests raise."""

from __future__ import annotations


class Boom(Exception):
    """A user's own error."""
