"""
What a body means, read from its bytes, in the form of a record: the judge of `tests/system/sdks/test_wire_forms.py`.

It shares nothing with the package: no import, and no way of reading. It takes the whole list of events
at once and asks of each field where in it the answer is.
"""

from __future__ import annotations

import json
from typing import Any


def payloads(data: bytes, *, streamed: bool) -> list[dict[str, Any]]:
    """Return the JSON objects in a body: of each event, or the one of the whole."""
    if not streamed:
        found = _json(data.decode())
        return [found] if isinstance(found, dict) else []
    text = data.decode().replace("\r\n", "\n").replace("\r", "\n")
    bodies = []
    for block in text.split("\n\n"):
        lines = [line[5:].removeprefix(" ") for line in block.split("\n") if line.startswith("data:")]
        if lines:
            bodies.append(_json("\n".join(lines)))
    return [body for body in bodies if isinstance(body, dict)]


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def truth(form: Any, *, events: int | None = None) -> dict[str, Any]:
    """
    Return what a form says.

    Args:
        form: The form.
        events: How many of its events count, for a stream that is left early.
    """
    found = payloads(form.body, streamed=form.streamed)[:events]
    read = {"chat": _chat, "text": _chat, "responses": _responses, "messages": _messages}[form.api]
    made = read(found)
    made["outcome"] = "completed" if made["error"] is None else "error"
    return {**made, **({} if events is not None else form.pinned)}


def _blank() -> dict[str, Any]:
    return {
        "text": None,
        "reasoning": None,
        "refusal": None,
        "tool_calls": [],
        "finish_reason": None,
        "usage": {},
        "error": None,
        "response_id": None,
        "response_model": None,
        "choices": [],
    }


def _words(error: Any) -> str | None:
    """Return what an error says, of whatever form it is."""
    if isinstance(error, str):
        return error
    if isinstance(error, dict):
        return str(error.get("message") or error.get("code") or error.get("type") or "")
    return None


def _number(*candidates: Any) -> int | None:
    for one in candidates:
        if isinstance(one, bool) or one is None:
            continue
        try:
            return int(float(one))
        except (TypeError, ValueError):
            continue
    return None


# Chat ----------------------------------------------------------------------------------------------


def _chat(found: list[dict[str, Any]]) -> dict[str, Any]:
    made = _blank()
    by_index: dict[int, list[dict[str, Any]]] = {}
    for body in found:
        for position, item in enumerate(body.get("choices") or []):
            if isinstance(item, dict):
                by_index.setdefault(item.get("index") or (0 if "delta" in item else position), []).append(item)
        made["response_id"] = body.get("id") or made["response_id"]
        made["response_model"] = body.get("model") or made["response_model"]
        made["error"] = made["error"] or _chat_error(body)
    choices = [_choice(items) for _, items in sorted(by_index.items())]
    if choices:
        made |= choices[0]
    if len(choices) > 1:
        made["choices"] = [choice["text"] for choice in choices]
    made["usage"] = _chat_usage(found)
    return made


def _chat_error(body: dict[str, Any]) -> str | None:
    if body.get("error"):
        return _words(body["error"])
    if body.get("object") == "error":
        return str(body["message"])
    base = body.get("base_resp") or {}
    if base.get("status_code"):
        return str(base["status_msg"])
    for item in body.get("choices") or []:
        if isinstance(item, dict) and (item.get("error") or item.get("finish_reason") == "error"):
            return _words(item.get("error")) or "error"
    return None


def _choice(items: list[dict[str, Any]]) -> dict[str, Any]:
    # Of servers that send both, the message of a stream's chunk is all that was said so far.
    first, second = ("message", "delta") if len(items) == 1 else ("delta", "message")
    parts = [item.get(first) or item.get(second) or {} for item in items]
    text = "".join(map(_text, parts)) or "".join(item["text"] for item in items if isinstance(item.get("text"), str))
    spoken = "".join((part.get("audio") or {}).get("transcript") or "" for part in parts)
    refusal = "".join(part.get("refusal") or _of_list(part, "refusal") for part in parts)
    ends = [item["finish_reason"] for item in items if isinstance(item.get("finish_reason"), str)]
    return {
        "text": text or spoken or None,
        "reasoning": "".join(map(_reasoning, parts)) or None,
        "refusal": refusal or None,
        "finish_reason": ends[-1] if ends else None,
        "tool_calls": _calls([call for part in parts for call in _sent_calls(part)]),
    }


