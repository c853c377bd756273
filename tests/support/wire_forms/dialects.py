"""Chat completions as single providers send them: what is next to the text, and where the tokens are."""

from __future__ import annotations

from tests.support.wire_forms.form import stream, value
from tests.support.wire_forms.shared import USAGE, chunk, completion, words


def _tokens(prompt, output, *, total=None, **more):
    return {"prompt_tokens": prompt, "completion_tokens": output, "total_tokens": total or prompt + output, **more}


def _usage(read, output, cached=None, written=None, reasoned=None):
    """Return tokens as a record has them."""
    return {
        "input_tokens": read,
        "output_tokens": output,
        "cache_read_tokens": cached,
        "cache_write_tokens": written,
        "reasoning_tokens": reasoned,
    }


def _value(name, message, **more):
    pinned = {key: more.pop(key) for key in ("pin", "sdks") if key in more}
    return value(name, "chat", completion(message, **more), sdks=pinned.get("sdks"), **pinned.get("pin", {}))


_OPENAI = _tokens(
    21,
    9,
    prompt_tokens_details={"cached_tokens": 5, "audio_tokens": 0},
    completion_tokens_details={
        "reasoning_tokens": 4,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
)
_PERPLEXITY = {
    "citations": ["https://hats.example/1"],
    "search_results": [{"title": "Hats", "url": "https://hats.example/1", "date": "2025-11-02"}],
}
_FILTERS = {"hate": {"filtered": False, "severity": "safe"}, "violence": {"filtered": False, "severity": "safe"}}
_TIMES = {"queue_time": 0.01, "prompt_time": 0.002, "completion_time": 0.05, "total_time": 0.052}
_SPENT = _tokens(11, 7, **_TIMES)
_CALL = {"id": "call_00_x", "type": "function", "function": {"name": "look", "arguments": '{"at":"sky"}'}, "index": 0}


def _split_usage(chunks, usage, **last):
    """Return a stream whose last chunk with a choice has the tokens, as most servers but OpenAI's send them."""
    return [*chunks[:-1], {**chunks[-1], "usage": usage, **last}]


_BARE = words("It is ", "a hat.", usage=None)

FORMS = [
    # OpenAI and Azure.
    _value(
        "openai",
        {"content": "A hat.", "refusal": None, "annotations": []},
        usage=_OPENAI,
        service_tier="default",
        system_fingerprint="fp_7",
        choice={"logprobs": None},
        pin={"usage": _usage(16, 9, 5, None, 4)},
    ),
    _value(
        "openai-annotated",
        {
            "content": "A hat.",
            "annotations": [
                {
                    "type": "url_citation",
                    "url_citation": {
                        "url": "https://hats.example/1",
                        "title": "Hats",
                        "start_index": 0,
                        "end_index": 5,
                    },
                }
            ],
        },
    ),
    _value(
        "openai-logprobs",
        {"content": "A"},
        choice={
            "logprobs": {
                "content": [{"token": "A", "logprob": -0.1, "bytes": [65], "top_logprobs": []}],
                "refusal": None,
            }
        },
    ),
    stream(
        "openai-stream",
        "chat",
        [
            *({**one, "service_tier": "default", "system_fingerprint": "fp_7", "obfuscation": "x1"} for one in _BARE),
            chunk(choices=[], usage=_OPENAI),
        ],
        usage=_usage(16, 9, 5, None, 4),
    ),
    _value(
        "azure",
        {"content": "A hat."},
        choice={"content_filter_results": _FILTERS},
        prompt_filter_results=[{"prompt_index": 0, "content_filter_results": _FILTERS}],
    ),
    stream(
        "azure-stream",
        "chat",
        [
            {
                "id": "",
                "object": "",
                "created": 0,
                "model": "",
                "choices": [],
                "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": _FILTERS}],
            },
            *words("It is ", "a hat."),
        ],
    ),
    stream(
        "azure-stream-async-filter",
        "chat",
        [
            *_BARE,
            {
                "id": "",
                "object": "",
                "created": 0,
                "model": "",
                "choices": [
                    {
                        "index": 0,
                        "finish_reason": None,
                        "content_filter_offsets": {"check_offset": 0, "start_offset": 0},
                        "content_filter_results": _FILTERS,
                    }
                ],
            },
        ],
    ),
    # OpenRouter.
    _value(
        "openrouter",
        {
            "content": "A hat.",
            "reasoning": "Round.",
            "refusal": None,
            "reasoning_details": [
                {
                    "type": "reasoning.text",
                    "text": "Round.",
                    "signature": "Eq",
                    "format": "anthropic-claude-v1",
                    "index": 0,
                }
            ],
        },
        provider="Anthropic",
        choice={"native_finish_reason": "stop"},
        usage=_tokens(
            21,
            9,
            cost=0.0012,
            is_byok=False,
            cost_details={"upstream_inference_cost": None},
            prompt_tokens_details={"cached_tokens": 0},
            completion_tokens_details={"reasoning_tokens": 4},
        ),
        pin={"usage": _usage(21, 9, 0, None, 4)},
    ),
    stream(
        "openrouter-stream",
        "chat",
        [
            ": OPENROUTER PROCESSING",
            *({**one, "provider": "Acme"} for one in _BARE),
            chunk({"role": "assistant", "content": ""}, usage=_tokens(11, 7, cost=0.0001), provider="Acme"),
        ],
    ),
    _value(
        "openrouter-image",
        {
            "content": "Here.",
            "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}, "index": 0}],
        },
    ),
    # Groq.
    _value(
        "groq",
        {"content": "A hat."},
        usage=_SPENT,
        usage_breakdown=None,
        system_fingerprint="fp_g",
        x_groq={"id": "req_7", "seed": 1},
        service_tier="on_demand",
        sdks=("groq", "openai"),
    ),
    _value(
        "groq-compound",
        {
            "content": "A hat.",
            "reasoning": "Search first.",
            "executed_tools": [
                {
                    "index": 0,
                    "type": "search",
                    "arguments": '{"query":"hat"}',
                    "output": "Title: Hats",
                    "search_results": None,
                }
            ],
        },
        usage=_SPENT,
        x_groq={"id": "req_7"},
        sdks=("groq", "openai"),
    ),
    stream(
        "groq-stream-both",
        "chat",
        [
            {**_BARE[0], "x_groq": {"id": "req_7", "seed": 1}},
            *_BARE[1:-1],
            {**_BARE[-1], "x_groq": {"id": "req_7", "usage": _SPENT}, "usage": _SPENT},
        ],
        sdks=("groq", "openai"),
    ),
    stream(
        "groq-stream",
        "chat",
        [
            {**_BARE[0], "x_groq": {"id": "req_7", "seed": 1}},
            *_BARE[1:-1],
            {**_BARE[-1], "x_groq": {"id": "req_7", "usage": _SPENT}},
        ],
        sdks=("groq", "openai"),
    ),
    stream(
        "groq-stream-error",
        "chat",
        [
            {**_BARE[0], "x_groq": {"id": "req_7"}},
            *_BARE[1:3],
            {**chunk(), "x_groq": {"id": "req_7", "error": "over_capacity"}},
        ],
        sdks=("groq", "openai"),
        error="over_capacity",
        outcome="error",
    ),
    stream(
        "groq-stream-error-event",
        "chat",
        [
            *_BARE[:2],
            'event: error\ndata: {"error":{"message":"tool call failed","type":"invalid_request_error","status_code":400}}',
        ],
        sdks=("groq", "openai"),
    ),
    # Mistral.
    _value("mistral", {"content": "A hat.", "tool_calls": None, "prefix": False}, usage=_tokens(11, 7)),
    _value(
        "mistral-call",
        {
            "content": "",
            "tool_calls": [{"id": "D681PevKs", "function": {"name": "look", "arguments": '{"at":"sky"}'}, "index": 0}],
        },
        finish="tool_calls",
    ),
    _value(
        "mistral-cached",
        {"content": "A hat."},
        usage=_tokens(64, 7, num_cached_tokens=32),
        pin={"usage": _usage(32, 7, 32)},
    ),
    stream("mistral-stream", "chat", _split_usage(_BARE, USAGE)),
    stream(
        "mistral-stream-call",
        "chat",
        _split_usage(
            [
                chunk({"role": "assistant", "content": ""}),
                chunk(
                    {
                        "content": "",
                        "tool_calls": [
                            {"id": "D681PevKs", "function": {"name": "look", "arguments": '{"at":"sky"}'}, "index": 0}
                        ],
                    },
                    finish="tool_calls",
                ),
            ],
            USAGE,
        ),
    ),
    # DeepSeek, xAI, Perplexity, Moonshot, z.ai, MiniMax.
    _value(
        "deepseek",
        {"content": "A hat.", "reasoning_content": "Round."},
        usage=_tokens(
            21,
            9,
            prompt_cache_hit_tokens=16,
            prompt_cache_miss_tokens=5,
            prompt_tokens_details={"cached_tokens": 16},
            completion_tokens_details={"reasoning_tokens": 4},
        ),
        pin={"usage": _usage(5, 9, 16, None, 4)},
    ),
    _value(
        "deepseek-old",
        {"content": "A hat."},
        usage=_tokens(21, 9, prompt_cache_hit_tokens=16, prompt_cache_miss_tokens=5),
        pin={"usage": _usage(5, 9, 16)},
    ),
    _value("deepseek-overloaded", {"content": "It is"}, finish="insufficient_system_resource"),
    stream(
        "deepseek-stream",
        "chat",
        [
            ": keep-alive",
            chunk({"role": "assistant", "content": None, "reasoning_content": ""}),
            chunk({"content": None, "reasoning_content": "Rou"}),
            chunk({"content": None, "reasoning_content": "nd."}),
            chunk({"content": "A ", "reasoning_content": None}),
            chunk({"content": "hat.", "reasoning_content": None}),
            chunk({"content": "", "reasoning_content": None}, finish="stop", usage=USAGE),
        ],
    ),
    stream(
        "deepseek-stream-call",
        "chat",
        [
            chunk({"role": "assistant", "content": ""}),
            chunk({"tool_calls": [{**_CALL, "function": {"name": "look", "arguments": ""}}]}),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"at"'}}]}),
            chunk({"tool_calls": [{"index": 0, "function": {"arguments": ':"sky"}'}}]}),
            chunk({"content": ""}, finish="tool_calls", usage=USAGE),
        ],
    ),
    _value(
        "xai",
        {"content": "A hat.", "reasoning_content": "Round.", "refusal": None},
        usage=_tokens(
            10,
            2,
            total=332,
            completion_tokens_details={"reasoning_tokens": 320},
            prompt_tokens_details={"cached_tokens": 0},
            num_sources_used=0,
            cost_in_usd_ticks=1650000,
        ),
        pin={"usage": _usage(10, 322, 0, None, 320)},
    ),
    _value("xai-citations", {"content": "A hat."}, citations=["https://hats.example/1"]),
    _value(
        "perplexity",
        {"content": "A hat.[1]"},
        choice={"delta": {"role": "assistant", "content": ""}},
        **_PERPLEXITY,
        usage={**USAGE, "search_context_size": "low", "cost": {"total_cost": 0.006, "request_cost": 0.005}},
    ),
    stream(
        "perplexity-stream",
        "chat",
        [
            chunk(
                choices=[
                    {
                        "index": 0,
                        "finish_reason": finish,
                        "delta": {"role": "assistant", "content": piece},
                        "message": {"role": "assistant", "content": so_far},
                    }
                ],
                **_PERPLEXITY,
                usage=USAGE,
            )
            for piece, so_far, finish in (("A ", "A ", None), ("hat.", "A hat.", None), ("", "A hat.", "stop"))
        ],
    ),
    stream(
        "perplexity-stream-empty-first",
        "chat",
        [
            chunk(
                choices=[
                    {
                        "index": 0,
                        "finish_reason": finish,
                        "delta": {"role": "assistant", "content": piece},
                        "message": {"role": "assistant", "content": so_far},
                    }
                ]
            )
            for piece, so_far, finish in (("", "", None), ("A hat.", "A hat.", None), ("", "A hat.", "stop"))
        ],
    ),
    _value(
        "moonshot",
        {"content": "A hat.", "reasoning_content": "Round."},
        usage=_tokens(64, 7, cached_tokens=32),
        pin={"usage": _usage(32, 7, 32)},
    ),
    stream(
        "moonshot-stream",
        "chat",
        [*_BARE[:-1], chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop", "usage": USAGE}])],
    ),
    _value(
        "zai",
        {"content": "\nA hat.", "reasoning_content": "Round."},
        request_id="2025",
        web_search=[{"icon": "", "title": "Hats", "link": "https://hats.example/1", "media": "", "refer": "ref_1"}],
    ),
    stream(
        "zai-stream-call-at-once",
        "chat",
        [
            chunk({"role": "assistant", "reasoning_content": "Look."}),
            chunk({"tool_calls": [_CALL]}),
            chunk({"role": "assistant", "content": ""}, finish="tool_calls", usage=USAGE),
        ],
    ),
    _value("zai-sensitive", {"content": ""}, finish="sensitive"),
    _value(
        "minimax",
        {"content": "A hat.", "reasoning_content": "Round.", "name": "MiniMax AI", "audio_content": ""},
        base_resp={"status_code": 0, "status_msg": ""},
        output_sensitive=False,
    ),
    stream(
        "minimax-stream",
        "chat",
        [
            {**one, "base_resp": {"status_code": 0, "status_msg": ""}, "input_sensitive": False}
            for one in _split_usage(_BARE, USAGE)
        ],
    ),
    # Together, HF's router, vLLM, SGLang, Ollama, LM Studio, llama.cpp, Cerebras, Snowflake, Gemini, litellm, Bedrock.
    _value(
        "together",
        {"content": "A hat.", "tool_calls": []},
        prompt=[],
        choice={"seed": 7},
        finish="eos",
        usage=_tokens(64, 7, cached_tokens=32),
        sdks=("together", "openai"),
        pin={"usage": _usage(32, 7, 32)},
    ),
    stream(
        "together-stream",
        "chat",
        [
            chunk(
                choices=[
                    {
                        "index": 0,
                        "text": piece,
                        "logprobs": None,
                        "finish_reason": finish,
                        "seed": None,
                        "delta": {"token_id": 7, "role": "assistant", "content": piece, "tool_calls": None},
                    }
                ],
                usage=USAGE if finish else None,
            )
            for piece, finish in (("A ", None), ("hat", None), (".", "stop"))
        ],
        sdks=("together", "openai"),
    ),
    _value(
        "hf-router",
        {"content": "A hat.", "tool_call_id": None},
        usage=_tokens(64, 7, cached_tokens=0),
        pin={"usage": _usage(64, 7, 0)},
    ),
    _value(
        "vllm",
        {"content": "A hat.", "reasoning_content": None, "tool_calls": [], "function_call": None},
        choice={"stop_reason": None, "token_ids": None},
        usage=_tokens(11, 7, prompt_tokens_details=None),
        prompt_logprobs=None,
        kv_transfer_params=None,
    ),
    stream(
        "vllm-stream",
        "chat",
        [
            chunk({"role": "assistant", "content": ""}, prompt_token_ids=None),
            chunk({"reasoning_content": "Rou", "reasoning": "Rou"}),
            chunk({"reasoning_content": "nd.", "reasoning": "nd."}),
            chunk({"content": "A hat."}),
            chunk(choices=[{"index": 0, "delta": {"content": ""}, "finish_reason": "stop", "stop_reason": 151645}]),
            chunk(choices=[], usage=USAGE),
        ],
    ),
    _value("ollama", {"content": "A hat.", "reasoning": "Round."}, system_fingerprint="fp_ollama"),
    stream(
        "ollama-stream",
        "chat",
        [
            chunk({"role": "assistant", "content": "", "reasoning": "Round."}),
            chunk({"role": "assistant", "content": "A hat."}),
            chunk({"role": "assistant", "content": ""}, finish="stop"),
        ],
    ),
    stream(
        "ollama-stream-calls",
        "chat",
        [
            chunk({"role": "assistant", "content": "", "tool_calls": [{**_CALL, "id": f"call_{number}"}]})
            for number in (1, 2)
        ]
        + [chunk({"role": "assistant", "content": ""}, finish="tool_calls")],
    ),
    _value(
        "lm-studio",
        {"content": "A hat.", "reasoning_content": "", "tool_calls": []},
        stats={},
        system_fingerprint="m-1",
        choice={"logprobs": None},
    ),
    _value("llama-cpp", {"content": "A hat."}, timings={"prompt_n": 11, "prompt_ms": 20.5, "predicted_n": 7}),
    _value("cerebras", {"content": "A hat.", "reasoning": "Round."}, time_info=_TIMES),
    _value("snowflake", {"content": "A hat.", "content_list": [{"type": "text", "text": "A hat."}]}),
    _value("gemini", {"content": "A hat."}, usage=_tokens(35, 12, total=109)),
    stream(
        "gemini-stream",
        "chat",
        [
            chunk({"role": "assistant", "content": "A "}, usage=_tokens(35, 0)),
            chunk({"role": "assistant", "content": "hat."}, finish="stop", usage=_tokens(35, 12)),
        ],
    ),
    _value(
        "gemini-calls",
        {
            "role": "assistant",
            "tool_calls": [
                {
                    "id": "",
                    "type": "function",
                    "function": {"name": "look", "arguments": '{"at":"sky"}'},
                    "extra_content": {"google": {"thought_signature": "CqAB"}},
                },
                {"id": "", "type": "function", "function": {"name": "look", "arguments": '{"at":"sea"}'}},
            ],
        },
        finish="tool_calls",
    ),
    _value("gemini-thoughts", {"content": "A hat.", "extra_content": {"google": {"thought": True}}}),
    _value(
        "litellm-proxy",
        {
            "content": "A hat.",
            "reasoning_content": "Round.",
            "thinking_blocks": [{"type": "thinking", "thinking": "Round.", "signature": "Eq"}],
            "provider_specific_fields": {},
        },
        usage=_tokens(120, 7, prompt_tokens_details={"cached_tokens": 100}, cache_read_input_tokens=100),
        pin={"usage": _usage(20, 7, 100)},
    ),
    _value("bedrock", {"content": "<reasoning>Round.</reasoning>A hat.", "refusal": None}, service_tier="default"),
    _value("portkey", {"content": "A hat."}, provider="acme", hook_results={"before_request_hooks": []}),
    _value("sambanova", {"content": "A hat."}, usage={**USAGE, "total_latency": 0.5, "is_last_response": True}),
    _value(
        "fireworks",
        {"content": "A hat."},
        usage=_tokens(21, 9, prompt_tokens_details={"cached_tokens": 16}),
        pin={"usage": _usage(5, 9, 16)},
    ),
]
