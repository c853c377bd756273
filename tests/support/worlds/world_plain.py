"""Worlds without a wire: decorated functions of every kind, and a decorated client."""

from __future__ import annotations

import asyncio

import moa_middleware as moa
from moa_middleware.testing import conformance


class Function(conformance.ClientHarness):
    """A function that returns the text."""

    supports = frozenset({"sync", "value", "refused", "iterator"})

    def make_client(self):
        def ask(messages):
            """Ask."""
            return "".join(self.play(list(messages)))

        return ask

    def instrument(self, client):
        return moa.reference(client)

    def call(self, client, messages, *, stream):
        return client(messages)


class Coroutine(Function):
    """An async function that returns the text."""

    supports = frozenset({"async", "value", "refused", "hang", "iterator"})

    def make_async_client(self):
        async def ask(messages):
            """Ask."""
            return "".join([piece async for piece in self.play_async(list(messages))])

        return ask


class Generator(Function):
    """A generator function."""

    supports = frozenset({"sync", "stream", "close", "exact", "refused", "cut", "error", "interrupt", "iterator"})

    def make_client(self):
        def ask(messages):
            """Ask."""
            yield from self.play(list(messages))

        return ask


class AsyncGenerator(Function):
    """An async generator function."""

    supports = frozenset({"async", "stream", "close", "exact", "refused", "cut", "error", "hang", "iterator"})

    def make_async_client(self):
        async def ask(messages):
            """Ask."""
            async for piece in self.play_async(list(messages)):
                yield piece

        return ask


class Dicts(conformance.ClientHarness):
    """An object of another library: one method for values and for streams of dicts, sync and async."""

    supports = frozenset(
        {"sync", "async", "value", "stream", "close", "exact", "refused", "cut", "error", "interrupt", "hang", "whole"}
        | {"usage", "finish_reason", "iterator", "twice", "undo"}
    )
    entry_points = ("create",)
    model = "m"

    class Client:
        """Answers by dicts of the form of chat completions."""

        def __init__(self, world):
            self.world = world

        def create(self, messages, model="m", stream=False):
            """Create."""
            chunks = self._chunks(list(messages))
            if not stream:
                return _joined(list(chunks))
            return chunks if not self.world.answers_whole else _joined(list(chunks))

        def _chunks(self, messages):
            plan = self.world.plan_of(messages)
            yield from map(_chunk, self.world.play(messages))
            yield _end(plan)

    class AsyncClient(Client):
        """The same for async code."""

        async def create(self, messages, model="m", stream=False):
            """Create."""
            chunks = self._chunks(list(messages))
            if stream and not self.world.answers_whole:
                return chunks
            return _joined([chunk async for chunk in chunks])

        async def _chunks(self, messages):
            plan = self.world.plan_of(messages)
            async for piece in self.world.play_async(messages):
                yield _chunk(piece)
            yield _end(plan)

    @property
    def answers_whole(self):
        return any(plan.whole for plan in self._plans.values())

    def plan_of(self, messages):
        return self._plans[messages[0]["content"]]

    def make_client(self):
        return self.Client(self)

    def make_async_client(self):
        return self.AsyncClient(self)

    def call(self, client, messages, *, stream):
        return client.create(messages, stream=stream)

    def piece_of(self, chunk):
        return chunk["choices"][0]["delta"].get("content", "")

    def text_of(self, value):
        return value["choices"][0]["message"]["content"]

    def view(self, chunk):
        return chunk


def _chunk(piece):
    return {"choices": [{"index": 0, "delta": {"content": piece}, "finish_reason": None}]}


def _end(plan):
    usage = plan.usage and {
        "prompt_tokens": plan.usage["input_tokens"],
        "completion_tokens": plan.usage["output_tokens"],
    }
    end = {"choices": [{"index": 0, "delta": {}, "finish_reason": plan.finish_reason}]}
    return end if usage is None else {**end, "usage": usage}


def _joined(chunks):
    choices = [chunk["choices"][0] for chunk in chunks]
    text = "".join(choice["delta"].get("content", "") for choice in choices)
    last = chunks[-1]
    choice = {"index": 0, "message": {"content": text}, "finish_reason": choices[-1]["finish_reason"]}
    return {**last, "choices": [choice]}


class Mixture(conformance.ClientHarness):
    """A decorated client: two references, then the aggregator, whose stream or value is the turn's."""

    supports = frozenset({"sync", "value", "stream", "close", "exact", "refused", "cut", "error", "interrupt"})

    def make_client(self):
        return self.make_class()()

    def make_class(self):
        world = self

        class Mixture:
            """Asks two models and a third."""

            def ask(self, model, messages):
                """Propose."""
                return f"{model} proposes a draft"

            def synthesize(self, messages, *, stream):
                """Combine."""
                return world.play(messages) if stream else "".join(world.play(messages))

            def create(self, messages, *, stream=False):
                """Answer."""
                drafts = [self.ask(model, messages) for model in ("small", "large")]
                return self.synthesize([*messages, {"role": "user", "content": "\n".join(drafts)}], stream=stream)

        return Mixture

    def instrument(self, client):
        decorated = moa.client(turn="create", reference="ask", aggregator="synthesize")(type(client))
        assert decorated is type(client)
        return client

    def call(self, client, messages, *, stream):
        return client.create(messages, stream=stream)

    def input_of(self, messages):
        return [*messages, {"role": "user", "content": "small proposes a draft\nlarge proposes a draft"}]

    def check(self, turn):
        assert ["small", "large"] == [call["model"] for call in turn["references"]], "references"
        assert ["completed"] * 2 == [call["outcome"] for call in turn["references"]], "outcomes of the references"
        assert {"declared"} == {call["role_source"] for call in [*turn["references"], turn["aggregator"]]}, "roles"
        assert not turn["implicit"], "implicit"
        assert turn["input_messages"] == turn["references"][0]["input_messages"], "input of the turn"


class AsyncMixture(Mixture):
    """The same for async code, with the references in a `gather`."""

    supports = frozenset({"async", "value", "stream", "close", "refused", "cut", "error", "hang"})

    def make_async_client(self):
        return self.make_class()()

    def make_class(self):
        world = self

        class Mixture:
            """Asks two models and a third."""

            async def ask(self, model, messages):
                """Propose."""
                await asyncio.sleep(0)
                return f"{model} proposes a draft"

            async def synthesize(self, messages, *, stream):
                """Combine."""
                pieces = world.play_async(messages)
                return pieces if stream else "".join([piece async for piece in pieces])

            async def create(self, messages, *, stream=False):
                """Answer."""
                drafts = await asyncio.gather(*(self.ask(model, messages) for model in ("small", "large")))
                return await self.synthesize([*messages, {"role": "user", "content": "\n".join(drafts)}], stream=stream)

        return Mixture


WORLDS = [Function, Coroutine, Generator, AsyncGenerator, Dicts, Mixture, AsyncMixture]
