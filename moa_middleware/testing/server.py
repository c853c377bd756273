"""A scripted OpenAI-compatible server on loopback, for tests and demonstrations of programs that call models.

It is here so that a test can use the real SDK over a real socket, with replies, errors, delays and broken streams as
scripted, and can ask afterwards what was received and what was truly sent. It needs only the standard library, binds
127.0.0.1 only, looks no name up and prints nothing. It must not know this library's middleware, turns or traces: it
is the other side of the wire.

    with ScriptedServer({"gpt-4o": "Paris.", "slow": Script("Rome.", delay=0.2)}) as server:
        client = OpenAI(base_url=server.base_url, api_key="test", max_retries=0)
"""

from __future__ import annotations

import copy
import json
import socket
import socketserver
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any, Self

from moa_middleware.testing import _script
from moa_middleware.testing._script import Script, ScriptLike

__all__ = ["Received", "Script", "ScriptLike", "ScriptedServer", "Sent"]

_JOIN_SECONDS = 2.0
_POLL_SECONDS = 0.02  # how often the accepting thread looks whether `stop` was called
_SSE = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache", "Transfer-Encoding": "chunked"}


@dataclass(frozen=True, slots=True)
class Received:
    """One request, as it came.

    Attributes:
        path: With its query.
        headers: Names in lower case. Not in the repr, since a test's output must not show a key that the SDK took
            from the environment.
        body: The decoded JSON object; empty if there was none or it was bad.
        at: When it was read, in epoch seconds.
    """

    path: str
    headers: dict[str, str] = field(repr=False)
    body: dict[str, Any]
    at: float


@dataclass(frozen=True, slots=True)
class Sent:
    """One answer to a chat completion, logged before its last byte goes out: who read the end finds it here.

    Attributes:
        model: The model that was asked for; empty if the request named none.
        text: The text of the first choice, as far as it was sent.
        usage: The usage that was sent, None if none was.
        status: HTTP status; 200 also for a connection cut before the first byte.
        streamed: The request asked for a stream.
        complete: False if the client went away before the end or the script broke the reply off. What fits the
            kernel's buffers counts as sent.
        at: When it ended, in epoch seconds.
    """

    model: str
    text: str
    usage: Mapping[str, Any] | None
    status: int
    streamed: bool
    complete: bool
    at: float


class ScriptedServer:
    """Serve scripts as models; use it in a `with`, or call `start` and `stop`.

    It answers `POST /v1/chat/completions`, as JSON or as SSE, and `GET /v1/models`. A script that raises, or a
    function that returns none, is answered with status 500 and says so.

    Attributes:
        received: Every request, in the order of arrival.
        sent: Every answer to a chat completion, in the order in which they ended.
    """

    def __init__(self, scripts: Mapping[str, ScriptLike], *, default: ScriptLike | None = None) -> None:
        """Check the scripts; nothing is bound yet.

        Args:
            scripts: What each model does: a `Script`, its text, a function from the decoded body to one of these, or
                a sequence of such steps, one a request, of which the last repeats.
            default: What every other model does, each from the first step on. None: it is not found (404).

        Raises:
            TypeError: A script, or a field of it, has the wrong type; the message names the model.
            ValueError: A field of a script has an impossible value; the message names the model.
        """
        self._book = _Book(scripts, default)
        self.received: list[Received] = self._book.received
        self.sent: list[Sent] = self._book.sent
        self._lock = threading.Lock()
        self._http: _Http | None = None
        self._thread: threading.Thread | None = None
        self._base_url = ""

    @property
    def base_url(self) -> str:
        """Return "http://127.0.0.1:PORT/v1", also after `stop`.

        Raises:
            RuntimeError: The server was never started.
        """
        if not self._base_url:
            message = "ScriptedServer is not started: use it in a `with`, or call `start()` first"
            raise RuntimeError(message)
        return self._base_url

    @property
    def open_connections(self) -> int:
        """Return how many clients' sockets are open now."""
        http = self._http
        return 0 if http is None else len(http.connections)

    def start(self) -> Self:
        """Bind a free port and serve on daemon threads; started already, do nothing. A restart binds a new port."""
        with self._lock:
            if self._http is None:
                self._http = _Http(self._book)
                self._base_url = f"http://127.0.0.1:{self._http.server_port}/v1"
                serve = partial(self._http.serve_forever, poll_interval=_POLL_SECONDS)
                self._thread = threading.Thread(target=serve, name="moa-scripted-server", daemon=True)
                self._thread.start()
        return self

    def stop(self) -> None:
        """Close every socket and end every thread; stopped already, do nothing.

        A delay ends at once. Only a script's own `wait` or function cannot be interrupted: after 2 seconds its
        thread, a daemon, is left to it.
        """
        with self._lock:
            http, thread = self._http, self._thread
            self._http = self._thread = None
        if http is not None and thread is not None:
            http.shutdown()
            thread.join()
            http.server_close()
            http.hang_up()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *error: object) -> None:
        """Stop."""
        self.stop()


