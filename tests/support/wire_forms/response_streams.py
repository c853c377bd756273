"""Responses as events."""

from __future__ import annotations

from tests.support.wire_forms.form import stream
from tests.support.wire_forms.responses import CUSTOM, FUNCTION, ITEMS, PATCH, SEARCH, SUMMARY
from tests.support.wire_forms.shared import item_events, response, response_events, said, text_events


def _stream(name, *events, final, end="response.completed", **more):
    return stream(f"response-stream-{name}", "responses", response_events(*events, final=final, end=end), **more)


def _pieces(kind, *pieces, index=0, item="fu_7"):
    at = {"item_id": item, "output_index": index}
    return [{"type": f"response.{kind}.delta", **at, "delta": piece} for piece in pieces]


def _call_events(item, kind, name, *pieces, index=0, begun=None):
    """Return the events of a call whose arguments, under a name, come in pieces."""
    start = {**item, name: "", "status": "in_progress", **(begun or {})}
    done = {"type": f"response.{kind}.done", "item_id": item["id"], "output_index": index, name: "".join(pieces)}
    return item_events(item, *_pieces(kind, *pieces, index=index, item=item["id"]), done, index=index, begun=start)


def _thoughts(kind, *pieces, index=0):
    part = "summary_index" if "summary" in kind else "content_index"
    at = {"item_id": "rs_7", "output_index": index, part: 0}
    return [{"type": f"response.{kind}.delta", **at, "delta": piece} for piece in pieces]


_LOOK = _call_events(FUNCTION, "function_call_arguments", "arguments", '{"at"', ':"sky"}')
_COUNT = {**FUNCTION, "id": "fu_8", "call_id": "call_8", "name": "count", "arguments": '{"to":3}'}
_HAT = response(said("It is a hat."))
_TEXT = text_events("It is ", "a hat.")
_SHORT = text_events("A hat.", index=1)
_CODE = ITEMS["code-interpreter"]
_SEARCH_BEGUN = {
    "type": "tool_search_call",
    "id": "ts_1",
    "status": "in_progress",
    "call_id": "made_up",
    "execution": "server",
    "arguments": {},
}
_SEARCH_DONE = {
    **_SEARCH_BEGUN,
    "id": "ts_7",
    "call_id": "call_7",
    "status": "completed",
    "arguments": {"paths": ["crm"]},
}
_NO_PIECES = (
    "web-search",
    "web-search-sources",
    "file-search",
    "computer",
    "shell",
    "local-shell",
    "patch",
    "image",
    "unknown-call",
)

