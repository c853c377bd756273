"""litellm: one stream object that is sync and async, prices of its own, and other SDKs below it."""

from __future__ import annotations

import asyncio
import gc
import importlib
import sys
import time

import pytest

litellm = pytest.importorskip("litellm", reason="litellm is not installed (it needs an environment of its own)")

import moa_middleware as moa  # noqa: E402
from moa_middleware.testing import Script, ScriptedServer  # noqa: E402

PIECES = ["One ", "two ", "three."]
TEXT = "".join(PIECES)
MESSAGES = [{"role": "user", "content": "count"}]
USAGE = {"prompt_tokens": 1000, "completion_tokens": 100}
# litellm's own prices of gpt-4o, in its table that comes with the package.
PRICE = 1000 * 2.5e-6 + 100 * 1e-5


@pytest.fixture(scope="module")
def server():
    with ScriptedServer({}, default=Script(TEXT, pieces=PIECES, usage=USAGE)) as made:
        yield made


@pytest.fixture
def request_of(server):
    return {"model": "openai/gpt-4o", "messages": MESSAGES, "api_key": "canary-key", "base_url": server.base_url}


@pytest.fixture(params=["litellm", "litellm,openai"])
def instrumented(request):
    """Return what is instrumented: litellm alone, and with the SDK below it."""
    # litellm keeps its clients, and these keep the methods that their raw responses were made of.
    litellm.in_memory_llm_clients_cache.flush_cache()
    moa.instrument(request.param)
    yield request.param
    moa.uninstrument()


def of(turns):
    """Return the only call of the only turn, however late litellm's own threads let go of a stream."""
    deadline = time.monotonic() + 5
    while not turns and time.monotonic() < deadline:
        time.sleep(0.05)
        gc.collect()
    [turn] = turns
    calls = [*turn["references"], *([turn["aggregator"]] if turn["aggregator"] else []), *turn["calls"]]
    assert len(calls) == 1
    assert "canary" not in str(turn)
    return calls[0]


def text_of(chunks):
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)


def test_a_value_has_litellms_price(instrumented, request_of, turns):
    """`_hidden_params["response_cost"]`, whichever side reported the tokens; below litellm the model is OpenAI's name."""
    reply = litellm.completion(**request_of)
    assert reply.choices[0].message.content == TEXT
    assert reply._hidden_params["response_cost"] == pytest.approx(PRICE)
    call = of(turns)
    assert (call["outcome"], call["output"], call["streamed"]) == ("completed", TEXT, False)
    assert call["provider"] == "litellm"
    is_below = instrumented == "litellm,openai"
    assert call["model"] == ("gpt-4o" if is_below else "openai/gpt-4o")
    assert call["endpoint"] == (f"{request_of['base_url']}/" if is_below else None)
    assert call["cost_usd"] == pytest.approx(PRICE)
    assert (call["usage"]["input_tokens"], call["usage"]["output_tokens"]) == (1000, 100)


def test_an_async_value(instrumented, request_of, turns):
    """The same for `acompletion`: one call, not two."""
    reply = asyncio.run(litellm.acompletion(**request_of))
    assert reply.choices[0].message.content == TEXT
    call = of(turns)
    assert (call["output"], call["cost_usd"]) == (TEXT, pytest.approx(PRICE))


def test_a_stream(instrumented, request_of, turns):
    """The very class comes back; tokens and price are there where they were asked for."""
    stream = litellm.completion(**request_of, stream=True, stream_options={"include_usage": True})
    assert isinstance(stream, litellm.CustomStreamWrapper)
    assert hasattr(stream, "__next__")
    assert hasattr(stream, "__anext__")
    assert text_of(stream) == TEXT
    del stream
    call = of(turns)
    assert (call["outcome"], call["output"], call["streamed"]) == ("completed", TEXT, True)
    assert call["usage"]["output_tokens"] == 100


def test_the_price_of_a_stream(request_of, turns, monkeypatch):
    """With `include_cost_in_streaming_usage` litellm puts it into the usage."""
    monkeypatch.setattr(litellm, "include_cost_in_streaming_usage", True)
    moa.instrument("litellm")
    text_of(litellm.completion(**request_of, stream=True, stream_options={"include_usage": True}))
    assert of(turns)["cost_usd"] == pytest.approx(PRICE)


def test_an_async_stream(instrumented, request_of, turns):
    """`async for` over what `acompletion` returned."""

    async def main():
        return text_of([chunk async for chunk in await litellm.acompletion(**request_of, stream=True)])

    assert asyncio.run(main()) == TEXT
    call = of(turns)
    assert (call["outcome"], call["output"], call["streamed"]) == ("completed", TEXT, True)


