"""Estimates of costs by the prices that genai-prices ships, against figures computed by hand from its data."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version

import openai
import pytest
from genai_prices.data import providers
from genai_prices.types import TieredPrices

import moa_middleware as moa
from moa_middleware import read
from moa_middleware.read import Cost, has_prices
from moa_middleware.records import EMPTY_CALL, EMPTY_TURN
from moa_middleware.testing import Script, ScriptedServer

TABLE = f"genai-prices {version('genai-prices')}"
AT = 1_796_000_000.0
"""On 30 Nov 2026: prices of the table that began earlier are in force."""
GROQ, ROUTER = "https://api.groq.com/openai/v1", "https://openrouter.ai/api/v1"
AZURE, GOOGLE = "https://mine.openai.azure.com/openai", "https://generativelanguage.googleapis.com/v1beta"
LOCAL = "http://127.0.0.1:8000/v1"


def call(model, *, said=1000, out=100, read=None, written=None, reasoning=None, **more):
    """Return the record of a call."""
    usage = {"input_tokens": said, "output_tokens": out, "cache_read_tokens": read, "cache_write_tokens": written}
    known = {"role": "reference", "outcome": "completed", "source": "provider", "started_at": AT, "cost_usd": None}
    return {
        **EMPTY_CALL,
        "label": "a",
        "role_source": "declared",
        **known,
        "model": model,
        "usage": {**usage, "reasoning_tokens": reasoning},
        **more,
    }


def traces(folder, *turns):
    """Write turns with these calls, and return their directory."""
    folder.mkdir()
    with (folder / "s.jsonl").open("w") as file:
        for number, calls in enumerate(turns):
            turn = {**EMPTY_TURN, "schema": "moa-turn/1", "turn_id": f"t-{number}", "session_id": "s", "started_at": AT}
            asked = [{"role": "user", "content": f"question {number}"}]
            totals = {
                **EMPTY_TURN["totals"],
                "calls": len(calls),
                "unpriced": sum(one["cost_usd"] is None for one in calls),
            }
            line = {**turn, "ts": AT, "input_messages": asked, "outcome": "completed", "totals": totals}
            print(json.dumps({**line, "references": list(calls), "aggregator": None, "calls": []}), file=file)
    return folder


def prices(provider, model):
    """Return the prices of a model in the package's own data, in USD for a million tokens."""
    found = next(one for one in providers if one.id == provider)
    entry = next(one for one in found.models if one.id == model).prices
    if isinstance(entry, list):
        entry = entry[0].prices if len(entry) == 1 else entry[-1].prices
    return entry


def estimate_of(tmp_path, record):
    """Return the estimate of a call that is read from a file."""
    (turn,) = read.open(traces(tmp_path / "t", [record])).turns()
    return turn.references[0].estimate()


MATCHED = {
    "openai": (call("gpt-4.1", provider="openai", endpoint="https://api.openai.com/v1"), "openai", "gpt-4.1"),
    "dated": (call("x", response_model="gpt-4.1-2025-04-14", provider="openai"), "openai", "gpt-4.1"),
    "anthropic": (call("claude-haiku-4-5", provider="anthropic"), "anthropic", "claude-haiku-4-5"),
    "google": (call("models/gemini-2.5-flash", provider="google", endpoint=GOOGLE), "google", "gemini-2.5-flash"),
    "groq": (call("llama-3.3-70b-versatile", provider="openai", endpoint=GROQ), *("groq", "llama-3.3-70b-versatile")),
    "openrouter": (call("openai/gpt-4.1", provider="openai", endpoint=ROUTER), "openrouter", "openai/gpt-4.1"),
    "azure deployment": (call("mine", response_model="gpt-4.1", endpoint=AZURE), "azure", "gpt-4.1"),
    "gateway": (call("openai/gpt-4.1", provider="openai", endpoint=LOCAL), "openai", "gpt-4.1"),
    "gateway's alias": (call("gpt-4.1", response_model="prod", endpoint=LOCAL), "openai", "gpt-4.1"),
    "mistral": (call("mistral-large-latest", provider="mistralai"), "mistral", "mistral-large"),
    "litellm": (call("groq/llama-3.3-70b-versatile", provider="litellm"), "groq", "llama-3.3-70b-versatile"),
    "hardly anything": (call("gpt-4.1", provider=None, endpoint=None), "openai", "gpt-4.1"),
}


