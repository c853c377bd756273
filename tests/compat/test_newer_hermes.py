"""
The target `hermes` on a double of the newer Hermes Agent: requests in two calls, and its privacy filter.

The double is in `tests/support/newer_hermes`. It has the names, arguments and order of events of the versions after
0.19.0 and asks the scripted server through the real SDK.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

import moa_middleware as moa
from moa_middleware._capture.turns.turn import open_turns
from moa_middleware.compat._hermes_privacy import PrivacyFilter
from moa_middleware.testing import Script, ScriptedServer

ROOT = Path(__file__).parents[2]
DOUBLE = ROOT / "tests" / "support" / "newer_hermes"
NAMES = ("agent", "tools", "run_agent")
ASKED = [{"role": "user", "content": "Why is the sky blue?"}]
PLAIN = {"one": "Air.", "two": "Waves.", "aggregator": "Because of the air."}
ANSWER = PLAIN["aggregator"]


class World:
    """The double, with a configuration that a test may change at any time."""

    def __init__(self, place):
        self.config = place / "config.json"
        self.url = ""
        self.privacy = ""

    def write(self):
        preset = {
            "reference_models": [{"provider": "openai", "model": name} for name in ("one", "two")],
            "aggregator": {"provider": "openai", "model": "aggregator"},
        }
        moa_part = {"privacy_filter": self.privacy, "presets": {"team": preset}}
        self.config.write_text(json.dumps({"base_url": self.url, "moa": moa_part}))

    def set_privacy(self, mode):
        self.privacy = mode
        self.write()

    def serve(self, scripts):
        server = ScriptedServer(scripts)
        self.url = server.start().base_url
        self.write()
        return server

    @property
    def loop(self):
        return importlib.import_module("agent.moa_loop")

    def completions(self, agent=None):
        return self.loop.MoAClient("team", agent=agent).chat.completions

    def agent(self, **more):
        return importlib.import_module("run_agent").AIAgent(**{"session_id": "s-1", **more})


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Return the double's world, instrumented; its modules are gone afterwards."""
    if importlib.util.find_spec("agent") is not None:
        pytest.skip("the real agent is installed here; its own tests run there")
    monkeypatch.syspath_prepend(str(DOUBLE))
    made = World(tmp_path)
    monkeypatch.setenv("NEWER_HERMES_CONFIG", str(made.config))
    moa.instrument("hermes")
    yield made
    moa.uninstrument("hermes")
    for name in [name for name in sys.modules if name.partition(".")[0] in NAMES]:
        del sys.modules[name]


@pytest.fixture
def served(world):
    """Serve plain scripts for the whole test."""
    server = world.serve(PLAIN)
    yield world
    server.stop()


@pytest.fixture
def silent(caplog):
    """Assert that nothing was logged at the level of a warning or above, and no fault was counted."""
    before = moa.status().faults
    yield
    records = [*caplog.get_records("setup"), *caplog.get_records("call")]
    assert [record.getMessage() for record in records if record.name.startswith("moa_middleware")] == []
    assert moa.status().faults == before


def text_of(stream):
    """Return the text of a stream, read to its end."""
    return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def check(turn, *, outcome="completed", asked=ASKED):
    """Assert that a turn has both references and the aggregator, each once."""
    assert [(r["label"], r["output"], r["layer"]) for r in turn["references"]] == [
        ("openai:one", "Air.", 1),
        ("openai:two", "Waves.", 1),
    ]
    assert turn["aggregator"]["label"] == "openai:aggregator"
    assert turn["output"] == turn["aggregator"]["output"] == ANSWER
    assert turn["input_messages"] == asked
    assert (turn["preset"], turn["outcome"], turn["instrumentation_errors"]) == ("team", outcome, 0)
    assert turn["totals"]["calls"] == 3


