"""
The models that a program of the corpus asks, and what each call truly is.

A program gets a `World` and asks its models. With each request it names the truth: `R1` for a reference of the first
layer, `A` for the aggregator, `C` for a call that is neither, such as an earlier step, a judge or a title. Where two
readings are right, both are named: `A/R1`. The truth travels in the parameter `seed`, which no inference looks at.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from random import Random
from threading import Barrier
from types import SimpleNamespace

QUESTION = "Why do coastal towns store their boats inland over the winter, and what does it cost them?"
SUBJECTS = [
    "harbour",
    "storm",
    "winter",
    "crane",
    "insurer",
    "keeper",
    "mast",
    "hull",
    "tide",
    "ferry",
    "market",
    "carpenter",
    "painter",
    "railway",
]
VERBS = [
    "lifts",
    "costs",
    "shelters",
    "delays",
    "repairs",
    "rents",
    "loses",
    "protects",
    "measures",
    "carries",
    "refuses",
    "explains",
    "doubles",
]
OBJECTS = [
    "the fleet",
    "a berth",
    "the season",
    "its crew",
    "an old shed",
    "the deck",
    "every rope",
    "a permit",
    "the slipway",
    "two weeks",
]
LINKS = ["because", "although", "while", "unless", "before", "whenever", "so"]


class ModelError(Exception):
    """A model that failed."""


def user(*texts):
    """Return messages of the user."""
    return [{"role": "user", "content": text} for text in texts]


def system(text, *texts):
    """Return a system message, and the user's after it."""
    return [{"role": "system", "content": text}, *user(*texts)]


def assistant(text):
    """Return a message of the assistant."""
    return {"role": "assistant", "content": text}


class Completions:
    """Looks like a provider's SDK: each answer is in the world's script, under the number of the request."""

    def __init__(self, world):
        self.world = world

    def create(self, *, model, messages, seed, stream=False, n=1):
        """Return the scripted answer."""
        says = self.world.answer(seed)
        return self._stream(says) if stream else _completion(model, says, n)

    def _stream(self, says):
        for start in range(0, len(says), 7):
            delta = SimpleNamespace(content=says[start : start + 7], role=None, tool_calls=None)
            yield SimpleNamespace(choices=[SimpleNamespace(index=0, delta=delta, finish_reason=None)], usage=None)


class AsyncCompletions:
    """The same, asynchronous."""

    def __init__(self, world):
        self.world = world

    async def create(self, *, model, messages, seed, stream=False, n=1):
        """Return the scripted answer after a turn of the loop or two, so that gathered calls overlap."""
        for _ in range(3):
            await asyncio.sleep(0)
        says = self.world.answer(seed)
        return self._stream(says) if stream else _completion(model, says, n)

    async def _stream(self, says):
        for chunk in Completions._stream(self, says):
            yield chunk


class Plain:
    """Functions of a program's own."""

    def __init__(self, world):
        self.world = world

    def invoke(self, prompt, seed):
        """Return an answer to a prompt, which is the request."""
        return self.world.answer(seed)

    def fetch(self, thing, seed):
        """Return an answer; the library does not know its request."""
        return self.world.answer(seed)


def _completion(model, says, n):
    texts = says if isinstance(says, list) else [says] * n
    choices = [
        SimpleNamespace(index=index, finish_reason="stop", message=_message(text)) for index, text in enumerate(texts)
    ]
    usage = SimpleNamespace(prompt_tokens=10, completion_tokens=10, total_tokens=20)
    return SimpleNamespace(id="chat-1", model=model, choices=choices, usage=usage)


def _message(text):
    if isinstance(text, dict):  # a tool call
        function = SimpleNamespace(name="search", arguments="{}")
        call = SimpleNamespace(id="call-1", type="function", function=function, index=0)
        return SimpleNamespace(role="assistant", content=text.get("content"), tool_calls=[call])
    return SimpleNamespace(role="assistant", content=text, tool_calls=None)


