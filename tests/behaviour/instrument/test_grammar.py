"""How targets are written: one grammar, whose errors point at their place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import moa_middleware as moa
from moa_middleware._capture.calls.function import Options
from moa_middleware._capture.instrument import targets
from moa_middleware._capture.instrument.grammar import entries_of, read, target_of
from moa_middleware._capture.instrument.target import Argument

LISTS = {
    "": [],
    " , ,": [],
    "openai": ["openai"],
    " openai ,\tanthropic,": ["openai", "anthropic"],
    '"openai, litellm"': ["openai", "litellm"],
    " 'openai' ": ["openai"],
    '"openai,m:C.ask=call(label="l")"': ["openai", 'm:C.ask=call(label="l")'],
    "'m:f(label='a,b'), m:g(label='c')'": ["m:f(label='a,b')", "m:g(label='c')"],
    "'m:f(label=\"it's\")'": ['m:f(label="it\'s")'],
    '"openai","litellm"': ['"openai"', '"litellm"'],
    "\"openai'": ["\"openai'"],
    '"': ['"'],
    "a:f=call(messages=user, model=self.model),openai": ["a:f=call(messages=user, model=self.model)", "openai"],
    "httpx(host=api.x.ai, path=/v1/*), b:C.m=turn": ["httpx(host=api.x.ai, path=/v1/*)", "b:C.m=turn"],
    'a:f(label="one, (two"),openai': ['a:f(label="one, (two")', "openai"],
    "a:f(label='x,y'),a:g": ["a:f(label='x,y')", "a:g"],
    "a:f=call(messages=user,openai": ["a:f=call(messages=user,openai"],
    "openai),litellm": ["openai)", "litellm"],
}


@pytest.mark.parametrize("text", LISTS)
def test_commas_outside_brackets_separate_entries(text):
    """Those inside brackets or quotes belong to an entry; quotes around the whole list do not count."""
    assert LISTS[text] == entries_of(text)


WRITTEN = {
    # entry: role, options of the target
    "m:f": (None, {}),
    "m:f=turn": ("turn", {}),
    " m : C.f = call ( ) ": ("call", {}),
    "m:f(messages=user)": (None, {"messages": "user"}),
    "m:f=reference(model=self.model,)": ("reference", {"model": Argument("self.model")}),
    "m:f=call(messages = user , label = name)": ("call", {"messages": "user", "label": Argument("name")}),
    'm:f=turn(session_id="s 1", preset=preset)': ("turn", {"session_id": "s 1", "preset": Argument("preset")}),
    "m:f=call(model='gpt-4.1', provider=\"x,y(z)\")": ("call", {"model": "gpt-4.1", "provider": "x,y(z)"}),
    "m:f=call(layer=2)": ("call", {"layer": 2}),
    'm:f=call(layer="3")': ("call", {"layer": 3}),
    "m:f=call(layer=round)": ("call", {"layer": Argument("round")}),
    'm:f=call(label="")': ("call", {"label": ""}),
}


@pytest.mark.parametrize("text", WRITTEN)
def test_a_target_is_spelt_out_with_its_options(text):
    """A name is a parameter, or an attribute below one; a literal is quoted."""
    role, options = WRITTEN[text]
    target = target_of(read(text))
    assert ("m", role) == (target.module, target.role)
    assert options == {name: getattr(target, name) for name in options}
    assert all(getattr(target, name) is None for name in ("messages", "model", "label") if name not in options)


WRONG = {
    # entry: column of the mistake, what is said
    "openai=turn": (1, "a name takes no role"),
    "m:f=": (5, "unknown role ''; choose from turn"),
    "m:f=chief(messages=a)": (5, "unknown role 'chief'; choose from turn, reference, aggregator, call"),
    ":f": (1, "module is a dotted name, not ''"),
    "m:": (3, "path is a dotted name, not ''"),
    "a b:f": (1, "module is a dotted name, not 'a b'"),
    "m:f g=turn": (3, "path is a dotted name, not 'f g'"),
    "m:f=call(": (9, "the ( at column 9 is not closed"),
    "m:f(messages": (4, "the ( at column 4 is not closed"),
    "m:f=call(messages=": (9, "the ( at column 9 is not closed"),
    "m:f=call(messages=user": (9, "the ( at column 9 is not closed"),
    "m:f=call(messages=user, model=self.model, m:run=turn": (9, "the ( at column 9 is not closed"),
    "m:f=call(model=f(x), m:g": (9, "the ( at column 9 is not closed"),
    'm:f=call(label=")", m:run=turn': (9, "the ( at column 9 is not closed"),
    "openai(host=x, m:run=turn": (7, "the ( at column 7 is not closed"),
    "m:f=call(messages user)": (10, "expected the name of an option"),
    "m:f=call(messages,model)": (18, "expected an equals sign after 'messages'"),
    "m:f=call(=user)": (10, "expected the name of an option"),
    "m:f=call(,)": (10, "expected the name of an option"),
    "m:f=call(messages=)": (19, "expected a value of 'messages'"),
    'm:f=call(label="x)': (19, 'expected a closing "'),
    'm:f=call(label="x" y)': (20, "expected a comma or a closing bracket"),
    "m:f=call(model=f(x))": (17, "expected a comma or a closing bracket"),
    "m:f=call() x": (12, "expected a comma, or the end"),
    "m:f=call(mesages=user)": (10, "unknown option 'mesages', did you mean 'messages'? choose from messages, system"),
    "m:f=call(zzz=user)": (10, "unknown option 'zzz'; choose from messages, system"),
    "m:f=call(label=a, label=b)": (19, "the option 'label' is given twice"),
    'm:f=call(messages="user")': (19, "expected the name of a parameter: messages=user, without quotes"),
    "m:f=call(model=gpt-4.1)": (16, "expected the name of a parameter, as in model=self.model, or a value in quotes"),
    "m:f=call(layer=0)": (16, "a number from 1"),
    'm:f=call(layer="x")': (16, "a number from 1"),
    "openai(host=x)": (8, "openai takes no options"),
    "__main__=turn": (10, "only moa run makes a program a turn"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_an_error_points_at_its_place(wrong):
    """The entry, the column in it, and what was expected there; nothing is instrumented."""
    column, says = WRONG[wrong]
    with pytest.raises(moa.TargetError) as caught:
        moa.instrument(f"anthropic, {wrong}")
    assert str(caught.value).startswith(f"{wrong!r}, column {column}: ")
    assert says in str(caught.value)


def test_a_name_with_options_is_unknown_as_a_name_is():
    """The name is what is wrong, and it is named without its options."""
    with pytest.raises(moa.TargetError, match=r"^unknown target 'httpy'; choose from aiohttp, anthropic, "):
        moa.instrument("httpy(host=api.x.ai, path=/v1/*)")
    moa.uninstrument("httpy(host=api.x.ai, path=/v1/*)")


def test_a_long_entry_is_cut_in_the_error():
    """An error stays a line."""
    with pytest.raises(moa.TargetError) as caught:
        moa.instrument("m:f=call(label=" + "x" * 500 + " y)")
    assert 250 > len(str(caught.value))


def test_from_the_environment_only_the_wrong_entry_is_left_out(world, turns, caplog):
    """Each is logged with the column in it; the others act."""
    text = "openai=turn, targets_world:answer=turn,targets_world:later=call(x=1)"
    targets.apply(text, moa.default_stack, Options("call"))
    world.answer("why")
    assert 1 == len(turns)
    said = [record.getMessage() for record in caplog.records]
    assert "'openai=turn', column 1: a name takes no role" in said[0]
    assert "'targets_world:later=call(x=1)', column 26: unknown option 'x'" in said[1]
    assert 2 == len(said)


@given(st.text(alphabet="am:=,()\"'. \tfx_1*/", max_size=40))
def test_any_text_is_read_or_refused(text):
    """Nothing but a `TargetError` comes of it, and no entry is lost."""
    entries = entries_of(text)
    for entry in entries:
        try:
            parts = read(entry)
            if parts.path is not None:
                target_of(parts)
        except moa.TargetError as error:
            assert repr(entry) in str(error)  # noqa: PT017 - most texts are refused


# What the options do -----------------------------------------------------------------------------

ASKS = """
class Body:
    def __init__(self):
        self.session_id = "of the body"

