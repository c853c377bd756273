"""
The key of a request: the same for requests that would get the same answer, so that a cache can go by it.

What is not known to be the same is not: a request that cannot be brought into one form has no key.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from ..shapes.client_secrets import secrets_of, texts_within
from ..shapes.values import plain

if TYPE_CHECKING:
    from ..flow.model import Call

__all__ = ["key_of"]

_FORM = 1
"""Number of the form that is hashed: another one has other keys."""
_LEFT_OUT = frozenset({"stream", "stream_options", "timeout"})
"""Arguments that say how the answer comes, and not which."""


def key_of(call: Call, function: Any) -> str | None:
    """
    Return the key of a request, 64 hex digits; `None` if it has none.

    Args:
        call: The call, as a middleware has changed it.
        function: What is known of its function, a `WrappedFunction`.
    """
    state = call._state
    if function.place is None or (function.is_method and (not function.sdk or state.client is None)):
        return None  # an object of the program's own may answer as it likes
    missed: list[str] = []
    named = function.spec.bind(call.args, call.kwargs)
    given = plain({name: value for name, value in named.items() if name not in _LEFT_OUT}, missed)
    if missed:
        return None
    # One way: a cache keeps the key, which must not show with which credentials it was asked.
    marks = [_hash(_form_of(value)) for value in secrets_of(state.client)] if function.is_method else []
    return _hash([_FORM, function.place, state.endpoint, given, marks])


def _form_of(value: Any) -> Any:
    """Return what is secret as JSON; of an object of an unknown class the texts in it."""
    missed: list[str] = []
    found = plain(value, missed)
    return [*texts_within(value)] if missed else found


def _hash(value: Any) -> str:
    data = json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(data.encode()).hexdigest()