# Prepare and dispatch ------------------------------------------------------------------------------


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("compressions", [0, 2])
def test_a_conversation_is_one_turn(served, turns, stream, compressions):
    """Prepared here, rebased as often as the agent compresses, and asked in a thread of its own."""
    agent = served.agent(stream=stream, compressions=compressions)
    assert agent.run_conversation("Why is the sky blue?")["final_response"] == ANSWER
    (turn,) = turns
    check(turn, asked=[{"role": "system", "content": "You are an agent."}, *ASKED])
    assert turn["session_id"] == "s-1"
    sent = turn["aggregator"]["input_messages"]
    assert ("compressed 2 times" in sent[1]["content"]) is (compressions == 2)
    assert sent[-1]["content"] == "Reference 1 — openai:one:\nAir.\n\nReference 2 — openai:two:\nWaves."
    assert open_turns() == 0


@pytest.mark.usefixtures("silent")
def test_an_older_form_of_a_rebased_request_finishes_the_turn_too(served, turns):
    """The agent may fall back to the request that it prepared first."""
    completions = served.completions()
    prepared = completions.prepare(ASKED)
    completions.rebase_prepared_request(completions.rebase_prepared_request(prepared, ASKED), ASKED)
    assert completions.create(messages=[], _moa_prepared_request=prepared).choices[0].message.content == ANSWER
    (turn,) = turns
    check(turn)


