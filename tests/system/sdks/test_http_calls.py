"""Which requests of plain HTTP clients are calls, and what middleware and errors make of them."""

from __future__ import annotations

import asyncio
import importlib
import io
import json
import sys

import pytest

pytest.importorskip("aiohttp", reason="aiohttp is in the group test")
pytest.importorskip("httpx", reason="httpx is in the group test")
pytest.importorskip("httpx2", reason="httpx2 is in the group test")
pytest.importorskip("requests", reason="requests is in the group test")

import aiohttp
import httpx
import httpx2
import requests

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer, capture_turns
from tests.support.http_ways import TLS
from tests.support.sdk_forms import FORMS, ask, client_of, installed

PIECES = ["One ", "two ", "three."]
TEXT = "".join(PIECES)
BODY = {"model": "m", "messages": [{"role": "user", "content": "count"}]}
EVERY = "httpx,httpx2,requests,aiohttp"


@pytest.fixture(scope="module")
def server():
    failing = Script(status=503, error={"message": "no room"})
    with ScriptedServer({"bad": failing}, default=Script(TEXT, pieces=PIECES)) as made:
        yield made


@pytest.fixture
def url(server):
    return f"{server.base_url}/chat/completions"


def _aiohttp(url, **given):
    async def post():
        async with aiohttp.ClientSession() as session, session.post(url, **given) as response:
            await response.read()
            return response

    return asyncio.run(post())


def _async(module):
    def post(url, **given):
        async def run():
            async with module.AsyncClient(verify=TLS) as client:
                return await client.post(url, **given)

        return asyncio.run(run())

    return post


POSTS = {
    "httpx": lambda url, **given: httpx.post(url, verify=TLS, **given),
    "httpx-async": _async(httpx),
    "httpx2": lambda url, **given: httpx2.post(url, verify=TLS, **given),
    "httpx2-async": _async(httpx2),
    "requests": requests.post,
    "aiohttp": _aiohttp,
}
each_post = pytest.mark.parametrize("post", POSTS.values(), ids=POSTS)


def _kind(post):
    """Return which client a post is by, and whether it is async: the names of httpx2 are those of httpx."""
    name = next(name for name, one in POSTS.items() if one is post)
    return name.partition("-")[0].rstrip("2"), name.endswith("async") or name == "aiohttp"


def each(test):
    """Run a test with each post; in a quick run with each kind of client, sync and async."""
    return pytest.mark.crowd(facets=_kind)(each_post(test))


def calls_in(turns):
    return [turn["totals"]["calls"] for turn in turns]


def of(turns):
    (turn,) = turns
    return turn["aggregator"]


# Never twice -------------------------------------------------------------------------------------


def _run(form, server, *, stack=None):
    client = client_of(form.sdk, server, is_async=form.is_async)
    if stack is not None:
        stack.instrument(client)
    return ask(form, client)


def _way(form, also):
    """Return what a quick run has to show: each SDK; and where it is instrumented each way to send and to read."""
    return (form.sdk, also), form.family, (form.is_async, form.streamed, form.raw) if also else None


@pytest.mark.crowd(facets=_way)
@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("also", [True, False], ids=["instrumented", "not"])
def test_a_call_of_an_sdk_is_recorded_once(form, also, server, turns):
    """By the SDK where that is instrumented, whichever way it sends; else by its HTTP client."""
    if not installed(form.sdk):
        pytest.skip(f"{form.sdk} is not installed")
    moa.instrument(EVERY)
    assert TEXT == _run(form, server, stack=moa.default_stack if also else None)
    assert [1] == calls_in(turns)
    (turn,) = turns
    assert [] == turn["calls"]
    assert TEXT == turn["aggregator"]["output"]
    assert turn["aggregator"]["provider"] == (form.sdk if also else "127.0.0.1")


@each
def test_a_request_inside_a_decorated_function_is_one_entry(post, url, turns):
    """The function's role and label, the request's model, endpoint and reply."""
    moa.instrument(EVERY)

    @moa.reference(label="expert")
    def ask(question):
        post(url, json=BODY)
        return TEXT

    ask("why")
    (turn,) = turns
    (call,) = turn["references"]
    assert ("expert", "m", url, TEXT) == (call["label"], call["model"], call["endpoint"], call["output"])
    assert [] == turn["calls"]


