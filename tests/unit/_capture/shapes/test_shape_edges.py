"""Objects of unusual content: several choices in a chunk, odd tool calls, prices in hidden places."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from pydantic import RootModel

import moa_middleware as moa
from moa_middleware._capture.shapes import registry
from moa_middleware._capture.shapes.accumulator import Accumulator, read_chunks
from moa_middleware._capture.shapes.params import read_params
from moa_middleware._capture.shapes.wire import body_of_reply

HELLO = [{"role": "user", "content": "hi"}]


def namespace(value):
    """Return JSON as a look-alike of an SDK's object."""
    return json.loads(json.dumps(value), object_hook=lambda d: SimpleNamespace(**d))


def chunk(*choices):
    """Return a chunk of a chat stream; a choice is an index and its delta."""
    found = [{"index": index, "delta": delta, "finish_reason": None} for index, delta in choices]
    return {"id": "c", "object": "chat.completion.chunk", "choices": found}


# Classes of the user's ------------------------------------------------------------------------------


def test_a_chunk_of_a_registered_class_is_read_once_and_whole(turns, monkeypatch):
    """Also where it looks like a chunk of an SDK: the user's own reader is the one that counts."""
    monkeypatch.setattr(registry, "registered", [])

    class Token:
        def __init__(self, **said):
            self.said = said
            self.choices = namespace([{"index": 0, "delta": {"content": "twice"}, "finish_reason": None}])

    moa.register_shape(Token, chunk=lambda token: moa.Chunk(**token.said))
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    usage = moa.Usage(input_tokens=3, output_tokens=2)

    @moa.aggregator
    def stream(messages):
        yield Token(reasoning="hmm, ")
        yield Token(reasoning="yes")
        yield Token(text="an answer")
        yield Token(refusal="but not more", tool_calls=[call])
        yield Token(finish_reason="stop", usage=usage)

    assert 5 == len(list(stream(HELLO)))
    found = turns[0]["aggregator"]
    assert ("hmm, yes", "an answer", "but not more") == (found["reasoning"], found["output"], found["refusal"])
    assert ["look"] == [tool["function"]["name"] for tool in found["tool_calls"]]
    assert ("stop", 3, 2) == (found["finish_reason"], found["usage"]["input_tokens"], found["usage"]["output_tokens"])


# Chunks that middleware changes ---------------------------------------------------------------------


def mapped(fn, *items):
    """Return what the consumer gets of a stream whose chunks go through `map_chunks`."""

    def change(call):
        call.map_chunks(fn)
        yield call

    @moa.Stack([change]).reference
    def stream(messages):
        yield from items

    return list(stream(HELLO))


@pytest.mark.parametrize("form", [dict, namespace], ids=["dict", "object"])
def test_a_change_of_the_second_choice_leaves_the_first(form):
    """A chunk of two choices: `map_chunks` names the second one, and that is what the consumer reads anew."""
    item = form(chunk((0, {"content": "a"}), (1, {"content": "b"})))
    (found,) = mapped(lambda one: "B" if one.choice == 1 else one, item)
    choices = found["choices"] if form is dict else [vars(choice) for choice in found.choices]
    texts = [c["delta"]["content"] if form is dict else c["delta"].content for c in choices]
    assert ["a", "B"] == texts


def test_a_chunk_without_a_place_for_a_text_refuses_one():
    """An event of the Responses API that has no text: a text for it is an error that names its type."""
    event = SimpleNamespace(type="response.created", response=SimpleNamespace(id="r", status="in_progress"))
    assert [event] == mapped(lambda one: "", event)
    with pytest.raises(moa.ReplyFormError, match="a chunk of type SimpleNamespace has no place for another text"):
        mapped(lambda one: "text", event)


# Streams of the Responses API ------------------------------------------------------------------------

RESPONSE = {
    "id": "r",
    "status": "completed",
    "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "the answer"}]}],
}


