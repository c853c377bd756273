"""What `moa.instrument` refuses: the error names the culprit."""

from __future__ import annotations

import types

import pytest

import moa_middleware as moa
from tests.support.instrumented import Plain, attributes


class Faulty:
    number = 3

    class chat:
        """It has no `create`."""

    def create(self, messages):
        return "x"

    @property
    def fresh(self):
        return Plain()


@pytest.mark.parametrize(
    ("obj", "targets", "words"),
    [
        (Faulty(), {"turn": "crate"}, "Faulty has no attribute 'crate' (target 'crate')"),
        (Faulty(), {"turn": "chat.create"}, "Faulty.chat has no attribute 'create' (target 'chat.create')"),
        (Faulty, {"turn": "chat.create"}, "Faulty.chat has no attribute 'create'"),
        (Faulty(), {"reference": ["create", "number"]}, "Faulty.number is a int, which cannot be called"),
        (Faulty(), {"turn": "fresh.create"}, "Faulty.fresh is a new object each time: instrument the class Plain"),
        (types.ModuleType("a.b"), {"turn": "run"}, "b has no attribute 'run' (target 'run')"),
        (types.SimpleNamespace(), {}, "SimpleNamespace has none of the known paths (chat.completions.create,"),
        (5, {}, "int has none of the known paths"),
        (5, {"turn": "bit_length"}, "int.bit_length cannot be replaced"),
    ],
)
def test_a_target_that_leads_nowhere_names_the_culprit(obj, targets, words):
    """The message says what has no such attribute, and nothing was touched."""
    before = attributes(Faulty)
    with pytest.raises(moa.TargetError) as caught:
        moa.instrument(obj, **targets)
    assert words in str(caught.value)
    assert isinstance(caught.value, LookupError)
    assert before == attributes(Faulty)


def test_an_object_that_cannot_be_referenced_weakly_is_refused_by_name():
    """A slotted client could not be told apart; the message says what to do."""

    class Slotted:
        __slots__ = ()

        def create(self, messages):
            return "x"

    with pytest.raises(moa.TargetError, match="Slotted objects cannot be referenced weakly"):
        moa.instrument(Slotted(), turn="create")


def test_an_unknown_keyword_is_an_error_that_names_it():
    """`turns=` instead of `turn=`, for `instrument` and for `client`."""
    with pytest.raises(TypeError, match=r"instrument.*'turns'"):
        moa.instrument(Plain(), turns="create")
    with pytest.raises(TypeError, match=r"client.*'turns'"):
        moa.client(turns="create")
