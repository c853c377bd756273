"""Responses in one piece, by the items that their output holds."""

from __future__ import annotations

from tests.support.wire_forms.form import value
from tests.support.wire_forms.shared import response, said


def _response(name, *items, status="completed", **top):
    return value(f"response-{name}", "responses", response(*items, status=status, **top))


def _item(kind, **fields):
    """Return an item of a kind, whose id is that of its form."""
    return {"type": kind, "id": f"{kind[:2]}_7", "status": "completed", **fields}


FUNCTION = _item("function_call", call_id="call_7", name="look", arguments='{"at":"sky"}')
CUSTOM = _item("custom_tool_call", call_id="call_8", name="sql", input="select 1")
SEARCH = _item("web_search_call", action={"type": "search", "query": "a hat"})
SUMMARY = {"type": "reasoning", "id": "rs_7", "summary": [{"type": "summary_text", "text": "Round."}]}
PATCH = {"type": "update_file", "path": "a.py", "diff": "@@\n-a\n+b\n"}
ITEMS = {
    "function-call": FUNCTION,
    "function-call-namespace": {**FUNCTION, "namespace": "crm"},
    "custom-call": CUSTOM,
    "web-search": SEARCH,
    "web-search-sources": _item(
        "web_search_call",
        action={"type": "search", "query": "a hat", "sources": [{"type": "url", "url": "https://hats.example/1"}]},
    ),
    "web-search-open": _item("web_search_call", action={"type": "open_page", "url": "https://hats.example/1"}),
    "web-search-queries": _item(
        "web_search_call", action={"type": "search", "query": "hat", "queries": ["hat", "cap"]}
    ),
    "file-search": _item("file_search_call", queries=["hat", "cap"], results=None),
    "code-interpreter": _item("code_interpreter_call", code="print(1)", container_id="cntr_7", outputs=None),
    "computer": _item(
        "computer_call",
        call_id="call_9",
        pending_safety_checks=[],
        action={"type": "click", "button": "left", "x": 1, "y": 2},
    ),
    "computer-actions": _item(
        "computer_call",
        call_id="call_9",
        pending_safety_checks=[],
        actions=[{"type": "move", "x": 1, "y": 2}, {"type": "type", "text": "hat"}],
    ),
    "shell": _item(
        "shell_call", call_id="call_9", action={"commands": ["ls"], "timeout_ms": 1000, "max_output_length": None}
    ),
    "local-shell": _item(
        "local_shell_call", call_id="call_9", action={"type": "exec", "command": ["ls", "-l"], "env": {}}
    ),
    "patch": _item("apply_patch_call", call_id="call_9", operation=PATCH),
    "patch-new-file": _item(
        "apply_patch_call", call_id="call_9", operation={"type": "create_file", "path": "b.py", "diff": "+b\n"}
    ),
    "patch-delete": _item("apply_patch_call", call_id="call_9", operation={"type": "delete_file", "path": "b.py"}),
    "image": _item("image_generation_call", result="iVBORw0KGgo=", revised_prompt="A hat, round"),
    "mcp": _item("mcp_call", name="roll", server_label="dice", arguments='{"sides":6}', output="4", error=None),
    "tool-search": _item("tool_search_call", call_id=None, execution="server", arguments={"paths": ["crm"]}),
    "tool-search-by-client": _item(
        "tool_search_call", call_id="call_9", execution="client", arguments={"goal": "hats"}
    ),
    # Of providers whose items the SDK does not declare.
    "x-search": _item("x_search_call", name="x_keyword_search", arguments='{"query":"hat"}'),
    "xai-code": _item("custom_tool_call", call_id="xs_1", name="code_execution", input='{"code":"print(1)"}'),
    "unknown-call": _item("weather_call", call_id="call_9", name="weather", arguments='{"at":"sea"}'),
}
NO_CALLS = {
    "mcp-list": _item("mcp_list_tools", server_label="dice", tools=[]),
    "mcp-approval": _item("mcp_approval_request", server_label="dice", name="roll", arguments='{"sides":6}'),
    "function-output": _item("function_call_output", call_id="call_7", output="blue"),
    "tool-search-output": _item("tool_search_output", call_id=None, execution="server", tools=[]),
    "compaction": {"type": "compaction", "id": "cmp_7", "encrypted_content": "Z0FB"},
}

FORMS = [
    _response("text", said("It is a hat.")),
    _response("two-texts", said("It is ", "a hat.")),
    _response("two-messages", said("Let me see. ", phase="commentary"), said("A hat.", phase="final_answer")),
    _response("refusal", {**said(), "content": [{"type": "refusal", "refusal": "I will not say."}]}),
    _response(
        "refusal-after-text",
        {
            **said(),
            "content": [
                {"type": "output_text", "text": "Well. ", "annotations": []},
                {"type": "refusal", "refusal": "No."},
            ],
        },
    ),
    _response(
        "annotated",
        {
            **said(),
            "content": [
                {
                    "type": "output_text",
                    "text": "A hat.",
                    "annotations": [
                        {
                            "type": "url_citation",
                            "url": "https://hats.example/1",
                            "title": "Hats",
                            "start_index": 0,
                            "end_index": 5,
                        }
                    ],
                }
            ],
        },
    ),
    _response("summary", SUMMARY, said("A hat.")),
    _response(
        "summaries",
        {
            **SUMMARY,
            "summary": [{"type": "summary_text", "text": "Round. "}, {"type": "summary_text", "text": "With a brim."}],
        },
        said("A hat."),
    ),
    _response(
        "reasoning-text",
        {**SUMMARY, "summary": [], "content": [{"type": "reasoning_text", "text": "Round."}]},
        said("A hat."),
    ),
    _response("reasoning-encrypted", {**SUMMARY, "summary": [], "encrypted_content": "Z0FB"}, said("A hat.")),
    _response("reasoning-null-content", {**SUMMARY, "content": None}, said("A hat.")),
    *(_response(f"item-{name}", item) for name, item in ITEMS.items()),
    *(_response(f"item-{name}", item, said("A hat.")) for name, item in NO_CALLS.items()),
    _response("calls", SUMMARY, FUNCTION, {**FUNCTION, "call_id": "call_9", "arguments": '{"at":"sea"}'}),
    _response("calls-and-text", SEARCH, said("It is a hat."), CUSTOM),
    _response("empty"),
    _response("incomplete", said("It is"), status="incomplete", incomplete_details={"reason": "max_output_tokens"}),
    _response("filtered", said("It is"), status="incomplete", incomplete_details={"reason": "content_filter"}),
    _response("queued", status="queued", usage=None),
    _response("failed", said("It is"), status="failed", error={"code": "server_error", "message": "out of luck"}),
    _response("failed-without-error", said("It is"), status="failed", error="failed"),
    _response("tier", said("A hat."), service_tier="flex", background=False, store=True),
    value("response-error-in-200", "responses", {"error": {"message": "no capacity", "type": "server_error"}}),
    value("response-error-numeric", "responses", {"error": {"message": "no capacity", "code": 503}, "user_id": "u"}),
    value("response-error-text", "responses", {"error": "the model is not loaded"}),
    value("response-status-400", "responses", {"error": {"message": "bad request"}}, status=400),
]
