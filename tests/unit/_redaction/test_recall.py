"""What the rule for secrets finds, and what it leaves: measured on keys, names and harmless texts, and printed."""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path

import pytest

from moa_middleware._redaction import MARK, secrets
from moa_middleware._redaction.forms import with_forms
from moa_middleware._redaction.key_forms import ALPHABETS, FORMS, pattern_of
from moa_middleware._redaction.names import by_name, is_secret_under
from tests.support.redaction import carriers, harmless
from tests.support.redaction.key_shapes import SHAPES, keys

RECALL_BY_FORM = 0.97
RECALL_BY_NAME = 0.95
PRECISION = 0.995


def show(capsys, *lines):
    """Print figures past the capturing of the test run."""
    with capsys.disabled():
        print("", *lines, sep="\n")


def is_gone(value, shown):
    """Return True if neither the begin nor the end of a value is left."""
    return value[: len(value) * 2 // 3] not in shown and value[-len(value) // 3 :] not in shown


def test_keys_are_found_by_their_form(capsys, quick):
    """Of each maker, in every carrier; the keys are drawn at random from head, alphabet and length."""
    found, tried, missed = Counter(), Counter(), Counter()
    for maker, key in keys(2 if quick else 20):
        for carrier in carriers.OF_KEYS:
            gone = is_gone(key, secrets(carriers.filled(carrier, key=key)))
            tried[maker] += 1
            found[maker] += gone
            missed[carrier] += not gone
    recall = found.total() / tried.total()
    show(capsys, f"recall by form: {recall:.4f} of {tried.total():,} ({len(SHAPES)} shapes)")
    low = {maker: found[maker] / tried[maker] for maker in tried if found[maker] < RECALL_BY_FORM * tried[maker]}
    assert not low, (low, missed.most_common(5))
    assert recall >= RECALL_BY_FORM


def test_values_are_found_by_their_name(capsys, quick):
    """Any name in any carrier; phrases with blanks where a carrier says where they end."""
    found, tried = Counter(), Counter()
    for kinds, values in (
        (carriers.OF_NAMES, carriers.values(4 if quick else 20)),
        (carriers.OF_PHRASES, carriers.phrases(2 if quick else 10)),
    ):
        for value in values:
            for name in carriers.NAMES:
                for carrier in kinds:
                    shown = secrets(carriers.filled(carrier, name=name, value=value))
                    tried[carrier] += 1
                    found[carrier] += is_gone(value, shown)
    recall = found.total() / tried.total()
    worst = sorted((found[carrier] / tried[carrier], carrier) for carrier in tried)[:3]
    show(capsys, f"recall by name: {recall:.4f} of {tried.total():,}; worst carriers: {worst}")
    assert recall >= RECALL_BY_NAME
    assert worst[0][0] >= 0.9


def test_values_are_found_under_their_key():
    """As `named` does it, where JSON is looked at key by key."""
    for value in carriers.values(20):
        missed = [name for name in carriers.NAMES if not is_secret_under(name, value)]
        assert missed in ([], ["DB_PASS"]), (missed, value)


def test_no_line_of_a_private_key_is_left():
    """With any head, also where the end is missing, and where a program quotes the line ends."""
    for body in carriers.bodies(5):
        for block in carriers.BLOCKS:
            shown = secrets(f"before {block.format(body=body)} after")
            assert not any(line in shown for line in body.splitlines()), block
            assert MARK in shown


def test_harmless_texts_stay(capsys):
    """At least 5,000; the precision of each rule is counted against as many positives as there are harmless texts."""
    rules = {"by form": with_forms, "by name": by_name, "secrets": secrets}
    count, wrong, kinds = 0, Counter(), Counter()
    for kind, text in harmless.texts():
        count += 1
        if secrets(text) == text:
            continue  # and no part of the rule changed it
        for name, rule in rules.items():
            if rule(text) != text:
                wrong[name] += 1
                kinds[name, kind] += 1
    precision = {name: count / (count + wrong[name]) for name in rules}
    show(capsys, f"precision on {count:,} harmless texts: {precision}; changed: {dict(kinds)}")
    assert count >= 5000
    assert min(precision.values()) >= PRECISION


@pytest.mark.parametrize("blank", harmless.BLANKS)
def test_a_placeholder_stays(blank):
    """In each carrier, and under its key."""
    for carrier in carriers.OF_NAMES:
        for name in ("password", "API_KEY", "token"):
            text = carriers.filled(carrier, name=name, value=blank)
            assert text == secrets(text)
    assert not is_secret_under("api_key", blank)


# The table -----------------------------------------------------------------------------------------

PART = re.compile(r"(?P<alphabet>[A-Z])(?P<least>\d+)(?:\+|-\d+)?|'(?P<text>[^']+)'")
PRINTED = [letter for letter in map(chr, range(33, 127)) if letter not in "_-="]


def drawn(form, rng):
    """Yield a key of a form for each of its heads, as short as the table allows."""
    for head in form.heads.split():
        key = head
        for part in PART.finditer(form.tail):
            if part["text"]:
                key += part["text"]
            else:
                letters = [letter for letter in PRINTED if re.match(f"[{ALPHABETS[part['alphabet']]}]", letter)]
                key += "".join(rng.choices(letters, k=int(part["least"])))
        yield key


def test_the_shortest_key_of_each_form_is_found():
    """With each of its heads."""
    rng = random.Random(5)
    for form in FORMS:
        found = [secrets(f"x {key} y") == f"x {MARK} y" for _ in range(10) for key in drawn(form, rng)]
        assert sum(found) >= 0.9 * len(found), form


def test_a_row_of_one_letter_and_words_behind_a_head_stay():
    """They keep a place for a key, or are the name of something."""
    for form in FORMS:
        part = PART.fullmatch(form.tail)
        if part is None:
            continue
        rows = [letter * int(part["least"]) for letter in "xX" if re.match(f"[{ALPHABETS[part['alphabet']]}]", letter)]
        if part["alphabet"] == "W":
            rows.append("-".join(["contrib", "models", "for", "texts"] * 20))
        for text in (f"see {head}{row} here" for row in rows for head in form.heads.split()):
            assert text == secrets(text)


def test_each_form_has_a_source_and_a_head_of_two_letters():
    """The letters are those of the module's list."""
    assert not [form for form in FORMS if not form.source or set(form.source) - set("gtms")]
    assert min(len(head) for form in FORMS for head in form.heads.split()) >= 2


@pytest.mark.parametrize("tail", ["W20+ A3", "A", "W+", "Q5", "A5 x", "'a"])
def test_a_tail_that_is_open_in_its_middle_is_refused(tail):
    """A text could be read again and again for it."""
    with pytest.raises(ValueError, match="not the tail of a form"):
        pattern_of(tail)


def test_the_documentation_lists_each_head():
    """In the table of forms, as users look it up."""
    page = (Path(__file__).parents[3] / "docs" / "how-to" / "privacy.md").read_text(encoding="utf-8")
    missing = [head for form in FORMS for head in form.heads.split() if f"`{head}\u2026`" not in page]
    assert not missing


def test_each_maker_has_its_form_in_the_table():
    """A shape of the tests without one would be found by its name only."""
    heads = tuple(head for form in FORMS for head in form.heads.split())
    without = [
        maker for maker, parts in SHAPES.items() if not (isinstance(parts[0], str) and parts[0].startswith(heads))
    ]
    assert without == ["azure openai", "azure client secret", "terraform", "telegram", "jwt"]
