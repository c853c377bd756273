"""Canaries: keys, headers, queries and what else gets a client in never reach a line, a log, a print or a repr.

Every place where a program keeps a credential holds a canary of its own; then everything that was written is searched.
"""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import threading
from contextlib import contextmanager, suppress
from typing import Any

import openai
import pytest
import structlog

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer

MARK = "XQCANARYQX"  # no other text has it by chance, and every encoding of a line leaves it as it is
CANARIES = {
    name: f"sk-{MARK}{name.upper().replace('_', '')}0123456789abcdef"
    for name in (
        "api_key",
        "organization",
        "project",
        "default_header",
        "default_query",
        "url_password",
        "url_query",
        "header",
        "query",
        "body",
        "tool_header",
        "tool_authorization",
        "metadata",
        "user",
    )
}
MESSAGES = [{"role": "user", "content": "Which city?"}]
ANSWER = "Paris, of course."
TOOLS = [
    {
        "type": "mcp",
        "server_label": "files",
        "server_url": "http://127.0.0.1/mcp",
        "headers": {"X-Key": CANARIES["tool_header"]},
        "authorization": CANARIES["tool_authorization"],
    }
]
FUNCTION = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
REQUEST: dict[str, Any] = {
    "extra_headers": {"X-Key": CANARIES["header"], "Authorization": f"Bearer {CANARIES['header']}"},
    "extra_query": {"key": CANARIES["query"]},
    "extra_body": {"top_k": 5, "credential": CANARIES["body"]},
    "metadata": {"token": CANARIES["metadata"]},
    "user": CANARIES["user"],
}
QUOTING = "Invalid: " + ", ".join(CANARIES.values()) + f"; Authorization: Bearer {MARK}abcdef012345"


def options_of(server: ScriptedServer) -> dict[str, Any]:
    """Return what a client is made with: a canary wherever one fits."""
    address = server.root_url.removeprefix("http://")
    return {
        "base_url": f"http://user:{CANARIES['url_password']}@{address}/v1",
        "api_key": CANARIES["api_key"],
        "organization": CANARIES["organization"],
        "project": CANARIES["project"],
        "default_headers": {"X-Default": CANARIES["default_header"]},
        "default_query": {"default": CANARIES["default_query"]},
        "max_retries": 0,
    }


