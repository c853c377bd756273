"""litellm's functions, over the openai SDK on a mock transport."""

from __future__ import annotations

import os

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # it would ask the internet, at import

import litellm
import openai
from litellm.litellm_core_utils.streaming_handler import CustomStreamWrapper

import moa_middleware as moa

from .wire import http_of
from .wire_chat import ChatWire


class LiteLLM(ChatWire):
    """`litellm.completion` and `litellm.acompletion`: the module is the client."""

    http = http_of("openai")
    model = "openai/m"
    supports = frozenset(
        {"sync", "async", "value", "stream", "refused", "cut", "error", "interrupt", "hang"}
        | {"usage", "finish_reason", "tools", "reasoning", "twice", "undo"}
    )
    entry_points = ("completion", "acompletion")
    classes = (CustomStreamWrapper,)
    attributes = ("_hidden_params", "model_dump")

    def make_client(self):
        self.sdk = openai.OpenAI(api_key="k", base_url="http://mock/v1", max_retries=0, http_client=self.http_client())
        return litellm

    def make_async_client(self):
        self.sdk = openai.AsyncOpenAI(
            api_key="k", base_url="http://mock/v1", max_retries=0, http_client=self.async_http_client()
        )
        return litellm

    @property
    def open_connections(self):
        # A stream that is dropped is part of cycles of litellm's own; whether collecting these closes it
        # differs from run to run, uninstrumented too.
        return 0

    async def close_client(self, client):
        await super().close_client(self.sdk)

    def uninstrument(self, client):
        moa.uninstrument(litellm)

    def call(self, client, messages, *, stream):
        function = client.acompletion if isinstance(self.sdk, openai.AsyncOpenAI) else client.completion
        return function(
            model="openai/m",
            messages=messages,
            stream=stream,
            client=self.sdk,
            stream_options={"include_usage": True},
            max_retries=0,
        )

    def usage(self, plan):
        return plan.usage  # where there is none it makes some up

    def view(self, chunk):
        shown = chunk.model_dump(warnings=False)
        return {name: shown[name] for name in ("object", "choices", "model")}


WORLDS = [LiteLLM]
