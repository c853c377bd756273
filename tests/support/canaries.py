"""Canaries in every place of a call that holds content, and what is said of them."""

from __future__ import annotations

import json
from contextlib import suppress

import moa_middleware as moa

MARK = "XQCANARYQX"  # no other text has it by chance, and every encoding of a line leaves it as it is


def canary(name):
    """Return a text that all three rules and every function of the tests know how to take out."""
    return f"{name}.{MARK}@example.com"


def reply(name):
    """Return a completed reply that holds canaries wherever a reply holds content."""
    arguments = json.dumps({canary("key"): [canary("argument")], "n": 3, "text": f'"\\ \n{canary("quoted")}'})
    message = {
        "role": "assistant",
        "content": f"answer to {name}: {canary('output')}",
        "reasoning": canary("reasoning"),
        "refusal": canary("refusal"),
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "send", "arguments": arguments}}],
    }
    source = {"url": f"https://example.org/{canary('url')}", "title": canary("title"), "content": canary("quote")}
    message |= {
        "annotations": [{"type": "url_citation", "url_citation": {**source, "note": canary("citation")}}],
        "executed_tools": [{"type": "search", "output": canary("part"), canary("part_key"): 1}],
    }
    # Split as a tokenizer splits: no rule finds it.
    tokens = [{"token": piece, "logprob": -0.5} for piece in (canary("logprobs"), f"{MARK}@exam", "ple.com")]
    found = {
        "logprobs": {"content": tokens},
        "stop_reason": canary("stop_sequence"),
        "content_filter_results": {"custom": {"filtered": True, "quote": canary("filter")}},
        "native_finish_reason": "STOP",
    }
    choices = [{"index": n, "finish_reason": "stop", "message": message, **found} for n in range(2)]
    usage = {"prompt_tokens": 7, "completion_tokens": 5, "note": canary("usage")}
    return {"choices": choices, "usage": usage, "provider": "Azure", "created": 1764000000, "total_duration": 5}


class Odd:
    """A value that no shape understands."""

    def __repr__(self):
        return canary("repr")


@moa.reference(model="m1")
def ask(messages, **options):
    return reply("ask")


@moa.reference(model="m2")
def odd(messages):
    return Odd()


@moa.reference(model="m3")
def refuse(messages):
    raise ValueError(f"{canary('error')} was refused")


@moa.aggregator(model="m4")
def answer(messages, **options):
    yield from ("All of ", canary("stream"), " said so.")


@moa.turn(tags={"tenant": canary("tag"), "deep": {canary("tag_key"): [canary("tag_item")]}})
def create(messages, **options):
    ask(messages, **options)
    odd(messages)
    with suppress(ValueError):
        refuse(messages)
    return "".join(answer([*messages, {"role": "user", "content": reply("ask")["choices"][0]["message"]["content"]}]))


@moa.reference(model="m")
def echo(messages, **options):
    return messages[-1]["content"]


def say(text):
    """Make a call whose only message is a text."""
    return echo([{"role": "user", "content": text}])


def call_of(record):
    return record["references"][0]
