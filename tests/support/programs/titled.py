"""A chat service that has its title made on the side, while the references and the aggregator work."""

import asyncio

from openai import AsyncOpenAI

MODELS = ["oak", "elm"]


async def complete(client, model, *messages):
    response = await client.chat.completions.create(model=model, messages=list(messages))
    return response.choices[0].message.content


async def make_title(client, question):
    rules = {"role": "system", "content": "Write a title of at most five words for this chat."}
    return await complete(client, "titler", rules, {"role": "user", "content": question})


async def make_answer(client, question):
    asked = {"role": "user", "content": question}
    texts = await asyncio.gather(*(complete(client, model, asked) for model in MODELS))
    advice = "\n\n".join(f"[{model}] {text}" for model, text in zip(MODELS, texts, strict=True))
    return await complete(client, "root", {"role": "system", "content": f"Use this advice:\n{advice}"}, asked)


async def handle(question):
    async with AsyncOpenAI() as client:
        title, answer = await asyncio.gather(make_title(client, question), make_answer(client, question))
    return {"title": title, "answer": answer, "error": None}


def main():
    found = asyncio.run(handle("How old can a tree get?"))
    print(found["title"], "|", found["answer"])