def test_a_request_that_is_redirected_is_recorded_once(server, turns):
    """The client requests sends again by the same method; the endpoint is the one that was asked."""
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Moved(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(307)
            self.send_header("location", f"{server.base_url}/chat/completions")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_args):
            pass

    first = HTTPServer(("127.0.0.1", 0), Moved)
    threading.Thread(target=first.serve_forever, args=(0.02,), daemon=True).start()
    moa.instrument(EVERY)
    try:
        url = f"http://127.0.0.1:{first.server_address[1]}/v1/chat/completions"
        requests.post(url, json=BODY)
        httpx.post(url, json=BODY, follow_redirects=True, verify=TLS)
        _aiohttp(url, json=BODY)
    finally:
        first.shutdown()
        first.server_close()
    assert [1, 1, 1] == calls_in(turns)
    assert [TEXT] * 3 == [turn["aggregator"]["output"] for turn in turns]
    assert {url} == {turn["aggregator"]["endpoint"] for turn in turns}


# Which requests ----------------------------------------------------------------------------------


@pytest.mark.crowd(facets=lambda name, options, count: (name.rstrip("2"), options))
@pytest.mark.parametrize(
    ("options", "count"),
    [
        ("", 1),
        ("(host=127.0.0.1)", 1),
        ("(host=127.*, path=/v1/*)", 1),
        ('(host="127.0.0.1:*")', 1),
        ("(path=/v1/chat/completions)", 1),
        ("(host=api.x.ai)", 0),
        ("(path=/v2/*)", 0),
        ("(host=127.0.0.1, path=/other)", 0),
        ('(host="127.0.0.1:1")', 0),
    ],
)
@pytest.mark.parametrize("name", ["httpx", "httpx2", "requests", "aiohttp"])
def test_host_and_path_say_which(name, options, count, url, turns):
    """Each may have stars; the host may have a port."""
    moa.instrument(f"{name}{options}")
    POSTS[name](url, json=BODY)
    assert [1] * count == calls_in(turns)


def test_several_entries_add_up(url, turns):
    """A request that any of them takes is a call, once."""
    moa.instrument("httpx(host=api.x.ai),httpx(host=127.0.0.1)")
    moa.instrument("httpx(path=/v1/*)")
    httpx.post(url, json=BODY, verify=TLS)
    assert [1] == calls_in(turns)
    moa.uninstrument("httpx")
    httpx.post(url, json=BODY, verify=TLS)
    assert [1] == calls_in(turns)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("httpx(port=1)", "unknown option 'port'; choose from host, path"),
        ("httpx=call", "a name takes no role"),
        ("httpy", "unknown target 'httpy'; choose from aiohttp, "),
    ],
)
def test_a_bad_entry_is_refused(text, said):
    """With the column, before anything is patched."""
    with pytest.raises(moa.TargetError) as caught:
        moa.instrument(f"requests,{text}")
    assert said in str(caught.value)
    assert () == moa.instrumented("requests")


@pytest.mark.crowd(facets=lambda post, path, given: (*_kind(post), (path, str(given))))
@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("/embeddings", {"json": {"model": "m", "input": "text"}}),
        ("/messages/count_tokens", {"json": {**BODY, "max_tokens": 1}}),
        ("/images/generations", {"json": {"model": "m", "prompt": "a cat"}}),
        ("/chat/completions", {"json": {"model": "m", "messages": "hello"}}),
        ("/chat/completions", {"json": [BODY]}),
        ("/chat/completions", {"data": {"model": "m", "messages": "1"}}),
        ("/chat/completions", {"data": b"{no json"}),
        ("/chat/completions", {}),
    ],
)
@each_post
def test_other_requests_are_no_calls(post, path, given, server, turns):
    """Neither other endpoints nor bodies of another form; nothing is said about them."""
    moa.instrument(EVERY)
    post(f"{server.base_url}{path}", **given)
    assert [] == turns


