"""The Responses API of the openai SDK on a mock transport."""

from __future__ import annotations

import json

from .world_chat import Chat


class Responses(Chat):
    """`client.responses.create`, `.stream()` and the raw forms."""

    supports = Chat.supports - {"choices", "iterator"}
    entry_points = ("responses.create", "responses.parse")
    last = b""

    # The client. ----------------------------------------------------------------------------------

    def call(self, client, messages, *, stream):
        return client.responses.create(model="m", input=messages, stream=stream)

    def manager(self, client, messages):
        return client.responses.stream(model="m", input=messages)

    def final_of(self, stream):
        return stream.get_final_response()

    def raw(self, client, messages, *, stream):
        return client.responses.with_raw_response.create(model="m", input=messages, stream=stream)

    def raw_stream(self, client, messages, *, stream):
        return client.responses.with_streaming_response.create(model="m", input=messages, stream=stream)

    def piece_of(self, chunk):
        return chunk.delta if chunk.type == "response.output_text.delta" else ""

    def text_of(self, value):
        return value.output_text

    def finish_reason(self, plan):
        return "max_output_tokens" if plan.finish_reason == "length" else "completed"

    # The wire. ------------------------------------------------------------------------------------

    def frame(self, event):
        return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()

    def error_event(self):
        return {"type": "error", "error": {"message": "overloaded", "type": "server_error"}}

    def _usage(self, plan):
        if plan.usage is None:
            return None
        sent, got = plan.usage["input_tokens"], plan.usage["output_tokens"]
        return {
            "input_tokens": sent,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": got,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": sent + got,
        }

    def _response(self, plan, *, over):
        status = "in_progress" if not over else "incomplete" if plan.finish_reason == "length" else "completed"
        return {
            "id": "resp_1",
            "object": "response",
            "created_at": 1,
            "status": status,
            "error": None,
            "incomplete_details": {"reason": "max_output_tokens"} if status == "incomplete" else None,
            "instructions": None,
            "metadata": {},
            "model": "m",
            "output": self._items(plan) if over else [],
            "parallel_tool_calls": True,
            "temperature": 1.0,
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "usage": self._usage(plan) if over else None,
        }

    def whole(self, plan):
        return self._response(plan, over=True)

    def _items(self, plan):
        items = []
        if plan.reasoning:
            summary = [{"type": "summary_text", "text": "".join(plan.reasoning)}]
            items.append({"id": "rs_1", "type": "reasoning", "summary": summary})
        part = self._part(plan)
        if part is not None:
            message = {"id": "msg_1", "type": "message", "status": "completed", "role": "assistant", "content": [part]}
            items.append(message)
        for number, call in enumerate(plan.tool_calls):
            known = {"call_id": call.id, "name": call.name, "arguments": call.arguments, "status": "completed"}
            items.append({"id": f"fc_{number}", "type": "function_call", **known})
        return items

    def _part(self, plan):
        if plan.refusal is not None:
            return {"type": "refusal", "refusal": plan.refusal}
        return {"type": "output_text", "text": plan.text, "annotations": [], "logprobs": []} if plan.pieces else None

    def head(self, plan):
        events = [{"type": "response.created", "response": self._response(plan, over=False)}]
        index = 0
        if plan.reasoning:
            (item, *_) = self._items(plan)
            where = {"item_id": "rs_1", "output_index": index, "summary_index": 0}
            text = "".join(plan.reasoning)
            events += [
                {"type": "response.output_item.added", "output_index": index, "item": {**item, "summary": []}},
                {
                    "type": "response.reasoning_summary_part.added",
                    "part": {"type": "summary_text", "text": ""},
                    **where,
                },
                *({"type": "response.reasoning_summary_text.delta", "delta": d, **where} for d in plan.reasoning),
                {"type": "response.reasoning_summary_text.done", "text": text, **where},
                {"type": "response.output_item.done", "output_index": index, "item": item},
            ]
            index = 1
        part = self._part(plan)
        if part is not None:
            key = "refusal" if plan.refusal else "text"
            message = {"id": "msg_1", "type": "message", "status": "in_progress", "role": "assistant", "content": []}
            events += [
                {"type": "response.output_item.added", "output_index": index, "item": message},
                {
                    "type": "response.content_part.added",
                    "item_id": "msg_1",
                    "output_index": index,
                    "content_index": 0,
                    "part": {**part, key: ""},
                },
            ]
        return self._numbered(events)

    def piece(self, plan, text):
        where = {"item_id": "msg_1", "output_index": int(bool(plan.reasoning)), "content_index": 0}
        event = {"type": "response.output_text.delta", "delta": text, "logprobs": [], **where}
        return self._numbered([event])[0]

    def tail(self, plan):
        events = []
        where = {"item_id": "msg_1", "output_index": int(bool(plan.reasoning)), "content_index": 0}
        if plan.refusal:
            for piece in (plan.refusal[:3], plan.refusal[3:]):
                events.append({"type": "response.refusal.delta", "delta": piece, **where})
            events.append({"type": "response.refusal.done", "refusal": plan.refusal, **where})
        elif plan.pieces:
            events.append({"type": "response.output_text.done", "text": plan.text, "logprobs": [], **where})
        for index, item in enumerate(self._items(plan)):
            if item["type"] == "message":
                events.append({"type": "response.content_part.done", "part": self._part(plan), **where})
            elif item["type"] == "function_call":
                events += self._tool_events(index, item)
            if item["type"] != "reasoning":
                events.append({"type": "response.output_item.done", "output_index": index, "item": item})
        response = self._response(plan, over=True)
        return self._numbered([*events, {"type": f"response.{response['status']}", "response": response}])

    def _tool_events(self, index, item):
        where = {"item_id": item["id"], "output_index": index}
        arguments = item["arguments"]
        kind = "response.function_call_arguments"
        opened = {**item, "arguments": "", "status": "in_progress"}
        return [
            {"type": "response.output_item.added", "output_index": index, "item": opened},
            {"type": f"{kind}.delta", "delta": arguments[:5], **where},
            {"type": f"{kind}.delta", "delta": arguments[5:], **where},
            {"type": f"{kind}.done", "arguments": arguments, "name": item["name"], **where},
        ]

    def _numbered(self, events):
        return [{**event, "sequence_number": number} for number, event in enumerate(events)]


class ParsedResponses(Responses):
    """`client.responses.parse`, and streams by the manager only."""

    supports = frozenset(
        {"sync", "async", "value", "refused", "tools", "reasoning", "refusal", "usage", "manager", "cut"}
    )

    def call(self, client, messages, *, stream):
        return client.responses.parse(model="m", input=messages)

    def view(self, chunk):
        return chunk.model_dump(warnings=False)


WORLDS = [Responses, ParsedResponses]
