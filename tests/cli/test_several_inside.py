"""References that make several requests: what the record, `moa show` and `moa stats` say of them."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest

import moa_middleware as moa
from moa_middleware import read
from moa_middleware.report._data import turn_data
from moa_middleware.testing import Script, ScriptedServer, capture_turns

TEXT = "Air scatters blue light far more than red light, which is why the sky is blue."
USAGE = {"prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14}


@pytest.fixture
def server():
    """Serve two models; a third is unknown, so that a request for it fails."""
    with ScriptedServer({"m": Script(TEXT, usage=USAGE), "agg": Script("So it is.", usage=USAGE)}) as made:
        yield made


def client_of(server, kind=openai.OpenAI):
    return moa.instrument(kind(base_url=server.base_url, api_key="k", max_retries=0))


def request(model, text="Why?"):
    return {"model": model, "messages": [{"role": "user", "content": text}]}


def fallback(client, *models):
    """Return the text of the first model that answers."""
    for model in models:
        try:
            return client.chat.completions.create(**request(model)).choices[0].message.content
        except openai.NotFoundError:
            continue
    raise LookupError("no model")


def run_turn(server, folder):
    """Write a turn of a reference that falls back, one that does not, and an aggregator that falls back."""
    moa.configure(save_traces=True, trace_dir=folder)
    client = client_of(server)
    with moa.turn(session_id="s"):
        texts = [
            moa.reference(label="flaky")(fallback)(client, "missing", "m"),
            moa.reference(label="a")(fallback)(client, "m"),
        ]

        @moa.aggregator(label="judge")
        def judge():
            fallback(client, "missing", "m")
            return client.chat.completions.create(**request("agg", "\n".join(texts))).choices[0].message.content

        judge()
    moa.flush()


def test_show_lists_the_reference_with_its_requests_below(server, run, tmp_path):
    """The outer records have their rows and numbers, with sums; the requests follow with an arrow."""
    run_turn(server, tmp_path / "t")
    shown = run("show", "last", str(tmp_path / "t")).stdout
    rows = [" ".join(line.split()[:3]) for line in shown.splitlines() if line.startswith(("✓", "✗"))]
    names = ["✓ ref 0", "✗ ↳ call", "✓ ↳ call", "✓ ref 1", "✓ agg judge", "✗ ↳ call", "✓ ↳ call", "✓ ↳ call"]
    assert names * 2 == rows
    assert "6 calls, 2 failed, 2 handled" in shown
    assert "unknown of" not in shown
    (turn,) = read.open(tmp_path / "t")
    spans = turn.timeline()
    assert [0, 1, 1, 0, 0, 1, 1, 1] == [one.depth for one in spans]
    assert [10, None, 10, 10, 20, None, 10, 10] == [one.usage.input_tokens for one in spans]
    assert turn.usage.input_tokens == turn.totals["usage"]["input_tokens"] == 40
    assert "flaky" == json.loads(run("show", "last", "--call=ref:0", "--json", str(tmp_path / "t")).stdout)["label"]


def test_stats_count_the_requests_as_the_references(server, tmp_path):
    """By role and label each request counts once, under the call with a role around it; by model under its own."""
    run_turn(server, tmp_path / "t")
    traces = read.open(tmp_path / "t")
    figures = {
        by: {row.key: (row.calls, row.failed, row.handled, row.usage.input_tokens) for row in traces.stats(by=by)}
        for by in ("role", "label", "model")
    }
    assert {"reference": (3, 1, 1, 20), "aggregator": (3, 1, 1, 20)} == figures["role"]
    assert {"flaky": (2, 1, 1, 10), "a": (1, 0, 0, 10), "judge": (3, 1, 1, 20)} == figures["label"]
    assert {"missing": (2, 2, 2, None), "m": (3, 0, 0, 30), "agg": (1, 0, 0, 10)} == figures["model"]
    assert [] == list(traces.turns(failed="unhandled"))


def test_a_report_counts_the_requests_once(server, tmp_path):
    """The outer call has a row of the timeline with sums, and no part of the shares."""
    run_turn(server, tmp_path / "t")
    (turn,) = read.open(tmp_path / "t")
    calls = sorted(turn_data(turn, turn, "f", content=False)["calls"], key=lambda call: call["row"])
    assert [False, True, True, True, False, True, True, True] == [call["asked"] for call in calls]
    assert [0, 1, 1, 0, 0, 1, 1, 1] == [call["depth"] for call in calls]
    assert [10, None, 10, 10, 20, None, 10, 10] == [call["usage"]["input_tokens"] for call in calls]


def test_async_functions_and_generators_handle_errors_too(server):
    """A coroutine, an async generator and a generator: the failed first request is handled."""

    @moa.reference
    async def ask():
        client = client_of(server, openai.AsyncOpenAI)
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(**request("missing"))
        return (await client.chat.completions.create(**request("m"))).choices[0].message.content

    @moa.reference
    async def stream():
        client = client_of(server, openai.AsyncOpenAI)
        with pytest.raises(openai.NotFoundError):
            await client.chat.completions.create(**request("missing"))
        yield (await client.chat.completions.create(**request("m"))).choices[0].message.content

    @moa.reference
    def pieces():
        yield fallback(client_of(server), "missing", "m")

    async def both():
        await ask()
        async for _ in stream():
            pass

    with capture_turns() as turns, moa.turn():
        asyncio.run(both())
        list(pieces())
    assert [("error", True), ("completed", None)] * 3 == [
        (call["outcome"], call.get("handled")) for call in turns[0]["calls"]
    ]
    assert 3 == turns[0]["totals"]["failed"]


def test_a_function_that_fails_itself_handled_nothing(server):
    """Both requests failed, and so did the function."""
    with capture_turns() as turns, moa.turn(), pytest.raises(LookupError):
        moa.reference(fallback)(client_of(server), "missing", "missing too")
    assert [("error", None)] * 2 == [(call["outcome"], call.get("handled")) for call in turns[0]["calls"]]
    assert 2 == turns[0]["totals"]["failed"]


def test_a_middleware_that_tries_again_handled_the_error(server):
    """The earlier attempt of the same call is handled, if the last one completed."""

    def retry(call):
        try:
            return (yield call)
        except openai.NotFoundError:
            return (yield call.replace(model="m"))

    moa.configure(middleware=[retry])
    client = client_of(server)
    with capture_turns() as turns, moa.turn():
        client.chat.completions.create(**request("missing"))
    assert [("error", True)] == [
        (call["outcome"], call.get("handled")) for call in turns[0]["calls"] if call["attempt"] == 1
    ]
