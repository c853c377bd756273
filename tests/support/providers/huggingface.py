"""Hugging Face's inference clients, on a mock transport."""

from __future__ import annotations

import contextlib
from functools import partial

import httpx

from . import Form, Provider
from .chat import MESSAGES, answering, in_a_field, refuses, truth
from .http import async_transport, transport


@contextlib.contextmanager
def connect(answer, *, is_async=False):
    """Give a client whose requests are answered here: the package has one HTTP client for all of them."""
    import huggingface_hub as hub

    made = hub.AsyncInferenceClient if is_async else hub.InferenceClient
    hub.set_client_factory(lambda: httpx.Client(transport=transport(answer), trust_env=False))
    hub.set_async_client_factory(lambda: httpx.AsyncClient(transport=async_transport(answer), trust_env=False))
    try:
        yield made(base_url="http://mock/v1", api_key="canary-key")
    finally:
        hub.set_client_factory(partial(httpx.Client, trust_env=False))
        hub.set_async_client_factory(partial(httpx.AsyncClient, trust_env=False))
        hub.close_session()


PARAMS = {"temperature": 0.5, "seed": 7}
GIVEN = {"messages": MESSAGES, "model": "m", **PARAMS}


def _value_text(value):
    return value.choices[0].message.content or ""


def _chunk_text(chunk):
    return chunk.choices[0].delta.content or ""


def _forms():
    for is_async in (False, True):
        for streamed in (False, True):
            kind = f"{'async_' if is_async else ''}{'stream' if streamed else 'value'}"
            given = {**GIVEN, "stream": True} if streamed else GIVEN
            text = _chunk_text if streamed else _value_text

            def named(client, given=given):
                return client.chat_completion(**given)

            def as_openai(client, given=given):
                return client.chat.completions.create(**given)

            yield Form(f"chat_completion_{kind}", named, is_async, streamed, text, params=PARAMS)
            yield Form(f"completions_create_{kind}", as_openai, is_async, streamed, text, params=PARAMS)


PROVIDER = Provider(
    *("huggingface_hub", "huggingface_hub", "huggingface"),
    tuple(_forms()),
    connect,
    answering(in_a_field),
    truth,
    refuses,
)
