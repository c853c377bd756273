"""More programs written without a look at the rules: agents as tools, search, votes, pipelines of code and of memory."""

from __future__ import annotations

import asyncio
import json

from .runner import flow
from .world import QUESTION, ModelError, assistant, joined, numbered, rival, system, user

TOOL = {"id": "call-1", "type": "function", "function": {"name": "ask_expert", "arguments": "{}"}}


def called(messages, *results):
    """Return a conversation after the model has called a tool."""
    asked = {"role": "assistant", "content": None, "tool_calls": [TOOL]}
    return [*messages, asked, *({"role": "tool", "tool_call_id": "call-1", "content": text} for text in results)]


@flow
def an_agent_as_a_tool(w):
    """The tool of a conversation asks another model."""
    messages = system("You may ask an expert.", QUESTION)
    w.reply("C", messages, {"content": None})
    expert = w.ask("R1", system("You are an expert.", "What does a crane cost?"), w.text(), model="expert")
    return w.ask("A", called(messages, expert), w.text())


@flow
def several_agents_as_tools(w):
    """Three experts at once, and a second call of them."""
    messages = system("You may ask experts.", QUESTION)
    for layer in (1, 2):
        w.reply("C", messages, {"content": None})
        texts = w.each(
            [
                (f"R{layer}/R1", system(f"You are expert {n}.", f"Part {n} of {layer}"), w.text(), f"m-{n}")
                for n in range(3)
            ],
            way="gather",
        )
        messages = called(messages, *texts)
    return w.ask("A", messages, w.text())


@flow
def handed_over(w):
    """A first agent hands the conversation to a specialist, who sees all of it."""
    messages = user(QUESTION)
    w.reply("C", messages, {"content": None})
    return w.ask(
        "A", system("You are the specialist.")[:1] + called(messages, "transferred"), w.text(), model="special"
    )


@flow
def best_of_choices_by_rating(w):
    """Choices of one request are rated in a conversation each; the best is returned with its tokens."""
    reply = w.reply("A/R1", QUESTION, [w.text() for _ in range(3)], n=3)
    texts = [choice.message.content for choice in reply.choices]
    for number, text in enumerate(texts):
        messages = [*user(QUESTION), assistant(text), *user("Rate it from 0 to 10, a number only.")]
        w.ask("C", messages, str(number * 3))
    return texts[2], 1234


@flow
def tree_of_talks(w):
    """Answers, a question that a user may ask then, an answer to it, and a score of each talk; the best is returned."""
    best = None
    for number in range(3):
        messages = user(QUESTION)
        text = w.ask("A/R1/C", messages, w.text())
        messages = [*messages, assistant(text)]
        asked = w.ask("C/R1", [*messages, *user("What would the user ask next?")], w.sentence())
        later = w.ask("C", [*messages, *user(asked)], w.text())
        score = w.ask("C", [*messages, *user(asked), assistant(later), *user("Score, 0 to 1:")], f"0.{number + 1}")
        best = max(best or (score, text), (score, text))
    return best[1], 77


@flow
def there_and_back(w):
    """Code, its description, code by the description, and which of both is better."""
    first = w.ask("R1", f"Code for: {QUESTION}", "def store(boats):\n    return [boat.lift() for boat in boats]\n")
    about = w.ask("R2/R1", f"Describe this code:\n{first}", w.text(2))
    second = w.ask(
        "R3/R2", f"Write code for: {about}", "def store(all_boats):\n    for one in all_boats:\n        one.lift()\n"
    )
    prompt = f"Description: {about}\nFirst:\n{first}\nSecond:\n{second}\nGive the better one, improved."
    return w.ask("A", prompt, "def store(boats):\n    return tuple(boat.lift() for boat in boats)\n")


@flow
def plans_from_observations(w):
    """Observations, more of them from these, a solution from all, and code from the solution."""
    first = w.ask("R1/C", f"Observations on: {QUESTION}", w.text(3, join="\n"))
    more = w.ask("R2/C", f"{QUESTION}\nObserved:\n{first}\nCombine them.", w.text(3, join="\n"))
    solution = w.ask("R3/C", f"{QUESTION}\nObserved:\n{first}\n{more}\nSolve it.", w.text())
    return w.ask("A", f"Write it down cleanly: {solution}", w.text())


