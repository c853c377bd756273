"""The usage classes of other providers' SDKs: one call, as each of them reports it."""

from __future__ import annotations

import pytest

from moa_middleware import Usage
from moa_middleware._capture.shapes.usage import read_usage_and_cost

EXPECTED = Usage(input_tokens=10, output_tokens=9, cache_read_tokens=20)
COUNTS = {"prompt_tokens": 30, "completion_tokens": 9, "total_tokens": 39}


def gemini():
    types = pytest.importorskip("google.genai.types", reason="google-genai is not installed")
    text = types.ModalityTokenCount(modality="TEXT", token_count=25)
    return types.GenerateContentResponseUsageMetadata(
        prompt_token_count=25,
        prompt_tokens_details=[text],
        tool_use_prompt_token_count=5,
        cached_content_token_count=20,
        candidates_token_count=9,
        total_token_count=39,
    )


def mistral():
    models = pytest.importorskip("mistralai.client.models", reason="mistralai is not installed")
    return models.UsageInfo.model_validate({**COUNTS, "num_cached_tokens": 20})


def cohere():
    types = pytest.importorskip("cohere.types", reason="cohere is not installed")
    counts = {"input_tokens": 30.0, "output_tokens": 9.0}
    return types.Usage.model_validate({"billed_units": {"input_tokens": 3.0}, "tokens": counts, "cached_tokens": 20.0})


def hugging_face():
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    return hub.ChatCompletionOutputUsage.parse_obj_as_instance({**COUNTS, "cached_tokens": 20})


@pytest.mark.parametrize("make", [gemini, mistral, cohere, hugging_face], ids=lambda make: make.__name__)
def test_an_sdks_usage_object(make):
    """Thirty tokens of a prompt, of them twenty from a cache, and nine of output; no price."""
    assert read_usage_and_cost(make()) == (EXPECTED, None)


def test_ollamas_reply():
    """The counts are next to the text."""
    ollama = pytest.importorskip("ollama", reason="ollama is not installed")
    reply = ollama.ChatResponse(message={"role": "assistant", "content": "A hat."}, prompt_eval_count=30, eval_count=9)
    assert read_usage_and_cost(reply) == (Usage(input_tokens=30, output_tokens=9), None)
