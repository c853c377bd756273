"""Further kinds of programs, written after the rules and without a look at what they say."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from .runner import flow
from .world import QUESTION, ModelError, assistant, joined, numbered, rival, system, user


@flow
def outline_and_points(w):
    """An outline, each of its points written by itself, and the program puts them together."""
    outline = w.ask("R1/C", f"Outline: {QUESTION}", w.text(3, join="\n"))
    points = [w.ask("R2/A", f"Outline:\n{outline}\nWrite point {n}.", w.text(2)) for n in range(3)]
    return "\n\n".join(points)


@flow
def map_and_reduce(w):
    """Parts of a document are summed up, and their sums."""
    parts = [w.ask("R1", f"Sum up: {w.text(6)}", w.text(2)) for _ in range(4)]
    return w.ask("A", "Sum up all:\n" + "\n".join(parts), w.text(2))


@flow
def map_and_reduce_twice(w):
    """The same over two levels, in threads."""
    parts = w.each([("R1", f"Sum up: {w.text(6)}", w.text(2), "small") for _ in range(4)], way="threads")
    halves = w.each([("R2", joined(half), w.text(2), "small") for half in (parts[:2], parts[2:])], way="threads")
    return w.ask("A", joined(halves), w.text(2), model="large")


@flow
def chain_of_verification(w):
    """A draft, questions about it, answers that do not see it, and a last version that sees all."""
    draft = w.ask("R1", QUESTION, w.text())
    questions = w.ask("R2/C", f"What is to be checked in: {draft}", "Is the harbour closed?\nWho pays for the crane?")
    answers = [w.ask("R3/R1", question, w.text(1)) for question in questions.splitlines()]
    return w.ask("A", f"{QUESTION}\nDraft: {draft}\nChecked:\n" + numbered(answers), w.text())


@flow
def refined_with_feedback(w):
    """Draft, feedback, second draft, feedback, last draft."""
    draft = w.ask("R1/C", QUESTION, w.text())
    for layer in (2, 4):
        feedback = w.ask(f"R{layer}/C", f"Feedback on: {draft}", w.text(1))
        truth = "A" if layer == 4 else f"R{layer + 1}/C"
        draft = w.ask(truth, f"{QUESTION}\nDraft: {draft}\nFeedback: {feedback}", w.text())
    return draft


@flow
def lessons_of_failed_trials(w):
    """A trial, what was wrong with it, a lesson, and a trial that is given the lesson only."""
    trial = w.ask("R1/C", QUESTION, w.text())
    lesson = w.ask("R2/C", f"This was wrong: {trial}. What do you learn?", w.text(1))
    return w.ask("A", f"{QUESTION}\nLesson: {lesson}", w.text())


@flow
def panel_of_judges(w):
    """Three judges vote by numbers, and the best draft is returned."""
    drafts = w.round("R1/A", QUESTION, [w.long() for _ in range(3)])
    votes = w.round("C/R2", joined(drafts) + "\nThe best?", ["2", "1", "2"], way="threads")
    return drafts[int(max(votes, key=votes.count)) - 1]


@flow
def how_sure_are_you(w):
    """Each reference is asked how sure it is, in its own conversation; the aggregator reads answers and numbers."""
    said = []
    for n in range(3):
        messages = system(f"You are number {n}.", QUESTION)
        text = w.ask("R1", messages, w.text())
        sure = w.ask("C", [*messages, assistant(text), *user("How sure are you, from 0 to 1?")], f"0.{n + 5}")
        said.append(f"{text} (confidence {sure})")
    return w.ask("A", joined(said), w.text())


@flow
async def hedged(w):
    """One request goes to two models; the program takes the first answer."""
    work = [
        w.ask_later("A/R1", QUESTION, w.text(), model="fast"),
        w.ask_later("R1/C", QUESTION, w.text(), model="slow"),
    ]
    return (await asyncio.gather(*work))[0]


@flow
def cascade(w):
    """A cheap answer, a verdict on it, and a better model that starts anew."""
    draft = w.ask("C/R1", QUESTION, w.text(), model="small")
    w.ask("C", f"Is this good enough? {draft}", "No.")
    return w.ask("A", f"Think hard. {QUESTION}", w.text(), model="large")


@flow
def translated_both_ways(w):
    """The question is translated, references answer that, and the answer is translated back."""
    asked = w.ask("R1/C", f"Translate: {QUESTION}", w.text(1))
    texts = w.round("R2/R1", asked, [w.text() for _ in range(2)])
    answer = w.ask("R3/R2", joined(texts, question=asked), w.text())
    return w.ask("A", f"Translate back: {answer}", w.text())


@flow
def group_chat(w):
    """Speakers see one transcript, each line with a name; a secretary sums it up."""
    lines = [f"user: {QUESTION}"]
    for place, name in enumerate(("ada", "ben", "cleo")):
        lines.append(f"{name}: " + w.ask(f"R{place + 1}", system(f"You are {name}.", *lines), w.text(2), model=name))
    return w.ask("A", system("Sum up the talk.", *lines), w.text())


@flow
def pairs_and_a_fuser(w):
    """Pairs are compared by letters, and the best two are fused."""
    drafts = w.round("R1", QUESTION, [w.text() for _ in range(3)], way="threads")
    for one, two in ((0, 1), (0, 2), (1, 2)):
        w.ask("C", system("Say A or B.", f"A: {drafts[one]}", f"B: {drafts[two]}"), "A", model="ranker")
    return w.ask("A", joined(drafts[:2]), w.text(), model="fuser")


@flow
async def guard_at_the_same_time(w):
    """A guard looks at the question while the references answer."""
    texts = await asyncio.gather(
        *(w.ask_later("R1", QUESTION, w.text(), model=f"m-{n}") for n in range(2)),
        w.ask_later("C", f"Is this harmless? {QUESTION}", "It is harmless, as far as I can see."),
    )
    return await w.ask_later("A", joined(texts[:2]), w.text())


@flow
def code_and_its_tests(w):
    """Code, a test of it, and a repair that is given both and the error."""
    code = w.ask(
        "R1", f"Write a function. {QUESTION}", "def berths(boats):\n    return sum(boat.length for boat in boats)\n"
    )
    test = w.ask(
        "R2/R1", f"Write a test of:\n{code}", "def test_berths():\n    assert berths([]) == 0  # of no boats\n"
    )
    return w.ask("A", f"Code:\n{code}\nTest:\n{test}\nError: NameError. Repair.", "def berths(boats):\n    return 0\n")


@flow
def parsed_into_an_object(w):
    """The aggregator's JSON is parsed; an object with two of its fields is returned."""

    @dataclass
    class Result:
        answer: str
        cost: int

    drafts = w.round("R1", QUESTION, [w.text() for _ in range(2)])
    data = json.loads(w.ask("A", joined(drafts), json.dumps({"why": w.text(1), "answer": w.text(2), "cost": 7})))
    w.ask("C", f"A title for: {data['answer']}", "Boats inland")
    return Result(data["answer"], data["cost"])


