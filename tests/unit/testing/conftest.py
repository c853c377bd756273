"""The two worlds that ask the scripted server, and servers that end with their test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import openai
import pytest

from moa_middleware.testing.server import ScriptedServer
from tests.support.asking import QUESTION, client_of


@dataclass
class Heard:
    """What a client got of a stream."""

    chunks: list[Any] = field(default_factory=list)
    error: Exception | None = None

    def deltas(self, choice: int = 0) -> list[Any]:
        """Return the deltas of one choice."""
        return [each.delta for chunk in self.chunks for each in chunk.choices if each.index == choice]

    def pieces(self, choice: int = 0) -> list[str]:
        """Return the pieces of text that are not empty."""
        return [delta.content for delta in self.deltas(choice) if delta.content]

    @property
    def text(self) -> str:
        """Return the text so far."""
        return "".join(self.pieces())


class Sync:
    """Asks by `OpenAI`."""

    def value(self, server: ScriptedServer, model: str = "m", **more: Any) -> Any:
        """Ask for a value."""
        with client_of(server) as client:
            return client.chat.completions.create(model=model, messages=QUESTION, **more)

    def stream(self, server: ScriptedServer, model: str = "m", **more: Any) -> Heard:
        """Ask for a stream and read it to its end or its error."""
        heard = Heard()
        with client_of(server) as client:
            chunks = client.chat.completions.create(model=model, messages=QUESTION, stream=True, **more)
            try:
                for chunk in chunks:
                    heard.chunks.append(chunk)
            except Exception as error:
                heard.error = error
        return heard


class Async:
    """Asks by `AsyncOpenAI`."""

    def value(self, server: ScriptedServer, model: str = "m", **more: Any) -> Any:
        """Ask for a value."""

        async def ask() -> Any:
            async with openai.AsyncOpenAI(base_url=server.base_url, api_key="test", max_retries=0) as client:
                return await client.chat.completions.create(model=model, messages=QUESTION, **more)

        return asyncio.run(ask())

    def stream(self, server: ScriptedServer, model: str = "m", **more: Any) -> Heard:
        """Ask for a stream and read it to its end or its error."""
        heard = Heard()

        async def ask() -> None:
            async with openai.AsyncOpenAI(base_url=server.base_url, api_key="test", max_retries=0) as client:
                chunks = await client.chat.completions.create(model=model, messages=QUESTION, stream=True, **more)
                try:
                    async for chunk in chunks:
                        heard.chunks.append(chunk)
                except Exception as error:
                    heard.error = error

        asyncio.run(ask())
        return heard


@pytest.fixture(params=[Sync, Async], ids=["sync", "async"])
def ask(request: pytest.FixtureRequest) -> Sync | Async:
    """One body for both clients."""
    return request.param()


@pytest.fixture
def serve() -> Iterator[Callable[..., ScriptedServer]]:
    """Start servers that stop with the test."""
    servers: list[ScriptedServer] = []

    def start(script: Any = None, **more: Any) -> ScriptedServer:
        scripts = script if isinstance(script, dict) else {"m": script}
        servers.append(ScriptedServer(scripts, **more).start())
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
