"""
Middleware and self-contained traces for Mixture-of-Agents clients.

What every model saw, what every model said, and what it cost: one JSON line per turn.
"""

from typing import Any as _Any

from ._capture.config import Status, add_turn_ids, configure, default_stack, flush, status
from ._capture.flow.effects import sleep, wait
from ._capture.flow.model import Call, Chunk, Flow, Middleware, Reply, Usage
from ._capture.flow.observers import observer
from ._capture.instrument.target import Target
from ._capture.notes import note
from ._capture.scope import carry
from ._capture.shapes.registry import register_shape
from ._capture.stack import Stack
from ._capture.turns.blocks import tag
from ._capture.turns.turn import Turn, current_turn
from ._version import __version__
from .errors import (
    AsyncOnSyncError,
    DecorationError,
    DidNotYieldError,
    ExtraMissingError,
    MiddlewareError,
    MoaError,
    ReplyFormError,
    RequestError,
    ResendError,
    SettingsError,
    TagError,
    TargetError,
)

turn = default_stack.turn
reference = default_stack.reference
aggregator = default_stack.aggregator
client = default_stack.client
instrument = default_stack.instrument
uninstrument = default_stack.uninstrument
instrumented = default_stack.instrumented
asgi = default_stack.asgi
wsgi = default_stack.wsgi


def load_ipython_extension(shell: _Any) -> None:
    """
    Make each cell that calls a model a turn: `%load_ext moa_middleware` in a notebook or in IPython.

    Args:
        shell: The running shell; IPython passes it.
    """
    from ._capture.notebook import load

    load(shell)


def unload_ipython_extension(shell: _Any) -> None:
    """
    Undo it: `%unload_ext moa_middleware`.

    Args:
        shell: The running shell.
    """
    from ._capture.notebook import unload

    unload(shell)


__all__ = [
    "AsyncOnSyncError",
    "Call",
    "Chunk",
    "DecorationError",
    "DidNotYieldError",
    "ExtraMissingError",
    "Flow",
    "Middleware",
    "MiddlewareError",
    "MoaError",
    "Reply",
    "ReplyFormError",
    "RequestError",
    "ResendError",
    "SettingsError",
    "Stack",
    "Status",
    "TagError",
    "Target",
    "TargetError",
    "Turn",
    "Usage",
    "__version__",
    "add_turn_ids",
    "aggregator",
    "asgi",
    "carry",
    "client",
    "configure",
    "current_turn",
    "default_stack",
    "flush",
    "instrument",
    "instrumented",
    "load_ipython_extension",
    "note",
    "observer",
    "reference",
    "register_shape",
    "sleep",
    "status",
    "tag",
    "turn",
    "uninstrument",
    "unload_ipython_extension",
    "wait",
    "wsgi",
]
