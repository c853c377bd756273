"""The chat completions of the openai SDK on the scripted server, over real sockets."""

from __future__ import annotations

import re

import openai

from moa_middleware.testing import Script, ScriptedServer

from .world_chat import Chat


class Loopback(Chat):
    """The same client, another wire: the server's own rendering, and its sockets."""

    # What replies hold is the mock transport's affair; here it is connections.
    supports = frozenset(
        {"sync", "async", "value", "stream", "close", "with", "refused", "cut", "error", "manager", "raw_stream"}
    )
    settle_seconds = 0.02

    def open(self):
        self.server = ScriptedServer({}, default=self._script).start()

    def close(self):
        self.server.stop()

    @property
    def open_connections(self):
        return self.server.open_connections

    def make_client(self):
        http = self.http.Client(trust_env=False, verify=False)
        return openai.OpenAI(api_key="k", base_url=self.server.base_url, max_retries=0, http_client=http)

    def make_async_client(self):
        http = self.http.AsyncClient(trust_env=False, verify=False)
        return openai.AsyncOpenAI(api_key="k", base_url=self.server.base_url, max_retries=0, http_client=http)

    def clean(self, text):
        return re.sub(r'"created": \d+', "", super().clean(text))

    def view(self, chunk):
        if hasattr(chunk, "type"):
            return chunk.type
        shown = chunk.model_dump()
        del shown["created"], shown["id"]
        return shown

    def _script(self, body):
        plan = self.plan_for(body)
        error = {"message": "overloaded", "type": "server_error"}
        broken = {
            "refused": {"status": 429, "error": {"message": "queue full"}},
            "cut": {"break_after": plan.after},
            "error": {"error_after": plan.after, "error": error},
            None: {},
        }[plan.stop]
        if plan.more_choices:
            choices = [Script(pieces=list(pieces)) for pieces in (plan.pieces, *plan.more_choices)]
            said = {"choices": choices}
        else:
            said = {
                "pieces": list(plan.pieces) or None,
                "reasoning": "".join(plan.reasoning) or None,
                "refusal": plan.refusal,
                "tool_calls": self.tool_calls(plan),
                "finish_reason": plan.finish_reason,
            }
        usage = self._usage(plan).get("usage")
        return Script(**said, **broken, usage=usage, usage_in="none" if usage is None else "tail", usage_always=True)


WORLDS = [Loopback]
