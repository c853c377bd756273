"""Requests and replies of every form: messages, parameters, tool calls, usage, and odd values."""

# ruff: noqa: D401 - the docstring of a script names its run

from __future__ import annotations

import datetime as dt
import decimal
import enum
import math
import uuid
from collections import OrderedDict, deque
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import SimpleNamespace

import pydantic

import moa_middleware as moa

from .script import QUESTION, chunk, chunks, quietly, reply, script, thing


def _ask(value=None, **options):
    @moa.reference(**options)
    def ask(messages, model="model-a", **params):
        return reply() if value is None else value

    return ask


def _each(fn, items):
    """Give each item a call of its own, all in one turn."""
    with moa.turn(session_id="s-1"):
        for item in items:
            quietly(lambda item=item: fn(item))


@dataclass
class Point:
    """A dataclass."""

    x: int
    y: float


class Colour(enum.Enum):
    """An enumeration."""

    RED = "red"


class Figure:
    """A number of another library: it has `item()`, as numpy's have."""

    def item(self):
        return 7

    def __repr__(self):
        return "Figure(7)"


class Odd:
    """What nothing understands."""

    def __repr__(self):
        return "<odd>"


class Broken:
    """What cannot even be shown."""

    def __repr__(self):
        raise ValueError("no repr")


for _kind in (Point, Colour, Figure, Odd, Broken):
    _kind.__module__ = "corpus"


@script()
def messages_of_all_forms():
    """Strings, lists, parts, images, tool messages, tuples, objects."""
    _each(
        _ask(),
        [
            "A prompt.",
            "",
            [],
            None,
            [{"role": "system", "content": "Be brief."}, *QUESTION],
            [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "What?"},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                    ],
                }
            ],
            [{"role": "tool", "tool_call_id": "t1", "content": "42"}],
            ({"role": "user", "content": "in a tuple"},),
            {"role": "user", "content": "alone"},
            [SimpleNamespace(role="user", content="an object")],
            [Point(1, 2.5)],
            ["text", 3, None, True],
        ],
    )


@script()
def messages_from_an_iterator():
    """Read once by the model, and once by us."""

    @moa.reference
    def ask(messages):
        return " ".join(message["content"] for message in messages)

    @moa.reference
    def half(messages):
        return next(iter(messages))["content"]

    def generated():
        yield from ({"role": "user", "content": f"part {n}"} for n in range(3))

    with moa.turn():
        ask(iter(list(generated())))
        ask(generated())
        ask(map(dict, generated()))
        half(generated())


@script()
def messages_mutated_afterwards():
    """What the model got is what was there when the call began."""

    @moa.reference
    def ask(messages):
        messages.append({"role": "assistant", "content": "changed inside"})
        messages[0]["content"] = "changed too"
        return "seen"

    @moa.turn
    def create(messages):
        ask(messages)
        messages[0]["content"] = "changed again"
        return ask(messages)

    create([{"role": "user", "content": "as it was"}])


@script()
def odd_values():
    """In messages: surrogates, figures that are none, huge ones, bytes, sets, dates, enumerations, classes."""
    items = [
        "lone \ud800 surrogate",
        "nul \x00 and \u2028 and \x7f and \U0001f600",
        math.nan,
        math.inf,
        -math.inf,
        10**30,
        -(10**400),
        1e300,
        5e-324,
        0.1 + 0.2,
        -0.0,
        True,
        b"bytes",
        bytearray(b"\xff\x00"),
        {1, 2} & {2},
        frozenset(["one"]),
        (1, (2, ())),
        deque([1, 2], maxlen=2),
        range(3),
        dt.datetime(2026, 11, 30, 12, 0, 1, 5, tzinfo=dt.UTC),
        dt.date(2026, 11, 30),
        dt.timedelta(seconds=1.5),
        decimal.Decimal("1.10"),
        uuid.UUID(int=5),
        PurePosixPath("a/b"),
        Colour.RED,
        Point(1, math.nan),
        Figure(),
        Odd(),
        Broken(),
        Odd,
        len,
        1 + 2j,
        OrderedDict(b=1, a=2),
        {2: "int key", None: "none key", True: "true key", (1, 2): "tuple key", 1.5: "float key"},
        {"lone \ud800": "key"},
    ]
    _each(_ask("ok"), [[{"role": "user", "content": item}] for item in items])


