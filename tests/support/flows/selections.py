"""One of several answers is taken, by code or by a judge; and calls next to the answer: titles, checks, suggestions."""

from __future__ import annotations

from dataclasses import dataclass

from .runner import flow
from .world import QUESTION, joined, numbered, rival, user


@flow(ways="f")
def best_by_code(w):
    """The longest is returned."""
    return w.round("R1/A", QUESTION, [w.text(size) for size in (2, 4, 3)])[1]


@flow
def best_of_n_with_a_judge(w):
    """A judge says a number; the program returns that draft and its place."""
    drafts = w.round("R1/A", QUESTION, [w.text() for _ in range(3)])
    place = int(w.ask("C", joined(drafts) + "\nSay the number of the best.", "2"))
    return drafts[place - 1], place


@flow
def judge_in_words(w):
    """The judge gives a reason, much shorter than the drafts."""
    drafts = w.round("R1/A", QUESTION, [w.long() for _ in range(3)])
    w.ask("C", joined(drafts), "Draft 2 is best: it names costs.")
    return drafts[1]


@flow
def judge_by_letters(w):
    """The judge says `B`, and the program returns a dict."""
    drafts = w.round("R1/A", QUESTION, [w.long() for _ in range(2)])
    w.ask("C", joined(drafts), "B.")
    return {"answer": drafts[1], "winner": "B"}


@flow
def index_returned(w):
    """Only the place of the best is returned."""
    drafts = w.round("R1", QUESTION, [w.long() for _ in range(3)])
    return int(w.ask("C", joined(drafts), "2"))


@flow
def scores_of_each(w):
    """Each draft is scored by itself; the best is returned."""
    drafts = w.round("R1/A/C", QUESTION, [w.text() for _ in range(3)])
    for place, draft in enumerate(drafts):
        w.ask("C", f"Score this from 0 to 10: {draft}", str(place + 3))
    return drafts[2]


@flow
def majority_vote(w):
    """Short answers; that of the most is returned."""
    answers = w.round("R1", QUESTION, ["42", "41", "42"])
    return max(answers, key=answers.count)


@flow
def best_of_choices(w):
    """One request for several choices; a judge picks one, and a dict is returned."""
    reply = w.reply("A/R1", QUESTION, [w.text() for _ in range(3)], n=3)
    texts = [choice.message.content for choice in reply.choices]
    w.ask("C", joined(texts), "3")
    return {"text": texts[2], "score": 1.0}


@flow
def second_choice_then_title(w):
    """The second choice is returned; a title is made of it afterwards."""
    texts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    reply = w.reply("A", joined(texts), [w.text(), w.text()], n=2)
    text = reply.choices[1].message.content
    w.ask("C", f"A title for: {text}", "Boats inland")
    return text


@flow
def title_after(w):
    """A title is made of the answer."""
    texts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    answer = w.ask("A", joined(texts), w.text())
    w.ask("C", f"A title for: {answer}", "Why boats winter inland")
    return answer


@flow
def title_and_answer(w):
    """Both are returned as a dict."""
    texts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    answer = w.ask("A", joined(texts), w.text())
    return {"answer": answer, "title": w.ask("C", f"A title for: {answer}", "Why boats winter inland")}


@flow
def title_of_the_question(w):
    """The title is made first, of the question."""
    w.ask("C", f"A title for this conversation: {QUESTION}", "Boats in winter")
    texts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    return w.ask("A", joined(texts), w.text())


@flow
def title_of_a_lone_answer(w):
    """No references: an answer, and a title of it."""
    answer = w.ask("A", QUESTION, w.text())
    w.ask("C", f"A title for: {answer}", "Why boats winter inland")
    return answer


@flow
def checked_afterwards(w):
    """A guard checks the answer."""
    texts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    answer = w.ask("A", joined(texts), w.text())
    verdict = w.ask("C", f"Is this harmless? {answer}", "Yes, it is harmless.")
    return answer if "harmless" in verdict else None


@flow
def checked_before(w):
    """A guard checks the question."""
    w.ask("C", f"Is this harmless? {QUESTION}", "Yes, it is harmless.")
    texts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    return w.ask("A", joined(texts), w.text())


@flow
def suggestions_next_to_the_aggregator(w):
    """Follow-up questions are made of the references too."""
    texts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    answer = w.ask("A", joined(texts), w.text())
    w.ask("C", "Suggest questions:\n" + numbered(texts), w.text(2))
    return {"answer": answer}


@flow
def suggestions_after_the_answer(w):
    """Follow-up questions are made of the answer; an object with slots is returned."""

    @dataclass(slots=True)
    class Result:
        answer: str
        more: list

    texts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    answer = w.ask("A", joined(texts), w.text())
    return Result(answer, w.ask("C", f"Suggest questions: {answer}", w.text(2, join="\n")).splitlines())


@flow
def best_two_are_merged(w):
    """Four drafts; the best two by length are merged, the others were read by no call."""
    drafts = [w.ask("R1", QUESTION, w.text(size)) for size in (2, 5, 3, 4)]
    return w.ask("A", joined([drafts[1], drafts[3]]), w.text())


@flow
def ranked_by_pairs(w):
    """A judge compares pairs, and the winners are merged."""
    drafts = w.round("R1", QUESTION, [w.text() for _ in range(4)])
    for one, two in ((0, 1), (2, 3)):
        w.ask("C", f"Which is better?\nA: {drafts[one]}\nB: {drafts[two]}", "A")
    return w.ask("A", joined([drafts[0], drafts[2]]), w.text())


@flow
def tree_search(w):
    """Thoughts are scored, the best is gone on with, and the answer quotes it."""
    thoughts = w.round("R1", QUESTION, [w.text(1) for _ in range(3)])
    for thought in thoughts:
        w.ask("C", f"Score: {thought}", "7")
    deeper = w.round("R2", f"{QUESTION}\nThought: {thoughts[0]}\nGo deeper.", [w.text(1) for _ in range(3)])
    for thought in deeper:
        w.ask("C", f"Score: {thought}", "8")
    return w.ask("A", f"{QUESTION}\nThoughts: {thoughts[0]} {deeper[1]}\nAnswer.", w.text())


@flow
def tournament_of_aggregators(w):
    """Two aggregators join the same references; the better is returned."""
    texts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    answers = w.round("A/R2", rival(texts), [w.text(), w.text()])
    return answers[1]


@flow
def fallback_to_a_draft(w):
    """The aggregator says nothing; the first draft is returned."""
    drafts = w.round("R1/A", QUESTION, [w.text() for _ in range(3)])
    return w.ask("C/A", joined(drafts), "") or drafts[0]


@flow
def translated_afterwards(w):
    """The answer is translated, and that is returned."""
    texts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    answer = w.ask("R2", joined(texts), w.text())
    return w.ask("A", f"Translate: {answer}", w.text())


@flow
def keywords_before(w):
    """Keywords of the question go to a search; no other call is given them."""
    w.ask("C", f"Keywords of: {QUESTION}", "boats, winter, inland, cost")
    texts = w.round("R1", user(QUESTION, f"Found: {w.text()}"), [w.text(), w.text()])
    return w.ask("A", joined(texts), w.text())