@pytest.mark.parametrize("form", [dict, namespace], ids=["dict", "object"])
def test_a_stream_of_one_last_event_has_its_text(form):
    """A proxy that sends nothing but `response.completed`: its answer is on record."""
    acc = Accumulator()
    acc.feed(form({"type": "response.completed", "response": RESPONSE}))
    assert "the answer" == acc.reply().text


@pytest.mark.parametrize("form", [dict, namespace], ids=["dict", "object"])
def test_a_last_event_that_repeats_the_answer_is_no_piece_of_it(form):
    """A listener gets each piece once; the record has the text once too."""
    events = [
        form({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "the "}),
        form({"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "answer"}),
        form({"type": "response.completed", "response": RESPONSE}),
    ]
    acc = Accumulator()
    for event in events:
        acc.feed(event)
    assert "the answer" == acc.reply().text
    assert ["the ", "answer", ""] == [read_chunks(event)[0].text for event in events]


# Tool calls -----------------------------------------------------------------------------------------


def test_arguments_go_to_the_last_tool_call_of_their_index():
    """Ollama sends every tool call under index 0: what follows without an id belongs to the latest one."""
    acc = Accumulator()
    for ident, arguments in (("a", '{"n": 1}'), ("b", '{"n": '), (None, "2}")):
        function = {"name": "look" if ident else None, "arguments": arguments}
        acc.feed(chunk((0, {"tool_calls": [{"index": 0, "id": ident, "type": "function", "function": function}]})))
    calls = acc.reply().tool_calls
    assert [("a", '{"n": 1}'), ("b", '{"n": 2}')] == [(call["id"], call["function"]["arguments"]) for call in calls]


# Parameters -----------------------------------------------------------------------------------------


def test_parameters_that_only_one_api_has_are_recorded_for_it():
    """`output_config` is Anthropic's: it is recorded there, and only named elsewhere."""
    named = {"output_config": {"effort": "low"}, "messages": HELLO}
    assert ({"output_config": {"effort": "low"}}, ()) == read_params(named, ("messages",), "anthropic")
    assert ({}, ("output_config",)) == read_params(named, ("messages",), "openai_chat")


def test_a_tool_whose_part_is_a_model_of_no_mapping_is_recorded():
    """A list of domains that is a model of pydantic is a list in the record."""

    class Domains(RootModel[list[str]]):
        pass

    tool = {"type": "web_search", "allowed_domains": Domains(["example.com"]), "max_uses": 3}
    params, omitted = read_params({"tools": [tool]}, (None,), "anthropic")
    assert ({"tools": [{**tool, "allowed_domains": ["example.com"]}]}, ()) == (params, omitted)


# Prices ---------------------------------------------------------------------------------------------


def test_a_price_among_hidden_parameters_is_on_record(turns):
    """A price that litellm computes is kept on the reply, outside of its fields: it is the cost of the call."""

    @moa.reference
    def ask(messages):
        found = namespace({"choices": [{"index": 0, "message": {"content": "answer"}, "finish_reason": "stop"}]})
        found._hidden_params = {"response_cost": 0.125, "cache_hit": None}
        return found

    ask(HELLO)
    (call,) = turns[0]["references"]
    assert ("answer", 0.125, "reported") == (call["output"], call["cost_usd"], call["cost_status"])


# Rendered bodies ------------------------------------------------------------------------------------


def test_events_are_named_where_the_api_names_them():
    """Raw readers of a cached answer find the `event:` lines of Anthropic's and the Responses API; chat has none."""
    lines = {}
    for family in ("anthropic", "openai_responses", "openai_chat"):
        kind, body = body_of_reply(moa.Reply(text="answer"), "m", family, stream=True)
        assert "text/event-stream" == kind
        lines[family] = body.decode().splitlines()
    for family in ("anthropic", "openai_responses"):
        events = [line.removeprefix("event: ") for line in lines[family] if line.startswith("event: ")]
        data = [json.loads(line.removeprefix("data: ")) for line in lines[family] if line.startswith("data: ")]
        assert events == [one["type"] for one in data] != []
    assert not any(line.startswith("event: ") for line in lines["openai_chat"])