@script()
def deep_and_cyclic():
    """Lists in lists, deeper than JSON's readers go, and one that holds itself."""
    deep = []
    for _ in range(400):
        deep = [deep]
    ring = {"name": "ring"}
    ring["self"] = ring
    shared = {"k": "shared"}
    _each(_ask("ok"), [[{"role": "user", "content": one}] for one in (deep, ring, [shared, shared])])


@script()
def params():
    """Parameters, known ones and others, credentials and headers."""
    ask = _ask()
    with moa.turn(session_id="s-1"):
        ask(
            QUESTION,
            temperature=1,
            top_p=0.5,
            max_tokens=7,
            stop=["\n"],
            seed=None,
            response_format={"type": "json_object"},
            tools=[{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
            tool_choice="auto",
            extra_headers={"Authorization": "Bearer abc"},
            extra_body={"provider": {"order": ["x"]}, "top_k": 3, "secret": "s"},
            api_key="sk-abcdefghijklmnop",
            user="u-1",
            metadata={"a": 1},
            timeout=3.0,
            base_url="http://user:pass@host.example:8080/v1?key=1",
            unknown_to_all=object,
        )
        ask(QUESTION, temperature="hot", stream=False, n=2)
        ask(QUESTION, top_p=math.nan, logit_bias={"5": -100})


@script()
def replies_of_all_forms():
    """Values of every shape that is understood, and of none."""
    message = {"role": "assistant", "content": None, "refusal": "I will not."}
    items = [
        "A text.",
        "",
        None,
        42,
        {"text": "in text"},
        {"content": "in content", "usage": {"input_tokens": 3, "output_tokens": 4}},
        {"output": "in output"},
        ["a", "list"],
        thing(reply("An object.")),
        reply(choices=[{"index": 0, "finish_reason": "content_filter", "message": message}]),
        reply(choices=[]),
        reply(
            choices=[{"index": n, "finish_reason": "stop", "message": {"content": f"choice {n}"}} for n in (0, 1, 2)]
        ),
        reply(
            choices=[{"index": 0, "finish_reason": "stop", "message": {"content": "a", "reasoning_content": "thought"}}]
        ),
        reply(system_fingerprint="fp", service_tier="flex", usage=None),
        SimpleNamespace(
            content=[SimpleNamespace(type="text", text="A block.")],
            usage=SimpleNamespace(input_tokens=1, output_tokens=2),
            stop_reason="end_turn",
        ),
        Odd(),
        Broken(),
        b"bytes",
    ]
    with moa.turn(session_id="s-1"):
        for item in items:
            _ask(item if item is not None else SimpleNamespace())(QUESTION)

    @moa.reference
    def nothing(messages):
        return None

    nothing(QUESTION)


@script()
def tool_calls():
    """In a value and in a stream, where the arguments come in pieces."""
    calls = [
        {"id": "t1", "type": "function", "function": {"name": "look", "arguments": '{"q": "sky"}'}},
        {"id": "t2", "type": "function", "function": {"name": "look", "arguments": ""}},
    ]
    value = reply(
        choices=[{"index": 0, "finish_reason": "tool_calls", "message": {"content": None, "tool_calls": calls}}]
    )

    def piece(**more):
        return chunk(
            choices=[thing({"index": 0, "finish_reason": None, "delta": {"content": None, "tool_calls": [more]}})]
        )

    @moa.reference
    def stream(messages, tools=()):
        yield piece(index=0, id="t1", type="function", function={"name": "look", "arguments": ""})
        yield piece(index=0, id=None, type=None, function={"name": None, "arguments": '{"q": '})
        yield piece(index=1, id="t2", type="function", function={"name": "other", "arguments": "{}"})
        yield piece(index=0, id=None, type=None, function={"name": None, "arguments": '"sky"}'})
        yield chunk(finish="tool_calls")

    with moa.turn():
        _ask(value)(QUESTION, tools=[{"type": "function", "function": {"name": "look"}}])
        list(stream(QUESTION))


@script()
def usage_forms():
    """Tokens as providers tell them, prices, and what is no figure."""
    forms = [
        {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
        },
        {
            "input_tokens": 10,
            "output_tokens": 5,
            "input_tokens_details": {"cached_tokens": 4},
            "output_tokens_details": {"reasoning_tokens": 3},
        },
        {"input_tokens": 10, "output_tokens": 5, "cache_read_input_tokens": 7, "cache_creation_input_tokens": 8},
        {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "cost": 0.00125,
            "cost_details": {"upstream_inference_cost": None},
        },
        {"prompt_tokens": "10", "completion_tokens": -1},
        {"prompt_tokens": 10.0, "completion_tokens": math.nan},
        {"prompt_tokens": True, "completion_tokens": 10**25},
        {"total_tokens": 3},
        {},
        [],
        "many",
    ]
    with moa.turn():
        for form in forms:
            _ask(reply(usage=form))(QUESTION)


@script()
def stream_forms():
    """Several choices, reasoning, refusals, events of no form, unfinished, late usage, empty."""

    def several():
        for n in (1, 0, 1, 0):
            yield chunk(choices=[thing({"index": n, "finish_reason": None, "delta": {"content": f"c{n} "}})])

    def reasoned():
        yield chunk(
            choices=[
                thing({"index": 0, "finish_reason": None, "delta": {"content": None, "reasoning_content": "hm, "}})
            ]
        )
        yield chunk(choices=[thing({"index": 0, "finish_reason": None, "delta": {"content": None, "reasoning": "so"}})])
        yield from chunks("Because.")

    def refused():
        yield chunk(
            choices=[thing({"index": 0, "finish_reason": "stop", "delta": {"content": None, "refusal": "No."}})]
        )

    def odd():
        yield from (Odd(), None, 5, {"delta": "text"}, {"type": "ping"}, chunk("end"))

    def mixed():
        yield from ("text ", {"text": "in a dict "}, SimpleNamespace(content="in an object "), chunk("in a chunk"))

    def dicts():
        yield {"choices": [{"index": 0, "delta": {"content": "a dict"}, "finish_reason": None}]}
        yield {"choices": [{"index": 0, "delta": {}, "finish_reason": "length"}], "usage": {"prompt_tokens": 1}}

    def nothing():
        yield from ()

    with moa.turn():
        for body in (several, reasoned, refused, odd, mixed, dicts, nothing, lambda: iter(chunks(usage=False)[:-1])):

            @moa.reference(label=body.__name__)
            def stream(messages, body=body):
                yield from body()

            list(stream(QUESTION))


@script()
def labels_and_names():
    """Models and labels of odd kinds, options that are functions, and that fail."""

    def fails(*_, **__):
        raise ValueError("no label")

    with moa.turn():
        _ask(label="a label", model="named", provider="p")(QUESTION)
        _ask(label=lambda **named: named["model"] + "!")(QUESTION)
        _ask(label=fails, layer=fails)(QUESTION)
        _ask(label=lambda **_: 5, layer=lambda **_: "two")(QUESTION)
        _ask()(QUESTION, model=None)
        _ask()(QUESTION, model=7)
        _ask()(QUESTION, "model \ud800")

    @moa.reference(messages="question")
    def named(context, question):
        return "named"

    named("the context", "the question")


class Message(pydantic.BaseModel):
    """A message of pydantic."""

    role: str
    content: str | None = None
    when: dt.date = dt.date(2026, 11, 30)


@script()
def pydantic_messages():
    """Models as messages, inside others, and as what is answered."""
    one = Message(role="user", content="a model")
    _each(_ask("ok"), [[one], [{"role": "user", "content": [one]}], one, [Message]])
    _ask(Message(role="assistant", content="answered"))(QUESTION)


@script()
def speakers():
    """Plain events of several agents in one stream, and a result at the end."""

    def told():
        for speaker, text in (("a", "From a. "), ("b", "From b. "), ("a", "More. ")):
            yield {"agent": speaker, "text": text}
            yield {"source": speaker, "content": text}
            yield SimpleNamespace(author=speaker, delta=text)
        yield {"type": "result", "result": "all of it"}

    def results():
        yield {"text": "One "}
        yield {"text": "two."}
        yield {"text": "One two.", "usage": {"input_tokens": 4, "output_tokens": 2}}

    def tools():
        yield {"tool_calls": [{"id": "t1", "name": "look", "arguments": {"q": 1}}]}
        yield {"text": "looked", "finish_reason": "stop", "model": "m-2"}

    with moa.turn():
        for body in (told, results, tools):

            @moa.reference(label=body.__name__)
            def stream(messages, body=body):
                yield from body()

            list(stream(QUESTION))
        _ask({"text": "t", "tool_calls": [{"name": "look", "args": {}}], "reasoning": "r"})(QUESTION)
