"""Dependencies of FastAPI that open a turn: the endpoint's calls are inside, in whichever thread both run."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest.importorskip("fastapi", reason="web frameworks are in the group test")

import anyio
from fastapi import Depends, FastAPI
from fastapi.responses import StreamingResponse

import moa_middleware as moa
from tests.support.reference import outputs, reference
from tests.support.web import get, hang_up, until, uvicorn_of


def the_only(turns):
    assert until(lambda: turns)
    (record,) = turns
    return record


def sync_session(user: str = "u"):
    with moa.turn(session_id=f"s-{user}", tags={"user": user}):
        yield


async def async_session(user: str = "u"):
    with moa.turn(session_id=f"s-{user}", tags={"user": user}):
        yield


def sync_tag(user: str = "u"):
    with moa.tag(session_id=f"s-{user}", tags={"user": user}):
        yield


async def async_tag(user: str = "u"):
    with moa.tag(session_id=f"s-{user}", tags={"user": user}):
        yield


def app_with(*dependencies, wait=None):
    """Return an application whose endpoints have these dependencies."""
    app = FastAPI(dependencies=[Depends(dependency) for dependency in dependencies])

    @app.get("/sync")
    def sync_endpoint(user: str = "u"):
        for number in range(2):
            if wait is not None:
                wait()
            reference(f"{user}-{number}")("q?")

    @app.get("/async")
    async def async_endpoint(user: str = "u"):
        await asyncio.sleep(0.001)
        await asyncio.gather(*(asyncio.to_thread(reference(f"{user}-{n}"), "q?") for n in range(2)))

    @app.get("/decorated")
    @moa.turn
    def decorated(user: str = "u"):
        reference(f"{user}-0")("q?")
        return reference(f"{user}-1")("q?")

    @app.get("/stream")
    def stream(user: str = "u"):
        def body():
            for number in range(2):
                yield reference(f"{user}-{number}")("q?")

        return StreamingResponse(body(), media_type="text/plain")

    @app.get("/endless")
    def endless(user: str = "u"):
        def body():
            while True:
                reference(f"{user}-x")("q?")
                yield "<more>"

        return StreamingResponse(body(), media_type="text/plain")

    @app.get("/broken")
    def broken(user: str = "u"):
        reference(f"{user}-0")("q?")
        raise LookupError("no more")

    return app


@pytest.mark.parametrize("dependency", [sync_session, async_session], ids=["sync", "async"])
def test_a_dependency_passes_its_session_on(dependency, turns):
    """To a sync and an async endpoint, to a turn of its own, and to the body of a response."""
    with uvicorn_of(moa.asgi(app_with(dependency))) as port:
        for path in ("/sync", "/async", "/decorated", "/stream"):
            assert 200 == get(port, f"{path}?user=jane")[0]
            record = the_only(turns)
            assert ("s-jane", "jane") == (record["session_id"], record["tags"]["user"])
            assert ("completed", ["jane-0", "jane-1"]) == (record["outcome"], outputs(record))
            turns.clear()


@pytest.mark.parametrize("dependency", [sync_tag, async_tag], ids=["sync", "async"])
def test_a_dependency_passes_its_tags_on(dependency, turns):
    """To the turns that begin inside."""
    with uvicorn_of(moa.asgi(app_with(dependency))) as port:
        assert 200 == get(port, "/decorated?user=jane")[0]
    record = the_only(turns)
    assert ("s-jane", "jane") == (record["session_id"], record["tags"]["user"])


def preset():
    with moa.turn(preset="fast"):
        yield


async def async_preset():
    with moa.turn(preset="fast"):
        yield


@pytest.mark.parametrize(
    "dependencies",
    [(sync_session, preset), (async_session, preset), (sync_session, async_preset), (preset, sync_session)],
    ids=["sync, sync", "async, sync", "sync, async", "other way round"],
)
@pytest.mark.parametrize("path", ["/sync", "/async"])
def test_dependencies_add_up(dependencies, path, turns):
    """The inner one's turn holds the calls, and takes from the outer one what it does not name."""
    with uvicorn_of(moa.asgi(app_with(*dependencies))) as port:
        assert 200 == get(port, f"{path}?user=jane")[0]
    record = the_only(turns)
    assert ("s-jane", "fast", ["jane-0", "jane-1"]) == (record["session_id"], record["preset"], outputs(record))


