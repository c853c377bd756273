"""Calls that fail, in all places."""

from __future__ import annotations

from .runner import flow
from .world import QUESTION, ModelError, joined, rival, system

WAYS = {"loop": "loop", "threads": "threads", "gather": "gather"}


@flow(over=WAYS)
def one_reference_fails(w, way):
    """Two of three answer."""
    texts = w.round("R1", QUESTION, [w.text(), ModelError("busy"), w.text()], way=way)
    return w.ask("A", joined(texts), w.text())


@flow(over=WAYS)
def one_of_each_layer_fails(w, way):
    """In both layers."""
    texts = w.round("R1", QUESTION, [w.text(), ModelError("busy"), w.text()], way=way)
    texts = w.round("R2", rival(texts), [ModelError("busy"), w.text(), w.text()], way=way)
    return w.ask("A", rival(texts), w.text())


@flow(over=WAYS)
def all_references_fail(w, way):
    """The program gives up."""
    w.round("R1", QUESTION, [ModelError("busy") for _ in range(3)], way=way)


@flow
def the_aggregator_fails(w):
    """Its error is the turn's."""
    texts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    return w.ask("A", joined(texts), ModelError("busy"))


@flow
def the_aggregator_is_asked_again(w):
    """It fails, and the same request gets an answer."""
    texts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    w.attempt("C", joined(texts), ModelError("busy"))
    return w.ask("A", joined(texts), w.text())


@flow
def another_aggregator(w):
    """The first fails; another model gets the same."""
    texts = w.round("R1", QUESTION, [w.text() for _ in range(3)], way="threads")
    w.attempt("C", rival(texts), ModelError("down"), model="large")
    return w.ask("A", rival(texts), w.text(), model="small")


@flow
def a_draft_in_place_of_the_aggregator(w):
    """The aggregator fails, and the first draft is returned."""
    texts = w.round("R1/A", QUESTION, [w.text() for _ in range(3)])
    w.attempt("A/C", joined(texts), ModelError("down"))
    return texts[0]


@flow
def references_asked_again(w):
    """One fails, is asked again, and answers."""
    texts = w.round("R1", QUESTION, [w.text(), ModelError("busy"), w.text()])
    texts += w.round("R1", QUESTION, [w.text()])
    return w.ask("A", joined(texts), w.text())


@flow
def a_persona_fails(w):
    """One of those that were asked otherwise fails."""
    texts = [
        w.attempt("R1", system(f"You are number {n}.", QUESTION), ModelError("busy") if n == 1 else w.text())
        for n in range(3)
    ]
    return w.ask("A", joined([text for text in texts if text]), w.text())


@flow
def left_with_one(w):
    """Only one reference answers, and the aggregator reads that."""
    texts = w.round("R1", QUESTION, [ModelError("busy"), w.text(), ModelError("busy")])
    return w.ask("A", joined(texts), w.text())


@flow
def left_with_none(w):
    """No reference answers; the aggregator is asked the bare question in other words."""
    w.round("R1", QUESTION, [ModelError("busy") for _ in range(3)])
    return w.ask("A", f"Answer as well as you can: {QUESTION}", w.text())


@flow
def failures_as_text(w):
    """The program puts a note in place of each failure."""
    texts = [w.attempt("R1", QUESTION, says) or "[no answer]" for says in (w.text(), ModelError("busy"), w.text())]
    return w.ask("A", joined(texts), w.text())


@flow
def an_empty_reference(w):
    """One says nothing."""
    texts = w.round("R1", QUESTION, [w.text(), "", w.text()])
    return w.ask("A", joined(texts), w.text())


@flow
def the_title_fails(w):
    """What fails is next to the answer."""
    texts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    answer = w.ask("A", joined(texts), w.text())
    w.attempt("C", f"A title for: {answer}", ModelError("busy"))
    return answer


@flow
def too_few_references(w):
    """One of three answers, which is too few: the program gives up."""
    w.round("R1", QUESTION, [ModelError("busy"), w.text(), ModelError("busy")], way="threads")


@flow
def the_program_fails(w):
    """It raises after its references."""
    w.round("R1", QUESTION, [w.text() for _ in range(3)])
    raise ModelError("the program's own")
