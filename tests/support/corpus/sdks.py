"""SDKs on the scripted server: every form of asking, alone, decorated, with middleware, and each way to end."""

# ruff: noqa: D401 - the docstring of a script names its run

from __future__ import annotations

import asyncio
import gc
import inspect
from contextlib import suppress
from itertools import groupby

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer
from tests.support.sdk_forms import CHAT, FORMS, MESSAGES, RESPONSE, chat_pieces, client_of, installed

from .script import BoomError, script

TEXT = "One two three four five."
PIECES = ["One ", "two ", "three ", "four ", "five."]
WHOLE = Script(
    TEXT,
    pieces=PIECES,
    reasoning="first, count",
    usage={
        "prompt_tokens": 30,
        "completion_tokens": 12,
        "total_tokens": 42,
        "prompt_tokens_details": {"cached_tokens": 8},
        "completion_tokens_details": {"reasoning_tokens": 4},
    },
    usage_always=True,
)


def _each_form(sdk, family, around=lambda run: run):
    for form in [one for one in FORMS if (one.sdk, one.family) == (sdk, family)]:
        with ScriptedServer({}, default=WHOLE) as server:
            client = client_of(sdk, server, is_async=form.is_async)
            moa.instrument(client)
            run = around(form.run)
            with moa.turn(session_id=form.name):
                if form.is_async:
                    asyncio.run(_closing(run, client))
                else:
                    run(client)
            if not form.is_async:
                client.close()
            gc.collect()


async def _closing(run, client):
    try:
        return await run(client)
    finally:
        await client.close()


def _forgiving(run):
    """Go on where the caller cannot read an answer that a middleware made."""

    def sync_run(client):
        with suppress(Exception):
            return run(client)

    async def async_run(client):
        with suppress(Exception):
            return await run(client)

    return async_run if inspect.iscoroutinefunction(run) else sync_run


for (_sdk, _family), _ in groupby(sorted({(one.sdk, one.family) for one in FORMS})):
    if _sdk in ("openai", "anthropic") and installed(_sdk):

        def _run(sdk=_sdk, family=_family):
            _each_form(sdk, family)

        _run.__name__ = f"sdk_{_sdk}_{_family}"
        script()(_run)


def _with_client(run, default=WHOLE, *, sdk="openai", models=None):
    with ScriptedServer(models or {}, default=default) as server:
        client = client_of(sdk, server)
        moa.instrument(client)
        run(client)
        client.close()
        gc.collect()


@script()
def decorated_over_instrumented():
    """The pattern of the README: decorated methods over an instrumented client."""

    def run(client):
        @moa.client
        class Mixture:
            @moa.reference
            def ask(self, model, messages):
                return client.chat.completions.create(model=model, messages=messages, temperature=0.2)

            @moa.reference(label="text only")
            def ask_text(self, model, messages):
                return client.chat.completions.create(model=model, messages=messages).choices[0].message.content

            @moa.aggregator
            def synthesize(self, messages):
                return client.chat.completions.create(model="model-j", messages=messages, stream=True)

            def create(self, messages):
                drafts = [self.ask(name, messages).choices[0].message.content for name in ("model-a", "model-b")]
                drafts.append(self.ask_text("model-c", messages))
                return self.synthesize([*messages, {"role": "user", "content": "\n".join(drafts)}])

        with moa.tag(session_id="s-1"):
            list(Mixture().create(MESSAGES))
            stream = Mixture().create(MESSAGES)
            next(stream)
            stream.close()

    _with_client(run, lambda body: f"The answer of {body['model']} is a long one.")


@script()
def decorated_stream_changed():
    """A decorated generator over the SDK's stream, and one that returns a text."""

    def run(client):
        @moa.aggregator(label="upper")
        def upper(messages):
            for chunk in client.chat.completions.create(stream=True, model="m", messages=messages):
                yield chat_pieces(chunk).upper()

        @moa.aggregator(label="joined")
        def joined(messages):
            return "".join(map(chat_pieces, client.chat.completions.create(stream=True, model="m", messages=messages)))

        with moa.turn(session_id="s-1"):
            list(upper(MESSAGES))
            joined(MESSAGES)
            next(upper(MESSAGES))
            gc.collect()

    _with_client(run)


