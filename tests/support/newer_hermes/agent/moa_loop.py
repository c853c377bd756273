"""
The Mixture-of-Agents client: prepare and dispatch, rebase, interrupt, late accounting, a privacy filter.

It has the names, arguments and order of events that the target `hermes` relies on, and as little else as possible.
"""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from types import SimpleNamespace

from tools.thread_context import propagate_context_to_thread

from agent import auxiliary_client, settings

INTERRUPTED = "[skipped: interrupted by user]"
POLL = 0.02
"""Seconds between two looks at the agent's interrupt."""


# Privacy -----------------------------------------------------------------------------------------


def _moa_privacy_mode(raw):
    value = (raw or {}).get("privacy_filter")
    if value is True:
        return "full"
    return value if value in ("display", "full") else ""


def _redact_reference_text(text):
    if not isinstance(text, str) or not text:
        return text
    text = re.sub(r"[\w.+-]+@[\w.-]+\.\w+", "[redacted email]", text)
    return re.sub(r"\(\d{3}\) \d{3}-\d{4}", "[redacted phone]", text)


# Calls -------------------------------------------------------------------------------------------


class Accounting:
    """What is known of one reference's request."""

    def __init__(self, messages, *, output=None, usage=None):
        self.messages, self.output = messages, output
        self.usage = usage or SimpleNamespace(
            input_tokens=0, output_tokens=0, cache_read_tokens=0, cache_write_tokens=0, reasoning_tokens=0
        )
        self.cost_usd = None
        self.cost_status, self.cost_source = "unknown", "none"


def _slot_label(slot):
    return f"{slot['provider']}:{slot['model']}"


def _slot_runtime(slot):
    return {"provider": slot["provider"], "model": slot["model"], **settings.runtime()}


def _aggregator_reasoning_config(aggregator):
    return None


def call_llm(task=None, *, provider=None, model=None, base_url=None, api_key=None, messages=None, **more):
    client, _ = auxiliary_client._get_cached_client(provider, base_url=base_url, api_key=api_key)
    more.pop("reasoning_config", None)
    more = {name: value for name, value in more.items() if value is not None}
    return client.chat.completions.create(model=model, messages=messages, **more)


def _run_reference(slot, ref_messages, *, temperature=None, max_tokens=None):
    label = _slot_label(slot)
    messages = [{"role": "system", "content": "You are a reference advisor."}, *ref_messages]
    try:
        response = call_llm(task="moa_reference", messages=messages, temperature=temperature, **_slot_runtime(slot))
    except Exception as error:
        return label, f"[failed: {error}]", Accounting(messages)
    text = response.choices[0].message.content or "(empty response)"
    counted = SimpleNamespace(
        input_tokens=response.usage.prompt_tokens if response.usage else 0,
        output_tokens=response.usage.completion_tokens if response.usage else 0,
        cache_read_tokens=0,
        cache_write_tokens=0,
        reasoning_tokens=0,
    )
    return label, text, Accounting(messages, output=text, usage=counted)


def _run_references_parallel(slots, ref_messages, *, agent=None, late_accounting_sink=None):
    """Run the references at the same time; an interrupt leaves those that still run to themselves."""
    pool = ThreadPoolExecutor(max_workers=max(1, len(slots)))
    futures = [pool.submit(propagate_context_to_thread(_run_reference), slot, ref_messages) for slot in slots]
    running = set(futures)
    while running and not getattr(agent, "_interrupt_requested", False):
        _, running = wait(running, timeout=POLL)
    pool.shutdown(wait=False, cancel_futures=True)
    outputs = []
    for slot, future in zip(slots, futures, strict=True):
        if future.done() and not future.cancelled():
            outputs.append(future.result())
            continue
        outputs.append((_slot_label(slot), INTERRUPTED, Accounting(None)))
        if late_accounting_sink is not None and not future.cancelled():
            future.add_done_callback(lambda done: late_accounting_sink(done.result()[0], done.result()[2]))
    return outputs


