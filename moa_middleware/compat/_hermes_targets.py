"""
The target `hermes`: which functions of Hermes Agent are the turn, a reference and the aggregator.

Facts of versions 0.19 and later are here and nowhere else. The client object is replaced in the
middle of a session and may be built without `__init__`, so everything is on classes and functions.
"""

from __future__ import annotations

import weakref
from contextlib import suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from .._capture.calls import prepared as _prepared
from .._capture.calls.function import Options
from .._capture.flow.model import Reply, Usage
from .._capture.instrument import objects
from .._capture.instrument.patch import Identities
from .._capture.instrument.target import Target
from .._capture.scope import enter, leave, submitted
from .._capture.turns.turn import current_turn
from ..errors import TargetError
from ..records import TOKENS
from ._hermes_privacy import LOOP, PrivacyFilter
from ._hermes_values import failure_of, label_of, number, tokens_of
from ._watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from .._capture.turns.stack_like import StackLike

__all__ = ["TARGETS"]

_agents = Identities()
"""The agent that a client's completions work for, as a weak reference."""
_agent_here: ContextVar[Any] = ContextVar("moa_middleware_hermes_agent", default=None)
"""The agent whose conversation runs here, as a weak reference."""
_aggregator_here: ContextVar[Any] = ContextVar("moa_middleware_hermes_aggregator", default=None)
"""The slot of the preset whose aggregator is about to be called."""


# Options of a turn. ------------------------------------------------------------------------------


def _session_id(self: Any = None) -> str | None:
    """Return the session of the running agent. Asked at each turn, since compression changes it."""
    known = _agents.get(self) if self is not None else None
    agent = known() if known is not None else getattr(self, "_agent", None)
    if agent is None:
        here = _agent_here.get()
        agent = here() if here is not None else None
    return getattr(agent, "session_id", None) or None


def _preset(self: Any) -> str | None:
    return getattr(self, "preset_name", None)


def _half(_moa_prepare_only: Any = None, _moa_prepared_request: Any = None) -> Any:
    """Distinguish the two calls of a turn, which later versions make."""
    return _moa_prepared_request if _moa_prepared_request is not None else bool(_moa_prepare_only)


def _privacy(self: Any = None, _moa_prepared_request: Any = None) -> PrivacyFilter:
    return PrivacyFilter(self, is_prepared=_moa_prepared_request is not None)


# Options of a call. ------------------------------------------------------------------------------


def _reference_label(slot: Any) -> str | None:
    return label_of(slot)


def _reference_model(slot: Any) -> Any:
    return slot.get("model")


def _read_reference(value: Any) -> Reply | None:
    """Read `(label, text, accounting)`; a failed reference returns a text too."""
    if not isinstance(value, tuple) or len(value) != 3:  # noqa: PLR2004 - its parts are named above
        return None
    _, text, accounting = value
    tokens = tokens_of(accounting)
    # The agent turns a reply without usage into zeros, so zeros alone mean that nothing was reported.
    usage = Usage(**{name: tokens[name] for name in TOKENS}) if any(tokens.values()) else None
    details = {name: getattr(accounting, name, None) for name in ("cost_status", "cost_source")}
    return Reply(
        text=text if isinstance(text, str) else None,
        usage=usage,
        cost_usd=number(getattr(accounting, "cost_usd", None)),
        outcome="completed" if failure_of(text) is None else "error",
        source="provider",
        _details=details,
    )


def _role(task: Any = None) -> str | None:
    return "aggregator" if task == "moa_aggregator" else None


def _call_label(task: Any = None, provider: Any = None, model: Any = None) -> str | None:
    """Return the label of the aggregator. A reference has its label from the call around this one."""
    if task != "moa_aggregator":
        return None
    slot = _aggregator_here.get()
    if not isinstance(slot, dict) or slot.get("model") != model:
        slot = {"provider": provider, "model": model}
    return label_of(slot)


def _call_provider(provider: Any = None) -> Any:
    return provider


# Watched functions. -------------------------------------------------------------------------------


