"""Cohere's client of version 2 on a mock transport."""

from __future__ import annotations

import json
import re

import cohere
import httpx

from .wire import Wire


class Cohere(Wire):
    """`client.chat` and `client.chat_stream`."""

    http = httpx
    model = "m"
    supports = frozenset(
        {"sync", "async", "value", "stream", "close", "exact"}
        | {"refused", "cut", "interrupt", "hang"}
        | {"usage", "finish_reason", "tools", "reasoning", "twice", "undo"}
    )
    entry_points = ("chat", "chat_stream")
    last = b""

    def make_client(self):
        return cohere.ClientV2(api_key="k", base_url="http://mock", httpx_client=self.http_client(), max_retries=0)

    def make_async_client(self):
        http = self.async_http_client()
        return cohere.AsyncClientV2(api_key="k", base_url="http://mock", httpx_client=http, max_retries=0)

    def call(self, client, messages, *, stream):
        return (client.chat_stream if stream else client.chat)(model="m", messages=messages)

    def piece_of(self, chunk):
        content = chunk.delta.message.content if chunk.type == "content-delta" else None
        return getattr(content, "text", None) or ""

    def text_of(self, value):
        return "".join(getattr(block, "text", "") for block in value.message.content)

    def view(self, chunk):
        return chunk.dict()

    def clean(self, text):
        """Leave out the headers that Cohere's exceptions quote: the record does not hold them."""
        return re.sub(r"headers: \{[^{}]*\}", "headers: {…}", super().clean(text))

    # The wire. ------------------------------------------------------------------------------------

    def frame(self, event):
        return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()

    def refused_body(self):
        return {"message": "queue full"}

    def _usage(self, plan):
        return {} if plan.usage is None else {"usage": {"tokens": dict(plan.usage)}}

    def whole(self, plan):
        content = [{"type": "thinking", "thinking": "".join(plan.reasoning)}] if plan.reasoning else []
        content.append({"type": "text", "text": "".join(plan.pieces)})
        message = {"role": "assistant", "content": content, "tool_calls": self.tool_calls(plan) or None}
        return {"id": "r1", "finish_reason": plan.finish_reason, "message": message, **self._usage(plan)}

    def _event(self, kind, index, **message):
        return {"type": kind, "index": index, "delta": {"message": message}}

    def head(self, plan):
        start = {"type": "message-start", "id": "r1", "delta": {"message": {"role": "assistant"}}}
        return [start] + [self._event("content-delta", 0, content={"thinking": piece}) for piece in plan.reasoning]

    def piece(self, plan, text):
        return self._event("content-delta", 1, content={"text": text})

    def tail(self, plan):
        events = []
        for index, call in enumerate(self.tool_calls(plan)):
            function = call["function"]
            head = {**call, "function": {**function, "arguments": ""}}
            events.append(self._event("tool-call-start", index, tool_calls=head))
            arguments = {"function": {"arguments": function["arguments"]}}
            events.append(self._event("tool-call-delta", index, tool_calls=arguments))
        return [
            *events,
            {"type": "message-end", "id": "r1", "delta": {"finish_reason": plan.finish_reason, **self._usage(plan)}},
        ]


WORLDS = [Cohere]
