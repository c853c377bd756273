"""No instrumentation without effect: paths that fit, what was wrapped, the options, replies that were not understood."""

from __future__ import annotations

import logging
import types

import pytest

import moa_middleware as moa
from moa_middleware.testing import capture_turns
from tests.support.instrumented import HELLO


class MakesAModel:
    """A client whose `create` makes a model, as Ollama's does: it can be called without messages."""

    def create(self, model, from_=None, messages=None, *, stream=False):
        return {"status": "success"}


class TakesNoRequest:
    """A client whose `create` makes something else."""

    def create(self, name, size=1):
        return name


class TakesNothing:
    """A client whose `create` takes nothing."""

    def create(self):
        return "an answer"


class OtherPaths:
    """A client whose paths are not known ones, as Mistral's."""

    def __init__(self):
        self.chat = types.SimpleNamespace(complete=lambda *, model, messages: "an answer")


class Fits:
    """A client whose `create` takes messages."""

    def create(self, messages, model="m"):
        return "an answer"


class FitsOptionally:
    """A client all of whose arguments have defaults."""

    def create(self, *, model="m", messages=None):
        return "an answer"


class FitsAny:
    """A client that passes on what it gets."""

    def create(self, **kwargs):
        return "an answer"


class FitsByPosition:
    """A client that passes on what it gets, also by position."""

    def create(self, *args):
        return "an answer"


class Later:
    """A client whose instances have the path."""

    def __init__(self):
        self.chat = types.SimpleNamespace(completions=types.SimpleNamespace(create=lambda **kwargs: "an answer"))


@pytest.mark.parametrize("kind", [MakesAModel, TakesNoRequest, TakesNothing])
@pytest.mark.parametrize("of", [lambda kind: kind(), lambda kind: kind], ids=["instance", "class"])
def test_a_known_path_that_takes_no_request_is_refused(kind, of):
    """The error names the path that was tried, what its function takes, and how another path is named."""
    obj = of(kind)
    with pytest.raises(moa.TargetError) as caught:
        moa.instrument(obj)
    assert f"{kind.__name__} has none of the known paths (chat.completions.create," in str(caught.value)
    assert "create takes no request: its parameters are" in str(caught.value)
    assert 'name yours: instrument(obj, turn="…"' in str(caught.value)
    assert () == moa.instrumented(obj)


def test_a_client_with_other_paths_is_refused():
    """Every known path that was tried is listed."""
    with pytest.raises(moa.TargetError, match=r"chat\.completions\.create, .*messages\.stream, create, completion"):
        moa.instrument(OtherPaths())


@pytest.mark.parametrize("kind", [Fits, FitsOptionally, FitsAny, FitsByPosition])
@pytest.mark.parametrize("of", [lambda kind: kind(), lambda kind: kind], ids=["instance", "class"])
def test_a_known_path_that_takes_a_request_is_wrapped(turns, kind, of):
    """A request's parameter, or parameters of any name, fit."""
    obj = moa.instrument(of(kind))
    assert ("create",) == moa.instrumented(obj)
    client = obj if not isinstance(obj, type) else obj()
    client.create(
        *([HELLO] if kind is FitsByPosition else ()), **({} if kind is FitsByPosition else {"messages": HELLO})
    )
    assert 1 == len(turns)
    moa.uninstrument(obj)
    assert () == moa.instrumented(obj)


def test_a_path_that_is_named_is_wrapped_whatever_it_takes(turns):
    """Who names a path knows it."""
    client = moa.instrument(TakesNoRequest(), call="create")
    assert "x" == client.create("x")
    assert ("create",) == moa.instrumented(client)
    assert 1 == len(turns)


def test_the_option_messages_makes_a_known_path_fit(turns):
    """A parameter that is named as the request is one."""
    client = moa.instrument(TakesNoRequest(), messages="name")
    client.create("hello")
    assert [{"role": "user", "content": "hello"}] == turns[0]["aggregator"]["input_messages"]


class Several:
    """A client with several methods, one of them on what only instances have."""

    def __init__(self):
        self.inner = types.SimpleNamespace(ask=lambda messages: "an answer")

    def create(self, messages):
        return self.inner.ask(messages)

    def other(self, messages):
        return "other"


def test_what_was_wrapped_is_shown_as_dotted_paths():
    """Those of an instance, of its class and of a module; only what was wrapped."""
    client = Several()
    assert () == moa.instrumented(client)
    moa.instrument(client, turn="create", call=["inner.ask"])
    assert ("create", "inner.ask") == moa.instrumented(client)
    assert () == moa.instrumented(Several())
    moa.instrument(Several, call=["other", "inner.ask"])
    assert ("inner.ask", "other") == moa.instrumented(Several)
    assert ("create", "inner.ask", "other") == moa.instrumented(client)
    module = types.ModuleType("asked")
    module.ask = Fits().create
    moa.instrument(module, call="ask")
    assert ("ask",) == moa.instrumented(module)
    moa.uninstrument(client)
    moa.uninstrument(Several)
    moa.uninstrument(module)
    assert [(), (), ()] == [*map(moa.instrumented, (client, Several, module))]