class Client:
    def __init__(self, model="m-1"):
        self.model = model

    def ask(self, user, depth=1):
        return f"{self.model}: {user}"

    def run(self, body, name="n"):
        return self.ask("why?")

def run(body, name="n"):
    return Client().ask("why?")
"""


@pytest.mark.parametrize("kind", ["a method", "a function"])
def test_options_are_read_from_the_arguments_of_the_call(kind, module, turns):
    """The request, the model, the layer and the session of functions that name them in their own way."""
    path = "asks:Client.run" if kind == "a method" else "asks:run"
    module(ASKS, "asks")
    moa.instrument(
        f"{path}=turn(session_id=body.session_id, preset=name),"
        "asks:Client.ask=call(messages=user, model=self.model, layer=depth, label='the label', provider=\"p\")"
    )
    import asks

    run = asks.Client().run if kind == "a method" else asks.run
    assert "m-1: why?" == run(asks.Body())
    run({"session_id": "of a mapping"}, name="other")
    assert ["of the body", "of a mapping"] == [turn["session_id"] for turn in turns]
    assert ["n", "other"] == [turn["preset"] for turn in turns]
    for turn in turns:
        call = turn["aggregator"]
        assert ("m-1", "the label", "p", 1) == (call["model"], call["label"], call["provider"], call["layer"])
        assert [{"role": "user", "content": "why?"}] == call["input_messages"]


DEAD_ENDS = {
    # options of the call, or the turn: path and what is missing
    "Client.ask=call(model=self.modle)": ("self.modle", "dead_ends.Client has no modle"),
    "Client.ask=call(messages=self.sent)": ("self.sent", "dead_ends.Client has no sent"),
    "Client.ask=call(label=self.model.name)": ("self.model.name", "builtins.str has no name"),
    "Client.run=turn(session_id=body.sesion)": ("body.sesion", "dead_ends.Body has no sesion"),
}


@pytest.mark.parametrize("text", DEAD_ENDS)
def test_a_path_that_leads_nowhere_is_logged_once(text, module, turns, caplog):
    """At the first call that finds nothing there; the call is recorded without it."""
    module(ASKS, "dead_ends")
    moa.instrument(f"dead_ends:{text}")
    import dead_ends

    for _ in range(3):
        assert "m-1: why?" == dead_ends.Client().run(dead_ends.Body())
    path, error = DEAD_ENDS[text]
    assert [f"moa.argument_missing path={path} error={error}"] == [one.getMessage() for one in caplog.records]
    assert 3 == len(turns)


FOUND = (
    "Client.ask=call(model=self.model)",
    "Client.run=turn(session_id=body.session_id)",
    "Client.ask=call(label=user)",
)


@pytest.mark.parametrize("text", FOUND)
def test_a_path_that_may_be_empty_is_not_logged(text, module, turns, caplog):
    """An attribute that is `None`, a key that a dict lacks, an argument that was left out."""
    module(ASKS, "empty_paths")
    moa.instrument(f"empty_paths:{text}")
    import empty_paths

    for body in {}, None, empty_paths.Body():
        empty_paths.Client(None).run(body)
    assert [] == caplog.records


MISSPELT = {
    "answer=call(messages=promt)": "messages=promt, but its parameters are: prompt",
    "answer=call(model=self.model)": "model=self, but its parameters are: prompt",
    "Client.create=turn(session_id=session)": "session_id=session, but its parameters are: self, prompt",
}


@pytest.mark.parametrize("first", ["the import", "the target"])
@pytest.mark.parametrize("text", MISSPELT)
def test_a_parameter_that_is_not_there_is_named(first, text, module, caplog):
    """By an error from code, in the log when the module comes later."""
    import importlib

    name = module()
    says = f"targets_world:{text.partition('=')[0]}: {MISSPELT[text]}"
    if first == "the import":
        importlib.import_module(name)
        with pytest.raises(moa.TargetError) as caught:
            moa.instrument(f"targets_world:{text}")
        assert says == str(caught.value)
    else:
        moa.instrument(f"targets_world:{text}")
        importlib.import_module(name)
        assert [says in record.getMessage() for record in caplog.records] == [True]


def test_an_argument_is_a_value():
    """Equal by its path, hashable, picklable, and `None` where the call has no such argument."""
    import pickle

    argument = Argument("self.model")
    assert argument == pickle.loads(pickle.dumps(argument)) != Argument("self.label")
    assert 1 == len({argument, Argument("self.model")})
    assert "Argument('self.model')" == repr(argument)
    assert argument() is argument(self=None) is None
    assert "m" == Argument("a.b.c")(a={"b": {"c": "m"}})
