"""Steps of a conversation, retries, tools and plain sequences, which are no references."""

from __future__ import annotations

from .runner import flow
from .world import QUESTION, assistant, joined, system, user


@flow
def alone(w):
    """One call is its turn's answer."""
    return w.ask("A", QUESTION, w.text())


@flow
def steps(w):
    """A conversation of three steps."""
    messages = user(QUESTION)
    for truth in ("C", "C", "A"):
        text = w.ask(truth, messages, w.text())
        messages = [*messages, assistant(text), *user("Go on.")]
    return text


@flow
def short_steps(w):
    """A conversation with answers of one word."""
    messages = user(QUESTION)
    for truth, says in (("C", "Yes"), ("C", "No"), ("A", "Maybe")):
        text = w.ask(truth, messages, says)
        messages = [*messages, assistant(text), *user("Sure?")]
    return text


@flow
def tool_loop(w):
    """The model calls a tool twice, and answers."""
    messages = user(QUESTION)
    for _ in range(2):
        w.reply("C", messages, {"content": None})
        call = {"id": "call-1", "type": "function", "function": {"name": "search", "arguments": "{}"}}
        called = {"role": "assistant", "content": None, "tool_calls": [call]}
        messages = [*messages, called, {"role": "tool", "tool_call_id": "call-1", "content": w.text()}]
    return w.ask("A", messages, w.text())


@flow
def tool_loop_with_words(w):
    """The model says what it does before it calls a tool."""
    messages = user(QUESTION)
    says = "Let me look that up for you in the register."
    w.reply("C", messages, {"content": says})
    call = {"id": "call-1", "type": "function", "function": {"name": "search", "arguments": "{}"}}
    called = {"role": "assistant", "content": says, "tool_calls": [call]}
    messages = [*messages, called, {"role": "tool", "tool_call_id": "call-1", "content": w.text()}]
    return w.ask("A", messages, w.text())


@flow
def references_with_tools(w):
    """Each reference calls a tool first; the aggregator reads their answers."""
    texts = []
    for who in ("clerk", "sailor"):
        messages = system(f"You are a {who}.", QUESTION)
        w.reply("C", messages, {"content": None})
        call = {"id": "call-1", "type": "function", "function": {"name": "search", "arguments": "{}"}}
        messages += [{"role": "assistant", "content": None, "tool_calls": [call]}]
        messages += [{"role": "tool", "tool_call_id": "call-1", "content": w.text()}]
        texts.append(w.ask("R1", messages, w.text()))
    return w.ask("A", joined(texts), w.text())


@flow
def retry_as_a_conversation(w):
    """The answer is not JSON; the program says so, and gets one that is."""
    messages = user(QUESTION)
    bad = w.ask("C", messages, w.text())
    return w.ask(
        "A", [*messages, assistant(bad), *user("That is not JSON. Again.")], '{"answer": "' + w.sentence() + '"}'
    )


@flow
def references_retried_as_conversations(w):
    """Each reference is asked again in its own conversation; the aggregator reads the better answers."""
    texts = []
    for n in range(2):
        messages = system(f"You are number {n}.", QUESTION)
        bad = w.ask("C", messages, w.text())
        texts.append(w.ask("R1", [*messages, assistant(bad), *user("Shorter.")], w.text()))
    return w.ask("A", joined(texts), w.text())


@flow
def sent_again_after_a_failure(w):
    """The model fails twice, and the same request gets an answer."""
    from .world import ModelError

    for _ in range(2):
        w.attempt("C", QUESTION, ModelError("busy"))
    return w.ask("A", QUESTION, w.text())


@flow
def another_model_after_a_failure(w):
    """A fallback."""
    from .world import ModelError

    w.attempt("C", QUESTION, ModelError("down"), model="first")
    return w.ask("A", QUESTION, w.text(), model="second")


