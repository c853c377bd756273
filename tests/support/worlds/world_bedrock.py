"""boto3's client of `bedrock-runtime`, whose requests are answered before they are sent."""

from __future__ import annotations

import functools
import json

import boto3
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.eventstream import EventStream
from urllib3.exceptions import ProtocolError

from moa_middleware.testing import conformance

from ..event_stream import event

_STOPS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
_KEYS = {"region_name": "us-east-1", "aws_access_key_id": "k", "aws_secret_access_key": "s"}
_CONFIG = Config(retries={"max_attempts": 0}, proxies={})


@functools.cache
def _session():
    return boto3.session.Session()


class _Raw:
    """In place of urllib3's response."""

    def __init__(self, world, steps):
        self.world = world
        self.steps = iter(steps)
        self.is_open = True
        world.opened += 1

    def stream(self, *_args, **_kwargs):
        for step in self.steps:
            if isinstance(step, BaseException):
                self.close()
                raise step
            yield step
        self.close()

    def close(self):
        if self.is_open:
            self.is_open = False
            self.world.closed += 1

    __del__ = close


class _Reader:
    """Reads an event stream by `for` and by `next`, which botocore's class does not have."""

    def __init__(self, stream):
        assert isinstance(stream, EventStream)
        self.stream = stream
        self.steps = None

    def __iter__(self):
        return iter(self.stream)

    def __next__(self):
        if self.steps is None:
            self.steps = iter(self.stream)
        return next(self.steps)

    def close(self):
        self.stream.close()


class Converse(conformance.ClientHarness):
    """`client.converse` and the stream in the dict of `client.converse_stream`."""

    model = "m"
    supports = frozenset(
        {"sync", "value", "stream", "close", "exact", "refused", "cut", "error", "interrupt"}
        | {"usage", "finish_reason", "tools", "reasoning", "twice", "undo"}
    )
    entry_points = ("converse", "converse_stream")

    def __init__(self):
        super().__init__()
        self.opened = self.closed = 0

    @property
    def open_connections(self):
        return self.opened - self.closed

    def make_client(self):
        client = _session().client("bedrock-runtime", config=_CONFIG, endpoint_url="http://mock", **_KEYS)
        client.meta.events.register("before-send.bedrock-runtime", self._respond)
        return client

    def call(self, client, messages, *, stream):
        asked = [{**message, "content": [{"text": message["content"]}]} for message in messages]
        if stream:
            return _Reader(client.converse_stream(modelId="m", messages=asked)["stream"])
        return client.converse(modelId="m", messages=asked)

    def input_of(self, messages):
        return [{**message, "content": [{"text": message["content"]}]} for message in messages]

    def piece_of(self, chunk):
        return chunk.get("contentBlockDelta", {}).get("delta", {}).get("text", "")

    def text_of(self, value):
        return "".join(block.get("text", "") for block in value["output"]["message"]["content"])

    def view(self, chunk):
        return {name: value for name, value in chunk.items() if name != "ResponseMetadata"}

    def finish_reason(self, plan):
        return _STOPS[plan.finish_reason]

    def tool_calls(self, plan):
        return [
            {**one, "function": {**one["function"], "arguments": json.dumps(json.loads(one["function"]["arguments"]))}}
            for one in super().tool_calls(plan)
        ]

    # The wire. ------------------------------------------------------------------------------------

    def _respond(self, request, **_):
        plan = self.plan_for(json.loads(request.body))
        is_stream = request.url.endswith("-stream")
        kind = "application/vnd.amazon.eventstream" if is_stream else "application/json"
        headers = {"content-type": kind, "x-amzn-requestid": "r-1"}
        if plan.stop == "refused":
            headers["x-amzn-errortype"] = "ThrottlingException"
            body = [b'{"message": "queue full"}']
            return AWSResponse(request.url, 429, headers, _Raw(self, body))
        return AWSResponse(request.url, 200, headers, _Raw(self, self._steps(plan, is_stream=is_stream)))

    def _steps(self, plan, *, is_stream):
        """Yield bytes, or an exception to raise."""
        if not is_stream:
            yield json.dumps(self._whole(plan)).encode() if plan.stop is None else ProtocolError("connection lost")
            return
        count = len(plan.pieces) if plan.stop is None else plan.after
        if plan.stop is None or count:
            yield event("messageStart", {"role": "assistant"})
            yield from (self._delta(0, reasoningContent={"text": piece}) for piece in plan.reasoning)
            yield from (self._delta(1, text=piece) for piece in plan.pieces[:count])
        match plan.stop:
            case None:
                yield from self._tail(plan)
            case "cut":
                yield ProtocolError("connection lost")
            case "error":
                yield event("modelStreamErrorException", {"message": "overloaded"})
            case "interrupt":
                yield KeyboardInterrupt()

    def _delta(self, index, **said):
        return event("contentBlockDelta", {"delta": said, "contentBlockIndex": index})

    def _usage(self, plan):
        if plan.usage is None:
            return {}
        read, wrote = plan.usage["input_tokens"], plan.usage["output_tokens"]
        return {"usage": {"inputTokens": read, "outputTokens": wrote, "totalTokens": read + wrote}}

    def _uses(self, plan):
        for one in self.tool_calls(plan):
            yield {"toolUseId": one["id"], "name": one["function"]["name"]}, one["function"]["arguments"]

    def _tail(self, plan):
        for index, (use, arguments) in enumerate(self._uses(plan), 2):
            yield event("contentBlockStart", {"start": {"toolUse": use}, "contentBlockIndex": index})
            yield self._delta(index, toolUse={"input": arguments})
            yield event("contentBlockStop", {"contentBlockIndex": index})
        yield event("messageStop", {"stopReason": self.finish_reason(plan)})
        if plan.usage is not None:
            yield event("metadata", {**self._usage(plan), "metrics": {"latencyMs": 1}})

    def _whole(self, plan):
        content = []
        if plan.reasoning:
            content.append({"reasoningContent": {"reasoningText": {"text": "".join(plan.reasoning)}}})
        content.append({"text": "".join(plan.pieces)})
        content += [{"toolUse": {**use, "input": json.loads(arguments)}} for use, arguments in self._uses(plan)]
        message = {"message": {"role": "assistant", "content": content}}
        return {"output": message, "stopReason": self.finish_reason(plan), **self._usage(plan)}


WORLDS = [Converse]
