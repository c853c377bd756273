"""The chat completions of the openai SDK on a mock transport."""

from __future__ import annotations

import openai

from .wire import http_of
from .wire_chat import ChatWire


class Chat(ChatWire):
    """`client.chat.completions.create`, `.stream()` and the raw forms."""

    http = http_of("openai")
    model = "m"
    supports = frozenset(
        {"sync", "async", "value", "stream", "close", "with", "exact"}
        | {"refused", "cut", "error", "interrupt", "hang"}
        | {"usage", "finish_reason", "tools", "reasoning", "refusal", "choices", "iterator", "twice", "undo"}
        | {"manager", "until_done", "raw", "raw_stream"}
    )
    entry_points = ("chat.completions.create", "chat.completions.parse")
    classes = (openai.Stream, openai.AsyncStream)
    attributes = ("id", "model_dump", "get_final_completion", "until_done")

    def make_client(self):
        return openai.OpenAI(api_key="k", base_url="http://mock/v1", max_retries=0, http_client=self.http_client())

    def make_async_client(self):
        return openai.AsyncOpenAI(
            api_key="k", base_url="http://mock/v1", max_retries=0, http_client=self.async_http_client()
        )

    def manager(self, client, messages):
        return client.chat.completions.stream(model="m", messages=messages)

    def final_of(self, stream):
        return stream.get_final_completion()

    def piece_of(self, chunk):
        if hasattr(chunk, "type"):
            return chunk.delta if chunk.type == "content.delta" else ""
        return super().piece_of(chunk)


_FEW = frozenset({"sync", "async", "value", "stream", "close", "with", "refused", "cut", "twice", "undo"})


class Copies(Chat):
    """A client that the caller copies for each call."""

    supports = _FEW | {"manager", "raw"}

    def call(self, client, messages, *, stream):
        return super().call(client.with_options(timeout=5), messages, stream=stream)

    def manager(self, client, messages):
        return super().manager(client.copy(), messages)

    def raw(self, client, messages, *, stream):
        return super().raw(client.with_options(timeout=5), messages, stream=stream)


class Azure(Chat):
    """The clients for Azure."""

    supports = _FEW

    def make_client(self):
        return openai.AzureOpenAI(**self._options(), http_client=self.http_client())

    def make_async_client(self):
        return openai.AsyncAzureOpenAI(**self._options(), http_client=self.async_http_client())

    def _options(self):
        return {"api_key": "k", "azure_endpoint": "http://mock", "api_version": "2024-06-01", "max_retries": 0}


class Parsed(Chat):
    """`chat.completions.parse`, and the `beta` path of the others."""

    supports = (_FEW | {"manager", "tools", "refusal", "finish_reason", "usage"}) - {"twice", "undo"}
    entry_points = ("beta.chat.completions.parse",)

    def call(self, client, messages, *, stream):
        if stream:
            return client.beta.chat.completions.create(model="m", messages=messages, stream=True)
        return client.chat.completions.parse(model="m", messages=messages)

    def manager(self, client, messages):
        return client.beta.chat.completions.stream(model="m", messages=messages)


WORLDS = [Chat, Copies, Azure, Parsed]
