"""Anthropic's messages in one piece and as events, direct and from Bedrock, Vertex and gateways."""

from __future__ import annotations

from tests.support.wire_forms.form import stream, value
from tests.support.wire_forms.shared import block_events, message, message_events, text_block


def _text(text, **more):
    return {"type": "text", "text": text, **more}


def _use(name="look", value=None, *, kind="tool_use", ident="tu_1", **more):
    return {"type": kind, "id": ident, "name": name, "input": {"at": "sky"} if value is None else value, **more}


def _json(*pieces):
    return [{"type": "input_json_delta", "partial_json": piece} for piece in pieces]


def _thinking(*pieces):
    return [
        *({"type": "thinking_delta", "thinking": piece} for piece in pieces),
        {"type": "signature_delta", "signature": "EqQB"},
    ]


def _message(name, *blocks, **more):
    return value(f"message-{name}", "messages", message(*blocks, **more))


def _stream(name, *events, newline="\n", **more):
    return stream(f"message-stream-{name}", "messages", message_events(*events, **more), newline=newline)


THOUGHT = {"type": "thinking", "thinking": "Round.", "signature": "EqQB"}
REDACTED = {"type": "redacted_thinking", "data": "EmwK"}
SEARCH = _use("web_search", {"query": "hat"}, kind="server_tool_use", ident="srvtoolu_1")
FOUND = {
    "type": "web_search_tool_result",
    "tool_use_id": "srvtoolu_1",
    "content": [
        {
            "type": "web_search_result",
            "url": "https://hats.example/1",
            "title": "Hats",
            "encrypted_content": "Eo8",
            "page_age": None,
        }
    ],
}
MCP = _use("roll", {"sides": 6}, kind="mcp_tool_use", ident="mcptoolu_1", server_name="dice")
ROLLED = {"type": "mcp_tool_result", "tool_use_id": "mcptoolu_1", "is_error": False, "content": [_text("4")]}
CODE = _use("bash_code_execution", {"command": "ls"}, kind="server_tool_use", ident="srvtoolu_2")
RAN = {
    "type": "bash_code_execution_tool_result",
    "tool_use_id": "srvtoolu_2",
    "content": {"type": "bash_code_execution_result", "stdout": "a.py", "stderr": "", "return_code": 0, "content": []},
}
CACHED = {
    "input_tokens": 8,
    "output_tokens": 6,
    "cache_read_input_tokens": 100,
    "cache_creation_input_tokens": 20,
    "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 0},
    "service_tier": "standard",
}
_CITATION = {
    "type": "char_location",
    "cited_text": "Round.",
    "document_index": 0,
    "document_title": "Hats",
    "start_char_index": 0,
    "end_char_index": 6,
}
_ERROR = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_7"}

