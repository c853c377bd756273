"""Forms of what a reply holds next to its text, each with the keys that a record has of it; written by hand."""

from __future__ import annotations

from typing import Any, NamedTuple

from tests.support.wire_forms.form import WireForm, stream, value
from tests.support.wire_forms.shared import USAGE, chunk, completion

CREATED = {"created": 1764000000}
ALL = ("openai", "groq", "together")


class Expected(NamedTuple):
    """A form, and what its record has: every key that is not always there."""

    form: WireForm
    keys: dict[str, Any]
    early: dict[str, Any] | None
    """The same where the stream is left after half of its events; `None` where that is not looked at."""

    def __str__(self):
        return self.form.name


ITEMS: list[Expected] = []


def add(form, early=None, *, created=True, **keys):
    has_time = created and form.api != "messages"
    ITEMS.append(Expected(form, {**(CREATED if has_time else {}), **keys}, early))


def chat(name, message, choice=None, top=None, sdks=None, **keys):
    add(value(f"items-{name}", "chat", completion(message, choice=choice, **(top or {})), sdks=sdks), **keys)


def chat_stream(name, *deltas, early=None, sdks=None, **keys):
    """Add a stream; a delta is a dict, or that and further keys of its chunk and of its choice."""
    made = []
    for one in deltas:
        delta, top, choice = (*one, {}, {})[:3] if isinstance(one, tuple) else (one, {}, {})
        made.append(chunk(choices=[{"index": 0, "delta": delta, "finish_reason": None, **choice}], **top))
    events = [*made, chunk(finish="stop"), chunk(choices=[], usage=USAGE)]
    add(stream(f"items-{name}", "chat", events, sdks=sdks), early, **keys)


TEXT = {"content": "It is a hat."}
