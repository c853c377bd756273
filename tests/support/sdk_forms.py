"""
Every form in which a user asks an SDK for a reply, as the user would write it.

Each is a function of a client that takes the reply whole and returns its text; the async ones are
coroutine functions. `client_of` makes the clients of those SDKs that are installed.
"""

from __future__ import annotations

import asyncio
import importlib.util
from typing import Any, NamedTuple

MESSAGES = [{"role": "user", "content": "count"}]
CHAT = {"model": "m", "messages": MESSAGES}
MESSAGE = {"model": "m", "messages": MESSAGES, "max_tokens": 50, "system": "be brief"}
RESPONSE = {"model": "m", "input": "count", "instructions": "be brief"}


class Form(NamedTuple):
    """One way to ask."""

    sdk: str
    family: str
    name: str
    run: Any
    is_async: bool
    streamed: bool
    """Whether the text came in pieces."""
    raw: bool
    """Whether the caller read the body itself."""

    def __str__(self):
        return f"{self.sdk}-{self.family}-{self.name}"


FORMS: list[Form] = []


def form(sdk, family, *, streamed=False, raw=False, is_async=False):
    def add(fn):
        for one in sdk.split():
            FORMS.append(Form(one, family, fn.__name__, fn, is_async, streamed, raw))
        return fn

    return add


def ask(form, client):
    """Ask once by a form, and close the client."""
    if not form.is_async:
        with client:
            return form.run(client)

    async def main():
        async with client:
            return await form.run(client)

    return asyncio.run(main())


def chat_text(completion):
    return completion.choices[0].message.content


def chat_pieces(chunk):
    return (chunk.choices[0].delta.content or "") if chunk.choices else ""


def response_piece(event):
    return event.delta if event.type == "response.output_text.delta" else ""


def message_text(message):
    return "".join(block.text for block in message.content if block.type == "text")


def message_piece(event):
    return event.delta.text if event.type == "content_block_delta" and event.delta.type == "text_delta" else ""


ALL = "openai together groq"

# Chat ----------------------------------------------------------------------------------------------


@form(ALL, "chat")
def chat_value(client):
    return chat_text(client.chat.completions.create(**CHAT))


@form(ALL, "chat", streamed=True)
def chat_stream(client):
    return "".join(chat_pieces(chunk) for chunk in client.chat.completions.create(stream=True, **CHAT))


@form("openai", "chat")
def chat_parse(client):
    return chat_text(client.chat.completions.parse(**CHAT))


@form("openai", "chat")
def chat_beta(client):
    return chat_text(client.beta.chat.completions.create(**CHAT))


@form("openai", "chat", streamed=True)
def chat_manager(client):
    with client.chat.completions.stream(**CHAT) as stream:
        return "".join(event.delta for event in stream if event.type == "content.delta")


@form("openai", "chat", streamed=True)
def chat_manager_final(client):
    with client.chat.completions.stream(**CHAT) as stream:
        return chat_text(stream.get_final_completion())


@form("openai", "chat", streamed=True)
def chat_manager_until_done(client):
    with client.chat.completions.stream(**CHAT) as stream:
        stream.until_done()
    return chat_text(stream.get_final_completion())


@form(ALL, "chat", raw=True)
def chat_raw(client):
    raw = client.chat.completions.with_raw_response.create(**CHAT)
    assert raw.headers["content-type"].startswith("application/json")
    return chat_text(raw.parse())


@form(ALL, "chat", streamed=True)
def chat_raw_stream(client):
    raw = client.chat.completions.with_raw_response.create(stream=True, **CHAT)
    assert raw.status_code == 200
    stream = raw.parse()
    assert raw.parse() is stream
    return "".join(map(chat_pieces, stream))


@form(ALL, "chat", raw=True)
def chat_open(client):
    with client.chat.completions.with_streaming_response.create(**CHAT) as response:
        return chat_text(response.parse())


@form(ALL, "chat", raw=True)
def chat_open_json(client):
    with client.chat.completions.with_streaming_response.create(**CHAT) as response:
        return response.json()["choices"][0]["message"]["content"]


@form(ALL, "chat", streamed=True)
def chat_open_stream(client):
    with client.chat.completions.with_streaming_response.create(stream=True, **CHAT) as response:
        return "".join(map(chat_pieces, response.parse()))


@form(ALL, "chat", streamed=True, raw=True)
def chat_open_lines(client):
    with client.chat.completions.with_streaming_response.create(stream=True, **CHAT) as response:
        return events_text(list(response.iter_lines()))


@form(ALL, "chat", streamed=True, raw=True)
def chat_open_read(client):
    with client.chat.completions.with_streaming_response.create(stream=True, **CHAT) as response:
        return events_text(response.read().decode().split("\n"))


def events_text(lines):
    import json

    found = [json.loads(line[5:]) for line in lines if line.startswith("data:") and "[DONE]" not in line]
    return "".join(event["choices"][0]["delta"].get("content") or "" for event in found if event["choices"])


@form(ALL, "chat", is_async=True)
async def async_chat_value(client):
    return chat_text(await client.chat.completions.create(**CHAT))


@form(ALL, "chat", is_async=True, streamed=True)
async def async_chat_stream(client):
    return "".join([chat_pieces(chunk) async for chunk in await client.chat.completions.create(stream=True, **CHAT)])


@form("openai", "chat", is_async=True, streamed=True)
async def async_chat_manager(client):
    async with client.chat.completions.stream(**CHAT) as stream:
        return "".join([event.delta async for event in stream if event.type == "content.delta"])


@form("openai", "chat", is_async=True, raw=True)
async def async_chat_raw(client):
    return chat_text((await client.chat.completions.with_raw_response.create(**CHAT)).parse())