@pytest.mark.parametrize("case", MATCHED)
def test_a_model_has_the_price_of_its_seller(case, tmp_path):
    """By the endpoint, the provider or the name; the figure is tokens times the table's prices."""
    record, provider, model = MATCHED[case]
    found = estimate_of(tmp_path, record)
    rates = prices("openai" if provider == "azure" else provider, model)  # Azure's are its vendor's
    by_hand = (1000 * float(rates.input_mtok) + 100 * float(rates.output_mtok)) / 1e6
    assert (provider, TABLE) == (found.provider, found.table)
    assert found.usd == pytest.approx(by_hand, rel=1e-12)
    assert by_hand > 0


UNKNOWN = {
    "no such model": call("gpt-99-imaginary", provider="openai"),
    "no name": call(None, provider="openai"),
    "open weights here": call("llama-3.3-70b-versatile", provider="openai", endpoint=LOCAL),
    "open weights of a vendor": call("gpt-oss-120b", provider="openai", endpoint=LOCAL),
    "a local copy": call("deepseek-r1:8b", provider="ollama", endpoint=LOCAL),
    "not sold there": call("claude-haiku-4-5", provider="openai", endpoint=GROQ),
    "no price in the table": call("gemma-3", provider="google", endpoint=GOOGLE),
    "no tokens": call("gpt-4.1", said=None, out=None),
    "no output": call("gpt-4.1", out=None),
    "no input": call("gpt-4.1", said=None),
    "nonsense": call("gpt-4.1", said=-5),
}


@pytest.mark.parametrize("case", UNKNOWN)
def test_what_is_not_certain_is_unknown_and_never_nothing(case, tmp_path):
    """There is no estimate, and the cost says that it lacks the call."""
    folder = traces(tmp_path / "t", [UNKNOWN[case]])
    (turn,) = read.open(folder).turns()
    assert turn.references[0].estimate() is None
    assert Cost(None, 1) == turn.cost == read.stats(folder).total.cost
    assert "unknown (1 unpriced)" == str(turn.cost)


@pytest.mark.parametrize("source", ["cache", "middleware"])
def test_what_asked_no_model_costs_nothing(source, tmp_path):
    """A cached answer repeats the tokens of the one that was paid."""
    folder = traces(tmp_path / "t", [call("gpt-4.1", source=source)])
    (turn,) = read.open(folder).turns()
    assert (None, Cost(), "$0") == (turn.references[0].estimate(), turn.cost, str(turn.cost))


@pytest.mark.parametrize(
    ("model", "seller"), [("gpt-4.1", "openai"), ("claude-haiku-4-5", "anthropic"), ("gemini-2.5-flash", "google")]
)
def test_cached_tokens_have_their_own_price(model, seller, tmp_path):
    """The record's input is without them, the package's with them; a write without a price is input."""
    rates = prices(seller, model)
    found = estimate_of(tmp_path, call(model, said=500, out=70, read=2000, written=300))
    write = rates.input_mtok if rates.cache_write_mtok is None else rates.cache_write_mtok
    parts = (500 * rates.input_mtok, 2000 * rates.cache_read_mtok, 300 * write, 70 * rates.output_mtok)
    assert found.usd == pytest.approx(float(sum(parts)) / 1e6, rel=1e-12)
    assert rates.cache_read_mtok < rates.input_mtok


def test_reasoning_is_a_part_of_the_output(tmp_path):
    """It is not paid twice."""
    rates = prices("openai", "o3")
    found = estimate_of(tmp_path, call("o3", said=100, out=900, reasoning=800))
    assert found.usd == pytest.approx(float(100 * rates.input_mtok + 900 * rates.output_mtok) / 1e6, rel=1e-12)


def test_a_long_prompt_has_the_price_of_long_prompts(tmp_path):
    """With its cached part it is beyond the step, so that every token costs more."""
    rates = prices("anthropic", "claude-sonnet-4-5")
    assert isinstance(rates.input_mtok, TieredPrices)
    found = estimate_of(tmp_path, call("claude-sonnet-4-5", said=100_000, out=1000, read=150_000))
    tokens = ((rates.input_mtok, 100_000), (rates.cache_read_mtok, 150_000), (rates.output_mtok, 1000))
    assert found.usd == pytest.approx(sum(float(price.tiers[0].price) * many for price, many in tokens) / 1e6)


