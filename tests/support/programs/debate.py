"""A debate of three rounds: all are asked the same in each round, with everything that was said in the one before."""

from concurrent.futures import ThreadPoolExecutor

from openai import OpenAI

DEBATERS = ["left", "right", "centre"]


def speak(client, model, prompt):
    reply = client.chat.completions.create(model=model, messages=[{"role": "user", "content": prompt}])
    return reply.choices[0].message.content


def debate(question, rounds=3):
    client = OpenAI()
    said = []
    with ThreadPoolExecutor(max_workers=len(DEBATERS)) as pool:
        for number in range(1, rounds + 1):
            prompt = f"Round {number} of a debate. {question}"
            prompt += "".join(f"\n\nA debater said: {text}" for text in said)
            said = list(pool.map(lambda model, prompt=prompt: speak(client, model, prompt), DEBATERS))
    return {"rounds": rounds, "agreed": len({text.split()[0] for text in said}) == 1}


def main():
    print(debate("Should the ferry run at night?"))
