"""Items that are not plain text: results of tools, images, audio, what a resend needs."""

from __future__ import annotations

import hashlib
from typing import Any

from tests.support.reply_items.form import TEXT, add, chat, chat_stream
from tests.support.wire_forms.form import stream, value
from tests.support.wire_forms.shared import (
    block_events,
    item_events,
    message,
    message_events,
    response,
    response_events,
    said,
    text_block,
)

PNG = "iVBORw0KGgoAAAANSUhEUg=="
_PNG_BYTES = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
PNG_DIGEST = {"media_type": "image/png", "bytes": len(_PNG_BYTES), "sha256": hashlib.sha256(_PNG_BYTES).hexdigest()}
_RIFF = b"RIFF\x10\0\0\0WAVEfmt "
WAV_DIGEST = {"media_type": "audio/wav", "bytes": len(_RIFF), "sha256": hashlib.sha256(_RIFF).hexdigest()}
_TOOLS = [{"index": 0, "type": "search", "arguments": '{"query": "hats"}', "output": "A brim."}]
chat(
    "executed-tools",
    {**TEXT, "executed_tools": _TOOLS},
    sdks=("groq", "openai"),
    parts=[{"type": "executed_tools", "executed_tools": _TOOLS}],
)
chat_stream(
    "executed-tools-stream",
    {"role": "assistant", "executed_tools": [{k: v for k, v in _TOOLS[0].items() if k != "output"}]},
    {"executed_tools": _TOOLS},
    {"content": "It is a hat."},
    sdks=("groq", "openai"),
    parts=[{"type": "executed_tools", "executed_tools": _TOOLS}],
)
chat(
    "images",
    {**TEXT, "images": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}, "index": 0}]},
    parts=[{"type": "images", "images": [{"type": "image_url", "image_url": {"url": PNG_DIGEST}, "index": 0}]}],
)
_AUDIO = {"type": "audio", "data": WAV_DIGEST, "id": "audio_1", "expires_at": 1764003600}
chat(
    "audio",
    {
        "content": None,
        "audio": {
            "id": "audio_1",
            "expires_at": 1764003600,
            "data": "UklGRhAAAABXQVZFZm10IA==",
            "transcript": "It is a hat.",
        },
    },
    parts=[_AUDIO],
)
chat_stream(
    "audio-stream",
    {"role": "assistant", "audio": {"id": "audio_1", "transcript": "It is "}},
    {"audio": {"data": "UklGRhAAAABX", "transcript": "a hat."}},
    {"audio": {"data": "QVZFZm10IA=="}},
    {"audio": {"expires_at": 1764003600}},
    parts=[_AUDIO],
)
chat(
    "reasoning-details",
    {
        **TEXT,
        "reasoning_details": [
            {
                "type": "reasoning.text",
                "text": "Round.",
                "signature": "Eq8=",
                "format": "anthropic-claude-v1",
                "index": 0,
            },
            {"type": "reasoning.encrypted", "data": "Z0FB" * 2000, "id": "rs_1", "index": 1},
        ],
    },
    parts=[
        {
            "type": "reasoning_details",
            "reasoning_details": [
                {"type": "reasoning.text", "signature": "Eq8=", "format": "anthropic-claude-v1", "index": 0},
                {"type": "reasoning.encrypted", "data": "Z0FB" * 2000, "id": "rs_1", "index": 1},
            ],
        }
    ],
)
chat_stream(
    "reasoning-details-stream",
    {"role": "assistant", "reasoning_details": [{"type": "reasoning.text", "text": "Rou", "index": 0}]},
    {"reasoning_details": [{"type": "reasoning.text", "text": "nd.", "index": 0}]},
    {"reasoning_details": [{"type": "reasoning.text", "signature": "Eq8=", "index": 0}]},
    {"content": "It is a hat."},
    parts=[
        {
            "type": "reasoning_details",
            "reasoning_details": [{"type": "reasoning.text", "signature": "Eq8=", "index": 0}],
        }
    ],
)
chat(
    "thought-signature",
    {
        "content": None,
        "tool_calls": [
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "look", "arguments": "{}"},
                "extra_content": {"google": {"thought_signature": "Eq8="}},
            }
        ],
    },
    parts=[{"type": "tool_call", "id": "c1", "extra_content": {"google": {"thought_signature": "Eq8="}}}],
)
chat(
    "unseen-field",
    {**TEXT, "holograms": [{"depth": 3}]},
    choice={"draft": True},
    top={"related_questions": ["Whose hat?"]},
    parts=[
        {"type": "related_questions", "related_questions": ["Whose hat?"]},
        {"type": "draft", "draft": True},
        {"type": "holograms", "holograms": [{"depth": 3}]},
    ],
)
chat(
    "content-parts",
    {
        "content": [
            {"type": "text", "text": "It is"},
            {"type": "reference", "reference_ids": [0, 2]},
            {"type": "text", "text": " a hat."},
        ]
    },
    citations=[{"type": "reference", "details": {"reference_ids": [0, 2]}}],
)

