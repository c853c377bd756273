"""
The SDKs whose requests, replies or chunks have a form of their own: one module for each.

A module of `FORMATS` (by family) has:

* `KEYS`: a reply and a chunk of the form have one of these fields.
* `messages_of(given)` and `system_of(given)`: the argument as messages, and the content of the system
  message; `messages_from(messages)` and `system_from(content)` go back. Where the argument is a body with
  parameters in it, it has `opened(given)`, whose result both take, `params_of(given)`, and `messages_into(given, messages)`
  in place of the latter two.
* `feed(gathered, chunk)`: take a chunk in; False if it is not of the form.
* `read_value(data, raw)`: the `Reply` of a value, `None` if it is not of the form.
* `render_chunk(raw, chunk)`: a copy of a chunk with another text, `None` if it has no place for one.

A module of `MAKERS` (by SDK) has `render(reply, call, is_async)`: the SDK's own object for a reply that a
middleware made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import bedrock, bedrock_answer, bedrock_body, cohere, gemini, huggingface, mistral, ollama

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["FORMATS", "KEYS", "MAKERS"]

FORMATS: dict[str, ModuleType] = {
    "bedrock": bedrock,
    "bedrock_body": bedrock_body,
    "cohere": cohere,
    "gemini": gemini,
    "mistral": mistral,
    "ollama": ollama,
}
"""By family."""
MAKERS: dict[str, ModuleType] = {
    "bedrock": bedrock_answer,
    "cohere": cohere,
    "google-genai": gemini,
    "huggingface_hub": huggingface,
    "mistralai": mistral,
    "ollama": ollama,
}
"""By the name of the SDK."""
KEYS: frozenset[str] = frozenset().union(*(module.KEYS for module in FORMATS.values()))
"""A dict or an object without one of these is of none of `FORMATS`."""
