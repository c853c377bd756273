"""Errors that come with the status 200, in a chat's body, choice or event, and errors by their status."""

from __future__ import annotations

from tests.support.wire_forms.form import stream, value
from tests.support.wire_forms.shared import chunk, completion, words

ALL = ("openai", "groq", "together")
_BUSY = {"code": 502, "message": "the upstream model is busy", "metadata": {"provider_name": "Acme"}}


def _error(name, body, **more):
    return value(f"chat-error-{name}", "chat", body, **more)


def _choice(*, message=None, finish="error", error=None):
    choice = {"index": 0, "finish_reason": finish, "native_finish_reason": finish}
    choice |= {} if error is None else {"error": error}
    return {**completion({"content": ""}), "choices": [{**choice, **({} if message is None else {"message": message})}]}


FORMS = [
    _error(
        "object", {"error": {"message": "filtered by policy", "code": "content_filter", "param": "prompt"}}, sdks=ALL
    ),
    _error("null-choices", {**completion({"content": ""}), "choices": None, "error": {"message": "no capacity"}}),
    _error(
        "empty-choices",
        {**completion({"content": ""}), "choices": [], "error": {"message": "no capacity", "code": 503}},
    ),
    _error("numeric-code", {"error": _BUSY, "user_id": "u-1"}, sdks=ALL),
    _error("text", {"error": "model 'm' not found"}),
    _error("only-a-code", {"error": {"code": "rate_limit_exceeded", "message": None}}),
    _error("only-a-type", {"error": {"type": "overloaded_error"}}),
    _error(
        "object-error", {"object": "error", "message": "prompt is too long", "type": "BadRequestError", "code": 400}
    ),
    _error(
        "minimax",
        {
            "id": "0601",
            "choices": None,
            "created": 1,
            "model": "m-1",
            "object": "",
            "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"},
        },
    ),
    _error("next-to-a-text", {**completion({"content": "It is"}), "error": {"message": "cut off", "code": 500}}),
    _error("in-choice", _choice(message={"role": "assistant", "content": "It is"}, error=_BUSY), sdks=ALL),
    _error("in-choice-without-message", _choice(error=_BUSY)),
    _error(
        "in-choice-that-stopped", _choice(message={"role": "assistant", "content": "It is"}, finish="stop", error=_BUSY)
    ),
    _error("finish-only", _choice(message={"role": "assistant", "content": "It is"})),
    value(
        "chat-fine-minimax",
        "chat",
        completion(
            {"content": "A hat.", "name": "MiniMax AI", "audio_content": ""},
            base_resp={"status_code": 0, "status_msg": ""},
            input_sensitive=False,
        ),
    ),
    value("chat-fine-null-error", "chat", completion({"content": "A hat."}, error=None)),
    value("chat-fine-empty-error", "chat", completion({"content": "A hat."}, error={})),
    # Azure filters the reply and leaves the message out; that is an end, and not an error.
    value(
        "chat-filtered-without-message",
        "chat",
        {
            **completion({"content": ""}),
            "choices": [
                {"index": 0, "finish_reason": "content_filter", "content_filter_results": {"hate": {"filtered": True}}}
            ],
        },
    ),
    value(
        "chat-filtered-null-message",
        "chat",
        {**completion({"content": ""}), "choices": [{"index": 0, "finish_reason": "content_filter", "message": None}]},
    ),
    stream(
        "chat-stream-error-event", "chat", [*words("It ", "is ")[:3], {"error": {"message": "out of luck"}}], sdks=ALL
    ),
    stream("chat-stream-error-first", "chat", [{"error": {"message": "no such model", "type": "not_found"}}]),
    stream(
        "chat-stream-error-with-choice",
        "chat",
        [*words("It ")[:2], chunk({"content": ""}, finish="error", error=_BUSY)],
        sdks=ALL,
    ),
    stream(
        "chat-stream-error-in-choice",
        "chat",
        [
            *words("It ")[:2],
            chunk(choices=[{"index": 0, "delta": {"content": ""}, "finish_reason": "error", "error": _BUSY}]),
        ],
    ),
    stream("chat-stream-error-finish", "chat", words("It ", "is ", finish="error"), sdks=ALL),
    stream(
        "chat-stream-error-minimax",
        "chat",
        [
            {
                "id": "1",
                "choices": None,
                "object": "chat.completion.chunk",
                "created": 1,
                "model": "m-1",
                "base_resp": {"status_code": 1039, "status_msg": "too many tokens a minute"},
            }
        ],
    ),
    stream(
        "chat-stream-error-object",
        "chat",
        [*words("It ")[:2], {"object": "error", "message": "the worker has died", "code": 500}],
    ),
    stream("chat-stream-fine-null-error", "chat", [chunk({"content": "A "}, error=None), *words("hat.")[1:]]),
    value("chat-status-400", "chat", {"error": {"message": "bad request"}}, status=400, sdks=ALL),
    value("chat-status-429", "chat", {"error": {"message": "slow down", "code": "rate_limit"}}, status=429),
    value("chat-status-500-no-json", "chat", b"<html>upstream is down</html>", status=500),
    value("text-status-404", "text", {"error": {"message": "no such engine"}}, status=404),
]