def _guidance(outputs):
    good = [(label, text) for label, text, _ in outputs if not text.startswith(("[failed:", "[skipped:"))]
    return "\n\n".join(f"Reference {place} — {label}:\n{text}" for place, (label, text) in enumerate(good, 1))


def aggregate_moa_context(*, user_prompt, api_messages, reference_models, aggregator, agent=None):
    """Ask references and an aggregator once, for the advice in a text."""
    outputs = _run_references_parallel(reference_models, api_messages, agent=agent)
    if _moa_privacy_mode(settings.moa()) == "full":
        outputs = [(label, _redact_reference_text(text), accounting) for label, text, accounting in outputs]
    try:
        response = call_llm(
            task="moa_aggregator",
            messages=[{"role": "user", "content": f"{user_prompt}\n\n{_guidance(outputs)}"}],
            reasoning_config=_aggregator_reasoning_config(aggregator),
            **_slot_runtime(aggregator),
        )
        advice = response.choices[0].message.content
    except Exception:
        advice = _guidance(outputs)
    return f"[Mixture of Agents context]\n{advice}"


# The client --------------------------------------------------------------------------------------


class MoAChatCompletions:
    def __init__(self, preset_name, reference_callback=None, agent=None):
        self.preset_name = preset_name
        self._agent = agent
        self._lock = threading.Lock()
        self._privacy_mode = ""
        self._cached = (None, [])
        self.late = []

    def prepare(self, messages):
        return self.create(messages=messages, _moa_prepare_only=True)

    def rebase_prepared_request(self, prepared, messages):
        return {**prepared, "messages": [*messages, {"role": "user", "content": prepared["guidance"]}]}

    def _record_late_reference_accounting(self, label, accounting):
        with self._lock:
            self.late.append((label, accounting.usage.output_tokens))

    def _call_prepared_aggregator(self, prepared, api_kwargs):
        sent = {name: api_kwargs[name] for name in ("stream", "tools", "stream_options") if name in api_kwargs}
        return call_llm(
            task="moa_aggregator",
            messages=prepared["messages"],
            reasoning_config=_aggregator_reasoning_config(prepared["aggregator"]),
            **sent,
            **_slot_runtime(prepared["aggregator"]),
        )

    def create(self, **api_kwargs):
        prepared = api_kwargs.pop("_moa_prepared_request", None)
        if prepared is not None:
            return self._call_prepared_aggregator(prepared, api_kwargs)
        raw = settings.moa()
        self._privacy_mode = mode = _moa_privacy_mode(raw)
        preset = raw["presets"][self.preset_name]
        messages = list(api_kwargs["messages"])
        view = [message for message in messages if message["role"] != "system"]
        key, outputs = self._cached
        if key != repr(view):
            outputs = _run_references_parallel(
                preset["reference_models"],
                view,
                agent=self._agent,
                late_accounting_sink=self._record_late_reference_accounting,
            )
            was_interrupted = any(text == INTERRUPTED for _, text, _ in outputs)
            self._cached = (None, []) if was_interrupted else (repr(view), outputs)
        if mode == "full":
            outputs = [(label, _redact_reference_text(text), accounting) for label, text, accounting in outputs]
        guidance = _guidance(outputs)
        prepared = {
            "messages": [*messages, {"role": "user", "content": guidance}],
            "guidance": guidance,
            "aggregator": preset["aggregator"],
        }
        if api_kwargs.pop("_moa_prepare_only", False):
            return prepared
        return self._call_prepared_aggregator(prepared, api_kwargs)


class MoAClient:
    def __init__(self, preset_name, reference_callback=None, agent=None):
        self.chat = SimpleNamespace(completions=MoAChatCompletions(preset_name, reference_callback, agent))

    def consume_reference_usage(self):
        return None, None


def build_moa_facade(agent, preset_name=None):
    return MoAClient(preset_name or "team", agent=agent)