def _text(part: dict[str, Any]) -> str:
    content = part.get("content")
    return content if isinstance(content, str) else _of_list(part, "text", "output_text")


def _of_list(part: dict[str, Any], *kinds: str) -> str:
    content = part.get("content")
    if not isinstance(content, list):
        return ""
    name = kinds[0]
    return "".join(one[name] for one in content if one.get("type") in kinds and isinstance(one.get(name), str))


def _reasoning(part: dict[str, Any]) -> str:
    for name in ("reasoning_content", "reasoning"):
        if isinstance(part.get(name), str) and part[name]:
            return part[name]
    if part.get("reasoning_details"):
        return "".join(one.get("text") or one.get("summary") or "" for one in part["reasoning_details"])
    content = part.get("content")
    thoughts = (
        [one["thinking"] for one in content if one.get("type") == "thinking"] if isinstance(content, list) else []
    )
    return "".join(one if isinstance(one, str) else "".join(piece.get("text", "") for piece in one) for one in thoughts)


def _sent_calls(part: dict[str, Any]) -> list[dict[str, Any]]:
    calls = part.get("tool_calls") or []
    old = part.get("function_call")
    return calls or ([{"function": old, "old": True}] if old else [])


def _calls(deltas: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Join the pieces of calls: each names its call by an id, by an index, or by coming after it."""
    made: list[dict[str, Any]] = []
    for delta in deltas:
        inner = delta.get("function") or delta.get("custom") or {}
        name, sent = inner.get("name") or "", inner.get("arguments", inner.get("input"))
        arguments = "" if sent is None else sent if isinstance(sent, str) else json.dumps(sent)
        index, ident = delta.get("index"), delta.get("id") or None
        same = [one for one in made if ident and one["id"] == ident and index in {None, one["index"]}]
        same = same or [one for one in made if index == one["index"]][-1:]
        if same and not (ident and index is None and same[-1]["id"] != ident):
            one = same[-1]
            begins = bool(name) and bool(arguments) and _json(one["arguments"]) is not None
            if not (begins or (ident and one["id"] and one["id"] != ident and name)):
                one["id"] = one["id"] or ident
                one["name"] = one["name"] if name in {"", one["name"]} else one["name"] + name
                one["arguments"] += arguments
                continue
        kind = delta.get("type") or "function"
        made.append({"index": index, "id": ident, "type": kind, "name": name, "arguments": arguments})
    return [(one["id"], one["type"], one["name"], one["arguments"]) for one in made]


def _chat_usage(found: list[dict[str, Any]]) -> dict[str, Any]:
    places = [
        *(body.get("usage") for body in found),
        *((body.get("x_groq") or {}).get("usage") for body in found),
        *(item.get("usage") for body in found for item in body.get("choices") or [] if isinstance(item, dict)),
    ]
    reports = [one for one in places if isinstance(one, dict) and one]
    if not reports:
        return {}
    # The last of the best place counts: a stream may report its tokens so far with each chunk.
    plain = [body["usage"] for body in found if isinstance(body.get("usage"), dict) and body["usage"]]
    usage = plain[-1] if plain else reports[-1]
    inside = usage.get("prompt_tokens_details") or {}
    outside = usage.get("completion_tokens_details") or {}
    prompt, output = _number(usage.get("prompt_tokens")), _number(usage.get("completion_tokens"))
    top = [usage.get(name) for name in ("prompt_cache_hit_tokens", "cached_tokens", "num_cached_tokens")]
    cached = _number(inside.get("cached_tokens"), *top)
    written = _number(inside.get("cache_write_tokens"), inside.get("cache_creation_tokens"))
    reasoned = _number(outside.get("reasoning_tokens"), usage.get("reasoning_tokens"))
    total = _number(usage.get("total_tokens"))
    return _tokens(prompt, output, cached, written, reasoned=reasoned, total=total)


def _tokens(prompt, output, cached, written, *, reasoned, total):
    """Return tokens as the record has them: the cache beside the input, the reasoning inside the output."""
    if prompt is not None and (cached or 0) + (written or 0) <= prompt:
        prompt -= (cached or 0) + (written or 0)
    if reasoned and output is not None and total == _sum(prompt, cached, written, output, reasoned):
        output += reasoned
    return {
        "input_tokens": prompt,
        "output_tokens": output,
        "cache_read_tokens": cached,
        "cache_write_tokens": written,
        "reasoning_tokens": reasoned,
    }


def _sum(*counts):
    return sum(count or 0 for count in counts)


# Responses -----------------------------------------------------------------------------------------


def _responses(found: list[dict[str, Any]]) -> dict[str, Any]:
    made = _blank()
    last: dict[str, Any] = {}
    for body in found:
        whole = body if body.get("object") == "response" else body.get("response")
        if isinstance(whole, dict):
            last = whole
        if body.get("type") == "error" or ("error" in body and "object" not in body):
            made["error"] = _words(body["error"] if isinstance(body.get("error"), dict | str) else body)
    made["response_id"], made["response_model"] = last.get("id"), last.get("model")
    items = last.get("output") or _items(found)
    made["text"] = _joined(found, items, "output_text", "text")
    made["refusal"] = _joined(found, items, "refusal", "refusal")
    made["reasoning"] = _thoughts(found, items)
    made["tool_calls"] = [call for item in items if (call := _item_call(item)) is not None]
    reason = (last.get("incomplete_details") or {}).get("reason")
    ended = len(found) == 1 or any(str(body.get("type")).rpartition(".")[2] in _ENDS for body in found)
    made["finish_reason"] = (reason or last.get("status")) if ended else None
    made["error"] = made["error"] or _words(last.get("error"))
    usage = last.get("usage")
    if usage:
        inside, outside = usage.get("input_tokens_details") or {}, usage.get("output_tokens_details") or {}
        cached, written = _number(inside.get("cached_tokens")), _number(inside.get("cache_write_tokens"))
        asked, said = _number(usage.get("input_tokens")), _number(usage.get("output_tokens"))
        reasoned = _number(outside.get("reasoning_tokens"))
        total = _number(usage.get("total_tokens"))
        made["usage"] = _tokens(asked, said, cached, written, reasoned=reasoned, total=total)
    return made


_ENDS = ("completed", "failed", "incomplete", "cancelled")


def _items(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the items of a response whose end has not come, or does not repeat them: each in its last state."""
    items: dict[int, dict[str, Any]] = {}
    pieces: dict[int, str] = {}
    for body in found:
        index = body.get("output_index") or 0
        if body.get("type") == "response.output_item.added":
            items[index] = {**body["item"], "added": True}
        elif body.get("type") == "response.output_item.done":
            items[index] = body["item"]
        elif isinstance(body.get("delta"), str) and str(body.get("type")).rpartition(".")[0].endswith(_IN_PIECES):
            pieces[index] = pieces.get(index, "") + body["delta"]
    for index, item in items.items():
        if item.pop("added", None):
            items[index] = {**item, "arguments": pieces.get(index, "")}
    return [items[index] for index in sorted(items)]


_IN_PIECES = ("_call_arguments", "_call_input", "_call_code")


def _joined(found, items, kind, name) -> str | None:
    deltas = [body["delta"] for body in found if body.get("type") == f"response.{kind}.delta"]
    if not any(deltas):
        parts = [part for item in items if item.get("type") == "message" for part in item.get("content") or []]
        deltas = [part[name] for part in parts if isinstance(part.get(name), str)]
    return "".join(deltas) or None


def _thoughts(found, items) -> str | None:
    names = {"response.reasoning_text.delta", "response.reasoning_summary_text.delta"}
    deltas = [body["delta"] for body in found if body.get("type") in names]
    if not deltas:
        thoughts = [item for item in items if item.get("type") == "reasoning"]
        deltas = [
            part.get("text") or ""
            for item in thoughts
            for part in [*(item.get("summary") or []), *(item.get("content") or [])]
        ]
    return "".join(deltas) or None


_ARGUMENTS = ("arguments", "input", "action", "actions", "code", "queries", "operation")


def _item_call(item: dict[str, Any]) -> tuple[Any, ...] | None:
    kind = item.get("type") or ""
    if not kind.endswith("_call"):
        return None
    kind = kind[: -len("_call")]
    kind = kind.removesuffix("_tool")
    sent = next((item[name] for name in _ARGUMENTS if item.get(name) is not None), "")
    arguments = sent if isinstance(sent, str) else json.dumps(sent)
    return (item.get("call_id") or item.get("id"), kind, item.get("name") or kind, arguments)


# Messages ------------------------------------------------------------------------------------------


def _messages(found: list[dict[str, Any]]) -> dict[str, Any]:
    made = _blank()
    blocks: dict[int, dict[str, Any]] = {}
    usage: dict[str, Any] = {}
    for body in found:
        kind = body.get("type")
        if kind == "error" or ("error" in body and kind is None):
            made["error"] = _words(body.get("error"))
        whole = body if kind == "message" else body.get("message")
        if kind in {"message", "message_start"} and isinstance(whole, dict):
            made["response_id"], made["response_model"] = whole.get("id"), whole.get("model")
            made["finish_reason"] = whole.get("stop_reason")
            usage |= {name: count for name, count in (whole.get("usage") or {}).items() if count is not None}
            blocks |= {number: dict(block) for number, block in enumerate(whole.get("content") or [])}
        elif kind == "content_block_start":
            blocks[body["index"]] = {**body["content_block"], "pieces": ""}
        elif kind == "content_block_delta":
            block, delta = blocks[body["index"]], body["delta"]
            for name in ("text", "thinking"):
                if name in delta:
                    block[name] = (block.get(name) or "") + delta[name]
            block["pieces"] += delta.get("partial_json") or ""
        elif kind == "message_delta":
            made["finish_reason"] = body["delta"].get("stop_reason") or made["finish_reason"]
            usage |= {name: count for name, count in (body.get("usage") or {}).items() if count is not None}
    ordered = [blocks[number] for number in sorted(blocks)]
    made["text"] = "".join(block.get("text") or "" for block in ordered if block["type"] == "text") or None
    made["reasoning"] = "".join(block.get("thinking") or "" for block in ordered if block["type"] == "thinking") or None
    made["tool_calls"] = [_use(block) for block in ordered if block["type"].endswith("tool_use")]
    made["usage"] = _message_usage(usage)
    return made


def _use(block: dict[str, Any]) -> tuple[Any, ...]:
    kind = "function" if block["type"] == "tool_use" else block["type"]
    streamed = block.get("pieces") or ("" if "pieces" in block and not block["input"] else None)
    arguments = json.dumps(block.get("input")) if streamed is None else streamed
    return (block["id"], kind, block["name"], arguments)


def _message_usage(usage: dict[str, Any]) -> dict[str, Any]:
    if not usage:
        return {}
    rounds = [one for one in usage.get("iterations") or [] if one.get("type") in {"message", "compaction"}]
    names = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
    counts = {name: _number(usage.get(name)) for name in names}
    if rounds:
        counts = {name: _sum(*(one.get(name) for one in rounds)) if name in rounds[0] else None for name in names}
    thinking = (usage.get("output_tokens_details") or {}).get("thinking_tokens")
    return {
        "input_tokens": counts["input_tokens"],
        "output_tokens": counts["output_tokens"],
        "cache_read_tokens": counts["cache_read_input_tokens"],
        "cache_write_tokens": counts["cache_creation_input_tokens"],
        "reasoning_tokens": _number(thinking),
    }
