"""`moa.asgi` and `moa.wsgi`: each request to a matching route is a turn, and nothing else of it changes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import io
import logging
import threading
import traceback
import weakref
from functools import partial

import pytest

pytest.importorskip("fastapi", reason="web frameworks are in the group test")
pytest.importorskip("flask")

from fastapi import BackgroundTasks, FastAPI, Request
from fastapi.responses import PlainTextResponse, StreamingResponse
from flask import Flask, Response
from flask import request as flask_request
from starlette.middleware.base import BaseHTTPMiddleware

import moa_middleware as moa
from moa_middleware.errors import DecorationError
from moa_middleware.testing import capture_turns
from tests.support.reference import outputs, reference
from tests.support.web import endless, endless_async, get, hang_up, until, uvicorn_of, werkzeug_of

WORDS = ["one ", "two ", "three"]
TEXT = "".join(WORDS)


@moa.aggregator(label="answer")
def answer(messages):
    yield from WORDS


def the_only(turns):
    assert until(lambda: turns)
    (record,) = turns
    return record


def bare_fastapi():
    app = FastAPI()

    @app.get("/v1/value/{user}")
    async def value(user: str):
        reference("a")("a?")
        return {"user": user}

    @app.get("/v1/sync/{user}")
    def sync_value(user: str):
        reference("a")("a?")
        return {"user": user}

    @app.get("/v1/stream/{user}")
    async def stream(user: str):
        reference("a")("a?")
        return StreamingResponse(answer("all?"), media_type="text/plain")

    @app.get("/v1/endless/{kind}")
    async def without_end(kind: str):
        reference("a")("a?")
        source = endless("all?") if kind == "sync" else endless_async("all?")
        return StreamingResponse(source, media_type="text/plain")

    @app.get("/v1/broken")
    async def broken():
        reference("a")("a?")
        raise LookupError("no more")

    @app.get("/v1/refused")
    async def refused():
        reference("a")("a?")
        return PlainTextResponse("no", 503)

    @app.get("/v1/background")
    async def background(tasks: BackgroundTasks):
        tasks.add_task(reference("title"), "title?")
        tasks.add_task(asyncio.sleep, 0)
        return {}

    @app.get("/health")
    async def health():
        return {}

    @app.get("/other")
    async def other():
        reference("a")("a?")
        return {}

    return app


def bare_flask():
    app = Flask(__name__)

    @app.get("/v1/value/<user>")
    def value(user):
        reference("a")("a?")
        return {"user": user}

    @app.get("/v1/stream/<user>")
    def stream(user):
        reference("a")("a?")
        return Response(answer("all?"), content_type="text/plain")

    @app.get("/v1/endless/<kind>")
    def without_end(kind):
        reference("a")("a?")
        return Response(endless("all?"), content_type="text/plain")

    @app.get("/v1/refused")
    def refused():
        reference("a")("a?")
        return "no", 503

    @app.get("/health")
    def health():
        return {}

    @app.get("/other")
    def other():
        reference("a")("a?")
        return {}

    return app


def asgi_session(scope):
    return scope["path"].rsplit("/", 1)[-1]


def wsgi_session(environ):
    return environ["PATH_INFO"].rsplit("/", 1)[-1]


@pytest.fixture(scope="module")
def asgi_port():
    with uvicorn_of(moa.asgi(bare_fastapi(), routes="/v1/*", session_id=asgi_session)) as port:
        yield port


@pytest.fixture(scope="module")
def wsgi_port():
    app = bare_flask()
    app.wsgi_app = moa.wsgi(app.wsgi_app, routes=["/v1/*"], session_id=wsgi_session)
    with werkzeug_of(app) as port:
        yield port


@pytest.fixture
def port_of(request):
    """Return a function from the kind of an application to the port of its server."""
    return lambda kind: request.getfixturevalue(f"{kind}_port")


KINDS = ["asgi", "wsgi"]


@pytest.mark.parametrize(
    ("kind", "path"), [("asgi", "value"), ("asgi", "sync"), ("asgi", "stream"), ("wsgi", "value"), ("wsgi", "stream")]
)
def test_a_request_is_a_turn(kind, path, port_of, turns):
    """With all calls of the view, of its thread and of its body; the path's words are in no tag."""
    status, _, _ = get(port_of(kind), f"/v1/{path}/jane?token=secret")
    assert 200 == status
    record = the_only(turns)
    assert ("jane", "completed", False) == (record["session_id"], record["outcome"], record["implicit"])
    assert {"http.method": "GET", "http.route": "/v1/*"} == record["tags"]
    if path == "stream":
        assert (["a"], TEXT) == (outputs(record), record["aggregator"]["output"])
    else:
        assert (["a"], None) == (outputs(record), record["output"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_request_without_a_call_writes_no_line(kind, port_of, turns):
    """A path that no route matches is left alone: its call is a turn of its own."""
    assert 200 == get(port_of(kind), "/health")[0]
    assert 404 == get(port_of(kind), "/v1/nothing")[0]
    assert 200 == get(port_of(kind), "/other")[0]
    record = the_only(turns)
    assert (True, None, {}) == (record["implicit"], record["session_id"], record["tags"])


@pytest.mark.parametrize("kind", KINDS)
def test_an_error_response_is_no_error_of_the_turn(kind, port_of, turns):
    """Nothing was raised."""
    assert 503 == get(port_of(kind), "/v1/refused")[0]
    record = the_only(turns)
    assert ("completed", None) == (record["outcome"], record["error"])


def test_an_exception_fails_the_turn(asgi_port, turns):
    """Starlette sends a response and raises it again."""
    assert 500 == get(asgi_port, "/v1/broken")[0]
    record = the_only(turns)
    assert ("error", "LookupError") == (record["outcome"], record["error"]["type"])


def test_an_exception_fails_the_turn_of_a_wsgi_application(turns):
    """It reaches the server as the same object, from the call as from the body."""
    error = LookupError("no more")

    def app(environ, start_response):
        reference("a")("a?")
        if environ["PATH_INFO"] == "/call":
            raise error

        def body():
            yield b"x"
            raise error

        return body()

    traced = moa.wsgi(app)
    with pytest.raises(LookupError) as caught:
        traced({"PATH_INFO": "/call"}, None)
    assert caught.value is error
    with pytest.raises(LookupError) as caught:
        list(traced({"PATH_INFO": "/body"}, None))
    assert caught.value is error
    assert ["error"] * 2 == [record["outcome"] for record in turns]


@pytest.mark.parametrize(("kind", "path"), [("asgi", "sync"), ("asgi", "async"), ("wsgi", "sync")])
def test_a_client_that_hangs_up_ends_the_turn(kind, path, port_of, turns):
    """The server cancels an ASGI application, and closes the body of a WSGI one."""
    hang_up(port_of(kind), f"/v1/endless/{path}", after=b"<2>")
    record = the_only(turns)
    assert ("cancelled" if kind == "asgi" else "closed") == record["outcome"]
    assert record["aggregator"]["output"].startswith("<0><1><2>")
    assert ["a"] == outputs(record)


@pytest.mark.parametrize("spec", ["2.3", "2.4"])
def test_a_client_that_is_gone_is_no_error(spec, turns):
    """A server of ASGI 2.4 says so by an `OSError` of `send`, an older one by a message."""

    async def endpoint():
        async def body():
            reference("a")("a?")
            for _ in range(100):
                await asyncio.sleep(0)
                yield "x"

        return StreamingResponse(body())

    api = FastAPI()
    api.get("/")(endpoint)
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b"", "asgi": {}}
    scope["asgi"]["spec_version"] = spec
    sent = []

    async def receive():
        while len(sent) < 3:
            await asyncio.sleep(0)
        return {"type": "http.disconnect"}

    async def send(message):
        sent.append(message)
        if spec == "2.4" and len(sent) > 3:
            raise OSError("gone")

    def run(app):
        sent.clear()
        try:
            asyncio.run(app(dict(scope), receive, send))
        except Exception as error:
            return type(error).__name__
        return None

    bare = run(api)
    assert bare == run(moa.asgi(api))
    assert bare == {"2.3": None, "2.4": "ClientDisconnect"}[spec]
    cancelled = [record for record in turns if not record["implicit"]]
    assert ["cancelled"] == [record["outcome"] for record in cancelled]


def test_background_tasks_belong_to_the_request(asgi_port, turns):
    """The turn closes when they are done."""
    assert 200 == get(asgi_port, "/v1/background")[0]
    record = the_only(turns)
    assert ("background", ["title"]) == (record["session_id"], outputs(record))


@pytest.mark.parametrize("kind", KINDS)
def test_turns_inside_take_session_and_tags(kind, turns):
    """The request made no call of its own, so it has no line."""
    inner = moa.turn(lambda: reference("a")("a?"))
    if kind == "asgi":
        api = FastAPI()
        api.get("/chat")(inner)
        served = uvicorn_of(moa.asgi(api, session_id="s-1"))
    else:
        app = Flask(__name__)
        app.get("/chat")(inner)
        app.wsgi_app = moa.wsgi(app.wsgi_app, session_id="s-1")
        served = werkzeug_of(app)
    with served as port:
        assert 200 == get(port, "/chat")[0]
    record = the_only(turns)
    assert ("s-1", {"http.method": "GET"}, ["a"]) == (record["session_id"], record["tags"], outputs(record))


@pytest.mark.parametrize("kind", KINDS)
def test_the_response_is_the_same_without_us(kind):
    """Status, headers and bytes: bare, off and traced, with a body of each kind."""
    found = []
    for how in ("bare", "off", "on"):
        app = bare_fastapi() if kind == "asgi" else bare_flask()
        if how != "bare":
            app = moa.asgi(app) if kind == "asgi" else moa.wsgi(app)
        recorded = capture_turns() if how == "on" else contextlib.nullcontext()
        with uvicorn_of(app) if kind == "asgi" else werkzeug_of(app) as port, recorded:
            got = [get(port, path) for path in ("/v1/value/x", "/v1/stream/x", "/v1/refused", "/health", "/none")]
        for _, headers, _ in got:
            headers.pop("Date", None), headers.pop("date", None)
        found.append(got)
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize("kind", KINDS)
def test_twenty_requests_at_once_never_mix(kind, port_of, turns):
    """Each has its own session and its own calls."""
    names = [f"user-{number}" for number in range(20)]
    threads = [threading.Thread(target=get, args=(port_of(kind), f"/v1/stream/{name}")) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert until(lambda: len(turns) == 20)
    assert sorted(names) == sorted(record["session_id"] for record in turns)
    assert [(["a"], TEXT)] * 20 == [(outputs(record), record["aggregator"]["output"]) for record in turns]


def test_messages_pass_in_the_same_order(turns):
    """What an application receives and sends are the server's own objects, and so is what it returns."""
    got, sent, done = [{"type": "http.request", "body": b"x"}], [], object()

    async def app(scope, receive, send):
        assert await receive() is got[0]
        reference("a")("a?")
        for message in messages:
            assert await send(message) is done
        return done

    messages = [{"type": "http.response.start", "status": 200}, {"type": "http.response.body", "body": b"y"}]

    async def receive():
        return got[0]

    async def send(message):
        sent.append(message)
        return done

    traced = moa.asgi(app)
    assert asyncio.run(traced({"type": "http", "path": "/", "method": "GET"}, receive, send)) is done
    assert all(one is other for one, other in zip(sent, messages, strict=True))
    assert ["a"] == outputs(the_only(turns))


def test_websockets_and_the_lifespan_pass_through(turns):
    """The application gets the server's own functions."""
    seen = []

    async def app(*given):
        seen.append(given)
        reference("a")("a?")

    for kind in ("websocket", "lifespan"):
        given = ({"type": kind, "path": "/"}, object(), object())
        asyncio.run(moa.asgi(app)(*given))
        assert all(one is other for one, other in zip(seen.pop(), given, strict=True))
    assert [True, True] == [record["implicit"] for record in turns]


def test_it_is_added_as_middleware_of_starlette(turns):
    """By `add_middleware`, next to one that runs the application in a task of its own."""
    app = bare_fastapi()

    async def dispatch(request: Request, call_next):
        return await call_next(request)

    app.add_middleware(BaseHTTPMiddleware, dispatch=dispatch)
    app.add_middleware(moa.asgi, routes="/v1/stream/*", session_id="s")
    with uvicorn_of(app) as port:
        assert TEXT.encode() == get(port, "/v1/stream/x")[2]
        record = the_only(turns)
        assert ("s", ["a"], TEXT) == (record["session_id"], outputs(record), record["aggregator"]["output"])
        turns.clear()
        get(port, "/v1/value/x")
        assert the_only(turns)["implicit"]


def test_a_stack_of_ones_own_has_both(turns):
    """Its middleware sees the calls of its own decorators only, as ever."""
    stack = moa.Stack([])
    app = Flask(__name__)
    app.get("/")(lambda: flask_request.path + stack.reference(lambda messages: "x")("a?"))
    app.wsgi_app = stack.wsgi(app.wsgi_app, session_id="s")
    assert b"/x" == app.test_client().get("/").data
    assert "s" == the_only(turns)["session_id"]
    assert "AsgiApp" in repr(stack.asgi(bare_fastapi()))


def test_a_session_function_that_fails_costs_the_session(turns, caplog):
    """The request is served, and the fault is logged."""
    app = Flask(__name__)
    app.get("/")(lambda: reference("a")("a?"))
    app.wsgi_app = moa.wsgi(app.wsgi_app, session_id=lambda environ: environ["NO_SUCH_KEY"])
    with caplog.at_level(logging.WARNING, "moa_middleware"):
        assert b"a" == app.test_client().get("/").data
    record = the_only(turns)
    assert (None, 1) == (record["session_id"], record["instrumentation_errors"])
    assert "observer=option session_id of moa.wsgi error=" in caplog.text
    assert "NO_SUCH_KEY" not in caplog.text


async def _async_session(scope):
    return "s"


def map_session(fn, scope):
    return fn(scope)


@pytest.mark.filterwarnings("error")
def test_a_session_that_has_to_be_awaited_is_unknown(turns, caplog):
    """A plain function does not look async; what it returns is not a session, and is closed."""
    with caplog.at_level(logging.WARNING, "moa_middleware"):
        asyncio.run(moa.asgi(asking, session_id=partial(map_session, _async_session))(*connection()))
    record = the_only(turns)
    assert (None, 1) == (record["session_id"], record["instrumentation_errors"])
    assert "observer=option session_id of moa.asgi error=" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"app": 3}, r"asgi\(app\) takes an application, got int"),
        ({"routes": 3}, r"asgi\(routes=…\) takes globs of paths such as '/v1/\*', got int"),
        ({"routes": ["v1/*"]}, r"asgi\(routes=…\) takes globs of paths such as '/v1/\*', got 'v1/\*'"),
        ({"routes": b"/v1"}, r"asgi\(routes=…\) takes globs of paths such as '/v1/\*', got bytes"),
        ({"session_id": 3}, r"asgi\(session_id=…\) takes a str or a function, got int"),
        ({"session_id": _async_session}, r"asgi\(session_id=…\) takes a plain function"),
    ],
    ids=["app", "routes", "glob", "bytes", "session", "async"],
)
def test_a_wrong_argument_is_named(arguments, message):
    """With what to write in its place."""
    with pytest.raises(DecorationError, match=message):
        moa.asgi(**{"app": bare_flask(), **arguments})


