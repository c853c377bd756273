"""
A run to look at: the real client asks the scripted server, whose models answer, fail, are late, think and use tools.

It is what the tests of the page read, and what `python -m tests.support.screenshots` takes pictures of.
"""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import openai

import moa_middleware as moa
from moa_middleware.testing import Script, ScriptedServer

REFERENCES = ("gpt-4.1-mini", "claude-sonnet-4", "gemini-2.5-flash", "deepseek-v3")
PRICES = {
    "gpt-4.1-mini": 0.0006,
    "claude-sonnet-4": 0.0052,
    "gemini-2.5-flash": 0.0009,
    "gpt-4.1": 0.0118,
    "gpt-5": 0.0194,
}
SYSTEM = "You answer questions of engineers. Be short, name the trade-off, and say what you would measure."

TURNS = [
    {
        "ask": "Our p99 latency doubles every few minutes, then recovers. CPU is at 40 %. Where would you look first?",
        "say": (
            (
                "Look at garbage collection first: a pause that comes every few minutes and goes again is the usual shape of a "
                "full collection. Turn on the collector's log and lay its pauses over the latency graph. If they do not line "
                "up, look at periodic jobs on the same host."
            ),
            (
                "Something periodic is at work. I would check, in this order: a full garbage collection, a cron job or a log "
                "rotation on the same host, and a connection pool that is emptied when idle connections expire. Compare the "
                "p99 of one instance with that of the others: if all of them rise at once, it is not the process itself."
            ),
            (
                "With the CPU at 40 % the requests are waiting, not working. Check the size of the connection pool and how long "
                "a request waits for a connection. Compare the p99 of one instance with that of the others."
            ),
            "Likely garbage collection. Increase the heap.",
        ),
        "answer": (
            "Something periodic is at work, and with the CPU at 40 % the requests are waiting, not working.\n\n"
            "1. Turn on the collector's log and lay its pauses over the latency graph. A pause that comes every few minutes "
            "and goes again is the usual shape of a full collection.\n"
            "2. Compare the p99 of one instance with that of the others: if all of them rise at once, it is not the process "
            "itself, but something that they share.\n"
            "3. Measure how long a request waits for a connection.\n\n"
            "I would not touch the heap before the first graph is there."
        ),
        "think": "Three of four name garbage collection. None has evidence yet, so the order of the checks matters most.",
    },
    {
        "ask": "Is it safe to add a NOT NULL column with a default to a table of 300 million rows in PostgreSQL 15?",
        "say": (
            (
                "Yes. Since PostgreSQL 11 a constant default is kept in the catalog, so the table is not rewritten. The lock is "
                "taken only for a moment, but it must wait for long transactions, and others queue behind it."
            ),
            (
                "Since PostgreSQL 11 a constant default is kept in the catalog, so the table is not rewritten. A volatile default, "
                "such as random(), still rewrites every row. Set lock_timeout, and retry."
            ),
            "It depends on the default: a constant one is instant, a volatile default rewrites the table under an exclusive lock.",
            None,
        ),
        "answer": (
            "Yes, if the default is a constant: since PostgreSQL 11 a constant default is kept in the catalog, so the table is "
            "not rewritten. A volatile default, such as random(), still rewrites every row.\n\n"
            "The risk is the queue, not the work: the lock must wait for long transactions, and others queue behind it. "
            "Set lock_timeout, and retry."
        ),
    },
    {
        "ask": "Which HTTP status should an API return when a request is valid, but the account is over its quota?",
        "say": (
            "429 Too Many Requests, with Retry-After when the quota is of a period. 402 is used by some for unpaid quotas.",
            (
                "Use 429 Too Many Requests and say in Retry-After when the quota begins anew. If no waiting helps, 403 with a code "
                "of your own is clearer."
            ),
            "429 Too Many Requests, with Retry-After when the quota is of a period.",
            "I would return 429. Clients of most SDKs retry it by themselves, so send Retry-After, or they retry at once.",
        ),
        "answer": (
            "429 Too Many Requests, with Retry-After when the quota is of a period. If no waiting helps, 403 with a code of "
            "your own is clearer: clients of most SDKs retry a 429 by themselves."
        ),
        "late": "deepseek-v3",
    },
    {
        "ask": "How many of yesterday's orders were paid after more than 24 hours?",
        "say": (
            "That needs the orders of yesterday and the time between placing and paying each.",
            "Count the orders whose paid_at is more than 24 hours behind placed_at; look out for the zone of the timestamps.",
            "I cannot know it without the data; ask the warehouse.",
            "Use the table of payments, since an order may be paid in parts.",
        ),
        "answer": "Of 4,812 orders 37 were paid after more than 24 hours, which is 0.8 %. Timestamps are taken as UTC.",
        "tool": (
            "query_warehouse",
            {"sql": "select count(*) from orders where paid_at - placed_at > interval '24 hours'"},
        ),
    },
    {
        "ask": "Write the release note for the change of the retry policy, in two sentences.",
        "say": (
            (
                "Requests that fail with 429 or 503 are now retried up to three times, with a growing pause. Set retries=0 to "
                "have the old behaviour."
            ),
            (
                "Requests that fail with 429 or 503 are now retried up to three times. The pause doubles each time and honours "
                "Retry-After."
            ),
            "The client retries now.",
            "Failed requests are retried; see the documentation.",
        ),
        "answer": (
            "Requests that fail with 429 or 503 are now retried up to three times; the pause doubles each time and honours "
            "Retry-After. Set retries=0 to have the old behaviour."
        ),
        "check": True,
    },
]


