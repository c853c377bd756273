"""
Words that the project does not use: their number in each file may only fall, and new files have none.

Files that were moved or corrected get their new numbers by a command, which refuses a higher sum:

    MOA_WRITE_GOLDEN=1 uv run pytest tests/house/test_words.py
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "tests" / "golden" / "words.json"
WRITE = "MOA_WRITE_GOLDEN" in os.environ
PLACES = ("moa_middleware/**/*.py", "docs/**/*.md", "README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "mkdocs.yml")

# Plain words for them: cost, fix, reported or recorded, missing, contains, for example, usually, any,
# has the name, adds up to, apply or pass, compared with.
WORDS = re.compile(
    r"""\b(?:
        dear(?:er|est)? | mend(?:s|ed|ing)? | told | tells? | untold
        | what\snobody | of\swhich\san?\b[^.\n]{0,40}\bdid | that\sis\snone | none\sof\swhat
        | is\sno(?=\s)(?!\s(?:longer|more)\b) | stands?\sin | as\sa\srule | may\sbe\shad | whoever | goes\sby | comes\sto
        | lends? | lent | lending | beside
    )\b
    | ,\ssay\b""",
    re.VERBOSE | re.IGNORECASE,
)


def found_in(path):
    """Return the words that a file should not have, each with its line."""
    text = path.read_text(encoding="utf-8")
    return [f"{text.count(chr(10), 0, hit.start()) + 1}: {' '.join(hit[0].split())}" for hit in WORDS.finditer(text)]


def files():
    """Return every file that is looked at, by its path from the root."""
    return {path.relative_to(ROOT).as_posix(): path for place in PLACES for path in sorted(ROOT.glob(place))}


def test_no_file_has_more_of_these_words_than_before():
    """Of a file that has more, each is named."""
    before = json.loads(TABLE.read_text(encoding="utf-8"))
    now = {name: found for name, path in files().items() if (found := found_in(path))}
    if WRITE:
        assert sum(map(len, now.values())) <= sum(before.values())
        before = {name: len(found) for name, found in now.items()}
        TABLE.write_text(json.dumps(before, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    assert {} == {name: found for name, found in now.items() if len(found) > before.get(name, 0)}


def test_the_words_are_found():
    """At the beginning of a sentence, over a space, and not inside other words."""
    assert WORDS.search("Told in a record")
    assert WORDS.search("a rate of 3, say")
    assert WORDS.search("it is no number")
    assert not WORDS.search("it is no longer held, a retold amendment, besides")
