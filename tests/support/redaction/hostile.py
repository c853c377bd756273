"""
Texts that are made to be read again and again: each of them is a pattern that is repeated.

The pieces are what the rules look for: names, signs, quotes, heads of keys, and what is before an end that never comes.
"""

from __future__ import annotations

import json
import random

NAMES = (
    *("password", "token", "secret", "api_key", "authorization", "cookie", "sig", "pwd", "pass", "credentials"),
    *("master_key", "access_token", "passphrase", "private_key"),
)
SIGNS = ("=", ":", " = ", ":=", "=>", "==", " -> ", "\uff1a", "\u200b:", " is ", " | ", ">", " ", "\t", " = \\")
QUOTES = ('"', "'", "`", "\u201c", "\u2018", '\\"', '\\\\\\"', "\\'", "\\\u201c", "\\\\\u2018")
FILL = (
    "x",
    "x ",
    "x\\\u201d",
    "x\\\\",
    "x,",
    "(",
    "{",
    "<",
    "$a",
    "&a=",
    "%",
    "\\n",
    "a.",
    "${",
    "x" * 40,
    "1",
    "@",
    "\u0130",
)
HEADS = (
    *(
        "sk-",
        "sk-aaaaaaaaaaaaaaa",
        "eyJaaaaaaaa.",
        "eyJaaaaaaaa.eyJ",
        "AKIA",
        "gh",
        "ghp_",
        "xoxb-",
        "SG.aaaaaaaaaaaaaaaaaaaa",
    ),
    *("a://b:", "a://", "a.", "bearer ", "Bearer\t", "-----BEGIN PRIVATE KEY-----", "-----BEGIN PGP PRIVATE KEY BLOCK"),
    *(
        "curl -u a:",
        " -u 'a:",
        "hooks.slack.com/services/",
        "pat.",
        "JQQJ9",
        ".atlasv1.",
        "8Q~",
        "1/",
        ":AA",
        "v1.0-",
        "pa-",
        "SK",
    ),
    *("+1", "+1 1 ", "+(", "tel 1", "(555", "555-555-", "a@a.", "a@", "%40a.", "a.a.a.a@"),
)
FIXED = (
    "password=\u201cx ",
    "password=\u201cx\\\u201d",
    "?token=",
    "&amp;token=x",
    '{"token": "Hello", "logprob": -0.1}, ',
    'password=" ',
    "'password=' + ",
    "password='{password=\"{password=`{",
    "password=\u2018{ password=\u201c{ ",
    'authorization: oauth a="',
    "authorization: digest a=b, ",
    "cookie: a=b; ",
    "cookie: a=b",
    "<password>",
    "<password>x",
    "</password>",
    "| password | ",
    "| password ",
    "| " * 3,
    "my password is ",
    "password is is ",
    "password -> ",
    "ENV PASSWORD ",
    "--password ",
    "-" * 50 + "password ",
    "password" + " " * 60,
    "password=" + " " * 60,
    "password" + "\u200b" * 30,
    'password="' + "\\" * 60,
    "\\" * 60 + '"',
    "token=" + "ab" * 60,
    "password: a" + "<" * 60,
    "a://b:" + "@" * 60,
    "lorem ipsum dolor sit amet ",
    "QUJD+",
    "\\n",
    "\u00e9",
    "_-",
)


def patterns(count: int, seed: int = 21):
    """Yield patterns: the fixed ones, each piece alone, and `count` that are put together at random."""
    yield from FIXED
    yield from HEADS
    for name in NAMES:
        yield name + "="
        yield name + ' = "'
    rng = random.Random(seed)
    pieces = (NAMES, SIGNS, QUOTES, FILL, HEADS)
    for _ in range(count):
        if rng.random() < 0.5:
            yield rng.choice(NAMES) + rng.choice(SIGNS) + rng.choice(QUOTES) + rng.choice(FILL)
        else:
            yield "".join(rng.choice(rng.choice(pieces)) for _ in range(rng.randint(2, 6)))


def repeated(pattern: str, size: int) -> str:
    """Return a text of so many letters that is a pattern again and again, and then an end that fits none."""
    return (pattern * (size // len(pattern) + 1))[:size] + "!"


def structures(size: int):
    """Yield names and texts of so many letters that are JSON: keys that become alike, nesting, numbers, long lists."""
    key = ", ".join(f'"a{number}@example.com": 1' for number in range(size // 30))
    yield "keys alike", f"{{{key}}}"
    key = ", ".join(f'"password=hunter{number:07}x": 1' for number in range(size // 40))
    yield "secret keys", f"{{{key}}}"
    key = ", ".join(f'"a@example.com ({number})": 1, "b{number}@example.com": 1' for number in range(2, size // 60))
    yield "numbered keys", f"{{{key}}}"
    yield "numbers", "[" + "1," * (size // 2) + "1]"
    yield "named numbers", '{"token": [' + "1," * (size // 2) + "1]}"
    yield "lists", "[" + "[]," * (size // 3) + "[]]"
    yield "objects", "[" + "{}," * (size // 3) + "{}]"
    yield "texts", "[" + '"a",' * (size // 4) + '"a"]'
    yield "different texts", "[" + ",".join(f'"t{number}"' for number in range(size // 9)) + "]"
    yield "open", "[" * size
    yield "deep", "[" * 400 + "1," * (size // 2) + "1" + "]" * 400
    yield "named", "{" + ", ".join(f'"password{number}": "x"' for number in range(size // 22)) + "}"
    text = "password=\u201cx " * (size // 64)
    for _ in range(4):
        text = json.dumps({"text": text})
    yield "JSON in JSON", text
    text = "x"
    while len(text) < size:
        text = json.dumps([text])
    yield "JSON in JSON in JSON", text
