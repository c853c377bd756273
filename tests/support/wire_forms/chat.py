"""Chat completions in one piece."""

from __future__ import annotations

from tests.support.wire_forms.form import value
from tests.support.wire_forms.shared import completion

FORMS = [
    value("chat-text", "chat", completion({"content": "It is a hat."}), sdks=("openai", "groq", "together")),
    value(
        "chat-mistral-thinking",
        "chat",
        completion(
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "Round, with a brim. "}]},
                    {"type": "text", "text": "A hat."},
                ]
            }
        ),
    ),
    value("chat-error-in-200", "chat", {"error": {"code": "content_filter", "message": "filtered by policy"}}),
]
