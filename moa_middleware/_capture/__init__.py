"""The live wing: what runs inside the user's call, from the decorator to the line in the file."""

from .teardown import guard as _guard

_guard()  # before any other module of the wing is imported
