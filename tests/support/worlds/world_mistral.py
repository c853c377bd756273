"""The chat of Mistral's SDK on a mock transport."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec

from .wire_chat import ChatWire

PACKAGE = "mistralai.client" if find_spec("mistralai.client") else "mistralai"
_streams = import_module(f"{PACKAGE}.utils.eventstreaming")


class Mistral(ChatWire):
    """`client.chat.complete` and `stream`, and their async twins."""

    http = import_module(f"{PACKAGE}.httpclient").httpx
    model = "m"
    supports = frozenset(
        {"sync", "async", "value", "stream", "close", "with", "exact"}
        | {"refused", "cut", "interrupt", "hang"}
        | {"usage", "finish_reason", "tools", "choices", "twice", "undo"}
    )
    entry_points = ("chat.complete", "chat.stream", "chat.complete_async", "chat.stream_async")
    classes = (_streams.EventStream, _streams.EventStreamAsync)
    attributes = ("response", "generator")

    def _make(self, **clients):
        return import_module(PACKAGE).Mistral(api_key="k", server_url="http://mock", **clients)

    def make_client(self):
        client = self._make(client=self.http_client())
        client.is_async = False
        return client

    def make_async_client(self):
        client = self._make(async_client=self.async_http_client())
        client.is_async = True
        return client

    def call(self, client, messages, *, stream):
        name = f"{'stream' if stream else 'complete'}{'_async' if client.is_async else ''}"
        return getattr(client.chat, name)(model="m", messages=messages)

    def piece_of(self, chunk):
        return super().piece_of(chunk.data)

    def usage(self, plan):
        return plan.usage  # a whole reply always has one, and its counts are 0 by default

    def whole(self, plan):
        return {"usage": {}, **super().whole(plan)}

    def tail(self, plan):
        *events, last = super().tail(replace(plan, tool_calls=(), usage=None))
        calls = [{**call, "index": index} for index, call in enumerate(self.tool_calls(plan))]
        events += [self._chunk({"content": "", "tool_calls": [call]}) for call in calls]
        return [*events, {**last, **self._usage(plan)}]


WORLDS = [Mistral]