class Evidence:
    """Everything that the library said: by middleware and observers as well."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def middleware(self, call: moa.Call) -> moa.Flow:
        """Look at a call the way that a log would."""
        self.said += [repr(call), f"{call.label} {call.model} {call.tags} {call.params} {call.provider}"]
        call.on_chunk(lambda chunk: self.said.append(chunk.text))
        reply = yield call
        self.said += [repr(reply), f"{reply.outcome} {reply.usage} {reply.text}"]

    def observer(self, call: moa.Call) -> moa.Flow:
        """Fail, as observers do, with a message that nobody should see."""
        yield call
        raise ValueError(call.kwargs)


@pytest.fixture
def evidence(trace_dir, caplog, capfd):
    """Return a function that gives all that was written, printed and logged by the library."""
    caplog.set_level(logging.DEBUG)
    found = Evidence()
    turns: list[Any] = []
    moa.configure(middleware=[found.middleware], observers=[found.observer], on_turn=turns.append)

    def gather() -> str:
        gc.collect()
        moa.flush()
        ours = [
            # What the SDK and its HTTP client say of their own requests at the level DEBUG is theirs.
            record.getMessage() + str(record.exc_info or "") + json.dumps(vars(record), default=repr)
            for record in caplog.records
            if record.name.split(".")[0] not in {"openai", "anthropic", "httpx", "httpx2", "httpcore", "httpcore2"}
        ]
        files = [path.read_text() + str(path) for path in sorted(trace_dir.rglob("*")) if path.is_file()]
        assert files
        return "\n".join([*files, *ours, *capfd.readouterr(), *found.said, repr(turns), repr(moa.status())])

    gather.lines = lambda: "".join(path.read_text() for path in trace_dir.rglob("*.jsonl"))
    return gather


def clean(text: str) -> bool:
    """Whether a text holds no canary, in whichever case."""
    where = text.upper().find(MARK)
    assert where < 0, text[max(0, where - 200) : where + 100]
    return True


@contextmanager
def serving(**scripts: Any):
    """Serve scripts, and check that the canaries truly went out: otherwise nothing would be proved."""
    scripts = {"m": Script(ANSWER, reasoning="Which one?", tool_calls=()), **scripts}
    with ScriptedServer(scripts) as server:
        yield server
    assert server.received
    for received in server.received:
        sent = f"{received.path} {received.headers} {received.body}"
        assert CANARIES["header"] in sent
        assert CANARIES["query"] in sent
        assert CANARIES["body"] in sent
        assert CANARIES["default_header"] in sent


def chat(client: openai.OpenAI) -> None:
    client.chat.completions.create(model="m", messages=MESSAGES, tools=[FUNCTION], **REQUEST)


def chat_stream(client: openai.OpenAI) -> None:
    list(client.chat.completions.create(model="m", messages=MESSAGES, stream=True, **REQUEST))


def chat_stream_left(client: openai.OpenAI) -> None:
    next(client.chat.completions.create(model="m", messages=MESSAGES, stream=True, **REQUEST))


def chat_manager(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(model="m", messages=MESSAGES, **REQUEST) as stream:
        list(stream)


def chat_parse(client: openai.OpenAI) -> None:
    client.chat.completions.parse(model="m", messages=MESSAGES, **REQUEST)


def chat_raw(client: openai.OpenAI) -> None:
    client.chat.completions.with_raw_response.create(model="m", messages=MESSAGES, **REQUEST).parse()


def chat_raw_unparsed(client: openai.OpenAI) -> None:
    client.chat.completions.with_raw_response.create(model="m", messages=MESSAGES, **REQUEST)


def chat_streaming_response(client: openai.OpenAI) -> None:
    with client.chat.completions.with_streaming_response.create(model="m", messages=MESSAGES, **REQUEST) as response:
        list(response.iter_lines())


def chat_copy(client: openai.OpenAI) -> None:
    copy = client.with_options(api_key=CANARIES["api_key"] + "x", default_headers={"X-Default": CANARIES["header"]})
    copy.chat.completions.create(
        model="m",
        messages=MESSAGES,
        extra_headers={**REQUEST["extra_headers"], "X-Default": CANARIES["default_header"]},
        extra_query=REQUEST["extra_query"],
        extra_body=REQUEST["extra_body"],
    )


def responses(client: openai.OpenAI) -> None:
    client.responses.create(model="m", input="Which city?", tools=TOOLS, **REQUEST)


def responses_stream(client: openai.OpenAI) -> None:
    list(client.responses.create(model="m", input="Which city?", tools=TOOLS, stream=True, **REQUEST))


def responses_manager(client: openai.OpenAI) -> None:
    with client.responses.stream(model="m", input="Which city?", tools=TOOLS, **REQUEST) as stream:
        list(stream)


def responses_raw(client: openai.OpenAI) -> None:
    client.responses.with_raw_response.create(model="m", input="Which city?", tools=TOOLS, **REQUEST).parse()


WAYS = [
    chat,
    chat_stream,
    chat_stream_left,
    chat_manager,
    chat_parse,
    chat_raw,
    chat_raw_unparsed,
    chat_streaming_response,
    chat_copy,
    responses,
    responses_stream,
    responses_manager,
    responses_raw,
]


@pytest.mark.parametrize("way", WAYS)
def test_no_canary_is_written(evidence, way):
    """Values, streams, managers, raw replies and copies, of both APIs, within a turn and its tags."""
    with serving() as server:
        with moa.instrument(openai.OpenAI(**options_of(server))) as client:
            with moa.turn(session_id="s"), moa.tag(label="one", tags={"tenant": "a"}):
                way(client)
    text = evidence()
    assert clean(text)
    assert "moa-turn/1" in text


@pytest.mark.parametrize("way", [chat, chat_stream])
def test_no_canary_is_written_of_a_client_in_asyncio(evidence, way):
    """The asynchronous client has the same places."""

    async def main(server):
        async with moa.instrument(openai.AsyncOpenAI(**options_of(server))) as client:
            made = await client.chat.completions.create(
                model="m", messages=MESSAGES, stream=way is chat_stream, **REQUEST
            )
            return [chunk async for chunk in made] if way is chat_stream else made

    with serving() as server:
        asyncio.run(main(server))
    assert clean(evidence())


FAILURES = {
    "status": Script(status=401, error={"message": QUOTING, "code": "invalid_api_key"}),
    "body": Script(status=400, error={"error": {"message": QUOTING, "param": QUOTING}}),
    "event": Script("a b c", error_after=2, error={"message": QUOTING}),
    "failed": Script("a b c", finish_reason="failed", error={"message": QUOTING, "code": "server_error"}),
    "cut": Script("a b c", break_after=2),
}


@pytest.mark.parametrize("failure", FAILURES)
@pytest.mark.parametrize("way", [chat, chat_stream, chat_manager, chat_raw, responses, responses_stream])
def test_an_error_that_quotes_keys_is_written_without_them(evidence, failure, way):
    """In the record, the log and what a middleware says; the caller's own exception is left as it came."""
    with serving(m=FAILURES[failure]) as server:
        with moa.instrument(openai.OpenAI(**options_of(server))) as client, moa.turn():
            errors: list[Exception] = []
            try:
                way(client)
            except Exception as error:
                errors.append(error)
    for error in errors:
        assert clean("".join(getattr(error, "__notes__", [])))
        # The caller's own exception says what the provider said.
        assert CANARIES["api_key"] in str(error) or failure == "cut"
    assert errors or failure == "failed" or "stream" not in way.__name__
    assert clean(evidence())


