"""The output of a turn that returned several texts: one that a model said, or unknown."""

from __future__ import annotations

import dataclasses

import pytest

import moa_middleware as moa
from moa_middleware.testing import capture_turns

DISCLAIMER = "This is no advice, and neither its author nor its publisher is liable for what follows from it."
DRAFT = "The tenant may stay, since the lease runs on."
ANSWER = "The tenant wins: the lease was never ended."


@dataclasses.dataclass
class Result:
    verdict: str
    disclaimer: str = DISCLAIMER


class Plain:
    def __init__(self, verdict):
        self.verdict, self.disclaimer = verdict, DISCLAIMER


FORMS = {
    "dataclass": Result,
    "object": Plain,
    "tuple": lambda verdict: (verdict, DISCLAIMER),
    "list": lambda verdict: [DISCLAIMER, verdict],
    "dict": lambda verdict: {"verdict": verdict, "note": DISCLAIMER},
}
FORM = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)


@moa.reference
def draft(prompt):
    return DRAFT


@moa.aggregator
def conclude(prompt, answer=ANSWER):
    return answer


def output_of(function):
    """Return the output in the record of a turn that returns what a function returns."""
    with capture_turns() as turns:
        moa.turn(function)()
    return turns[0]["output"]


@FORM
@pytest.mark.parametrize("asks", [(draft,), (draft, conclude), ()], ids=["reference", "aggregator", "no call"])
def test_several_texts_that_no_model_said_are_unknown(asks, form):
    """The longest of them may be a disclaimer, and the aggregator's words are not what the caller got."""

    def program():
        for ask in asks:
            ask("Who wins?")
        return form("for the tenant")

    assert output_of(program) is None


@FORM
@pytest.mark.parametrize(
    "change",
    [str, str.upper, lambda text: f"Verdict: {text}", lambda text: text[:-4]],
    ids=["same", "case", "longer", "cut"],
)
def test_the_text_that_an_aggregator_said_is_the_output(change, form):
    """Also where the function changed it a little."""

    def program():
        draft("Who wins?")
        return form(change(conclude("Who wins?")))

    assert change(ANSWER) == output_of(program)


@pytest.mark.parametrize("form", [Result, FORMS["tuple"]], ids=["dataclass", "tuple"])
def test_the_text_that_a_reference_said_is_the_output_if_no_other_is_there(form):
    """A judge only chooses: what it chose is returned."""

    def program():
        found = draft("Who wins?")
        conclude("Which is better, A or B?", "B")
        return form(found)

    assert DRAFT == output_of(program)


def test_of_several_that_were_asked_the_last_is_the_output():
    """An answer is made from what was asked before it."""

    def program():
        first = draft("Who wins?")
        return Result(first, moa.reference(lambda prompt: ANSWER)("Is that so?")), DISCLAIMER

    assert ANSWER == output_of(program)


@pytest.mark.parametrize(
    ("returned", "output"),
    [
        (("Bob is able to be both.", "Nobody borrowed a book."), None),
        (("I choose B.", "Nobody borrowed a book."), "I choose B."),
        (("I choose B.", "Plan B is the plan."), None),
    ],
)
def test_a_short_text_is_found_as_a_word_of_one_text(returned, output):
    """The letter of a verdict is in most texts, which proves nothing."""

    def program():
        conclude("A or B?", "B")
        return returned

    assert output == output_of(program)


@pytest.mark.parametrize(
    ("returned", "output"), [("for the tenant", "for the tenant"), (("for the tenant", 0.8), "for the tenant")]
)
def test_a_single_text_is_the_output(returned, output):
    """It may have been parsed from what a model said."""

    def program():
        conclude("Who wins?")
        return returned

    assert output == output_of(program)


def test_a_list_of_what_models_said_is_kept_as_a_whole():
    """Its caller got all of them."""
    assert f"{DRAFT}\n\n{DISCLAIMER}" == output_of(lambda: [draft("Who wins?"), DISCLAIMER])
