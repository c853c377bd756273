"""
The programs of `tests/support/programs`: what their models say, and the truth about each of their calls.

Each request has a key, which the server finds in it. In the tables a key leads to the role of the call as the program
means it, and to the layer of a reference: `R1` is a reference of the first layer, `A` the aggregator, `C` another call,
and `?` one whose role nothing can show, so that the record has to say that it is unknown.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from moa_middleware.testing import Script

WORDS = [
    "amber",
    "basin",
    "candle",
    "drift",
    "ember",
    "fathom",
    "granite",
    "hollow",
    "island",
    "jetty",
    "kettle",
    "lantern",
    "meadow",
    "needle",
    "orchard",
    "pebble",
    "quarry",
    "ribbon",
    "saddle",
    "timber",
    "umber",
    "valley",
    "willow",
    "yonder",
    "zephyr",
    "anchor",
    "beacon",
    "cobble",
    "dune",
    "estuary",
]


def said(key):
    """Return the sentence of one key; no two keys share one, nor a part that is long."""
    digest = hashlib.sha256(key.encode()).digest()
    words = [WORDS[byte % len(WORDS)] for byte in digest[:14]]
    return f"{words[0].capitalize()} {' '.join(words[1:])}."


def last(body):
    """Return the last message's text."""
    return body["messages"][-1]["content"]


def system(body):
    """Return the system prompt, empty if there is none."""
    first = body["messages"][0]
    return first["content"] if first["role"] == "system" else ""


@dataclass(frozen=True)
class Program:
    """
    One program and the truth about it.

    Attributes:
        name: Its module.
        key: From the body of a request to its key.
        turns: The table of each turn: from keys to roles.
        target: The function that is the turn; None if the program as a whole is one.
        blocks: The function around whose body a block is opened.
        decorated: Roles of functions and methods, for the way by decorators.
        texts: What models say, where it is not the sentence of the key.
        failing: Keys that are answered with an error.
        caught: What the program's own function returns in the place of such an answer.
        together: Keys, without their last word, of which so many are answered only once all have been asked.
        in_a_block: Roles that differ where the turn is a block, which returns nothing.
        sessions: The sessions of the turns, if they have any.
    """

    name: str
    key: Callable[[Mapping[str, Any]], str]
    turns: Sequence[Mapping[str, str]]
    target: str | None = None
    blocks: str | None = None
    decorated: Mapping[str, str] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    failing: frozenset[str] = frozenset()
    caught: str = ""
    together: int = 0
    in_a_block: Mapping[str, str] = field(default_factory=dict)
    sessions: Sequence[str | None] | None = None

    @property
    def is_script(self) -> bool:
        """Return True if it is a file to be run, without functions that could be named."""
        return self.blocks is None and not self.decorated


