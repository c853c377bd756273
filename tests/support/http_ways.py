"""
Plain HTTP clients, as programs use them: each way asks a server for a form, reads it, and returns what the caller saw.

`Wire` is the server: a loopback socket that sends the bytes of the form at hand, one event a piece.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import ssl
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

MESSAGES = [{"role": "user", "content": "count"}]
# Making one takes longer than all that a test does with a client.
TLS = ssl.create_default_context()
ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "chat": ("/v1/chat/completions", {"model": "m", "messages": MESSAGES, "temperature": 0.5}),
    "text": ("/v1/completions", {"model": "m", "prompt": "count", "temperature": 0.5}),
    "responses": ("/v1/responses", {"model": "m", "input": "count", "temperature": 0.5}),
    "messages": ("/v1/messages", {"model": "m", "messages": MESSAGES, "max_tokens": 9, "temperature": 0.5}),
}
"""By API: the path, and the body."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wire: Any

    def do_POST(self):
        wire = self.wire
        wire.received.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
        form = wire.form
        self.send_response(form.status)
        self.send_header("content-type", "text/event-stream; charset=utf-8" if form.streamed else "application/json")
        self.send_header("transfer-encoding", "chunked")
        if form.status >= 400:
            self.send_header("x-request-id", "req-1")
            self.send_header("retry-after", "7.5")
        self.end_headers()
        try:
            for number, piece in enumerate(_pieces(form.body, streamed=form.streamed), 1):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
                self.wfile.flush()
                if wire.stop_after and piece.startswith(wire.marks) and number >= wire.stop_after:
                    wire.go.wait(10)
                    self.close_connection = True
                    return
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True

    def log_message(self, *_args):
        pass


def _pieces(body, *, streamed):
    if not streamed:
        half = len(body) // 2
        return [body[:half], body[half:]] if half else [body]
    for newline in (b"\r\n\r\n", b"\n\n"):
        if newline in body:
            return [block + newline for block in body.split(newline) if block]
    return [body]


