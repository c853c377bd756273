"""
E-mail addresses and phone numbers.

Sources: RFC 5321 for addresses, ITU-T E.164 and the North American plan for numbers.
"""

from __future__ import annotations

import re

from .marks import EMAIL, PHONE, word_start

__all__ = ["emails", "is_number_under", "phones"]

# E-mail addresses ---------------------------------------------------------------------------------

_DOMAIN = r"""
    (?!\d+\.\d)                                     # `react@18.2.0` is a version
    (?:
        (?:[^\W_][\w-]{0,62}\.){1,8}(?<=[\w-]{2}\.)[^\W\d_]{2,24}
      | (?:[^\W_][\w-]{0,62}\.){0,7}[^\W_]\.(?:com|co|org|net|de|io|me|ai|cn|ru|uk)   # x.com, but not `W@x.shape`
    )
    (?!\w|-\w)
"""
_BEFORE_ADDRESS = word_start(r"\w.+%\-")
_ADDRESS = re.compile(
    rf"""
    {_BEFORE_ADDRESS} (?!git@) [\w.+%-]++ @ {_DOMAIN}
    """,
    re.VERBOSE,
)
_QUOTED_ADDRESS = re.compile(rf"(?<![\w.+-])[\w.+-]++ %40 {_DOMAIN}", re.VERBOSE)


def emails(text: str) -> str:
    """Return a text with each e-mail address in it replaced by `EMAIL`."""
    if "@" in text:
        text = _ADDRESS.sub(EMAIL, text)
    if "%40" in text:
        text = _QUOTED_ADDRESS.sub(EMAIL, text)
    return text


# Phone numbers ------------------------------------------------------------------------------------

_GAP = r"[ .\-/()\u00a0\u2009\u2011\u202f]{0,3}"
_ABROAD = re.compile(rf"(?<![\w.+/-])\+{_GAP}(?P<digits>[1-9](?:{_GAP}\d){{7,14}})(?![\w+]|[.,:-]\d)")
_AMERICAN = re.compile(
    r"""
    (?<![\w.+/-]) (?:1[-. ])?
    (?:\([2-9]\d{2}\)[ -]?\d{3}[-. ]\d{4} | [2-9]\d{2}(?P<gap>[-.])\d{3}(?P=gap)\d{4})
    (?![\w+]|[.,:-]\d)
    """,
    re.VERBOSE,
)
_PHONE_NAME = r"(?:telephone|phone|tel|mobile|cell|fax|whatsapp|telefon|handy)(?:[ _-]?(?:number|num|no|nr))?"
_CALLED = re.compile(
    rf"""
    (?P<name>
        {word_start("A-Za-z0-9")}{_PHONE_NAME}
        \.?\\?["']?\s{{0,5}}(?:[:=\#]|\bis\b)?\s{{0,5}}\\?["']?
    )
    (?P<number>\+?\(?\d(?:{_GAP}\d){{6,14}})(?![\w+]|[.,:-]\d)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_IS_PHONE_NAME = re.compile(rf"(?:.*[^A-Za-z0-9])?{_PHONE_NAME}", re.IGNORECASE | re.DOTALL)
_IS_NUMBER = re.compile(rf"\s*\+?\(?\d(?:{_GAP}\d){{5,14}}\s*")
_PHONE_WORDS = ("phone", "tel", "mobile", "cell", "fax", "whatsapp", "handy")
_DATE = re.compile(
    r"(?:19|20)\d\d([ ./-]?)(?:0[1-9]|1[0-2])\1(?:0[1-9]|[12]\d|3[01])(?:\d{4}|\d{6})?|\d\d[./]\d\d[./](?:19|20)\d\d"
)
_MACHINE = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}")
_THOUSANDS = re.compile(r"\d{1,3}(?:\.\d{3})+")
_SHORTEST_IN_ONE = 10
"""Digits of a number that stands there without a gap."""
_LONELY = 2
"""Groups of a single digit in a number (`+33 6 12 34 56 78`): more of them are a row of figures."""


def _is_no_number(text: str) -> bool:
    return bool(_DATE.fullmatch(text) or _MACHINE.fullmatch(text) or _THOUSANDS.fullmatch(text))


def _abroad(found: re.Match[str]) -> str:
    text = found["digits"]
    groups = re.findall(r"\d+", text)
    alone = sum(len(group) == 1 for group in groups)
    if alone > _LONELY or (len(groups) == 1 and len(text) < _SHORTEST_IN_ONE) or _is_no_number(text):
        return found[0]
    return PHONE


def phones(text: str) -> str:
    """Return a text with each phone number in it that is marked as one replaced by `PHONE`."""
    if "+" in text:
        text = _ABROAD.sub(_abroad, text)
    text = _AMERICAN.sub(PHONE, text)
    low = text.lower()
    if any(word in low for word in _PHONE_WORDS):
        text = _CALLED.sub(lambda found: found[0] if _is_no_number(found["number"]) else found["name"] + PHONE, text)
    return text


def is_number_under(name: str, value: str) -> bool:
    """Whether the whole value of a key is a phone number by its name."""
    called = _IS_PHONE_NAME.fullmatch(name) and _IS_NUMBER.fullmatch(value)
    return bool(called) and not _is_no_number(value.strip())
