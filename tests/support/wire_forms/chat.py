"""Chat completions in one piece, by what their message holds."""

from __future__ import annotations

from tests.support.wire_forms.form import value
from tests.support.wire_forms.shared import completion

ALL = ("openai", "groq", "together")


def _call(ident, name, arguments, **more):
    return {"id": ident, "type": "function", "function": {"name": name, "arguments": arguments}, **more}


def _thought(*texts):
    return {"type": "thinking", "thinking": [{"type": "text", "text": text} for text in texts]}


def _text(text):
    return {"type": "text", "text": text}


LOOK, COUNT = _call("c1", "look", '{"at": "sky"}'), _call("c2", "count", '{"to": 3}')


def _chat(name, message, *, sdks=None, **more):
    return value(f"chat-{name}", "chat", completion(message, **more), sdks=sdks)


FORMS = [
    _chat("text", {"content": "It is a hat."}, sdks=ALL),
    _chat("empty-text", {"content": ""}),
    _chat("unicode", {"content": "Ein Hut, é: 帽子 🎩\u2028ok"}),
    _chat("refusal", {"content": None, "refusal": "I will not say."}),
    _chat("refusal-part", {"content": [{"type": "refusal", "refusal": "Not this."}]}),
    _chat("text-parts", {"content": [_text("A "), _text("hat.")]}),
    _chat("length", {"content": "It is"}, finish="length"),
    # Reasoning, in each place where it is sent.
    _chat("reasoning-content", {"content": "A hat.", "reasoning_content": "Round."}, sdks=ALL),
    _chat("reasoning", {"content": "A hat.", "reasoning": "Round."}, sdks=ALL),
    _chat(
        "reasoning-details-text",
        {"content": "A hat.", "reasoning_details": [{"type": "reasoning.text", "text": "Round."}]},
    ),
    _chat(
        "reasoning-details-summary",
        {
            "content": "A hat.",
            "reasoning": None,
            "reasoning_details": [
                {"type": "reasoning.summary", "summary": "**Shape** ", "format": "openai-responses-v1", "index": 0},
                {"type": "reasoning.summary", "summary": "It has a brim.", "format": "openai-responses-v1", "index": 1},
                {"type": "reasoning.encrypted", "data": "Z0FBQUE=", "format": "openai-responses-v1", "index": 2},
            ],
        },
    ),
    _chat(
        "reasoning-and-details",
        {
            "content": "A hat.",
            "reasoning": "Round.",
            "reasoning_details": [{"type": "reasoning.text", "text": "Round."}],
        },
    ),
    _chat("details-without-type", {"content": "A hat.", "reasoning_details": [{"text": "Round."}]}),
    _chat("thinking-parts", {"content": [_thought("Round, ", "with a brim. "), _text("A hat.")]}, sdks=ALL),
    _chat("thinking-text", {"content": [{"type": "thinking", "thinking": "Round."}, _text("A hat.")]}),
    _chat("thinking-only", {"content": [_thought("Round.")]}, finish="length"),
    _chat("thinking-closed", {"content": [{**_thought("Round."), "closed": True}, _text("A hat.")]}),
    _chat(
        "thinking-and-reference",
        {
            "content": [
                _thought("Two sources. "),
                _text("A hat"),
                {"type": "reference", "reference_ids": [0, 2]},
                _text("."),
            ]
        },
    ),
    # Spoken answers.
    _chat(
        "spoken",
        {
            "content": None,
            "audio": {"id": "audio_1", "expires_at": 1764003600, "data": "UklGRg==", "transcript": "It is a hat."},
        },
    ),
    _chat("spoken-and-text", {"content": "A hat.", "audio": {"id": "a", "data": "", "transcript": "A hat indeed."}}),
    _chat("spoken-silence", {"content": None, "audio": {"id": "a", "data": "", "transcript": ""}}),
    # Tool calls.
    _chat("call", {"content": None, "tool_calls": [LOOK]}, finish="tool_calls", sdks=ALL),
    _chat("calls-and-text", {"content": "Wait.", "tool_calls": [LOOK, COUNT]}, finish="tool_calls"),
    _chat("call-decoded", {"content": "", "tool_calls": [_call("c1", "look", {"at": "sky"})]}, finish="tool_calls"),
    _chat("call-empty-arguments", {"content": None, "tool_calls": [_call("c1", "now", "")]}, finish="tool_calls"),
    _chat(
        "call-indexed",
        {"content": None, "tool_calls": [{**LOOK, "index": 0}, {**COUNT, "index": 1}]},
        finish="tool_calls",
    ),
    _chat(
        "calls-all-index-0",
        {"content": "", "tool_calls": [{**LOOK, "index": 0}, {**COUNT, "index": 0}]},
        finish="tool_calls",
    ),
    _chat(
        "calls-without-ids",
        {"content": "", "tool_calls": [_call("", "look", '{"at": "sky"}'), _call("", "look", '{"at": "sea"}')]},
        finish="tool_calls",
    ),
    _chat(
        "call-custom",
        {
            "content": None,
            "tool_calls": [{"id": "c1", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}],
        },
        finish="tool_calls",
    ),
    _chat(
        "calls-of-both-kinds",
        {
            "content": None,
            "tool_calls": [LOOK, {"id": "c3", "type": "custom", "custom": {"name": "grammar", "input": "a + b"}}],
        },
        finish="tool_calls",
    ),
    _chat(
        "function-call", {"content": None, "function_call": {"name": "look", "arguments": "{}"}}, finish="function_call"
    ),
    _chat(
        "reasoning-and-call",
        {"content": None, "reasoning": "I have to look.", "tool_calls": [LOOK]},
        finish="tool_calls",
        sdks=ALL,
    ),
    # Several choices.
    value(
        "chat-choices",
        "chat",
        {
            **completion({"content": "One."}),
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": "One."}, "finish_reason": "stop"},
                {"index": 1, "message": {"role": "assistant", "content": "Two."}, "finish_reason": "length"},
            ],
        },
    ),
    value(
        "chat-choices-thinking",
        "chat",
        {
            **completion({"content": ""}),
            "choices": [
                {"index": 0, "message": {"content": [_thought("A. "), _text("One.")]}, "finish_reason": "stop"},
                {"index": 1, "message": {"content": [_thought("B. "), _text("Two.")]}, "finish_reason": "stop"},
            ],
        },
    ),
    value("chat-no-choices", "chat", {**completion({"content": ""}), "choices": []}),
    value(
        "text-completion",
        "text",
        {
            "id": "cmpl-1",
            "object": "text_completion",
            "created": 1,
            "model": "m-1",
            "choices": [{"index": 0, "text": " a hat.", "logprobs": None, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7},
        },
    ),
    value(
        "text-completion-choices",
        "text",
        {
            "id": "cmpl-2",
            "object": "text_completion",
            "created": 1,
            "model": "m-1",
            "choices": [
                {"index": 0, "text": " a hat.", "logprobs": None, "finish_reason": "stop"},
                {"index": 1, "text": " a cap.", "logprobs": None, "finish_reason": "length"},
            ],
            "usage": {"prompt_tokens": 4, "completion_tokens": 6, "total_tokens": 10},
        },
    ),
    value("text-completion-error", "text", {"error": {"message": "the engine is busy", "code": 503}}),
]