class Ensemble:
    """Four references at once, and an aggregator that streams, thinks, and may use a tool."""

    def __init__(self, sdk, aggregator):
        self.sdk = moa.instrument(sdk)
        self.aggregator = aggregator
        self.pool = ThreadPoolExecutor(5)
        self.left = []

    @moa.reference
    def ask(self, model, messages):
        return self.sdk.chat.completions.create(model=model, messages=messages, temperature=0.6)

    @moa.aggregator
    def act(self, messages):
        return self.sdk.chat.completions.create(
            model=self.aggregator, messages=messages, stream=True, stream_options={"include_usage": True}
        )

    @moa.turn
    def check(self, text):
        """Check a text in a turn inside the turn."""
        messages = [{"role": "user", "content": f"Is this clear to a customer? {text}"}]
        return self.sdk.chat.completions.create(model="gpt-4.1-mini", messages=messages).choices[0].message.content

    @moa.turn
    def create(self, messages, late=None, check=False):
        asked = {model: self.pool.submit(self.ask, model, messages) for model in REFERENCES}
        told = []
        for model, future in asked.items():
            if model == late:
                self.left.append(future)
                continue
            with suppress(openai.APIError):
                told.append(future.result().choices[0].message.content)
        drafts = "\n\n".join(f"Draft {number}:\n{text}" for number, text in enumerate(told, 1))
        prompt = [*messages, {"role": "user", "content": f"Answer with the help of these drafts.\n\n{drafts}"}]
        text, tool = self.say(prompt)
        if tool is not None:
            prompt += [
                {"role": "assistant", "content": None, "tool_calls": [tool]},
                {"role": "tool", "tool_call_id": tool["id"], "content": json.dumps({"count": 37, "of": 4812})},
            ]
            text, _ = self.say(prompt)
        if check:
            self.check(text)
        return text

    def say(self, messages):
        text, tool = "", None
        for chunk in self.act(messages):
            for choice in chunk.choices:
                text += choice.delta.content or ""
                for part in choice.delta.tool_calls or ():
                    if part.function.name:
                        tool = {
                            "id": part.id,
                            "type": "function",
                            "function": {"name": part.function.name, "arguments": ""},
                        }
                    tool["function"]["arguments"] += part.function.arguments or ""
        return text, tool


class _Models:
    """What each model answers."""

    def __init__(self, pace):
        self.pace = pace
        self.gate = threading.Event()

    def __call__(self, body):
        name, messages = body["model"], body["messages"]
        whole = json.dumps(messages)
        turn = next((one for one in TURNS if json.dumps(one["ask"])[1:-1] in whole), None)
        size = len(whole) // 4
        if turn is None:
            return self._script(name, "Yes: it says what changes, and how to have it as before.", size, 0.3)
        if name in REFERENCES:
            place = REFERENCES.index(name)
            text = turn["say"][place]
            delay = (0.55, 0.9, 0.45, 1.25)[place] + len(turn["ask"]) / 400
            if text is None:
                error = {"message": "The model is overloaded. Try again later.", "type": "overloaded"}
                return Script(status=503, error=error, delay=1.6 * self.pace)
            wait = (lambda: self.gate.wait(30)) if turn.get("late") == name else None
            return self._script(name, text, size, delay, wait=wait)
        if "tool" in turn and not any(one["role"] == "tool" for one in messages):
            what, given = turn["tool"]
            tool = {"id": "call_1", "type": "function", "function": {"name": what, "arguments": json.dumps(given)}}
            return self._script(name, "", size, 0.5, tool_calls=[tool])
        return self._script(name, turn["answer"], size, 0.6, reasoning=turn.get("think"), piece_delay=0.012 * self.pace)

    def _script(self, name, text, size, delay, **more):
        usage = {"prompt_tokens": size, "completion_tokens": max(12, len(text) // 4)}
        if name in PRICES:
            usage["cost"] = round(PRICES[name] * (0.4 + len(text) / 500), 6)
        return Script(text, usage=usage, delay=delay * self.pace, **more)


def write(path, pace=0.05):
    """
    Write the traces of two sessions.

    Args:
        path: The directory.
        pace: How slowly the models answer; 1 is as slow as real ones.
    """
    moa.configure(save_traces=True, trace_dir=path)
    for session, preset, aggregator in (("api-review", "quick", "gpt-4.1"), ("api-review-2", "deep", "gpt-5")):
        models = _Models(pace)
        with ScriptedServer(dict.fromkeys((*REFERENCES, aggregator), models)) as server:
            sdk = openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0)
            client = Ensemble(sdk, aggregator)
            for one in TURNS:
                messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": one["ask"]}]
                with moa.tag(session_id=session, preset=preset, tags={"team": "platform"}):
                    client.create(messages, late=one.get("late"), check=one.get("check", False))
            models.gate.set()
            for future in client.left:
                future.result()
            client.pool.shutdown()
            sdk.close()
    moa.flush()
    return path
