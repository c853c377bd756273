"""
The caller, written once for sync and async: what a scenario does with a client, and what is seen of it.

Every method is `async def`. In a sync run none of them ever suspends: `run_sync` drives them by a
single step. What the caller sees is noted as plain values, never as objects: those would keep a
stream alive that the scenario drops.
"""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from ._harness import IncompleteHarnessError
from ._look import describe, error_of
from ._plan import Plan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator

    from ._harness import ClientHarness, Message

__all__ = ["ClientCall", "Event", "Expected", "Job", "User", "run_sync"]

Event: TypeAlias = tuple[str, object]
Job: TypeAlias = Callable[[], Awaitable[object]]
T = TypeVar("T")

_RAISED = frozenset({"error", "consumer_error", "cancelled"})
_AS_ASKED: Any = object()
_JOIN_SECONDS = 30.0
_TICKS = 6


def run_sync(job: Coroutine[Any, Any, T]) -> T:
    """
    Run a coroutine that never suspends.

    Raises:
        RuntimeError: It did suspend: something was awaited in a sync run.
    """
    try:
        job.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    job.close()
    msg = "something was awaited in a sync run"
    raise RuntimeError(msg)


@dataclass(frozen=True, slots=True)
class Expected:
    """
    What the record of a call has to say.

    Attributes:
        outcome: Of the call and of its turn.
        whole: The caller got the whole reply, so all that was planned has to be there.
        text: The text of the reply, as far as the caller got it.
        streamed: What `streamed` has to be; `None` is not checked.
        chunks: How many chunks the record has to count; `None` is not checked.
        error: Class and message of the exception that ended it; a class alone where the caller sees another.
    """

    outcome: str
    whole: bool
    text: str | None
    streamed: bool | None
    chunks: int | None
    error: tuple[object, object] | None


class ClientCall:
    """One call, and what its caller saw of it."""

    def __init__(self, user: User, question: str, plan: Plan, *, stream: bool) -> None:
        self.user = user
        self.question = question
        self.plan = plan
        self.streamed = stream
        self.messages: list[Message] = [{"role": "user", "content": question}]
        self.log: list[Event] = []
        self.got: Any = None
        """What the call returned, until it is dropped."""
        self.text = ""
        self.pieces = 0
        self.chunks = 0
        self.raised: tuple[object, object, object, object] | None = None
        self.expected: Expected | None = None

    def note(self, what: str, value: object = None) -> None:
        """Note what the caller saw."""
        self.log.append((what, value))

    def look(self, obj: Any, what: str = "looked") -> None:
        """Note what can be found out about an object."""
        self.note(what, describe(obj, self.user.harness))

    def ends(
        self, outcome: str, *, streamed: bool | None = _AS_ASKED, counted: bool = True, error: str | None = None
    ) -> None:
        """
        Say what the record has to hold, with the text as it is now; without it there must be none.

        Args:
            outcome: Of the call and of its turn.
            streamed: Whether the reply was a stream, by default what was asked for; `None` is not checked.
            counted: Whether the chunks that the caller took are those that the record counts.
            error: The class of the exception that ended it, where the caller caught another.
        """
        whole = outcome == "completed"
        raised = self.raised if outcome in _RAISED else None
        text = (self.plan.text if whole else self.text) or None
        self.expected = Expected(
            outcome,
            whole,
            text,
            streamed=self.streamed if streamed is _AS_ASKED else streamed,
            chunks=self.chunks if counted else None,
            error=(error, "") if error is not None else raised and raised[:2],
        )

    async def settled(self, result: Any) -> Any:
        """Return a result, awaited where that is needed."""
        return await result if self.user.is_async and inspect.isawaitable(result) else result

    # Calling. -------------------------------------------------------------------------------------

    async def begin(self, call: Callable[[], Any] | None = None) -> Any:
        """Call the client, in the form that `call` is, and note what comes back."""
        harness, client = self.user.harness, self.user.client
        given = harness.call(client, self.messages, stream=self.streamed) if call is None else call()
        self.look(given, "returned")
        awaited = self.user.is_async and inspect.isawaitable(given)
        self.got = await given if awaited else given
        if awaited:
            self.look(self.got, "awaited")
        return self.got

    async def value(self) -> None:
        """Call the client for a whole reply."""
        self.take_value(await self.begin())

    def take_value(self, value: Any) -> None:
        """Note a whole reply."""
        harness = self.user.harness
        self.text = harness.text_of(value) or ""
        self.note("value", (self.text, harness.view(value)))

    # Reading. -------------------------------------------------------------------------------------

    def take(self, chunk: Any) -> None:
        """Note a chunk."""
        harness = self.user.harness
        piece = harness.piece_of(chunk)
        self.text += piece
        self.pieces += bool(piece)
        self.chunks += 1
        self.note(f"chunk {self.chunks}", (type(chunk).__qualname__, piece, harness.view(chunk)))

    async def read(self, pieces: int | None = None) -> None:
        """Read by `for`, left by `break` after so many pieces of text; `None`: to the end."""
        enough = None if pieces is None else self.pieces + pieces
        if self.user.is_async:
            async for chunk in self.got:
                self.take(chunk)
                if self.pieces == enough:
                    break
            else:
                self.note("the loop is over")
        else:
            for chunk in self.got:
                self.take(chunk)
                if self.pieces == enough:
                    break
            else:
                self.note("the loop is over")

    async def step(self) -> bool:
        """Read a chunk by `next`; false at the end."""
        if self.user.is_async:
            try:
                chunk = await anext(self.got)
            except StopAsyncIteration:
                self.note("stopped")
                return False
        else:
            try:
                chunk = next(self.got)
            except StopIteration as stop:
                self.note("stopped", repr(stop.value))
                return False
        self.take(chunk)
        return True

    async def steps(self, pieces: int) -> None:
        """Read by `next` until so many more pieces of text are there."""
        enough = self.pieces + pieces
        while self.pieces < enough and await self.step():
            pass

    async def close(self) -> None:
        """Close the stream by `close`, or `aclose` where that is what it has."""
        stream = self.got
        close = stream.aclose if self.user.is_async and hasattr(stream, "aclose") else stream.close
        self.note("closed", repr(await self.settled(close())))

    @asynccontextmanager
    async def within(self) -> AsyncIterator[Any]:
        """Be in `with` what was returned; what is entered takes its place."""
        if self.user.is_async:
            async with self.got as entered:
                self._enter(entered)
                del entered
                yield self.got
        else:
            with self.got as entered:
                self._enter(entered)
                del entered
                yield self.got

    def _enter(self, entered: Any) -> None:
        self.note("entered itself", entered is self.got)
        self.look(entered, "entered")
        self.got = entered

    # Leaving. -------------------------------------------------------------------------------------

    async def drop(self) -> None:
        """Hold what was returned no more."""
        self.got = None
        await self.user.idle()

    @contextmanager
    def catching(self) -> Iterator[None]:
        """Catch what the block raises, and note it."""
        try:
            yield
        except IncompleteHarnessError:
            raise
        except BaseException as error:
            self.raised = error_of(error, self.user.harness)
        self.note("raised", self.raised)


