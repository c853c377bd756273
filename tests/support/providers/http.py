"""A mock transport of httpx for SDKs that take one."""

from __future__ import annotations

import json

import httpx


def _response(request, answer):
    body = json.loads(request.content) if request.content else None
    said = answer(request.url.path, body)
    return said, {"content-type": said.kind, **(said.headers or {})}


def transport(answer, http=httpx):
    """Return a transport for sync clients of a library: httpx, or one with the same names."""

    class Body(http.SyncByteStream):
        def __init__(self, said):
            self.said = said

        def __iter__(self):
            yield from self.said.pieces
            if self.said.cut:
                raise http.ReadError("connection lost")

    def respond(request):
        said, headers = _response(request, answer)
        return http.Response(said.status, headers=headers, stream=Body(said), request=request)

    return http.MockTransport(respond)


def async_transport(answer, http=httpx):
    """Return the same for async clients."""

    class Body(http.AsyncByteStream):
        def __init__(self, said):
            self.said = said

        async def __aiter__(self):
            for piece in self.said.pieces:
                yield piece
            if self.said.cut:
                raise http.ReadError("connection lost")

    async def respond(request):
        said, headers = _response(request, answer)
        return http.Response(said.status, headers=headers, stream=Body(said), request=request)

    return http.MockTransport(respond)
