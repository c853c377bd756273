"""Plain HTTP clients: the record says what the bytes say, once, and the caller sees what he would see without us."""

from __future__ import annotations

import gc

import pytest

import moa_middleware as moa
from moa_middleware.testing import capture_turns
from tests.support.http_ways import ASKED, WAYS, Wire, ask
from tests.support.wire_forms import all_forms
from tests.support.wire_truth import payloads, truth
from tests.system.sdks.test_wire_forms import call_of, compare

FORMS = all_forms()
_FEW = 1
"""Forms that a quick run tries in each way; others in each."""


@pytest.fixture(scope="module")
def wire():
    with Wire() as made:
        yield made


def forms_of(how, *, everything):
    """Return the forms that are read in one way: all of them, or some of each kind, others for each way."""
    found = [form for form in FORMS if not how.is_left or (form.streamed and b"\r" not in form.body)]
    if everything:
        return found
    shift = WAYS.index(how)
    kinds = sorted({(form.api, form.streamed, form.status >= 400) for form in found})
    chosen = []
    for kind in kinds:
        like = [form for form in found if (form.api, form.streamed, form.status >= 400) == kind]
        chosen += {like[(shift * 3 + step * 7) % len(like)].name: None for step in range(_FEW)}
    return [form for form in found if form.name in chosen]


def half(form):
    """Return after how many events a stream is left, and how many of its payloads were read by then."""
    blocks = [block for block in form.body.decode().split("\n\n") if block]
    count = max(len(payloads(form.body, streamed=True)) // 2, 1)
    before = 0
    for number, block in enumerate(blocks, 1):
        before += "data:" in block
        if before == count:
            return count, number
    return count, len(blocks)


@pytest.mark.parametrize("how", WAYS, ids=str)
def test_a_way(how, wire, request):
    """Each form, uninstrumented, with tracing off, and on: one call whose record is what the parser of the bytes says."""
    pytest.importorskip(how.client, reason=f"{how.client} is in the group test")
    for form in forms_of(how, everything=request.config.getoption("all")):
        where = f"{form.name} by {how}"
        stop = half(form)[0] if how.is_left else 0
        bare = ask(how, wire, form, stop)
        moa.instrument(how.client)
        off = ask(how, wire, form, stop)
        with capture_turns() as turns:
            on = ask(how, wire, form, stop)
            if not turns:
                gc.collect()
        moa.uninstrument(how.client)
        assert bare == off == on, where
        call = call_of(turns)
        path, _ = ASKED[form.api]
        assert call["endpoint"] == f"{wire.root.replace('user:canary-password@', '')}{path}", where
        assert (call["model"], call["provider"], call["params"]["temperature"]) == ("m", "127.0.0.1", 0.5), where
        assert [one["content"] for one in call["input_messages"]] == ["count"], where
        assert "canary" not in str(turns), where
        if form.status >= 400:
            assert call["outcome"] == "error", where
            assert call["error"]["message"], where
            assert (form.status, "req-1", 7.5) == (
                call["error"]["status"],
                call["error"]["request_id"],
                call["error"]["retry_after"],
            ), where
            continue
        skipped = set()
        expected = truth(form, events=stop if how.is_left else None)
        if how.is_left:
            skipped |= {"outcome", "usage", "response_id", "response_model", "finish_reason"}
            assert call["outcome"] in {"closed", "completed", "error"}, where
            if "no-deltas" in form.name:
                skipped |= {"text", "reasoning"}
        compare(turns, expected, skipped, where)