FORMS = [
    _stream("text", *_TEXT, final=_HAT),
    _stream("text-crlf", *_TEXT, final=_HAT, newline="\r\n"),
    _stream("text-end-without-output", *_TEXT, final=response()),
    _stream("text-no-deltas", *text_events(text="It is a hat."), final=_HAT),
    _stream("unicode", *text_events("Ein Hut, é: ", "帽子\u2028🎩"), final=response(said("Ein Hut, é: 帽子\u2028🎩"))),
    _stream(
        "two-messages",
        *text_events("Let me see. "),
        *text_events("A hat.", index=1, item="msg_8"),
        final=response(said("Let me see. "), said("A hat.")),
    ),
    _stream(
        "refusal",
        *item_events(
            {**said(), "content": [{"type": "refusal", "refusal": "I will not."}]},
            *(
                {
                    "type": "response.refusal.delta",
                    "item_id": "msg_7",
                    "output_index": 0,
                    "content_index": 0,
                    "delta": piece,
                }
                for piece in ("I will ", "not.")
            ),
            begun=said(),
        ),
        final=response({**said(), "content": [{"type": "refusal", "refusal": "I will not."}]}),
    ),
    _stream(
        "summary",
        *item_events(SUMMARY, *_thoughts("reasoning_summary_text", "Rou", "nd."), begun={**SUMMARY, "summary": []}),
        *_SHORT,
        final=response(SUMMARY, said("A hat.")),
    ),
    _stream(
        "reasoning-text",
        *item_events(
            {**SUMMARY, "summary": [], "content": [{"type": "reasoning_text", "text": "Round."}]},
            *_thoughts("reasoning_text", "Rou", "nd."),
            begun={**SUMMARY, "summary": []},
        ),
        *_SHORT,
        final=response(
            {**SUMMARY, "summary": [], "content": [{"type": "reasoning_text", "text": "Round."}]}, said("A hat.")
        ),
    ),
    _stream(
        "summary-no-deltas",
        *item_events(SUMMARY, begun={**SUMMARY, "summary": []}),
        *_SHORT,
        final=response(SUMMARY, said("A hat.")),
    ),
    _stream("call", *_LOOK, final=response(FUNCTION)),
    _stream("call-no-deltas", *item_events(FUNCTION, begun={**FUNCTION, "arguments": ""}), final=response(FUNCTION)),
    _stream("call-end-without-output", *_LOOK, final=response()),
    _stream(
        "calls",
        *_LOOK,
        *_call_events(_COUNT, "function_call_arguments", "arguments", '{"to"', ":3}", index=1),
        final=response(FUNCTION, _COUNT),
    ),
    _stream(
        "custom-call", *_call_events(CUSTOM, "custom_tool_call_input", "input", "select ", "1"), final=response(CUSTOM)
    ),
    _stream(
        "mcp-call",
        *_call_events(ITEMS["mcp"], "mcp_call_arguments", "arguments", '{"sides":6}'),
        final=response(ITEMS["mcp"]),
    ),
    _stream("code", *_call_events(_CODE, "code_interpreter_call_code", "code", "print", "(1)"), final=response(_CODE)),
    _stream(
        "tool-search-changes-its-id", *item_events(_SEARCH_DONE, begun=_SEARCH_BEGUN), final=response(_SEARCH_DONE)
    ),
    _stream(
        "call-changes-its-id",
        *_call_events(FUNCTION, "function_call_arguments", "arguments", '{"at":"sky"}', begun={"call_id": "call_0"}),
        final=response(FUNCTION),
    ),
    _stream(
        "call-changes-its-name",
        *_call_events(FUNCTION, "function_call_arguments", "arguments", '{"at":"sky"}', begun={"name": ""}),
        final=response(FUNCTION),
    ),
    _stream(
        "patch-in-pieces",
        *item_events(
            ITEMS["patch"],
            *(
                {
                    "type": "response.apply_patch_call_operation_diff.delta",
                    "item_id": "ap_7",
                    "output_index": 0,
                    "delta": piece,
                }
                for piece in ("@@\n", "-a\n+b\n")
            ),
            begun={**ITEMS["patch"], "status": "in_progress", "operation": {**PATCH, "diff": ""}},
        ),
        final=response(ITEMS["patch"]),
    ),
    *(
        _stream(
            f"item-{name}",
            *item_events(ITEMS[name], begun={**ITEMS[name], "status": "in_progress"}),
            final=response(ITEMS[name]),
        )
        for name in _NO_PIECES
    ),
    _stream(
        "search-then-text",
        *item_events(SEARCH, begun={"type": "web_search_call", "id": "we_7", "status": "in_progress"}),
        *text_events("A hat.", index=1),
        final=response(SEARCH, said("A hat.")),
    ),
    _stream(
        "summary-call-text",
        *item_events(SUMMARY, *_thoughts("reasoning_summary_text", "Round.")),
        *_call_events(FUNCTION, "function_call_arguments", "arguments", '{"at":"sky"}', index=1),
        *text_events("A hat.", index=2),
        final=response(SUMMARY, FUNCTION, said("A hat.")),
    ),
    _stream(
        "incomplete",
        *text_events("It is"),
        end="response.incomplete",
        final=response(said("It is"), status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
    ),
    _stream(
        "failed",
        *text_events("It is"),
        end="response.failed",
        final=response(said("It is"), status="failed", error={"code": "server_error", "message": "out of luck"}),
    ),
    _stream(
        "failed-at-once",
        end="response.failed",
        final=response(status="failed", usage=None, error={"code": "rate_limit_exceeded", "message": "too many"}),
    ),
    _stream("new-events", *_TEXT, {"type": "response.content_filter.checked", "verdict": "fine"}, final=_HAT),
    stream(
        "response-stream-error-event",
        "responses",
        [
            *response_events(*_TEXT, final=_HAT)[:6],
            {
                "type": "error",
                "code": "server_error",
                "message": "the worker has died",
                "param": None,
                "sequence_number": 6,
            },
        ],
    ),
    stream(
        "response-stream-error-nested",
        "responses",
        [
            *response_events(*_TEXT, final=_HAT)[:6],
            {
                "type": "error",
                "error": {"type": "server_error", "code": "busy", "message": "no capacity"},
                "sequence_number": 6,
            },
        ],
    ),
    stream("response-stream-error-first", "responses", [{"type": "error", "code": "busy", "message": "no capacity"}]),
    stream(
        "response-stream-error-of-a-gateway",
        "responses",
        [*response_events(*_TEXT, final=_HAT)[:5], {"error": {"message": "upstream timeout", "code": 504}}],
    ),
]