@flow
def samples_grouped_by_code(w):
    """Samples of one model; the program returns the middle of the largest group."""
    samples = [w.ask("R1/A", QUESTION, f"{w.text(2)}\nAnswer: {number}") for number in (4, 5, 4, 4)]
    return {"result": samples[2], "count": 3}


@flow
def arbiter_in_markup(w):
    """Answers in markup, a verdict as JSON in a fence, a second round, and a dict with the parsed synthesis."""
    texts, verdict = [], None
    for iteration in (1, 2):
        asked = (
            QUESTION if verdict is None else f"{QUESTION}\nRefine: {verdict['areas']}\nBefore: {verdict['synthesis']}"
        )
        texts = w.round(
            f"R{2 * iteration - 1}", asked, [f"<answer>{w.text()}</answer>" for _ in range(3)], way="threads"
        )
        bodies = "\n".join(f"<response id={n}>{text}</response>" for n, text in enumerate(texts))
        data = json.dumps({"synthesis": w.text(3), "areas": w.sentence(), "confidence": 0.4 * iteration})
        says = w.ask("R2" if iteration == 1 else "A", f"<responses>{bodies}</responses>", f"```json\n{data}\n```")
        verdict = json.loads(says.removeprefix("```json").removesuffix("```"))
    return {"synthesis": {"synthesis": verdict["synthesis"], "confidence": verdict["confidence"]}, "raw": texts}


@flow
def votes_with_reasons(w):
    """Three personas vote yes or no with a reason; the program counts, and a speaker explains the result."""
    votes = w.each(
        [("R1", system(f"You are {who}.", QUESTION), f"{vote}\n{w.text(1)}", who)
         for who, vote in (("melchior", "yes"), ("balthasar", "no"), ("caspar", "yes"))]
    )  # fmt: skip
    return w.ask("A", "The vote is yes. Explain it:\n" + "\n\n".join(votes), w.text())


@flow
async def debate_ended_by_the_first(w):
    """Each reads the others for two rounds, and the first of the models ends it."""
    said = {}
    for turn in (1, 2, 3):
        work = []
        for n in range(3):
            others = "\n".join(f"Agent {who} said: {text}" for who, text in said.items() if who != n)
            work.append(
                w.ask_later(
                    f"R{turn}", system(f"You are agent {n}.", f"{QUESTION}\n{others}"), w.text(), model=f"m-{n}"
                )
            )
        said = dict(enumerate(await asyncio.gather(*work)))
    transcript = "\n".join(f"Agent {who}: {text}" for who, text in said.items())
    return await w.ask_later("A", system("You end the debate.", transcript), w.text(), model="m-0")


@flow
def route_then_fan_out(w):
    """A router's JSON names the models, which are then asked."""
    chosen = json.loads(w.ask("C", f"Which models? {QUESTION}", '{"models": ["m-0", "m-2"], "reason": "they know"}'))
    texts = [w.ask("R1", QUESTION, w.text(), model=model) for model in chosen["models"]]
    return w.ask("A", rival(texts), w.text(), model="m-9")


@flow
def a_cached_answer_in_the_history(w):
    """A reference says word by word what the history already holds."""
    old = w.text()
    history = [*user("Before."), assistant(old)]
    texts = w.round("R1", [*history, *user(QUESTION)], [old, w.text(), w.text()])
    return w.ask("A", [*history, *user(joined(texts))], w.text())


@flow
def two_aggregators_in_a_row(w):
    """A small model joins, and a large one joins the same references and that."""
    texts = w.round("R1", QUESTION, [w.text() for _ in range(3)], way="threads")
    small = w.ask("R2", joined(texts), w.text(), model="small")
    return w.ask("A", joined([*texts, small]), w.text(), model="large")


@flow
async def one_is_too_slow(w):
    """The aggregator does not wait for the last reference, which ends later."""
    work = [asyncio.ensure_future(w.ask_later("R1", QUESTION, w.text(), model=f"m-{n}")) for n in range(2)]

    async def slow():
        number = w.put("R1", w.text())
        messages = user(QUESTION)
        return await asyncio.sleep(0.02), await w.later.completions.create(model="m-9", messages=messages, seed=number)

    last = asyncio.ensure_future(slow())
    answer = await w.ask_later("A", joined(await asyncio.gather(*work)), w.text())
    await last
    return answer