_OUTPUT: list[tuple[dict[str, Any], dict[str, Any] | None]] = [
    (
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
        {"type": "reasoning", "id": "rs_1", "encrypted_content": "gAAA"},
    ),
    ({"type": "reasoning", "id": "rs_2", "summary": [{"type": "summary_text", "text": "Round."}]}, None),
    (
        {
            "type": "function_call",
            "id": "fc_1",
            "call_id": "c1",
            "name": "look",
            "arguments": "{}",
            "status": "completed",
        },
        None,
    ),
    (
        {
            "type": "mcp_call",
            "id": "mcp_1",
            "server_label": "hats",
            "name": "find",
            "arguments": "{}",
            "output": "A brim.",
            "error": None,
        },
        {"type": "mcp_call", "id": "mcp_1", "server_label": "hats", "output": "A brim."},
    ),
    (
        {
            "type": "code_interpreter_call",
            "id": "ci_1",
            "code": "1+1",
            "container_id": "cntr_1",
            "status": "completed",
            "outputs": [{"type": "logs", "logs": "2"}],
        },
        {
            "type": "code_interpreter_call",
            "id": "ci_1",
            "container_id": "cntr_1",
            "status": "completed",
            "outputs": [{"type": "logs", "logs": "2"}],
        },
    ),
    (
        {
            "type": "shell_call_output",
            "id": "sh_1",
            "call_id": "c2",
            "output": [{"stdout": "hat\n", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}],
        },
        {
            "type": "shell_call_output",
            "id": "sh_1",
            "call_id": "c2",
            "output": [{"stdout": "hat\n", "stderr": "", "outcome": {"type": "exit", "exit_code": 0}}],
        },
    ),
    (
        {
            "type": "image_generation_call",
            "id": "ig_1",
            "status": "completed",
            "result": PNG,
            "revised_prompt": "A hat, please.",
        },
        {
            "type": "image_generation_call",
            "id": "ig_1",
            "status": "completed",
            "result": PNG_DIGEST,
            "revised_prompt": "A hat, please.",
        },
    ),
    (
        {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "hats", "name": "buy", "arguments": "{}"},
        {"type": "mcp_approval_request", "id": "mcpr_1", "server_label": "hats", "name": "buy", "arguments": "{}"},
    ),
    (
        {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAB"},
        {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAB"},
    ),
    ({"type": "hologram", "id": "h_1", "depth": 3}, {"type": "hologram", "id": "h_1", "depth": 3}),
]
_SENT = [sent for sent, _ in _OUTPUT]
_PARTS = [kept for _, kept in _OUTPUT if kept is not None]
add(value("items-response-output", "responses", response(*_SENT, said("It is a hat."))), parts=_PARTS)
add(
    stream(
        "items-response-output-stream",
        "responses",
        response_events(
            *(event for index, one in enumerate(_SENT) for event in item_events(one, index=index)),
            final=response(*_SENT, said("It is a hat.")),
        ),
    ),
    {"parts": _PARTS[:3]},
    parts=_PARTS,
)
_PHASES = [said("Wait. ", phase="commentary"), {**said("It is a hat.", phase="final_answer"), "id": "msg_8"}]
_IN_PHASES = [
    {
        "type": "message",
        "id": "msg_7",
        "status": "completed",
        "role": "assistant",
        "phase": "commentary",
        "start": 0,
        "end": 6,
    },
    {
        "type": "message",
        "id": "msg_8",
        "status": "completed",
        "role": "assistant",
        "phase": "final_answer",
        "start": 6,
        "end": 18,
    },
]
add(value("items-response-phases", "responses", response(*_PHASES)), parts=_IN_PHASES)
add(
    stream(
        "items-response-phases-stream",
        "responses",
        response_events(
            *(event for index, one in enumerate(_PHASES) for event in item_events(one, index=index)),
            final=response(*_PHASES),
        ),
    ),
    parts=_IN_PHASES,
)

_BLOCKS: list[tuple[dict[str, Any], dict[str, Any] | None]] = [
    ({"type": "thinking", "thinking": "Round.", "signature": "Eq8="}, {"type": "thinking", "signature": "Eq8="}),
    ({"type": "redacted_thinking", "data": "EmwK"}, {"type": "redacted_thinking", "data": "EmwK"}),
    ({"type": "tool_use", "id": "tu_1", "name": "look", "input": {}}, None),
    ({"type": "server_tool_use", "id": "st_1", "name": "web_search", "input": {"query": "hats"}}, None),
    (
        {"type": "mcp_tool_use", "id": "mt_1", "name": "find", "input": {}, "server_name": "hats"},
        {"type": "mcp_tool_use", "id": "mt_1", "server_name": "hats"},
    ),
]
_RESULTS: list[dict[str, Any]] = [
    {
        "type": "web_search_tool_result",
        "tool_use_id": "st_1",
        "content": [
            {
                "type": "web_search_result",
                "url": "https://a.example/1",
                "title": "A 1",
                "encrypted_content": "Eq8=",
                "page_age": None,
            }
        ],
    },
    {
        "type": "web_fetch_tool_result",
        "tool_use_id": "st_2",
        "content": {
            "type": "web_fetch_result",
            "url": "https://a.example/1",
            "content": {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "A brim."},
                "title": "A 1",
            },
            "retrieved_at": "2026-01-02T00:00:00Z",
        },
    },
    {
        "type": "bash_code_execution_tool_result",
        "tool_use_id": "st_3",
        "content": {"type": "bash_code_execution_result", "stdout": "2", "stderr": "", "return_code": 0, "content": []},
    },
    {
        "type": "mcp_tool_result",
        "tool_use_id": "mt_1",
        "is_error": False,
        "content": [{"type": "text", "text": "A brim."}],
    },
    {
        "type": "tool_search_tool_result",
        "tool_use_id": "st_4",
        "content": {
            "type": "tool_search_tool_search_result",
            "tool_references": [{"type": "tool_reference", "tool_name": "look"}],
        },
    },
    {"type": "hologram", "depth": 3},
]
_BLOCK_PARTS = [*(kept for _, kept in _BLOCKS if kept is not None), *_RESULTS]
add(
    value(
        "items-message-blocks",
        "messages",
        message(*(sent for sent, _ in _BLOCKS), *_RESULTS, {"type": "text", "text": "A hat."}),
    ),
    parts=_BLOCK_PARTS,
)
add(
    stream(
        "items-message-blocks-stream",
        "messages",
        message_events(
            *block_events(
                0,
                {"type": "thinking", "thinking": "", "signature": ""},
                {"type": "thinking_delta", "thinking": "Round."},
                {"type": "signature_delta", "signature": "Eq8="},
            ),
            *(event for n, (sent, _) in enumerate(_BLOCKS[1:], 1) for event in block_events(n, sent)),
            *(event for n, one in enumerate(_RESULTS, len(_BLOCKS)) for event in block_events(n, one)),
            *text_block(len(_BLOCKS) + len(_RESULTS), "A hat."),
        ),
    ),
    parts=_BLOCK_PARTS,
)
_CONTAINER = {"id": "container_1", "expires_at": "2026-01-02T00:00:00Z"}
_SPENT = [
    {"type": "message", "model": "m-1", "input_tokens": 12, "output_tokens": 6},
    {"type": "advisor_message", "model": "m-9", "input_tokens": 100, "output_tokens": 50},
]
_FACTS = [{"type": "container", "container": _CONTAINER}, {"type": "usage_iteration", "usage_iteration": _SPENT[1]}]
add(
    value(
        "items-message-facts",
        "messages",
        message(
            {"type": "text", "text": "A hat."},
            stop="stop_sequence",
            stop_sequence="END",
            container=_CONTAINER,
            usage={"input_tokens": 12, "output_tokens": 6, "inference_geo": "eu", "iterations": _SPENT},
        ),
    ),
    parts=_FACTS,
    stop_sequence="END",
    served_by={"region": "eu"},
)
add(
    stream(
        "items-message-facts-stream",
        "messages",
        message_events(
            *text_block(0, "A hat."),
            stop="stop_sequence",
            start={"input_tokens": 12, "output_tokens": 1, "inference_geo": "eu"},
            end={"stop_sequence": "END", "container": _CONTAINER},
            usage={"output_tokens": 6, "iterations": _SPENT},
        ),
    ),
    {"served_by": {"region": "eu"}},
    parts=_FACTS,
    stop_sequence="END",
    served_by={"region": "eu"},
)