@flow
def streamed_references(w):
    """All are streams; the turn is a generator of dicts."""
    texts = [w.read("R1", QUESTION, w.text(), model=f"m-{n}") for n in range(3)]
    for chunk in w.stream("A", joined(texts), w.text()):
        yield {"delta": chunk.choices[0].delta.content}


@flow
def equal_answers(w):
    """Two references say the very same."""
    same = w.text()
    texts = w.round("R1", QUESTION, [same, w.text(), same])
    return w.ask("A", joined(texts), w.text())


@flow
def the_aggregator_repeats_a_reference(w):
    """It finds the second best, and says it again word by word."""
    texts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    return w.ask("A", joined(texts), texts[1])


@flow
def lists_merged_by_code(w):
    """Answers are lists, of which the program makes one without doubles, sorted."""
    lists = [[w.sentence() for _ in range(3)] for _ in range(3)]
    texts = w.round("R1", QUESTION, [json.dumps(one) for one in lists])
    merged = sorted({point for text in texts for point in json.loads(text)})
    return w.ask("A", f"{QUESTION}\n" + "\n".join(merged), w.text())


@flow
def asked_again_because_too_short(w):
    """The same request again, since the answer was too short; the second answer is taken."""
    w.ask("C/R1", QUESTION, "It is because of the storms.")
    return w.ask("A", QUESTION, w.text())


@flow
async def questions_at_the_same_time(w):
    """Three questions, each with references and an aggregator, all in one loop."""

    async def answer(question):
        texts = await asyncio.gather(*(w.ask_later("R1", question, w.text(), model=f"m-{n}") for n in range(2)))
        return await w.ask_later("C/A", joined(texts, question=question), w.text())

    return await asyncio.gather(*map(answer, ("What is a slipway?", "Who owns the crane?", "Where is the ferry?")))


