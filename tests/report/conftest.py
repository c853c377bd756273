"""Pages made of what the real client wrote, and read back as a program reads them."""

from __future__ import annotations

import json
from copy import deepcopy
from html.parser import HTMLParser

import pytest

from moa_middleware import report
from tests.cli.conftest import desk, env, run, terminal, told  # noqa: F401 - fixtures
from tests.support import sample


class Page(HTMLParser):
    """
    A page, taken apart by a parser that is not ours.

    Attributes:
        run: What it holds of the run.
        turns: The turns, in order.
        programs: Scripts that a browser would run.
        styles: Its styles.
        metas: Its `meta` elements.
        title: Its title.
    """

    def __init__(self, path):
        super().__init__()
        self.run, self.turns, self.programs, self.styles, self.metas, self.title = None, [], [], [], [], ""
        self.tags = []
        self._open = None
        self.feed(path.read_bytes().decode("utf-8"))
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "meta":
            self.metas.append(dict(attrs))
        if tag in ("script", "style", "title"):
            self._open = [tag, dict(attrs), ""]

    def handle_data(self, data):
        if self._open is not None:
            self._open[2] += data

    def handle_endtag(self, tag):
        if self._open is None or tag != self._open[0]:
            return
        _, attrs, text = self._open
        self._open = None
        if tag == "title":
            self.title = text
        elif tag == "style":
            self.styles.append(text)
        elif attrs.get("type") != "application/json":
            self.programs.append(text)
        elif attrs["id"] == "run":
            self.run = json.loads(text)
        else:
            assert f"turn-{len(self.turns)}" == attrs["id"]
            self.turns.append(json.loads(text))


@pytest.fixture(scope="session")
def sampled(tmp_path_factory):
    """Return a directory with the sample run, which no test may change."""
    return sample.write(tmp_path_factory.mktemp("sampled") / "traces", pace=0.02)


@pytest.fixture
def made(desk):  # noqa: F811 - the fixture
    """Return a function that writes a report and returns its page."""

    def made(source, name="run.html", **options):
        found = report.write(source, desk / name, **options)
        return Page(found.paths[0])

    return made


def everywhere(record, text):
    """Return a record with a text in each of its texts, keys of the user's among them."""

    def put(value, name):
        if isinstance(value, str) and name not in (
            "schema",
            "outcome",
            "source",
            "turn_id",
            "call_id",
            "output_location",
        ):
            return f"{text} | {value}"
        if isinstance(value, dict):
            return {key: put(one, key) for key, one in value.items()}
        return [put(one, name) for one in value] if isinstance(value, list) else value

    found = put(deepcopy(record), None)
    found["tags"] = {text: text, "a": {text: text}}
    found["params"] = {"stop": [text], text: text}
    found["error"] = {"type": "ValueError", "message": text}
    found["trace_context"] = {"trace_id": text, "span_id": text}
    found["omitted"] = {f"tags.{text}": {"reason": text, "bytes": 3}}
    for call in [*found["references"], found["aggregator"], *found["calls"]]:
        call["error"] = {"type": "ValueError", "message": text}
        call["tool_calls"] = [
            {"id": text, "type": "function", "function": {"name": "f", "arguments": json.dumps({"a": text})}},
            {"odd": text},
        ]
        call |= {"reasoning": text, "refusal": text, "choices": [{"text": text}, {"text": text}], "raw": {"repr": text}}
        call["usage_raw"] = {text: text}
        call["params"] = {"stop": text, text: [text]}
        call["omitted"] = {f"input_messages.0.{text}": {"reason": "limit", "bytes": 3}}
    found["later_version"] = {text: text}
    return found
