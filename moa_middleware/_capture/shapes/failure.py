"""
A failure that a provider reports in a reply, where its SDK raises nothing.

Servers send it with the status 200, in the body, in a choice or in an event. Sources of the forms: the
API references of OpenAI, Anthropic, OpenRouter (*Errors*), Groq and MiniMax (`base_resp`), and vLLM's server,
whose older versions name such a body by `object`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import ProviderError
from .fields import get

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["failure_in", "failure_of"]

_TEXT_OF_ERROR = 2000
"""Characters of an error of unknown form that are kept."""


def failure_of(error: Any) -> ProviderError:
    """
    Return an error as an exception that is recorded and never raised.

    Args:
        error: A text, or an object with `message`, `code` or `type`.
    """
    if isinstance(error, str):
        return ProviderError(error)
    found = [get(error, name) for name in ("code", "message")]
    words = [str(word) for word in found if isinstance(word, str | int) and word != "" and type(word) is not bool]
    if not isinstance(found[1], str) and isinstance(kind := get(error, "type"), str):
        words.append(kind)
    body = {name: value for name in ("code", "type") if isinstance(value := get(error, name), str | int)}
    return ProviderError(": ".join(words) or str(error)[:_TEXT_OF_ERROR], body)


def _is_error(error: Any) -> bool:
    """Return True if the value under `error` says that something failed."""
    if isinstance(error, str):
        return bool(error)
    # Programs have objects of their own under that name, for example a number: the error of an estimate.
    # Gateways send an empty one with each reply.
    words = [get(error, name) for name in ("message", "code", "type")]
    return any(isinstance(word, str) and word for word in words) or (words[0] == "" and bool(words[1]))


def failure_in(find: Callable[[str], Any]) -> ProviderError | None:
    """
    Return the failure that a body, an event or a choice reports, `None` if it reports none.

    Args:
        find: Looks up its fields.
    """
    error = find("error")
    if error is None and (rider := find("x_groq")) is not None:
        error = get(rider, "error")  # Groq's word for why it broke a stream off
    if error is not None and _is_error(error):
        return failure_of(error)
    if find("type") == "error" or find("object") == "error":
        message = find("message")
        if isinstance(message, str):
            code = find("code")
            return failure_of({"message": message, "code": code})
    base = find("base_resp")
    code = None if base is None else get(base, "status_code")
    if isinstance(code, int | str) and code and code != "0":
        return failure_of({"message": get(base, "status_msg"), "code": code})
    return None
