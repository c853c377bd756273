"""Things to call, of every kind: each says `model` twice. They are at module level, as pickle wants it."""

from __future__ import annotations

import functools

import moa_middleware as moa

HELLO = [{"role": "user", "content": "hello"}]


@moa.reference
def propose(model, messages=HELLO):
    """Say the model's name twice."""
    return model * 2


@moa.reference()
async def apropose(model, messages=HELLO):
    return model * 2


@moa.turn(session_id="s")
def answer(model, messages=HELLO):
    return propose(model, messages)


def undecorated(model, messages=HELLO):
    return model * 2


def outputs(turns):
    """Return what the one call of each turn said."""
    return [(record["references"] or [record["aggregator"]])[0]["output"] for record in turns]


class Proposer:
    """A callable object."""

    def __init__(self, times=2):
        self.times = times

    def __call__(self, model, messages=HELLO):
        return model * self.times


partial = moa.reference(functools.partial(undecorated, messages=HELLO))
callable_object = moa.reference(Proposer())
traced = moa.reference(undecorated)


class Ensemble:
    """Methods of every kind."""

    def __init__(self, name="e"):
        self.name = name

    @moa.reference
    def method(self, model, messages=HELLO):
        return model * 2

    @moa.reference
    async def amethod(self, model, messages=HELLO):
        return model * 2

    @classmethod
    @moa.reference
    def class_inside(cls, model, messages=HELLO):
        return model * 2

    @moa.reference
    @classmethod
    def class_outside(cls, model, messages=HELLO):
        return model * 2

    @staticmethod
    @moa.reference
    def static_inside(model, messages=HELLO):
        return model * 2

    @moa.reference
    @staticmethod
    def static_outside(model, messages=HELLO):
        return model * 2

    partial = moa.reference(functools.partial(undecorated))
    object = moa.reference(Proposer())

    @moa.turn
    def create(self, model):
        return self.method(model)


ENSEMBLE = Ensemble()


class capture_nothing:
    def __enter__(self):
        return []

    def __exit__(self, *_):
        return None