@flow
def continued_by_hand(w):
    """The answer was cut off; it is continued, and both halves are returned as one text."""
    first = w.ask("C/A", QUESTION, w.text())
    second = w.ask("A/C", [*user(QUESTION), assistant(first), *user("Go on.")], w.text())
    return f"{first} {second}"


@flow
def unrelated(w):
    """Three questions that have nothing to do with one another."""
    for question in ("What is a slipway?", "Who owns the crane?", "When does the ferry leave?"):
        w.ask("C", question, w.text())


@flow
def batch(w):
    """Three questions in one block, each with references and an aggregator of its own: a turn has one at most."""
    for question in ("What is a slipway?", "Who owns the crane?", "When does the ferry leave?"):
        texts = w.round("R1", question, [w.text(), w.text()])
        w.ask("C/A", joined(texts, question=question), w.text())


@flow
def an_echo(w):
    """A model repeats a part of the prompt that the next call is given too."""
    prompt = "Repeat after me: the harbour is closed until the end of March."
    w.ask("C", prompt, "The harbour is closed until the end of March.".lower())
    w.ask("C", prompt + " And now say why, in a few words of your own.", w.text())


@flow
def an_echo_of_the_system_prompt(w):
    """The same with a long text in the system prompt of both."""
    rules = w.text(8)
    w.ask("C", system(rules, "Repeat the rules."), rules)
    w.ask("C", system(rules, "What is a slipway?"), w.text())


@flow
def writer_critic_editor(w):
    """A draft, a critique that quotes it, and a revision that quotes both."""
    draft = w.ask("R1/C", QUESTION, w.text())
    critique = w.ask("R2/C", f"Criticize this answer: {draft}", w.text())
    return w.ask("A", f"{QUESTION}\nDraft: {draft}\nCritique: {critique}\nRevise it.", w.text())


@flow
def critique_in_a_conversation(w):
    """A model criticizes itself, and revises."""
    messages = user(QUESTION)
    messages = [*messages, assistant(w.ask("C", messages, w.text())), *user("Criticize that.")]
    messages = [*messages, assistant(w.ask("C", messages, w.text())), *user("Now revise it.")]
    return w.ask("A", messages, w.text())


@flow
def rewritten_question(w):
    """The question is rewritten first, and the references get that."""
    better = w.ask("R1/C", f"Rewrite: {QUESTION}", w.sentence())
    texts = w.round("R2/R1", better, [w.text() for _ in range(3)])
    return w.ask("A", joined(texts, question=better), w.text())


@flow
def router(w):
    """A small model names the expert, who answers."""
    w.ask("C", f"Who answers this, sailor or clerk? {QUESTION}", "clerk")
    return w.ask("A", system("You are a clerk.", QUESTION), w.text())


@flow
def router_in_words(w):
    """The router gives a reason, which no other call is given."""
    w.ask("C", f"Who answers this? {QUESTION}", f"The clerk. {w.sentence()}")
    return w.ask("A", system("You are a clerk.", QUESTION), w.text())


@flow
def history_of_earlier_turns(w):
    """Both calls are given the answers of earlier turns."""
    history = [*user("Hello."), assistant(w.text()), *user("And then?"), assistant(w.text())]
    texts = w.round("R1", [*history, *user(QUESTION)], [w.text(), w.text()])
    return w.ask("A", [*history, *user(joined(texts))], w.text())


@flow
def summarized_history(w):
    """A long conversation is summed up first, and the summary is given to the references and the aggregator."""
    summary = w.ask("R1/C", f"Sum up: {w.text(10)}", w.text())
    texts = w.round("R2/R1", system(f"So far: {summary}", QUESTION), [w.text(), w.text()])
    return w.ask("A", system(f"So far: {summary}", joined(texts)), w.text())


@flow
def goes_on_from_its_own_draft(w):
    """Three drafts; the author of the first goes on from it, and reads the others."""
    drafts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    messages = [*user(QUESTION), assistant(drafts[0]), *user("Others said:\n" + "\n".join(drafts[1:]))]
    return w.ask("A", messages, w.text())
