"""Real web servers on a free port of loopback, and clients that read to the end or hang up."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import threading
import time

import moa_middleware as moa

HOST = "127.0.0.1"


@moa.aggregator(label="answer")
def endless(messages):
    """Answer for ten seconds, unless the reader stops before."""
    for number in range(1_000):
        time.sleep(0.01)
        yield f"<{number}>"


@moa.aggregator(label="answer")
async def endless_async(messages):
    """Answer for ten seconds, unless the reader stops before."""
    for number in range(1_000):
        await asyncio.sleep(0.01)
        yield f"<{number}>"


@contextlib.contextmanager
def uvicorn_of(app, **config):
    """Serve an ASGI application by uvicorn in a thread; gives its port."""
    import uvicorn

    listening = socket.create_server((HOST, 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off", **config))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        assert until(lambda: server.started)
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()
    assert not thread.is_alive()


@contextlib.contextmanager
def werkzeug_of(app):
    """Serve a WSGI application by Werkzeug's own server, a thread a request; gives its port."""
    import logging

    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    server = make_server(HOST, 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.port
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()
    assert not thread.is_alive()


def get(port, path="/", **headers):
    """Return status, headers and body of a whole response."""
    connection = http.client.HTTPConnection(HOST, port, timeout=10)
    try:
        connection.request("GET", path, headers=headers)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def hang_up(port, path="/", *, after):
    """Ask for a response, and close the connection when `after` has come."""
    with socket.create_connection((HOST, port), timeout=10) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        data = b""
        while after not in data:
            piece = sock.recv(4096)
            assert piece, data
            data += piece
    return data


def until(is_there, seconds=10.0):
    """Wait until something is there; returns whether it is."""
    deadline = time.monotonic() + seconds
    while not is_there():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True
