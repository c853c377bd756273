"""Scenarios of the other forms of a call: stream managers and raw responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._plan import Plan
from ._scenario import ConsumerError, scenario

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._caller import ClientCall, User

__all__: list[str] = []

# Managers. ----------------------------------------------------------------------------------------


async def _managed(user: User, plan: Plan | None = None) -> ClientCall:
    client_call = user.prepare(plan)
    await client_call.begin(lambda: user.harness.manager(user.client, client_call.messages))
    return client_call


@scenario("manager")
async def manager_read(user: User) -> None:
    """Enter a manager and read its events."""
    client_call = await _managed(user)
    async with client_call.within():
        await client_call.read()
    client_call.ends("completed", counted=False)


@scenario("manager")
async def manager_asked_for_the_whole(user: User) -> None:
    """Enter a manager and ask for the whole reply, without reading."""
    client_call = await _managed(user)
    async with client_call.within():
        client_call.take_value(await client_call.settled(user.harness.final_of(client_call.got)))
    client_call.ends("completed", counted=False)


@scenario("manager")
async def manager_read_then_asked_for_the_whole(user: User) -> None:
    """Enter a manager, read two pieces, then ask for the whole reply."""
    client_call = await _managed(user)
    async with client_call.within():
        await client_call.read(2)
        client_call.take_value(await client_call.settled(user.harness.final_of(client_call.got)))
    client_call.ends("completed", counted=False)


@scenario("manager", "until_done")
async def manager_until_done(user: User) -> None:
    """Enter a manager and let it run to its end."""
    client_call = await _managed(user)
    async with client_call.within():
        await client_call.settled(client_call.got.until_done())
        client_call.take_value(await client_call.settled(user.harness.final_of(client_call.got)))
    client_call.ends("completed", counted=False)


@scenario("manager")
async def manager_left_early(user: User) -> None:
    """Leave a manager after two pieces."""
    client_call = await _managed(user)
    async with client_call.within():
        await client_call.read(2)
    client_call.ends("closed", counted=False)


@scenario("manager")
async def manager_raised_in(user: User) -> None:
    """Raise inside a manager after two pieces."""
    client_call = await _managed(user)
    with client_call.catching():
        async with client_call.within():
            await client_call.read(2)
            raise ConsumerError("mine")
    client_call.ends("consumer_error", counted=False)


@scenario("manager", "cut")
async def manager_cut(user: User) -> None:
    """Lose the connection inside a manager."""
    client_call = await _managed(user, Plan(stop="cut", after=2))
    with client_call.catching():
        async with client_call.within():
            await client_call.read()
    client_call.ends("error", counted=False)


@scenario("manager", "refused")
async def manager_refused(user: User) -> None:
    """Get an error in place of a manager's stream."""
    client_call = await _managed(user, Plan(stop="refused"))
    with client_call.catching():
        async with client_call.within():
            await client_call.read()
    client_call.ends("error", streamed=None, counted=False)


# Raw responses. -----------------------------------------------------------------------------------


async def _raw(user: User, *, stream: bool, plan: Plan | None = None) -> ClientCall:
    client_call = user.prepare(plan, stream=stream)
    await client_call.begin(lambda: user.harness.raw(user.client, client_call.messages, stream=stream))
    _head(client_call, client_call.got)
    return client_call


def _head(client_call: ClientCall, response: Any) -> None:
    headers = {name.lower(): value for name, value in response.headers.items()}
    headers.pop("date", None)
    client_call.note("headers", headers)
    client_call.note("status", response.status_code)


async def _parse(client_call: ClientCall, response: Any) -> Any:
    parsed = await client_call.settled(response.parse())
    client_call.look(parsed, "parsed")
    return parsed


@scenario("raw", "value")
async def raw_value_parsed(user: User) -> None:
    """Get a raw response with a whole reply, and parse it twice."""
    client_call = await _raw(user, stream=False)
    value = await _parse(client_call, client_call.got)
    client_call.take_value(value)
    client_call.note("parsed is kept", value is await client_call.settled(client_call.got.parse()))
    client_call.ends("completed")


@scenario("raw", "value")
async def raw_value_not_parsed(user: User) -> None:
    """Get a raw response with a whole reply, and look at its headers only."""
    client_call = await _raw(user, stream=False)
    client_call.text = client_call.plan.text
    client_call.ends("completed")


