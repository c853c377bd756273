"""
The public names as users write them, with the types that they have to keep.

Checked by mypy strict and by pyright (`tests/house/test_typing.py`), never run.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Iterator, MutableMapping
from types import ModuleType
from typing import Any, assert_type

import structlog
from fastapi import FastAPI
from flask import Flask
from openai import AsyncOpenAI, AsyncStream, OpenAI, Stream
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from starlette.types import ASGIApp

import moa_middleware as moa
from moa_middleware import Call, Chunk, Flow, Reply, Turn, Usage

# Functions ----------------------------------------------------------------------------------------


@moa.reference
def propose(model: str, *, seed: int = 0) -> str:
    return model * seed


@moa.reference(label="fast", layer=1, tags={"tenant": "a"})
def propose_fast(model: str) -> str:
    return model


@moa.reference(label=lambda model, **_: model, layer=lambda **_: 2)
async def apropose(model: str) -> str:
    return model


@moa.aggregator
async def aggregate(texts: list[str]) -> int:
    return len(texts)


@moa.aggregator(messages="conversation", model="m", provider="p", session_id="s", preset=None)
def stream(conversation: str) -> Generator[str, int, bool]:
    got = yield conversation
    return got > 1


@moa.turn
async def answer(question: str) -> str:
    drafts = await asyncio.gather(apropose("a"), apropose(question))
    return " ".join(drafts)


@moa.turn(session_id="s-17", preset=lambda question, **_: question, tags={"tenant": "a"})
async def astream(question: str) -> AsyncGenerator[str, None]:
    yield question


@moa.turn()
def create(question: str) -> Iterator[str]:
    yield question


def functions() -> None:
    assert_type(propose("m", seed=3), str)
    assert_type(propose_fast("m"), str)
    assert_type(stream("a"), Generator[str, int, bool])
    assert_type(astream("q"), AsyncGenerator[str, None])
    assert_type(create("q"), Iterator[str])


async def awaited() -> None:
    assert_type(await apropose("m"), str)
    assert_type(await aggregate([]), int)
    assert_type(await answer("q"), str)
    assert_type(await Client("n").synthesize([]), str)
    assert_type(await moa.carry(apropose)("m"), str)
    assert_type(await own_reference("m"), str)
    task = asyncio.create_task(apropose("m"))  # it takes a coroutine, and no other awaitable
    assert_type(await task, str)
    async for piece in astream("q"):
        assert_type(piece, str)


# Methods and clients ------------------------------------------------------------------------------


@moa.client
class Client:
    def __init__(self, name: str, *, depth: int = 1) -> None:
        self.name = name
        self.depth = depth

    @moa.reference(label=lambda self, **_: self.name)
    def ask(self, model: str) -> str:
        return model

    @moa.aggregator
    async def synthesize(self, texts: list[str]) -> str:
        return self.name.join(texts)

    @classmethod
    @moa.reference
    def of(cls, name: str) -> Client:
        return cls(name)

    @staticmethod
    @moa.reference
    def fixed(number: int) -> int:
        return number

    def create(self, question: str) -> str:
        return self.ask(question)


@moa.client(turn="create", reference=["ask", "chat.ask"], aggregator="act", preset=lambda self, **_: self.name)
class Named:
    def __init__(self, name: str) -> None:
        self.name = name

    def create(self, question: str) -> str:
        return question


def clients() -> None:
    client = Client("n", depth=2)
    assert_type(client, Client)
    assert_type(client.ask("m"), str)
    assert_type(client.create("q"), str)
    assert_type(Client.of("n"), Client)
    assert_type(client.fixed(3), int)
    assert_type(Named("n").create("q"), str)


# What somebody else wrote -------------------------------------------------------------------------


def instruments(stream: bool) -> None:
    client = moa.instrument(OpenAI())
    assert_type(client, OpenAI)
    create = client.chat.completions.create
    assert_type(create(model="m", messages=[]), ChatCompletion)
    assert_type(create(model="m", messages=[], stream=True), Stream[ChatCompletionChunk])
    assert_type(create(model="m", messages=[], stream=stream), ChatCompletion | Stream[ChatCompletionChunk])
    assert_type(moa.instrument(Client("n"), turn="create", reference=("ask",)), Client)
    assert_type(moa.instrument(Client), type[Client])
    module: ModuleType = moa.instrument(asyncio, call="run")
    print(module)
    moa.instrument(client, label="expert", layer=lambda model: 1, tags={"team": "red"}, provider="p")
    assert_type(moa.instrumented(client), tuple[str, ...])
    moa.uninstrument(client)
    moa.uninstrument()


async def ainstruments() -> None:
    client = moa.instrument(AsyncOpenAI(), session_id="s")
    assert_type(client, AsyncOpenAI)
    create = client.chat.completions.create
    assert_type(await create(model="m", messages=[]), ChatCompletion)
    assert_type(await create(model="m", messages=[], stream=True), AsyncStream[ChatCompletionChunk])


# Blocks -------------------------------------------------------------------------------------------


def blocks() -> None:
    with moa.turn() as bare:
        assert_type(bare, Turn)
    with moa.turn(session_id="s-17", preset="p", tags={"tenant": "a"}) as turn:
        assert_type(turn, Turn)
        assert_type(turn.id, str)
        assert_type(turn.session_id, str | None)
        assert_type(turn.parent, Turn | None)
    with moa.tag(role="reference", layer=1, label="l", session_id="s", preset="p", tags={"a": 1}) as tagged:
        assert_type(tagged, None)
    assert_type(moa.current_turn(), Turn | None)
    assert_type(moa.carry(propose)("m", seed=1), str)
    moa.note("vote", winner="m", votes=[2, 1])


# Middleware ---------------------------------------------------------------------------------------


async def cached(key: str) -> int:
    return len(key)


def redact(call: Call) -> Flow:
    assert_type(call.role, str | None)
    assert_type(call.attempt, int)
    yield call.replace(messages=[])


def cost(call: Call) -> Flow:
    reply = yield call
    assert_type(reply, Reply)
    assert_type(reply.text, str | None)
    assert_type(reply.cost_usd, float | None)
    assert_type(reply.usage, Usage | None)
    assert_type(reply.error, BaseException | None)
    assert_type(reply.replace(text="x"), Reply)


def lookup(call: Call) -> Flow:
    hit = yield from moa.wait(cached("k"))
    assert_type(hit, int)
    yield moa.sleep(1.5)
    if hit:
        return Reply(text="hit")
    return (yield call)


def watch(call: Call) -> Flow:
    def look(chunk: Chunk) -> None:
        assert_type(chunk.text, str)
        assert_type(chunk.usage, Usage | None)

    def change(chunk: Chunk) -> Chunk:
        return chunk.replace(text=chunk.text.upper())

    call.on_chunk(look)
    call.map_chunks(change)
    call.map_chunks(lambda chunk: chunk.text or None)
    call.buffer()
    yield call


@moa.observer
def look(call: Call) -> Flow:
    yield call


class Budget:
    def __init__(self, usd: float) -> None:
        self.usd = usd

    def __call__(self, call: Call) -> Flow:
        reply = yield call
        self.usd -= reply.cost_usd or 0


def middleware() -> None:
    every: list[moa.Middleware] = [redact, cost, lookup, watch, look, Budget(1), moa.observer(Budget(2))]
    assert_type(moa.observer(Budget(3)), Budget)
    assert_type(look(Call(id="", turn_id="")), Flow)
    moa.configure(save_traces=True, trace_dir="traces", middleware=every, observers=[look], on_turn=print)
    moa.configure(on_turn=lambda record: print(record["turn_id"], record["totals"]["cost_usd"]))
    assert_type(moa.status().written, int)
    assert_type(moa.flush(open_streams=True), moa.Status)


# A stack of one's own -----------------------------------------------------------------------------

stack = moa.Stack([redact, Budget(1)], observers=[look])


@stack.turn
def own_turn(question: str) -> str:
    return question


@stack.reference(label="l")
async def own_reference(model: str) -> str:
    return model


@stack.aggregator
def own_aggregator(model: str) -> Iterator[str]:
    yield model


@stack.client(reference="ask")
class Own:
    def __init__(self, name: str) -> None:
        self.name = name

    def create(self, question: str) -> str:
        return question


def stacks() -> None:
    assert_type(moa.default_stack, moa.Stack)
    assert_type(own_turn("q"), str)
    assert_type(own_aggregator("m"), Iterator[str])
    assert_type(Own("n").create("q"), str)
    assert_type(stack.instrument(OpenAI()), OpenAI)
    stack.uninstrument()
    stack.replace(middleware=[cost], observers=[])
    with stack.turn(session_id="s") as turn:
        assert_type(turn, Turn)


# Errors and the rest ------------------------------------------------------------------------------


def errors() -> None:
    try:
        moa.instrument(object(), turn="create")
    except (moa.TargetError, moa.DecorationError, moa.TagError, moa.SettingsError) as error:
        assert_type(error, moa.TargetError | moa.DecorationError | moa.TagError | moa.SettingsError)
        moa_error: moa.MoaError = error
        print(moa_error)
    kinds: tuple[type[moa.MiddlewareError], ...] = (
        moa.DidNotYieldError,
        moa.ResendError,
        moa.AsyncOnSyncError,
        moa.ReplyFormError,
        moa.RequestError,
    )
    extra: type[ImportError] = moa.ExtraMissingError
    print(kinds, extra)
    assert_type(moa.__version__, str)


class Event:
    text = ""


def registered() -> None:
    moa.register_shape(Event, chunk=lambda event: Chunk(text=event.text), reply=lambda event: None)
    structlog.configure(processors=[moa.add_turn_ids, structlog.processors.JSONRenderer()])


def kept(fn: Callable[[str], Awaitable[int]]) -> None:
    assert_type(moa.reference(fn), Callable[[str], Awaitable[int]])
    assert_type(moa.turn(fn), Callable[[str], Awaitable[int]])
    assert_type(moa.carry(fn), Callable[[str], Awaitable[int]])


# Targets ------------------------------------------------------------------------------------------

target = moa.Target("pkg.mod", "Class.method", "turn", session_id="s", optional=True)
assert_type(target, moa.Target)
assert_type(target.role, str | None)
assert_type(moa.instrument("openai"), str)


# Web applications ---------------------------------------------------------------------------------


async def asgi_application(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    await send(await receive())


def wsgi_application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    return [b""]


def session_of(given: MutableMapping[str, Any]) -> str:
    return str(given["path"])


def applications() -> None:
    starlette = FastAPI()
    starlette.add_middleware(moa.asgi, routes="/v1/*", session_id=session_of)
    _: list[ASGIApp] = [moa.asgi(starlette, routes=["/v1/*"], session_id="s"), stack.asgi(asgi_application)]
    flask = Flask(__name__)
    flask.wsgi_app = moa.wsgi(flask.wsgi_app, routes="/v1/*", session_id=session_of)  # type: ignore[method-assign]
    assert_type(stack.wsgi(wsgi_application)({}, print), Iterable[bytes])


# Notebooks -----------------------------------------------------------------------------------------


def extension(shell: Any) -> None:
    moa.load_ipython_extension(shell)
    moa.unload_ipython_extension(shell)
