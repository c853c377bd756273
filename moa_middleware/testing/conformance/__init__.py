"""
Whether a client can be traced without its callers noticing: the same scenarios, for any client.

Each scenario is a way to use a client and to leave its streams. It is run three times, in fresh
worlds: uninstrumented, instrumented with traces off, and with traces on. What the caller sees has
to be the same in all three; with traces on, the record has to say what happened.

    from moa_middleware.testing import conformance

    class MyWorld(conformance.World): ...

    print(conformance.run(MyWorld))
"""

from ._case import Case, ConformanceError, Report, Result, cases, run
from ._plan import Capability, Plan, Stop, ToolCall
from ._world import IncompleteWorldError, Message, World

__all__ = [
    "Capability",
    "Case",
    "ConformanceError",
    "IncompleteWorldError",
    "Message",
    "Plan",
    "Report",
    "Result",
    "Stop",
    "ToolCall",
    "World",
    "cases",
    "run",
]
