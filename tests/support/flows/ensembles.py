"""Rounds of references, one or several, and the aggregator that reads the last."""

from __future__ import annotations

from .runner import flow
from .world import QUESTION, assistant, joined, numbered, rival, system, user

WAYS = {"loop": "loop", "threads": "threads", "gather": "gather"}


@flow(over=WAYS)
def fan_out(w, way):
    """Three references asked alike."""
    texts = w.round("R1", QUESTION, [w.long() for _ in range(3)], way=way)
    return w.ask("A", joined(texts), w.long())


@flow(over=WAYS)
def layers(w, way):
    """Two layers, each given the one before it in a system prompt."""
    texts = w.round("R1", QUESTION, [w.text() for _ in range(3)], way=way)
    texts = w.round("R2", rival(texts), [w.text() for _ in range(3)], way=way)
    return w.read("A", rival(texts), w.text())


@flow
def three_layers(w):
    """Three layers, and a stream that is handed out."""
    texts = w.round("R1", QUESTION, [w.long() for _ in range(2)])
    texts = w.round("R2", rival(texts), [w.long() for _ in range(2)])
    texts = w.round("R3", rival(texts), [w.long() for _ in range(2)])
    return w.stream("A", rival(texts), w.long())


@flow
def personas(w):
    """Each reference has a system prompt of its own."""
    texts = [
        w.ask("R1", system(f"You are a {who}.", QUESTION), w.text(), model=who) for who in ("sailor", "clerk", "mason")
    ]
    return w.ask("A", joined(texts), w.text())


@flow(over=WAYS)
def personas_in_layers(w, way):
    """Each with a prompt of its own in both layers."""
    people = ("sailor", "clerk", "mason")
    texts = w.each([("R1", system(f"You are a {who}.", QUESTION), w.text(), who) for who in people], way=way)
    asked = [
        ("R2", system(f"You are a {who}. Others say: {numbered(texts)}", QUESTION), w.text(), who) for who in people
    ]
    return w.ask("A", rival(w.each(asked, way=way)), w.text())


@flow
def self_mixture(w):
    """One model, many samples."""
    texts = [w.ask("R1", QUESTION, w.text()) for _ in range(5)]
    return w.ask("A", joined(texts), w.text())


@flow
def samples_of_one_request(w):
    """One request for several choices; the aggregator reads all of them."""
    reply = w.reply("R1", QUESTION, [w.text(), w.text(), w.text()], n=3)
    return w.ask("A", joined([choice.message.content for choice in reply.choices]), w.text())


@flow
def later_choices_only(w):
    """The first choice is thrown away."""
    reply = w.reply("R1", QUESTION, [w.text(), w.text(), w.text()], n=3)
    return w.ask("A", joined([choice.message.content for choice in reply.choices[1:]]), w.text())


@flow
def one_reference(w):
    """A draft, and who improves it."""
    draft = w.ask("R1", QUESTION, w.long())
    return w.ask("A", f"Improve this answer to: {QUESTION}\n\n{draft}", w.long())


@flow
def refined_by_different_models(w):
    """A chain: each quotes the one before it."""
    text = w.ask("R1", QUESTION, w.text())
    text = w.ask("R2", f"{QUESTION}\nA first answer: {text}\nImprove it.", w.text())
    return w.ask("A", f"{QUESTION}\nA second answer: {text}\nImprove it.", w.text())


@flow
def two_fan_outs(w):
    """Two parts of a question, each with a round of its own, and who joins them."""
    parts = []
    for part in ("What does it cost?", "Who does the work?"):
        parts += w.round("R1", part, [w.text(), w.text()])
    return w.ask("A", joined(parts), w.text())


@flow
def tree_of_merges(w):
    """Pairs are merged, and their merges."""
    merged = []
    for part in ("What does it cost?", "Who does the work?"):
        pair = w.round("R1", part, [w.text(), w.text()])
        merged.append(w.ask("R2", joined(pair, question=part), w.text()))
    return w.ask("A", joined(merged), w.text())


