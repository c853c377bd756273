"""Filters, tokens with their probabilities, the sequence that stopped a reply, times."""

from __future__ import annotations

from tests.support.reply_items.form import ALL, TEXT, add, chat, chat_stream
from tests.support.wire_forms.form import stream, value
from tests.support.wire_forms.shared import USAGE, chunk, response, said

_SAFE = {"hate": {"filtered": False, "severity": "safe"}}
_PROMPT = [{"prompt_index": 0, "content_filter_results": _SAFE}]
chat(
    "azure-filters",
    TEXT,
    top={"prompt_filter_results": _PROMPT},
    choice={"content_filter_results": _SAFE},
    filters={"prompt_filter_results": _PROMPT, "content_filter_results": _SAFE},
)
add(
    stream(
        "items-azure-filters-stream",
        "chat",
        [
            chunk(choices=[], prompt_filter_results=_PROMPT),
            chunk({"role": "assistant", "content": "It is "}),
            chunk({"content": "a hat."}),
            chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop", "content_filter_results": _SAFE}]),
            chunk(choices=[], usage=USAGE),
        ],
    ),
    filters={"prompt_filter_results": _PROMPT, "content_filter_results": _SAFE},
)
_FOUND = [{"blocked": False, "source_type": "prompt", "content_filter_results": _SAFE}]
add(
    value("items-response-filters", "responses", response(said("It is a hat."), content_filters=_FOUND)),
    filters={"content_filters": _FOUND},
)


def _token(word):
    return {"token": word, "logprob": -0.5, "bytes": [*word.encode()], "top_logprobs": []}


chat(
    "logprobs",
    TEXT,
    choice={"logprobs": {"content": [_token("It")], "refusal": None}},
    sdks=ALL[:2],
    logprobs={"content": [_token("It")]},
)
chat_stream(
    "logprobs-stream",
    {"role": "assistant", "content": ""},
    *(
        ({"content": word}, {}, {"logprobs": {"content": [_token(word)], "refusal": None}})
        for word in ("It ", "is ", "a ", "hat.")
    ),
    early={"logprobs": {"content": [_token("It "), _token("is ")]}},
    logprobs={"content": [*map(_token, ("It ", "is ", "a ", "hat."))]},
)
add(
    value(
        "items-response-logprobs",
        "responses",
        response(
            {
                **said(),
                "content": [{"type": "output_text", "text": "It", "annotations": [], "logprobs": [_token("It")]}],
            }
        ),
    ),
    logprobs={"content": [_token("It")]},
)
chat("vllm-stop", TEXT, choice={"stop_reason": "END"}, stop_sequence="END")
chat(
    "cerebras-times",
    TEXT,
    top={"time_info": {"queue_time": 0.25, "total_time": 0.5, "created": 1764000000.5}},
    timings={"queue_time": 0.25, "total_time": 0.5, "created": 1764000000.5},
)
chat(
    "groq-times",
    TEXT,
    top={
        "x_groq": {"id": "req_1"},
        "usage": {**USAGE, "queue_time": 0.25, "prompt_time": 0.5, "completion_time": 1, "total_time": 2},
    },
    sdks=("groq", "openai"),
    timings={"queue_time": 0.25, "prompt_time": 0.5, "completion_time": 1, "total_time": 2},
)
chat(
    "ollama-times",
    TEXT,
    top={"total_duration": 5000, "eval_duration": 4000},
    timings={"total_duration": 5000, "eval_duration": 4000},
)