def test_a_stream_that_is_left_keeps_its_text(instrumented, request_of, turns):
    """After the first piece; litellm has no `close` for a sync stream."""
    for chunk in litellm.completion(**request_of, stream=True):
        if chunk.choices[0].delta.content:
            break
    del chunk
    call = of(turns)
    assert (call["outcome"], call["output"]) == ("abandoned", PIECES[0])


def test_an_anthropic_model_by_litellm(server, turns):
    """By litellm, which talks to Anthropic without its SDK; the reply is litellm's own."""
    moa.instrument(litellm)
    reply = litellm.completion(
        model="anthropic/claude-sonnet-4-20250514", messages=MESSAGES, api_key="canary-key", base_url=server.root_url
    )
    assert reply.choices[0].message.content == TEXT
    assert of(turns)["output"] == TEXT


def test_a_provider_that_refuses(instrumented, request_of, turns):
    """An exception of litellm's own comes out, with the request on record."""
    failing = Script("", status=400, error={"message": "no: canary-key"})
    with ScriptedServer({}, default=failing) as server, pytest.raises(litellm.BadRequestError):
        litellm.completion(**{**request_of, "base_url": server.base_url, "num_retries": 0})
    [turn] = turns
    assert turn["outcome"] == "error"


def test_a_cache_answers_litellm(request_of, server):
    """A `Reply` comes as litellm's completion would: with choices."""

    def cache(call):
        return moa.Reply(text="From the cache.")

    stack = moa.Stack([cache])
    stack.instrument(litellm)
    before = len(server.received)
    assert litellm.completion(**request_of).choices[0].message.content == "From the cache."
    assert text_of(litellm.completion(**request_of, stream=True)) == "From the cache."
    assert len(server.received) == before
    stack.uninstrument()


def test_it_is_put_back(request_of):
    """Every function is the very one that was there."""
    had = litellm.completion, litellm.acompletion
    moa.instrument("litellm")
    assert litellm.completion is not had[0]
    moa.uninstrument()
    assert (litellm.completion, litellm.acompletion) == had
    assert litellm.completion is had[0]


# Names that were imported before -----------------------------------------------------------------

USER = """
from litellm import acompletion, completion
from litellm import completion as ask

HANDLERS = {"ask": ask}


def run(*, fn=ask, **request):
    return fn(**request)


class Agent:
    def run(self, fn=completion, **request):
        return fn(**request)
"""


