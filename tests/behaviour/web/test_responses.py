"""Responses whose body is made later: the turn ends with the body, in each framework and however that ends."""

from __future__ import annotations

import asyncio
import gc
import threading
import time

import openai
import pytest

pytest.importorskip("fastapi", reason="web frameworks are in the group test")
pytest.importorskip("flask")

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse as FastapiEvents
from flask import Flask, Response, request, stream_with_context
from sse_starlette.sse import EventSourceResponse
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, PlainTextResponse

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer, capture_turns
from tests.support.reference import outputs, reference
from tests.support.web import endless, endless_async, get, hang_up, until, uvicorn_of, werkzeug_of

WORDS = ["one ", "two ", "three"]
TEXT = "".join(WORDS)
BYTES = TEXT.encode()


@moa.aggregator
def answer(messages):
    yield from WORDS


@moa.aggregator(label="answer")
async def answer_async(messages):
    for word in WORDS:
        await asyncio.sleep(0)
        yield word


@moa.aggregator(label="answer")
def breaks(messages):
    yield WORDS[0]
    raise LookupError("no more")


@moa.aggregator(label="answer")
async def breaks_async(messages):
    yield WORDS[0]
    raise LookupError("no more")


def body_of(source):
    """Return a generator of the user's, which asks one more reference and then the aggregator."""

    def body():
        reference("late")("late?")
        yield from source("all?")

    async def body_async():
        reference("late")("late?")
        async for word in source("all?"):
            yield word

    return (body_async if source.__name__.endswith("_async") else body)()


SOURCES = {"whole": (answer, answer_async), "endless": (endless, endless_async), "broken": (breaks, breaks_async)}


def fastapi_app():
    app = FastAPI()

    @app.get("/sync/{what}")
    @moa.turn(session_id=lambda what: f"sync-{what}")
    def sync_endpoint(what: str):
        reference("first")("first?")
        return StreamingResponse(body_of(SOURCES[what][0]), media_type="text/plain")

    @app.get("/async/{what}")
    @moa.turn(session_id=lambda what: f"async-{what}")
    async def async_endpoint(what: str):
        reference("first")("first?")
        return StreamingResponse(body_of(SOURCES[what][1]), media_type="text/plain")

    @app.get("/mixed/{what}")
    @moa.turn(session_id=lambda what: f"mixed-{what}")
    async def async_endpoint_with_a_sync_generator(what: str):
        reference("first")("first?")
        return StreamingResponse(body_of(SOURCES[what][0]), media_type="text/plain")

    return app


def flask_app():
    app = Flask(__name__)

    def made(source):
        return Response(source, content_type="text/plain")

    def by_context(source):
        return Response(stream_with_context(source), content_type="text/plain")

    def by_tuple(source):
        return source, 200, {"Content-Type": "text/plain"}

    def by_itself(source):
        return source

    def in_a_tuple(source):
        return Response(source), {"Content-Type": "text/plain"}

    for form in (made, by_context, by_tuple, by_itself, in_a_tuple):

        @moa.turn(session_id=lambda what, form=form: f"{form.__name__}-{what}")
        def view(what, form=form):
            reference("first")("first?")
            return form(body_of(SOURCES[what][0]))

        app.add_url_rule(f"/{form.__name__}/<what>", form.__name__, view)
    return app


FASTAPI = ["sync", "async", "mixed"]
FLASK = ["made", "by_context", "by_tuple", "by_itself", "in_a_tuple"]


@pytest.fixture(scope="module")
def fastapi_port():
    with uvicorn_of(fastapi_app()) as port:
        yield port


@pytest.fixture(scope="module")
def flask_port():
    with werkzeug_of(flask_app()) as port:
        yield port


@pytest.fixture
def port_of(request):
    """Return a function from the form of a view to the port of its server."""
    return lambda form: request.getfixturevalue("fastapi_port" if form in FASTAPI else "flask_port")


def the_only(turns):
    assert until(lambda: turns)
    (record,) = turns
    return record


@pytest.mark.parametrize("form", [*FASTAPI, *FLASK])
def test_a_turn_closes_when_the_body_is_over(form, port_of, turns):
    """References of the endpoint and of the body's generator, and the aggregator, are in one turn."""
    status, _, body = get(port_of(form), f"/{form}/whole")
    assert (200, BYTES) == (status, body)
    record = the_only(turns)
    assert (f"{form}-whole", "completed", TEXT) == (record["session_id"], record["outcome"], record["output"])
    assert ["first", "late"] == outputs(record)
    assert ("answer", TEXT) == (record["aggregator"]["label"], record["aggregator"]["output"])
    assert [0, 1, 2] == [call["index"] for call in [*record["references"], record["aggregator"]]]


