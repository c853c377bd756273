"""
The examples of `docs/reference/cli.md`: `python -m tests.support.cli_pages.pages` writes what the commands print below them.

A block of commands and the block of their output follow each other, so that what is copied has no prompt in it.
An output that ends in `…` shows the beginning.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from tests.cli.conftest import Terminal

from .example import HERE

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "reference" / "cli.md"
BLOCK = re.compile(
    r"^```sh\n(?P<commands>(?:(?!```)[^\n]+\n)+)```\n\n```text\n(?P<shown>.*?)^```$", re.MULTILINE | re.DOTALL
)
WIDTH = 92
LONG_AGO = 1_780_000_000


def furnish(folder):
    """Put the example traces into a directory, last written long ago."""
    shutil.copytree(HERE, folder / "traces")
    (folder / "damaged.jsonl").write_bytes((folder / "traces" / "bench-1.jsonl").read_bytes()[:15000])
    (folder / "traces").chmod(0o700)
    for path in (folder / "traces").rglob("*.jsonl"):
        os.utime(path, (LONG_AGO, LONG_AGO))


def output(command, folder):
    """Return what the last command of a block prints on a terminal without colours."""
    words = command.strip().split("\n")[-1].split()
    settings = dict(word.split("=", 1) for word in words[: words.index("moa")])
    env = {name: value for name, value in os.environ.items() if not name.startswith("MOA_") and name != "COLUMNS"}
    env |= {"TZ": "UTC", "NO_COLOR": "1", "TERM": "xterm", "PYTHONPATH": str(ROOT), **settings}
    _, text = Terminal(env, words[words.index("moa") + 1 :], WIDTH, cwd=folder).end()
    text = re.sub(r"\x1b\[[0-9;]*m", "", text).replace("\r", "")
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def lasting(text):
    """Return an output without what differs from day to day: how long ago, how much is free, how large a page is."""
    text = re.sub(r"(\d turns), [\d.]+ kB", r"\1, so much", text)  # a page has its program in it
    text = re.sub(r"written since [\d-]+ [\d:]+", "written since then", text)
    return re.sub(r"[\d.]+ [GT]B free|\([\d,]+ d \d+ h ago\)", "so much", text)


def agrees(shown, real):
    """Whether a page shows what is printed."""
    shown, real = lasting(shown), lasting(real)
    return real.startswith(shown.removesuffix("…\n")) if shown.endswith("…\n") else real == shown


def main():
    """Write the page."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        furnish(folder)

        def filled(match):
            real, shown = output(match["commands"], folder), match["shown"]
            if agrees(shown, real) and shown:
                return match[0]
            if match["commands"].strip().endswith(("doctor", "schema")):
                real = "\n".join(real.split("\n")[: 22 if "doctor" in match["commands"] else 8]) + "\n…\n"
            return f"```sh\n{match['commands']}```\n\n```text\n{real}```"

        PAGE.write_text(BLOCK.sub(filled, PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    sys.stdout.write(f"{PAGE.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
