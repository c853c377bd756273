"""
Credentials by their form: keys with a head of their own, JWTs, private keys, and what is in URLs and headers.

Each expression takes time in proportion to the text, whatever the text is: what may fail is bounded, an open length
is the last thing in its expression, and no expression begins inside a run of letters that another one has read.

Sources: `key_forms` for keys; RFC 6750 for bearer tokens, RFC 7519 for JWTs, RFC 7468 and RFC 9580 for private keys,
RFC 3986 and RFC 7617 for `user:password`; gitleaks for what has its mark in the middle.
"""

from __future__ import annotations

import re

from .key_forms import FORMS, Form, pattern_of
from .marks import MARK, word_start, word_start_behind

__all__ = ["in_addresses", "with_forms"]


def _compiled() -> tuple[re.Pattern[str], tuple[Form, ...]]:
    """
    Return all forms as one expression, and the form of each of its groups.

    The forms are grouped by their first two letters, and what is before a key is looked at after its first letter: with
    a look behind in front the engine would try at each place of a text, and not only where a first letter is.
    """
    by_letters: dict[str, dict[str, list[tuple[str, Form]]]] = {}
    for form in FORMS:
        for head in form.heads.split():
            by_letters.setdefault(head[0], {}).setdefault(head[1], []).append((head[2:], form))
    groups: list[Form] = []
    firsts = []
    for first, seconds in by_letters.items():
        found = []
        for second, heads in seconds.items():
            groups += [form for _, form in heads]
            tails = "|".join(f"{re.escape(rest)}({pattern_of(form.tail)})" for rest, form in heads)
            found.append(f"{re.escape(second)}(?:{tails})")
        firsts.append(f"{re.escape(first)}{word_start_behind('A-Za-z0-9_', first)}(?:{'|'.join(found)})")
    return re.compile("|".join(firsts)), tuple(groups)


_KEYS, _FORM_OF_GROUP = _compiled()
_MIDDLES = (
    # Azure OpenAI, and Azure's other keys since 2024: 84 letters with this in the middle.
    ("JQQJ9", re.compile(rf"{word_start('A-Za-z0-9')}[A-Za-z0-9]{{52}}JQQJ9[A-Za-z0-9]{{20,27}}(?![A-Za-z0-9])")),
    (
        "Q~",
        re.compile(rf"{word_start('-A-Za-z0-9_~.')}[\w~.]{{3}}[0-9]Q~[\w~.-]{{31,34}}(?![\w~-])", re.ASCII),
    ),  # Azure, client secret
    (
        ".atlasv1.",
        re.compile(rf"{word_start('A-Za-z0-9')}[A-Za-z0-9]{{14}}\.atlasv1\.[A-Za-z0-9_=-]{{40,}}"),
    ),  # Terraform
    (":A", re.compile(rf"{word_start('A-Za-z0-9_:')}[0-9]{{8,10}}:A[A-Za-z0-9_-]{{34}}(?![A-Za-z0-9_-])")),  # Telegram
)
"""Keys with a mark inside: the mark, which is looked for first, and the whole."""
# docs.slack.dev, "Incoming webhooks": everybody with the address may post; GitGuardian on its like for triggers.
_WEBHOOK = re.compile(
    r"(?P<name>hooks\.slack\.com/(?:services|workflows|triggers)/|discord(?:app)?\.com/api/webhooks/[0-9]{5,25}/)"
    r"[A-Za-z0-9_]{6,}[A-Za-z0-9_/-]*"
)
_JWT = re.compile(rf"e{word_start_behind('-A-Za-z0-9_', 'e')}yJ[\w-]{{8,}}+\.eyJ[\w-]{{8,}}+\.[\w-]{{8,}}+", re.ASCII)
_PRIVATE_KEY = re.compile(
    r"(?P<head>-----BEGIN [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----)(?:(?!-----(?:BEGIN|END)).)+", re.DOTALL
)
_STRONG = re.compile(r"[A-Za-z0-9]{12}")
"""What a key has and a name made of words has not: a long run, and a digit somewhere."""
_FEWEST = 3
"""Different letters in what follows a head: a row of `x` or `*` keeps a place for a key."""
_BEARER = re.compile(
    r"(?P<name>\bbearer\s{1,20})(?P<value>(?=[^\s]{0,200}?[0-9])[A-Za-z0-9._~+/-]{6,}=*)", re.IGNORECASE
)
_HAS_BEARER = re.compile("[Bb][Ee][Aa][Rr][Ee][Rr]")
# The scheme is bounded, or `a.a.a.a` would be read anew from each of its letters. A password may hold an `@`.
_IN_URL = re.compile(r"(?P<name>\b[a-z][a-z0-9+.-]{0,30}://)[^\s/@:\"']{0,200}:[^\s/\"']{1,2000}@", re.IGNORECASE)
_USER = re.compile(
    r"""
    (?P<name>(?<=\s)(?:-[A-Za-z]{0,8}u|--(?:proxy-)?user)[ =]{0,2})
    (?:(?P<quote>["'])[^\s:"'$]{0,100}:[^"'\n]{1,400}(?:(?P=quote)|\Z) | [^\s:"'$]{0,100}:[^\s"'$][^\s"']{0,400})
    """,
    re.VERBOSE,
)
_LOOK = 200
"""Characters of a tail that are looked at."""
_COMMAND = 400
"""Characters before `-u` in which its `curl` stands."""


def _key_or_words(found: re.Match[str]) -> str:
    """Return the mark, or what was found if it is made of words, or keeps a place for a key."""
    group = found.lastindex or 1
    tail, form = found[group], _FORM_OF_GROUP[group - 1]
    if form.heads == "sk-" and not (_STRONG.search(tail) and any(map(str.isdigit, tail))):
        return found[0]
    start = tail[:_LOOK]
    lower, upper = any(map(str.islower, start)), any(map(str.isupper, start))
    is_drawn = (lower and upper) if form.weak else (upper or any(map(str.isdigit, start)))
    return MARK if is_drawn and len(set(start)) >= _FEWEST else found[0]


def _user(found: re.Match[str]) -> str:
    if "curl" not in found.string[max(0, found.start() - _COMMAND) : found.start()]:
        return found[0]
    quote = found["quote"] or ""
    return f"{found['name']}{quote}{MARK}{quote}"


def _after_name(found: re.Match[str]) -> str:
    return found["name"] + MARK


def in_addresses(text: str) -> str:
    """Return a text without private keys and passwords in URLs: what a name before them would cut in two."""
    if "-----BEGIN " in text:
        text = _PRIVATE_KEY.sub(rf"\g<head>{MARK}", text)
    if "://" in text and "@" in text:
        text = _IN_URL.sub(lambda found: f"{found['name']}{MARK}@", text)
    return text


def with_forms(text: str) -> str:
    """Return a text without keys and tokens of a known form."""
    text = _KEYS.sub(_key_or_words, text)
    for mark, pattern in _MIDDLES:
        if mark in text:
            text = pattern.sub(MARK, text)
    if "eyJ" in text:
        text = _JWT.sub(MARK, text)
    if _HAS_BEARER.search(text):
        text = _BEARER.sub(_after_name, text)
    if "hooks.slack.com" in text or "/api/webhooks/" in text:
        text = _WEBHOOK.sub(_after_name, text)
    if "curl" in text:
        text = _USER.sub(_user, text)
    return text