@each
def test_a_body_of_bytes_or_text_is_read(post, url, turns):
    """Not only what the client makes JSON of."""
    moa.instrument(EVERY)
    given = {"content": json.dumps(BODY)} if post not in (requests.post, _aiohttp) else {"data": json.dumps(BODY)}
    post(url, **given)
    assert ["m", TEXT] == [of(turns)[name] for name in ("model", "output")]


def test_a_body_that_is_made_while_it_is_sent_is_left_alone(url, turns):
    """It is not in memory, and is not read for the record."""
    moa.instrument(EVERY)
    pieces = [json.dumps(BODY).encode()]
    with httpx.Client(verify=TLS, transport=httpx.MockTransport(lambda request: httpx.Response(200))) as client:
        assert 200 == client.post(url, content=iter(pieces)).status_code
    request = requests.Request("POST", url, data=iter(pieces)).prepare()
    with requests.Session() as session:
        session.mount("http://", _Answering())
        assert 200 == session.send(request).status_code
    assert [] == turns


class _Answering(requests.adapters.BaseAdapter):
    """Answers each request, without reading its body."""

    def send(self, request, **_given):
        response = requests.Response()
        response.status_code, response.raw, response._content, response.url = 200, io.BytesIO(), b"", request.url
        response.request = request
        return response

    def close(self):
        pass


# Errors ------------------------------------------------------------------------------------------


@each
def test_a_status_that_is_a_failure_is_an_error(post, url, turns):
    """The client raises nothing; the call failed, in the provider's words."""
    moa.instrument(EVERY)
    response = post(url, json={**BODY, "model": "bad"})
    assert 503 in {getattr(response, name, 0) for name in ("status", "status_code")}
    assert ("error", "moa_middleware.errors.ProviderError") == (of(turns)["outcome"], of(turns)["error"]["type"])
    assert "no room" in of(turns)["error"]["message"]
    assert 1 == turns[0]["totals"]["failed"]


@pytest.mark.parametrize("name", ["httpx", "requests"])
def test_a_failed_stream_whose_body_is_not_read_is_an_error(name, url, turns):
    """The status says it."""
    moa.instrument(EVERY)
    body = {**BODY, "model": "bad", "stream": True}
    if name == "httpx":
        with httpx.stream("POST", url, json=body, verify=TLS) as response, pytest.raises(httpx.HTTPStatusError):
            response.raise_for_status()
    else:
        with requests.post(url, json=body, stream=True) as response, pytest.raises(requests.HTTPError):
            response.raise_for_status()
    assert "error" == of(turns)["outcome"]
    assert "HTTP status 503" in of(turns)["error"]["message"]


@each
def test_no_connection_is_an_error(post, turns):
    """The very exception reaches the caller, without a frame of ours in its traceback."""
    import traceback

    moa.instrument(EVERY)
    with pytest.raises(
        (httpx.ConnectError, httpx2.ConnectError, requests.ConnectionError, aiohttp.ClientError)
    ) as caught:
        post("http://127.0.0.1:9/v1/chat/completions", json=BODY)
    files = {frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)}
    assert not [file for file in files if "moa_middleware/_capture" in file]
    assert ("error", type(caught.value).__name__) == (
        of(turns)["outcome"],
        of(turns)["error"]["type"].rpartition(".")[2],
    )


def test_a_stream_that_breaks_off_is_an_error(turns):
    """The text so far is kept."""
    with ScriptedServer({}, default=Script(pieces=PIECES, break_after=2)) as broken:
        url = f"{broken.base_url}/chat/completions"
        moa.instrument(EVERY)
        body = {**BODY, "stream": True}
        with pytest.raises(requests.RequestException):
            list(requests.post(url, json=body, stream=True).iter_lines())
        with pytest.raises(httpx.HTTPError), httpx.stream("POST", url, json=body, verify=TLS) as response:
            list(response.iter_lines())
        with pytest.raises(aiohttp.ClientError):
            _aiohttp(url, json=body)
    assert ["error"] * 3 == [turn["aggregator"]["outcome"] for turn in turns]
    assert ["One two "] * 3 == [turn["aggregator"]["output"] for turn in turns]