@pytest.mark.parametrize("form", [*FASTAPI, *FLASK])
def test_the_response_is_the_same_with_tracing_off(form, port_of):
    """Status, headers and bytes."""
    off = get(port_of(form), f"/{form}/whole")
    with capture_turns():
        on = get(port_of(form), f"/{form}/whole")
    off[1].pop("Date", None), on[1].pop("Date", None), off[1].pop("date", None), on[1].pop("date", None)
    assert off == on


@pytest.mark.parametrize("form", [*FASTAPI, *FLASK])
def test_a_client_that_hangs_up_ends_the_turn_with_the_text_so_far(form, port_of, turns):
    """An ASGI server cancels the body, a WSGI server closes it."""
    hang_up(port_of(form), f"/{form}/endless", after=b"<2>")
    record = the_only(turns)
    assert ("cancelled" if form in FASTAPI else "closed") == record["outcome"]
    assert record["output"].startswith("<0><1><2>")
    assert ["first", "late"] == outputs(record)
    assert record["aggregator"]["output"].startswith("<0><1><2>")


@pytest.mark.parametrize("form", [*FASTAPI, *FLASK])
def test_a_generator_that_raises_fails_the_turn(form, port_of, turns):
    """With the text so far."""
    with pytest.raises(Exception, match=r"IncompleteRead|closed"):
        get(port_of(form), f"/{form}/broken")
    record = the_only(turns)
    assert ("error", WORDS[0]) == (record["outcome"], record["output"])
    assert {"type": "LookupError", "message": "no more"}.items() <= record["error"].items()


@pytest.mark.parametrize("source", [endless, endless_async], ids=["sync", "async"])
def test_a_server_that_stops_reading_closes_the_turn(source, turns):
    """A server of ASGI 2.4 raises an `OSError` in `send`, and the body is dropped between two chunks."""
    app = FastAPI()

    @app.get("/")
    @moa.turn
    async def endpoint():
        reference("first")("first?")
        return StreamingResponse(body_of(source), media_type="text/plain")

    sent = []

    async def receive():
        return await asyncio.Future()

    async def send(message):
        sent.append(message)
        if len(sent) > 3:
            raise OSError("gone")

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
    with pytest.raises(ClientDisconnect):
        asyncio.run(app({**scope, "asgi": {"spec_version": "2.4"}}, receive, send))
    # A thread of Starlette's pool may hold the generator for a moment longer.
    assert until(lambda: gc.collect() is not None and turns)
    record = the_only(turns)
    assert ("closed", "<0><1><2>") == (record["outcome"], record["output"])
    assert (["first", "late"], "<0><1><2>") == (outputs(record), record["aggregator"]["output"])


@pytest.mark.parametrize("form", ["made", "streaming", "async"])
def test_a_response_that_is_never_sent_is_abandoned(form, turns):
    """Its turn is written when the collector takes it."""

    @moa.turn
    def view():
        reference("first")("first?")
        if form == "made":
            return Response(body_of(answer))
        return StreamingResponse(body_of(answer if form == "streaming" else answer_async))

    response = view()
    assert [] == turns
    del response
    gc.collect()
    record = the_only(turns)
    assert ("abandoned", None, ["first"]) == (record["outcome"], record["output"], outputs(record))


def test_the_response_and_its_chunks_are_the_same_objects(turns):
    """Only the iterator that it holds is followed."""
    chunks = [b"a", memoryview(b"b"), bytearray(b"c"), "d"]

    async def body():
        for chunk in chunks:
            yield chunk

    made = StreamingResponse(body(), media_type="text/plain")
    found = moa.turn(lambda: made)()
    assert found is made

    async def read():
        return [chunk async for chunk in made.body_iterator]

    got = asyncio.run(read())
    assert all(one is other for one, other in zip(got, chunks, strict=True))
    (record,) = turns
    assert "abcd" == record["output"]


@pytest.mark.parametrize(
    "made",
    [
        lambda: JSONResponse({"answer": 1}),
        lambda: PlainTextResponse("x"),
        lambda: Response("x"),
        lambda: Response(["x", "y"]),
        lambda: ("x", 200),
        lambda: (Response("x"), 200),
    ],
    ids=["json", "plain", "flask", "flask-list", "pair", "response-in-a-pair"],
)
def test_a_body_that_is_there_ends_the_turn_at_once(made, turns):
    """The value comes back as it is, whatever it is."""
    value = made()
    assert moa.turn(lambda: value)() is value
    (record,) = turns
    assert "completed" == record["outcome"]


def test_a_file_is_not_followed(tmp_path, turns):
    """The server may send it by itself, so no iterator would be read."""
    from flask import send_file

    path = tmp_path / "x.txt"
    path.write_text("x" * 100)
    app = Flask(__name__)

    @app.get("/")
    @moa.turn
    def view():
        return send_file(path)

    with werkzeug_of(app) as port:
        assert b"x" * 100 == get(port)[2]
    assert "completed" == the_only(turns)["outcome"]


