"""Chat completions as events, by what their deltas hold."""

from __future__ import annotations

from tests.support.wire_forms.form import stream
from tests.support.wire_forms.shared import USAGE, chunk, words

ALL = ("openai", "groq", "together")


def _call(index, ident=None, name=None, arguments=None, *, kind="function"):
    """Return a piece of a tool call; what is None is left out."""
    found = {"type": kind} if ident is not None else {}
    found |= {} if index is None else {"index": index}
    found |= {} if ident is None else {"id": ident}
    inner = {} if name is None else {"name": name}
    inner |= {} if arguments is None else {"arguments" if kind == "function" else "input": arguments}
    return {**found, kind: inner}


def _calls(name, *chunks, sdks=None, **pinned):
    """Return a stream whose chunks are each a list of pieces of calls."""
    events = [chunk({"tool_calls": list(pieces)}) for pieces in chunks]
    return stream(f"chat-stream-{name}", "chat", [*events, chunk(finish="tool_calls")], sdks=sdks, **pinned)


def _deltas(name, *deltas, finish="stop", sdks=None):
    return stream(f"chat-stream-{name}", "chat", [*map(chunk, deltas), chunk(finish=finish)], sdks=sdks)


def _thought(text):
    return {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]}


F, G = ("a", "f", '{"x":1}'), ("b", "g", '{"x":2}')
_PLAIN = words("It ", "is ", "a ", "hat.")

