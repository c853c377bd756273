"""All our worlds that can be made here: a world whose SDK is not installed is missing, with the reason."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

MODULES = {
    "world_plain": None,
    "world_chat": "openai",
    "world_loopback": "openai",
    "world_responses": "openai",
    "world_anthropic": "anthropic",
    "world_together": "together",
    "world_litellm": "litellm",
}


def load():
    """Return the worlds of each module, and why a module has none."""
    worlds, missing = [], {}
    for name, sdk in MODULES.items():
        if sdk is not None and find_spec(sdk) is None:
            missing[name] = f"{sdk} is not installed"
            continue
        worlds += import_module(f"{__package__}.{name}").WORLDS
    return worlds, missing


WORLDS, MISSING = load()