@script()
def sdk_breaks():
    """Streams that are left, closed, entered, dropped."""

    def run(client):
        create = client.chat.completions.create
        with moa.turn(session_id="s-1"):
            for number, _ in enumerate(create(stream=True, **CHAT)):
                if number == 2:
                    break
            gc.collect()
            with create(stream=True, **CHAT) as stream:
                next(stream)
            create(stream=True, **CHAT).close()
            create(stream=True, **CHAT)
            gc.collect()
            with suppress(BoomError), create(stream=True, **CHAT) as stream:
                next(stream)
                raise BoomError("the reader's")

    _with_client(run)


@script()
def sdk_errors():
    """Statuses, cut connections, error events."""
    steps = [
        Script(status=429, error={"message": "slow down", "type": "rate_limit", "code": "rate"}),
        Script(status=500),
        Script(status=401, error={"message": "Incorrect API key provided: key"}),
        Script(TEXT, pieces=PIECES, break_after=2),
        Script(TEXT, pieces=PIECES, error_after=2, error={"message": "overloaded", "type": "server_error"}),
        Script(TEXT, pieces=PIECES, break_after=0),
    ]

    def run(client):
        with moa.turn(session_id="s-1"):
            for number in range(len(steps)):
                with suppress(Exception):
                    list(client.chat.completions.create(stream=number > 2, **CHAT))

    _with_client(run, steps)


@script()
def sdk_error_decorated():
    """The error of an SDK's call inside a decorated one, passed on and hidden."""

    def run(client):
        @moa.reference(label="passes on")
        def ask(messages):
            return client.chat.completions.create(model="m", messages=messages)

        @moa.reference(label="hides")
        def hides(messages):
            with suppress(Exception):
                client.chat.completions.create(model="m", messages=messages)
            return "hidden"

        @moa.turn(session_id="s-1")
        def create(messages):
            hides(messages)
            return ask(messages)

        with suppress(Exception):
            create(MESSAGES)

    _with_client(run, Script(status=503, error={"message": "down"}))


