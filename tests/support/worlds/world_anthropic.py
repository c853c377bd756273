"""The messages of the anthropic SDK on a mock transport."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager, contextmanager

import anthropic

from .wire import Wire, http_of

_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


class Messages(Wire):
    """`client.messages.create`, `.stream()` and the raw forms."""

    http = http_of("anthropic")
    model = "m"
    supports = frozenset(
        {"sync", "async", "value", "stream", "close", "with", "exact"}
        | {"refused", "cut", "error", "interrupt", "hang"}
        | {"usage", "finish_reason", "tools", "reasoning", "twice", "undo"}
        | {"manager", "until_done", "raw", "raw_stream"}
    )
    entry_points = ("messages.create",)
    classes = (anthropic.Stream, anthropic.AsyncStream)
    attributes = ("id", "model_dump", "text_stream", "get_final_message")
    last = b""

    # The client. ----------------------------------------------------------------------------------

    def make_client(self):
        return anthropic.Anthropic(api_key="k", base_url="http://mock", max_retries=0, http_client=self.http_client())

    def make_async_client(self):
        return anthropic.AsyncAnthropic(
            api_key="k", base_url="http://mock", max_retries=0, http_client=self.async_http_client()
        )

    def call(self, client, messages, *, stream):
        return client.messages.create(model="m", max_tokens=99, messages=messages, stream=stream)

    def manager(self, client, messages):
        return client.messages.stream(model="m", max_tokens=99, messages=messages)

    def final_of(self, stream):
        return stream.get_final_message()

    def raw(self, client, messages, *, stream):
        raw = client.messages.with_raw_response
        return raw.create(model="m", max_tokens=99, messages=messages, stream=stream)

    def raw_stream(self, client, messages, *, stream):
        raw = client.messages.with_streaming_response
        return raw.create(model="m", max_tokens=99, messages=messages, stream=stream)

    def piece_of(self, chunk):
        return (getattr(chunk.delta, "text", None) or "") if chunk.type == "content_block_delta" else ""

    def text_of(self, value):
        return "".join(block.text for block in value.content if block.type == "text")

    def view(self, chunk):
        return chunk.model_dump(warnings=False)

    def finish_reason(self, plan):
        return _STOPS[plan.finish_reason]

    # The wire. ------------------------------------------------------------------------------------

    def frame(self, event):
        return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()

    def error_event(self):
        return {"type": "error", "error": {"type": "overloaded_error", "message": "overloaded"}}

    def refused_body(self):
        return {"type": "error", "error": {"type": "rate_limit_error", "message": "queue full"}}

    def _message(self, plan, content, **more):
        stops = {"stop_reason": None, "stop_sequence": None, **more}
        return {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": content, **stops}

    def _blocks(self, plan):
        blocks = []
        if plan.reasoning:
            blocks.append({"type": "thinking", "thinking": "".join(plan.reasoning), "signature": "c2ln"})
        if plan.pieces:
            blocks.append({"type": "text", "text": plan.text})
        for call in plan.tool_calls:
            blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.arguments)})
        return blocks

    def whole(self, plan):
        message = self._message(plan, self._blocks(plan), stop_reason=self.finish_reason(plan))
        return message if plan.usage is None else {**message, "usage": dict(plan.usage)}

    def head(self, plan):
        message = self._message(plan, [])
        if plan.usage is not None:
            message["usage"] = {"input_tokens": plan.usage["input_tokens"], "output_tokens": 1}
        events = [{"type": "message_start", "message": message}]
        if plan.reasoning:
            deltas = [{"type": "thinking_delta", "thinking": piece} for piece in plan.reasoning]
            deltas.append({"type": "signature_delta", "signature": "c2ln"})
            events += self._block(0, {"type": "thinking", "thinking": "", "signature": ""}, deltas)
        if plan.pieces:
            start = {"type": "text", "text": ""}
            events.append({"type": "content_block_start", "index": self._text_at(plan), "content_block": start})
        return [*events, {"type": "ping"}]

    def _text_at(self, plan):
        return int(bool(plan.reasoning))

    def _block(self, index, start, deltas):
        return [
            {"type": "content_block_start", "index": index, "content_block": start},
            *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
            {"type": "content_block_stop", "index": index},
        ]

    def piece(self, plan, text):
        delta = {"type": "text_delta", "text": text}
        return {"type": "content_block_delta", "index": self._text_at(plan), "delta": delta}

    def tail(self, plan):
        events = []
        index = self._text_at(plan)
        if plan.pieces:
            events.append({"type": "content_block_stop", "index": index})
            index += 1
        for number, call in enumerate(plan.tool_calls, index):
            start = {"type": "tool_use", "id": call.id, "name": call.name, "input": {}}
            pieces = (call.arguments[:5], call.arguments[5:])
            events += self._block(number, start, [{"type": "input_json_delta", "partial_json": p} for p in pieces])
        end = {"type": "message_delta", "delta": {"stop_reason": self.finish_reason(plan), "stop_sequence": None}}
        if plan.usage is not None:
            end["usage"] = {"output_tokens": plan.usage["output_tokens"]}
        return [*events, end, {"type": "message_stop"}]


class TextStream(Messages):
    """`client.messages.stream()`, of which only the `text_stream` is read."""

    supports = frozenset({"sync", "async", "value", "manager", "cut"})

    def manager(self, client, messages):
        made = super().manager(client, messages)
        return self._only_text_async(made) if hasattr(made, "__aenter__") else self._only_text(made)

    @contextmanager
    def _only_text(self, made):
        with made as self.entered:
            yield self.entered.text_stream

    @asynccontextmanager
    async def _only_text_async(self, made):
        async with made as self.entered:
            yield self.entered.text_stream

    def final_of(self, stream):
        return self.entered.get_final_message()

    def close(self):
        self.entered = None

    def piece_of(self, chunk):
        return chunk

    def view(self, chunk):
        return chunk if isinstance(chunk, str) else super().view(chunk)


WORLDS = [Messages, TextStream]