def test_an_iterable_that_is_no_iterator_is_followed(turns):
    """Starlette takes any async iterable, Flask any iterable."""

    class Pages:
        def __iter__(self):
            yield from answer("all?")

    class AsyncPages:
        async def __aiter__(self):
            async for word in answer_async("all?"):
                yield word

    app = Flask(__name__)
    app.get("/")(moa.turn(lambda: Response(Pages())))
    assert BYTES == app.test_client().get("/").data

    api = FastAPI()

    @api.get("/")
    @moa.turn
    async def endpoint():
        return StreamingResponse(AsyncPages(), media_type="text/plain")

    with uvicorn_of(api) as port:
        assert BYTES == get(port)[2]
    for record in turns:
        assert (TEXT, TEXT) == (record["output"], record["aggregator"]["output"])
    assert 2 == len(turns)


def test_the_stream_of_a_reference_is_followed_once(turns):
    """A response around the aggregator's own stream, or around a turn that is a generator."""
    app = Flask(__name__)

    @app.get("/own")
    @moa.turn
    def own():
        return Response(answer("all?"))

    @app.get("/nested")
    def nested():
        @moa.turn
        def turn():
            yield from answer("all?")

        return Response(turn())

    client = app.test_client()
    assert (BYTES, BYTES) == (client.get("/own").data, client.get("/nested").data)
    assert [(TEXT, "answer")] * 2 == [(record["output"], record["aggregator"]["label"]) for record in turns]


def test_a_client_class_returns_a_response(turns):
    """`create` of a `@moa.client`, and a view that is instrumented by its path."""

    @moa.client
    class Client:
        def create(self, messages):
            reference("first")(messages)
            return Response(body_of(answer))

    class Views:
        def ask(self):
            return Response(body_of(answer))

    views = moa.instrument(Views(), turn="ask")
    app = Flask(__name__)
    app.add_url_rule("/create", "create", lambda: Client().create(request.args["q"]))
    app.add_url_rule("/ask", "ask", views.ask)
    client = app.test_client()
    assert (BYTES, BYTES) == (client.get("/create?q=why").data, client.get("/ask").data)
    assert [["first", "late"], ["late"]] == [outputs(record) for record in turns]
    assert ["completed"] * 2 == [record["outcome"] for record in turns]


EVENTS = [
    pytest.param([f"data: {word}\n\n" for word in WORDS[:2]] + ["data: [DONE]\n\n"], "one two ", id="words"),
    pytest.param([b'data: {"delta": "a"}\n\nda', b'ta: {"delta": "b"}\n\n'], "ab", id="bytes cut anywhere"),
    pytest.param(
        ['data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\n\n', "data: [DONE]\n\n"], "a", id="openai"
    ),
    pytest.param([": ping\n\n", "event: x\ndata: a\n\n"], "a", id="comment"),
]


@pytest.mark.parametrize(("frames", "text"), EVENTS)
def test_the_text_of_server_sent_events_is_read(frames, text, turns):
    """Without the words of the protocol."""
    app = Flask(__name__)
    app.get("/")(moa.turn(lambda: Response(iter(frames), content_type="text/event-stream")))
    expected = b"".join(frame if isinstance(frame, bytes) else frame.encode() for frame in frames)
    assert expected == app.test_client().get("/").data
    assert text == the_only(turns)["output"]


def test_events_of_sse_starlette_are_read(turns):
    """They are dicts, strings or objects; the response makes the frames."""
    app = FastAPI()

    @app.get("/")
    @moa.turn(session_id="sse")
    async def endpoint():
        async def body():
            reference("late")("late?")
            yield {"event": "token", "data": "a"}
            yield {"data": '{"delta": "b"}'}
            yield "c"

        return EventSourceResponse(body())

    with uvicorn_of(app) as port:
        assert b"data: c" in get(port)[2]
    record = the_only(turns)
    assert ("sse", "abc", ["late"]) == (record["session_id"], record["output"], outputs(record))


def test_an_endpoint_that_is_a_generator_is_followed(turns):
    """FastAPI makes the response itself: of events, and of lines of JSON."""
    app = FastAPI()

    @app.get("/events", response_class=FastapiEvents)
    @moa.turn
    async def events():
        reference("late")("late?")
        async for word in answer_async("all?"):
            yield {"delta": word}

    @app.get("/lines")
    @moa.turn
    def lines():
        reference("late")("late?")
        for word in answer("all?"):
            yield {"delta": word}

    with uvicorn_of(app) as port:
        assert b'data: {"delta":"one "}' in get(port, "/events")[2].replace(b": ", b":").replace(b"data:", b"data: ")
        assert 3 == get(port, "/lines")[2].count(b"delta")
    assert [(TEXT, "completed", ["late"])] * 2 == [(r["output"], r["outcome"], outputs(r)) for r in turns]