class _Book:
    """The scripts and the logs: what all connections share."""

    def __init__(self, scripts: Mapping[str, ScriptLike], default: ScriptLike | None) -> None:
        if not isinstance(scripts, Mapping) or not all(isinstance(model, str) for model in scripts):
            message = f"ScriptedServer: `scripts` must map models' names to scripts, not {scripts!r}"
            raise TypeError(message)
        self.steps = {name: _script.as_steps(script, f"script of model {name!r}") for name, script in scripts.items()}
        self.default = None if default is None else _script.as_steps(default, "default script")
        self.received: list[Received] = []
        self.sent: list[Sent] = []
        self.lock = threading.Lock()
        self.ids = count(1)
        self._used: Counter[str] = Counter()

    def script_for(self, body: dict[str, Any] | None) -> Script:
        """Return what to do about a request, after the script's `wait`; what went wrong is a script as well."""
        model = None if body is None else body.get("model")
        if body is None or not isinstance(model, str):
            return _refusal(400, "The body must be a JSON object whose `model` is a string")
        steps = self.steps.get(model, self.default)
        if steps is None:
            scripted = ", ".join(map(repr, self.steps)) or "none"
            return _refusal(404, f"The model {model!r} does not exist; scripted are: {scripted}", "model_not_found")
        with self.lock:
            step = steps[min(self._used[model], len(steps) - 1)]
            self._used[model] += 1
        where = f"script of model {model!r}"
        try:
            # The function may change its argument, the log must not follow.
            script = step if isinstance(step, Script) else _script.as_script(step(copy.deepcopy(body)), where)
            if script.wait is not None:
                script.wait()
        except BaseException as error:
            return _refusal(500, f"{where} raised {type(error).__name__}: {error}")
        return script


def _refusal(status: int, message: str, code: str | None = None) -> Script:
    return Script(status=status, error={"message": message, "code": code})


@dataclass(slots=True)
class _Answer:
    """What was sent of one answer so far."""

    book: _Book
    model: str
    streamed: bool
    status: int = 200
    text: str = ""
    usage: Mapping[str, Any] | None = None
    logged: Sent | None = None

    def log(self, *, complete: bool, more: str = "") -> None:
        """Write the log's entry, or correct it."""
        usage = None if self.usage is None else dict(self.usage)
        entry = Sent(self.model, self.text + more, usage, self.status, self.streamed, complete, time.time())
        with self.book.lock:
            if self.logged in self.book.sent:
                self.book.sent.remove(self.logged)
            self.book.sent.append(entry)
        self.logged = entry


class _Http(ThreadingHTTPServer):
    """The listening socket, and every open connection with its thread."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, book: _Book) -> None:
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

    def __init__(self, book: _Book, *args: Any) -> None:
        self._book = book
        super().__init__(*args)  # serves the connection to its end

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as in the base class
        """Stay silent, where the base class prints."""

    def serve(self) -> None:
        body = self._receive()
        match self.command, self.path.partition("?")[0]:
            case "POST", "/v1/chat/completions":
                self._chat(body)
            case "GET", "/v1/models":
                models = [{"id": model, "object": "model", "created": 0, "owned_by": ""} for model in self._book.steps]
                self._write_json(200, {"object": "list", "data": models}, {})
            case _:
                error = {"message": f"Invalid URL ({self.command} {self.path})"}
                self._write_json(404, _script.error_body(404, error), {})

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = serve  # noqa: N815 - http.server's names

    def _chat(self, body: dict[str, Any] | None) -> None:
        request = body or {}
        answer = _Answer(self._book, str(request.get("model", "")), request.get("stream") is True)
        try:
            self._perform(self._book.script_for(body), answer, request)
        except OSError:
            self.close_connection = True
            answer.log(complete=False)

    def _perform(self, script: Script, answer: _Answer, request: dict[str, Any]) -> None:
        self._pause(script.delay)
        answer.status = script.status
        reply = script, request, f"chatcmpl-{next(self._book.ids)}", int(time.time())
        if script.status != 200:  # noqa: PLR2004
            answer.log(complete=True)
            self._write_json(script.status, _script.error_body(script.status, script.error), script.headers)
        elif answer.streamed:
            self._write_head(200, _SSE, script.headers)
            self._stream(answer, _script.stream_events(*reply))
        elif script.break_after is not None:
            answer.log(complete=False)
            self._cut()
        else:
            payload = _script.reply_body(*reply)
            answer.text, answer.usage = (payload["choices"][0]["message"]["content"] or "", payload.get("usage"))
            answer.log(complete=True)
            self._write_json(200, payload, script.headers)

    def _stream(self, answer: _Answer, events: Iterable[_script.Event]) -> None:
        for event in events:
            self._pause(event.pause)
            if event.last:
                answer.log(complete=event.whole, more=event.text)
            if event.data is None:
                self._cut()
                return
            data = b"data: %b\n\n" % event.data.encode("utf-8", "surrogatepass")
            end = b"0\r\n\r\n" if event.last else b""
            self.wfile.write(b"%x\r\n%b\r\n%b" % (len(data), data, end))
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
        data = _script.dump(payload).encode()
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
