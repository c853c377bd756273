"""What a model does on one request, and what a harness can do: plain values, which know no client and no wire."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CAPABILITIES", "Capability", "Plan", "Stop", "ToolCall"]

Capability: TypeAlias = Literal[
    # How it can be called.
    "sync",
    "async",
    "value",
    "stream",
    "manager",
    "until_done",
    "raw",
    "raw_stream",
    # What its streams have.
    "close",
    "with",
    "exact",
    # What can happen to a request.
    "refused",
    "cut",
    "error",
    "interrupt",
    "hang",
    "whole",
    # What its replies hold.
    "usage",
    "finish_reason",
    "tools",
    "reasoning",
    "refusal",
    "choices",
    # How it is instrumented.
    "iterator",
    "twice",
    "undo",
]
"""
What a harness can do; a scenario that needs more is skipped.

* `sync`, `async`: it has `make_client`, `make_async_client`.
* `value`, `stream`: it answers `stream=False` with a whole reply, `stream=True` with a stream.
* `manager`: it has `manager`; `until_done`: what that returns when it is entered has `until_done`.
* `raw`, `raw_stream`: it has `raw`, `raw_stream`.
* `close`, `with`: its streams have `close` or `aclose`, are context managers.
* `exact`: what a stream still gives after an end is the same in each run, which it is not behind a socket's buffers.
* `refused`, `cut`, `error`, `interrupt`, `hang`: it can perform the `Plan.stop` of this name.
* `whole`: it may answer `stream=True` with a whole reply.
* `usage`, `finish_reason`, `tools`, `reasoning`, `refusal`, `choices`: its replies can hold it.
* `iterator`: it takes an iterator of messages.
* `twice`: what is instrumented may be instrumented again; `undo`: and can be as it was before.
"""

CAPABILITIES: Final[frozenset[str]] = frozenset(get_args(Capability))

Stop: TypeAlias = Literal["refused", "cut", "error", "interrupt", "hang"]
"""
How a reply ends too early.

* `refused`: the request fails, as with a full queue.
* `cut`: the connection is lost after `Plan.after` pieces.
* `error`: the provider reports an error in the stream, after `Plan.after` pieces.
* `interrupt`: a `KeyboardInterrupt` strikes in the client, after `Plan.after` pieces.
* `hang`: nothing comes any more after `Plan.after` pieces; the harness calls `ClientHarness.hang`. Async only.
"""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """
    A tool call of a reply.

    Attributes:
        id: Its id.
        name: The function's name.
        arguments: JSON.
    """

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    What the model does on one request.

    Attributes:
        pieces: The text, a chunk each.
        stop: What comes in the way; `None`: nothing.
        after: Pieces that get through before `stop`.
        finish_reason: In the words of OpenAI's chat completions; `ClientHarness.finish_reason` translates.
        usage: Tokens, by the names of the record's `usage`; `None`: the provider reports none.
        tool_calls: Tool calls, after the text.
        reasoning: Reasoning, before the text, a chunk each.
        refusal: The refusal; there is no text then.
        more_choices: The pieces of the second choice, the third …
        whole: Answer with a whole reply although a stream was asked for.
    """

    pieces: tuple[str, ...] = ("One ", "two ", "three ", "four ", "five.")
    stop: Stop | None = None
    after: int = 0
    finish_reason: str = "stop"
    usage: Mapping[str, int] | None = field(default_factory=lambda: {"input_tokens": 7, "output_tokens": 5})
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: tuple[str, ...] = ()
    refusal: str | None = None
    more_choices: tuple[tuple[str, ...], ...] = ()
    whole: bool = False

    @property
    def text(self) -> str:
        """The whole text of the first choice."""
        return "".join(self.pieces)
