"""A consortium: agents with a memory of their own, and an arbiter who sends them back until he is sure enough."""

import re
from concurrent.futures import ThreadPoolExecutor

from openai import OpenAI

AGENTS = ["north", "south", "east"]


class Agent:
    def __init__(self, client, model):
        self.client, self.model = client, model
        self.messages = [{"role": "system", "content": f"You are the agent {model} of a consortium."}]

    def prompt(self, text):
        self.messages.append({"role": "user", "content": text})
        reply = self.client.chat.completions.create(model=self.model, messages=self.messages)
        said = reply.choices[0].message.content
        self.messages.append({"role": "assistant", "content": said})
        return said


def arbitrate(client, question, responses):
    shown = "".join(f'<response id="{place}">{text}</response>\n' for place, text in enumerate(responses, 1))
    prompt = f"<original_prompt>{question}</original_prompt>\n{shown}Give a synthesis and a <confidence>."
    reply = client.chat.completions.create(model="arbiter", messages=[{"role": "user", "content": prompt}])
    text = reply.choices[0].message.content
    return text, float(re.search(r"<confidence>([\d.]+)</confidence>", text)[1])


class Orchestrator:
    def __init__(self, threshold=0.8, most=3):
        self.client = OpenAI()
        self.threshold, self.most = threshold, most

    def orchestrate(self, question):
        agents = [Agent(self.client, model) for model in AGENTS]
        asked, confidence, synthesis = question, 0.0, ""
        for iteration in range(1, self.most + 1):
            with ThreadPoolExecutor(max_workers=len(agents)) as pool:
                responses = list(pool.map(lambda agent, asked=asked: agent.prompt(asked), agents))
            synthesis, confidence = arbitrate(self.client, question, responses)
            if confidence >= self.threshold:
                break
            asked = f"Refine your answer. The synthesis so far:\n{synthesis}\n\nThe question was: {question}"
        return {"synthesis": synthesis.partition("<confidence>")[0].strip(), "iterations": iteration}


def main():
    print(Orchestrator().orchestrate("Where should the new pier be built?"))
