"""Chat completions as events."""

from __future__ import annotations

from tests.support.wire_forms.form import stream
from tests.support.wire_forms.shared import chunk, words

FORMS = [
    stream("chat-stream-text", "chat", words("It ", "is ", "a ", "hat."), sdks=("openai", "groq", "together")),
    stream(
        "chat-stream-custom-call",
        "chat",
        [
            chunk(
                {
                    "role": "assistant",
                    "tool_calls": [{"index": 0, "id": "c1", "type": "custom", "custom": {"name": "sql", "input": ""}}],
                }
            ),
            chunk({"tool_calls": [{"index": 0, "custom": {"input": "select "}}]}),
            chunk({"tool_calls": [{"index": 0, "custom": {"input": "1"}}]}),
            chunk(finish="tool_calls"),
        ],
    ),
]
