"""Clients that are decorated by name, stacks of one's own, and mistakes."""

from __future__ import annotations

import inspect

import pytest

import moa_middleware as moa
from tests.support.callables import HELLO

# Clients by name ------------------------------------------------------------------------------------


def test_a_class_is_decorated_by_the_names_of_its_methods(turns):
    """`@moa.client(turn="create", reference="_run_reference", aggregator="_act")`."""

    @moa.client(turn="create", reference="_run_reference", aggregator="_act")
    class Legacy:
        def _run_reference(self, model, messages):
            return f"{model} says"

        def _act(self, messages):
            yield "the "
            yield "answer"

        def create(self, messages):
            drafts = [self._run_reference(model, messages) for model in "ab"]
            return self._act([*messages, {"role": "user", "content": " ".join(drafts)}])

    assert "the answer" == "".join(Legacy().create(HELLO))
    (record,) = turns
    assert ["a says", "b says"] == [call["output"] for call in record["references"]]
    assert "the answer" == record["aggregator"]["output"] == record["output"]


def test_a_decorated_class_is_the_class():
    """The same object, its constructor, its name; subclasses and `isinstance` as before."""

    class Client:
        def __init__(self, name, *, depth=1):
            self.name = name

        def create(self, messages):
            return "x"

    signature = inspect.signature(Client)
    assert Client is moa.client(Client)
    assert signature == inspect.signature(Client)
    assert isinstance(type("Child", (Client,), {})("n"), Client)


def test_a_client_may_have_decorated_methods_too(turns):
    """`@moa.client` over `@moa.turn` and `@moa.reference` is one layer each."""

    @moa.client(reference="ask")
    class Client:
        @moa.reference(label="l")
        def ask(self, messages):
            return "x"

        @moa.turn(preset="p")
        def create(self, messages):
            return self.ask(messages)

    Client().create(HELLO)
    (record,) = turns
    assert ("p", 1, "l") == (record["preset"], record["totals"]["calls"], record["references"][0]["label"])


# A stack of one's own -------------------------------------------------------------------------------


def test_a_stack_has_every_decorator(turns):
    """Its middleware runs around its own calls, once for those inside each other; the default stack's does not."""
    seen = []

    def mine(call):
        seen.append(call.role)
        yield call

    def theirs(call):
        raise AssertionError("the default stack's")
        yield call

    moa.configure(middleware=[theirs])
    stack = moa.Stack([mine])

    @stack.client(reference="ask")
    class Client:
        def ask(self, messages):
            return "x"

        @stack.aggregator
        def act(self, messages):
            return self.ask(messages)

        def create(self, messages):
            return self.act(messages)

    client = stack.instrument(Client(), turn="create")
    client.create(HELLO)
    stack.turn(stack.reference(lambda messages: "y"))(HELLO)
    with stack.turn():
        client.ask(HELLO)
    assert ["aggregator", "reference", "reference"] == seen
    assert 3 == len(turns)
    stack.uninstrument()
    client.create(HELLO)


# Errors ---------------------------------------------------------------------------------------------


class NotAClient:
    def ask(self):
        return "x"


def _flow(call):
    yield call


MISTAKES = [
    (lambda: moa.reference(5), moa.DecorationError, "@moa.reference cannot wrap a int: it is not callable"),
    (lambda: moa.turn("create"), moa.DecorationError, "@moa.turn cannot wrap a str: it is not callable"),
    (lambda: moa.aggregator(property(len)), moa.DecorationError, "@moa.aggregator cannot wrap a property"),
    (lambda: moa.reference(label="l")([]), moa.DecorationError, "@moa.reference cannot wrap a list"),
    (lambda: moa.turn(preset="p")(3), moa.DecorationError, "@moa.turn cannot wrap a int"),
    (
        lambda: moa.turn(NotAClient),
        moa.DecorationError,
        "@moa.turn is for functions and methods, `NotAClient` is a class: use moa.client",
    ),
    (lambda: moa.reference(NotAClient), moa.DecorationError, "`NotAClient` is a class: use its method"),
    (lambda: moa.client(_flow), moa.DecorationError, "@moa.client is for classes, got a function: use moa.turn"),
    (lambda: moa.client(turn="ask")(3), moa.DecorationError, "@moa.client is for classes, got a int"),
    (lambda: moa.client(NotAClient), moa.TargetError, "NotAClient has no attribute 'create' (target 'create')"),
    (lambda: moa.client(turn="ask", reference="aks")(NotAClient), moa.TargetError, "no attribute 'aks'"),
    (lambda: moa.reference(lable="l"), moa.DecorationError, "unknown keyword 'lable', did you mean 'label'?"),
    (lambda: moa.aggregator(depth=1), moa.DecorationError, "aggregator() got an unknown keyword 'depth'; it takes"),
    (lambda: moa.reference(layer=0), moa.TagError, "reference(layer=…) takes a round of references, an int from 1"),
    (lambda: moa.reference(layer="1"), moa.TagError, "reference(layer=…)"),
    (lambda: moa.aggregator(tags=["a"]), moa.TagError, "aggregator(tags=…) takes a dict with str keys, got list"),
    (lambda: moa.turn(label="l"), moa.TagError, "turn() got an unknown keyword 'label'"),
    (lambda: moa.turn(sesion_id="s"), moa.TagError, "'sesion_id', did you mean 'session_id'?"),
    (lambda: moa.turn(session_id=3), moa.TagError, "turn(session_id=…) takes a str, got int"),
    (lambda: moa.turn(tags={1: 2}), moa.TagError, "turn(tags=…) takes a dict with str keys"),
    (lambda: moa.tag(tenant="a"), moa.TagError, "tag() got an unknown tag 'tenant' (your own go in tags={…})"),
    (lambda: moa.tag(rol="reference"), moa.TagError, "unknown tag 'rol', did you mean 'role'?"),
    (lambda: moa.tag(role=3), moa.TagError, "tag(role=…) takes a str, got int"),
    (lambda: moa.tag(layer=True), moa.TagError, "tag(layer=…) takes a round of references, an int from 1, got True"),
    (lambda: moa.Stack([_flow(None)]), moa.MiddlewareError, "middleware[0] is the generator of `_flow`"),
    (lambda: moa.Stack([_flow, 3]), moa.MiddlewareError, "middleware[1] is a int, which cannot be called"),
    (lambda: moa.Stack(observers=["x"]), moa.MiddlewareError, "observers[0] is a str, which cannot be called"),
]


@pytest.mark.parametrize(("wrong", "kind", "words"), MISTAKES, ids=[words for _, _, words in MISTAKES])
def test_bad_input_gets_an_error_that_names_the_culprit(wrong, kind, words):
    """At the place of the mistake, one class a misuse, below `MoaError`."""
    with pytest.raises(kind) as caught:
        wrong()
    assert words in str(caught.value)
    assert isinstance(caught.value, moa.MoaError)
