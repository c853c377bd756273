"""Responses and messages as other providers than OpenAI and Anthropic send them, and Azure through its own client."""

from __future__ import annotations

from tests.support.wire_forms.form import stream, value
from tests.support.wire_forms.shared import (
    block_events,
    completion,
    item_events,
    message,
    message_events,
    response,
    response_events,
    said,
    text_block,
    text_events,
    words,
)

AZURE = ("azure",)
_SAFE = {"hate": {"filtered": False, "severity": "safe"}}
_FILTERED = {
    "error": {
        "message": "The response was filtered due to the prompt triggering the content management policy.",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {"filtered": True}}},
    }
}
_HAT = said("It is a hat.")
_TEXT = text_events("It is ", "a hat.")
_THOUGHT = {"type": "reasoning", "id": "rs_7", "status": "completed", "summary": []}
_XAI_SEARCH = {
    "type": "custom_tool_call",
    "id": "ctc_7",
    "call_id": "xs_call_7",
    "status": "completed",
    "name": "x_semantic_search",
    "input": '{"query":"hat"}',
}
_XAI_BROWSE = {
    "type": "web_search_call",
    "id": "ws_7",
    "status": "completed",
    "action": {"type": "open_page", "url": "https://hats.example/1"},
}
_ARGUMENTS = {"type": "function_call", "id": "fc_7", "call_id": "fc_7", "name": "look", "arguments": '{"at":"sky"}'}


def _text(text):
    return {"type": "text", "text": text}