@flow
def continued_three_times(w):
    """A text that is continued, and put together."""
    messages, parts = user(QUESTION), []
    for truth in ("C/A", "C/A", "A/C"):
        parts.append(w.ask(truth, messages, w.text()))
        messages = [*messages, assistant(parts[-1]), *user("Go on.")]
    return " ".join(parts)


@flow
def each_draft_is_moderated(w):
    """A moderator says of each draft whether it may pass; the aggregator reads those that may."""
    drafts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    kept = [draft for draft in drafts if w.ask("C", f"May this pass? {draft}", "It may pass.")]
    return w.ask("A", joined(kept), w.text())


@flow
def summary_between_rounds(w):
    """After each round a summary takes the place of what was said."""
    texts = w.round("R1", QUESTION, [w.text() for _ in range(3)], way="gather")
    summary = w.ask("R2", "Sum up:\n" + "\n".join(texts), w.text(1), model="scribe")
    texts = w.round("R3", f"{QUESTION}\nSo far: {summary}", [w.text() for _ in range(3)], way="gather")
    return w.ask("A", "Conclude:\n" + "\n".join(texts), w.text(2), model="scribe")


@flow
def several_wordings_of_the_question(w):
    """The question is reworded three ways, and each wording is answered."""
    wordings = w.ask("R1/C", f"Reword it three times: {QUESTION}", w.text(3, join="\n")).splitlines()
    texts = [w.ask("R2/R1", wording, w.text()) for wording in wordings]
    return w.ask("A", joined(texts), w.text())


@flow
def found_and_ranked(w):
    """Documents are scored by a model in threads; the answer quotes the best document, which no model wrote."""
    documents = [w.text(4) for _ in range(4)]
    scores = w.each([("C", f"Score for {QUESTION}: {text}", str(n), "ranker") for n, text in enumerate(documents)])
    best = documents[scores.index(max(scores))]
    return w.ask("A", f"{QUESTION}\nSource: {best}", w.text())


@flow
def second_opinion(w):
    """A second model answers without the first answer; a third says what differs."""
    one = w.ask("R1", QUESTION, w.text(), model="m-0")
    two = w.ask("R1", QUESTION, w.text(), model="m-1")
    return w.ask("A", f"What differs?\n1: {one}\n2: {two}", w.text(), model="m-2")


@flow
def aggregator_as_one_of_the_models(w):
    """The first of the reference models aggregates too, in its own conversation."""
    texts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    messages = [*user(QUESTION), assistant(texts[0]), *user("Others:\n" + numbered(texts[1:]) + "\nMake one of all.")]
    return {"final": w.ask("A", messages, w.text(), model="m-0"), "drafts": texts}


@flow
def survivors_of_rounds(w):
    """After each round the last by length falls out, and the others answer once more."""
    texts = w.round("R1", QUESTION, [w.text(size) for size in (2, 3, 4)])
    texts = w.round("R2", rival(sorted(texts, key=len)[1:]), [w.text(size) for size in (3, 4)])
    return w.ask("A", rival(texts), w.text())


@flow
def apology_in_place_of_an_answer(w):
    """One refuses in a few words, and is left out."""
    texts = w.round("R1", QUESTION, [w.text(), "I cannot help with that.", w.text()])
    return w.ask("A", joined([text for text in texts if len(text) > 40]), w.text())


@flow
def the_best_of_two_ensembles(w):
    """Two ensembles answer, and the longer answer is returned."""
    answers = []
    for style in ("brief", "long"):
        texts = w.round("R1", f"Be {style}. {QUESTION}", [w.text(), w.text()])
        answers.append(w.ask("A/R2/C", joined(texts), w.text(2 if style == "brief" else 4)))
    return max(answers, key=len)


@flow
def a_late_failure(w):
    """The second layer fails as a whole, and the aggregator reads the first."""
    texts = w.round("R1", QUESTION, [w.text() for _ in range(2)])
    w.round("R2", rival(texts), [ModelError("busy"), ModelError("busy")], way="threads")
    return w.ask("A", joined(texts), w.text())


@flow
def memory_of_the_user(w):
    """Facts about the user are drawn from the question and kept; no other call is given them."""
    texts = w.round("R1", QUESTION, [w.text() for _ in range(2)])
    answer = w.ask("A", joined(texts), w.text())
    w.ask("C", system("What do we learn of the user?", QUESTION, f"We said: {answer}"), w.text(1))
    return answer