def test_the_query_of_an_address_is_not_written(evidence):
    """Nor what a server says of it, which cannot serve it: the SDK puts its paths behind the query."""
    with ScriptedServer({"m": ANSWER}) as server:
        url = f"{options_of(server)['base_url']}?url={CANARIES['url_query']}"
        with moa.instrument(openai.OpenAI(base_url=url, api_key="test", max_retries=0)) as client:
            with pytest.raises(openai.NotFoundError, match=CANARIES["url_query"]):
                chat(client)
        assert f'"endpoint":"{server.base_url}' in evidence.lines()
    assert clean(evidence())


def test_a_middleware_that_fails_on_a_call_adds_no_content(evidence):
    """The note names the middleware; the exception is the middleware's own."""

    def broken(call):
        yield call
        raise LookupError("broken")

    moa.configure(middleware=[broken])
    with serving() as server:
        with moa.instrument(openai.OpenAI(**options_of(server))) as client:
            with pytest.raises(LookupError) as caught:
                chat(client)
    assert clean("".join(caught.value.__notes__))
    assert "broken" in "".join(caught.value.__notes__)
    assert clean(evidence())


def test_nothing_goes_to_the_hosts_structlog(evidence):
    """Where the host has configured it, our events go there."""
    stream = io.StringIO()
    structlog.configure(
        processors=[moa.add_turn_ids, structlog.processors.JSONRenderer()] if hasattr(moa, "add_turn_ids") else None,
        logger_factory=structlog.PrintLoggerFactory(stream),
    )
    with serving() as server, moa.instrument(openai.OpenAI(**options_of(server))) as client:
        chat(client)
    assert "moa.observer_failed" in stream.getvalue()
    assert clean(stream.getvalue())
    assert clean(evidence())


def test_no_repr_of_ours_shows_one(evidence):
    """Turns, tags, stacks, proxies and what they hold."""
    shown = []
    with serving() as server, moa.instrument(openai.OpenAI(**options_of(server))) as client:
        stack = moa.Stack([Evidence().middleware])
        with moa.turn() as turn:
            stream = client.chat.completions.create(model="m", messages=MESSAGES, stream=True, **REQUEST)
            shown += [repr(turn), repr(moa.current_turn()), repr(stack), repr(moa.tag(label="x")), repr(stream)]
            stream.close()
    assert clean("\n".join(shown))
    assert clean(evidence())


def test_a_value_that_nobody_understands_hides_what_its_repr_shows(evidence):
    """The head of a `repr` is recorded; keys of a known form are taken out of it."""

    class Holder:
        def __repr__(self):
            return f"Holder(api_key={CANARIES['api_key']!r})"

    @moa.reference
    def ask(messages):
        return Holder()

    ask(MESSAGES)
    assert clean(evidence())


@pytest.mark.parametrize("streamed", [False, True])
def test_arguments_of_plain_functions_are_named_and_not_shown(evidence, streamed):
    """Keys that are handed through, by name, by position and in a client object."""

    @moa.reference
    def ask(messages, client, key, *rest, **more):
        return iter(["Paris."]) if streamed else "Paris."

    with suppress(TypeError):
        for _ in ask(MESSAGES, {"api_key": MARK}, MARK, MARK, token=MARK, headers={"a": MARK}):
            pass
    assert clean(evidence())


TOOL_FORMS = {
    "query of the server's address": {"server_url": f"http://127.0.0.1/mcp?key={MARK}"},
    "password of the server's address": {"server_url": f"http://user:{MARK}@127.0.0.1/mcp"},
    "secrets of a container": {
        "type": "code_interpreter",
        "container": {
            "type": "auto",
            "network_policy": {"type": "allowlist", "domain_secrets": [{"domain": "x", "name": "k", "value": MARK}]},
        },
    },
}