# Messages and bodies of bare applications ----------------------------------------------------------


def connection(send=None):
    """Return the arguments of a request whose client is gone as soon as it is asked for."""

    async def receive():
        return {"type": "http.disconnect"}

    async def nowhere(message):
        pass

    return {"type": "http", "path": "/", "method": "GET"}, receive, send or nowhere


async def asking(scope, receive, send):
    reference("a")("a?")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"x"})


@pytest.mark.parametrize(
    ("last", "outcome"),
    [
        ({"type": "http.response.body"}, "completed"),
        ({"type": "http.response.pathsend", "path": "/x"}, "completed"),
        ({"type": "http.response.zerocopysend", "file": 1}, "completed"),
        ({"type": "http.response.body", "more_body": True}, "cancelled"),
        ({"type": "http.response.zerocopysend", "file": 1, "more_body": True}, "cancelled"),
    ],
    ids=lambda given: given if isinstance(given, str) else f"{given['type']} {'more_body' in given}",
)
def test_a_response_is_over_with_its_last_message(last, outcome, turns):
    """A file that the server sends by itself ends it too: what the server says afterwards is not a hang-up."""

    async def app(scope, receive, send):
        reference("a")("a?")
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send(last)
        await receive()

    asyncio.run(moa.asgi(app)(*connection()))
    assert outcome == the_only(turns)["outcome"]


