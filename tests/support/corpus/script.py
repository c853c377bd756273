"""What a script of the corpus is, and the models that scripts ask."""

from __future__ import annotations

from contextlib import suppress
from types import SimpleNamespace
from typing import Any, NamedTuple

__all__ = ["SCRIPTS", "BoomError", "chunks", "quietly", "reply", "script", "text_of"]

QUESTION = [{"role": "user", "content": "Why is the sky blue?"}]


class Script(NamedTuple):
    """One run: a function, and the settings that it runs under."""

    run: Any
    env: dict[str, str]


SCRIPTS: dict[str, Script] = {}


def script(**env):
    """Add a function to the corpus; it runs with these variables, each without its `MOA_`."""

    def add(fn):
        name = fn.__name__.replace("_", "-")
        assert name not in SCRIPTS, name
        SCRIPTS[name] = Script(fn, {f"MOA_{key.upper()}": value for key, value in env.items()})
        return fn

    return add


class BoomError(Exception):
    """What a model raises. Named without its file, so that the file may move."""


BoomError.__module__ = "corpus"


def quietly(run):
    """Run a script's part that is to fail."""
    with suppress(BoomError, RuntimeError, ValueError, TypeError, GeneratorExit, KeyboardInterrupt):
        run()


def reply(text="Air scatters blue light.", **more):
    """Return a reply in the form of chat completions, as plain dicts."""
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "model": "model-a-2026",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17},
        **more,
    }


def thing(value):
    """Return dicts as objects with attributes, all the way down."""
    if isinstance(value, dict):
        return SimpleNamespace(**{key: thing(one) for key, one in value.items()})
    return [thing(one) for one in value] if isinstance(value, list) else value


def chunk(text=None, finish=None, **more):
    """Return one chunk of a chat stream, as an object."""
    delta = {"role": "assistant", "content": text, "tool_calls": None}
    choices = [{"index": 0, "delta": delta, "finish_reason": finish}]
    return thing({"id": "chatcmpl-2", "model": "model-a-2026", "choices": choices, "usage": None, **more})


USAGE = {
    "prompt_tokens": 30,
    "completion_tokens": 7,
    "total_tokens": 37,
    "prompt_tokens_details": {"cached_tokens": 10},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


def chunks(*texts, usage=True):
    """Return the chunks of a stream whose last one tells the tokens."""
    found = [chunk(text) for text in texts or ("Air ", "scatters ", "blue ", "light.")]
    found.append(chunk(finish="stop"))
    if usage:
        found.append(chunk(choices=[], usage=thing(USAGE)))
    return found


def text_of(value):
    """Return the text of a reply."""
    return value["choices"][0]["message"]["content"]