class User:
    """Who calls the client, in one run of a scenario."""

    def __init__(self, harness: ClientHarness, client: Any, *, is_async: bool, instrumented: bool) -> None:
        self.harness = harness
        self.client = client
        self.is_async = is_async
        self.instrumented = instrumented
        self.client_calls: list[ClientCall] = []
        self.log: list[Event] = []

    def note(self, what: str, value: object = None) -> None:
        """Note what the caller saw beside the calls."""
        self.log.append((what, value))

    def prepare(self, plan: Plan | None = None, *, stream: bool = True) -> ClientCall:
        """Return a call that has not begun."""
        plan = plan or Plan()
        client_call = ClientCall(self, f"Question {len(self.client_calls) + 1}: what comes?", plan, stream=stream)
        self.client_calls.append(client_call)
        self.harness.plan(client_call.question, plan)
        return client_call

    async def ask(self, plan: Plan | None = None, *, stream: bool = True) -> ClientCall:
        """Call the client."""
        client_call = self.prepare(plan, stream=stream)
        await client_call.begin()
        return client_call

    async def idle(self) -> None:
        """Let the event loop close what was dropped: it does that in tasks of its own."""
        if self.is_async:
            for _ in range(_TICKS):
                await asyncio.sleep(0)

    def expect_to_hang(self) -> asyncio.Event:
        """Return an event that is set when the model hangs."""
        self.harness.hangs = asyncio.Event()
        return self.harness.hangs

    async def elsewhere(self, job: Job) -> None:
        """Run a job in another thread or task, and wait for it."""
        await self.together(job)

    async def together(self, *jobs: Job) -> None:
        """
        Run jobs at the same time, in threads or tasks.

        Raises:
            BaseException: What the first of them raised that raised.
        """
        if self.is_async:
            await asyncio.gather(*(asyncio.ensure_future(_run(job)) for job in jobs))
            return
        errors: list[BaseException] = []

        def run(job: Job) -> None:
            try:
                run_sync(_run(job))
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=run, args=(job,), daemon=True) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(_JOIN_SECONDS)
            if thread.is_alive():
                msg = "a thread of the scenario does not end"
                raise TimeoutError(msg)
        if errors:
            raise errors[0]

    def forget(self) -> None:
        """Hold nothing of the client any more."""
        for client_call in self.client_calls:
            client_call.got = None


async def _run(job: Job) -> object:
    return await job()
