"""A chat of several cycles: helpers read what helpers said before, the main agent answers piece by piece."""

from openai import OpenAI

HELPERS = {"ada": "Think step by step.", "bob": "Answer with an example.", "eve": "Look for what is missing."}


class Ensemble:
    def __init__(self):
        self.client = OpenAI()
        self.memory = []

    def help_with(self, name, question, before):
        messages = [
            {"role": "system", "content": f"{HELPERS[name]}\n\n{before}".strip()},
            *self.memory,
            {"role": "user", "content": question},
        ]
        reply = self.client.chat.completions.create(model=f"helper-{name}", messages=messages)
        return reply.choices[0].message.content

    def chat(self, question, cycles=2):
        """Yield what each cycle said as dicts, then the pieces of the answer."""
        before = ""
        for cycle in range(cycles):
            said = [self.help_with(name, question, before) for name in HELPERS]
            before = "Helpers have said:\n" + "\n".join(f"{place}. {text}" for place, text in enumerate(said, 1))
            for text in said:
                yield {"delta": text, "response_type": "intermediate", "metadata": {"layer": cycle + 1}}
        messages = [
            {"role": "system", "content": f"You are the main agent.\n\n{before}"},
            *self.memory,
            {"role": "user", "content": question},
        ]
        stream = self.client.chat.completions.create(
            model="main-agent", messages=messages, stream=True, stream_options={"include_usage": True}
        )
        answer = ""
        for chunk in stream:
            piece = chunk.choices[0].delta.content if chunk.choices else None
            if piece:
                answer += piece
                yield {"delta": piece, "response_type": "output", "metadata": {}}
        self.memory += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def ask(ensemble, question):
    for item in ensemble.chat(question):
        if item["response_type"] == "intermediate":
            print(item["metadata"]["layer"], item["delta"])
        else:
            print(item["delta"], end="")
    print()


def main():
    ensemble = Ensemble()
    for question in ("How do lighthouses work?", "Who keeps them today?"):
        ask(ensemble, question)
