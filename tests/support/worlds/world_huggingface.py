"""Hugging Face's inference clients on a mock transport."""

from __future__ import annotations

import contextlib

import httpx
import huggingface_hub as hub

from .wire_chat import ChatWire


class HuggingFace(ChatWire):
    """`client.chat_completion`; its streams are generators."""

    http = httpx
    model = "m"
    supports = frozenset(
        {"sync", "async", "value", "stream", "close", "exact", "refused", "cut", "interrupt", "hang"}
        | {"usage", "finish_reason", "tools", "choices", "twice", "undo"}
    )
    entry_points = ("chat_completion",)

    def open(self):
        hub.set_client_factory(self.http_client)
        hub.set_async_client_factory(self.async_http_client)

    def close(self):
        hub.close_session()

    @property
    def open_connections(self):
        return 0  # its clients keep the response of a stream until they are closed themselves

    def make_client(self):
        return hub.InferenceClient(base_url="http://mock/v1", api_key="k")

    def make_async_client(self):
        return hub.AsyncInferenceClient(base_url="http://mock/v1", api_key="k")

    def call(self, client, messages, *, stream):
        return client.chat_completion(messages, model="m", stream=stream)

    def view(self, chunk):
        return repr(chunk)

    async def close_client(self, client):
        with contextlib.suppress(AttributeError):
            await super().close_client(client)


WORLDS = [HuggingFace]
