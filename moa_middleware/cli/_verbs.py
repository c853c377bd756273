"""
The verbs by name, each with what it does in a line.

The help of `moa` is made of these, so that no verb is imported for it. It must import nothing.
"""

from __future__ import annotations

__all__ = ["VERBS"]

VERBS = {
    "demo": "Run one Mixture-of-Agents turn, and show the trace that it leaves.",
    "run": "Run a Python program with what MOA_INSTRUMENT names instrumented, and as without it otherwise.",
    "ls": "List turns: start time, duration, cost, and failures.",
    "show": "Show one turn: who ran when, what each call cost, and what became of the references.",
    "stats": "Count turns, calls, tokens, costs and times, by model or another key.",
    "compare": "Put two runs side by side, their turns matched by what was asked.",
    "report": "Write a run as one HTML page to look at.",
    "tail": "Show turns as other processes write them.",
    "verify": "Look whether traces are whole, and name what is wrong by its code.",
    "scan": "Find secrets and personal data in traces, and show no value.",
    "prune": "Remove old trace files.",
    "recover": "Write the turns of processes that died, from their journals (MOA_JOURNAL=1).",
    "doctor": "Say why there are no traces: settings, directory, packages, targets.",
    "schema": "Print the JSON Schema of a line.",
}
"""In the order of the help."""