def test_a_service_tier_has_its_price(tmp_path):
    """As the provider reported it."""
    usd = {
        tier: estimate_of(tmp_path / tier, call("gpt-5.2", service_tier=tier))
        for tier in ("default", "flex", "priority", "unheard-of")
        if (tmp_path / tier).mkdir() is None
    }
    assert usd["flex"].usd < usd["default"].usd < usd["priority"].usd
    assert usd["default"].usd == usd["unheard-of"].usd


def test_a_recorded_cost_wins(tmp_path):
    """Of a call that has one nothing is estimated, and both kinds stay apart in every sum."""
    paid, free = call("gpt-4.1", cost_usd=0.5), call("gpt-4.1", cost_usd=0.0)
    folder = traces(tmp_path / "t", [paid, call("gpt-4.1"), call("no-such-model")], [free], [call("claude-haiku-4-5")])
    run = read.open(folder)
    mixed, nothing, estimated = run.turns()
    rates = prices("openai", "gpt-4.1")
    usd = float(1000 * rates.input_mtok + 100 * rates.output_mtok) / 1e6
    assert (0.5, 2, 1, 1) == (mixed.cost.known_usd, mixed.cost.unpriced, mixed.cost.estimated, mixed.cost.unknown)
    assert mixed.cost.estimated_usd == pytest.approx(usd)
    assert mixed.cost.total_usd == pytest.approx(0.5 + usd)
    assert f">= $0.5028 ($0.0028 estimated, {TABLE}; 1 unpriced)" == str(mixed.cost)
    assert (Cost(0.0), "$0.0000") == (nothing.cost, str(nothing.cost))
    assert f"$0.0015 (estimated, {TABLE})" == str(estimated.cost)
    for total in (run.cost(), read.stats(folder).total.cost, sum((turn.cost for turn in run), Cost())):
        assert (0.5, 3, 2, TABLE) == (total.known_usd, total.unpriced, total.estimated, total.price_table)
        assert total.estimated_usd == pytest.approx(mixed.cost.estimated_usd + estimated.cost.estimated_usd)
    assert [0.5, None, None] == [
        run.stats("model").row(key).cost.known_usd for key in ("gpt-4.1", "claude-haiku-4-5", "no-such-model")
    ]
    shares = [span.cost_share for span in mixed.timeline()]
    assert shares == [pytest.approx(0.5 / (0.5 + usd)), pytest.approx(usd / (0.5 + usd)), None]


def test_without_estimates_costs_are_what_was_recorded(tmp_path):
    """`estimate=False` reads the same files as without the extra."""
    folder = traces(tmp_path / "t", [call("gpt-4.1", cost_usd=0.5), call("gpt-4.1")])
    run = read.open(folder, estimate=False)
    (turn,) = run.turns()
    assert Cost(0.5, 1) == turn.cost == run.cost() == run.stats().total.cost
    assert [1.0, None] == [span.cost_share for span in turn.timeline()]
    assert Cost(0.5, 1) == next(iter(read.tail(folder, follow=False, estimate=False))).cost
    assert 1 == next(iter(read.tail(folder, follow=False))).cost.estimated


def test_filters_and_comparisons_count_estimates(tmp_path):
    """What a turn costs is recorded and estimated together."""
    cheap = traces(tmp_path / "a", [call("gpt-4.1")])
    costly = traces(tmp_path / "b", [call("gpt-4.1", out=100_000)])
    assert (0, 1) == tuple(len(list(read.open(one).turns(min_cost=0.5))) for one in (cheap, costly))
    assert 0 == len(list(read.open(costly, estimate=False).turns(min_cost=0.5)))
    found = read.compare(cheap, costly)
    more = float(99_900 * prices("openai", "gpt-4.1").output_mtok) / 1e6
    assert more == pytest.approx(found.total.cost_usd) == pytest.approx(found.costlier[0].cost_usd)


