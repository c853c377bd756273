"""The SDK's clients, one for each address."""

from __future__ import annotations

import threading

import openai

_clients = {}
_lock = threading.Lock()


def _get_cached_client(provider, *, base_url, api_key):
    """Return a client and where it leads."""
    with _lock:
        client = _clients.get(base_url)
        if client is None:
            client = _clients[base_url] = openai.OpenAI(base_url=base_url, api_key=api_key, max_retries=0)
    return client, base_url


def resolve_provider_client(provider, *, base_url, api_key):
    """Return the same; the agent has two ways to a client."""
    return _get_cached_client(provider, base_url=base_url, api_key=api_key)
