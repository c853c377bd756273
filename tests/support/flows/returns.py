"""What a turn returns around its answer, and how its calls are made: values, streams, generators, coroutines."""

from __future__ import annotations

import asyncio
import json
from collections import namedtuple
from dataclasses import dataclass, field
from threading import Barrier
from types import SimpleNamespace

from .runner import flow
from .world import QUESTION, joined, rival

Pair = namedtuple("Pair", "model text")


@dataclass
class Answer:
    """A result."""

    text: str
    drafts: list = field(default_factory=list)


@dataclass(slots=True)
class Slotted:
    """A result with slots."""

    final: object
    trail: object = None


class Opaque:
    """A result whose answer is behind a method."""

    def __init__(self, text):
        self._hidden = {"deep": [text]}

    def get(self):
        """Return the answer."""
        return self._hidden["deep"][0]


KINDS = {
    "text": lambda text, drafts: text,
    "stripped": lambda text, drafts: f"  {text}\n",
    "pair": lambda text, drafts: (text, 17),
    "name first": lambda text, drafts: ("gpt-large", text),
    "named tuple": lambda text, drafts: Pair("gpt-large", text),
    "dict": lambda text, drafts: {"answer": text},
    "dict with odd keys": lambda text, drafts: {"finale": text, "entwürfe": drafts},
    "dict with drafts": lambda text, drafts: {"answer": text, "drafts": drafts},
    "list": lambda text, drafts: [text],
    "all of them": lambda text, drafts: [*drafts, text],
    "dataclass": Answer,
    "slots": Slotted,
    "namespace": lambda text, drafts: SimpleNamespace(result=SimpleNamespace(value=text)),
    "opaque": lambda text, drafts: Opaque(text),
    "JSON": lambda text, drafts: json.dumps({"answer": text, "count": len(drafts)}),
    "wrapped": lambda text, drafts: f"# Answer\n\n{text}\n\nSources: {len(drafts)}",
    "cut": lambda text, drafts: text[:120],
    "nothing": lambda text, drafts: None,
    "nested": lambda text, drafts: {"data": {"choices": [{"value": (text, 0.5)}]}},
}


@flow(over=KINDS)
def returned(w, form):
    """Three references and an aggregator, whose text is returned in a form of the program's."""
    drafts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    return form(w.ask("A", joined(drafts), w.text()), drafts)


@flow(over={key: KINDS[key] for key in ("text", "pair", "dict", "dataclass", "slots", "JSON", "opaque", "wrapped")})
def returned_with_a_title(w, form):
    """The same, and a title is made afterwards."""
    drafts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    answer = w.ask("A", joined(drafts), w.text())
    w.ask("C", f"A title for: {answer}", "Why boats winter inland")
    return form(answer, drafts)


@flow(over={key: KINDS[key] for key in ("text", "pair", "dict", "dataclass", "slots", "JSON", "opaque", "wrapped")})
def alone_with_a_judge(w, form):
    """A lone answer and a judge of it."""
    answer = w.ask("A", QUESTION, w.text())
    w.ask("C", f"Score: {answer}", "9")
    return form(answer, [])


@flow
def raw_reply(w):
    """The SDK's own reply is returned, and a title is made."""
    drafts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    reply = w.reply("A", joined(drafts), w.text())
    w.ask("C", f"A title for: {reply.choices[0].message.content}", "Boats inland")
    return reply


@flow
def raw_reply_in_a_dict(w):
    """The SDK's own reply is held by what is returned."""
    drafts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    reply = w.reply("A", joined(drafts), w.text())
    w.ask("C", f"A title for: {reply.choices[0].message.content}", "Boats inland")
    return {"reply": reply, "cost": 0.1}


@flow
def own_generator(w):
    """The turn is a generator that passes on the aggregator's pieces."""
    drafts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    for chunk in w.stream("A", joined(drafts), w.text()):
        yield chunk.choices[0].delta.content