@script()
def sdk_reply_forms():
    """Tool calls, several choices, refusals, usage in each place, as values and as streams."""
    calls = [{"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"q": "sky"}'}}]
    scripts = {
        "tools": Script(tool_calls=calls),
        "choices": Script(choices=[Script("first"), Script("second", finish_reason="length")]),
        "refusal": Script(refusal="I will not."),
        "finish": Script(TEXT, usage_in="finish", service_tier="flex", reply_model="m-2026"),
        "none": Script(TEXT, usage_in="none", system_fingerprint=None),
        "empty": Script(""),
        "failed": Script(TEXT, finish_reason="failed", error={"message": "it failed"}),
    }

    def run(client):
        tools = [{"type": "function", "function": {"name": "look", "parameters": {}}}]
        for name in scripts:
            with moa.turn(session_id=name):
                for stream in (False, True):
                    with suppress(Exception):
                        found = client.chat.completions.create(
                            model=name, messages=MESSAGES, stream=stream, n=2, tools=tools
                        )
                        list(found) if stream else None
                    with suppress(Exception):
                        found = client.responses.create(model=name, input="count", stream=stream)
                        list(found) if stream else None

    _with_client(run, models=scripts)


@script()
def anthropic_reply_forms():
    """The same of Anthropic's."""
    calls = [{"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"q": "sky"}'}}]
    scripts = {
        "tools": Script("Looking.", tool_calls=calls),
        "refusal": Script(refusal="I will not."),
        "length": Script(TEXT, finish_reason="length"),
        "cut": Script(TEXT, pieces=PIECES, break_after=2),
        "down": Script(status=529, error={"message": "overloaded"}),
    }

    def run(client):
        for name in scripts:
            with moa.turn(session_id=name):
                for stream in (False, True):
                    with suppress(Exception):
                        found = client.messages.create(
                            model=name, messages=MESSAGES, system="be brief", max_tokens=9, stream=stream
                        )
                        list(found) if stream else None

    _with_client(run, models=scripts, sdk="anthropic")


@script()
def sdk_middleware():
    """Retries, taps and an answer from a cache, around the SDK's own calls and streams."""
    fails_first = {"m": Script(status=500), "m-2": WHOLE}

    def retry(call):
        try:
            return (yield call)
        except Exception:
            return (yield call.replace(model="m-2"))

    def upper(call):
        call.map_chunks(lambda chunk: chunk.text.upper() if chunk.text else chunk)
        return (yield call)

    def cached(call):
        return moa.Reply(text="From the cache.", source="cache")
        yield call

    def buffered(call):
        call.buffer()
        found = yield call
        return found.replace(text="Moderated.")

    for name, middleware, models in (
        ("retry", [retry], fails_first),
        ("upper", [upper], None),
        ("cached", [cached], None),
        ("buffered", [buffered], None),
    ):
        for stream in (False, True):
            moa.configure(middleware=middleware)

            def run(client, name=name, stream=stream):
                with moa.turn(session_id=f"{name}-{stream}"):
                    found = client.chat.completions.create(stream=stream, **CHAT)
                    list(found) if stream else None

            _with_client(run, models=models)


@script()
def sdk_outside_a_turn():
    """Each call is a turn."""

    def run(client):
        client.chat.completions.create(**CHAT)
        list(client.chat.completions.create(stream=True, stream_options={"include_usage": True}, **CHAT))
        client.responses.create(model="m", input="count")

    _with_client(run)


@script(capture="metadata")
def sdk_metadata():
    """Sizes in place of content."""

    def run(client):
        client.chat.completions.create(**CHAT)
        list(client.responses.create(model="m", input="count", instructions="be brief", stream=True))

    _with_client(run)


@script()
def sdk_class():
    """The SDK's class, by name: every client is instrumented."""
    moa.instrument("openai")
    with ScriptedServer({}, default=WHOLE) as server, moa.turn(session_id="s-1"):
        client = client_of("openai", server)
        client.chat.completions.create(**CHAT)
        list(client.chat.completions.create(stream=True, **CHAT))
        client.close()


@script()
def sdk_decorated_forms():
    """Every form inside a decorated function that returns its text."""
    _each_form("openai", "chat", moa.reference(label="outer"))


def _answer(call):
    usage = moa.Usage(input_tokens=3, output_tokens=4)
    return moa.Reply(text="From the cache, in words.", source="cache", usage=usage, reasoning="known")
    yield call


def _with_middleware(middleware):
    moa.configure(middleware=[middleware])
    for sdk, family in (("openai", "chat"), ("openai", "responses"), ("anthropic", "messages")):
        with moa.tag(preset=f"{sdk} {family}"):
            _each_form(sdk, family, _forgiving)


@script()
def sdk_answered_forms():
    """Every form, answered by a middleware in the SDK's own classes."""
    _with_middleware(_answer)


@script()
def sdk_mapped_forms():
    """Every form of chat, its chunks changed on their way."""

    def upper(call):
        call.map_chunks(lambda chunk: chunk.text.upper() if chunk.text else chunk)
        found = yield call
        return found.replace(text=(found.text or "").lower()) if found.chunks is None else found

    moa.configure(middleware=[upper])
    _each_form("openai", "chat", _forgiving)


@script()
def sdk_tools_answered():
    """A tool call and a refusal in place of the model's answer."""
    call = {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"q": 1}'}}
    answers = (moa.Reply(tool_calls=[call], finish_reason="tool_calls"), moa.Reply(refusal="No.", text=None))
    for number, answer in enumerate(answers):

        def answered(call, answer=answer):
            return answer
            yield call

        moa.configure(middleware=[answered])

        def run(client, number=number):
            with moa.turn(session_id=f"s-{number}"):
                for stream in (False, True):
                    for create, given in ((client.chat.completions.create, CHAT), (client.responses.create, RESPONSE)):
                        with suppress(Exception):
                            found = create(stream=stream, **given)
                            list(found) if stream else None

        _with_client(run)
