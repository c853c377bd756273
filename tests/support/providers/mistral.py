"""Mistral's SDK on a mock transport."""

from __future__ import annotations

import contextlib
from importlib import import_module
from importlib.util import find_spec

from . import Form, Provider
from .chat import MESSAGES, answering, in_parts, refuses, truth
from .http import async_transport, transport

PACKAGE = "mistralai.client" if find_spec("mistralai") and find_spec("mistralai.client") else "mistralai"


@contextlib.contextmanager
def connect(answer, *, is_async=False):
    """Give a client whose requests are answered here."""
    http = import_module(f"{PACKAGE}.httpclient").httpx
    one = http.Client(transport=transport(answer, http), trust_env=False)
    other = http.AsyncClient(transport=async_transport(answer, http), trust_env=False)
    make = import_module(PACKAGE).Mistral
    yield make(api_key="canary-key", server_url="http://mock", client=one, async_client=other)


PARAMS = {"temperature": 0.5, "random_seed": 7}


def _dicts():
    return MESSAGES


def _objects():
    models = import_module(f"{PACKAGE}.models")
    system, asked = MESSAGES
    return [models.SystemMessage(content=system["content"]), models.UserMessage(content=asked["content"])]


def _value_text(value):
    content = value.choices[0].message.content
    return content if isinstance(content, str) else "".join(getattr(part, "text", "") for part in content)


def _event_text(event):
    content = event.data.choices[0].delta.content
    return content if isinstance(content, str) else "".join(getattr(part, "text", "") for part in content or ())


def _forms():
    for is_async in (False, True):
        for streamed in (False, True):
            name = f"{'stream' if streamed else 'complete'}{'_async' if is_async else ''}"
            for words, messages in (("dicts", _dicts), ("objects", _objects)):

                def ask(client, name=name, messages=messages):
                    return getattr(client.chat, name)(model="m", messages=messages(), **PARAMS)

                text = _event_text if streamed else _value_text
                yield Form(f"{name}_{words}", ask, is_async, streamed, text, params=PARAMS)


PROVIDER = Provider("mistralai", "mistralai", "mistral", tuple(_forms()), connect, answering(in_parts), truth, refuses)
