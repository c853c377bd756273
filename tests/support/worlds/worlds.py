"""All our worlds that can be made here: a world whose SDK is not installed is missing, with the reason."""

from __future__ import annotations

from importlib import import_module

from tests.support.providers import is_installed

MODULES = {
    "world_plain": None,
    "world_chat": "openai",
    "world_loopback": "openai",
    "world_responses": "openai",
    "world_anthropic": "anthropic",
    "world_together": "together",
    "world_litellm": "litellm",
    "world_gemini": "google.genai",
    "world_mistral": "mistralai",
    "world_huggingface": "huggingface_hub",
    "world_ollama": "ollama",
    "world_cohere": "cohere",
    "world_bedrock": "boto3",
}


def load():
    """Return the worlds of each module, and why a module has none."""
    worlds, missing = [], {}
    for name, sdk in MODULES.items():
        if sdk is not None and not is_installed(sdk):
            missing[name] = f"{sdk} is not installed"
            continue
        worlds += import_module(f"{__package__}.{name}").WORLDS
    return worlds, missing


WORLDS, MISSING = load()