@contextlib.contextmanager
def managed(user):
    with moa.turn(session_id=f"s-{user}", tags={"user": user}):
        yield


def by_manager(user: str = "u"):
    with managed(user):
        yield


def by_exit_stack(user: str = "u"):
    with contextlib.ExitStack() as stack:
        stack.enter_context(managed(user))
        yield


@pytest.mark.parametrize("dependency", [by_manager, by_exit_stack], ids=["manager", "exit stack"])
def test_a_dependency_may_enter_a_manager_of_its_own(dependency, turns):
    """The block is a generator further in."""
    with uvicorn_of(moa.asgi(app_with(dependency))) as port:
        assert 200 == get(port, "/sync?user=jane")[0]
    record = the_only(turns)
    assert ("s-jane", ["jane-0", "jane-1"]) == (record["session_id"], outputs(record))


def test_a_call_after_the_dependency_is_outside(turns):
    """What the request does when the dependency has been left is its own turn's again."""
    first = reference("within")
    app = FastAPI()

    def left_at_once():
        with moa.turn(session_id="left"):
            first("q?")
        yield

    @app.get("/")
    def endpoint(_=Depends(left_at_once)):
        reference("outside")("q?")

    with uvicorn_of(moa.asgi(app, session_id="request")) as port:
        assert 200 == get(port, "/")[0]
    assert until(lambda: len(turns) == 2)
    assert [("left", ["within"]), ("request", ["outside"])] == [(r["session_id"], outputs(r)) for r in turns]


@pytest.mark.parametrize("dependency", [sync_session, async_session], ids=["sync", "async"])
def test_an_endpoint_that_raises_fails_the_turn_of_its_dependency(dependency, turns):
    """FastAPI throws the exception into the dependency."""
    with uvicorn_of(moa.asgi(app_with(dependency))) as port:
        assert 500 == get(port, "/broken?user=jane")[0]
    record = the_only(turns)
    assert ("s-jane", "error", "LookupError") == (record["session_id"], record["outcome"], record["error"]["type"])


@pytest.mark.parametrize("dependency", [sync_session, async_session], ids=["sync", "async"])
def test_a_client_that_hangs_up_cancels_the_turn_of_its_dependency(dependency, turns):
    """FastAPI leaves the dependency without an exception then."""
    with uvicorn_of(moa.asgi(app_with(dependency))) as port:
        hang_up(port, "/endless?user=jane", after=b"<more>")
        record = the_only(turns)
    assert ("s-jane", "cancelled") == (record["session_id"], record["outcome"])
    assert {"jane-x"} == set(outputs(record))


@pytest.mark.parametrize("dependency", [sync_session, async_session], ids=["sync", "async"])
def test_twenty_requests_at_once_never_mix(dependency, turns):
    """All endpoints wait for each other between their calls."""
    barrier = threading.Barrier(20)
    names = [f"user-{number}" for number in range(20)]
    app = app_with(dependency, wait=lambda: barrier.wait(10))
    with uvicorn_of(moa.asgi(app)) as port, ThreadPoolExecutor(20) as pool:
        found = list(pool.map(lambda name: get(port, f"/sync?user={name}")[0], names))
    assert [200] * 20 == found
    assert until(lambda: len(turns) == 20)
    for record in turns:
        name = record["tags"]["user"]
        assert (f"s-{name}", [f"{name}-0", f"{name}-1"]) == (record["session_id"], outputs(record))
    assert sorted(names) == sorted(record["tags"]["user"] for record in turns)


def test_one_block_for_all_requests_closes_each_turn(turns):
    """A block that is made once keeps nothing of a single use."""
    block = moa.turn(session_id="shared")
    barrier = threading.Barrier(4)

    def shared():
        with block:
            yield

    with uvicorn_of(moa.asgi(app_with(shared, wait=lambda: barrier.wait(10)))) as port, ThreadPoolExecutor(4) as pool:
        assert [200] * 4 == list(pool.map(lambda n: get(port, f"/sync?user={n}")[0], range(4)))
    assert until(lambda: len(turns) == 4)
    assert [[f"{n}-0", f"{n}-1"] for n in range(4)] == sorted(outputs(record) for record in turns)
    assert {"completed"} == {record["outcome"] for record in turns}