@pytest.fixture
def user(tmp_path, monkeypatch):
    """Return a module of some package, which imported litellm's functions by name before they were instrumented."""
    package = tmp_path / "program" / "deep"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "agents.py").write_text(USER)
    (package.parent / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("program.deep.agents")
    for name in [name for name in sys.modules if name.partition(".")[0] == "program"]:
        del sys.modules[name]


def _text(chunk):
    return chunk.choices[0].delta.content


HELD = {
    "a name": lambda user, request: user.completion(**request),
    "another name": lambda user, request: user.ask(**request),
    "a default": lambda user, request: user.run(**request),
    "a method's default": lambda user, request: user.Agent().run(**request),
    "the async function": lambda user, request: asyncio.run(user.acompletion(**request)),
    "a stream": lambda user, request: [*user.completion(**request, stream=True)],
    "a stream that is left": lambda user, request: next(filter(_text, user.completion(**request, stream=True))),
}


@pytest.mark.parametrize(
    "how", [lambda: moa.instrument("litellm"), lambda: moa.instrument(litellm)], ids=["name", "module"]
)
@pytest.mark.parametrize("form", HELD)
def test_a_name_that_was_imported_before_is_recorded(turns, user, request_of, how, form):
    """Each call once; and the original is back afterwards."""
    before = {name: vars(user)[name] for name in ("completion", "acompletion", "ask")}
    defaults = user.run.__kwdefaults__, user.Agent.run.__defaults__
    how()
    assert user.completion is user.ask is litellm.completion is not before["completion"]
    HELD[form](user, request_of)
    gc.collect()
    moa.flush()
    assert [1] == [turn["totals"]["calls"] for turn in turns]
    assert turns[0]["aggregator"]["output"] == (TEXT if form != "a stream that is left" else PIECES[0])
    moa.uninstrument("litellm")
    moa.uninstrument(litellm)
    assert before == {name: vars(user)[name] for name in before}
    assert (user.run.__kwdefaults__, user.Agent.run.__defaults__) == (defaults[0], (before["completion"],))


def test_what_a_registry_holds_is_named(user, caplog):
    """It is the program's own: not touched, and named in the log and by the status."""
    moa.instrument(litellm)
    assert user.HANDLERS["ask"] is litellm.completion.__wrapped__
    said = [one.getMessage() for one in caplog.records if "target_held" in one.getMessage()]
    assert any("program.deep.agents.HANDLERS" in one for one in said)
    assert any("program.deep.agents.HANDLERS" in one for one in moa.status().targets_held)


# litellm over an instrumented openai ---------------------------------------------------------------


async def _async_stream(request):
    return text_of([chunk async for chunk in await litellm.acompletion(**request, stream=True)])


BELOW = {
    "value": (lambda request: litellm.completion(**request).choices[0].message.content, False),
    "async value": (lambda request: asyncio.run(litellm.acompletion(**request)).choices[0].message.content, False),
    "stream": (lambda request: text_of(litellm.completion(**request, stream=True)), True),
    "async stream": (lambda request: asyncio.run(_async_stream(request)), True),
}


@pytest.mark.parametrize("targets", ["openai", "openai,httpx,httpx2,aiohttp,requests"])
@pytest.mark.parametrize("form", BELOW)
def test_what_litellm_posts_through_openais_client_is_recorded(form, targets, request_of, turns):
    """Only `openai` is instrumented: each request once, with the model and the endpoint that it went to."""
    litellm.in_memory_llm_clients_cache.flush_cache()
    run, streamed = BELOW[form]
    assert TEXT == run(request_of)
    assert [] == turns
    moa.instrument(targets)
    assert TEXT == run(request_of)
    gc.collect()
    call = of(turns)
    assert ("gpt-4o", "openai", TEXT, streamed) == tuple(call[n] for n in ("model", "provider", "output", "streamed"))
    assert f"{request_of['base_url']}/" == call["endpoint"]
    assert MESSAGES == call["input_messages"]
    moa.uninstrument(targets)
    turns.clear()
    assert TEXT == run(request_of)
    assert [] == turns


def test_a_call_of_openais_own_method_is_recorded_once(server, turns):
    """Where litellm is imported, too: the method posts by what is patched."""
    import openai

    moa.instrument("openai")
    with openai.OpenAI(base_url=server.base_url, api_key="k", max_retries=0) as client:
        client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
        client.chat.completions.with_raw_response.create(model="gpt-4o", messages=MESSAGES).parse()
        assert TEXT == text_of(client.chat.completions.create(model="gpt-4o", messages=MESSAGES, stream=True))
    assert [1, 1, 1] == [turn["totals"]["calls"] for turn in turns]
    assert [[], [], []] == [turn["calls"] for turn in turns]


# litellm over a single client that is instrumented -------------------------------------------------


def _client_of(form, server):
    import httpx
    import openai

    kind, http = (openai.OpenAI, httpx.Client)
    if form.startswith("async"):
        kind, http = (openai.AsyncOpenAI, httpx.AsyncClient)
    # Each request has an event loop of its own, and a connection that is kept would be another one's.
    alone = http(limits=httpx.Limits(max_keepalive_connections=0))
    return kind(base_url=server.base_url, api_key="canary-key", max_retries=0, http_client=alone)


@pytest.mark.parametrize("form", BELOW)
def test_a_single_client_that_litellm_posts_by_is_recorded(form, server, request_of, turns):
    """Given as `client=`; other clients are not, and it is taken back."""
    run, streamed = BELOW[form]
    client, other = _client_of(form, server), _client_of(form, server)
    moa.instrument(client)
    assert TEXT == run({**request_of, "client": other})
    assert [] == turns
    assert TEXT == run({**request_of, "client": client})
    gc.collect()
    call = of(turns)
    assert ("gpt-4o", "openai", TEXT, streamed) == tuple(call[n] for n in ("model", "provider", "output", "streamed"))
    moa.uninstrument(client)
    turns.clear()
    assert TEXT == run({**request_of, "client": client})
    assert [] == turns


def test_a_single_client_keeps_its_posts_where_the_sdk_is_taken_back(server, request_of, turns):
    """And the other way round: each is taken back by itself."""
    run, _ = BELOW["value"]
    client = _client_of("value", server)
    moa.instrument(client)
    moa.instrument("openai")
    moa.uninstrument("openai")
    assert TEXT == run({**request_of, "client": client})
    assert 1 == len(turns)
    moa.instrument("openai")
    moa.uninstrument(client)
    assert TEXT == run({**request_of, "client": client})
    assert 2 == len(turns)
    moa.uninstrument()
    assert TEXT == run({**request_of, "client": client})
    assert 2 == len(turns)


def test_a_single_client_is_let_go(server, request_of, turns):
    """Nothing is kept on it, and its own calls are recorded once."""
    import weakref

    client = _client_of("value", server)
    moa.instrument(client)
    client.chat.completions.create(model="gpt-4o", messages=MESSAGES)
    assert [1] == [turn["totals"]["calls"] for turn in turns]
    known = weakref.ref(client)
    client.close()
    del client
    gc.collect()
    assert known() is None
