"""A client that looks like the SDK's: it asks references in threads and returns the aggregator's stream."""

from concurrent.futures import ThreadPoolExecutor

from openai import OpenAI

SLOTS = ["one", "two", "three"]


class Completions:
    def __init__(self, client):
        self.client = client

    def propose(self, model, messages):
        view = [{"role": "system", "content": "You advise another model. Be short."}, *messages]
        try:
            response = self.client.chat.completions.create(model=model, messages=view)
        except Exception as error:
            return f"[failed: {type(error).__name__}]"
        return response.choices[0].message.content

    def act(self, messages, guidance, stream):
        last = messages[-1]
        sent = [*messages[:-1], {**last, "content": f"{last['content']}\n\n{guidance}"}]
        more = {"stream_options": {"include_usage": True}} if stream else {}
        return self.client.chat.completions.create(model="acting", messages=sent, stream=stream, **more)

    def create(self, *, messages, stream=False):
        with ThreadPoolExecutor(max_workers=len(SLOTS)) as pool:
            texts = list(pool.map(lambda model: self.propose(model, messages), SLOTS))
        good = [(model, text) for model, text in zip(SLOTS, texts, strict=True) if not text.startswith("[failed")]
        guidance = "\n".join(f"Reference {place} — {model}:\n{text}" for place, (model, text) in enumerate(good, 1))
        return self.act(messages, guidance, stream)


class Chat:
    def __init__(self, client):
        self.completions = Completions(client)


class EnsembleClient:
    def __init__(self):
        self.chat = Chat(OpenAI(max_retries=0))


def ask(client, question, stream):
    reply = client.chat.completions.create(messages=[{"role": "user", "content": question}], stream=stream)
    if not stream:
        return reply.choices[0].message.content
    return "".join(chunk.choices[0].delta.content or "" for chunk in reply if chunk.choices)


def main():
    client = EnsembleClient()
    for question, stream in (("Why is the sea salty?", True), ("Why do tides turn?", False)):
        print(question, ask(client, question, stream))