@pytest.mark.parametrize("dependency", [sync_session, sync_tag], ids=["turn", "tag"])
def test_without_the_middleware_a_lost_session_is_logged(dependency, turns, caplog):
    """Once, with what to do; the calls are turns of their own."""
    with uvicorn_of(app_with(dependency)) as port, caplog.at_level(logging.WARNING, "moa_middleware"):
        for _ in range(2):
            assert 200 == get(port, "/sync?user=jane")[0]
    assert [None] * 4 == [record["session_id"] for record in turns]
    (event,) = [record.getMessage() for record in caplog.records]
    assert event.startswith("moa.block_not_passed_on ")
    assert "moa.asgi" in event
    assert "jane" not in event


def test_an_async_dependency_needs_no_middleware(turns, caplog):
    """It runs in the request's own context."""
    with uvicorn_of(app_with(async_session)) as port, caplog.at_level(logging.WARNING, "moa_middleware"):
        for path in ("/sync", "/async", "/decorated"):
            assert 200 == get(port, f"{path}?user=jane")[0]
    assert until(lambda: len(turns) == 3)
    assert [("s-jane", ["jane-0", "jane-1"])] * 3 == [(record["session_id"], outputs(record)) for record in turns]
    assert not caplog.records


def test_blocks_that_end_in_their_thread_touch_nothing(turns, caplog):
    """A plain function in a thread, and a context manager that it enters itself, hold their own calls alone."""
    barrier = threading.Barrier(3)

    def plain(name):
        with moa.turn(session_id=name):
            barrier.wait(10)
            reference(name)("q?")

    def by_manager(name):
        with managed(name):
            barrier.wait(10)
            reference(name)("q?")

    @managed("decorated")
    def by_decorator():
        barrier.wait(10)
        reference("decorated")("q?")

    app = FastAPI()

    @app.get("/")
    async def endpoint():
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.to_thread.run_sync, plain, "plain")
            group.start_soon(anyio.to_thread.run_sync, by_manager, "managed")
            group.start_soon(anyio.to_thread.run_sync, by_decorator)
        reference("outside")("q?")

    with uvicorn_of(moa.asgi(app, session_id="request")) as port:
        with caplog.at_level(logging.WARNING, "moa_middleware"):
            assert 200 == get(port, "/")[0]
    assert until(lambda: len(turns) == 4)
    expected = [("plain", "plain"), ("request", "outside"), ("s-decorated", "decorated"), ("s-managed", "managed")]
    assert expected == sorted((record["session_id"], *outputs(record)) for record in turns)
    assert not caplog.records


def test_a_block_in_the_generator_of_a_body_holds_its_calls(turns):
    """Starlette takes each step of a sync generator in a copy of the context."""
    app = FastAPI()

    @app.get("/")
    def endpoint():
        def body():
            with moa.turn(session_id="body"):
                for number in range(3):
                    yield reference(str(number))("q?")
            reference("after")("q?")

        return StreamingResponse(body(), media_type="text/plain")

    with uvicorn_of(moa.asgi(app, session_id="request")) as port:
        assert b"012" == get(port, "/")[2]
    assert until(lambda: len(turns) == 2)
    assert [("body", ["0", "1", "2"]), ("request", ["after"])] == [(r["session_id"], outputs(r)) for r in turns]


def test_one_tag_is_used_in_a_dependency_and_in_the_endpoint(turns):
    """What leaves the inner block leaves the outer one open."""
    tenant = moa.tag(tags={"tenant": "x"})

    def of_tenant():
        with tenant:
            yield

    app = FastAPI(dependencies=[Depends(of_tenant)])

    @moa.turn
    def answer():
        return reference("a")("q?")

    @app.get("/")
    def endpoint():
        with tenant:
            pass
        return answer()

    with uvicorn_of(moa.asgi(app)) as port:
        get(port, "/")
    assert {"http.method": "GET", "tenant": "x"} == the_only(turns)["tags"]