def test_an_error_of_the_server_shows_no_frame_of_ours():
    """An application that cannot send sees the frames that it sees without us."""

    async def send(message):
        raise ConnectionResetError

    def frames(app):
        with pytest.raises(ConnectionResetError) as caught:
            asyncio.run(app(*connection(send)))
        return [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]

    assert frames(asking) == frames(moa.asgi(asking))


@pytest.mark.parametrize("kind", ["asgi", "wsgi body", "wsgi list"])
def test_a_request_leaves_nothing_to_the_collector(kind, monkeypatch):
    """Its turn goes with it, as fast as requests come."""
    made = []
    monkeypatch.setattr("moa_middleware._capture.web.Turn", remembering(made))

    def body(environ, start_response):
        yield b"x"

    gc.collect()
    gc.disable()
    try:
        with capture_turns():
            if kind == "asgi":
                asyncio.run(moa.asgi(asking)(*connection()))
            else:
                app = body if kind == "wsgi body" else lambda *_: [b"x"]
                assert [b"x"] == list(moa.wsgi(app)({"PATH_INFO": "/"}, None))
        assert [None] == [reference() for reference in made]
    finally:
        gc.enable()


def remembering(made):
    from moa_middleware._capture.turns.turn import Turn

    def make(*args, **kwargs):
        turn = Turn(*args, **kwargs)
        made.append(weakref.ref(turn))
        return turn

    return make


class OnlyLength:
    def __len__(self):
        return 1

    def __iter__(self):
        return iter([b"x"])


@pytest.mark.parametrize("value", [None, 5, b"", OnlyLength()], ids=["None", "int", "bytes", "iterable"])
def test_what_a_server_does_with_a_body_is_the_same(value):
    """Also with a body that is not iterable, which raises the server's error."""

    def served(app):
        try:
            result = app({"PATH_INFO": "/"}, None)
            return list(result), len(result)
        except TypeError as error:
            return str(error)

    assert served(lambda *_: value) == served(moa.wsgi(lambda *_: value))


def test_a_server_finds_the_file_that_its_function_returned():
    """The wrapper of uWSGI is a function, and it compares by identity what the application returns."""
    file = io.BytesIO(b"x")
    environ = {"PATH_INFO": "/", "wsgi.file_wrapper": lambda file, size=0: file}
    assert file is moa.wsgi(lambda environ, _: environ["wsgi.file_wrapper"](file))(environ, None)
