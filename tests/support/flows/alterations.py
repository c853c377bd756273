"""Programs that change a text before the aggregator gets it."""

from __future__ import annotations

import html
import json
import re
import textwrap

from .runner import flow
from .world import QUESTION, joined


def _marked(text):
    return "\n".join(f"[[{text}]]<END_OF_ANSWER>" for text in text.splitlines())


KINDS = {
    "stripped": str.strip,
    "cut at 60": lambda text: text[:60],
    "cut to 200": lambda text: text[:200] + "…",
    "last line": lambda text: text.strip().splitlines()[-1],
    "renumbered": lambda text: "\n".join(f"{n}. {line.lstrip('- ')}" for n, line in enumerate(text.splitlines(), 1)),
    "JSON": lambda text: json.dumps({"answer": text}, ensure_ascii=False),
    "JSON, ASCII, indented": lambda text: json.dumps({"answer": text}, indent=2),
    "markers": _marked,
    "single spaces": lambda text: " ".join(text.split()),
    "bullets": lambda text: "\n".join(f"* {line}" for line in text.splitlines()),
    "quoted lines": lambda text: "\n".join(f"> {line}" for line in text.splitlines()),
    "indented": lambda text: textwrap.indent(text, "    "),
    "fenced": lambda text: f"```\n{text}\n```",
    "in quotes": lambda text: f"“{text}”",
    "repr": repr,
    "escaped for HTML": html.escape,
    "in a table": lambda text: "| " + text.replace("\n", " | ") + " |",
    "without punctuation at its end": lambda text: text.rstrip(".!?"),
    "without blank lines": lambda text: re.sub(r"\n+", "\n", text),
    "with a heading": lambda text: f"## Answer\n\n{text}\n\n---",
    "first paragraph": lambda text: text.split("\n\n", 1)[0],
}


@flow(over=KINDS)
def changed(w, change):
    """Three answers of several lines, changed each."""
    texts = w.round("R1", QUESTION, [f"{w.long()}\n" for _ in range(3)])
    return w.ask("A", joined(map(change, texts)), w.text())


@flow(over={name: KINDS[name] for name in ("renumbered", "JSON", "quoted lines", "escaped for HTML", "cut to 200")})
def changed_in_layers(w, change):
    """The same in two layers."""
    texts = w.round("R1", QUESTION, [w.long() for _ in range(2)])
    texts = w.round("R2", joined(map(change, texts)), [w.long() for _ in range(2)])
    return w.ask("A", joined(map(change, texts)), w.text())


@flow
def marks_inside(w):
    """Texts with quotes, markup and escapes."""
    texts = w.round("R1", QUESTION, [f'He said: "{w.text(1)}" <b>\\alpha</b> & `code`\t{w.text(2)}' for _ in range(3)])
    return w.ask("A", joined(map(html.escape, texts)), w.text())


@flow
def thoughts_removed(w):
    """What a model thought is cut off."""
    texts = w.round("R1", QUESTION, [f"<think>{w.text(5)}</think>\n\n{w.text()}" for _ in range(3)])
    return w.ask("A", joined([text.rpartition("</think>")[2].strip() for text in texts]), w.text())


@flow
def answer_tags_removed(w):
    """Only what is between the tags is given on."""
    texts = w.round("R1", QUESTION, [f"{w.text(2)}\n<answer>{w.text(3)}</answer>" for _ in range(3)])
    return w.ask("A", joined([text.partition("<answer>")[2].removesuffix("</answer>") for text in texts]), w.text())


@flow
def parsed(w):
    """Answers are JSON, of which one field is given on."""
    texts = w.round("R1", QUESTION, [json.dumps({"reason": w.text(1), "answer": w.text(2)}) for _ in range(3)])
    return w.ask("A", joined([json.loads(text)["answer"] for text in texts]), w.text())


@flow
def upper_case(w):
    """No line survives."""
    texts = w.round("R1", QUESTION, [w.text() for _ in range(3)])
    return w.ask("A", joined(map(str.upper, texts)), w.text())


@flow
def other_scripts(w):
    """Texts beyond ASCII, changed."""
    texts = [f"Größere Schiffe überwintern im Hafen, weil {w.sentence()} 冬の間、船は陸に置かれる。" for _ in range(3)]
    texts = w.round("R1", QUESTION, texts)
    return w.ask("A", joined([f"„{text}“" for text in texts]), w.text())


@flow
def short_answers(w):
    """Too short to be found."""
    texts = w.round("R1", QUESTION, ["4", "5", "4"])
    return w.ask("A", joined(texts), "It is 4.")


@flow
def one_word_answers(w):
    """A word each, which is in many texts."""
    texts = w.round("R1", QUESTION, ["expensive", "seasonal", "necessary"])
    return w.ask("A", joined(texts), w.text())


@flow
def the_same_line_in_all(w):
    """All answers share their longest line."""
    line = w.text(2)
    texts = w.round("R1", QUESTION, [f"{line}\n{w.text(1)}" for _ in range(3)])
    return w.ask("A", joined([f"* {text}" for text in texts]), w.text())