def test_a_middleware_of_starlette_may_be_the_turn(turns):
    """Its `dispatch` returns a response of a private class, whose body another task makes."""
    app = FastAPI()

    @app.get("/")
    async def endpoint():
        return StreamingResponse(body_of(answer_async), media_type="text/plain")

    @moa.turn(session_id="dispatch")
    async def dispatch(request, call_next):
        return await call_next(request)

    app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
    with uvicorn_of(app) as port:
        assert BYTES == get(port)[2]
    record = the_only(turns)
    assert ("dispatch", TEXT, ["late"]) == (record["session_id"], record["output"], outputs(record))


def test_an_async_view_of_flask_is_followed(turns):
    """Flask runs it in an event loop of its own, and the body after that."""
    app = Flask(__name__)

    @app.get("/")
    @moa.turn(session_id="flask")
    async def view():
        reference("first")("first?")
        return Response(body_of(answer))

    with werkzeug_of(app) as port:
        assert BYTES == get(port)[2]
    record = the_only(turns)
    assert ("flask", TEXT, ["first", "late"]) == (record["session_id"], record["output"], outputs(record))


@pytest.mark.parametrize("ends", ["whole", "hang up"])
def test_the_stream_of_an_sdk_ends_with_the_response(ends, turns):
    """OpenAI's client: the reference of the endpoint, and the stream of the body, which closes its connection."""
    script = Script(" ".join(f"<{n}>" for n in range(3 if ends == "whole" else 400)), piece_delay=0.01)
    with ScriptedServer({"a": "a draft of some length", "z": script}) as server:
        client = moa.instrument(openai.AsyncOpenAI(base_url=server.base_url, api_key="x", max_retries=0))
        app = FastAPI()

        @app.get("/")
        @moa.turn
        async def endpoint():
            draft = await client.chat.completions.create(model="a", messages=[{"role": "user", "content": "why?"}])
            question = [{"role": "user", "content": f"Read: {draft.choices[0].message.content}"}]

            async def body():
                stream = await client.chat.completions.create(model="z", messages=question, stream=True)
                async for chunk in stream:
                    if chunk.choices:
                        yield chunk.choices[0].delta.content or ""

            return StreamingResponse(body(), media_type="text/plain")

        with uvicorn_of(app) as port:
            if ends == "whole":
                assert b"<0> <1> <2>" == get(port)[2]
            else:
                hang_up(port, after=b"<2>")
            record = the_only(turns)
    assert ("completed" if ends == "whole" else "cancelled") == record["outcome"]
    assert ["a", "z"] == [call["model"] for call in (*record["references"], record["aggregator"])]
    assert record["output"].startswith("<0> <1> <2>")


def test_a_body_that_is_no_text_has_no_output(turns):
    """The output is the aggregator's then, and the bytes pass unread."""
    app = Flask(__name__)

    @app.get("/")
    @moa.turn
    def view():
        return Response((word.encode() for word in answer("all?")), content_type="audio/mpeg")

    assert BYTES == app.test_client().get("/").data
    assert TEXT == the_only(turns)["output"]


@pytest.mark.parametrize("form", ["async", "sync", "made"])
def test_twenty_requests_at_once_never_mix(form, turns):
    """Each turn has its own session, references and text."""

    def body_for(name):
        async def body_async():
            for _ in range(3):
                await asyncio.sleep(0.001)
                yield reference(name)(name)

        def body():
            for _ in range(3):
                time.sleep(0.001)
                yield reference(name)(name)

        return body_async() if form == "async" else body()

    if form == "made":
        app = Flask(__name__)
        view = moa.turn(session_id=lambda name: name)(lambda name: Response(body_for(name)))
        app.add_url_rule("/<name>", "view", view)
        served = werkzeug_of(app)
    else:
        app = FastAPI()
        if form == "async":

            @app.get("/{name}")
            @moa.turn(session_id=lambda name: name)
            async def endpoint(name: str):
                return StreamingResponse(body_for(name), media_type="text/plain")
        else:

            @app.get("/{name}")
            @moa.turn(session_id=lambda name: name)
            def endpoint(name: str):
                return StreamingResponse(body_for(name), media_type="text/plain")

        served = uvicorn_of(app)
    got = {}
    with served as port:
        names = [f"n{number}" for number in range(20)]
        threads = [threading.Thread(target=lambda n=n: got.update({n: get(port, f"/{n}")[2]})) for n in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {name: (name * 3).encode() for name in names} == got
    assert sorted(names) == sorted(record["session_id"] for record in turns)
    for record in turns:
        name = record["session_id"]
        assert (name * 3, [name] * 3) == (record["output"], outputs(record))
