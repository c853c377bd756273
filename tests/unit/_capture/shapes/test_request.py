"""Reading a request, and what the reading of requests and replies costs in frames."""

from __future__ import annotations

import copy
import dataclasses
import gc
import pickle
import sys
import weakref

import pytest
from anthropic.types import Message
from openai.types.chat import ChatCompletion
from openai.types.responses import Response

import moa_middleware as moa
from moa_middleware._capture.flow.model import Call, Reply, Usage
from moa_middleware._capture.flow.new_call import new_call
from moa_middleware._capture.shapes import params
from moa_middleware._capture.shapes.params import bare_url_of
from moa_middleware._capture.shapes.replies import read_reply
from moa_middleware._capture.shapes.request import RequestSpec
from moa_middleware._capture.shapes.usage import read_usage
from tests.support.replies import namespace

# What reading costs ---------------------------------------------------------------------------------


TEXT = {
    "chat": {
        "id": "r",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Yes"}}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
    },
    "responses": {
        "id": "r",
        "object": "response",
        "model": "m",
        "status": "completed",
        "output": [{"type": "message", "content": [{"type": "output_text", "text": "Yes"}]}],
        "usage": {"input_tokens": 5, "output_tokens": 2, "input_tokens_details": {"cached_tokens": 0}},
    },
    "messages": {
        "id": "r",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [{"type": "text", "text": "Yes"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 5, "output_tokens": 2},
    },
}
FRAMES = {
    "chat, sdk": (lambda: ChatCompletion.model_validate(TEXT["chat"]), 8),
    "chat, look-alike": (lambda: namespace(TEXT["chat"]), 8),
    "chat, dict": (lambda: TEXT["chat"], 12),
    "responses, sdk": (lambda: Response.construct(**TEXT["responses"]), 12),
    "responses, dict": (lambda: TEXT["responses"], 12),
    "messages, sdk": (lambda: Message.model_validate(TEXT["messages"]), 12),
    "messages, dict": (lambda: TEXT["messages"], 12),
    "text": (lambda: "Yes", 2),
}


def frames_of(run):
    """Return the names of our functions that are entered."""
    entered = []

    def profile(frame, event, _):
        if event == "call" and frame.f_globals["__name__"].startswith("moa_middleware"):
            entered.append(frame.f_code.co_qualname)

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(before)
    return entered


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="later versions inline comprehensions")
@pytest.mark.parametrize("name", FRAMES)
def test_a_text_is_read_in_few_frames(name):
    """Each call of a model passes here, and most replies are one text."""
    make, most = FRAMES[name]
    value = make()
    assert "Yes" == read_reply(value).text  # what is remembered of its types is remembered
    entered = frames_of(lambda: read_reply(value))
    assert len(entered) <= most, entered


VALUES = {
    "usage": (lambda: read_usage({"prompt_tokens": 5, "completion_tokens": 2}), Usage(input_tokens=5, output_tokens=2)),
    "reply": (lambda: read_reply("Yes"), Reply(text="Yes", source="provider", raw="Yes")),
    "call": (
        lambda: new_call(
            "t", "r", "l", 1, None, "m", "p", [], {}, {}, (), {}, None, None, stream=True, is_async=False
        ).replace(id="i"),
        Call(id="i", turn_id="t", role="r", label="l", layer=1, model="m", provider="p", messages=[], stream=True),
    ),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_value_of_ours_is_as_one_that_was_constructed(name):
    """They are made by another way, and a user can tell nothing by it."""
    make, constructed = VALUES[name]
    made = make()
    assert type(constructed) is type(made)
    assert constructed == made
    assert repr(constructed) == repr(made)
    assert dataclasses.asdict(constructed) == dataclasses.asdict(made)
    assert made == dataclasses.replace(made) == copy.copy(made) == pickle.loads(pickle.dumps(made))
    assert () == made.__match_args__
    if name == "usage":
        assert hash(constructed) == hash(made)
    field = dataclasses.fields(made)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(made, field, None)
    with pytest.raises(dataclasses.FrozenInstanceError):
        delattr(made, field)
    with pytest.raises((AttributeError, TypeError)):
        made.other = 1


# Requests -----------------------------------------------------------------------------------------


def test_the_first_known_name_that_was_given_is_the_request():
    """`messages`, `prompt`, `query`, `input`, `task`, in this order; a string is one user message."""

    def function(task=None, *, prompt=None, messages=None, model=None):
        pass

    spec = RequestSpec(function)
    read = lambda *args, **kwargs: spec.read(spec.bind(args, kwargs))  # noqa: E731
    assert [{"role": "user", "content": "t"}] == read("t").messages
    assert [{"role": "user", "content": "p"}] == read("t", prompt="p").messages
    messages = [{"role": "user", "content": "m"}]
    assert messages is read("t", prompt="p", messages=messages).messages
    assert ("m", None) == (read(model="m").model, read(model="m").messages)


def test_what_an_sdk_calls_not_given_is_no_parameter():
    """`omit` and `NOT_GIVEN` of the real SDK."""
    import openai

    spec = RequestSpec(lambda messages, temperature=None, stop=None, seed=None: None)
    request = spec.read(
        spec.bind((), {"messages": [], "temperature": openai.omit, "stop": openai.NOT_GIVEN, "seed": 1})
    )
    assert {"seed": 1} == request.params


def test_a_parameter_of_another_name_holds_the_messages(turns):
    """`@moa.reference(messages="conversation")`."""

    @moa.reference(messages="conversation")
    def ask(conversation, prompt="ignored"):
        return "x"

    ask([{"role": "user", "content": "hi"}])
    assert [{"role": "user", "content": "hi"}] == turns[0]["references"][0]["input_messages"]


def test_a_class_as_response_format_is_its_name_and_schema(turns):
    """A pydantic model, as `parse` takes it."""
    from pydantic import BaseModel

    class Answer(BaseModel):
        text: str

    @moa.reference
    def ask(messages, *, response_format):
        return "x"

    ask("hi", response_format=Answer)
    found = turns[0]["references"][0]["params"]["response_format"]
    assert found["name"].endswith("Answer")
    assert ["text"] == list(found["schema"]["properties"])


def test_the_url_of_a_client_is_read_once_and_keeps_no_client():
    """By the URL object: a client that gets another base URL has another endpoint."""
    from openai import OpenAI

    client = OpenAI(api_key="k", base_url="http://user:secret@host/v1?key=1")
    assert "http://host/v1/" == bare_url_of(client.base_url)
    assert bare_url_of(client.base_url) is bare_url_of(client.base_url)
    client.base_url = "http://other/v2"
    assert "http://other/v2/" == bare_url_of(client.base_url)
    reference = weakref.ref(client)
    del client
    gc.collect()
    assert reference() is None


def test_urls_do_not_pile_up():
    """A program may make a client for each request."""
    for number in range(200):
        assert f"http://host/{number}" == bare_url_of(f"http://host/{number}?key=1")
    assert len(params._bare_urls) <= params._MOST_URLS


@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="later versions inline comprehensions")
def test_a_request_is_read_in_few_frames():
    """As an SDK's `create` gets it, by keyword."""

    def create(self, *, messages, model, temperature=None, stop=None, stream=False):
        pass

    spec = RequestSpec(create, path="chat.completions.create")
    kwargs = {"messages": [], "model": "m", "temperature": 0.5, "stop": "x", "stream": True}
    assert {"temperature": 0.5, "stop": "x"} == spec.read(spec.bind((), kwargs)).params
    assert len(frames_of(lambda: spec.read(spec.bind((), kwargs)))) <= 3
