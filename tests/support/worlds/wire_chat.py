"""What the worlds of chat completions have in common: how they are called and read, and the bytes."""

from __future__ import annotations

from .wire import Wire


class ChatWire(Wire):
    """`client.chat.completions.create` of some SDK."""

    def call(self, client, messages, *, stream):
        return client.chat.completions.create(model="m", messages=messages, stream=stream)

    def raw(self, client, messages, *, stream):
        return client.chat.completions.with_raw_response.create(model="m", messages=messages, stream=stream)

    def raw_stream(self, client, messages, *, stream):
        return client.chat.completions.with_streaming_response.create(model="m", messages=messages, stream=stream)

    def piece_of(self, chunk):
        deltas = [choice.delta for choice in chunk.choices if choice.index == 0]
        return (deltas[0].content or "") if deltas else ""

    def text_of(self, value):
        return value.choices[0].message.content

    def view(self, chunk):
        return chunk.model_dump(warnings=False)

    # The wire. ------------------------------------------------------------------------------------

    def _usage(self, plan):
        if plan.usage is None:
            return {}
        sent, got = plan.usage["input_tokens"], plan.usage["output_tokens"]
        return {"usage": {"prompt_tokens": sent, "completion_tokens": got, "total_tokens": sent + got}}

    def _message(self, plan):
        message = {"role": "assistant", "content": plan.text or None}
        if plan.reasoning:
            message["reasoning_content"] = "".join(plan.reasoning)
        if plan.refusal:
            message["refusal"] = plan.refusal
        if plan.tool_calls:
            message["tool_calls"] = self.tool_calls(plan)
        return message

    def whole(self, plan):
        messages = [self._message(plan)]
        messages += [{"role": "assistant", "content": "".join(pieces)} for pieces in plan.more_choices]
        choices = [
            {"index": index, "message": message, "finish_reason": plan.finish_reason}
            for index, message in enumerate(messages)
        ]
        body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": choices}
        return body | self._usage(plan)

    def _chunk(self, delta, *, index=0, finish=None):
        choices = [{"index": index, "delta": delta, "finish_reason": finish}]
        return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices}

    def head(self, plan):
        indexes = range(1 + len(plan.more_choices))
        events = [self._chunk({"role": "assistant", "content": ""}, index=index) for index in indexes]
        return events + [self._chunk({"reasoning_content": piece}) for piece in plan.reasoning]

    def piece(self, plan, text):
        return self._chunk({"content": text})

    def tail(self, plan):
        events = [
            self._chunk({"content": piece}, index=index)
            for index, pieces in enumerate(plan.more_choices, 1)
            for piece in pieces
        ]
        if plan.refusal:
            events += [self._chunk({"refusal": piece}) for piece in (plan.refusal[:3], plan.refusal[3:])]
        for index, call in enumerate(self.tool_calls(plan)):
            function = call["function"]
            half = len(function["arguments"]) // 2
            first = {**call, "index": index, "function": {**function, "arguments": function["arguments"][:half]}}
            rest = {"index": index, "function": {"arguments": function["arguments"][half:]}}
            events += [self._chunk({"tool_calls": [one]}) for one in (first, rest)]
        indexes = range(1 + len(plan.more_choices))
        events += [self._chunk({}, index=index, finish=plan.finish_reason) for index in indexes]
        if plan.usage is not None:
            events.append({**self._chunk({}), "choices": [], **self._usage(plan)})
        return events
