"""Debates, rankings and councils: models that read one another before somebody joins them."""

from __future__ import annotations

from .runner import flow
from .world import QUESTION, assistant, joined, numbered, rival, system, user

WAYS = {"loop": "loop", "threads": "threads", "gather": "gather"}


@flow(over=WAYS)
def asked_alike(w, way):
    """Two rounds, the second given all of the first, and no call joins them."""
    texts = w.round("R1", QUESTION, [w.text() for _ in range(3)], way=way)
    w.round("R2", rival(texts), [w.text() for _ in range(3)], way=way)


@flow(over=WAYS)
def each_asked_otherwise(w, way):
    """Each is given the answers of the others, and a judge joins the second round."""
    texts = w.each([("R1", system(f"You are debater {n}.", QUESTION), w.text(), f"m-{n}") for n in range(3)], way=way)
    second = [
        ("R2", system(f"You are debater {n}.", QUESTION, numbered(texts[:n] + texts[n + 1 :])), w.text(), f"m-{n}")
        for n in range(3)
    ]
    return w.ask("A", joined(w.each(second, way=way)), w.text())


@flow
def sequential(w):
    """Two speak by turns, each reads all that was said."""
    said = []
    for turn in range(4):
        said.append(
            w.ask(f"R{turn + 1}", f"{QUESTION}\nSo far:\n" + "\n".join(said) + f"\nSpeaker {turn % 2}:", w.text())
        )
    return w.ask("A", joined(said), w.text())


@flow
def three_rounds_with_a_vote(w):
    """Three rounds; one of the last answers is taken by a vote."""
    texts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    texts = w.round("R2", rival(texts), [w.text() for _ in range(3)])
    texts = w.round("R3/A", rival(texts), [w.text() for _ in range(3)])
    return texts[1]


@flow
def council_with_chairman(w):
    """Answers, rankings of the answers under letters, and a chairman who reads both."""
    texts = w.round("R1", QUESTION, [w.long() for _ in range(3)], way="gather")
    lettered = "\n\n".join(f"Response {letter}:\n{text}" for letter, text in zip("ABC", texts, strict=True))
    ranks = [f"{w.text(2)}\n\nFINAL RANKING:\n1. Response {a}\n2. Response {b}" for a, b in ("AB", "BC", "CA")]
    ranks = w.round("R2", f"Rank these answers to: {QUESTION}\n\n{lettered}", ranks, way="gather")
    prompt = f"You are the chairman. {QUESTION}\n\nAnswers:\n{lettered}\n\nRankings:\n" + "\n\n".join(ranks)
    return w.ask("A", prompt, w.long())


@flow
def ranking_only(w):
    """Answers and rankings; the program counts, and returns the best answer."""
    texts = w.round("R1/A", QUESTION, [w.long() for _ in range(3)])
    w.round("R2", joined(texts), [f"{w.text(1)} Best: {place}" for place in (2, 1, 2)])
    return texts[2]


@flow
def agents_with_memory(w):
    """Two agents keep a conversation each, read one another, and an arbiter quotes both."""
    memory = {name: [*system(f"You are {name}.", QUESTION)] for name in ("ada", "ben")}
    said = {}
    for turn in (1, 2):
        others = dict(said)
        for name, messages in memory.items():
            if turn > 1:
                messages.extend(user(*(f"{who} said: {text}" for who, text in others.items() if who != name)))
            said[name] = w.ask(f"R{turn}", messages, w.text(), model=name)
            messages.append(assistant(said[name]))
    return w.ask("A", joined([*said.values()]), w.text())


@flow
def agents_with_memory_asked_alike(w):
    """Layers of agents that keep their conversation; the second layer reads all of the first."""
    memory = [user(QUESTION) for _ in range(3)]
    first = [w.ask("R1", messages, w.text(), model=f"m-{n}") for n, messages in enumerate(memory)]
    for messages, text in zip(memory, first, strict=True):
        messages += [assistant(text), *user("All answers:\n" + numbered(first))]
    second = [w.ask("R2", messages, w.text(), model=f"m-{n}") for n, messages in enumerate(memory)]
    return w.ask("A", joined(second), w.text())


@flow
def critics_of_each_draft(w):
    """Each draft has a critic; an editor reads drafts and critiques."""
    drafts = w.round("R1", QUESTION, [w.text() for _ in range(2)])
    critiques = [w.ask("R2", f"Criticize: {draft}", w.text()) for draft in drafts]
    return w.ask("A", joined([*drafts, *critiques]), w.text())


@flow
def peer_review(w):
    """Each reviews another's draft, and the authors revise."""
    drafts = [w.ask("R1", system(f"You are author {n}.", QUESTION), w.text()) for n in range(2)]
    reviews = [w.ask("R2", system(f"You are reviewer {n}.", f"Review: {drafts[1 - n]}"), w.text()) for n in range(2)]
    revised = [
        w.ask("R3", system(f"You are author {n}.", f"Draft: {drafts[n]}\nReview: {reviews[1 - n]}"), w.text())
        for n in range(2)
    ]
    return w.ask("A", joined(revised), w.text())


@flow
def pro_and_contra(w):
    """One is for it, one against it, each answers the other, and a judge decides with reasons."""
    pro = w.ask("R1", f"Argue for it: {QUESTION}", w.text())
    contra = w.ask("R2", f"Argue against this: {pro}", w.text())
    pro_again = w.ask("R3", f"You argued: {pro}\nThe other: {contra}\nAnswer.", w.text())
    return w.ask("A", f"Decide.\nFor: {pro}\nAgainst: {contra}\nFor: {pro_again}", w.text(4))


@flow
def blackboard(w):
    """Experts write onto one board that grows, and the last reads all of it."""
    board = QUESTION
    for place in range(3):
        board += "\n" + w.ask(f"R{place + 1}", f"{board}\nExpert {place}, add a point.", w.sentence())
    return w.ask("A", f"{board}\nSum up.", w.text())


@flow
def confidence_and_final_round(w):
    """Each round adds a number; the last round is joined."""
    texts = w.round("R1", QUESTION, [f"{w.text()}\nConfidence: 0.{n}" for n in (3, 5, 8)])
    texts = w.round("R2", rival(texts), [f"{w.text()}\nConfidence: 0.{n}" for n in (4, 6, 9)])
    return w.ask("A", rival(texts), w.text())


@flow
def last_round_in_threads_is_returned(w):
    """All answers of the last round are returned."""
    texts = w.round("R1", QUESTION, [w.text() for _ in range(3)], way="threads")
    return w.round("R2", rival(texts), [w.text() for _ in range(3)], way="threads")


@flow
def the_vote_is_a_call(w):
    """The last round is read by a judge who says a number; the program returns that answer."""
    texts = w.round("R1", QUESTION, [w.long() for _ in range(3)])
    texts = w.round("R2/A", rival(texts), [w.long() for _ in range(3)])
    w.ask("C", joined(texts) + "\nWhich is best? Say a number.", "2")
    return texts[1]
