"""A router: a small model names the expert, and the expert answers."""

from openai import OpenAI

EXPERTS = {"maths": "expert-maths", "history": "expert-history"}


def route(client, question):
    rules = f"Reply with one word of {', '.join(EXPERTS)}: who should answer?"
    messages = [{"role": "system", "content": rules}, {"role": "user", "content": question}]
    reply = client.chat.completions.create(model="router-small", messages=messages, max_tokens=3, temperature=0)
    return reply.choices[0].message.content.strip().lower()


def answer(question):
    client = OpenAI()
    expert = EXPERTS[route(client, question)]
    reply = client.chat.completions.create(model=expert, messages=[{"role": "user", "content": question}])
    return reply.choices[0].message.content


def main():
    for question in ("How many primes are below ten?", "Who built the first lighthouse?"):
        print(answer(question))
