"""boto3's and aiobotocore's client of `bedrock-runtime`, against a server on the loopback."""

from __future__ import annotations

import base64
import contextlib
import functools
import json

from .. import event_stream
from ..loopback import Answer, Loopback
from . import ASKED, CACHED, CALLS, INPUT, OUTPUT, PIECES, REASONING, SYSTEM, TEXT, Form, Provider

MODEL = "anthropic.claude-v9:0"
CONVERSE = {
    "modelId": MODEL,
    "messages": [{"role": "user", "content": [{"text": ASKED}]}],
    "system": [{"text": SYSTEM}],
    "inferenceConfig": {"maxTokens": 50, "temperature": 0.5},
}
USAGE = {"inputTokens": INPUT, "outputTokens": OUTPUT, "totalTokens": INPUT + OUTPUT, "cacheReadInputTokens": CACHED}
EVENTS = "application/vnd.amazon.eventstream"
HEADERS = {"x-amzn-RequestId": "r1"}


def _whole():
    content = [{"reasoningContent": {"reasoningText": {"text": REASONING, "signature": "s"}}}, {"text": TEXT}]
    content += [
        {"toolUse": {"toolUseId": f"c{index}", "name": name, "input": arguments}}
        for index, (name, arguments) in enumerate(CALLS)
    ]
    output = {"message": {"role": "assistant", "content": content}}
    return {"output": output, "stopReason": "tool_use", "usage": USAGE, "metrics": {"latencyMs": 3}}


def _delta(index, **said):
    return "contentBlockDelta", {"delta": said, "contentBlockIndex": index}


def _converse_events():
    yield "messageStart", {"role": "assistant"}
    yield _delta(0, reasoningContent={"text": REASONING})
    yield _delta(0, reasoningContent={"signature": "s"})
    yield from (_delta(1, text=piece) for piece in PIECES)
    yield "contentBlockStop", {"contentBlockIndex": 1}
    for index, (name, arguments) in enumerate(CALLS, 2):
        use = {"toolUseId": f"c{index - 2}", "name": name}
        yield "contentBlockStart", {"start": {"toolUse": use}, "contentBlockIndex": index}
        text = json.dumps(arguments)
        yield from (_delta(index, toolUse={"input": piece}) for piece in (text[:5], text[5:]))
        yield "contentBlockStop", {"contentBlockIndex": index}
    yield "messageStop", {"stopReason": "tool_use"}
    yield "metadata", {"usage": USAGE, "metrics": {"latencyMs": 3}}


# The bodies of models, for `invoke_model`. ----------------------------------------------------------

_METRICS = {"inputTokenCount": INPUT, "outputTokenCount": OUTPUT, "invocationLatency": 3, "firstByteLatency": 1}
_LAST = {"amazon-bedrock-invocationMetrics": _METRICS}
_MESSAGES = [{"role": "user", "content": ASKED}]
_BLOCKS = [{"role": "user", "content": [{"text": ASKED}]}]
_ANTHROPIC = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude"}
_COUNTS = {"input_tokens": INPUT, "output_tokens": OUTPUT}