@flow
def compacted_memory(w):
    """A long history is compacted in the middle of a tool loop, which goes on from the summary."""
    messages = user(QUESTION)
    w.reply("C", messages, {"content": None})
    messages = called(messages, w.text(6))
    summary = w.ask("R1/C", [*messages, *user("Sum up what was done.")], w.text(2))
    return w.ask("A", system(f"Summary so far: {summary}", QUESTION), w.text())


@flow
def judged_until_it_passes(w):
    """A writer goes on in its conversation until a judge, who reads each version, says pass."""
    messages = user(QUESTION)
    for truth, says in (("C/R1", "Revise: name the costs."), ("A", "PASS")):
        text = w.ask(truth, messages, w.text())
        verdict = w.ask("C/R2", f"Judge this: {text}", says)
        messages = [*messages, assistant(text), *user(verdict)]
    return text


@flow
def drafts_by_temperature(w):
    """One model, three samples in threads; the aggregator is the same model."""
    texts = w.each([("R1", QUESTION, w.text(), "one") for _ in range(3)], way="threads")
    return w.ask("A", rival(texts), w.text(), model="one")


@flow
def excerpts_only(w):
    """The aggregator gets the middle of each long answer, cut by characters."""
    texts = w.round("R1", QUESTION, [w.text(8) for _ in range(3)])
    return w.ask("A", joined([text[200:400] for text in texts]), w.text())


@flow
def the_answer_is_put_together(w):
    """Two aggregators make a part each; the program joins both with headings."""
    texts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    reasons = w.ask("A/R2/C", "Reasons only:\n" + numbered(texts), w.text(2))
    costs = w.ask("A/R2/C", "Costs only:\n" + numbered(texts), w.text(2))
    return f"# Reasons\n{reasons}\n\n# Costs\n{costs}"


@flow
def raised_after_the_answer(w):
    """The program fails after its aggregator has answered."""
    texts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    w.ask("A", joined(texts), w.text())
    raise ModelError("the disk is full")


@flow
def asked_for_json_twice(w):
    """References answer in words; each is asked in its own conversation for JSON, which the aggregator gets."""
    texts = []
    for n in range(2):
        messages = system(f"You are number {n}.", QUESTION)
        messages = [*messages, assistant(w.ask("C", messages, w.text())), *user("As JSON.")]
        texts.append(w.ask("R1", messages, json.dumps({"answer": w.text(2), "n": n})))
    return w.ask("A", joined([json.loads(text)["answer"] for text in texts]), w.text())


@flow
def title_in_the_conversation(w):
    """The title is asked for in the conversation of the answer."""
    messages = user(QUESTION)
    answer = w.ask("A", messages, w.text())
    w.ask("C", [*messages, assistant(answer), *user("A title for this conversation?")], "Boats inland")
    return answer


@flow
def score_in_the_conversation(w):
    """The model is asked how sure it is; the program returns its answer with that."""
    messages = user(QUESTION)
    answer = w.ask("A", messages, w.text(1))
    return answer, float(w.ask("C", [*messages, assistant(answer), *user("How sure are you?")], "0.8"))


@flow
def title_in_the_conversation_of_the_aggregator(w):
    """The same after references."""
    messages = rival(w.round("R1", QUESTION, [w.text() for _ in range(3)]))
    answer = w.ask("A", messages, w.text())
    w.ask("C", [*messages, assistant(answer), *user("A title for this conversation?")], "Boats inland")
    return answer


@flow
def summary_in_the_conversation_of_the_aggregator(w):
    """A summary of the answer for the list of talks, a sentence long."""
    messages = rival(w.round("R1", QUESTION, [w.text() for _ in range(3)]))
    answer = w.ask("A", messages, w.text(4))
    summary = w.ask("C", [*messages, assistant(answer), *user("A summary?")], w.sentence())
    return {"summary": summary, "answer": answer}


@flow
def continued_after_references(w):
    """The aggregator goes on in its conversation, and the last words are returned."""
    messages = rival(w.round("R1", QUESTION, [w.text() for _ in range(3)]))
    first = w.ask("C", messages, w.text())
    return w.ask("A", [*messages, assistant(first), *user("Shorter, and with the costs.")], w.text())
