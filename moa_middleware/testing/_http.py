"""The HTTP side of the scripted server: the listening socket, its connections, and the performance of a script.

It must not know what a script says in which API: the wires do. It binds 127.0.0.1 only, looks no name up and prints
nothing.
"""

from __future__ import annotations

import json
import socket
import socketserver
import threading
import time
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from moa_middleware.testing import _wire_chat, _wire_messages, _wire_responses
from moa_middleware.testing._book import Answer, Book, Received
from moa_middleware.testing._script import Script, dump
from moa_middleware.testing._wire import Event, Exchange, Wire

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["WIRES", "Http"]

WIRES: tuple[Wire, ...] = (_wire_chat, _wire_responses, _wire_messages)

_JOIN_SECONDS = 2.0
_SSE = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "Transfer-Encoding": "chunked"}


class Http(ThreadingHTTPServer):
    """The listening socket, and every open connection with its thread."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, book: Book) -> None:
        self.connections: set[socket.socket] = set()
        self._handlers: list[threading.Thread] = []
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), partial(_Handler, book))

    def server_bind(self) -> None:
        # HTTPServer's own would look up the host's name, which may ask a name server.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.socket.getsockname()[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        with self._lock:
            self.connections.add(request)
        thread.start()
        # The mixin remembers no daemon threads, so `stop` could not join them.
        self._handlers = [*(each for each in self._handlers if each.is_alive()), thread]

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: it is a client that went away, where the base class prints a traceback."""

    def hang_up(self) -> None:
        """Close all connections and join their threads, within 2 seconds; the accepting thread must have ended."""
        with self._lock:
            for connection in self.connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + _JOIN_SECONDS
        for thread in self._handlers:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))


class _Handler(BaseHTTPRequestHandler):
    """One connection: reads requests, performs scripts."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # each delta is a packet of its own, at once

    def __init__(self, book: Book, *args: Any) -> None:
        self._book = book
        super().__init__(*args)  # serves the connection to its end

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base class
        """Stay silent, where the base class prints."""

    def serve(self) -> None:
        body = self._receive()
        path = self.path.partition("?")[0]
        wire = next((wire for wire in WIRES if path.endswith(wire.PATH)), None)
        if self.command == "POST" and wire is not None:
            self._answer(wire, body)
        elif self.command == "GET" and path.endswith("/models"):
            models = [{"id": model, "object": "model", "created": 0, "owned_by": ""} for model in self._book.steps]
            self._write_json(200, {"object": "list", "data": models}, {})
        else:
            error = {"message": f"Invalid URL ({self.command} {self.path})"}
            self._write_json(404, _wire_chat.error(404, error), {})

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = serve  # noqa: N815 - http.server's names

    def _answer(self, wire: Wire, body: dict[str, Any] | None) -> None:
        request = body or {}
        answer = Answer(self._book, str(request.get("model", "")), request.get("stream") is True)
        try:
            self._perform(wire, self._book.script_for(body), answer, request)
        except OSError:
            self.close_connection = True
            answer.log(complete=False)

    def _perform(self, wire: Wire, script: Script, answer: Answer, request: dict[str, Any]) -> None:
        self._pause(script.delay)
        answer.status = script.status
        number = next(self._book.ids)
        request_id = f"req_{number}"
        headers = {wire.REQUEST_ID: request_id, **{name.lower(): value for name, value in script.headers.items()}}
        exchange = Exchange(script, request, f"{wire.ID}{number}", int(time.time()))
        if script.status != 200:  # noqa: PLR2004
            answer.log(complete=True)
            self._write_json(script.status, wire.error(script.status, script.error, request_id), headers)
        elif answer.streamed:
            self._write_head(200, _SSE, headers)
            self._stream(answer, wire.events(exchange))
        elif script.break_after is not None:
            answer.log(complete=False)
            self._cut()
        else:
            reply = wire.reply(exchange)
            answer.text, answer.usage = reply.text, reply.usage
            answer.log(complete=True)
            self._write_json(200, reply.body, headers)

    def _stream(self, answer: Answer, events: Iterable[Event]) -> None:
        for event in events:
            self._pause(event.pause)
            if event.last:
                answer.usage = event.usage or answer.usage
                answer.log(complete=event.whole, more=event.text)
            if event.data is None:
                self._cut()
                return
            self.wfile.write(_chunk(event))
            answer.text += event.text
            answer.usage = event.usage or answer.usage

    def _receive(self) -> dict[str, Any] | None:
        """Read and log the request; return its body if that is a JSON object."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        length = headers.get("content-length", "0")
        if "transfer-encoding" in headers or not length.isdecimal():
            # Where the body ends is unknown, so no other request can follow on this connection.
            self.close_connection = True
            length = "0"
        body: object = None
        with suppress(ValueError, RecursionError):
            body = json.loads(self.rfile.read(int(length)))
        known = body if isinstance(body, dict) else None
        with self._book.lock:
            self._book.received.append(Received(self.path, headers, known or {}, time.time()))
        return known

    def _write_json(self, status: int, payload: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        data = dump(payload).encode()
        self._write_head(status, {"Content-Type": "application/json", "Content-Length": str(len(data))}, headers)
        self.wfile.write(data)

    def _write_head(self, status: int, ours: Mapping[str, str], scripted: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**ours, **{name.title(): value for name, value in scripted.items()}}.items():
            self.send_header(name, value)
        self.end_headers()

    def _cut(self) -> None:
        """End the connection in mid-reply.

        By FIN, not RST: some kernels throw away what the client has not read yet when an RST comes, and the text so
        far shall arrive. The missing last chunk tells the client that the reply is broken.
        """
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def _pause(self, seconds: float) -> None:
        """Wait so many seconds, listening.

        A write to a client that went away succeeds once or twice; its FIN, or `stop`, can be seen here at once.

        Raises:
            OSError: The client went away.
        """
        deadline = time.monotonic() + seconds
        self.connection.settimeout(seconds)
        try:
            if not self.connection.recv(1, socket.MSG_PEEK):
                raise ConnectionAbortedError
        except (BlockingIOError, TimeoutError):
            return
        finally:
            self.connection.settimeout(None)
        # The client has sent its next request already, so there is nothing to listen for.
        time.sleep(max(0.0, deadline - time.monotonic()))


def _chunk(event: Event) -> bytes:
    """Return an event as SSE in a chunk of HTTP's chunked encoding, with the end of the reply after the last."""
    name = b"" if event.name is None else b"event: %b\n" % event.name.encode("utf-8", "surrogatepass")
    data = b"%bdata: %b\n\n" % (name, (event.data or "").encode("utf-8", "surrogatepass")) if event.data else b""
    end = b"0\r\n\r\n" if event.last else b""
    return b"%x\r\n%b\r\n%b" % (len(data), data, end) if data else end
