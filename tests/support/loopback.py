"""A server on 127.0.0.1 that answers with the bytes that a test says, for SDKs that take no transport."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Answer(NamedTuple):
    """What the server sends."""

    pieces: list
    """Bytes, each written by itself."""
    kind: str = "application/json"
    status: int = 200
    headers: dict | None = None
    cut: bool = False
    """True if the connection is lost after the last piece."""


class Loopback:
    """
    A server, for a `with`.

    Args:
        answer: A function of the path and the JSON of a request that returns an `Answer`.
    """

    def __init__(self, answer):
        self.answer = answer
        self.requests = []
        """Path and JSON of each request."""
        loopback = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                asked = json.loads(body) if body else None
                loopback.requests.append((self.path, asked))
                answer = loopback.answer(self.path, asked)
                self.send_response(answer.status)
                self.send_header("content-type", answer.kind)
                for name, value in (answer.headers or {}).items():
                    self.send_header(name, value)
                length = sum(map(len, answer.pieces))
                self.send_header("content-length", str(length + (10 if answer.cut else 0)))
                self.end_headers()
                try:
                    for piece in answer.pieces:
                        self.wfile.write(piece)
                        self.wfile.flush()
                except OSError:  # the client has left
                    self.close_connection = True
                if answer.cut:
                    self.close_connection = True

            def log_message(self, *_):
                """Write nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        # 10 ms: how often the server looks whether it is to stop.
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()
