"""The adapter between the scenarios and a client: its author says here how the client is made, called and read."""

from __future__ import annotations

import asyncio
import inspect
import re
import threading
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

import moa_middleware as moa

from ._plan import CAPABILITIES, Capability, Plan

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from ...records import CallRecord, TurnRecord

__all__ = ["ClientHarness", "IncompleteHarnessError", "Message"]

Message: TypeAlias = dict[str, str]
"""A message of a request: `role` and `content`."""

_ADDRESS = re.compile(r"0x[0-9a-fA-F]{6,}")
_MEETING_SECONDS = 10.0


class IncompleteHarnessError(TypeError):
    """A harness lacks a method that a scenario needs; no scenario takes it for what its client raised."""


class ClientHarness:
    """
    A client and the model behind it, for one run of one scenario.

    Derive from it, set `supports`, and say in `make_client` and `call` how your client is made and
    called. Behind the client has to be a model that obeys: for each request it asks `plan_for`
    for the plan, and does that. A mock transport, a scripted server or a plain function will do.

    A harness is made anew for each run.

    Attributes:
        supports: What it can do; scenarios that need more are skipped.
        model: The model that the record has to name; `None` is not checked.
        settle_seconds: How long `open_connections` may take to be right after the last event, in
            seconds; 0 where the connections are counted in this process.
        entry_points: Dotted paths of the client, to what is instrumented. The scenarios look whether their
            signature and name stay, and whether the attributes are back after `uninstrument`.
        attributes: Further attributes whose presence callers ask for, by `hasattr`.
        classes: Further classes that callers ask for, by `isinstance`.
    """

    supports: ClassVar[frozenset[Capability]] = frozenset({"sync", "value"})
    model: ClassVar[str | None] = None
    settle_seconds: ClassVar[float] = 0.0
    entry_points: ClassVar[tuple[str, ...]] = ()
    attributes: ClassVar[tuple[str, ...]] = ()
    classes: ClassVar[tuple[type, ...]] = ()

    def __init__(self) -> None:
        self.requests: list[str] = []
        """The questions that reached the model."""
        self._plans: dict[str, Plan] = {}
        self._lock = threading.Lock()
        self._meeting: threading.Barrier | None = None
        self.hangs: asyncio.Event | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        unknown = sorted(set(cls.supports) - CAPABILITIES)
        if unknown:
            msg = (
                f"{cls.__name__}.supports: {unknown[0]!r} is no capability; there are {', '.join(sorted(CAPABILITIES))}"
            )
            raise ValueError(msg)

    # What the author says. ------------------------------------------------------------------------

    def make_client(self) -> Any:
        """Return a client for sync code that nobody has instrumented."""
        raise self._lacks("make_client")

    def make_async_client(self) -> Any:
        """Return a client for async code that nobody has instrumented; called inside the event loop."""
        raise self._lacks("make_async_client")

    def call(self, client: Any, messages: Any, *, stream: bool) -> Any:
        """
        Call the client, and return what it returns: a value, a stream, an awaitable of one.

        Args:
            client: What `make_client` or `make_async_client` made, instrumented or not.
            messages: A list with one message of the role "user", or an iterator of it. Hand it on.
            stream: Whether a stream is asked for.
        """
        raise self._lacks("call")

    def piece_of(self, chunk: Any) -> str:
        """Return the text that a chunk adds to the first choice; empty if it adds none."""
        if isinstance(chunk, str):
            return chunk
        raise self._lacks("piece_of")

    def text_of(self, value: Any) -> str | None:
        """Return the text of a whole reply."""
        if value is None or isinstance(value, str):
            return value
        raise self._lacks("text_of")

    # What the author may say. ---------------------------------------------------------------------

    def open(self) -> None:
        """Prepare what the client needs, a server say."""

    def close(self) -> None:
        """Undo `open`."""

    def instrument(self, client: Any) -> Any:
        """Return the client instrumented; by default it is the same object."""
        return moa.instrument(client)

    def uninstrument(self, client: Any) -> None:
        """Undo `instrument`."""
        if "undo" in self.supports:
            moa.uninstrument(client)

    async def close_client(self, client: Any) -> None:
        """Close the client; by default by `close` or `aclose`, if it has one."""
        close = getattr(client, "close", None) or getattr(client, "aclose", None)
        result = close() if callable(close) else None
        if inspect.isawaitable(result):
            await result

    @property
    def open_connections(self) -> int:
        """How many connections to the model are open."""
        return 0

    def manager(self, client: Any, messages: Any) -> Any:
        """Call the form that returns a manager, which gives the stream when it is entered."""
        raise self._lacks("manager")

    def final_of(self, stream: Any) -> Any:
        """Return the whole reply, or an awaitable of it, of a manager's stream: its `get_final_completion`, say."""
        raise self._lacks("final_of")

    def raw(self, client: Any, messages: Any, *, stream: bool) -> Any:
        """Call the form that returns the response, with `headers` and `parse()`; its body is read unless `stream`."""
        raise self._lacks("raw")

    def raw_stream(self, client: Any, messages: Any, *, stream: bool) -> Any:
        """Call the form that returns a manager, which gives the response, not yet read, when it is entered."""
        raise self._lacks("raw_stream")

    def view(self, chunk: Any) -> object:
        """Return what is compared of a chunk or value beside its class and text: something with `==` and `repr`."""
        del chunk
        return None

    def clean(self, text: str) -> str:
        """Return the text of an exception, a warning or a body without what differs from run to run."""
        return _ADDRESS.sub("0x…", text)

    def answer_of(self, turn: TurnRecord) -> CallRecord | None:
        """Return the call of a turn's record that answered the caller."""
        calls = [*turn["references"], *turn["calls"]]
        return turn["aggregator"] or (calls[0] if len(calls) == 1 else None)

    def input_of(self, messages: Sequence[Message]) -> object:
        """Return what the record has to hold as the request."""
        return list(messages)

    def finish_reason(self, plan: Plan) -> str | None:
        """Return the finish reason of a plan in the words of this provider."""
        return plan.finish_reason

    def tool_calls(self, plan: Plan) -> list[Any]:
        """Return what the record has to hold as the tool calls of a plan."""
        return [
            {"id": one.id, "type": "function", "function": {"name": one.name, "arguments": one.arguments}}
            for one in plan.tool_calls
        ]

    def usage(self, plan: Plan) -> Mapping[str, int] | None:
        """Return the usage that the record has to hold of a plan, empty for none; `None` is not checked."""
        return plan.usage or {}

    def check(self, turn: TurnRecord) -> None:
        """Check more of a turn's record, by `assert`."""

    # What the model behind the client calls. ------------------------------------------------------

    def plan_for(self, messages: Any) -> Plan:
        """
        Note a request, and return what to do about it.

        Args:
            messages: Anything whose `str` holds the question: the messages, or the body.
        """
        text = str(messages)
        with self._lock:
            question = next((known for known in self._plans if known in text), "")
            self.requests.append(question)
        if self._meeting is not None and question:
            self._meeting.wait(_MEETING_SECONDS)
        return self._plans.get(question, Plan())

    async def hang(self) -> None:
        """Let the request wait for ever, as `Plan.stop` says."""
        if self.hangs is not None:
            self.hangs.set()
        await asyncio.Event().wait()

    def play(self, messages: Any) -> Iterator[str]:
        """
        Do what is planned, for a client without a wire: yield the pieces, or raise.

        Raises:
            ConnectionError: The plan is to cut the connection.
            RuntimeError: The plan is to refuse the request, or to report an error.
            KeyboardInterrupt: The plan is to interrupt.
        """
        plan = self.plan_for(messages)
        if plan.stop is None:
            yield from plan.pieces
            return
        yield from plan.pieces[: plan.after]
        raise _stops(plan)

    async def play_async(self, messages: Any) -> AsyncIterator[str]:
        """Do as `play` does, or hang."""
        plan = self.plan_for(messages)
        for piece in plan.pieces if plan.stop is None else plan.pieces[: plan.after]:
            await asyncio.sleep(0)
            yield piece
        if plan.stop == "hang":
            await self.hang()
        if plan.stop is not None:
            raise _stops(plan)

    # What the scenarios call. ---------------------------------------------------------------------

    def plan(self, question: str, plan: Plan) -> None:
        """Let a question be answered as planned."""
        self._plans[question] = plan

    def meet(self, count: int) -> None:
        """Let each request wait until `count` of them are there."""
        self._meeting = threading.Barrier(count) if count > 1 else None

    def _lacks(self, name: str) -> IncompleteHarnessError:
        return IncompleteHarnessError(f"{type(self).__name__} does not define `{name}`")


def _stops(plan: Plan) -> BaseException:
    """Return what a client without a wire raises where a plan stops."""
    match plan.stop:
        case "cut":
            return ConnectionError("connection lost")
        case "interrupt":
            return KeyboardInterrupt()
        case "refused":
            return RuntimeError("queue full")
        case _:
            return RuntimeError("overloaded")