def test_a_stream_that_is_dropped_ends(url, turns):
    """It is never closed; the record has what was read."""
    import gc

    moa.instrument(EVERY)
    response = requests.post(url, json={**BODY, "stream": True}, stream=True)
    next(response.iter_lines())
    del response
    gc.collect()
    assert "abandoned" == of(turns)["outcome"]


# Middleware --------------------------------------------------------------------------------------


@each
def test_a_middleware_sees_the_call(post, url, turns):
    """Its request, and its reply when the body is there."""
    seen = []

    def watch(call):
        reply = yield call
        seen.append((call.model, call.messages, call.provider, reply.text))

    moa.configure(middleware=[watch])
    moa.instrument(EVERY)
    post(url, json=BODY)
    assert [("m", BODY["messages"], "127.0.0.1", TEXT)] == seen
    assert TEXT == of(turns)["output"]


@each
def test_a_middleware_may_send_again(post, url, turns, server):
    """The same request, and the caller gets the last response."""

    def again(call):
        yield call
        yield call

    moa.configure(middleware=[again])
    moa.instrument(EVERY)
    before = len(server.received)
    if post is _aiohttp:
        return  # its body is read by the caller, and then it is too late to send again
    assert 200 == post(url, json=BODY).status_code
    assert 2 == len(server.received) - before


@each
def test_a_middleware_may_not_change_the_request(post, url, turns, server):
    """The bytes are made already: an error, and nothing is sent."""

    def change(call):
        yield call.replace(messages=[{"role": "user", "content": "other"}])

    moa.configure(middleware=[change])
    moa.instrument(EVERY)
    before = len(server.received)
    with pytest.raises(moa.RequestError, match="body is made already"):
        post(url, json=BODY)
    assert before == len(server.received)


@each
def test_a_middleware_may_not_answer(post, url, turns):
    """There is no response of the client to give to the caller."""

    def answer(call):
        return moa.Reply(text="from a cache")

    moa.configure(middleware=[answer])
    moa.instrument(EVERY)
    with pytest.raises(moa.ReplyFormError, match="needs a response of that client"):
        post(url, json=BODY)


# Put in place and taken away ----------------------------------------------------------------------


OWNERS = [("Client", "send"), ("AsyncClient", "send"), ("Session", "send"), ("ClientSession", "_request")]


@pytest.mark.parametrize("name", ["httpx", "httpx2", "requests", "aiohttp"])
def test_it_is_undone(name):
    """The methods are the originals again."""
    module = importlib.import_module(name)
    found = [(getattr(module, kind), method) for kind, method in OWNERS if hasattr(module, kind)]
    before = [vars(kind)[method] for kind, method in found]
    moa.instrument(name)
    assert len(found) == len(moa.instrumented(name))
    assert not any(vars(kind)[method] is had for (kind, method), had in zip(found, before, strict=True))
    moa.uninstrument(name)
    assert () == moa.instrumented(name)
    assert all(vars(kind)[method] is had for (kind, method), had in zip(found, before, strict=True))


def test_nothing_is_imported_for_it(tmp_path):
    """A client that the program imports later is patched then; a request is not looked at while nothing is recorded."""
    import subprocess

    program = (
        "import sys, moa_middleware as moa\n"
        "moa.instrument('httpx,httpx2,requests,aiohttp')\n"
        "assert not {'httpx', 'httpx2', 'requests', 'aiohttp'} & sys.modules.keys()\n"
        "import requests\n"
        "print(moa.instrumented('requests,httpx'))\n"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert "('requests.Session.send',)" == found.stdout.strip()


@each
def test_off_the_request_is_not_read(post, url):
    """Without a recording nothing is parsed, and the response is of the client's own class."""
    moa.instrument(EVERY)
    moa.configure(save_traces=False)
    response = post(url, json=BODY)
    assert "_moa_body" not in vars(response)
    with capture_turns() as turns:
        pass
    assert [] == turns
