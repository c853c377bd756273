"""Anthropic's messages in one piece and as events."""

from __future__ import annotations

from tests.support.wire_forms.form import stream, value
from tests.support.wire_forms.shared import message, message_events, text_block

FORMS = [
    value("message-text", "messages", message({"type": "text", "text": "It is a hat."})),
    stream("message-stream-text", "messages", message_events(*text_block(0, "It is ", "a hat."))),
]
