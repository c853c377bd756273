"""A council: each member answers, each ranks the answers without their names, and the chairman writes the last word."""

import asyncio
import re

from openai import AsyncOpenAI

MEMBERS = ["gull", "heron", "puffin"]


async def query(client, model, prompt):
    response = await client.chat.completions.create(model=model, messages=[{"role": "user", "content": prompt}])
    return response.choices[0].message.content


async def collect(client, question):
    texts = await asyncio.gather(*(query(client, model, question) for model in MEMBERS))
    return dict(zip(MEMBERS, texts, strict=True))


async def rank(client, question, answers):
    shown = "\n\n".join(f"Response {chr(65 + place)}:\n{text}" for place, text in enumerate(answers.values()))
    prompt = f"Question: {question}\n\n{shown}\n\nJudge each response, then end with a line FINAL RANKING: and letters."
    texts = await asyncio.gather(*(query(client, model, prompt) for model in MEMBERS))
    return dict(zip(MEMBERS, texts, strict=True))


def places(rankings):
    """Return the mean place of each response."""
    found = {}
    for text in rankings.values():
        for place, letter in enumerate(re.findall(r"[A-C]", text.rpartition("FINAL RANKING:")[2]), 1):
            found.setdefault(letter, []).append(place)
    return {letter: sum(p) / len(p) for letter, p in sorted(found.items())}


async def conclude(client, question, answers, rankings):
    first = "\n\n".join(f"Model: {name}\nResponse: {text}" for name, text in answers.items())
    second = "\n\n".join(f"Model: {name}\nRanking: {text}" for name, text in rankings.items())
    prompt = f"You are the chairman.\n\nQuestion: {question}\n\nSTAGE 1\n{first}\n\nSTAGE 2\n{second}\n\nAnswer it."
    return await query(client, "albatross", prompt)


async def run_council(question):
    async with AsyncOpenAI() as client:
        answers = await collect(client, question)
        rankings = await rank(client, question, answers)
        final = await conclude(client, question, answers, rankings)
    return answers, rankings, {"model": "albatross", "response": final}, {"places": places(rankings)}


def main():
    answers, _, final, metadata = asyncio.run(run_council("Should a harbour have a museum?"))
    for name, text in answers.items():
        print(name, "said", text)
    print(metadata["places"], final["response"])
