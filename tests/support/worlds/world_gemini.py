"""Google's SDK for Gemini on a mock transport."""

from __future__ import annotations

import json
import ssl

import httpx
from google import genai

from .wire import Wire


class Gemini(Wire):
    """`client.models.generate_content` and its stream, and those of `client.aio`; its streams are generators."""

    http = httpx
    model = "m"
    supports = frozenset(
        {"sync", "async", "value", "stream", "close", "exact", "refused", "cut", "interrupt", "hang"}
        | {"usage", "finish_reason", "tools", "reasoning", "choices", "twice", "undo"}
    )
    entry_points = ("models.generate_content", "models.generate_content_stream")
    last = b""

    def _make(self, **args):
        # No authorities: to load them takes a tenth of a second, and nothing is encrypted here.
        args = {"verify": ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), "trust_env": False, **args}
        options = {"base_url": "http://mock", "client_args": args, "async_client_args": args}
        return genai.Client(api_key="k", vertexai=False, http_options=options)

    def make_client(self):
        return self._make(transport=self.transport())

    def make_async_client(self):
        return self._make(transport=self.async_transport()).aio

    def call(self, client, messages, *, stream):
        contents = [{"role": one["role"], "parts": [{"text": one["content"]}]} for one in messages]
        name = "generate_content_stream" if stream else "generate_content"
        return getattr(client.models, name)(model="m", contents=contents)

    def piece_of(self, chunk):
        for candidate in chunk.candidates or ():
            if not candidate.index and candidate.content:
                return "".join(part.text for part in candidate.content.parts or () if part.text and not part.thought)
        return ""

    text_of = piece_of

    def view(self, chunk):
        return chunk.model_dump()

    # The wire. ------------------------------------------------------------------------------------

    def respond(self, request, make_body):
        is_stream = "streamGenerateContent" in request.url.path
        body = json.dumps({**json.loads(request.content), "stream": is_stream}).encode()
        return super().respond(httpx.Request("POST", request.url, content=body), make_body)

    def refused_body(self):
        return {"error": {"code": 429, "message": "queue full", "status": "RESOURCE_EXHAUSTED"}}

    def _reply(self, parts, *, index=0, finish=None):
        candidate = {"content": {"role": "model", "parts": parts}}
        if index:
            candidate["index"] = index
        if finish:
            candidate["finishReason"] = finish
        return {"candidates": [candidate], "responseId": "r1", "modelVersion": "m"}

    def _usage(self, plan):
        if plan.usage is None:
            return {}
        counts = {"promptTokenCount": plan.usage["input_tokens"], "candidatesTokenCount": plan.usage["output_tokens"]}
        return {"usageMetadata": counts}

    def finish_reason(self, plan):
        return {"length": "MAX_TOKENS"}.get(plan.finish_reason, "STOP")

    def _calls(self, plan):
        calls = [(one.id, one.name, json.loads(one.arguments)) for one in plan.tool_calls]
        return [{"functionCall": {"id": ident, "name": name, "args": given}} for ident, name, given in calls]

    def whole(self, plan):
        parts = [{"text": piece, "thought": True} for piece in plan.reasoning]
        parts += [{"text": plan.text}] if plan.text else []
        reply = self._reply(parts + self._calls(plan), finish=self.finish_reason(plan))
        for index, pieces in enumerate(plan.more_choices, 1):
            other = self._reply([{"text": "".join(pieces)}], index=index, finish=self.finish_reason(plan))
            reply["candidates"] += other["candidates"]
        return reply | self._usage(plan)

    def head(self, plan):
        return [self._reply([{"text": piece, "thought": True}]) for piece in plan.reasoning]

    def piece(self, plan, text):
        return self._reply([{"text": text}])

    def tail(self, plan):
        events = [
            self._reply([{"text": piece}], index=index)
            for index, pieces in enumerate(plan.more_choices, 1)
            for piece in pieces
        ]
        events += [self._reply([call]) for call in self._calls(plan)]
        finish = self.finish_reason(plan)
        events += [self._reply([], index=index, finish=finish) for index in range(1 + len(plan.more_choices))]
        events[-1] |= self._usage(plan)
        return events


WORLDS = [Gemini]