FORMS = [
    stream("chat-stream-text", "chat", _PLAIN, sdks=ALL),
    stream("chat-stream-crlf", "chat", _PLAIN, newline="\r\n"),
    stream("chat-stream-no-done", "chat", _PLAIN, done=False, sdks=ALL),
    stream("chat-stream-comments", "chat", [": PROCESSING", *_PLAIN[:2], ": PROCESSING", *_PLAIN[2:]]),
    stream("chat-stream-no-usage", "chat", words("A ", "hat.", usage=None)),
    stream(
        "chat-stream-usage-rides", "chat", [*words("A ", "hat.", usage=None)[:-1], chunk(finish="stop", usage=USAGE)]
    ),
    stream("chat-stream-usage-null", "chat", [{**event, "usage": event.get("usage")} for event in _PLAIN]),
    stream(
        "chat-stream-usage-so-far",
        "chat",
        [
            {**event, "usage": {"prompt_tokens": 11, "completion_tokens": number, "total_tokens": 11 + number}}
            for number, event in enumerate(words("It ", "is ", "a ", "hat.", usage=None))
        ],
    ),
    stream("chat-stream-one-chunk", "chat", [chunk({"content": "A hat."}, finish="stop", usage=USAGE)]),
    stream(
        "chat-stream-prompt-filter-first",
        "chat",
        [
            {
                "id": "",
                "object": "",
                "created": 0,
                "model": "",
                "choices": [],
                "prompt_filter_results": [{"prompt_index": 0}],
            },
            *_PLAIN,
        ],
    ),
    stream(
        "chat-stream-null-deltas",
        "chat",
        [*_PLAIN[:2], chunk(choices=[{"index": 0, "delta": None, "finish_reason": None}]), *_PLAIN[2:]],
    ),
    stream("chat-stream-empty-choices", "chat", [*_PLAIN[:2], chunk(choices=[]), *_PLAIN[2:]]),
    stream("chat-stream-obfuscation", "chat", [{**event, "obfuscation": "Kd8"} for event in _PLAIN]),
    _deltas("refusal", {"role": "assistant", "refusal": ""}, {"refusal": "I will "}, {"refusal": "not."}),
    _deltas(
        "text-parts", {"content": [{"type": "text", "text": "A "}]}, {"content": [{"type": "text", "text": "hat."}]}
    ),
    stream(
        "chat-stream-choices",
        "chat",
        [
            chunk(choices=[{"index": 0, "delta": {"content": "On"}, "finish_reason": None}]),
            chunk(choices=[{"index": 1, "delta": {"content": "Tw"}, "finish_reason": None}]),
            chunk(
                choices=[
                    {"index": 1, "delta": {"content": "o."}, "finish_reason": None},
                    {"index": 0, "delta": {"content": "e."}, "finish_reason": None},
                ]
            ),
            chunk(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}]),
            chunk(choices=[{"index": 1, "delta": {}, "finish_reason": "length"}]),
        ],
    ),
    # Reasoning.
    _deltas(
        "reasoning-content", {"reasoning_content": "Rou"}, {"reasoning_content": "nd."}, {"content": "A hat."}, sdks=ALL
    ),
    _deltas(
        "reasoning",
        {"reasoning": "Rou", "content": ""},
        {"reasoning": "nd.", "content": ""},
        {"content": "A hat."},
        sdks=ALL,
    ),
    _deltas("reasoning-after-text", {"content": "A "}, {"reasoning": "Round."}, {"content": "hat."}),
    _deltas(
        "reasoning-details",
        *(
            {"content": "", "reasoning_details": [{"type": "reasoning.text", "text": piece, "index": 0}]}
            for piece in ("Rou", "nd.")
        ),
        {"content": "A hat."},
    ),
    _deltas(
        "reasoning-summaries",
        *(
            {"content": "", "reasoning_details": [{"type": "reasoning.summary", "summary": piece, "index": 0}]}
            for piece in ("**Sha", "pe**")
        ),
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "Z0FB"}]},
        {"content": "A hat."},
    ),
    _deltas(
        "reasoning-twice",
        {"reasoning": "Round.", "reasoning_details": [{"type": "reasoning.text", "text": "Round."}], "content": ""},
        {"content": "A hat."},
    ),
    _deltas(
        "thinking-parts",
        _thought("Round, "),
        _thought("with a brim."),
        {"content": "A "},
        {"content": "hat."},
        sdks=ALL,
    ),
    _deltas("thinking-between", {"content": "A "}, {"content": "hat"}, _thought("Sure?"), {"content": "."}, sdks=ALL),
    _deltas("thinking-then-parts", _thought("Round."), {"content": [{"type": "text", "text": "A hat."}]}),
    # Spoken answers.
    _deltas(
        "spoken",
        {"role": "assistant", "audio": {"id": "audio_1"}},
        {"audio": {"transcript": "It is "}},
        {"audio": {"data": "UklG"}},
        {"audio": {"transcript": "a hat."}},
        {"audio": {"expires_at": 1764003600}},
    ),
    # Tool calls.
    _calls("call", [_call(0, "a", "f", "")], [_call(0, arguments='{"x"')], [_call(0, arguments=":1}")], sdks=ALL),
    _calls("call-at-once", [_call(0, *F)], sdks=ALL),
    _calls(
        "calls-in-turn",
        [_call(0, "a", "f", "")],
        [_call(0, arguments="{}")],
        [_call(1, "b", "g", "")],
        [_call(1, arguments='{"x":2}')],
    ),
    _calls(
        "calls-interleaved",
        [_call(0, "a", "f", ""), _call(1, "b", "g", "")],
        [_call(1, arguments='{"x"')],
        [_call(0, arguments='{"x":1}')],
        [_call(1, arguments=":2}")],
    ),
    _calls("calls-all-index-0", [_call(0, *F)], [_call(0, *G)], sdks=ALL),
    _calls("calls-no-index-one-chunk", [_call(None, *F), _call(None, *G)]),
    _calls("calls-no-index-two-chunks", [_call(None, *F)], [_call(None, *G)]),
    _calls("call-no-index-in-pieces", [_call(None, "a", "f", '{"x"')], [_call(None, arguments=":1}")]),
    _calls("call-no-index-id-repeated", [_call(None, "a", "f", '{"x"')], [_call(None, "a", arguments=":1}")]),
    _calls("calls-index-0-without-ids", [_call(0, None, "f", '{"x":1}')], [_call(0, None, "g", '{"x":2}')]),
    _calls("calls-of-one-name-without-ids", [_call(0, "", "f", '{"x":1}')], [_call(0, "", "f", '{"x":2}')]),
    _calls("call-id-and-name-repeated", [_call(0, "a", "f", '{"x"')], [_call(0, "a", "f", ":1}")]),
    _calls("call-name-repeated", [_call(0, "a", "f", '{"x"')], [_call(0, None, "f", ":1}")]),
    _calls("call-empty-id-and-name-later", [_call(0, "a", "f", '{"x"')], [_call(0, "", "", ":1}")]),
    _calls(
        "call-name-in-pieces", [_call(0, "a", "get_", "")], [_call(0, None, "weather", "")], [_call(0, arguments="{}")]
    ),
    _calls("call-name-in-three-pieces", [_call(0, "a", "get")], [_call(0, None, "_")], [_call(0, None, "it", "{}")]),
    _calls(
        "call-new-id-each-delta",
        [_call(0, "c0", "f", "")],
        *([_call(0, f"c{number}", "", piece)] for number, piece in enumerate('{"x":1}', 1)),
    ),
    _calls(
        "call-arguments-decoded",
        [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": {"x": 1}}}],
    ),
    _calls(
        "call-custom",
        [_call(0, "a", "sql", "", kind="custom")],
        [_call(0, arguments="select ", kind="custom")],
        [_call(0, arguments="1", kind="custom")],
        tool_calls=[("a", "custom", "sql", "select 1")],
    ),
    _calls("calls-of-both-kinds", [_call(0, *F)], [_call(1, "b", "sql", "select 1", kind="custom")]),
    _deltas(
        "function-call",
        {"function_call": {"name": "look", "arguments": ""}},
        {"function_call": {"arguments": '{"at":'}},
        {"function_call": {"arguments": '"sky"}'}},
        finish="function_call",
    ),
    _deltas(
        "reasoning-then-call", {"reasoning": "I have to look."}, {"tool_calls": [_call(0, *F)]}, finish="tool_calls"
    ),
    _deltas(
        "text-then-call",
        {"content": "Wait "},
        {"content": "a bit."},
        {"tool_calls": [_call(0, *F)]},
        {"content": " Now."},
        finish="tool_calls",
    ),
    _deltas(
        "text-with-call", {"content": "Wait "}, {"content": "a bit.", "tool_calls": [_call(0, *F)]}, finish="tool_calls"
    ),
    stream(
        "text-stream",
        "text",
        [
            {
                "id": "cmpl-1",
                "object": "text_completion",
                "created": 1,
                "model": "m-1",
                "choices": [{"index": 0, "text": piece, "logprobs": None, "finish_reason": finish}],
            }
            for piece, finish in ((" a", None), (" hat", None), (".", "stop"))
        ],
    ),
    stream(
        "text-stream-choices",
        "text",
        [
            {
                "id": "cmpl-1",
                "object": "text_completion",
                "created": 1,
                "model": "m-1",
                "choices": [{"index": index, "text": piece, "logprobs": None, "finish_reason": finish}],
            }
            for index, piece, finish in ((0, " a", None), (1, " no", None), (0, " hat.", "stop"), (1, "ne.", "length"))
        ],
    ),
    stream(
        "text-stream-error",
        "text",
        [
            {
                "id": "cmpl-1",
                "object": "text_completion",
                "created": 1,
                "model": "m-1",
                "choices": [{"index": 0, "text": " a", "finish_reason": None}],
            },
            {"error": {"message": "the worker has died"}},
        ],
    ),
]
