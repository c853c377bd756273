"""Every form of a reply, as its bytes: the record is what they mean, and the caller sees what he would see without us."""

from __future__ import annotations

import gc
import json

import pytest

import moa_middleware as moa
from moa_middleware.testing import capture_turns
from tests.support.wire_forms import all_forms
from tests.support.wire_replay import as_namespace, half, replay, ways_of, wire
from tests.support.wire_truth import payloads, truth

FORMS = all_forms()
CASES = [(form, sdk) for form in FORMS for sdk in form.sdks]


def chosen(form, sdk, *, everything):
    """Return the ways in which a form is read: in a quick run the plainest one, and another in turn."""
    first, *others = ways_of(form, sdk)
    if everything or not others:
        return [first, *others]
    like = [one for one in FORMS if (one.api, one.streamed) == (form.api, form.streamed)]
    return [first, others[(like.index(form) + sdk_number(sdk)) % len(others)]]


def sdk_number(sdk):
    return ("openai", "anthropic", "groq", "together", "azure").index(sdk)


def facets_of(form, sdk):
    """Return what a case shows in a quick run: its family, its SDK, and the way that is tried next to the plainest."""
    return form.family, (form.api, form.streamed, sdk), (form.api, chosen(form, sdk, everything=False)[-1].name)


def call_of(turns):
    [turn] = turns
    calls = [*turn["references"], *([turn["aggregator"]] if turn["aggregator"] else []), *turn["calls"]]
    [call] = calls
    return call


def arguments_of(text):
    """Return arguments so that JSON compares by its values."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def recorded(call):
    """Return the fields of a record that the truth has too, under its names."""
    found = {name: call[name] for name in ("reasoning", "refusal", "finish_reason", "usage", "outcome")}
    found |= {name: call[name] for name in ("response_id", "response_model")}
    found["text"] = call["output"]
    found["tool_calls"] = calls_of(
        (one["id"], one["type"], one["function"]["name"], one["function"]["arguments"]) for one in call["tool_calls"]
    )
    found["choices"] = [choice["text"] for choice in call["choices"]] if call["choices"] else []
    found["error"] = call["error"] and call["error"]["message"]
    return found


def calls_of(calls):
    return [(ident, kind, name, arguments_of(arguments)) for ident, kind, name, arguments in calls]


def compare(turns, expected, skipped, where):
    """Assert that a record says what the bytes say."""
    found = recorded(call_of(turns))
    if "outcome" not in skipped:
        assert turns[0]["totals"]["failed"] == (expected["outcome"] == "error"), where
    expected = {**expected, "tool_calls": calls_of(expected["tool_calls"])}
    words = expected.pop("error")
    assert (found["error"] is None) == (words is None), (where, found["error"], words)
    assert words is None or words in found["error"], (where, found["error"], words)
    for name, value in expected.items():
        if name not in skipped:
            assert found[name] == value, (where, name, found[name], value)


# The managers of openai dump contents that are lists where their class has a text.
@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")
@pytest.mark.crowd(facets=facets_of)
@pytest.mark.parametrize(("form", "sdk"), CASES, ids=[f"{form}-{sdk}" for form, sdk in CASES])
def test_a_form(form, sdk, request):
    """The record says what the bytes say, and the caller sees the same uninstrumented, with tracing off, and on."""
    for how in chosen(form, sdk, everything=request.config.getoption("all")):
        bare = replay(form, how, wire(sdk, is_async=how.is_async, role="bare"))
        made = wire(sdk, is_async=how.is_async, role="traced")
        moa.instrument(made.client)
        off = replay(form, how, made)
        with capture_turns() as turns:
            on = replay(form, how, made)
            if not turns:
                gc.collect()
        moa.uninstrument(made.client)
        where = f"{form.name} by {how.name}"
        assert bare.found == off.found == on.found, where
        if bare.failed and how.name in {"manager", "async_manager"}:
            continue  # the SDK's helper refuses what the provider sends; how far it came is its own affair
        skipped: set[str] = set()
        if form.status >= 400:
            call = call_of(turns)
            assert call["outcome"] == "error", where
            continue
        expected = truth(form, events=half(form)[1] if how.left_early else None)
        if how.left_early:
            skipped |= {"outcome", "usage", "response_id", "response_model", "finish_reason"}
            if "no-deltas" in form.name:
                skipped |= {"text", "reasoning"}  # the event that ends the response is the first to be read for them
        elif form.streamed and expected["error"] is not None:
            skipped.add("finish_reason")  # it is in the event that the SDK raises
        compare(turns, expected, skipped, where)


@pytest.mark.crowd(facets=lambda form: (form.family,))
@pytest.mark.parametrize("form", [form for form in FORMS if form.status < 400], ids=str)
def test_a_form_as_a_function_of_the_users_returns_it(form):
    """JSON that a program got in its own way: as dicts, and as objects of its own, in one piece or one by one."""
    found = payloads(form.body, streamed=form.streamed)
    for make in (dict, as_namespace):

        @moa.reference
        def ask(messages):
            return make(found[0])

        @moa.reference
        def ask_in_pieces(messages):
            yield from map(make, found)

        with capture_turns() as turns:
            got = [*ask_in_pieces("q")] if form.streamed else ask("q")
        assert got == ([*map(make, found)] if form.streamed else make(found[0]))
        compare(turns, truth(form), set(), f"{form.name} by {make.__name__}")


def test_every_way_meets_every_family():
    """What a quick run leaves out of a form it tries on another of the same API."""
    shown = {facets_of(form, sdk)[-1] for form, sdk in CASES}
    for api in {form.api for form, _ in CASES} - {"text"}:
        plainest = {ways_of(form, sdk)[0].name for form, sdk in CASES if form.api == api}
        tried = plainest | {name for of, name in shown if of == api}
        there = {how.name for form, sdk in CASES if form.api == api for how in ways_of(form, sdk)}
        assert tried == there, (api, there - tried)


def test_names_are_unique():
    """A failure names its form."""
    names = [form.name for form in FORMS]
    assert len(names) == len({*names})
