"""What the tests of the scripted server ask, and how they look at it from outside."""

from __future__ import annotations

import http.client
import json
from typing import Any

import openai

from moa_middleware.testing.server import ScriptedServer

try:
    import httpx2 as httpx  # openai >= 3
except ImportError:
    import httpx  # type: ignore[no-redef]

QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
SPEND = {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
BROKEN = (openai.APIConnectionError, httpx.TransportError)
DEADLINE = 10.0  # seconds


def client_of(server: ScriptedServer) -> openai.OpenAI:
    """Return a client that does not retry."""
    return openai.OpenAI(base_url=server.base_url, api_key="test", max_retries=0)


def address_of(server: ScriptedServer) -> tuple[str, int]:
    """Return host and port."""
    url = httpx.URL(server.base_url)
    return url.host, url.port or 0


def raw(server: ScriptedServer, method: str, path: str, body: str | None = None) -> tuple[int, dict[str, Any]]:
    """Ask without an SDK; return status and decoded body."""
    connection = http.client.HTTPConnection(*address_of(server), timeout=DEADLINE)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()
