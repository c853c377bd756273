"""Django, Quart, aiohttp, WebOb and bare WSGI and ASGI applications: the turn ends with the body."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import threading
import time
import types

import pytest

pytest.importorskip("django", reason="web frameworks are in the group test")
pytest.importorskip("aiohttp")
pytest.importorskip("quart")

import django
import quart
from aiohttp import web as aiohttp_web
from django.conf import settings
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.urls import path

import moa_middleware as moa
from tests.support.reference import outputs, reference
from tests.support.web import HOST, get, hang_up, until, uvicorn_of, werkzeug_of

WORDS = ["one ", "two ", "three"]
TEXT = "".join(WORDS)
BYTES = TEXT.encode()


@moa.aggregator(label="answer")
def answer(messages, *, pause=0.0, fails=False):
    for number, word in enumerate(WORDS * 100 if pause else WORDS):
        time.sleep(pause)
        if fails and number:
            raise LookupError("no more")
        yield f"<{number}>" if pause else word


@moa.aggregator(label="answer")
async def answer_async(messages, *, pause=0.0, fails=False):
    for number, word in enumerate(WORDS * 100 if pause else WORDS):
        await asyncio.sleep(pause)
        if fails and number:
            raise LookupError("no more")
        yield f"<{number}>" if pause else word


HOW = {"whole": {}, "endless": {"pause": 0.01}, "broken": {"fails": True}}


def body(what):
    reference("late")("late?")
    yield from answer("all?", **HOW[what])


async def body_async(what):
    reference("late")("late?")
    async for word in answer_async("all?", **HOW[what]):
        yield word


# Django -------------------------------------------------------------------------------------------


@moa.turn(session_id=lambda what: f"django-{what}")
def django_view(_request, what):
    reference("first")("first?")
    return StreamingHttpResponse(body(what), content_type="text/plain")


@moa.turn(session_id=lambda what: f"django-async-{what}")
async def django_async_view(_request, what):
    reference("first")("first?")
    return StreamingHttpResponse(body_async(what), content_type="text/plain")


@pytest.fixture(scope="module", autouse=True)
def _django():
    """Set Django up once a process, with two views."""
    urls = types.ModuleType("moa_test_urls")
    urls.urlpatterns = [path("django/<what>", django_view), path("django-async/<what>", django_async_view)]
    urls.urlpatterns += [path("plain/<what>", plain_view), path("plain-async/<what>", plain_async_view)]
    sys.modules["moa_test_urls"] = urls
    settings.configure(ROOT_URLCONF="moa_test_urls", ALLOWED_HOSTS=["*"], LOGGING_CONFIG=None, SECRET_KEY="x")
    django.setup()
    import logging

    logging.getLogger("django").setLevel(logging.CRITICAL)


def django_wsgi():
    from django.core.handlers.wsgi import WSGIHandler

    return werkzeug_of(WSGIHandler())


def django_asgi():
    from django.core.handlers.asgi import ASGIHandler

    return uvicorn_of(ASGIHandler())


# Others -------------------------------------------------------------------------------------------


def quart_app():
    app = quart.Quart(__name__)

    @app.get("/quart/<what>")
    @moa.turn(session_id=lambda what: f"quart-{what}")
    async def view(what):
        reference("first")("first?")
        return quart.Response(body_async(what), content_type="text/plain")

    @app.get("/quart-sync/<what>")
    @moa.turn(session_id=lambda what: f"quart-sync-{what}")
    async def view_of_a_sync_generator(what):
        reference("first")("first?")
        return quart.Response(body(what), content_type="text/plain")

    return uvicorn_of(app)


@contextlib.contextmanager
def aiohttp_app(*, cancels=True):
    @moa.turn(session_id=lambda request: f"aiohttp-{request.match_info['what']}")
    async def handler(request):
        reference("first")("first?")
        response = aiohttp_web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        async for word in body_async(request.match_info["what"]):
            await response.write(word.encode())
        return response

    app = aiohttp_web.Application()
    app.add_routes([aiohttp_web.get("/aiohttp/{what}", handler)])
    loop = asyncio.new_event_loop()
    listening = socket.create_server((HOST, 0))
    runner = aiohttp_web.AppRunner(app, access_log=None, handler_cancellation=cancels)

    async def start():
        await runner.setup()
        await aiohttp_web.SockSite(runner, listening).start()

    loop.run_until_complete(start())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield listening.getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


def wsgi_app():
    @moa.turn(session_id=lambda environ: environ["PATH_INFO"][1:].replace("/", "-"))
    def app(environ, start_response):
        reference("first")("first?")
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (word.encode() for word in body(environ["PATH_INFO"].split("/")[-1]))

    return werkzeug_of(app)


def asgi_app():
    @moa.turn(session_id=lambda scope: scope["path"][1:].replace("/", "-"))
    async def app(scope, receive, send):
        reference("first")("first?")
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        async for word in body_async(scope["path"].split("/")[-1]):
            await send({"type": "http.response.body", "body": word.encode(), "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    return uvicorn_of(app)


SERVERS = {
    "django": django_wsgi,
    "django-async": django_asgi,
    "quart": quart_app,
    "quart-sync": quart_app,
    "aiohttp": aiohttp_app,
    "wsgi": wsgi_app,
    "asgi": asgi_app,
}
ENDS = {"django": "closed", "wsgi": "closed"}
"""How a turn ends whose client hangs up; elsewhere it is cancelled."""


def the_only(turns):
    assert until(lambda: turns)
    (record,) = turns
    return record


@pytest.mark.parametrize("name", SERVERS)
def test_a_turn_closes_when_the_body_is_over(name, turns):
    """With all that the view and the body's generator asked, and a generator that raises fails it."""
    with SERVERS[name]() as port:
        status, _, got = get(port, f"/{name}/whole")
        assert (200, BYTES) == (status, got)
        record = the_only(turns)
        assert (f"{name}-whole", "completed") == (record["session_id"], record["outcome"])
        assert (["first", "late"], TEXT) == (outputs(record), record["aggregator"]["output"])
        if name != "asgi":  # which writes its body itself
            assert TEXT == record["output"]
        turns.clear()
        with pytest.raises(Exception, match=r"IncompleteRead|closed|peer"):
            get(port, f"/{name}/broken")
        record = the_only(turns)
        assert ("error", "LookupError") == (record["outcome"], record["error"]["type"])
        assert ["first", "late"] == outputs(record)


