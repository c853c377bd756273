"""The conformance suite finds instrumentations that are broken."""

from __future__ import annotations

import logging
import threading
import warnings

import pytest

import moa_middleware as moa
from moa_middleware._capture import recorder
from tests.support.worlds.faults import Counted, Fails, Prints, Right, case_of, fault_of


class SwallowsAChunk(Counted):
    def broken(self, ask, messages, stream):
        return (piece for number, piece in enumerate(ask(messages, stream)) if number != 2)


class ChangesAChunk(Counted):
    def broken(self, ask, messages, stream):
        return (piece.upper() for piece in ask(messages, stream))


class OddText(str):
    """A text that is none any more."""

    __slots__ = ()


class ChangesAType(Counted):
    def broken(self, ask, messages, stream):
        return map(OddText, ask(messages, stream)) if stream else OddText(ask(messages, stream))


class LosesTheTextOnBreak(Counted):
    def broken(self, ask, messages, stream):
        seen = moa.reference(lambda messages: ("" for _ in range(5)))(messages)

        def pass_on():
            for piece in self.inner(messages):
                next(seen, None)
                yield piece

        return pass_on()


class ClosesBehindTheCaller(Counted):
    def broken(self, ask, messages, stream):
        inner = ask(messages, stream)

        def pass_on():
            try:
                yield from iter(lambda: next(inner, None), None)
            finally:
                inner.close()

        return pass_on()


KEPT = []


class KeepsTheStream(Counted):
    def broken(self, ask, messages, stream):
        KEPT.append(ask(messages, stream))
        return KEPT[-1]


class MakesACycle(Counted):
    def broken(self, ask, messages, stream):
        made = ask(messages, stream)
        held = [made]
        held.append(held)
        return made


class WritesTwoLines(Counted):
    def broken(self, ask, messages, stream):
        moa.reference(lambda messages: "twice")(messages)
        return ask(messages, stream)


class WritesNoLine(Counted):
    def broken(self, ask, messages, stream):
        return self.inner(messages, stream)


class RecordsTheWrongRequest(Counted):
    def broken(self, ask, messages, stream):
        return ask([{"role": "system", "content": "Be nice."}, *messages], stream)


class AsksTwice(Counted):
    def broken(self, ask, messages, stream):
        list(self.inner(messages, stream))
        return ask(messages, stream)


class AsksTheFirstQuestionAgain(Counted):
    first = None

    def broken(self, ask, messages, stream):
        self.first = self.first or messages
        return ask(self.first, stream)


class DrainsTheMessages(Counted):
    def broken(self, ask, messages, stream):
        list(messages)
        return ask(messages, stream)


class Warns(Counted):
    def broken(self, ask, messages, stream):
        warnings.warn("tracing", stacklevel=2)
        return ask(messages, stream)


class Logs(Counted):
    def broken(self, ask, messages, stream):
        logging.getLogger("moa_middleware").warning("moa.oops")
        return ask(messages, stream)


class RaisesUnseen(Counted):
    def broken(self, ask, messages, stream):
        thread = threading.Thread(target=lambda: 1 / 0)
        thread.start()
        thread.join()
        return ask(messages, stream)


class WritesWhileOff(Counted):
    def broken(self, ask, messages, stream):
        recorder.state.overrides["trace_dir"].mkdir(exist_ok=True)
        return ask(messages, stream)


class WrapsTheError(Counted):
    def broken(self, ask, messages, stream):
        try:
            return ask(messages, stream)
        except RuntimeError as error:
            raise ValueError("wrapped") from error


class AddsANote(Counted):
    def broken(self, ask, messages, stream):
        try:
            return ask(messages, stream)
        except RuntimeError as error:
            error.add_note("seen by a tracer")
            raise


class SwallowsTheError(Counted):
    def broken(self, ask, messages, stream):
        def pass_on():
            try:
                yield from ask(messages, stream)
            except ConnectionError:
                return

        return pass_on()


FAULTS = [
    (SwallowsAChunk, "read_by_for", "off", "chunk 3: uninstrumented ('str', 'three ', None), here ('str', 'four '"),
    (ChangesAChunk, "read_by_for", "off", "chunk 1: uninstrumented ('str', 'One ', None), here ('str', 'ONE '"),
    (ChangesAType, "read_by_for", "off", "returned, __class__: uninstrumented 'generator', here 'map'"),
    (
        ChangesAType,
        "value",
        "off",
        "returned, __class__: uninstrumented 'str', here 'tests.system.conformance.test_has_",
    ),
    (LosesTheTextOnBreak, "broken_off_and_dropped", "on", "output: expected 'One two ', found ''"),
    (
        ClosesBehindTheCaller,
        "broken_off_and_dropped",
        "on",
        "outcome of the turn: expected 'abandoned', found 'closed'",
    ),
    (KeepsTheStream, "broken_off_and_dropped", "off", "connections left open: uninstrumented 0, here 1"),
    (MakesACycle, "broken_off_and_dropped", "off", "connections left open: uninstrumented 0, here 1"),
    (WritesTwoLines, "value", "on", "lines: 1 expected, 2 written"),
    (WritesNoLine, "value", "on", "lines: 1 expected, 0 written"),
    (RecordsTheWrongRequest, "value", "on", "input_messages: expected [{'role': 'user', 'content': 'Question 1"),
    (AsksTwice, "value", "off", "requests that reached the model: uninstrumented ['Question 1: what comes?']"),
    (AsksTheFirstQuestionAgain, "two_streams_interleaved", "off", "call 2, chunk 1: uninstrumented ('str', 'a1 '"),
    (AsksTheFirstQuestionAgain, "many_values_at_once", "off", "value: uninstrumented"),
    (DrainsTheMessages, "messages_from_a_generator", "off", "requests that reached the model"),
    (Prints, "value", "off", "printed: uninstrumented '', here 'tracing\\n'"),
    (Warns, "value", "off", "warned: ('UserWarning', 'tracing'), which it does not uninstrumented"),
    (Logs, "value", "off", "noise: 'logged: moa.oops', which it does not uninstrumented"),
    (RaisesUnseen, "value", "off", "noise: 'in a thread: ZeroDivisionError: division by zero'"),
    (WritesWhileOff, "value", "off", "something was written"),
    (
        WrapsTheError,
        "refused",
        "off",
        "raised: uninstrumented ('RuntimeError', 'queue full', (), None), here ('ValueErro",
    ),
    (AddsANote, "refused", "off", "here ('RuntimeError', 'queue full', ('seen by a tracer',), None)"),
    (SwallowsTheError, "cut_in_the_middle", "off", "raised: here it is the loop is over None"),
    (Fails, "value", "off", "the scenario raised TypeError: a fault of the tracer (faults.py, line "),
]


@pytest.mark.parametrize(("world", "name", "mode", "told"), FAULTS, ids=lambda one: getattr(one, "__name__", None))
def test_a_broken_instrumentation_is_found(world, name, mode, told):
    """The scenario, the run and the first difference are named."""
    found = fault_of(world, name)
    assert mode == found[0]
    assert told in found[1]
    KEPT.clear()


def test_the_same_world_passes_with_nothing_broken():
    """What the faults are put into is right: each of them is found for what it is."""
    names = {name for _, name, _, _ in FAULTS}
    for name in sorted(names):
        case_of(Right, name).check()
