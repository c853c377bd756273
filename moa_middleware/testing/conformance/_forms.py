"""Scenarios of the other forms of a call: stream managers and raw responses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._plan import Plan
from ._scenario import ConsumerError, scenario

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._talk import Talk, User

__all__: list[str] = []

# Managers. ----------------------------------------------------------------------------------------


async def _managed(user: User, plan: Plan | None = None) -> Talk:
    talk = user.prepare(plan)
    await talk.begin(lambda: user.harness.manager(user.client, talk.messages))
    return talk


@scenario("manager")
async def manager_read(user: User) -> None:
    """Enter a manager and read its events."""
    talk = await _managed(user)
    async with talk.within():
        await talk.read()
    talk.ends("completed", counted=False)


@scenario("manager")
async def manager_asked_for_the_whole(user: User) -> None:
    """Enter a manager and ask for the whole reply, without reading."""
    talk = await _managed(user)
    async with talk.within():
        talk.take_value(await talk.settled(user.harness.final_of(talk.got)))
    talk.ends("completed", counted=False)


@scenario("manager")
async def manager_read_then_asked_for_the_whole(user: User) -> None:
    """Enter a manager, read two pieces, then ask for the whole reply."""
    talk = await _managed(user)
    async with talk.within():
        await talk.read(2)
        talk.take_value(await talk.settled(user.harness.final_of(talk.got)))
    talk.ends("completed", counted=False)


@scenario("manager", "until_done")
async def manager_until_done(user: User) -> None:
    """Enter a manager and let it run to its end."""
    talk = await _managed(user)
    async with talk.within():
        await talk.settled(talk.got.until_done())
        talk.take_value(await talk.settled(user.harness.final_of(talk.got)))
    talk.ends("completed", counted=False)


@scenario("manager")
async def manager_left_early(user: User) -> None:
    """Leave a manager after two pieces."""
    talk = await _managed(user)
    async with talk.within():
        await talk.read(2)
    talk.ends("closed", counted=False)


@scenario("manager")
async def manager_raised_in(user: User) -> None:
    """Raise inside a manager after two pieces."""
    talk = await _managed(user)
    with talk.catching():
        async with talk.within():
            await talk.read(2)
            raise ConsumerError("mine")
    talk.ends("consumer_error", counted=False)


@scenario("manager", "cut")
async def manager_cut(user: User) -> None:
    """Lose the connection inside a manager."""
    talk = await _managed(user, Plan(stop="cut", after=2))
    with talk.catching():
        async with talk.within():
            await talk.read()
    talk.ends("error", counted=False)


@scenario("manager", "refused")
async def manager_refused(user: User) -> None:
    """Get an error in place of a manager's stream."""
    talk = await _managed(user, Plan(stop="refused"))
    with talk.catching():
        async with talk.within():
            await talk.read()
    talk.ends("error", streamed=None, counted=False)


# Raw responses. -----------------------------------------------------------------------------------


async def _raw(user: User, *, stream: bool, plan: Plan | None = None) -> Talk:
    talk = user.prepare(plan, stream=stream)
    await talk.begin(lambda: user.harness.raw(user.client, talk.messages, stream=stream))
    _head(talk, talk.got)
    return talk


def _head(talk: Talk, response: Any) -> None:
    headers = {name.lower(): value for name, value in response.headers.items()}
    headers.pop("date", None)
    talk.note("headers", headers)
    talk.note("status", response.status_code)


async def _parse(talk: Talk, response: Any) -> Any:
    parsed = await talk.settled(response.parse())
    talk.look(parsed, "parsed")
    return parsed


@scenario("raw", "value")
async def raw_value_parsed(user: User) -> None:
    """Get a raw response with a whole reply, and parse it twice."""
    talk = await _raw(user, stream=False)
    value = await _parse(talk, talk.got)
    talk.take_value(value)
    talk.note("parsed is kept", value is await talk.settled(talk.got.parse()))
    talk.ends("completed")


@scenario("raw", "value")
async def raw_value_not_parsed(user: User) -> None:
    """Get a raw response with a whole reply, and look at its headers only."""
    talk = await _raw(user, stream=False)
    talk.text = talk.plan.text
    talk.ends("completed")