def test_tables_have_both(tmp_path):
    """In columns of their own; a null is no estimate."""
    folder = traces(tmp_path / "t", [call("gpt-4.1", cost_usd=0.5), call("gpt-4.1"), call("nope")])
    found = read.open(folder).tables()
    (turn,) = found.turns.to_pylist()
    assert (0.5, 2, 1, TABLE) == (turn["cost_usd"], turn["unpriced"], turn["estimated"], turn["price_table"])
    assert turn["estimated_usd"] == pytest.approx(0.0028)
    assert [None, pytest.approx(0.0028), None] == found.calls["estimated_usd"].to_pylist()
    assert [0.5, None, None] == found.calls["cost_usd"].to_pylist()


def test_json_and_pickles_keep_both(tmp_path):
    """A turn that crosses a process still estimates, and the record stays as it was written."""
    folder = traces(tmp_path / "t", [call("gpt-4.1")])
    (turn,) = read.open(folder).turns()
    found = read.to_jsonable(turn.cost)
    assert {"known_usd": None, "unpriced": 1, "estimated": 1, "price_table": TABLE, "complete": False} == {
        name: found[name] for name in ("known_usd", "unpriced", "estimated", "price_table", "complete")
    }
    assert found["estimated_usd"] == found["total_usd"] == pytest.approx(0.0028)
    assert turn.cost == pickle.loads(pickle.dumps(turn)).cost
    assert "estimated" not in json.dumps(turn.as_dict())


def test_real_records_of_a_mixture_are_estimated(tmp_path):
    """The SDK against the scripted server: a model in the table, one that is not, and a cost that is reported."""
    scripts = {
        "gpt-4.1": Script("one", usage={"prompt_tokens": 1000, "completion_tokens": 100}),
        "nobody-sells-this": Script("two", usage={"prompt_tokens": 1000, "completion_tokens": 100}),
        "claude-haiku-4-5": Script("three", usage={"prompt_tokens": 9, "completion_tokens": 9, "cost": 0.25}),
    }
    moa.configure(save_traces=True, trace_dir=tmp_path / "t")
    with ScriptedServer(scripts) as server:
        client = moa.instrument(openai.OpenAI(base_url=server.base_url, api_key="k"))
        with moa.turn(), ThreadPoolExecutor(1) as pool:
            for model in scripts:
                pool.submit(client.chat.completions.create, model=model, messages=[]).result()
    (turn,) = read.open(tmp_path / "t").turns()
    assert f">= $0.2528 ($0.0028 estimated, {TABLE}; 1 unpriced)" == str(turn.cost)


PROGRAM = """
import sys
def refuse(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.bind"):
        raise SystemExit(f"network: {event} {args}")
sys.addaudithook(refuse)
from moa_middleware import read
hidden = "hidden" in sys.argv
if hidden:
    sys.modules["genai_prices"] = None
run = read.open(sys.argv[1])
for turn in run.turns():
    turn.name, turn.question, turn.usage
before = "genai_prices" in sys.modules and not hidden
print(before, run.cost(), any(t.name.startswith("genai") for t in __import__("threading").enumerate()))
"""


def run_alone(*args):
    return subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, args)], capture_output=True, text=True, timeout=60, check=False
    )


def test_prices_are_imported_where_a_cost_needs_them_and_without_a_network(tmp_path):
    """In a process that ends at the first look for a host; figures that need no price import nothing."""
    folder = traces(tmp_path / "t", [call("gpt-4.1")])
    done = run_alone(folder)
    assert (0, f"False $0.0028 (estimated, {TABLE}) False\n", "") == (done.returncode, done.stdout, done.stderr)
    paid = traces(tmp_path / "paid", [call("gpt-4.1", cost_usd=1.0)])
    code = "import sys; from moa_middleware import read; read.stats(sys.argv[1]); print('genai_prices' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code, paid], capture_output=True, text=True, timeout=60, check=True)
    assert "False\n" == done.stdout


def test_without_the_extra_costs_stay_unknown(tmp_path):
    """In a process where the package cannot be imported; nothing is said by the library."""
    done = run_alone(traces(tmp_path / "t", [call("gpt-4.1")]), "hidden")
    assert (0, "False unknown (1 unpriced) False\n", "") == (done.returncode, done.stdout, done.stderr)
    assert has_prices()
