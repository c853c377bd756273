"""Responses in one piece and as events."""

from __future__ import annotations

from tests.support.wire_forms.form import stream, value
from tests.support.wire_forms.shared import response, response_events, said, text_events

FORMS = [
    value("response-text", "responses", response(said("It is a hat."))),
    stream(
        "response-stream-text",
        "responses",
        response_events(*text_events("It is ", "a hat."), final=response(said("It is a hat."))),
    ),
]
