"""What the forms of a family share: heads of chat chunks, events around the content of a message or a response."""

from __future__ import annotations

USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}


def completion(message, *, finish="stop", usage=USAGE, choice=None, message_only=False, **top):
    """Return a chat completion of one choice; `choice` and `top` are further keys."""
    item = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish, **(choice or {})}
    head = {"id": "chatcmpl-7", "object": "chat.completion", "created": 1764000000, "model": "m-1"}
    made = {**head, "choices": [item], **top}
    return made if usage is None else {**made, "usage": usage}


def chunk(delta=None, *, finish=None, choices=None, **top):
    """Return a chunk of a chat; without delta its choice says nothing."""
    item = {"index": 0, "delta": {} if delta is None else delta, "finish_reason": finish}
    head = {"id": "chatcmpl-7", "object": "chat.completion.chunk", "created": 1764000000, "model": "m-1"}
    return {**head, "choices": [item] if choices is None else choices, **top}


def words(*pieces, finish="stop", usage=USAGE):
    """Return the chunks of a text, their end and, if any, the chunk with the tokens."""
    made = [chunk({"role": "assistant", "content": ""}), *(chunk({"content": piece}) for piece in pieces)]
    made.append(chunk(finish=finish))
    return made if usage is None else [*made, chunk(choices=[], usage=usage)]


def response(*output, status="completed", **top):
    """Return a response with these items."""
    usage = {
        "input_tokens": 20,
        "input_tokens_details": {"cached_tokens": 5},
        "output_tokens": 9,
        "output_tokens_details": {"reasoning_tokens": 4},
        "total_tokens": 29,
    }
    head = {"id": "resp_7", "object": "response", "created_at": 1764000000, "status": status, "model": "m-1"}
    rest = {"parallel_tool_calls": True, "tool_choice": "auto", "tools": [], "error": None, "incomplete_details": None}
    return {**head, **rest, "output": [*output], "usage": usage, **top}


def said(*texts, **more):
    """Return a message item of a response."""
    parts = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    return {"type": "message", "id": "msg_7", "status": "completed", "role": "assistant", "content": parts, **more}


def response_events(*events, end="response.completed", final=None):
    """Return the events of a response: its beginning, these, and its end."""
    whole = response() if final is None else final
    begun = {**whole, "status": "in_progress", "output": [], "usage": None, "error": None, "incomplete_details": None}
    made = [
        {"type": "response.created", "response": begun},
        {"type": "response.in_progress", "response": begun},
        *events,
        {"type": end, "response": whole},
    ]
    return [{**event, "sequence_number": number} for number, event in enumerate(made)]


def item_events(item, *between, index=0, begun=None):
    """Return an item's beginning, what comes between, and its end."""
    added = {"type": "response.output_item.added", "output_index": index, "item": begun or item}
    return [added, *between, {"type": "response.output_item.done", "output_index": index, "item": item}]


def text_events(*pieces, index=0, text=None, item="msg_7"):
    """Return the events of a message item that says these pieces."""
    whole = said("".join(pieces) if text is None else text)
    at = {"item_id": item, "output_index": index, "content_index": 0}
    deltas = [{"type": "response.output_text.delta", **at, "delta": piece, "logprobs": []} for piece in pieces]
    part = {"type": "output_text", "text": "", "annotations": []}
    return item_events(
        {**whole, "id": item},
        {"type": "response.content_part.added", **at, "part": part},
        *deltas,
        {"type": "response.output_text.done", **at, "text": "".join(pieces), "logprobs": []},
        index=index,
        begun={**whole, "id": item, "content": [], "status": "in_progress"},
    )


def message(*blocks, stop="end_turn", usage=None, **top):
    """Return a message of Anthropic's with these blocks."""
    tokens = {"input_tokens": 12, "output_tokens": 6} if usage is None else usage
    head = {"id": "msg_7", "type": "message", "role": "assistant", "model": "m-1"}
    return {**head, "content": [*blocks], "stop_reason": stop, "stop_sequence": None, "usage": tokens, **top}


def block_events(index, block, *deltas):
    """Return the events of one block of a message."""
    return [
        {"type": "content_block_start", "index": index, "content_block": block},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]


def text_block(index, *pieces, **more):
    """Return the events of a block of text."""
    deltas = [{"type": "text_delta", "text": piece} for piece in pieces]
    return block_events(index, {"type": "text", "text": "", **more}, *deltas)


def message_events(*events, stop="end_turn", usage=None, start=None, end=None, **top):
    """Return the events of a message: its start, those of its blocks, and its end."""
    begun = {"input_tokens": 12, "output_tokens": 1} if start is None else start
    head = message(stop=None, usage=begun, **top)
    tokens = {"output_tokens": 6} if usage is None else usage
    return [
        {"type": "message_start", "message": head},
        *events,
        {
            "type": "message_delta",
            "delta": {"stop_reason": stop, "stop_sequence": None, **(end or {})},
            "usage": tokens,
        },
        {"type": "message_stop"},
    ]
