"""How a test asks a provider's SDK for a reply with more than text, and what the record has of it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json

import moa_middleware as moa
from moa_middleware.records import EMPTY_CALL
from moa_middleware.testing import capture_turns

from . import Form, taken, taken_async

WAYS = [(is_async, streamed) for is_async in (False, True) for streamed in (False, True)]


def _run(connect, form, most, *, traced):
    with connect(is_async=form.is_async) as client:
        if not form.is_async:
            return taken(form, moa.instrument(client) if traced else client, most)

        async def ask():
            opened = client() if callable(client) and not hasattr(client, "chat") else contextlib.nullcontext(client)
            async with opened as one:
                return await taken_async(form, moa.instrument(one) if traced else one, most)

        return asyncio.run(ask())


def recorded(connect, ask, *, is_async=False, streamed=False, most=None, chunks_of=None, read=None):
    """
    Return the record of a call, whose caller sees the same without the library.

    Args:
        connect: A function of `is_async` that returns a context manager of a client.
        ask: A function of a client that returns what the SDK returns.
        is_async: Whether the client is an async one.
        streamed: Whether a stream is returned.
        most: After how many chunks it is left.
        chunks_of: See `Form`.
        read: See `Form`.
    """
    form = Form("ask", ask, is_async, streamed, lambda _: "", chunks_of, read)
    bare = repr(_run(connect, form, most, traced=False)[0])
    with capture_turns() as turns:
        objects, _ = _run(connect, form, most, traced=True)
        seen = repr(objects)
        del objects
        if not turns:
            gc.collect()
    moa.uninstrument()
    assert "<" in bare or bare == seen
    [turn] = turns
    assert not turn["instrumentation_errors"]
    assert "iVBORw0K" not in json.dumps(turn)
    [call] = [*turn["references"], *([turn["aggregator"]] if turn["aggregator"] else []), *turn["calls"]]
    assert "raw" not in call
    return call


def further(call):
    """Return the keys of a record that are not always there."""
    return {key: value for key, value in call.items() if key not in EMPTY_CALL}