@form("openai", "chat", is_async=True, streamed=True)
async def async_chat_raw_stream(client):
    raw = await client.chat.completions.with_raw_response.create(stream=True, **CHAT)
    return "".join([chat_pieces(chunk) async for chunk in raw.parse()])


@form(ALL, "chat", is_async=True, raw=True)
async def async_chat_open(client):
    async with client.chat.completions.with_streaming_response.create(**CHAT) as response:
        return chat_text(await response.parse())


@form(ALL, "chat", is_async=True, streamed=True)
async def async_chat_open_stream(client):
    async with client.chat.completions.with_streaming_response.create(stream=True, **CHAT) as response:
        return "".join([chat_pieces(chunk) async for chunk in await response.parse()])


@form(ALL, "chat", is_async=True, streamed=True, raw=True)
async def async_chat_open_lines(client):
    async with client.chat.completions.with_streaming_response.create(stream=True, **CHAT) as response:
        return events_text([line async for line in response.iter_lines()])


# Responses -----------------------------------------------------------------------------------------


@form("openai", "responses")
def response_value(client):
    return client.responses.create(**RESPONSE).output_text


@form("openai", "responses")
def response_parse(client):
    return client.responses.parse(**RESPONSE).output_text


@form("openai", "responses", streamed=True)
def response_stream(client):
    return "".join(map(response_piece, client.responses.create(stream=True, **RESPONSE)))


@form("openai", "responses", streamed=True)
def response_manager(client):
    with client.responses.stream(**RESPONSE) as stream:
        return "".join(map(response_piece, stream))


@form("openai", "responses", streamed=True)
def response_manager_final(client):
    with client.responses.stream(**RESPONSE) as stream:
        return stream.get_final_response().output_text


@form("openai", "responses", raw=True)
def response_raw(client):
    return client.responses.with_raw_response.create(**RESPONSE).parse().output_text


@form("openai", "responses", streamed=True)
def response_raw_stream(client):
    return "".join(map(response_piece, client.responses.with_raw_response.create(stream=True, **RESPONSE).parse()))


@form("openai", "responses", is_async=True)
async def async_response_value(client):
    return (await client.responses.create(**RESPONSE)).output_text


@form("openai", "responses", is_async=True, streamed=True)
async def async_response_stream(client):
    return "".join([response_piece(event) async for event in await client.responses.create(stream=True, **RESPONSE)])


@form("openai", "responses", is_async=True, streamed=True)
async def async_response_manager_final(client):
    async with client.responses.stream(**RESPONSE) as stream:
        return (await stream.get_final_response()).output_text


# Messages ------------------------------------------------------------------------------------------


@form("anthropic", "messages")
def message_value(client):
    return message_text(client.messages.create(**MESSAGE))


@form("anthropic", "messages")
def message_beta(client):
    return message_text(client.beta.messages.create(**MESSAGE))


@form("anthropic", "messages", streamed=True)
def message_stream(client):
    return "".join(map(message_piece, client.messages.create(stream=True, **MESSAGE)))


@form("anthropic", "messages", streamed=True)
def message_manager(client):
    with client.messages.stream(**MESSAGE) as stream:
        return "".join(map(message_piece, stream))


@form("anthropic", "messages", streamed=True)
def message_manager_text(client):
    with client.messages.stream(**MESSAGE) as stream:
        return "".join(stream.text_stream)


@form("anthropic", "messages", streamed=True)
def message_manager_final(client):
    with client.messages.stream(**MESSAGE) as stream:
        return message_text(stream.get_final_message())


@form("anthropic", "messages", raw=True)
def message_raw(client):
    return message_text(client.messages.with_raw_response.create(**MESSAGE).parse())


@form("anthropic", "messages", streamed=True)
def message_raw_stream(client):
    return "".join(map(message_piece, client.messages.with_raw_response.create(stream=True, **MESSAGE).parse()))


@form("anthropic", "messages", streamed=True)
def message_open_stream(client):
    with client.messages.with_streaming_response.create(stream=True, **MESSAGE) as response:
        return "".join(map(message_piece, response.parse()))


@form("anthropic", "messages", is_async=True)
async def async_message_value(client):
    return message_text(await client.messages.create(**MESSAGE))


@form("anthropic", "messages", is_async=True, streamed=True)
async def async_message_stream(client):
    return "".join([message_piece(event) async for event in await client.messages.create(stream=True, **MESSAGE)])


@form("anthropic", "messages", is_async=True, streamed=True)
async def async_message_manager(client):
    async with client.messages.stream(**MESSAGE) as stream:
        return "".join([text async for text in stream.text_stream])


@form("anthropic", "messages", is_async=True, streamed=True)
async def async_message_manager_final(client):
    async with client.messages.stream(**MESSAGE) as stream:
        return message_text(await stream.get_final_message())


# Clients -------------------------------------------------------------------------------------------


def installed(sdk):
    return importlib.util.find_spec(sdk) is not None


def client_of(sdk, server, *, is_async=False):
    """Return a client of an SDK whose requests go to the server; it never repeats one itself."""
    module = __import__(sdk)
    name = {"openai": "OpenAI", "anthropic": "Anthropic", "together": "Together", "groq": "Groq"}[sdk]
    url = server.base_url if sdk in ("openai", "together") else server.root_url
    # A context for TLS that is never used takes longer than all the rest.
    http = getattr(module, "DefaultAsyncHttpxClient" if is_async else "DefaultHttpxClient")(verify=False)
    kind = getattr(module, f"Async{name}" if is_async else name)
    return kind(base_url=url, api_key="key", max_retries=0, http_client=http)