def test_what_was_wrapped_of_an_sdk():
    """A client's methods, also before the SDK has imported its resources; and those of the SDK for everyone."""
    import anthropic
    import openai

    client = moa.instrument(openai.OpenAI(api_key="k"))
    assert {"chat.completions.create", "chat.completions.stream", "responses.create"} <= {*moa.instrumented(client)}
    assert () == moa.instrumented(openai.OpenAI(api_key="k"))
    assert () == moa.instrumented(openai)
    moa.instrument(openai.AsyncOpenAI)
    assert "responses.create" in moa.instrumented(openai.AsyncOpenAI)
    assert "responses.create" in moa.instrumented(openai.AsyncOpenAI(api_key="k"))
    moa.uninstrument(openai.AsyncOpenAI)
    assert () == moa.instrumented(openai.AsyncOpenAI)
    moa.instrument("anthropic")
    assert {"messages.create", "messages.stream"} <= {*moa.instrumented("anthropic")}
    assert moa.instrumented(anthropic) == moa.instrumented("anthropic")
    assert "messages.create" in moa.instrumented(anthropic.Anthropic(api_key="k"))
    moa.uninstrument("anthropic")
    moa.uninstrument(client)
    assert [(), (), ()] == [*map(moa.instrumented, ("anthropic", anthropic, client))]


def test_what_was_wrapped_of_targets_by_name():
    """A target in a list is shown as it is written; one whose module is not there yet is not."""
    text = f"{__name__}:Several.other=call, not_there_at_all:fn=call"
    moa.instrument(text)
    assert (f"{__name__}:Several.other",) == moa.instrumented(text)
    moa.uninstrument(text)
    assert () == moa.instrumented(text)


def test_a_decorated_class_shows_its_paths():
    """`moa.client` is `instrument` as a decorator."""

    @moa.client(call="other")
    class Client:
        def create(self, messages):
            return self.other(messages)

        def other(self, messages):
            return "other"

    assert ("create", "other") == moa.instrumented(Client)


def test_the_log_says_what_was_wrapped(caplog):
    """At the level debug; at the default level nothing is said."""
    moa.instrument(Fits())
    assert not caplog.records
    caplog.set_level(logging.DEBUG, "moa_middleware")
    moa.instrument(Fits())
    moa.instrument("anthropic")
    said = [record.getMessage() for record in caplog.records]
    assert "moa.instrumented target=Fits paths=create" == said[0]
    assert said[1].startswith("moa.instrumented target=anthropic paths=beta.messages.create, ")


# The options of the decorators -------------------------------------------------------------------


class Odd:
    """A client whose request has names of its own."""

    name = "m-7"

    def ask(self, question_text, rules, user_session):
        return "an answer"


OPTIONS = {
    "messages": "question_text",
    "system": "rules",
    "model": "self.name",
    "label": "expert",
    "layer": 2,
    "provider": "p",
    "session_id": lambda user_session: user_session,
    "preset": "ensemble",
    "tags": {"team": "red"},
}


@pytest.mark.parametrize("how", ["instance", "class", "client", "decorator"])
def test_instrument_takes_the_options_of_the_decorators(turns, how):
    """The same words write the same record."""

    class Mine(Odd):
        if how == "decorator":
            ask = moa.reference(**OPTIONS)(Odd.ask)

    if how == "instance":
        client = moa.instrument(Mine(), reference="ask", **OPTIONS)
    elif how == "class":
        client = moa.instrument(Mine, reference="ask", **OPTIONS)()
    elif how == "client":
        client = moa.client(turn=(), reference="ask", **OPTIONS)(Mine)()
    else:
        client = Mine()
    client.ask("why", "be brief", "s-1")
    (turn,) = turns
    (call,) = turn["references"]
    assert ["be brief", "why"] == [message["content"] for message in call["input_messages"]]
    assert ("m-7", "expert", 2, "p") == (call["model"], call["label"], call["layer"], call["provider"])
    assert ("s-1", "ensemble") == (turn["session_id"], turn["preset"])


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"lable": "x"}, moa.DecorationError, "instrument() got an unknown keyword 'lable', did you mean 'label'?"),
        ({"layer": 0}, moa.TagError, "instrument(layer=…) takes a round of references"),
        ({"tags": {1: 2}}, moa.TagError, "instrument(tags=…) takes a dict with str keys"),
    ],
)
def test_a_bad_option_is_refused(given, error, text):
    """Before anything is wrapped."""
    client = Fits()
    with pytest.raises(error) as caught:
        moa.instrument(client, **given)
    assert text in str(caught.value)
    assert () == moa.instrumented(client)


