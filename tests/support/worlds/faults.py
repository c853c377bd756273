"""One case of the conformance suite, and what it finds."""

from __future__ import annotations

import pytest

import moa_middleware as moa
from moa_middleware.testing import conformance
from tests.support.worlds.world_plain import Generator


def case_of(world, name, way="sync"):
    (case,) = [one for one in conformance.cases(world) if one.scenario.name == name and one.way == way]
    assert case.lacking is None
    return case


def fault_of(world, name, way="sync"):
    """Return the mode and the text of the first fault of a case."""
    with pytest.raises(conformance.ConformanceError) as caught:
        case_of(world, name, way).check()
    error = caught.value
    assert f"{world.__name__}-{name}-{way}, {error.mode}: {error.what}" == str(error)
    return error.mode, error.what


class Counted(Generator):
    """A generator function that has a connection while it runs."""

    supports = Generator.supports | {"value"}

    def __init__(self):
        super().__init__()
        self.connections = 0

    @property
    def open_connections(self):
        return self.connections

    def make_client(self):
        def ask(messages, stream=True):
            """Ask."""
            return self.pieces(list(messages)) if stream else "".join(self.play(list(messages)))

        return ask

    def pieces(self, messages):
        self.connections += 1
        try:
            yield from self.play(messages)
        finally:
            self.connections -= 1

    def call(self, client, messages, *, stream):
        return client(messages, stream=stream)

    def instrument(self, client):
        self.inner = client
        recorded = moa.reference(client)

        def ask(messages, stream=True):
            """Ask."""
            return self.broken(recorded, messages, stream)

        return ask

    def broken(self, ask, messages, stream):
        raise NotImplementedError


class Prints(Counted):
    def broken(self, ask, messages, stream):
        print("tracing")
        return ask(messages, stream)


class Fails(Counted):
    def broken(self, ask, messages, stream):
        raise TypeError("a fault of the tracer")


class Right(Counted):
    def broken(self, ask, messages, stream):
        return ask(messages, stream)
