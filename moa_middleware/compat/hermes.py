"""
Hermes Agent: its own trace functions, writing our lines, and the target `hermes`, which needs none of them.

`save_moa_turn` and `consume_and_save_trace` have the signatures and the meaning of those of
`agent/moa_trace.py` and `agent/moa_loop.py`, for code that calls them. `TARGETS` is what
`moa.instrument("hermes")` and `MOA_INSTRUMENT=hermes` stand for. Nothing here imports the agent.
"""

from __future__ import annotations

from ._hermes_targets import TARGETS
from ._hermes_trace import consume_and_save_trace, save_moa_turn

__all__ = ["TARGETS", "consume_and_save_trace", "save_moa_turn"]
