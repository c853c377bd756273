"""
The credentials of one call, by value: what an exception quotes of them is taken out of its message.

`_redaction` knows credentials by their form. A key of no known form, a header's value or a part of a
query is known only because this very call was made with it. This is not a part of `redact`, which
knows no calls, and which is imported only where redaction is asked for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..._redaction import MARK
from ..._redaction.messages import without_secrets
from ..shapes.client_secrets import secrets_of, secrets_of_error, texts_within

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["hide", "texts", "texts_of_error"]

_SHORTEST = 6
"""Characters of a value below which a message may contain it by chance."""
_PLACEHOLDERS = frozenset(
    (
        *("anthropic", "api-key", "api_key", "apikey", "bearer", "changeme", "default", "example", "lm-studio"),
        *("lmstudio", "local-key", "localhost", "no-key", "no-key-required", "not-needed", "not-required"),
        *("not_needed", "ollama", "openai", "placeholder", "sk-no-key-required", "stream", "unused", "your-api-key"),
    )
)
"""Values that programs give for a key where a server asks for none; error messages consist of such words."""
_WORD = re.compile(r"[^\W\d]{1,15}")
"""A value that may be a part of a longer word."""


def texts(hidden: Iterable[Any], client: object) -> list[str]:
    """Return what no message may quote: the texts in arguments that are not recorded, and a client's keys; long ones first."""
    values = [*hidden, *secrets_of(client)] if client is not None else [*hidden]
    found = {text for value in values for text in texts_within(value)}
    found = {text for text in found if len(text) >= _SHORTEST and text.lower() not in _PLACEHOLDERS}
    return sorted(found, key=len, reverse=True)


def texts_of_error(error: BaseException) -> list[str]:
    """Return what an exception itself has of the credentials that its request was sent with; never raises."""
    try:
        return texts(secrets_of_error(error), None)
    except Exception:  # a mapping of the user's own class
        return []


def hide(message: str, values: Sequence[str]) -> str:
    """Return a message without these texts, and without credentials of a known form; a long one is cut."""

    def replace(text: str) -> str:
        for value in values:
            if _WORD.fullmatch(value):
                # The value "search" is not taken out of "research". A longer text, or one with digits, is found in a
                # word only where a message glues a key to it.
                text = re.sub(rf"(?<![^\W\d_]){re.escape(value)}(?![^\W\d_])", MARK, text)
            else:
                text = text.replace(value, MARK)
        return text

    return without_secrets(message, replace=replace, room=max(map(len, values), default=0))
