"""The chat completions of the together SDK on a mock transport."""

from __future__ import annotations

import together
from together._streaming import AsyncStream, Stream

from .wire import http_of
from .wire_chat import ChatWire


class Together(ChatWire):
    """`client.chat.completions.create` and the raw forms."""

    http = http_of("together")
    model = "m"
    supports = frozenset(
        {"sync", "async", "value", "stream", "close", "with", "exact"}
        | {"refused", "cut", "error", "interrupt", "hang"}
        | {"usage", "finish_reason", "tools", "choices", "twice", "undo", "raw", "raw_stream"}
    )
    entry_points = ("chat.completions.create",)
    classes = (Stream, AsyncStream)

    def make_client(self):
        return together.Together(api_key="k", base_url="http://mock/v1", max_retries=0, http_client=self.http_client())

    def make_async_client(self):
        return together.AsyncTogether(
            api_key="k", base_url="http://mock/v1", max_retries=0, http_client=self.async_http_client()
        )


WORLDS = [Together]