class Models:
    """The models of a program, as a script of the server; it logs the key, body and text of each request."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.log: list[tuple[str, Mapping[str, Any], str | None]] = []
        self._barriers: dict[str, threading.Barrier] = {}
        self._lock = threading.Lock()

    def __call__(self, body: Mapping[str, Any]) -> Script:
        """Answer a request."""
        key = self.program.key(body)
        failing = key in self.program.failing
        text = None if failing else self.program.texts.get(key, said(key))
        with self._lock:
            self.log.append((key, body, text))
            barrier = None
            if self.program.together:
                group = key.rpartition(" ")[0]
                barrier = self._barriers.setdefault(group, threading.Barrier(self.program.together))
        if failing:
            return Script(status=400, error={"message": "this model is not served here"})
        return Script(text, wait=(lambda: barrier.wait(30)) if barrier is not None else None)


def _key_of_facade(body):
    question = "salt" if "salty" in last(body) else "tides"
    return f"{question} {body['model']}"


def _key_of_cycles(body):
    question = "keeps" if "keeps" in last(body) else "work"
    before = "2" if "have said" in system(body) else "1"
    return f"{question} {body['model']} {before}"


def _key_of_council(body):
    kind = "ranks" if "Judge each" in last(body) else "ends" if "chairman" in last(body) else "answers"
    return f"{kind} {body['model']}"


def _key_of_best_of(body):
    return "judge" if "Candidate" in last(body) else f"draft {body['seed']}"


def _key_of_consortium(body):
    if body["model"] == "arbiter":
        # The second time it reads what the agents said in the second iteration.
        return "arbiter 2" if said("north 2") in last(body) else "arbiter 1"
    return f"{body['model']} {len(body['messages']) // 2}"


def _key_of_service(body):
    (word,) = [word for word in ("dive", "steal", "sing") if word in last(body)]
    return f"{word} {body['model']}"


def _layers(layer, models):
    return {f"{layer} {model}": f"R{layer}" for model in models}


_CYCLES = [
    {
        **{f"{question} helper-{name} {cycle}": f"R{cycle}" for cycle in (1, 2) for name in ("ada", "bob", "eve")},
        f"{question} main-agent 2": "A",
    }
    for question in ("work", "keeps")
]
_AGENTS = ("north", "south", "east")

PROGRAMS = [
    Program(
        "layers",
        key=lambda body: f"{3 if 'large' in body['model'] else 2 if system(body) else 1} {body['model']}",
        turns=[
            {
                **_layers(1, ["qwen", "llama", "mixtral"]),
                **_layers(2, ["qwen", "llama", "mixtral"]),
                "3 mixtral-large": "A",
            }
        ],
        blocks="main",
        decorated={"run": "turn", "ask": "reference"},
    ),
    Program(
        "facade",
        key=_key_of_facade,
        turns=[
            {f"{word} one": "R1", f"{word} two": "R1", f"{word} three": "R1", f"{word} acting": "A"}
            for word in ("salt", "tides")
        ],
        target="Completions.create",
        blocks="ask",
        decorated={"Completions.create": "turn", "Completions.propose": "reference", "Completions.act": "aggregator"},
        failing=frozenset({"tides two"}),
        caught="[failed: BadRequestError]",
    ),
    Program(
        "cycles",
        key=_key_of_cycles,
        turns=_CYCLES,
        target="Ensemble.chat",
        blocks="ask",
        decorated={"Ensemble.chat": "turn", "Ensemble.help_with": "reference"},
    ),
    Program(
        "council",
        key=_key_of_council,
        turns=[
            {
                **{f"answers {name}": "R1" for name in ("gull", "heron", "puffin")},
                **{f"ranks {name}": "R2" for name in ("gull", "heron", "puffin")},
                "ends albatross": "A",
            }
        ],
        target="run_council",
        blocks="main",
        decorated={"run_council": "turn", "conclude": "aggregator"},
        texts={
            f"ranks {name}": f"{said(f'ranks {name}')} FINAL RANKING: {' '.join(letters)}"
            for name, letters in (("gull", "ABC"), ("heron", "BAC"), ("puffin", "ACB"))
        },
    ),
    Program(
        "best_of",
        key=_key_of_best_of,
        # The draft that is returned answers the turn; the judge does not.
        turns=[{"draft 0": "R1", "draft 1": "A", "draft 2": "R1", "judge": "C"}],
        target="best_of",
        blocks="main",
        decorated={"best_of": "turn"},
        texts={"judge": "2"},
        in_a_block={"draft 1": "R1"},
    ),
    Program(
        "debate",
        key=lambda body: f"{last(body).split()[1]} {body['model']}",
        # No call reads the last round, and none answers: there is no aggregator.
        turns=[{key: role for layer in (1, 2, 3) for key, role in _layers(layer, ["left", "right", "centre"]).items()}],
        target="debate",
        blocks="main",
        decorated={"debate": "turn", "speak": "reference"},
        together=3,
    ),
    Program(
        "consortium",
        key=_key_of_consortium,
        turns=[
            {
                **{f"{name} 1": "R1" for name in _AGENTS},
                "arbiter 1": "R2",
                **{f"{name} 2": "R3" for name in _AGENTS},
                "arbiter 2": "A",
            }
        ],
        target="Orchestrator.orchestrate",
        blocks="main",
        decorated={"Orchestrator.orchestrate": "turn", "Agent.prompt": "reference"},
        texts={
            "arbiter 1": f"{said('arbiter 1')} <confidence>0.4</confidence>",
            "arbiter 2": f"{said('arbiter 2')} <confidence>0.9</confidence>",
        },
    ),
    Program(
        "swarm",
        key=lambda body: f"{3 if body['model'] == 'queen' else 2 if 'bee:' in last(body) else 1} {body['model']}",
        turns=[{**_layers(1, ["bee", "ant", "wasp"]), **_layers(2, ["bee", "ant", "wasp"]), "3 queen": "A"}],
        target="Swarm.run",
        blocks="main",
        decorated={"Swarm.run": "turn", "Worker.run": "reference", "Swarm.combine": "aggregator"},
        failing=frozenset({"1 wasp", "2 wasp"}),
    ),
    Program(
        "titled",
        key=lambda body: body["model"],
        turns=[{"titler": "C", "oak": "R1", "elm": "R1", "root": "A"}],
        target="handle",
        blocks="main",
        decorated={"handle": "turn"},
    ),
    Program(
        "router",
        key=lambda body: f"{'primes' if 'primes' in last(body) else 'light'} {body['model']}",
        turns=[
            {"primes router-small": "C", "primes expert-maths": "A"},
            {"light router-small": "C", "light expert-history": "A"},
        ],
        target="answer",
        blocks="answer",
        decorated={"answer": "turn"},
        texts={"primes router-small": "maths", "light router-small": " History"},
        # A block returns nothing, and the expert has read nothing of what the router said.
        in_a_block={"primes expert-maths": "?", "light expert-history": "?"},
    ),
    Program(
        "notebook",
        key=lambda body: body["model"],
        turns=[{"alpha": "R1", "beta": "R1", "gamma": "R1", "delta": "R1", "omega": "A"}],
    ),
    Program(
        "service",
        key=_key_of_service,
        turns=[{f"{word} tern": "R1", f"{word} skua": "R1", f"{word} kite": "A"} for word in ("dive", "steal", "sing")],
        target="respond",
        blocks="respond",
        decorated={"respond": "turn", "reference": "reference", "aggregate": "aggregator"},
        sessions=["user-0", "user-1", "user-2"],
    ),
]
"""Twelve programs, each built after a flow that is in use."""