@pytest.mark.parametrize("name", TOOL_FORMS)
def test_tools_are_recorded_without_the_ways_into_their_servers(evidence, name):
    """Not only at the top of their definitions."""
    with serving() as server, moa.instrument(openai.OpenAI(**options_of(server))) as client:
        tool = {"type": "mcp", "server_label": "files", **TOOL_FORMS[name]}
        client.responses.create(model="m", input="Which city?", tools=[tool], **REQUEST)
    assert clean(evidence())


def test_an_error_that_quotes_a_key_of_no_known_form_is_written_without_it(evidence):
    """What this very call was made with is known by its value."""
    plain = {name: f"{MARK}-{number}-plain" for number, name in enumerate(("key", "header", "query", "body"))}
    script = Script(status=403, error={"message": f"Nobody here: {', '.join(plain.values())}."})
    with ScriptedServer({"m": script}) as server:
        client = openai.OpenAI(base_url=server.base_url, api_key=plain["key"], max_retries=0)
        with moa.instrument(client), pytest.raises(openai.PermissionDeniedError):
            client.chat.completions.create(
                model="m",
                messages=MESSAGES,
                extra_headers={"X-Key": plain["header"]},
                extra_query={"key": plain["query"]},
                extra_body={"credential": {"deep": [plain["body"]]}},
            )
    assert clean(evidence())


def test_a_wrapper_of_the_failed_call_shows_no_key_either(evidence):
    """The error goes out through calls and turns around it, and through a late line."""
    key = f"{MARK}-plain"
    script = Script(status=401, error={"message": f"Nobody here: {key}."})
    with ScriptedServer({"m": script}) as server:
        client = moa.instrument(openai.OpenAI(base_url=server.base_url, api_key=key, max_retries=0))

        @moa.reference
        def ask():
            return client.chat.completions.create(model="m", messages=MESSAGES)

        @moa.reference
        def twice():
            with pytest.raises(openai.AuthenticationError):
                ask()
            return ask()

        inner = moa.turn(twice)
        outer = moa.turn(inner)
        around = moa.reference(outer)
        for call in (ask, twice, inner, outer, moa.turn(around)):
            with pytest.raises(openai.AuthenticationError):
                call()
        gate = threading.Event()

        @moa.reference
        def late():
            gate.wait(20)
            ask()

        def run():
            with suppress(openai.AuthenticationError):
                late()

        with moa.turn():
            thread = threading.Thread(target=run)
            thread.start()
        gate.set()
        thread.join(20)
        moa.uninstrument(client)
    assert clean(evidence())


# --- Anthropic --------------------------------------------------------------------------------------------------------

ANTHROPIC = {
    "create": lambda client, request: client.messages.create(**request),
    "create a stream": lambda client, request: list(client.messages.create(**request, stream=True)),
    "stream": lambda client, request: client.messages.stream(**request).__enter__().get_final_message(),
    "raw": lambda client, request: client.messages.with_raw_response.create(**request).parse(),
    "beta": lambda client, request: client.beta.messages.create(
        **request, mcp_servers=[{"type": "url", "name": "x", "url": "http://x", "authorization_token": MARK}]
    ),
}


@pytest.mark.parametrize("name", ANTHROPIC)
@pytest.mark.parametrize("failing", [False, True])
def test_no_canary_is_written_of_anthropics_client(evidence, name, failing):
    """The same places, in the other SDK."""
    sdk = pytest.importorskip("anthropic", reason="the anthropic SDK is not installed")
    script = Script(status=401, error={"message": QUOTING}) if failing else Script(ANSWER, reasoning="Which one?")
    tools = [{"name": "weather", "input_schema": {"type": "object"}}]
    extra = {key: REQUEST[key] for key in ("extra_headers", "extra_query", "extra_body")}
    request = {"model": "m", "max_tokens": 100, "messages": MESSAGES, "tools": tools, **extra}
    with serving(m=script) as server:
        options = options_of(server)
        options = {key: options[key] for key in ("api_key", "default_headers", "default_query", "max_retries")}
        client = sdk.Anthropic(base_url=server.root_url, **options)
        with moa.instrument(client), moa.turn():
            with suppress(sdk.APIStatusError):
                ANTHROPIC[name](client, request)
    assert clean(evidence())