FORMS = [
    _message("text", _text("It is a hat.")),
    _message("texts", _text("It is "), _text("a hat.")),
    _message("empty", stop="end_turn"),
    _message("stop-sequence", _text("It is"), stop="stop_sequence", stop_details=None),
    _message("max-tokens", _text("It is"), stop="max_tokens"),
    _message("refusal", _text("I can not."), stop="refusal"),
    _message("pause", _text("Wait."), SEARCH, stop="pause_turn"),
    _message("cached", _text("A hat."), usage=CACHED),
    _message("thinking", THOUGHT, _text("A hat.")),
    _message("thinking-twice", THOUGHT, _text("A "), {**THOUGHT, "thinking": " Sure."}, _text("hat.")),
    _message("thinking-redacted", REDACTED, _text("A hat.")),
    _message("thinking-empty", {**THOUGHT, "thinking": ""}, _text("A hat.")),
    _message("cited", _text("A hat.", citations=[_CITATION])),
    _message("call", _use(), stop="tool_use"),
    _message("call-caller", _use(caller={"type": "direct"}), stop="tool_use"),
    _message("call-no-input", _use(value={}), stop="tool_use"),
    _message("calls-and-text", _text("Wait."), _use(), _use("count", {"to": 3}, ident="tu_2"), stop="tool_use"),
    _message("web-search", SEARCH, FOUND, _text("A hat.")),
    _message(
        "code", CODE, RAN, _text("One file."), container={"id": "container_7", "expires_at": "2026-01-01T00:00:00Z"}
    ),
    _message("mcp", MCP, ROLLED, _text("Four.")),
    _message("mcp-odd-input", {**MCP, "input": {"deep": {"list": [1, {"a": None}]}}}, ROLLED, _text("Four.")),
    _message("unknown-block", {"type": "hologram", "id": "h_1", "data": {"x": 1}}, _text("A hat.")),
    _message("unknown-use", _use("paint", {"c": "red"}, kind="hologram_tool_use", ident="h_2"), stop="tool_use"),
    _message("bedrock", _text("A hat."), **{"amazon-bedrock-trace": {"guardrail": None}}),
    value("message-vertex", "messages", {**message(_text("A hat.")), "id": "msg_vrtx_01"}),
    value("message-error-in-200", "messages", _ERROR),
    value("message-error-of-a-gateway", "messages", {"error": {"message": "no route to the model", "code": 502}}),
    value("message-error-text", "messages", {"error": "the model is not loaded"}),
    value("message-status-529", "messages", _ERROR, status=529),
    _stream("text", *text_block(0, "It is ", "a hat.")),
    _stream("text-crlf", *text_block(0, "It is ", "a hat."), newline="\r\n"),
    _stream("unicode", *text_block(0, "Ein Hut, é: ", "帽子\u2028🎩")),
    _stream("pings", {"type": "ping"}, *text_block(0, "It is ", "a hat."), {"type": "ping"}),
    _stream("texts", *text_block(0, "It is "), *text_block(1, "a hat.")),
    _stream("max-tokens", *text_block(0, "It ", "is"), stop="max_tokens"),
    _stream("stop-sequence", *text_block(0, "It ", "is"), stop="stop_sequence", end={"stop_sequence": "\n"}),
    _stream("cached", *text_block(0, "A hat."), start={**CACHED, "output_tokens": 1}, usage={"output_tokens": 6}),
    _stream(
        "usage-again",
        *text_block(0, "A hat."),
        start={**CACHED, "output_tokens": 1},
        usage={
            "input_tokens": 30,
            "cache_read_input_tokens": 100,
            "cache_creation_input_tokens": 20,
            "output_tokens": 9,
            "server_tool_use": {"web_search_requests": 1},
        },
    ),
    _stream(
        "thinking",
        *block_events(0, {**THOUGHT, "thinking": "", "signature": ""}, *_thinking("Rou", "nd.")),
        *text_block(1, "A hat."),
    ),
    _stream("thinking-redacted", *block_events(0, REDACTED), *text_block(1, "A hat.")),
    _stream(
        "thinking-between",
        *text_block(0, "A "),
        *block_events(1, {**THOUGHT, "thinking": ""}, *_thinking("Sure.")),
        *text_block(2, "hat."),
    ),
    _stream(
        "cited",
        *block_events(
            0,
            _text("", citations=[]),
            {"type": "text_delta", "text": "A hat."},
            {"type": "citations_delta", "citation": _CITATION},
        ),
    ),
    _stream("call", *block_events(0, _use(value={}), *_json("", '{"at"', ':"sky"}')), stop="tool_use"),
    _stream("call-no-input", *block_events(0, _use(value={}), *_json("")), stop="tool_use"),
    _stream("call-at-once", *block_events(0, _use()), stop="tool_use"),
    _stream(
        "calls-and-text",
        *text_block(0, "Wait."),
        *block_events(1, _use(value={}), *_json('{"at":"sky"}')),
        *block_events(2, _use("count", {}, ident="tu_2"), *_json('{"to"', ":3}")),
        stop="tool_use",
    ),
    _stream(
        "web-search",
        *block_events(0, {**SEARCH, "input": {}}, *_json('{"query":', '"hat"}')),
        *block_events(1, FOUND),
        *text_block(2, "A hat."),
    ),
    _stream(
        "mcp",
        *block_events(0, {**MCP, "input": {}}, *_json('{"sides":6}')),
        *block_events(1, ROLLED),
        *text_block(2, "Four."),
    ),
    _stream("mcp-at-once", *block_events(0, MCP), *block_events(1, ROLLED), *text_block(2, "Four.")),
    _stream(
        "code",
        *block_events(0, {**CODE, "input": {}}, *_json('{"command":"ls"}')),
        *block_events(1, RAN),
        *text_block(2, "One file."),
    ),
    _stream("unknown-block", *block_events(0, {"type": "hologram", "data": {"x": 1}}), *text_block(1, "A hat.")),
    _stream("empty-end-turn", usage={"output_tokens": 2}),
    stream("message-stream-error-event", "messages", [*message_events(*text_block(0, "It is ", "a hat."))[:4], _ERROR]),
    stream("message-stream-error-first", "messages", [_ERROR]),
    stream(
        "message-stream-error-of-a-gateway",
        "messages",
        [
            *message_events(*text_block(0, "It is ", "a hat."))[:4],
            {"type": "error", "error": {"message": "upstream timeout"}},
        ],
    ),
]
