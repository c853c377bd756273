"""A module of clients that targets name, and names that are wrong."""

from __future__ import annotations

CLIENT = """
class Base:
    def propose(self, model):
        return f"draft of {model}"

    def create(self, prompt):
        return self.combine([self.propose("a"), self.propose("b")])

class Client(Base):
    def combine(self, drafts):
        return " + ".join(drafts)

    class Inner:
        @staticmethod
        def ask(prompt):
            return "inner"

class Part:
    def create(self, prompt):
        return "part"

class Chat:
    def __init__(self):
        self.completions = Part()

class Sdk:
    def __init__(self):
        self.chat = Chat()

client = Client()

def answer(prompt):
    return client.create(prompt)

async def later(prompt):
    return "later"
"""
WRONG = {
    "nobodys": "unknown target 'nobodys'; choose from aiohttp, anthropic, ",
    "": "'' names no target; choose from aiohttp, anthropic, ",
    " , ": "names no target",
    "targets_world": "unknown target 'targets_world'",
    "targets_world:": "path is a dotted name",
    "targets_world:answer=": "unknown role ''",
    "targets_world:answer=chief": "unknown role 'chief'",
    "targets_world:answer=turn=turn": "unknown role 'turn=turn'",
    "openai=turn": "a name takes no role",
    "targets_world:nothing": "targets_world has no attribute 'nothing'",
    "targets_world:Client.nothing=turn": "Client has no attribute 'nothing'",
    "targets_world:client": "which cannot be called",
    "targets_world:answer=turn,targets_world:answer=reference": "is a turn already; a function has one role",
    "later.comes:f=turn,later.comes:f": "is a turn already; a function has one role",
}