FORMS = [
    # Azure, with its own client.
    value(
        "azure-client", "chat", completion({"content": "A hat."}, choice={"content_filter_results": _SAFE}), sdks=AZURE
    ),
    value("azure-client-filtered-in-200", "chat", _FILTERED, sdks=AZURE),
    value("azure-client-filtered-400", "chat", _FILTERED, status=400, sdks=AZURE),
    value(
        "azure-client-without-message",
        "chat",
        {
            **completion({"content": ""}),
            "choices": [
                {"index": 0, "finish_reason": "content_filter", "content_filter_results": {"hate": {"filtered": True}}}
            ],
        },
        sdks=AZURE,
    ),
    stream("azure-client-stream", "chat", words("It is ", "a hat."), sdks=AZURE),
    value("azure-client-response", "responses", response(_HAT, content_filters=[{"blocked": False}]), sdks=AZURE),
    stream("azure-client-response-stream", "responses", response_events(*_TEXT, final=response(_HAT)), sdks=AZURE),
    # xAI's responses.
    value(
        "xai-response-searches",
        "responses",
        response(
            _XAI_SEARCH,
            _XAI_BROWSE,
            _HAT,
            usage={
                "input_tokens": 30,
                "input_tokens_details": {"cached_tokens": 10},
                "output_tokens": 9,
                "output_tokens_details": {"reasoning_tokens": 4},
                "total_tokens": 39,
                "num_server_side_tools_used": 2,
            },
        ),
    ),
    stream(
        "xai-response-stream-searches",
        "responses",
        response_events(
            *item_events(_XAI_SEARCH, begun={**_XAI_SEARCH, "status": "in_progress"}),
            *text_events("A hat.", index=1),
            final=response(_XAI_SEARCH, said("A hat.")),
        ),
    ),
    stream(
        "xai-response-stream-first-id-differs",
        "responses",
        response_events(
            *item_events(_XAI_SEARCH, begun={**_XAI_SEARCH, "call_id": "", "name": "", "input": ""}),
            final=response(_XAI_SEARCH),
        ),
    ),
    # Open weights behind vLLM, Ollama, LM Studio, OpenRouter and HF's router.
    value(
        "vllm-response-reasoning",
        "responses",
        response(
            {**_THOUGHT, "content": [{"type": "reasoning_text", "text": "Round."}]},
            _HAT,
            max_tool_calls=None,
            kv_transfer_params=None,
        ),
    ),
    value("vllm-response-call", "responses", response(_ARGUMENTS)),
    stream(
        "lm-studio-response-stream",
        "responses",
        response_events(
            *item_events(
                {**_THOUGHT, "content": [{"type": "reasoning_text", "text": "Round."}]},
                *(
                    {
                        "type": "response.reasoning_text.delta",
                        "item_id": "rs_7",
                        "output_index": 0,
                        "content_index": 0,
                        "delta": one,
                    }
                    for one in ("Rou", "nd.")
                ),
                begun=_THOUGHT,
            ),
            *text_events("A hat.", index=1),
            final=response({**_THOUGHT, "content": [{"type": "reasoning_text", "text": "Round."}]}, said("A hat.")),
        ),
    ),
    stream(
        "ollama-response-stream-call-at-once",
        "responses",
        response_events(
            *item_events(
                _ARGUMENTS,
                {
                    "type": "response.function_call_arguments.done",
                    "item_id": "fc_7",
                    "output_index": 0,
                    "arguments": '{"at":"sky"}',
                },
                begun={**_ARGUMENTS, "arguments": ""},
            ),
            final=response(_ARGUMENTS),
        ),
    ),
    value(
        "openrouter-response",
        "responses",
        response(
            {
                **_THOUGHT,
                "summary": [{"type": "summary_text", "text": "Round."}],
                "signature": "Eq",
                "format": "unknown",
            },
            _HAT,
            usage={
                "input_tokens": 20,
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": 9,
                "output_tokens_details": {"reasoning_tokens": 4},
                "total_tokens": 29,
                "cost": 0.001,
                "is_byok": False,
            },
        ),
    ),
    value(
        "openrouter-response-error",
        "responses",
        response(status="failed", error={"code": "server_error", "message": "no provider is available"}),
    ),
    # Messages of Bedrock, Vertex, and of the endpoints of DeepSeek, Moonshot, MiniMax, z.ai, OpenRouter and LM Studio.
    stream(
        "bedrock-message-stream",
        "messages",
        [
            *message_events(*text_block(0, "It is ", "a hat."))[:-1],
            {
                "type": "message_stop",
                "amazon-bedrock-invocationMetrics": {"inputTokenCount": 12, "outputTokenCount": 6},
            },
        ],
    ),
    value("bedrock-message-guarded", "messages", message(_text("I can not."), stop="guardrail_intervened")),
    value(
        "deepseek-message",
        "messages",
        message(
            {"type": "thinking", "thinking": "Round.", "signature": "a1"},
            _text("A hat."),
            usage={
                "input_tokens": 12,
                "output_tokens": 6,
                "cache_read_input_tokens": 0,
                "cache_creation_input_tokens": 0,
            },
        ),
    ),
    value(
        "moonshot-message",
        "messages",
        message(
            _text("A hat."),
            stop_details=None,
            usage={"input_tokens": 12, "output_tokens": 6, "cached_tokens": 0, "cache_read_input_tokens": 0},
        ),
    ),
    value(
        "minimax-message-error",
        "messages",
        {
            "type": "error",
            "error": {"type": "authorized_error", "message": "login fail", "http_code": "401"},
            "request_id": "r1",
        },
    ),
    value("minimax-message", "messages", message(_text("A hat."), base_resp={"status_code": 0, "status_msg": ""})),
    stream(
        "zai-message-stream-usage-at-end",
        "messages",
        message_events(
            *text_block(0, "A hat."),
            start={"input_tokens": 0, "output_tokens": 0},
            usage={"input_tokens": 12, "output_tokens": 6, "cache_read_input_tokens": 3, "service_tier": "standard"},
        ),
    ),
    stream(
        "openrouter-message-stream",
        "messages",
        message_events(
            *block_events(
                0,
                {"type": "thinking", "thinking": "", "signature": ""},
                {"type": "thinking_delta", "thinking": "Round."},
                {"type": "signature_delta", "signature": "Eq"},
            ),
            *text_block(1, "A hat."),
            provider="Anthropic",
        ),
    ),
    stream(
        "lm-studio-message-stream-call",
        "messages",
        message_events(
            *block_events(
                0,
                {"type": "tool_use", "id": "1", "name": "look", "input": {}},
                *({"type": "input_json_delta", "partial_json": piece} for piece in ('{"at":', '"sky"', "}")),
            ),
            stop="tool_use",
        ),
    ),
]
