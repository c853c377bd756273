"""Ollama's own client on a mock transport."""

from __future__ import annotations

import json

import httpx
import ollama

from .wire import Wire

_HEAD = {"model": "m", "created_at": "2026-01-01T00:00:00Z"}


class Ollama(Wire):
    """`client.chat`."""

    http = httpx
    model = "m"
    supports = frozenset(
        {"sync", "async", "value", "stream", "close", "exact"}
        | {"refused", "cut", "error", "interrupt", "hang"}
        | {"usage", "finish_reason", "tools", "reasoning", "twice", "undo"}
    )
    entry_points = ("chat",)
    last = b""

    def make_client(self):
        return ollama.Client(host="http://mock", transport=self.transport(), trust_env=False)

    def make_async_client(self):
        return ollama.AsyncClient(host="http://mock", transport=self.async_transport(), trust_env=False)

    def call(self, client, messages, *, stream):
        return client.chat(model="m", messages=messages, stream=stream)

    def piece_of(self, chunk):
        return chunk.message.content or ""

    def text_of(self, value):
        return value.message.content

    def view(self, chunk):
        return chunk.model_dump()

    def tool_calls(self, plan):
        # The SDK drops ids, and has arguments as objects.
        found = []
        for one in super().tool_calls(plan):
            function = {**one["function"], "arguments": json.dumps(json.loads(one["function"]["arguments"]))}
            found.append({**one, "id": None, "function": function})
        return found

    # The wire. ------------------------------------------------------------------------------------

    def frame(self, event):
        return json.dumps(event).encode() + b"\n"

    def error_event(self):
        return {"error": "overloaded"}

    def refused_body(self):
        return {"error": "queue full"}

    def _part(self, *, done=False, **message):
        return {**_HEAD, "done": done, "message": {"role": "assistant", "content": "", **message}}

    def _end(self, plan):
        usage = plan.usage or {}
        counts = {"prompt_eval_count": usage.get("input_tokens"), "eval_count": usage.get("output_tokens")}
        return {"done_reason": plan.finish_reason, **{name: count for name, count in counts.items() if count}}

    def _calls(self, plan):
        functions = [one["function"] for one in self.tool_calls(plan)]
        return [{"function": {"name": one["name"], "arguments": json.loads(one["arguments"])}} for one in functions]

    def whole(self, plan):
        more = {"thinking": "".join(plan.reasoning)} if plan.reasoning else {}
        calls = {"tool_calls": self._calls(plan)} if plan.tool_calls else {}
        text = "".join(plan.pieces)
        return {**self._part(done=True, content=text, **more, **calls), **self._end(plan)}

    def head(self, plan):
        return [self._part(thinking=piece) for piece in plan.reasoning]

    def piece(self, plan, text):
        return self._part(content=text)

    def tail(self, plan):
        calls = [self._part(tool_calls=[call]) for call in self._calls(plan)]
        return [*calls, {**self._part(done=True), **self._end(plan)}]


WORLDS = [Ollama]