@scenario("raw", "value", "refused")
async def raw_value_refused(user: User) -> None:
    """Get an error in place of a raw response."""
    talk = user.prepare(Plan(stop="refused"), stream=False)
    with talk.catching():
        await talk.begin(lambda: user.harness.raw(user.client, talk.messages, stream=False))
    talk.ends("error")


@scenario("raw", "stream")
async def raw_stream_parsed(user: User) -> None:
    """Get a raw response with a stream, parse it and read."""
    talk = await _raw(user, stream=True)
    talk.got = await _parse(talk, talk.got)
    await talk.read()
    talk.ends("completed")


@scenario("raw", "stream")
async def raw_stream_broken_off(user: User) -> None:
    """Get a raw response with a stream, parse it, read two pieces and forget it."""
    talk = await _raw(user, stream=True)
    talk.got = await _parse(talk, talk.got)
    await talk.read(2)
    await talk.drop()
    talk.ends("abandoned")


@scenario("raw", "stream", "close")
async def raw_stream_closed(user: User) -> None:
    """Get a raw response with a stream, parse it, read two pieces and close it."""
    talk = await _raw(user, stream=True)
    talk.got = await _parse(talk, talk.got)
    await talk.read(2)
    await talk.close()
    talk.ends("closed")


@scenario("raw", "stream", "cut")
async def raw_stream_cut(user: User) -> None:
    """Get a raw response with a stream, parse it, and lose the connection."""
    talk = await _raw(user, stream=True, plan=Plan(stop="cut", after=2))
    talk.got = await _parse(talk, talk.got)
    with talk.catching():
        await talk.read()
    talk.ends("error")


# Responses that are read by the caller. -----------------------------------------------------------


async def _response(user: User, *, stream: bool, use: Callable[[Talk], Any], plan: Plan | None = None) -> Talk:
    """Enter the manager of a response, look at its head, and let `use` use it."""
    talk = user.prepare(plan, stream=stream)
    await talk.begin(lambda: user.harness.raw_stream(user.client, talk.messages, stream=stream))
    async with talk.within():
        _head(talk, talk.got)
        kept = await use(talk)
    del kept
    return talk


async def _read_value(talk: Talk) -> None:
    talk.take_value(await _parse(talk, talk.got))


async def _read_stream(talk: Talk, pieces: int | None = None) -> Any:
    """Return the stream, which the caller holds until the response is left."""
    response, talk.got = talk.got, await _parse(talk, talk.got)
    await talk.read(pieces)
    talk.got, stream = response, talk.got
    return stream


async def _read_bytes(talk: Talk) -> None:
    data = await talk.settled(talk.got.read())
    talk.note("bytes", talk.user.harness.clean(data.decode()))
    talk.text = talk.plan.text


async def _read_lines(talk: Talk) -> None:
    lines = talk.got.iter_lines()
    found = [line async for line in lines] if talk.user.is_async else list(lines)
    talk.note("lines", [talk.user.harness.clean(line) for line in found])
    talk.text = talk.plan.text


@scenario("raw_stream", "value")
async def response_parsed(user: User) -> None:
    """Enter a response with a whole reply, and parse it."""
    talk = await _response(user, stream=False, use=_read_value)
    talk.ends("completed")


@scenario("raw_stream", "value")
async def response_read_as_bytes(user: User) -> None:
    """Enter a response with a whole reply, and read its bytes."""
    talk = await _response(user, stream=False, use=_read_bytes)
    talk.ends("completed")


@scenario("raw_stream", "stream")
async def response_with_a_stream_parsed(user: User) -> None:
    """Enter a response with a stream, parse it and read."""
    talk = await _response(user, stream=True, use=_read_stream)
    talk.ends("completed")


@scenario("raw_stream", "stream")
async def response_with_a_stream_left_early(user: User) -> None:
    """Enter a response with a stream, parse it, and leave after two pieces."""
    talk = await _response(user, stream=True, use=lambda talk: _read_stream(talk, 2))
    talk.ends("closed")


@scenario("raw_stream", "stream")
async def response_with_a_stream_read_by_lines(user: User) -> None:
    """Enter a response with a stream, and read its lines."""
    talk = await _response(user, stream=True, use=_read_lines)
    talk.ends("completed", counted=False)
