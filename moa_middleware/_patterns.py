"""
The rules for secrets and personal data: pure functions on text, which both wings use.

A rule errs on the side of the text: it takes what is a credential, an address or a number to call by
its form, or by the name before it, and leaves commit hashes, ids, line numbers, dates, addresses of
machines, versions, prices and names of models alone. Every rule takes time in proportion to the text.

Sources: the token formats that OpenAI, Anthropic, GitHub, GitLab, Google, Hugging Face, Slack,
Stripe and AWS document, RFC 6750 for bearer tokens, RFC 7519 for JWTs, RFC 7468 for private keys,
RFC 5321 for addresses, ITU-T E.164 and the North American plan for numbers.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["EMAIL", "MARK", "PHONE", "RULES", "emails", "named", "phones", "secrets"]

MARK = "[secret]"
EMAIL = "[email]"
PHONE = "[phone]"


def _start(inside: str) -> str:
    r"""
    Return a pattern for the begin of a word: nothing of the class stands before it.

    Inside JSON that is quoted as text a word may follow an escape, `\n` say, whose letter is not the word's.
    """
    return rf"(?:(?<![{inside}\\])|(?<=\\[nrtbf])|(?<=\\)(?![nrtbfu]))"


# Secrets ------------------------------------------------------------------------------------------

_TOKENS = re.compile(
    rf"""
    {_start("A-Za-z0-9_")}
    (?:
        (?P<sk>sk-[A-Za-z0-9_-]{{16,}})                     # OpenAI, Anthropic, OpenRouter and look-alikes
      | (?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{{16,}}       # Stripe
      | whsec_[A-Za-z0-9]{{24,}}
      | gh[pousr]_[A-Za-z0-9]{{30,}} | github_pat_[A-Za-z0-9_]{{30,}}
      | glpat-[A-Za-z0-9_-]{{20,}}
      | hf_[A-Za-z0-9]{{30,}}
      | xox[abeprs]-[A-Za-z0-9-]{{10,}}
      | AIza[A-Za-z0-9_-]{{35}}
      | gsk_[A-Za-z0-9]{{30,}} | xai-[A-Za-z0-9]{{30,}}
      | (?:AKIA|ASIA)[A-Z0-9]{{16}}(?![A-Z0-9])
    )
    """,
    re.VERBOSE,
)
_TOKEN_HEADS = (
    *("sk-", "sk_", "rk_", "pk_", "whsec_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-"),
    *("hf_", "xox", "AIza", "gsk_", "xai-", "AKIA", "ASIA"),
)
_JWT = re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}")
_PRIVATE_KEY = re.compile(r"(?P<head>-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----)(?:(?!-----(?:BEGIN|END)).)+", re.DOTALL)
_STRONG = re.compile(r"[A-Za-z0-9]{12}")
"""What a key has and a name made of words has not: a long run, and a digit somewhere."""

_CREDENTIAL = r"""
    (?:proxy-)?authorization
  | (?:[a-z0-9]{1,20}[-_])?api[-_ ]?key (?:\s+provided)?
  | (?:access|refresh|auth|secret|client|bot|private|session)[-_]?(?:access[-_]?)?(?:token|key|secret)
  | aws[-_]secret[-_]access[-_]key
  | password | passwd | passphrase
"""
# A value in code or in a schema is no credential: a type, a call, a place where one is kept.
_NO_VALUE = r"""
    (?!\[secret\]|(?:bearer|basic|token)\s)
    (?!(?:os|process|self|cls|settings|config|args|env|environ|getpass|secrets|st|request|options)\.)
    (?!(?:str|string|strings|optional|required|undefined|missing|invalid|boolean|object|hidden|secret|redacted
        |reset|manager|managers|getenv|environ|wrong|expired|incorrect|nullable|cannot|should|please)(?![\w!@#$%^*-]))
    (?!\$[{(A-Za-z_]|%\(|<)
"""
_NAMED = re.compile(
    rf"""
    (?P<name>
        {_start("A-Za-z0-9")}(?:{_CREDENTIAL})
        \\?["']? \s{{0,20}}[:=]\s{{0,20}} \\?["']? (?:(?:bearer|basic|token)\s{{1,20}})?
    )
    (?P<value>{_NO_VALUE}[^\s"',;&<>{{}}()\[\]\\]{{6,}})
    """,
    re.VERBOSE | re.IGNORECASE,
)
_BEARER = re.compile(
    r"(?P<name>\bbearer\s{1,20})(?P<value>(?=[^\s]{0,200}?[0-9])[A-Za-z0-9._~+/-]{6,}=*)", re.IGNORECASE
)
_SECRET_WORDS = ("authorization", "api", "token", "key", "secret", "passw", "passphrase")
# The scheme is bounded, or `a.a.a.a` would be read anew from each of its letters.
_IN_URL = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]{0,30}://)[^\s/@:\"']{0,200}:[^\s/@\"']{1,400}@", re.IGNORECASE)
_NAME = re.compile(rf"(?:.*[^A-Za-z0-9])?(?:{_CREDENTIAL})", re.VERBOSE | re.IGNORECASE | re.DOTALL)


def _key_or_words(found: re.Match[str]) -> str:
    whole = found[0]
    if found["sk"] and not (_STRONG.search(whole) and any(letter.isdigit() for letter in whole)):
        return whole
    return MARK


def secrets(text: str) -> str:
    """Return a text with each credential in it replaced by `MARK`."""
    if any(head in text for head in _TOKEN_HEADS):
        text = _TOKENS.sub(_key_or_words, text)
    if "eyJ" in text:
        text = _JWT.sub(MARK, text)
    if "PRIVATE KEY-----" in text:
        text = _PRIVATE_KEY.sub(rf"\g<head>{MARK}", text)
    low = text.lower()
    if any(word in low for word in _SECRET_WORDS):
        text = _NAMED.sub(lambda found: found["name"] + MARK, text)
    if "bearer" in low:
        text = _BEARER.sub(lambda found: found["name"] + MARK, text)
    if "://" in text and "@" in text:
        text = _IN_URL.sub(lambda found: f"{found['scheme']}{MARK}@", text)
    return text


# E-mail addresses ---------------------------------------------------------------------------------

_DOMAIN = r"""
    (?!\d+\.\d)                                     # `react@18.2.0` is a version
    (?:
        (?:[^\W_][\w-]{0,62}\.){1,8}(?<=[\w-]{2}\.)[^\W\d_]{2,24}
      | (?:[^\W_][\w-]{0,62}\.){0,7}[^\W_]\.(?:com|co|org|net|de|io|me|ai|cn|ru|uk)   # x.com, but not `W@x.shape`
    )
    (?!\w|-\w)
"""
_BEFORE_ADDRESS = _start(r"\w.+%\-")
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
        {_start("A-Za-z0-9")}{_PHONE_NAME}
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


# By name ------------------------------------------------------------------------------------------

RULES: Mapping[str, Callable[[str], str]] = {"secrets": secrets, "emails": emails, "phones": phones}
"""By the names that `MOA_REDACT` takes."""


def named(rule: str, name: str, value: str) -> str | None:
    """
    Return the mark for a value that is a credential or a number by the name that it has, else `None`.

    Args:
        rule: A name in `RULES`.
        name: Key of the value in a mapping.
        value: The whole value.
    """
    if rule == "secrets" and _NAME.fullmatch(name) and value.strip():
        return MARK
    if rule == "phones" and _IS_PHONE_NAME.fullmatch(name) and _IS_NUMBER.fullmatch(value):
        return None if _is_no_number(value.strip()) else PHONE
    return None