class World:
    """The models, and the truth of each call by the number of its request."""

    def __init__(self, seed=0):
        self.random = Random(seed)
        self.truth = {}
        self.script = {}
        self.meeting = None
        """Where the threads of a round wait for one another, so that their calls overlap."""
        self.chat = SimpleNamespace(completions=Completions(self))
        self.later = SimpleNamespace(completions=AsyncCompletions(self))
        self.plain = Plain(self)

    def answer(self, seed):
        """Return what the script says, or raise it."""
        if self.meeting is not None:
            self.meeting.wait(timeout=30)
        says = self.script[seed]
        if isinstance(says, Exception):
            raise says
        return says

    def put(self, truth, says):
        """Write an answer into the script, and return its number."""
        number = len(self.truth)
        self.truth[number], self.script[number] = truth, says
        return number

    # --- texts --------------------------------------------------------------------------------------------------------

    def sentence(self):
        """Return a sentence that no other text has."""
        pick = self.random.choice
        return (
            f"The {pick(SUBJECTS)} {pick(VERBS)} {pick(OBJECTS)} {pick(LINKS)} the {pick(SUBJECTS)} "
            f"{pick(VERBS)} {pick(OBJECTS)}, as year {self.random.randrange(10**6)} has shown."
        )

    def text(self, sentences=3, join=" "):
        """Return a new text."""
        return join.join(self.sentence() for _ in range(sentences))

    def long(self):
        """Return a text of several lines and a list, as models write them."""
        points = "\n".join(f"- {self.sentence()}" for _ in range(3))
        return f"{self.text(2)}\n\n{points}\n\n{self.text(1)}"

    # --- asking -------------------------------------------------------------------------------------------------------

    def reply(self, truth, messages, says, *, model="m", n=1):
        """Ask, and return the SDK's reply."""
        messages = user(messages) if isinstance(messages, str) else messages
        return self.chat.completions.create(model=model, messages=messages, seed=self.put(truth, says), n=n)

    def ask(self, truth, messages, says, *, model="m"):
        """Ask, and return the text."""
        return self.reply(truth, messages, says, model=model).choices[0].message.content

    def stream(self, truth, messages, says, *, model="m"):
        """Ask for a stream, and return it unread."""
        messages = user(messages) if isinstance(messages, str) else messages
        return self.chat.completions.create(model=model, messages=messages, seed=self.put(truth, says), stream=True)

    def read(self, truth, messages, says, **more):
        """Ask for a stream, and return its text."""
        return "".join(chunk.choices[0].delta.content for chunk in self.stream(truth, messages, says, **more))

    def attempt(self, truth, messages, says, *, model="m"):
        """Ask, and return the text, `None` if the model failed."""
        try:
            return self.ask(truth, messages, says, model=model)
        except ModelError:
            return None

    async def ask_later(self, truth, messages, says, *, model="m"):
        """Ask, asynchronously."""
        messages = user(messages) if isinstance(messages, str) else messages
        number = self.put(truth, says)
        reply = await self.later.completions.create(model=model, messages=messages, seed=number)
        return reply.choices[0].message.content

    def invoke(self, truth, prompt, says):
        """Ask by a function of the program's own."""
        return self.plain.invoke(prompt, seed=self.put(truth, says))

    def fetch(self, truth, thing, says):
        """Ask by a function whose request is unknown."""
        return self.plain.fetch(thing, seed=self.put(truth, says))

    def round(self, truth, messages, texts, *, way="loop"):
        """Ask several models the same, one after the other or in threads, and return their texts."""
        return self.each([(truth, messages, says, f"m-{place}") for place, says in enumerate(texts)], way=way)

    def each(self, asked, *, way="loop"):
        """Ask (truth, messages, says, model) each, and return the texts; those of failed calls are left out."""
        if way == "loop":
            found = [self.attempt(truth, messages, says, model=model) for truth, messages, says, model in asked]
        elif way == "threads":
            self.meeting = Barrier(len(asked))
            with ThreadPoolExecutor(len(asked)) as pool:
                work = [pool.submit(self.attempt, truth, text, says, model=model) for truth, text, says, model in asked]
                found = [future.result() for future in work]
            self.meeting = None
        else:
            found = self._gathered(asked)
        return [text for text in found if text is not None]

    def _gathered(self, asked):
        async def main():
            work = [self.ask_later(truth, messages, says, model=model) for truth, messages, says, model in asked]
            return await asyncio.gather(*work, return_exceptions=True)

        return [text for text in asyncio.run(main()) if isinstance(text, str)]


def numbered(texts):
    """Return texts as a numbered list."""
    return "\n".join(f"{number}. {text}" for number, text in enumerate(texts, 1))


def joined(texts, *, question=QUESTION):
    """Return a prompt that asks to make one answer of several."""
    return f"{question}\n\nMake one answer of these:\n\n" + "\n\n---\n\n".join(texts)


def rival(texts, *, question=QUESTION):
    """Return messages of an aggregator: the answers in its system prompt, the question after it."""
    return system("You have been given answers of several models:\n" + numbered(texts), question)