@pytest.mark.parametrize("name", [name for name in SERVERS if name != "asgi"])
def test_a_client_that_hangs_up_ends_the_turn(name, turns):
    """With the text so far."""
    with SERVERS[name]() as port:
        hang_up(port, f"/{name}/endless", after=b"<2>")
        record = the_only(turns)
    assert ENDS.get(name, "cancelled") == record["outcome"]
    assert record["aggregator"]["output"].startswith("<0><1><2>")
    assert ["first", "late"] == outputs(record)


def test_aiohttp_raises_in_the_handler_where_it_does_not_cancel(turns):
    """So it is by default; the text so far is there."""
    with aiohttp_app(cancels=False) as port:
        hang_up(port, "/aiohttp/endless", after=b"<2>")
        record = the_only(turns)
    assert "error" == record["outcome"]
    assert record["error"]["type"].endswith("ClientConnectionResetError")
    assert record["aggregator"]["output"].startswith("<0><1><2>")


# Applications that are wrapped: their views are no turns here.


def plain_view(_request, what):
    reference("first")("first?")
    return StreamingHttpResponse(body(what), content_type="text/plain")


async def plain_async_view(_request, what):
    reference("first")("first?")
    return StreamingHttpResponse(body_async(what), content_type="text/plain")


def wrapped_django_wsgi():
    from django.core.handlers.wsgi import WSGIHandler

    return werkzeug_of(moa.wsgi(WSGIHandler(), session_id=lambda environ: environ["PATH_INFO"]))


def wrapped_django_asgi():
    from django.core.handlers.asgi import ASGIHandler

    return uvicorn_of(moa.asgi(ASGIHandler(), session_id=lambda scope: scope["path"]))


def wrapped_quart():
    app = quart.Quart(__name__)

    @app.get("/plain/<what>")
    async def view(what):
        reference("first")("first?")
        return quart.Response(body_async(what), content_type="text/plain")

    app.asgi_app = moa.asgi(app.asgi_app, session_id=lambda scope: scope["path"])
    return uvicorn_of(app)


WRAPPED = {
    "django-wsgi": (wrapped_django_wsgi, "/plain"),
    "django-asgi": (wrapped_django_asgi, "/plain"),
    "django-asgi-async": (wrapped_django_asgi, "/plain-async"),
    "quart": (wrapped_quart, "/plain"),
}


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume synchronous iterators")
@pytest.mark.parametrize("name", WRAPPED)
def test_a_wrapped_application_has_a_turn_a_request(name, turns):
    """With the calls of the view and of its body."""
    served, path = WRAPPED[name]
    with served() as port:
        assert (200, BYTES) == (got := get(port, f"{path}/whole"))[::2], got
        record = the_only(turns)
        assert (f"{path}/whole", "completed") == (record["session_id"], record["outcome"])
        assert (["first", "late"], TEXT) == (outputs(record), record["aggregator"]["output"])
        if name == "django-asgi":
            return  # Django reads a sync body to its end before it sends it
        turns.clear()
        hang_up(port, f"{path}/endless", after=b"<2>")
        record = the_only(turns)
    assert ("closed" if name == "django-wsgi" else "cancelled") == record["outcome"]
    assert record["aggregator"]["output"].startswith("<0><1><2>")


