"""Hugging Face's inference clients: the form of OpenAI's chat completions, in classes of the SDK's own."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from .wire import completion, replayed

if TYPE_CHECKING:
    from ..flow.model import Call, Reply

__all__ = ["render"]

_TYPES = "huggingface_hub.inference._generated.types.chat_completion"


def render(reply: Reply, call: Call, *, is_async: bool) -> Any:
    """
    Return a reply that a middleware made as the SDK's own object, for a stream as its only chunk.

    Args:
        reply: The reply.
        call: The call that it answers.
        is_async: Whether a stream is to be an async one.
    """
    types = sys.modules[_TYPES]
    made = types.ChatCompletionStreamOutput if call.stream else types.ChatCompletionOutput
    said = made.parse_obj_as_instance(completion(reply, call.model, "delta" if call.stream else "message"))
    return replayed([said], is_async=is_async) if call.stream else said