def _conversing(self: Any) -> Generator[None, Any, None]:
    """Remember the running agent for calls made outside its client."""
    former = _agent_here.get()
    _agent_here.set(weakref.ref(self))
    try:
        yield
    finally:
        _agent_here.set(former)


def _requesting(self: Any) -> Generator[None, Any, None]:
    """Remember the agent of a client before one of the agent's threads makes a request with it."""
    _know(self, self.client)
    yield


def _client_asked(self: Any) -> Generator[None, Any, None]:
    """Remember the agent of a client that has replaced another one."""
    _know(self, (yield))


def _know(agent: Any, client: Any) -> None:
    if hasattr(client, "consume_reference_usage"):
        _agents.add(client.chat.completions, weakref.ref(agent))


def _aggregator_chosen(aggregator: Any) -> Generator[None, Any, None]:
    """Remember the aggregator's slot: the watched function runs right before the aggregator."""
    _aggregator_here.set(aggregator)
    yield


def _rebased(prepared: Any) -> Generator[None, Any, None]:
    """Let a turn be finished with a request that was rebuilt from the prepared one."""
    other = yield
    _prepared.alias(prepared, other)


def _mode_resolved() -> Generator[None, Any, None]:
    """Remember the mode of the privacy filter for the turn that runs here."""
    mode = yield
    turn = current_turn()
    if turn is not None and isinstance(turn.redacts, PrivacyFilter):
        turn.redacts.resolved(mode)


def _submitted() -> Generator[None, Any, None]:
    """Give each reference a number at submission: the agent runs it later, in a copied context of its own."""
    scope = submitted()
    former = enter(scope)
    try:
        yield
    finally:
        leave(scope, former)


_WATCHED: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    ("run_agent", "AIAgent.run_conversation", _conversing),
    ("run_agent", "AIAgent._interruptible_api_call", _requesting),
    ("run_agent", "AIAgent._interruptible_streaming_api_call", _requesting),
    ("run_agent", "AIAgent._create_request_openai_client", _client_asked),
    ("tools.thread_context", "propagate_context_to_thread", _submitted),
    (LOOP, "_aggregator_reasoning_config", _aggregator_chosen),
    (LOOP, "MoAChatCompletions.rebase_prepared_request", _rebased),
    (LOOP, "_moa_privacy_mode", _mode_resolved),
)
_CLIENTS_OF = ("_get_cached_client", "resolve_provider_client")


def _watch(stack: StackLike) -> Callable[[], None]:
    """Watch functions that are neither turn nor call; return a function that ends it."""
    clients: weakref.WeakSet[Any] = weakref.WeakSet()

    def client_made() -> Generator[None, Any, None]:
        """Instrument each client that `call_llm` uses inside our turns: it retries within one call."""
        client, *_ = yield
        if client is None or current_turn() is None or client in clients:
            return
        clients.add(client)
        with suppress(TargetError):
            objects.instrument(client, stack, (), Options("call", inside=True))

    watched = [Watch(stack, module, path, fn) for module, path, fn in _WATCHED]
    watched += [Watch(stack, "agent.auxiliary_client", name, client_made) for name in _CLIENTS_OF]

    def end() -> None:
        for one in watched:
            one.undo()
        for client in list(clients):
            objects.uninstrument(client, stack)

    return end


TARGETS = (
    Target(
        LOOP,
        "MoAChatCompletions.create",
        "turn",
        session_id=_session_id,
        preset=_preset,
        messages="messages",
        options={"prepares": _half, "redacts": _privacy},
    ),
    # The one-shot `/moa`, which the agent's own trace leaves out.
    Target(
        LOOP,
        "aggregate_moa_context",
        "turn",
        session_id=_session_id,
        messages="api_messages",
        options={"redacts": _privacy},
        optional=True,
    ),
    Target(
        LOOP,
        "_run_reference",
        "reference",
        label=_reference_label,
        model=_reference_model,
        messages="ref_messages",
        options={"reads": _read_reference, "redacts": _privacy},
    ),
    Target(
        LOOP,
        "call_llm",
        "call",
        label=_call_label,
        provider=_call_provider,
        options={"role": _role, "redacts": _privacy},
    ),
    _watch,
)
"""The targets of the name `hermes`."""
