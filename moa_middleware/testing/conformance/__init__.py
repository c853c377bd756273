"""
Whether a client can be traced without its callers noticing: the same scenarios, for any client.

Each scenario is a way to use a client and to leave its streams. It is run three times, in fresh
harnesses: uninstrumented, instrumented with traces off, and with traces on. What the caller sees has
to be the same in all three; with traces on, the record has to say what happened.

    from moa_middleware.testing import conformance

    class MyHarness(conformance.ClientHarness): ...

    print(conformance.run(MyHarness))
"""

from ._case import Case, CaseResult, ConformanceError, ConformanceReport, cases, run
from ._harness import ClientHarness, IncompleteHarnessError, Message
from ._plan import Capability, Plan, Stop, ToolCall

__all__ = [
    "Capability",
    "Case",
    "CaseResult",
    "ClientHarness",
    "ConformanceError",
    "ConformanceReport",
    "IncompleteHarnessError",
    "Message",
    "Plan",
    "Stop",
    "ToolCall",
    "cases",
    "run",
]