def test_a_turn_of_instrument_takes_tags(turns):
    """They are in its line."""
    moa.instrument(Fits(), turn="create", tags={"team": "red"}).create(HELLO)
    assert {"team": "red"} == turns[0]["tags"]


def test_an_sdks_client_takes_options(turns):
    """Each call of the client has them."""
    import openai

    from moa_middleware.testing import ScriptedServer

    seen = []

    @moa.observer
    def watch(call):
        seen.append(dict(call.tags))
        yield

    moa.configure(middleware=[watch])
    with ScriptedServer({}, default="an answer") as server:
        client = openai.OpenAI(base_url=server.base_url, api_key="k")
        moa.instrument(client, label="expert", tags={"team": "red"}, provider="gateway")
        client.chat.completions.create(model="m", messages=HELLO)
    call = turns[0]["aggregator"]
    assert ("expert", "gateway") == (call["label"], call["provider"])
    assert [{"team": "red"}] == seen


# Replies that were not understood ----------------------------------------------------------------


class Strange:
    """A reply of a class that no shape knows."""


def _value(messages):
    return Strange()


def _stream(messages):
    yield Strange()
    yield Strange()


async def _value_async(messages):
    return Strange()


async def _stream_async(messages):
    yield Strange()


def _read(fn):
    import asyncio

    if fn is _value:
        return moa.aggregator(fn)(HELLO)
    if fn is _stream:
        return [*moa.aggregator(fn)(HELLO)]
    if fn is _value_async:
        return asyncio.run(moa.aggregator(fn)(HELLO))

    async def read():
        return [chunk async for chunk in moa.aggregator(fn)(HELLO)]

    return asyncio.run(read())


@pytest.mark.parametrize("fn", [_value, _stream, _value_async, _stream_async])
def test_a_reply_that_is_not_understood_is_named_once(caplog, fn):
    """The call is completed; the log names the type and what to do, once; every one of them is counted."""
    moa.configure(save_traces=True)
    before = moa.status().unread_replies
    with capture_turns() as turns:
        for _ in range(3):
            _read(fn)
    assert ["completed"] * 3 == [turn["aggregator"]["outcome"] for turn in turns]
    assert [1] * 3 == [turn["totals"]["unread"] for turn in turns]
    assert 3 == moa.status().unread_replies - before
    (said,) = [one.getMessage() for one in caplog.records if one.getMessage().startswith("moa.unread_reply")]
    assert f"type={__name__}.Strange" in said
    assert "moa.register_shape(Strange, " in said
    assert "<" not in said


def test_a_reply_of_a_builtin_type_is_named_too(caplog):
    """A class of Python's own is not to be registered, since all its objects would be read so."""
    with capture_turns() as turns:
        moa.aggregator(lambda messages: [1])(HELLO)
    assert "builtins.list" == turns[0]["aggregator"]["raw"]["type"]
    (said,) = [one.getMessage() for one in caplog.records if "unread_reply" in one.getMessage()]
    assert "type=builtins.list fix=return a text, or an object of a class that moa.register_shape knows" in said


def test_a_registered_type_is_read(caplog):
    """What the log advises helps."""

    class Mine:
        text_of_mine = "an answer"

    moa.register_shape(Mine, reply=lambda obj: moa.Reply(text=obj.text_of_mine))
    with capture_turns() as turns:
        moa.aggregator(lambda messages: Mine())(HELLO)
    assert "an answer" == turns[0]["aggregator"]["output"]
    assert not [one for one in caplog.records if "unread_reply" in one.getMessage()]


def test_a_late_reply_that_is_not_understood_is_named(caplog):
    """A call that ends after its turn is no exception."""

    @moa.turn
    def answer(question):
        return "done", moa.reference(_stream)(HELLO)

    with capture_turns():
        _, stream = answer("why")
        list(stream)
    assert [one for one in caplog.records if "unread_reply" in one.getMessage()]


def test_moa_stats_counts_them(tmp_path, monkeypatch, capsys):
    """In the figures of the reader and in what the command says."""
    from moa_middleware import read
    from moa_middleware.cli import main

    monkeypatch.setenv("MOA_TRACE_DIR", str(tmp_path))
    moa.configure(save_traces=True, trace_dir=tmp_path)
    _read(_value)
    moa.aggregator(lambda messages: "an answer")(HELLO)
    assert 1 == read.open(tmp_path).stats().total.unread
    monkeypatch.setattr("sys.argv", ["moa", "stats", str(tmp_path)])
    with pytest.raises(SystemExit):
        main()
    assert "1 call returned what was not understood" in capsys.readouterr().out