@pytest.mark.usefixtures("silent")
def test_crosswise(served, turns):
    """Four requests are prepared and finished in another order, on other clients, in other threads."""
    clients = [served.completions() for _ in range(4)]
    asked = [[{"role": "user", "content": f"Question {number}?"}] for number in range(4)]
    prepared = [client.prepare(messages) for client, messages in zip(clients, asked, strict=True)]
    prepared[2] = clients[0].rebase_prepared_request(prepared[2], asked[2])

    def finish(number):
        other = clients[(number + 1) % 4]
        assert text_of(other.create(messages=[], stream=True, _moa_prepared_request=prepared[number])) == ANSWER

    threads = [threading.Thread(target=finish, args=(number,)) for number in (2, 0, 3, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(turns) == 4
    for turn in turns:
        number = int(turn["input_messages"][0]["content"].split()[1].strip("?"))
        check(turn, asked=asked[number])
        assert turn["aggregator"]["input_messages"][0]["content"] == f"Question {number}?"


@pytest.mark.usefixtures("silent")
def test_a_request_that_is_never_finished(served, turns):
    """Its turn is written as abandoned, with what its references said."""
    prepared = served.completions().prepare(ASKED)
    assert turns == []
    moa.flush(open_streams=True)
    (turn,) = turns
    assert turn["outcome"] == "abandoned"
    assert [r["output"] for r in turn["references"]] == ["Air.", "Waves."]
    assert (turn["aggregator"], turn["output"]) == (None, None)
    del prepared
    gc.collect()
    assert len(turns) == 1


@pytest.mark.usefixtures("silent")
def test_a_request_that_is_sent_twice(world, turns):
    """The agent sends a prepared request again after an error: both attempts are in lines, and the references once."""
    broken = Script(status=503, error={"message": "later"})
    server = world.serve({**PLAIN, "aggregator": [broken, ANSWER]})
    completions = world.completions()
    prepared = completions.prepare(ASKED)
    with pytest.raises(Exception, match="later"):
        completions.create(messages=[], _moa_prepared_request=prepared)
    assert completions.create(messages=[], _moa_prepared_request=prepared).choices[0].message.content == ANSWER
    server.stop()
    failed, again = turns
    assert (failed["outcome"], [r["output"] for r in failed["references"]]) == ("error", ["Air.", "Waves."])
    assert (again["outcome"], again["references"], again["output"]) == ("completed", [], ANSWER)


def wait_for(condition):
    """Wait until something is true, 30 seconds at most."""
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def interrupted(world, release):
    """Ask while one reference hangs, and interrupt the agent; the late reference goes on until `release`."""
    asked = threading.Event()

    def hangs(body):
        asked.set()
        return Script("Late words of jane.doe@example.com.", wait=lambda: release.wait(30))

    server = world.serve({**PLAIN, "two": hangs})
    agent = world.agent()

    def interrupt():
        assert asked.wait(30)
        wait_for(lambda: "one" in {sent.model for sent in server.sent})
        time.sleep(0.2)  # until the client has read it
        agent.interrupt()

    thread = threading.Thread(target=interrupt)
    thread.start()
    answer = agent.run_conversation("Why is the sky blue?")["final_response"]
    thread.join(30)
    return server, agent, answer


@pytest.mark.usefixtures("silent")
def test_an_interrupt_with_a_late_reference(world, trace_dir, read_lines):
    """The turn is written without it, and its own line follows when it has ended: what was billed is not lost."""
    release = threading.Event()
    server, agent, answer = interrupted(world, release)
    assert answer == ANSWER
    (turn,) = read_lines(trace_dir)
    assert [(r["output"], r["outcome"]) for r in turn["references"]] == [("Air.", "completed"), (None, None)]
    assert turn["output"] == ANSWER
    release.set()
    wait_for(lambda: agent.client.chat.completions.late)
    wait_for(lambda: len(read_lines(trace_dir)) == 2)
    server.stop()
    (late,) = [line for line in read_lines(trace_dir) if line["schema"] == "moa-late/1"]
    assert (late["turn_id"], late["session_id"]) == (turn["turn_id"], "s-1")
    call = late["call"]
    assert (call["label"], call["role"], call["layer"], call["late"]) == ("openai:two", "reference", 1, True)
    assert call["output"] == "Late words of jane.doe@example.com."
    assert agent.client.chat.completions.late == [("openai:two", call["usage"]["output_tokens"])]


@pytest.mark.usefixtures("silent")
def test_one_shot_advice(served, turns):
    """`/moa` is a turn as well."""
    slots = [{"provider": "openai", "model": name} for name in ("one", "two")]
    text = served.loop.aggregate_moa_context(
        user_prompt="Why?",
        api_messages=ASKED,
        reference_models=slots,
        aggregator={"provider": "openai", "model": "aggregator"},
    )
    (turn,) = turns
    assert [r["output"] for r in turn["references"]] == ["Air.", "Waves."]
    assert turn["aggregator"]["output"] == ANSWER
    assert turn["output"] == text


def test_everything_is_put_back(served):
    """Every function of the double is its own again."""
    loop = served.loop
    owners = (loop, loop.MoAChatCompletions, sys.modules["agent.auxiliary_client"], sys.modules["tools.thread_context"])
    moa.uninstrument("hermes")
    before = [dict(vars(owner)) for owner in owners]
    assert not hasattr(loop._moa_privacy_mode, "__wrapped__")
    moa.instrument("hermes")
    assert hasattr(loop._moa_privacy_mode, "__wrapped__")
    moa.uninstrument("hermes")
    assert before == [dict(vars(owner)) for owner in owners]


# The privacy filter --------------------------------------------------------------------------------

EMAIL = "jane.doe@example.com"
PHONE = "(555) 123-4567"
SECRET = "sk-1234567890abcdefghijklmnop"
FOUND = f"mail {EMAIL}, call {PHONE}, key {SECRET}"
TOOL_CALL = {"id": "c1", "type": "function", "function": {"name": "send", "arguments": json.dumps({"to": [EMAIL]})}}
PRIVATE = {
    "one": Script(f"One says {FOUND}.", reasoning=f"I thought of {FOUND}."),
    "two": Script(status=400, error={"message": f"refused for {FOUND}"}),
    "aggregator": Script(f"Write to {FOUND}.", tool_calls=[TOOL_CALL], reasoning=f"Of course {FOUND}."),
}
TOOLS = [{"type": "function", "function": {"name": "send", "description": f"Ask {EMAIL} first.", "parameters": {}}}]
PRIVATE_ASKED = [{"role": "user", "content": [{"type": "text", "text": f"I am {FOUND}."}]}]


def ask(world, *, stream=False, messages=PRIVATE_ASKED):
    """Ask the client once, in two calls, and return the text that its user gets."""
    completions = world.completions()
    with moa.tag(session_id="s-1", tags={"who": EMAIL}):
        prepared = completions.prepare(messages)
        reply = completions.create(messages=[], stream=stream, tools=TOOLS, _moa_prepared_request=prepared)
        if stream:
            return text_of(reply)
    return reply.choices[0].message.content


def written(place):
    """Return everything that was written below a directory."""
    return "".join(file.read_text() for file in sorted(place.rglob("*")) if file.is_file())


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("mode", ["display", "full"])
def test_the_filter_is_on_everything_that_is_written(world, trace_dir, read_lines, mode, stream):
    """Prompts, answers, errors, tool calls, reasoning, tags: written without it, given to its user as it was."""
    world.privacy = mode
    with world.serve(PRIVATE) as server:
        assert ask(world, stream=stream) == f"Write to {FOUND}."
        sent = json.dumps([received.body for received in server.received])
    assert EMAIL in sent
    text = written(trace_dir)
    assert EMAIL not in text
    assert PHONE not in text
    (turn,) = read_lines(trace_dir)
    hidden = FOUND.replace(EMAIL, "[redacted email]").replace(PHONE, "[redacted phone]")
    one, two = turn["references"]
    assert one["output"] == f"One says {hidden}."
    assert one["reasoning"] == f"I thought of {hidden}."
    assert one["input_messages"][1]["content"] == [{"type": "text", "text": f"I am {hidden}."}]
    assert "[redacted email]" in two["error"]["message"]
    assert "[redacted email]" in two["output"]
    aggregator = turn["aggregator"]
    assert aggregator["output"] == turn["output"] == f"Write to {hidden}."
    assert aggregator["reasoning"] == f"Of course {hidden}."
    assert json.loads(aggregator["tool_calls"][0]["function"]["arguments"]) == {"to": ["[redacted email]"]}
    assert aggregator["params"]["tools"][0]["function"]["description"] == "Ask [redacted email] first."
    assert turn["tags"]["who"] == "[redacted email]"
    assert turn["instrumentation_errors"] == 0


@pytest.mark.usefixtures("silent")
def test_each_turn_has_its_own_mode(world, turns):
    """The configuration is read at each turn; two that overlap do not share it, in whichever order they end."""
    with world.serve(PLAIN):
        messages = [{"role": "user", "content": f"I am {EMAIL}."}]
        completions = world.completions()
        world.set_privacy("full")
        filtered = completions.prepare(messages)
        world.set_privacy("")
        plain = completions.prepare(messages)
        completions.create(messages=[], _moa_prepared_request=plain)
        completions.create(messages=[], _moa_prepared_request=filtered)
        world.set_privacy("display")
        completions.create(messages=messages)
        world.set_privacy("")
        completions.create(messages=messages)
    assert [turn["input_messages"][0]["content"] for turn in turns] == [
        f"I am {EMAIL}.",
        "I am [redacted email].",
        "I am [redacted email].",
        f"I am {EMAIL}.",
    ]


@pytest.mark.usefixtures("silent")
def test_a_late_reference_is_filtered(world, trace_dir, read_lines):
    """It ends after its turn, perhaps when the mode is another one: the turn's own is what counts."""
    release = threading.Event()
    world.privacy = "display"
    server, agent, _ = interrupted(world, release)
    world.set_privacy("")
    release.set()
    wait_for(lambda: agent.client.chat.completions.late)
    wait_for(lambda: len(read_lines(trace_dir)) == 2)
    server.stop()
    (late,) = [line for line in read_lines(trace_dir) if line["schema"] == "moa-late/1"]
    assert late["call"]["output"] == "Late words of [redacted email]."
    assert EMAIL not in written(trace_dir)


@pytest.mark.usefixtures("silent")
@pytest.mark.parametrize("mode", ["", "display"])
def test_one_shot_advice_is_filtered(world, trace_dir, read_lines, monkeypatch, mode):
    """`/moa` resolves the mode when its references have answered; what the journal has of them by then is filtered."""
    monkeypatch.setenv("MOA_JOURNAL", "1")
    world.privacy = mode
    kept = []

    def answer(_body):
        kept.append(written(trace_dir / "open"))
        return f"Write to {EMAIL}."

    with world.serve({"one": EMAIL, "two": "Waves.", "aggregator": answer}):
        text = world.loop.aggregate_moa_context(
            user_prompt="Why?",
            api_messages=ASKED,
            reference_models=[{"provider": "openai", "model": name} for name in ("one", "two")],
            aggregator={"provider": "openai", "model": "aggregator"},
        )
    assert text.endswith(f"Write to {EMAIL}.")
    (journal,) = kept
    assert "[redacted email]" in journal
    assert EMAIL not in journal
    (turn,) = read_lines(trace_dir)
    hidden = "[redacted email]" if mode else EMAIL
    assert [r["output"] for r in turn["references"]] == [hidden, "Waves."]
    assert turn["aggregator"]["output"] == f"Write to {hidden}."


@pytest.mark.usefixtures("silent")
def test_references_outside_a_turn_are_filtered(world, turns):
    """Somebody calls the agent's functions directly: the mode is not known there, so it is on."""
    with world.serve(PRIVATE):
        world.loop._run_reference({"provider": "openai", "model": "one"}, ASKED)
    (turn,) = turns
    assert turn["implicit"]
    assert EMAIL not in json.dumps(turn)
    assert "[redacted email]" in turn["references"][0]["output"]


@pytest.mark.usefixtures("silent")
def test_it_combines_with_rules_and_sizes(world, trace_dir, read_lines, monkeypatch):
    """`MOA_REDACT` comes first, `configure(redact=…)` next, the agent's filter last; sizes alone have no content."""
    monkeypatch.setenv("MOA_REDACT", "secrets")
    moa.configure(redact=lambda text: text.replace("One says", "Somebody says"))
    world.privacy = "full"
    with world.serve(PRIVATE):
        ask(world)
    (turn,) = read_lines(trace_dir)
    text = turn["references"][0]["output"]
    assert text == "Somebody says mail [redacted email], call [redacted phone], key [secret]."
    monkeypatch.setenv("MOA_CAPTURE", "metadata")
    with world.serve(PRIVATE):
        ask(world)
    _, sizes = read_lines(trace_dir)
    assert sizes["output"] is None
    assert sizes["omitted"]["output"]["reason"] == "metadata"
    assert EMAIL not in written(trace_dir)


def _fails(text):
    raise ValueError(text)


@pytest.mark.parametrize("broken", [_fails, lambda text: None, "missing"], ids=["raises", "returns", "missing"])
def test_a_filter_that_fails_leaves_no_content(world, trace_dir, read_lines, caplog, broken):
    """The field is dropped and marked, and the fault is logged without content; nothing is written as it was."""
    world.privacy = "full"
    server = world.serve(PRIVATE)
    completions = world.completions()
    prepared = completions.prepare(PRIVATE_ASKED)
    if broken == "missing":
        del world.loop._redact_reference_text
    else:
        world.loop._redact_reference_text = broken
    assert completions.create(messages=[], _moa_prepared_request=prepared).choices[0].message.content
    server.stop()
    text = written(trace_dir)
    for content in (EMAIL, PHONE, SECRET, "Write to"):
        assert content not in text
        assert content not in caplog.text
    (turn,) = read_lines(trace_dir)
    assert turn["output"] is None
    assert turn["omitted"]["output"]["reason"] == "redactor_failed"
    assert turn["aggregator"]["omitted"]["output"]["reason"] == "redactor_failed"
    assert [r["label"] for r in turn["references"]] == ["openai:one", "openai:two"]
    assert turn["aggregator"]["usage"]["output_tokens"] > 0
    assert turn["instrumentation_errors"] > 0
    assert "moa.observer_failed observer=redact" in caplog.text


def test_a_mode_that_cannot_be_resolved_counts_as_on(world, trace_dir, read_lines):
    """The configuration is broken, the agent raises, and the prompt is written as if the filter were on."""
    with world.serve(PLAIN):
        completions = world.completions()
        world.config.write_text("{")
        with pytest.raises(ValueError, match="Expecting"):
            completions.create(messages=PRIVATE_ASKED)
    (turn,) = read_lines(trace_dir)
    assert turn["outcome"] == "error"
    assert "[redacted email]" in turn["input_messages"][0]["content"][0]["text"]


def test_a_version_that_only_has_the_attribute(world, turns, monkeypatch):
    """The mode is on the client, and the function that resolves it has another name: it is seen at each line."""
    loop = world.loop
    moa.uninstrument("hermes")
    monkeypatch.delattr(loop, "_moa_privacy_mode")

    class Other(loop.MoAChatCompletions):
        def create(self, **api_kwargs):
            self._privacy_mode = loop.settings.moa()["privacy_filter"]
            return self._call_prepared_aggregator(
                {"messages": api_kwargs["messages"], "aggregator": {"provider": "openai", "model": "aggregator"}}, {}
            )

    monkeypatch.setattr(loop, "MoAChatCompletions", Other)
    moa.instrument("hermes")
    with world.serve(PLAIN):
        for mode in ("full", ""):
            world.set_privacy(mode)
            loop.MoAChatCompletions("team").create(messages=PRIVATE_ASKED)
    assert [EMAIL in json.dumps(turn) for turn in turns] == [False, True]


class Slotted:
    """A completions object that cannot be referenced weakly."""

    __slots__ = ("_privacy_mode",)


class Raising:
    """One that does not say its mode."""

    @property
    def _privacy_mode(self):
        raise RuntimeError


@pytest.mark.parametrize("is_prepared", [False, True])
def test_any_completions_object_will_do(is_prepared):
    """Slots, a property that raises, or none at all; what cannot be known is on."""
    slotted = Slotted()
    slotted._privacy_mode = "full"
    assert len(PrivacyFilter(slotted, is_prepared=is_prepared)()) == 1
    raising = Raising()
    assert len(PrivacyFilter(raising, is_prepared=is_prepared)()) == 1
    assert PrivacyFilter(None, is_prepared=is_prepared)() == ()
    assert PrivacyFilter(object(), is_prepared=is_prepared)() == ()


SCRIPT = """
import os, signal, sys, threading
from agent import moa_loop
client = moa_loop.MoAClient("team")
asked = [{"role": "user", "content": sys.argv[1]}]
prepared = client.chat.completions.prepare(asked)
if sys.argv[2] == "kill":
    os.kill(os.getpid(), signal.SIGKILL)
print(client.chat.completions.create(messages=[], _moa_prepared_request=prepared).choices[0].message.content)
"""


@pytest.mark.processes
@pytest.mark.parametrize("how", ["end", "kill"])
def test_by_zero_code_and_with_a_journal(world, trace_dir, read_lines, tmp_path, how):
    """A process of its own: its lines, or what is recovered of it after it was killed, have passed the filter."""
    script = tmp_path / "app.py"
    script.write_text(SCRIPT)
    world.privacy = "full"
    environment = {
        **os.environ,
        "MOA_INSTRUMENT": "hermes",
        "MOA_JOURNAL": "1",
        "PYTHONPATH": f"{DOUBLE}{os.pathsep}{ROOT}",
    }
    command = [sys.executable, "-m", "moa_middleware", "run", str(script), f"I am {EMAIL}.", how]
    with world.serve({"one": f"Ask {EMAIL}.", "two": "Waves.", "aggregator": f"Write to {EMAIL}."}):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    assert EMAIL not in written(trace_dir)
    if how == "kill":
        assert done.returncode == -signal.SIGKILL
        assert "[redacted email]" in written(trace_dir / "open")
        recover = [sys.executable, "-m", "moa_middleware", "recover", str(trace_dir)]
        subprocess.run(recover, env=environment, capture_output=True, check=False, timeout=60)
        assert EMAIL not in written(trace_dir)
    else:
        assert (done.returncode, done.stdout) == (0, f"Write to {EMAIL}.\n")
    (turn,) = read_lines(trace_dir)
    assert turn["outcome"] == ("crashed" if how == "kill" else "completed")
    assert [r["output"] for r in turn["references"]] == ["Ask [redacted email].", "Waves."]
    assert turn["input_messages"][0]["content"] == "I am [redacted email]."
