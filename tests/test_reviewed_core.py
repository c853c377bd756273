"""What a second reading of the capture core found wrong, one test a fault."""

from __future__ import annotations

import asyncio
import sys

import pytest

import moa_middleware as moa
from moa_middleware._capture.calls import straight
from moa_middleware._capture.shapes import replies

from .corpus.script import reply

MESSAGES = [{"role": "user", "content": "why is the sky blue"}]


class interrupting:
    """Interrupt the program when a function of ours is entered for the first time."""

    def __init__(self, *codes):
        self.codes = codes

    def look(self, frame, _event, _arg):
        if frame.f_code in self.codes:
            sys.settrace(None)
            raise KeyboardInterrupt

    def __enter__(self):
        sys.settrace(self.look)

    def __exit__(self, *_):
        sys.settrace(None)


@moa.reference
def ask(messages):
    return reply("Air scatters blue light.")


@moa.reference
async def ask_async(messages):
    return reply("Air scatters blue light.")


@pytest.mark.parametrize("run", [ask, lambda messages: asyncio.run(ask_async(messages))], ids=["sync", "async"])
@pytest.mark.parametrize("where", [replies.read_reply, straight.keep, straight._finish], ids=lambda fn: fn.__name__)
def test_an_interrupt_while_a_reply_is_read_ends_the_call(run, where, turns):
    """The call is cancelled, its turn closes, and the interrupt goes on."""
    with pytest.raises(KeyboardInterrupt), interrupting(where.__code__):
        run(MESSAGES)
    assert moa.status().open_turns == 0
    (turn,) = turns
    call = turn["aggregator"] or turn["references"][0]
    assert call["outcome"] is not None
    assert turn["outcome"] == "cancelled"


def test_an_interrupt_while_a_reply_is_read_ends_the_call_in_an_open_turn(turns):
    """Of a turn that goes on, the call alone is cancelled."""
    with moa.turn():
        with pytest.raises(KeyboardInterrupt), interrupting(replies.read_reply.__code__):
            ask(MESSAGES)
    (turn,) = turns
    assert turn["references"][0]["outcome"] == "cancelled"