def _anthropic_events():
    yield {"type": "message_start", "message": {**_ANTHROPIC, "content": [], "usage": {**_COUNTS, "output_tokens": 1}}}
    yield {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    for piece in PIECES:
        yield {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": piece}}
    yield {"type": "content_block_stop", "index": 0}
    yield {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": OUTPUT}}
    yield {"type": "message_stop", **_LAST}


def _generation(text, reason, read, wrote):
    return {"generation": text, "stop_reason": reason, "prompt_token_count": read, "generation_token_count": wrote}


BODIES = {
    "anthropic.claude-v9:0": (
        {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 50, "system": SYSTEM, "messages": _MESSAGES},
        {**_ANTHROPIC, "content": [{"type": "text", "text": TEXT}], "stop_reason": "end_turn", "usage": _COUNTS},
        list(_anthropic_events()),
        "end_turn",
    ),
    "amazon.nova-pro-v1:0": (
        {"system": [{"text": SYSTEM}], "messages": _BLOCKS, "inferenceConfig": {"maxTokens": 50}},
        {
            "output": {"message": {"role": "assistant", "content": [{"text": TEXT}]}},
            "stopReason": "end_turn",
            "usage": {"inputTokens": INPUT, "outputTokens": OUTPUT},
        },
        [
            {"messageStart": {"role": "assistant"}},
            *({"contentBlockDelta": {"delta": {"text": piece}, "contentBlockIndex": 0}} for piece in PIECES),
            {"messageStop": {"stopReason": "end_turn"}},
            {"metadata": {"usage": {"inputTokens": INPUT, "outputTokens": OUTPUT}}, **_LAST},
        ],
        "end_turn",
    ),
    "amazon.titan-text-express-v1": (
        {"inputText": ASKED, "textGenerationConfig": {"maxTokenCount": 50}},
        {
            "inputTextTokenCount": INPUT,
            "results": [{"tokenCount": OUTPUT, "outputText": TEXT, "completionReason": "FINISH"}],
        },
        [
            {"outputText": PIECES[0], "index": 0, "inputTextTokenCount": INPUT, "completionReason": None},
            {"outputText": PIECES[1], "totalOutputTextTokenCount": OUTPUT, "completionReason": "FINISH", **_LAST},
        ],
        "FINISH",
    ),
    "meta.llama3-70b-instruct-v1:0": (
        {"prompt": ASKED, "max_gen_len": 50},
        _generation(TEXT, "stop", INPUT, OUTPUT),
        [_generation(PIECES[0], None, INPUT, 1), {**_generation(PIECES[1], "stop", None, OUTPUT), **_LAST}],
        "stop",
    ),
    "mistral.mistral-7b-instruct-v0:2": (
        {"prompt": ASKED, "max_tokens": 50},
        {"outputs": [{"text": TEXT, "stop_reason": "stop"}]},
        [
            {"outputs": [{"text": PIECES[0], "stop_reason": None}]},
            {"outputs": [{"text": PIECES[1], "stop_reason": "stop"}], **_LAST},
        ],
        "stop",
    ),
}
"""By model: the body of a request, that of the reply, those of a stream, the reason."""
COUNT_HEADERS = {"X-Amzn-Bedrock-Input-Token-Count": str(INPUT), "X-Amzn-Bedrock-Output-Token-Count": str(OUTPUT)}


FAILURE = (event_stream.event("modelStreamErrorException", {"message": "the model failed"}),)


def model_of(path):
    """Return the model in the path of a request."""
    return path.split("/")[2].replace("%3A", ":")


def answer(path, _asked):
    """Return the answer to a request."""
    verb = path.rpartition("/")[2]
    if verb == "converse":
        return Answer([json.dumps(_whole()).encode()], headers=HEADERS)
    if verb == "converse-stream":
        return Answer([event_stream.event(*one) for one in _converse_events()], kind=EVENTS, headers=HEADERS)
    _, whole, events, _ = BODIES[model_of(path)]
    if verb == "invoke":
        return Answer([json.dumps(whole).encode()], headers={**HEADERS, **COUNT_HEADERS})
    return Answer([event_stream.chunk(one) for one in events], kind=EVENTS, headers=HEADERS)


def refuses(_path, _asked):
    """Return an error, as the service words it."""
    body = b'{"message": "The provided model identifier is invalid."}'
    return Answer([body], status=400, headers={**HEADERS, "x-amzn-ErrorType": "ValidationException"})


def truth(path, asked, pieces):
    """Return what the bytes say."""
    verb, model = path.rpartition("/")[2], model_of(path)
    if verb.startswith("converse"):
        said = _truth_of_converse(verb, pieces)
        messages = [{"role": "system", "content": asked["system"]}, *asked["messages"]]
        return {**said, "response_id": "r1", "model": model, "input_messages": messages}
    data = b"".join(pieces)
    bodies = [json.loads(data)] if verb == "invoke" else [_part(one) for one in event_stream.messages_of(data)]
    system = asked.get("system")
    messages = asked.get("messages") or [{"role": "user", "content": asked.get("prompt") or asked.get("inputText")}]
    return {
        "output": "".join(map(_text_of, bodies)),
        "reasoning": None,
        "tool_calls": [],
        "finish_reason": BODIES[model][3],
        "usage": _COUNTS,
        "model": model,
        "input_messages": [*([{"role": "system", "content": system}] if system else []), *messages],
    }


def _part(message):
    kind, payload = message
    assert kind == "chunk"
    return json.loads(base64.b64decode(payload["bytes"]))


def _text_of(body):
    """Return the text of a body of any model, or of one part of it."""
    if "results" in body or "outputs" in body:
        return "".join(one.get("outputText") or one.get("text") for one in body.get("results") or body["outputs"])
    if "output" in body:
        return "".join(block["text"] for block in body["output"]["message"]["content"])
    if isinstance(body.get("content"), list):
        return "".join(block["text"] for block in body["content"])
    deltas = (body.get("delta") or {}, body.get("contentBlockDelta", {}).get("delta", {}))
    return body.get("outputText") or body.get("generation") or "".join(one.get("text", "") for one in deltas)


def _truth_of_converse(verb, pieces):
    text, reasoning, calls, reason, usage = "", "", {}, None, {}
    data = b"".join(pieces)
    if verb == "converse":
        whole = json.loads(data)
        reason, usage = whole["stopReason"], whole["usage"]
        for index, block in enumerate(whole["output"]["message"]["content"]):
            text += block.get("text", "")
            reasoning += block.get("reasoningContent", {}).get("reasoningText", {}).get("text", "")
            if "toolUse" in block:
                calls[index] = [block["toolUse"]["name"], json.dumps(block["toolUse"]["input"])]
    for kind, payload in event_stream.messages_of(data) if verb != "converse" else ():
        reason, usage = payload.get("stopReason", reason), payload.get("usage", usage)
        if kind == "contentBlockStart":
            calls[payload["contentBlockIndex"]] = [payload["start"]["toolUse"]["name"], ""]
        said = payload.get("delta", {})
        text += said.get("text", "")
        reasoning += said.get("reasoningContent", {}).get("text", "")
        if "toolUse" in said:
            calls[payload["contentBlockIndex"]][1] += said["toolUse"]["input"]
    counts = {"input_tokens": usage["inputTokens"], "output_tokens": usage["outputTokens"]}
    return {
        "output": text,
        "reasoning": reasoning,
        "tool_calls": [(name, json.loads(arguments)) for name, arguments in calls.values()],
        "finish_reason": reason,
        "usage": {**counts, "cache_read_tokens": usage["cacheReadInputTokens"]},
    }


# The clients. ---------------------------------------------------------------------------------------

_KEYS = {"region_name": "us-east-1", "aws_access_key_id": "canary-key", "aws_secret_access_key": "canary-secret"}


# One each: a session reads the description of the service anew, in half a second.
@functools.cache
def _session():
    import boto3

    return boto3.session.Session()


@functools.cache
def _async_session():
    from aiobotocore.session import get_session

    return get_session()


@contextlib.contextmanager
def connect(answer, *, is_async=False):
    """Give a client of a server that answers; an async one is opened by `opened`."""
    import botocore.config

    config = botocore.config.Config(retries={"max_attempts": 0}, proxies={})
    with Loopback(answer) as server:
        given = {**_KEYS, "endpoint_url": server.url}
        if is_async:
            yield lambda: _async_client(given)
            return
        client = _session().client("bedrock-runtime", config=config, **given)
        yield client
        client.close()


@contextlib.asynccontextmanager
async def _async_client(given):
    from aiobotocore.config import AioConfig

    config = AioConfig(retries={"max_attempts": 0})
    async with _async_session().create_client("bedrock-runtime", config=config, **given) as client:
        yield client


def _converse_text(value):
    return "".join(block.get("text", "") for block in value["output"]["message"]["content"])


def _event_text(event):
    return event.get("contentBlockDelta", {}).get("delta", {}).get("text", "")


def _read(response):
    return response["body"].read()


def _forms(*, is_async):
    before = "async_" if is_async else ""
    params = CONVERSE["inferenceConfig"]
    yield Form(f"{before}converse", lambda c: c.converse(**CONVERSE), is_async, False, _converse_text, params=params)
    yield Form(
        f"{before}converse_stream",
        lambda client: client.converse_stream(**CONVERSE),
        is_async,
        True,
        _event_text,
        lambda response: response["stream"],
        params=params,
    )
    for model, (body, *_) in BODIES.items():
        given, name = {"modelId": model, "body": json.dumps(body)}, model.partition(".")[2].partition("-")[0]
        yield Form(
            f"{before}invoke_{name}",
            lambda client, given=given: client.invoke_model(**given),
            is_async,
            False,
            lambda data: _text_of(json.loads(data)),
            read=_read,
        )
        yield Form(
            f"{before}invoke_{name}_stream",
            lambda client, given=given: client.invoke_model_with_response_stream(**given),
            is_async,
            True,
            lambda event: _text_of(json.loads(event["chunk"]["bytes"])),
            lambda response: response["body"],
        )


PROVIDER = Provider(
    "boto3", "bedrock", "bedrock", tuple(_forms(is_async=False)), connect, answer, truth, refuses, FAILURE
)
PROVIDER_ASYNC = PROVIDER._replace(sdk="aiobotocore", forms=tuple(_forms(is_async=True)))
