"""All forms of what a reply holds next to its text, each with what a record has of it."""

from __future__ import annotations

from tests.support.reply_items import citations, facts, parts
from tests.support.reply_items.form import ITEMS

__all__ = ["ITEMS", "citations", "facts", "parts"]
