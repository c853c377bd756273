"""A middleware's changes of a request reach a plain function in its own form: as a system text, a text, or a part of an argument."""

from __future__ import annotations

import dataclasses
import functools

import pytest

import moa_middleware as moa
from tests.support.plain_request import ASKED, BOTH, BRIEF, SYSTEM, USER, call_of


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A request in one object."""

    history: list
    model: str = "gpt-request"


def changed(fn, turns, *args, changes, options=(), **kwargs):
    """Return what a function got whose call was replaced on its way, and the record of it."""
    got = {}

    def watch(call):
        yield call.replace(**changes)

    moa.Stack([watch]).reference(**dict(options))(functools.partial(fn, got))(*args, **kwargs)
    return got, call_of(turns)


def system_and_user(got, system, user, model="m"):
    """Keep what it gets."""
    got.update(system=system, user=user, model=model)
    return "an answer"


def optional_system(got, user, system=None):
    """Keep what it gets."""
    got.update(system=system, user=user)
    return "an answer"


NEW = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "And green?"}]


@pytest.mark.parametrize("named", [False, True])
def test_other_messages_reach_the_function_in_its_own_form(turns, named):
    """The system text in its argument, a single user message as a text."""
    args, kwargs = ((), {"system": BRIEF, "user": ASKED}) if named else ((BRIEF, ASKED), {})
    got, call = changed(system_and_user, turns, *args, changes={"messages": NEW, "model": "m-2"}, **kwargs)
    assert {"system": "Be kind.", "user": "And green?", "model": "m-2"} == got
    assert (NEW, "m-2") == (call["input_messages"], call["model"])


def test_messages_without_a_system_text_take_it_away(turns):
    """Its default is back; a function that needs one gets an empty text."""
    got, call = changed(system_and_user, turns, BRIEF, ASKED, changes={"messages": [USER]})
    assert ({"system": "", "user": ASKED, "model": "m"}, [USER]) == (got, call["input_messages"])
    got, call = changed(optional_system, turns, ASKED, changes={"messages": [USER]}, system=BRIEF)
    assert ({"system": None, "user": ASKED}, [USER]) == (got, call["input_messages"])


def test_a_system_text_is_put_where_there_was_none(turns):
    """If the function takes one, and its request is a text."""
    got, call = changed(optional_system, turns, ASKED, changes={"messages": NEW})
    assert ({"system": "Be kind.", "user": "And green?"}, NEW) == (got, call["input_messages"])


def test_a_system_text_of_the_object_cannot_be_replaced(turns):
    """It stays if the messages begin with it; another one is a clear error, and so is none."""

    class Client:
        persona = BRIEF

        def ask(self, user):
            got.append(user)
            return "an answer"

    got, new = [], {"role": "user", "content": "And green?"}

    def decorated(messages):
        def watch(call):
            yield call.replace(messages=[*messages])

        class Watched(Client):
            ask = moa.Stack([watch]).reference(system="self.persona")(Client.ask)

        return Watched()

    decorated([SYSTEM, new]).ask(ASKED)
    assert (["And green?"], [SYSTEM, new]) == (got, call_of(turns)["input_messages"])
    for messages in (NEW, [new]):
        with pytest.raises(moa.RequestError, match=r"self\.persona is an attribute of the object"):
            decorated(messages).ask(ASKED)


def test_a_request_inside_an_argument_is_replaced_in_a_copy(turns):
    """Of a frozen dataclass and of a dict; the caller's own stays as it was."""

    def ask(got, request):
        got["request"] = request
        return "an answer"

    options = {"messages": "request.history", "model": "request.model"}
    for mine in (Wanted([USER]), {"history": [USER], "model": "gpt-request"}):
        got, call = changed(ask, turns, mine, changes={"messages": NEW, "model": "m-2"}, options=options)
        request = got["request"]
        assert type(mine) is type(request)
        seen = request if isinstance(request, dict) else dataclasses.asdict(request)
        assert {"history": NEW, "model": "m-2"} == seen
        assert (NEW, "m-2") == (call["input_messages"], call["model"])
        assert [USER] == (mine["history"] if isinstance(mine, dict) else mine.history)


def test_a_model_that_is_bound_by_place_cannot_be_replaced(turns):
    """A clear error, and no fault inside the function; by name it can be."""
    with pytest.raises(moa.RequestError, match=r"'model' is bound by a functools\.partial; bind it by keyword"):
        changed(functools.partial(lambda model, got, prompt: "x", "m-1"), turns, ASKED, changes={"model": "m-2"})

    def ask(got, prompt, model):
        got["model"] = model
        return "an answer"

    got, call = changed(functools.partial(ask, model="m-1"), turns, ASKED, changes={"model": "m-2"})
    assert ("m-2", "m-2") == (got["model"], call["model"])


def test_a_change_of_something_else_leaves_the_messages(turns):
    """Messages, system text and model that are no arguments of this call stay as they were read."""

    class Client:
        history, persona, model = [USER], BRIEF, "gpt-own"

        @moa.Stack([lambda call: (yield call.replace(params={"temperature": 0.5}))]).reference(
            messages="self.history", system="self.persona"
        )
        def ask(self, temperature=0.1):
            return str(temperature)

    assert "0.5" == Client().ask()
    call = call_of(turns)
    assert (BOTH, "gpt-own", 0.5) == (call["input_messages"], call["model"], call["temperature"])
