"""Objects that raise or answer to any name, wherever one can be: the call goes on, and there is a record."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import moa_middleware as moa
from moa_middleware.testing import capture_turns
from tests.conftest import check
from tests.support.odd_objects import HOLDERS, ODD, AttrDict, Raises, attr_dict

HELLO = [{"role": "user", "content": "Why?"}]
REPLY = {
    "id": "r",
    "model": "m-1",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "The answer."}}],
    "usage": {"prompt_tokens": 5, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 2}},
}
CHUNKS = [
    {"id": "r", "choices": [{"index": 0, "finish_reason": None, "delta": {"content": "The "}}]},
    {"id": "r", "choices": [{"index": 0, "finish_reason": "stop", "delta": {"content": "answer."}}]},
    {"id": "r", "choices": [], "usage": REPLY["usage"]},
]
TOKENS = (3, 2, 2)


@moa.reference
def ask(model=None, messages=None, *, tools=None, temperature=None, stop=None, answer="The answer.", **more):
    """Return what it was made to return."""
    return answer


@moa.reference
def stream(chunks):
    """Yield what it was made to yield."""
    yield from chunks


@moa.reference
async def stream_async(chunks):
    """Yield what it was made to yield."""
    for chunk in chunks:
        yield chunk


async def _read(chunks):
    return [chunk async for chunk in stream_async(chunks)]


def only_call(turns):
    """Return the one call of the one turn."""
    (turn,) = turns
    (call,) = [*turn["references"], *turn["calls"]]
    return call


def tokens_of(call):
    """Return the tokens of a call: fresh, cached, output."""
    return tuple(call["usage"].get(name) for name in ("input_tokens", "cache_read_tokens", "output_tokens"))


# What can be read is read ------------------------------------------------------------------------------


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_reply_of_objects_that_raise_is_read(turns, holder):
    """Text and tokens, where the fields are there."""
    value = HOLDERS[holder](REPLY)
    assert value is ask("m", HELLO, answer=value)
    call = only_call(turns)
    assert ("The answer.", "stop", TOKENS) == (call["output"], call["finish_reason"], tokens_of(call))
    assert 0 == turns[0]["instrumentation_errors"]


@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize(
    "run", [lambda chunks: list(stream(chunks)), lambda chunks: asyncio.run(_read(chunks))], ids=["sync", "async"]
)
def test_chunks_of_objects_that_raise_are_read(turns, holder, run):
    """Sync and async: the same objects come out."""
    chunks = [HOLDERS[holder](chunk) for chunk in CHUNKS]
    assert all(one is other for one, other in zip(chunks, run(chunks), strict=True))
    call = only_call(turns)
    assert ("The answer.", "stop", TOKENS) == (call["output"], call["finish_reason"], tokens_of(call))


def test_a_dict_whose_attributes_are_its_keys_is_a_dict(turns):
    """As messages, tools and parameters; credentials of a tool are left out as ever."""
    tools = attr_dict([{"type": "function", "function": {"name": "f"}}, {"type": "mcp", "authorization": "a secret"}])
    ask("m", attr_dict(HELLO), tools=tools, stop=attr_dict({"a": 1}))
    call = only_call(turns)
    assert HELLO == call["input_messages"]
    assert [{"type": "function", "function": {"name": "f"}}, {"type": "mcp"}] == call["params"]["tools"]
    assert ({"a": 1}, ["tools.authorization", "answer"]) == (call["params"]["stop"], call["params_omitted"])


def test_an_sdk_that_gets_such_tools_is_recorded(turns):
    """The real SDK sends them, and the record has them."""
    openai = pytest.importorskip("openai")
    from moa_middleware.testing import ScriptedServer

    with ScriptedServer({}, default="The answer.") as server:
        client = moa.instrument(openai.OpenAI(api_key="k", base_url=server.base_url))
        tools = attr_dict([{"type": "function", "function": {"name": "f", "parameters": {}}}])
        client.chat.completions.create(model="m", messages=attr_dict(HELLO), tools=tools)
    call = turns[0]["aggregator"] or only_call(turns)
    assert (HELLO, tools) == (call["input_messages"], call["params"]["tools"])


# What cannot be read costs itself alone ----------------------------------------------------------------


class Holder:
    """A client that has an odd object as its model."""

    def __init__(self, odd):
        self.model = odd

    @moa.reference
    def ask(self, prompt):
        return "The answer."


PLACES = {
    "messages": lambda odd: ask("m", odd),
    "a message": lambda odd: ask("m", [odd]),
    "content": lambda odd: ask("m", [{"role": "user", "content": odd}]),
    "tools": lambda odd: ask("m", HELLO, tools=odd),
    "a tool": lambda odd: ask("m", HELLO, tools=[odd]),
    "a parameter": lambda odd: ask("m", HELLO, stop=odd, temperature=odd),
    "the model": lambda odd: ask(odd, HELLO),
    "another argument": lambda odd: ask("m", HELLO, whatever=odd),
    "usage": lambda odd: ask("m", HELLO, answer={**REPLY, "usage": odd}),
    "next to a text": lambda odd: ask("m", HELLO, answer=("The answer.", odd)),
    "a chunk": lambda odd: list(stream(["The ", odd, "answer."])),
    "the object's model": lambda odd: Holder(odd).ask("Why?"),
    "a session": lambda odd: moa.reference(session_id=odd)(lambda prompt: "The answer.")("Why?"),
    "a label": lambda odd: moa.reference(label=lambda **_: odd)(lambda prompt: "The answer.")("Why?"),
    "a tag": lambda odd: moa.reference(tags={"a": odd})(lambda prompt: "The answer.")("Why?"),
}
OTHER_PLACES = {
    "a reply": lambda odd: ask("m", HELLO, answer=odd),
    "choices": lambda odd: ask("m", HELLO, answer={**REPLY, "choices": odd}),
    "a choice": lambda odd: ask("m", HELLO, answer={**REPLY, "choices": [odd]}),
}
CASES = [(place, name) for place in PLACES for name in ODD]


@pytest.mark.crowd(facets=lambda place, name: (place, name))
@pytest.mark.parametrize(("place", "name"), CASES)
def test_an_odd_object_costs_itself_alone(turns, place, name):
    """The function's text is there, whatever is next to it."""
    PLACES[place](ODD[name]())
    assert "The answer." == only_call(turns)["output"]


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("place", OTHER_PLACES)
def test_an_odd_reply_is_the_callers_own_and_recorded(turns, place, name):
    """It comes back as it is, and the call is there."""
    OTHER_PLACES[place](ODD[name]())
    assert "completed" == only_call(turns)["outcome"]


