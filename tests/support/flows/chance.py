"""
Programs drawn by chance: side calls, rounds of references, and an end, each of several kinds.

The same number draws the same program.
"""

from __future__ import annotations

from random import Random

from . import alterations, returns
from .runner import Flow
from .world import QUESTION, ModelError, assistant, joined, numbered, rival, system, user

_SAFE_CHANGES = [
    change for name, change in alterations.KINDS.items() if name not in ("cut at 60", "last line", "first paragraph")
]
_FORMS = [form for name, form in returns.KINDS.items() if name not in ("opaque", "nothing")]


def flow(number):
    """Return the program of a number."""
    return Flow(f"chance.{number}", lambda world: _Drawn(world, Random(number)).run())


class _Drawn:
    """One program, as chance draws it while it runs."""

    def __init__(self, world, random):
        self.w = world
        self.random = random
        self.change = random.choice([str, str, str, *_SAFE_CHANGES])
        self.models = [f"m-{n}" for n in range(random.randint(1, 5))]
        if random.random() < 0.15:
            self.models = ["one"] * len(self.models)
        self.history = self._history()

    def chance(self, share):
        """Return True for a share of the programs."""
        return self.random.random() < share

    def text(self):
        """Return an answer: a sentence or two, or several lines."""
        text = self.w.long() if self.chance(0.4) else self.w.text(self.random.randint(2, 4))
        return f"<think>{self.w.text(2)}</think>\n{text}" if self.chance(0.05) else text

    def _history(self):
        if self.chance(0.8):
            return []
        return [*user("Hello."), assistant(self.w.text(2)), *user("And then?"), assistant(self.w.text(2))]

    def run(self):
        """Run the program, and return its value."""
        if self.chance(0.15):
            self.w.ask("C", f"A title for this conversation: {QUESTION}", "Boats in winter")
        if self.chance(0.1):
            self.w.ask("C", f"Which expert: sailor or clerk? {QUESTION}", "sailor")
        texts, layer = self._rounds()
        return self.random.choice([self._joined] * 5 + [self._judged, self._left])(texts, layer)

    # --- rounds -------------------------------------------------------------------------------------------------------

    def _rounds(self):
        count = self.random.choice([1, 1, 1, 2, 2, 3])
        kind = self.random.choice(["alike", "alike", "personas", "memory"])
        self.memory = {place: [*self.history, *user(QUESTION)] for place in range(len(self.models))}
        texts = []
        for layer in range(1, count + 1):
            texts = getattr(self, f"_{kind}")(layer, texts) or [self._rescue(layer, kind)]
        return texts, count

    def _rescue(self, layer, kind):
        """Ask once more where all of a round had failed."""
        messages = system("Nobody else answered.", f"{QUESTION} ({layer})")
        return self.w.ask(f"R{layer}/R1/A", messages, self.text())

    def _way(self):
        return self.random.choice(["loop", "loop", "threads", "gather"])

    def _says(self, share=0.08):
        return ModelError("busy") if len(self.models) > 1 and self.chance(share) else self.text()

    def _prompt(self, texts, layer):
        texts = [self.change(text) for text in texts]
        if not texts:
            return [*self.history, *user(QUESTION)]
        place = self.random.random()
        if place < 0.4:
            return [*self.history, *rival(texts)]
        if place < 0.8:
            return [*self.history, *user(f"{joined(texts)}\n(round {layer})")]
        return [*self.history, *user(QUESTION, *texts, "Answer now.")]

    def _alike(self, layer, texts):
        messages = self._prompt(texts, layer)
        asked = [(f"R{layer}", messages, self._says(), model) for model in self.models]
        return self.w.each(asked, way=self._way())

    def _personas(self, layer, texts):
        asked = [
            (f"R{layer}", [*system(f"You are number {n}."), *self._prompt(texts, layer)], self._says(0), model)
            for n, model in enumerate(self.models)
        ]
        return self.w.each(asked, way=self._way())

    def _memory(self, layer, texts):
        """Each goes on with its own conversation, and is given what all have said."""
        if layer > 1:
            for place, messages in self.memory.items():
                own = self.said[place]
                others = (
                    f"The others said:\n{numbered(map(self.change, [t for t in texts if t != own] or ['nothing']))}"
                )
                self.memory[place] = [*messages, assistant(own), *user(others)]
        # With one speaker alone, no other call reads what it says.
        truth = f"R{layer}" if len(self.models) > 1 else "C/R1/R2/R3"
        found = [
            self.w.ask(truth, system(f"You are {place}.") + messages, self.text(), model=self.models[place])
            for place, messages in self.memory.items()
        ]
        self.said = found
        return found

    # --- ends ---------------------------------------------------------------------------------------------------------

    def _joined(self, texts, layer):
        """An aggregator reads the last round."""
        messages = [*self._prompt(texts, layer), *user("You are the last to speak.")]
        if self.chance(0.06):
            self.w.attempt("C", messages, ModelError("busy"), model="final")
        ending = self.random.random()
        if ending < 0.2:
            return self.w.stream("A", messages, self.text(), model="final")
        answer = self.w.ask("A", messages, self.text(), model="final")
        if ending < 0.35:
            self.w.ask("C", f"A title for: {answer}", "Why boats winter inland")
        elif ending < 0.4:
            self.w.attempt("C", f"Is this harmless? {answer}", "Yes, it is.")
        elif ending < 0.45:
            self.w.ask("C", [*messages, assistant(answer), *user("How sure are you?")], "0.7", model="final")
        elif ending < 0.5:
            self.w.truth[max(self._of(answer))] = "C"
            answer = self.w.ask("A", [*messages, assistant(answer), *user("Go on.")], self.text(), model="final")
        return self.random.choice(_FORMS)(answer, texts)

    def _judged(self, texts, layer):
        """A judge says a number, and that answer is returned."""
        place = self.random.randrange(len(texts))
        self.w.ask("C", joined(texts) + "\nThe best? A number.", str(place + 1))
        for number in self._of(texts[place]):
            self.w.truth[number] += "/A/C" if len(texts) == 1 else "/A"
        return texts[place]

    def _left(self, texts, layer):
        """The program returns all that was said last, and no call joins it."""
        for text in texts:
            for number in self._of(text):
                self.w.truth[number] += "/A/C" if len(texts) == 1 else ""
        return texts

    def _of(self, text):
        return [number for number, says in self.w.script.items() if says == text]