def test_responses_of_django_are_the_same_objects(tmp_path, turns):
    """Those with a body end the turn at once, and a file is not followed."""
    file = tmp_path / "x"
    file.write_bytes(b"x" * 10)
    for made in (HttpResponse("x"), FileResponse(file.open("rb")), StreamingHttpResponse([b"x"])):
        assert moa.turn(lambda made=made: made)() is made
        assert b"x" in b"".join(made)
        made.close()
    assert ["completed"] * 3 == [record["outcome"] for record in turns]


def test_djangos_close_closes_the_generator_in_its_turn(turns):
    """Calls that the generator makes while it is closed belong to the turn."""

    def last_words():
        try:
            yield b"a"
            yield b"b"
        finally:
            reference("bye")("bye?")

    response = moa.turn(lambda: StreamingHttpResponse(last_words()))()
    assert b"a" == next(iter(response))
    response.close()
    record = the_only(turns)
    assert ("closed", "a", ["bye"]) == (record["outcome"], record["output"], outputs(record))


def test_a_response_of_webob_is_followed(turns):
    """Its class has the form of WebOb's: `app_iter`, kept in `_app_iter`."""

    class Response:
        def __init__(self, app_iter):
            self._app_iter = app_iter

        @property
        def app_iter(self):
            return self._app_iter

        def __call__(self, environ, start_response):
            return self._app_iter

    response = moa.turn(lambda: Response(body("whole")))()
    assert WORDS == list(response({}, None))
    assert (TEXT, ["late"]) == (the_only(turns)["output"], outputs(turns[0]))


@pytest.mark.parametrize(
    "odd",
    [
        type("NoDict", (), {"__slots__": (), "__call__": print})(),
        type("NoIterator", (), {"__init__": lambda self: vars(self).update(body_iterator=3), "__call__": print})(),
        type("OddDict", (), {"__dict__": property(lambda self: 1 / 0), "__call__": print})(),
        type("NoBody", (), {"__call__": print, "body_iterator": iter([1])})(),
    ],
    ids=lambda odd: type(odd).__name__,
)
def test_objects_that_are_no_responses_are_values(odd, turns):
    """Whatever names their classes have."""
    assert moa.turn(lambda: odd)() is odd
    record = the_only(turns)
    assert ("completed", 0) == (record["outcome"], record["instrumentation_errors"])


def test_a_response_with_odd_headers_is_followed(turns):
    """Only what its body is, is unknown then."""

    class Odd:
        headers = property(lambda self: 1 / 0)
        body_iterator: object

        def __call__(self):
            return list(self.body_iterator)

    odd = Odd()
    odd.body_iterator = body("whole")
    assert moa.turn(lambda: odd)() is odd
    assert WORDS == odd()
    record = the_only(turns)
    assert ("completed", TEXT, 0) == (record["outcome"], record["output"], record["instrumentation_errors"])


# An exception in a view --------------------------------------------------------------------------------


def failing(*_args):
    reference("first")("first?")
    raise LookupError("no more")


async def failing_async():
    failing()


def ask_flask(view):
    app = pytest.importorskip("flask").Flask(__name__)
    app.add_url_rule("/", view_func=view)
    app.wsgi_app = moa.wsgi(app.wsgi_app)
    response = app.test_client().get("/")
    assert response.data  # read to its end, as a server does
    return response.status_code


def ask_quart(view):
    app = quart.Quart(__name__)
    app.add_url_rule("/", view_func=view)
    app.asgi_app = moa.asgi(app.asgi_app)

    async def ask():
        return (await app.test_client().get("/")).status_code

    return asyncio.run(ask())


@pytest.mark.parametrize(("ask", "view"), [(ask_flask, failing), (ask_quart, failing_async)], ids=["flask", "quart"])
def test_an_exception_that_became_a_response_fails_the_decorated_view_alone(turns, ask, view):
    """Nothing leaves the application, so the request is completed; the view's own turn has the error."""
    assert 500 == ask(view)
    assert until(lambda: len(turns) == 1)
    assert ("completed", None) == (turns[0]["outcome"], turns[0]["error"])
    assert 500 == ask(moa.turn(view))
    assert until(lambda: len(turns) == 2)
    assert ("error", "LookupError") == (turns[1]["outcome"], turns[1]["error"]["type"].rpartition(".")[2])