@pytest.mark.parametrize("name", ODD)
def test_both_roads_get_along_with_one(turns, name):
    """A middleware that passes the call on changes nothing of it."""
    seen = moa.Stack([lambda call: (yield call)]).reference(lambda model, messages, tools: "The answer.")
    assert "The answer." == seen(ODD[name](), ODD[name](), ODD[name]())
    assert "The answer." == only_call(turns)["output"]


def test_an_interrupt_of_the_program_goes_on(turns):
    """A property that raises one is where it happened to be delivered."""
    with pytest.raises(KeyboardInterrupt):
        ask("m", HELLO, answer=Raises(KeyboardInterrupt))


@pytest.mark.parametrize("name", ["AttrDict", "RuntimeError", "KeyError", "nothing", "lying"])
def test_an_odd_client_is_a_clear_error(name):
    """Nothing can be instrumented on it; what was asked for is named."""
    with pytest.raises(moa.TargetError, match=r"none of the known paths|has no attribute"):
        moa.instrument(ODD[name]())
    with pytest.raises(moa.TargetError, match="has no attribute 'create'"):
        moa.instrument(ODD[name](), turn="create")


def test_a_client_that_is_such_a_dict_is_instrumented_by_its_class(turns):
    """Its calls are recorded, and its keys are left alone."""

    class Client(AttrDict):
        def create(self, messages):
            return "The answer."

    moa.instrument(Client, call="create")
    client = Client(a=1)
    assert "The answer." == client.create(HELLO)
    assert {"a": 1} == client
    assert "The answer." == (turns[0]["aggregator"] or only_call(turns))["output"]


# The net -------------------------------------------------------------------------------------------------


# Without the two that Hypothesis itself asks for their class.
odd_things = st.sampled_from([ODD[name] for name in ODD if name not in ("lying", "nothing")]).map(lambda make: make())
things = st.recursive(
    st.one_of(odd_things, st.none(), st.integers(), st.floats(), st.text(max_size=5), st.binary(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["role", "content", "text", "usage", "choices", "type"]), inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.text(max_size=3), inner, max_size=2).map(AttrDict),
    ),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(model=things, messages=things, tools=things, stop=things, answer=things, label=things, tag=things)
def test_no_input_costs_the_turn(model, messages, tools, stop, answer, label, tag):  # noqa: PLR0917 - drawn
    """Each call is recorded, once, and its caller gets the function's own value."""
    decorate = moa.reference(label=lambda **_: label, tags={"t": tag})
    function = decorate(lambda model, messages, tools=None, stop=None: answer)
    with capture_turns() as turns, moa.turn():
        assert answer is function(model, messages, tools=tools, stop=stop) or isinstance(answer, float)
    (turn,) = turns
    check(turn)
    assert 1 == turn["totals"]["calls"] == len([*turn["references"], *turn["calls"]])


@pytest.mark.parametrize("fault", ["read", "label", "snapshot", "entry", "roles"])
def test_a_fault_while_a_record_is_made_leaves_one(turns, monkeypatch, fault):
    """Wherever it is: the call and the turn are there, and the fault is counted in it."""
    from moa_middleware._capture.calls.invocation import Invocation
    from moa_middleware._capture.shapes.request import RequestSpec
    from moa_middleware._capture.tracing import call_record, snapshot, turn_record

    def fails(*_, **__):
        raise RuntimeError(fault)

    owner, name = {
        "read": (RequestSpec, "read"),
        "label": (Invocation, "_name"),
        "snapshot": (snapshot, "encode_again"),
        "entry": (call_record, "_add_reply"),
        "roles": (turn_record, "name_roles"),
    }[fault]
    monkeypatch.setattr(owner, name, fails)

    @moa.reference(label="l")
    def one(messages):
        return "The answer."

    @moa.turn
    def create(messages):
        return one(messages)

    assert "The answer." == create(HELLO)
    (turn,) = turns
    calls = [*turn["references"], *([turn["aggregator"]] if turn["aggregator"] else []), *turn["calls"]]
    assert (1, "completed", "completed") == (len(calls), calls[0]["outcome"], turn["outcome"])
    assert turn["instrumentation_errors"] >= 1