class Wire:
    """A server on 127.0.0.1 that answers every request with the form at hand."""

    marks = (b"data:", b"event:", b":")

    def __init__(self):
        self.form: Any = None
        self.stop_after = 0
        """After so many pieces nothing more is sent, and the connection stays open."""
        self.go = threading.Event()
        self.received: list[Any] = []
        handler = type("Handler", (_Handler,), {"wire": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.root = f"http://user:canary-password@127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=partial(self.server.serve_forever, 0.02), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.go.set()
        self.server.shutdown()
        self.server.server_close()

    def asked(self, form):
        """Return URL and body of the request for a form."""
        self.form = form
        path, body = ASKED[form.api]
        return f"{self.root}{path}?key=canary-query", {**body, "stream": True} if form.streamed else body


class Way(NamedTuple):
    """One way to ask and to read."""

    client: str
    name: str
    run: Any
    is_async: bool
    streams: bool
    """Whether the body is read as it comes."""
    is_left: bool

    def __str__(self):
        return f"{self.client}-{self.name}"


WAYS: list[Way] = []


def way(*clients, is_async=False, streams=True, is_left=False):
    def add(fn):
        for client in clients:
            WAYS.append(Way(client, fn.__name__, fn, is_async, streams, is_left))
        return fn

    return add


def ask(how, wire, form, stop=0):
    """Ask for a form and read it in one way; returns what the caller saw."""
    url, body = wire.asked(form)
    seen: list[Any] = []
    wire.stop_after = stop
    module: Any = importlib.import_module(how.client)
    run = how.run(module, url, body, seen, *([stop] if how.is_left else ()))
    try:
        if how.is_async:
            asyncio.run(run)
    except Exception as error:
        seen.append(type(error).__qualname__)
    finally:
        wire.stop_after = 0
    return seen


def _note(seen, response, status):
    seen += [f"{type(response).__module__}.{type(response).__qualname__}", status]


def _is_last(line, seen, stop):
    """Note a line; returns True if enough events have been seen."""
    seen.append(line)
    marks = ("data:", b"data:")
    return sum(str(one)[:5] == "data:" or one[:5] in marks for one in seen if isinstance(one, str | bytes)) >= stop


# httpx --------------------------------------------------------------------------------------------


@way("httpx", "httpx2", streams=False)
def value(module, url, body, seen):
    response = module.post(url, json=body, verify=TLS)
    _note(seen, response, response.status_code)
    seen.append(response.content)


@way("httpx", "httpx2", streams=False)
def client_value(module, url, body, seen):
    with module.Client(verify=TLS) as client:
        response = client.request("POST", url, content=json.dumps(body).encode())
        _note(seen, response, response.status_code)
        seen.append(response.text)


def _streaming(module, url, body, seen, read):
    with module.stream("POST", url, json=body, verify=TLS) as response:
        _note(seen, response, response.status_code)
        seen += read(response)
        seen.append(response.is_closed)


@way("httpx", "httpx2")
def lines(module, url, body, seen):
    _streaming(module, url, body, seen, lambda response: response.iter_lines())


@way("httpx", "httpx2")
def bytes_(module, url, body, seen):
    _streaming(module, url, body, seen, lambda response: response.iter_bytes(7))


@way("httpx", "httpx2")
def raw(module, url, body, seen):
    _streaming(module, url, body, seen, lambda response: [b"".join(response.iter_raw())])


@way("httpx", "httpx2")
def text(module, url, body, seen):
    _streaming(module, url, body, seen, lambda response: ["".join(response.iter_text())])


@way("httpx", "httpx2")
def read(module, url, body, seen):
    _streaming(module, url, body, seen, lambda response: [response.read(), response.content])


@way("httpx", "httpx2")
def sent(module, url, body, seen):
    with module.Client(verify=TLS) as client:
        response = client.send(client.build_request("POST", url, json=body), stream=True)
        _note(seen, response, response.status_code)
        seen += response.iter_lines()
        response.close()


@way("httpx", "httpx2", is_left=True)
def left(module, url, body, seen, stop):
    with module.stream("POST", url, json=body, verify=TLS) as response:
        for line in response.iter_lines():
            if _is_last(line, seen, stop):
                break


@way("httpx", "httpx2", is_async=True, streams=False)
async def async_value(module, url, body, seen):
    async with module.AsyncClient(verify=TLS) as client:
        response = await client.post(url, json=body)
        _note(seen, response, response.status_code)
        seen.append(response.content)


async def _streaming_async(module, url, body, seen, read):
    async with module.AsyncClient(verify=TLS) as client, client.stream("POST", url, json=body) as response:
        _note(seen, response, response.status_code)
        await read(response)
        seen.append(response.is_closed)


@way("httpx", "httpx2", is_async=True)
async def async_lines(module, url, body, seen):
    async def read(response):
        seen.extend([line async for line in response.aiter_lines()])

    await _streaming_async(module, url, body, seen, read)


@way("httpx", "httpx2", is_async=True)
async def async_raw(module, url, body, seen):
    async def read(response):
        seen.append(b"".join([data async for data in response.aiter_raw()]))

    await _streaming_async(module, url, body, seen, read)


@way("httpx", "httpx2", is_async=True)
async def async_read(module, url, body, seen):
    async def read(response):
        seen.append(await response.aread())

    await _streaming_async(module, url, body, seen, read)


@way("httpx", "httpx2", is_async=True, is_left=True)
async def async_left(module, url, body, seen, stop):
    async with module.AsyncClient(verify=TLS) as client, client.stream("POST", url, json=body) as response:
        async for line in response.aiter_lines():
            if _is_last(line, seen, stop):
                break


# requests -----------------------------------------------------------------------------------------


@way("requests", streams=False)
def post(module, url, body, seen):
    response = module.post(url, json=body)
    _note(seen, response, response.status_code)
    seen.append(response.content)


@way("requests", streams=False)
def session(module, url, body, seen):
    with module.Session() as made:
        response = made.request("POST", url, data=json.dumps(body), headers={"content-type": "application/json"})
        _note(seen, response, response.status_code)
        seen.append(response.text)


@way("requests")
def iter_lines(module, url, body, seen):
    with module.post(url, json=body, stream=True) as response:
        _note(seen, response, response.status_code)
        seen += response.iter_lines()


@way("requests")
def iter_content(module, url, body, seen):
    response = module.post(url, json=body, stream=True)
    seen += response.iter_content(5)
    response.close()


@way("requests")
def iter_text(module, url, body, seen):
    response = module.post(url, json=body, stream=True)
    seen.append("".join(map(str, response.iter_content(9, decode_unicode=True))))
    response.close()


@way("requests")
def content(module, url, body, seen):
    response = module.post(url, json=body, stream=True)
    seen += [response.content, response.content]


@way("requests")
def iterated(module, url, body, seen):
    seen += module.post(url, json=body, stream=True)


@way("requests", is_left=True)
def left_lines(module, url, body, seen, stop):
    with module.post(url, json=body, stream=True) as response:
        for line in response.iter_lines():
            if _is_last(line, seen, stop):
                break


# aiohttp ------------------------------------------------------------------------------------------


@way("aiohttp", is_async=True)
async def bytes_read(module, url, body, seen):
    async with module.ClientSession() as made, made.post(url, json=body) as response:
        _note(seen, response, response.status)
        seen.append(await response.read())


@way("aiohttp", is_async=True)
async def text_read(module, url, body, seen):
    async with module.ClientSession() as made:
        response = await made.request("POST", url, data=json.dumps(body).encode())
        seen.append(await response.text())
        seen.append(response.closed)


async def _reading(module, url, body, seen, read):
    async with module.ClientSession() as made, made.post(url, json=body) as response:
        _note(seen, response, response.status)
        seen.append(f"{type(response.content).__module__}.{type(response.content).__qualname__}")
        await read(response.content)


@way("aiohttp", is_async=True)
async def content_lines(module, url, body, seen):
    async def read(stream):
        seen.extend([line async for line in stream])

    await _reading(module, url, body, seen, read)


@way("aiohttp", is_async=True)
async def iter_any(module, url, body, seen):
    async def read(stream):
        seen.append(b"".join([data async for data in stream.iter_any()]))

    await _reading(module, url, body, seen, read)


@way("aiohttp", is_async=True)
async def iter_chunked(module, url, body, seen):
    async def read(stream):
        seen.append(b"".join([data async for data in stream.iter_chunked(11)]))

    await _reading(module, url, body, seen, read)


@way("aiohttp", is_async=True)
async def iter_chunks(module, url, body, seen):
    async def read(stream):
        seen.append(b"".join([data async for data, _ in stream.iter_chunks()]))

    await _reading(module, url, body, seen, read)


@way("aiohttp", is_async=True)
async def read_pieces(module, url, body, seen):
    async def read(stream):
        pieces = []
        while data := await stream.read(13):
            pieces.append(data)
        seen.append(b"".join(pieces))

    await _reading(module, url, body, seen, read)


@way("aiohttp", is_async=True, is_left=True)
async def left_content(module, url, body, seen, stop):
    async with module.ClientSession() as made, made.post(url, json=body) as response:
        async for line in response.content:
            if _is_last(line, seen, stop):
                break