@flow
def skipping_a_layer(w):
    """The aggregator reads both layers."""
    first = w.round("R1", QUESTION, [w.text(), w.text()])
    second = w.round("R2", rival(first), [w.text(), w.text()])
    return w.ask("A", joined([*first, *second]), w.text())


@flow
def as_assistant_messages(w):
    """The references are given as messages of the assistant."""
    texts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    messages = [*user(QUESTION), *map(assistant, texts), *user("Make one answer of these.")]
    return w.ask("A", messages, w.text())


@flow
def one_message_each(w):
    """The references are messages of the user."""
    texts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    return w.ask("A", user(QUESTION, *texts), w.text())


@flow
def content_parts(w):
    """The references are parts of one message."""
    texts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    parts = [{"type": "text", "text": text} for text in [QUESTION, *texts]]
    return w.ask("A", [{"role": "user", "content": parts}], w.text())


@flow
def nothing_but_references(w):
    """Models are compared, and not joined."""
    return w.round("R1", QUESTION, [w.text() for _ in range(3)])


@flow
def compared_in_threads(w):
    """The same in threads; the program prints what they say."""
    w.round("R1", QUESTION, [w.long() for _ in range(4)], way="threads")


@flow
def a_layer_that_was_lost(w):
    """The aggregator is not given the second layer: a fault of the program, which the record shows."""
    texts = w.round("R1", QUESTION, [w.text() for _ in range(2)])
    w.round("R2", rival(texts), [w.text() for _ in range(2)])
    return w.ask("A", joined(texts), w.text())


@flow
def consortium(w):
    """Members answer, an arbiter joins them and is not content, and they answer once more."""
    texts = w.round("R1", QUESTION, [w.text() for _ in range(3)], way="threads")
    verdict = w.ask("R2", joined(texts) + "\nSay what is missing.", w.text())
    again = f"{QUESTION}\nThe arbiter found: {verdict}\nAnswer again."
    texts = w.round("R3", again, [w.text() for _ in range(3)], way="threads")
    return w.ask("A", joined(texts), w.text())


@flow
def iterations_with_a_synthesis_each(w):
    """Three rounds; each synthesis is given to the members of the next."""
    synthesis, layer = "", 1
    for _ in range(2):
        texts = w.round(f"R{layer}", f"{QUESTION}\n{synthesis}", [w.text() for _ in range(2)])
        synthesis = w.ask(f"R{layer + 1}", joined(texts), w.text())
        layer += 2
    texts = w.round(f"R{layer}", f"{QUESTION}\n{synthesis}", [w.text() for _ in range(2)])
    return w.ask("A", joined(texts), w.text())


@flow
def planner_and_workers(w):
    """A plan, its parts done by workers, and who joins them."""
    plan = w.ask("R1", f"Make a plan: {QUESTION}", w.text(2, join="\n"))
    texts = [w.ask("R2", f"The plan: {plan}\nDo part {number}.", w.text()) for number in (1, 2)]
    return w.ask("A", joined(texts), w.text())


@flow
def mixed_models_twice(w):
    """Six references, two of each model."""
    texts = [w.ask("R1", QUESTION, w.long(), model=model) for model in ("a", "b", "c") for _ in range(2)]
    return w.read("A", rival(texts), w.long())


@flow
def long_prompts(w):
    """A long document is in front of each prompt."""
    document = "\n".join(w.sentence() for _ in range(60))
    texts = w.round("R1", f"{document}\n\n{QUESTION}", [w.long() for _ in range(3)])
    return w.ask("A", f"{document}\n\n{joined(texts)}", w.long())


@flow
def references_that_begin_alike(w):
    """All answers begin with the same words."""
    head = "That is a good question, and it has more than one answer. "
    texts = w.round("R1", QUESTION, [head + w.text() for _ in range(3)])
    texts = w.round("R2", rival(texts), [head + w.text() for _ in range(3)])
    return w.ask("A", rival(texts), head + w.text())


@flow
def references_that_quote_the_question(w):
    """Each answer begins with the question, which is in all prompts."""
    texts = w.round("R1", QUESTION, [f"{QUESTION} {w.text()}" for _ in range(3)])
    return w.ask("A", rival(texts), f"{QUESTION} {w.text()}")
