"""Credentials of the clients of providers: no record quotes one, wherever a client holds it."""

from __future__ import annotations

import json
from importlib import import_module

import pytest

import moa_middleware as moa
from moa_middleware.testing import capture_turns
from tests.support.loopback import Answer, Loopback
from tests.support.providers import ASKED, is_installed

SECRET = "Zq81xyKw20"
"""Of no form that is known."""
MESSAGES = [{"role": "user", "content": ASKED}]
BLOCKS = [{"role": "user", "content": [{"text": ASKED}]}]


def _gemini(url, key="k-1", **options):
    types = import_module("google.genai.types")
    return import_module("google.genai").Client(api_key=key, http_options=types.HttpOptions(base_url=url, **options))


def _ask_gemini(client, **config):
    types = import_module("google.genai.types")
    return client.models.generate_content(model="m", contents=ASKED, config=types.GenerateContentConfig(**config))


def _bedrock(url, **keys):
    keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s", **keys}
    return import_module("boto3").client("bedrock-runtime", region_name="us-east-1", endpoint_url=url, **keys)


def _ask_bedrock(client):
    return client.converse(modelId="m", messages=BLOCKS)


def _cohere(url, name, **options):
    return getattr(import_module("cohere"), name)(base_url=url, **options)


def _hugging_face(url, **options):
    return import_module("huggingface_hub").InferenceClient(base_url=url, **options)


HEADERS = {"X-Auth-Token": SECRET}
WAYS = {
    "gemini key": ("google.genai", lambda url: _gemini(url, SECRET), _ask_gemini),
    "gemini header": ("google.genai", lambda url: _gemini(url, headers=HEADERS), _ask_gemini),
    "gemini call": ("google.genai", _gemini, lambda client: _ask_gemini(client, http_options={"headers": HEADERS})),
    "bedrock key": ("boto3", lambda url: _bedrock(url, aws_secret_access_key=SECRET), _ask_bedrock),
    "bedrock session": ("boto3", lambda url: _bedrock(url, aws_session_token=SECRET), _ask_bedrock),
    "cohere key": (
        "cohere",
        lambda url: _cohere(url, "ClientV2", api_key=SECRET),
        lambda client: client.chat(model="m", messages=MESSAGES),
    ),
    "cohere 1 key": (
        "cohere",
        lambda url: _cohere(url, "Client", api_key=SECRET),
        lambda client: client.chat(model="m", message=ASKED),
    ),
    "hugging face header": (
        "huggingface_hub",
        lambda url: _hugging_face(url, api_key="k-1", headers=HEADERS),
        lambda client: client.chat_completion(messages=MESSAGES),
    ),
}


def _refused(_path, _asked):
    words = f"no such key: {SECRET}"
    body = {"error": {"code": 401, "message": words, "status": "UNAUTHENTICATED"}, "message": words}
    return Answer([json.dumps(body).encode()], status=401)


@pytest.mark.parametrize("way", WAYS)
def test_no_record_quotes_a_credential(way):
    """A server repeats what it refuses."""
    sdk, connect, ask = WAYS[way]
    if not is_installed(sdk):
        pytest.skip(f"{sdk} is not installed (it needs an environment of its own)")
    with Loopback(_refused) as server, capture_turns() as turns:
        client = moa.instrument(connect(server.url))
        with pytest.raises(Exception, match=SECRET):  # the caller's exception is the SDK's own
            ask(client)
        moa.flush()
    assert "[secret]" in json.dumps(turns)
    assert SECRET not in json.dumps(turns)


@pytest.mark.parametrize("is_dict", [True, False], ids=["dict", "object"])
def test_what_is_recorded_of_a_config_may_be_quoted(is_dict):
    """Its headers are hidden, and its other texts are words like any."""
    types = pytest.importorskip(
        "google.genai.types", reason="google.genai is not installed (an environment of its own)"
    )
    given = {"system_instruction": "no such key", "http_options": {"headers": HEADERS}}
    config = given if is_dict else types.GenerateContentConfig(**given)
    with Loopback(_refused) as server, capture_turns() as turns:
        client = moa.instrument(_gemini(server.url))
        with pytest.raises(Exception, match=SECRET):
            client.models.generate_content(model="m", contents=ASKED, config=config)
        moa.flush()
    [turn] = turns
    [call] = [*turn["references"], *([turn["aggregator"]] if turn["aggregator"] else []), *turn["calls"]]
    assert "no such key: [secret]" in call["error"]["message"]