@flow
def generator_of_events(w):
    """The turn is a generator of its own events, a title at the end."""
    drafts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    answer = w.ask("A", joined(drafts), w.text())
    for start in range(0, len(answer), 20):
        yield answer[start : start + 20]
    w.ask("C", f"A title for: {answer}", "Boats inland")


@flow
def stream_with_a_title_before(w):
    """The stream is handed out; a judge has spoken before it."""
    drafts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    w.ask("C", joined(drafts) + "\nWhich is best?", "2")
    return w.stream("A", joined(drafts), w.text())


@flow
async def gathered(w):
    """A coroutine: references in one `gather`."""
    work = [w.ask_later("R1", QUESTION, w.text(), model=f"m-{n}") for n in range(3)]
    return await w.ask_later("A", joined(await asyncio.gather(*work)), w.text())


@flow
async def gathered_in_layers(w):
    """Two layers, and a dict."""
    texts, layer = [], 0
    for layer in (1, 2):
        messages = rival(texts) if texts else QUESTION
        work = [w.ask_later(f"R{layer}", messages, w.text(), model=f"m-{n}") for n in range(3)]
        texts = await asyncio.gather(*work)
    return {"answer": await w.ask_later("A", rival(texts), w.text()), "layers": layer}


@flow
async def task_group(w):
    """A group of tasks, and a title next to the aggregator."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(w.ask_later("R1", QUESTION, w.text())) for _ in range(3)]
        title = group.create_task(w.ask_later("C", f"A title for: {QUESTION}", "Boats in winter"))
    answer = await w.ask_later("A", joined([task.result() for task in tasks]), w.text())
    return answer, title.result()


@flow
async def title_overlaps_the_aggregator(w):
    """A title of the first draft is made while the aggregator answers."""
    texts = await asyncio.gather(*(w.ask_later("R1", QUESTION, w.text()) for _ in range(3)))
    answer, title = await asyncio.gather(
        w.ask_later("A", joined(texts), w.text()), w.ask_later("C", f"A title for: {texts[0]}", "Boats in winter")
    )
    return {"title": title, "answer": answer}


@flow
async def as_completed(w):
    """References are joined as they come."""
    work = [asyncio.ensure_future(w.ask_later("R1", QUESTION, w.text(), model=f"m-{n}")) for n in range(4)]
    texts = [await each for each in asyncio.as_completed(work)]
    return await w.ask_later("A", joined(texts), w.text())


@flow
async def threads_of_a_loop(w):
    """Synchronous references in threads of a coroutine."""
    w.meeting = Barrier(3)
    work = [asyncio.to_thread(w.ask, "R1", QUESTION, w.text(), model=f"m-{n}") for n in range(3)]
    texts = await asyncio.gather(*work)
    w.meeting = None
    return w.ask("A", joined(texts), w.text())


@flow
def functions_of_the_programs_own(w):
    """No SDK: functions that are given a prompt and return a text."""
    texts = [w.invoke("R1", QUESTION, w.text()) for _ in range(3)]
    return w.invoke("A", joined(texts), w.text())


@flow
def unknown_requests(w):
    """Functions of which the library knows no request: all that shows is what was returned."""
    for number in range(3):
        w.fetch("R1", number, w.text())
    return w.fetch("A", 9, w.text())


@flow
def unknown_references(w):
    """The references' requests are unknown, the aggregator's is known."""
    texts = [w.fetch("R1", number, w.text()) for number in range(3)]
    return w.ask("A", joined(texts), w.text())


@flow
def wrapped_by_functions(w):
    """A function that returns its text in a tuple, around each request of the SDK."""

    def reference(number):
        return f"m-{number}", w.ask("R1", QUESTION, w.text(), model=f"m-{number}")

    pairs = [reference(number) for number in range(3)]
    return "final", w.ask("A", joined([text for _, text in pairs]), w.text())
