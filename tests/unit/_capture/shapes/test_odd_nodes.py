"""A reply with one odd value in it: no reader raises, since that would cost all the rest of the reply."""

from __future__ import annotations

import random
from copy import deepcopy

import pytest

from moa_middleware._capture.shapes import anthropic, openai_chat, openai_responses, plain
from moa_middleware._capture.shapes.accumulator import Accumulator
from moa_middleware._capture.shapes.fields import fields_of
from tests.support.wire_forms import all_forms
from tests.support.wire_replay import as_namespace
from tests.support.wire_truth import payloads

ODD = [None, 5, "x", [], {}, [None], [5], ["x"], {"a": 1}, True, 1.5, [[]], ""]
FORMS = [form for form in all_forms() if form.status < 400]
_TRIES = 12
"""Odd values that are put into a form, one at a time."""


def places(value, path=()):
    """Yield the way to each value in JSON."""
    yield path
    for name, item in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(item, (*path, name))


def with_odd_value(bodies, chance):
    """Return a copy of the bodies where one value is another, and the way to it."""
    bodies = deepcopy(bodies)
    body = chance.choice([body for body in bodies if body])
    path = chance.choice([path for path in places(body) if path])
    at = body
    for name in path[:-1]:
        at = at[name]
    at[path[-1]] = chance.choice(ODD)
    return bodies, (path, at[path[-1]])


def read(body):
    """Read a body by the shape that knows it, without the guard that catches what a shape raises."""
    fields = fields_of(body)
    if "choices" in fields and openai_chat.read_value(body, fields, body) is not None:
        return
    if fields.get("object") == "response" and openai_responses.read_value(fields, body) is not None:
        return
    if fields.get("type") == "message" and anthropic.read_value(fields, body) is not None:
        return
    plain.read_value(body, fields, body)


@pytest.mark.crowd(facets=lambda form, make: (form.family, (make, form.api, form.streamed)))
@pytest.mark.parametrize("form", FORMS, ids=str)
@pytest.mark.parametrize("make", [dict, as_namespace])
def test_no_reader_raises(form, make):
    """In whichever place the odd value is, as JSON and as objects, in one piece and in events."""
    chance = random.Random(form.name)
    bodies = payloads(form.body, streamed=form.streamed)
    for _ in range(_TRIES):
        odd, what = with_odd_value(bodies, chance)
        try:
            if form.streamed:
                gathered = Accumulator()
                for body in odd:
                    gathered._feed(make(body))
                    gathered.settled = len(gathered.texts)
                gathered.reply()
            else:
                read(make(odd[0]))
        except Exception as error:
            error.add_note(f"{what[1]!r} at {what[0]}")
            raise
