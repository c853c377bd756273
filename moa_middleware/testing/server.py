"""A scripted server on loopback that speaks OpenAI's and Anthropic's APIs, for tests of programs that call models.

It is here so that a test can use the real SDK over a real socket, with replies, errors, delays and broken streams as
scripted, and can ask afterwards what was received and what was truly sent. It needs only the standard library, binds
127.0.0.1 only, looks no name up and prints nothing. It must not know this library's middleware, turns or traces: it
is the other side of the wire.

    with ScriptedServer({"gpt-4o": "Paris.", "slow": Script("Rome.", delay=0.2)}) as server:
        client = OpenAI(base_url=server.base_url, api_key="test", max_retries=0)
        claude = Anthropic(base_url=server.root_url, api_key="test", max_retries=0)
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING, Self

from moa_middleware.testing._book import Book, Received, Sent
from moa_middleware.testing._http import Http
from moa_middleware.testing._script import Script, ScriptLike

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Received", "Script", "ScriptLike", "ScriptedServer", "Sent"]

_POLL_SECONDS = 0.02  # how often the accepting thread looks whether `stop` was called


class ScriptedServer:
    """Serve scripts as models; use it in a `with`, or call `start` and `stop`.

    It answers `POST /v1/chat/completions` and `POST /v1/responses` in OpenAI's forms, `POST /v1/messages` in
    Anthropic's, as JSON or as SSE, and `GET /v1/models`. Whatever stands before the end of such a path is allowed, as
    Azure's paths and doubled `/v1` want it. A script that raises, or a function that returns none, is answered with
    status 500 and says so.

    Attributes:
        received: Every request, in the order of arrival.
        sent: Every answer of a model, in the order in which they ended.
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
        self._book = Book(scripts, default)
        self.received: list[Received] = self._book.received
        self.sent: list[Sent] = self._book.sent
        self._lock = threading.Lock()
        self._http: Http | None = None
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
    def root_url(self) -> str:
        """Return "http://127.0.0.1:PORT", as Anthropic's SDK wants it; also after `stop`.

        Raises:
            RuntimeError: The server was never started.
        """
        return self.base_url.removesuffix("/v1")

    @property
    def open_connections(self) -> int:
        """Return how many clients' sockets are open now."""
        http = self._http
        return 0 if http is None else len(http.connections)

    def start(self) -> Self:
        """Bind a free port and serve on daemon threads; started already, do nothing. A restart binds a new port."""
        with self._lock:
            if self._http is None:
                self._http = Http(self._book)
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
