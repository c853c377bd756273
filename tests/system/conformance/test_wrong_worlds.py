"""The conformance suite finds clients that are broken, and worlds that do not do what they say."""

from __future__ import annotations

import pytest

import moa_middleware as moa
from moa_middleware.testing import conformance
from tests.support.worlds.faults import fault_of
from tests.support.worlds.world_plain import AsyncGenerator, Dicts, Function

# Broken clients and instrumentations of objects. --------------------------------------------------


class StaysInstrumented(Dicts):
    def uninstrument(self, client):
        pass


class CannotBeMade(Dicts):
    def instrument(self, client):
        raise TypeError("cannot be instrumented")


class TwoLayers(Dicts):
    def instrument(self, client):
        asked, original = [], client.create

        def create(messages, model="m", stream=False):
            moa.reference(asked.append)(messages)
            return original(messages, model, stream)

        client.create = create
        return client


class LosesTheSignature(Dicts):
    def instrument(self, client):
        recorded = moa.reference(client.create)

        def anything(*args, **kwargs):
            return recorded(*args, **kwargs)

        client.create = anything
        return client


class SlowToCancel(AsyncGenerator):
    """Turns a cancellation into an end."""

    def instrument(self, client):
        recorded = super().instrument(client)

        async def ask(messages):
            """Ask."""
            try:
                async for piece in recorded(messages):
                    yield piece
            except BaseException:
                return

        return ask


@pytest.mark.parametrize(
    ("world", "name", "way", "told"),
    [
        (StaysInstrumented, "uninstrumented_again", "sync", "uninstrumented [('Dicts.Client', 'function')], here"),
        (CannotBeMade, "value", "sync", "the scenario raised TypeError: cannot be instrumented (test_wrong_worlds.py"),
        (TwoLayers, "instrumented_twice", "sync", "lines: 1 expected, 2 written"),
        (LosesTheSignature, "looks_the_same", "sync", "create, __name__: uninstrumented 'create', here 'anything'"),
        (SlowToCancel, "cancelled", "async", "raised: here it is the loop is over None"),
    ],
    ids=lambda one: getattr(one, "__name__", None),
)
def test_a_broken_layer_is_found(world, name, way, told):
    """Also what is wrong with how an object is instrumented, and with cancellation."""
    assert told in fault_of(world, name, way)[1]


# Worlds that do not do what they say. -------------------------------------------------------------


class SaysOtherThanPlanned(Function):
    def make_client(self):
        def ask(messages):
            self.plan_for(messages)
            return "something else"

        return ask


class AsksNobody(Function):
    def make_client(self):
        return lambda messages: "One two three four five."


class NeverRefuses(Function):
    def make_client(self):
        def ask(messages):
            return self.plan_for(messages).text

        return ask


class LacksAMethod(conformance.ClientHarness):
    def make_client(self):
        def ask(messages):
            return "".join(self.play(messages))

        return ask


@pytest.mark.parametrize(
    ("world", "name", "told"),
    [
        (SaysOtherThanPlanned, "value", "the caller read 'something else', the plan says 'One two three four five.'"),
        (AsksNobody, "value", "no request reached the model: does it call `plan_for` with what it is asked?"),
        (NeverRefuses, "refused", "nothing was raised, the plan says 'refused'"),
        (LacksAMethod, "value", "LacksAMethod does not define `call`"),
    ],
    ids=lambda one: getattr(one, "__name__", None),
)
def test_a_world_that_is_wrong_itself_is_told_so(world, name, told):
    """What is wrong in the bare run is the world's fault, and is called so."""
    mode, what = fault_of(world, name)
    assert "bare" == mode
    assert told in what


def test_a_capability_that_does_not_exist_is_refused():
    """A misspelt capability would leave scenarios out for ever."""
    with pytest.raises(ValueError, match=r"Misspelt\.supports: 'streams' is no capability; there are async, choices"):
        type("Misspelt", (conformance.ClientHarness,), {"supports": {"sync", "streams"}})


def test_a_world_without_a_way_is_refused():
    """A world that cannot be called has no cases, which would look like success."""
    for supports in ({"value"}, {"sync"}):
        world = type("Nothing", (conformance.ClientHarness,), {"supports": supports})
        with pytest.raises(ValueError, match=r"Nothing\.supports: it needs 'sync' or 'async', and 'value' or 'stream'"):
            conformance.cases(world)