@scenario("raw", "value", "refused")
async def raw_value_refused(user: User) -> None:
    """Get an error in place of a raw response."""
    client_call = user.prepare(Plan(stop="refused"), stream=False)
    with client_call.catching():
        await client_call.begin(lambda: user.harness.raw(user.client, client_call.messages, stream=False))
    client_call.ends("error")


@scenario("raw", "stream")
async def raw_stream_parsed(user: User) -> None:
    """Get a raw response with a stream, parse it and read."""
    client_call = await _raw(user, stream=True)
    client_call.got = await _parse(client_call, client_call.got)
    await client_call.read()
    client_call.ends("completed")


@scenario("raw", "stream")
async def raw_stream_broken_off(user: User) -> None:
    """Get a raw response with a stream, parse it, read two pieces and forget it."""
    client_call = await _raw(user, stream=True)
    client_call.got = await _parse(client_call, client_call.got)
    await client_call.read(2)
    await client_call.drop()
    client_call.ends("abandoned")


@scenario("raw", "stream", "close")
async def raw_stream_closed(user: User) -> None:
    """Get a raw response with a stream, parse it, read two pieces and close it."""
    client_call = await _raw(user, stream=True)
    client_call.got = await _parse(client_call, client_call.got)
    await client_call.read(2)
    await client_call.close()
    client_call.ends("closed")


@scenario("raw", "stream", "cut")
async def raw_stream_cut(user: User) -> None:
    """Get a raw response with a stream, parse it, and lose the connection."""
    client_call = await _raw(user, stream=True, plan=Plan(stop="cut", after=2))
    client_call.got = await _parse(client_call, client_call.got)
    with client_call.catching():
        await client_call.read()
    client_call.ends("error")


# Responses that are read by the caller. -----------------------------------------------------------


async def _response(
    user: User, *, stream: bool, use: Callable[[ClientCall], Any], plan: Plan | None = None
) -> ClientCall:
    """Enter the manager of a response, look at its head, and let `use` use it."""
    client_call = user.prepare(plan, stream=stream)
    await client_call.begin(lambda: user.harness.raw_stream(user.client, client_call.messages, stream=stream))
    async with client_call.within():
        _head(client_call, client_call.got)
        kept = await use(client_call)
    del kept
    return client_call


async def _read_value(client_call: ClientCall) -> None:
    client_call.take_value(await _parse(client_call, client_call.got))


async def _read_stream(client_call: ClientCall, pieces: int | None = None) -> Any:
    """Return the stream, which the caller holds until the response is left."""
    response, client_call.got = client_call.got, await _parse(client_call, client_call.got)
    await client_call.read(pieces)
    client_call.got, stream = response, client_call.got
    return stream


async def _read_bytes(client_call: ClientCall) -> None:
    data = await client_call.settled(client_call.got.read())
    client_call.note("bytes", client_call.user.harness.clean(data.decode()))
    client_call.text = client_call.plan.text


async def _read_lines(client_call: ClientCall) -> None:
    lines = client_call.got.iter_lines()
    found = [line async for line in lines] if client_call.user.is_async else list(lines)
    client_call.note("lines", [client_call.user.harness.clean(line) for line in found])
    client_call.text = client_call.plan.text


@scenario("raw_stream", "value")
async def response_parsed(user: User) -> None:
    """Enter a response with a whole reply, and parse it."""
    client_call = await _response(user, stream=False, use=_read_value)
    client_call.ends("completed")


@scenario("raw_stream", "value")
async def response_read_as_bytes(user: User) -> None:
    """Enter a response with a whole reply, and read its bytes."""
    client_call = await _response(user, stream=False, use=_read_bytes)
    client_call.ends("completed")


@scenario("raw_stream", "stream")
async def response_with_a_stream_parsed(user: User) -> None:
    """Enter a response with a stream, parse it and read."""
    client_call = await _response(user, stream=True, use=_read_stream)
    client_call.ends("completed")


@scenario("raw_stream", "stream")
async def response_with_a_stream_left_early(user: User) -> None:
    """Enter a response with a stream, parse it, and leave after two pieces."""
    client_call = await _response(user, stream=True, use=lambda client_call: _read_stream(client_call, 2))
    client_call.ends("closed")


@scenario("raw_stream", "stream")
async def response_with_a_stream_read_by_lines(user: User) -> None:
    """Enter a response with a stream, and read its lines."""
    client_call = await _response(user, stream=True, use=_read_lines)
    client_call.ends("completed", counted=False)
