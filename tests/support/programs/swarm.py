"""A swarm: agents in layers share one history; one of them always fails, and the run goes on without it."""

from concurrent.futures import ThreadPoolExecutor

from openai import OpenAI

WORKERS = ["bee", "ant", "wasp"]
PROMPT = "You are a worker of a swarm. Add what you know to the history."


class Worker:
    def __init__(self, client, model):
        self.client, self.model = client, model

    def run(self, task):
        messages = [{"role": "system", "content": PROMPT}, {"role": "user", "content": task}]
        try:
            reply = self.client.chat.completions.create(model=self.model, messages=messages)
        except Exception as error:
            print(f"{self.model} failed: {type(error).__name__}")
            return ""
        return reply.choices[0].message.content


class Swarm:
    def __init__(self, layers=2):
        self.client = OpenAI(max_retries=0)
        self.workers = [Worker(self.client, model) for model in WORKERS]
        self.layers = layers

    def step(self, task):
        with ThreadPoolExecutor(max_workers=len(self.workers)) as pool:
            return list(pool.map(lambda worker: worker.run(task), self.workers))

    def combine(self, history):
        messages = [{"role": "system", "content": "Combine the history."}, {"role": "user", "content": history}]
        return self.client.chat.completions.create(model="queen", messages=messages).choices[0].message.content

    def run(self, task):
        history = f"Human: {task}"
        for _layer in range(self.layers):
            said = self.step(history)
            history += "".join(f"\n\n{w.model}: {text}" for w, text in zip(self.workers, said, strict=True) if text)
        return self.combine(history)


def main():
    print(Swarm().run("Plan the defence of the hive."))
