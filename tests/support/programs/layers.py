"""A script with layers: each model of a layer reads the answers of the layer before, and one more streams the answer."""

import asyncio
import os

from openai import AsyncOpenAI

MODELS = ["qwen", "llama", "mixtral"]
QUESTION = "What are three fun things to do in a harbour town?"
RULES = "You have been provided with answers of several models. Write one answer from them.\nAnswers:"


def with_answers(answers):
    return RULES + "".join(f"\n{place}. {text}" for place, text in enumerate(answers, 1))


async def ask(client, model, before):
    messages = [{"role": "system", "content": with_answers(before)}] if before else []
    messages.append({"role": "user", "content": QUESTION})
    response = await client.chat.completions.create(model=model, messages=messages, temperature=0.7, max_tokens=512)
    return response.choices[0].message.content


async def run():
    async with AsyncOpenAI(base_url=os.environ["OPENAI_BASE_URL"]) as client:
        answers = []
        for _layer in range(2):
            answers = await asyncio.gather(*(ask(client, model, answers) for model in MODELS))
        stream = await client.chat.completions.create(
            model="mixtral-large",
            messages=[{"role": "system", "content": with_answers(answers)}, {"role": "user", "content": QUESTION}],
            stream=True,
            stream_options={"include_usage": True},
        )
        async for chunk in stream:
            if chunk.choices:
                print(chunk.choices[0].delta.content or "", end="")
    print()


def main():
    asyncio.run(run())


if __name__ == "__main__":
    main()
