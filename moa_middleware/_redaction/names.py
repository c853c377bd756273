"""
Credentials by the name before them: in JSON, in variables, headers, queries, flags, tags, tables and prose.

A *sure* name (`password`, `api_key`) takes any value that is no code; the value after an *unsure* one
(`token`, `secret`) has to look like a secret. What is taken is taken whole: in quotes up to the closing
one, without them up to a blank or to what closes. Whatever may be refused is looked at over a bounded
length, so that time grows with the text and no faster; `steps` bounds how many names are looked at.

Sources: RFC 9110 for `Authorization`, RFC 7616 for its fields, RFC 6265 for cookies, RFC 8259 for
escapes, and Microsoft's pages on connection strings (`AccountKey`) and shared access signatures (`sig`).
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from .marks import MARK
from .quotes import OPENING, Quotes, is_end_of_code
from .values import A_PATH, A_PLACE, LOOK, MARKED, NO_BARE_VALUE, NO_QUOTED_VALUE, is_placeholder, looks_secret

if TYPE_CHECKING:
    from .steps import Steps

__all__ = ["by_name", "is_secret_under"]

_OF_KEYS = [
    *("access", "account", "admin", "auth", "bot", "client", "deploy", "encryption", "master", "private", "refresh"),
    *("secret", "service", "session", "signing", "ssh", "subscription"),
]
_OF_TOKENS = ["api", "app", "consumer", "jwt", "oauth", "webhook"]
# Flat, and each with a letter first, so that the engine skips what begins no name.
_SURE = [
    "authorization",
    r"api[-_\ ]?key(?:\s{1,5}provided)?",
    r"shared[-_]?access[-_]?key",
    *(rf"{word}[-_]?(?:access[-_]?)?(?:token|key|secret)" for word in _OF_KEYS),
    *(rf"{word}[-_]?(?:token|secret)" for word in _OF_TOKENS),
    *("password", "passwd", "passphrase"),
]
_UNSURE = ["token", "secret", "pwd", "pass", "cookie", "signature", "sig", "credentials", "credential"]
_PARTS = ("pass", "token", "secret", "key", "auth", "cookie", "pwd", "sig", "credential")
"""One of these is in each name."""
_UNSEEN = r"\u200b-\u200d\u2060\ufeff\u00ad"
"""Letters of no width, which some editors and models put into texts."""
_NAMED = re.compile(
    rf"""
    (?P<word>{"|".join(_SURE + _UNSURE)})
    (?:
        (?P<attribute>\\{{0,7}}["']\s{{1,5}}value=)                          # <add key="password" value="…">
      | (?P<shut>(?:\*\*|__)?(?:\\{{0,7}}["'`]\]?)?(?:\*\*|__)?)
        [\ \t{_UNSEEN}]{{0,20}}
        (?P<sign>:=|=>|={{1,3}}|[:\uff1a\uff1d]|->|[\u2192|>])(?:\*\*|__)?(?P<gap>[\s{_UNSEEN}]{{0,20}})
      | [\ \t]{{1,5}}(?P<verb>is|are|was)\b[\ \t]{{0,3}}:?[\ \t]{{0,5}}
      | (?P<flag>[\ \t]{{1,5}}|\\{{0,7}}["'],[\ \t]{{0,5}})
    )
    """,
    re.VERBOSE,
)
_IS_NAME = re.compile(
    rf"(?:.*[^a-z0-9])?(?:{'|'.join([*_SURE, 'pwd', 'secret'])})|.*passw(?:or)?d", re.VERBOSE | re.DOTALL
)
_IS_UNSURE_NAME = re.compile(r"(?:.*[^a-z0-9])?(?:token|pass|cookie|credentials?)", re.DOTALL)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_IN_QUERY = re.compile(r"[?&](?:amp;)?[\w.%-]*+\Z")
_FLAG = re.compile(r"(?<![\w-])--[A-Za-z0-9_-]*+\Z")
_ENV = re.compile(r"(?:ENV|ARG|setenv|SetEnv)[ \t]{1,5}[A-Za-z0-9_]*+\Z")
_IN_TAG = re.compile(r"<[\w.:-]*+\Z")
_IN_CELL = re.compile(r"\|[ \t]*+(?:\*\*|__)?[`\"']?[\w.-]*+\Z")
_END_OF_CELL = re.compile(r"[ \t]*+(?:\*\*|__)?[ \t]*+(?:\||\Z|\r?\n)")
_LONE = ("|", "->", "\u2192")
_BEFORE = 60
"""Characters before a name that say where it is."""
_IN_PROSE = re.compile(r"[0-9!@#$%^&*+]|[a-z][A-Z]")
"""What a value in quotes has after `the password is`, and words that say what is wrong with one have not."""
_QUOTE = re.compile("[\"'`]")
_SCHEME = re.compile(r"(?:apikey|basic|bearer|negotiate|token)\s{1,20}", re.IGNORECASE)
_FIELD = r"""[\w-]{1,50}=(?:\\{0,7}"[^"\n\\]*+\\{0,7}"|[^\s,"'\\]*+)"""
_FIELDS = re.compile(
    rf"(?:aws4-hmac-sha256|digest|hawk|oauth)\s{{1,20}}{_FIELD}(?:,\s{{0,5}}{_FIELD})*+", re.IGNORECASE
)
# A value may be in double quotes (RFC 6265, 4.1.1), also where these are escaped. What begins with `+` is code between
# two texts: `"Cookie: a=" + value`.
_PAIR = r"""[!#$%&'*+.^_|~0-9A-Za-z-]{1,100}=(?:\\{0,7}"(?!\+)[^\s";,\\]{4,}+\\{0,7}"|[^\s;,"'\\]*+)"""
_PAIRS = re.compile(rf"{_PAIR}(?:;\ ?(?:{_PAIR}|[A-Za-z]{{1,20}}(?![\w=])))*+")
# A value without quotes ends at a blank, a quote, a comma, a semicolon, a closing bracket or a tag.
_ENDS = r"""\s"'`,;)\]}>&<\\\u201d\u2019"""
_TAG_OR_ESCAPE = r"""<(?!/|br)|\\(?![nrt"'`])"""
_BARE = re.compile(rf"[^{_ENDS}]*+(?:(?:&|{_TAG_OR_ESCAPE})[^{_ENDS}]*+)*+")
_BARE_IN_FORM = re.compile(rf"[^{_ENDS}]*+(?:(?:&(?!amp;|[\w.\[\]%-]{{1,64}}=)|{_TAG_OR_ESCAPE})[^{_ENDS}]*+)*+")
_BARE_IN_QUERY = re.compile(rf"[^{_ENDS}]*+(?:(?:{_TAG_OR_ESCAPE})[^{_ENDS}]*+)*+")
# A star may be in a value; at its end it closes what is bold.
_BARE_IN_CELL = re.compile(rf"(?:\*\*|__)?((?:[^{_ENDS}|*]|\*(?![*\s|]))*+)")
_IN_ELEMENT = re.compile(r"[^<>\n]{1,2000}+(?=</|\Z)")
_SHORTEST, _SHORTEST_SURE = 8, 6


def _begins_name(text: str, start: int, word: str) -> bool:
    before = text[start - 1 : start]
    if not (before.isascii() and before.isalnum()) or word.startswith("passw"):
        return True
    escaped = before in "nrtbf" and text[start - 2 : start - 1] == "\\"
    return escaped or (before.islower() and text[start].isupper())


class _Named:
    """A name and the sign after it; what is known of the name says what its value must look like."""

    __slots__ = (
        "at",
        "flag",
        "gap",
        "in_query",
        "lone",
        "quotes",
        "shut",
        "sign",
        "start",
        "sure",
        "text",
        "word",
        "written",
    )

    def __init__(self, text: str, quotes: Quotes, found: re.Match[str]) -> None:
        self.text = text
        self.quotes = quotes
        self.word, attribute, self.shut, sign, self.gap, verb, self.flag = found.groups()
        self.start, self.at = found.start(), found.end()
        # `value=` and a verb are signs too.
        self.sign = sign or ("value=" if attribute else "is" if verb else "")
        self.written = text[self.start : self.start + len(self.word)]
        # A name alone with a value behind it: the value has to look like one.
        self.lone = sign is None or sign in _LONE
        constant = self.word == "pass" and text[self.start - 1 : self.start] == "_" and self.written.isupper()
        self.sure = self.word not in _UNSURE or constant
        self.in_query = sign == "=" and not self.gap and _IN_QUERY.search(self.before()) is not None

    @property
    def tight(self) -> bool:
        """True if the value is right after `=`."""
        return self.sign == "=" and not self.gap

    def before(self) -> str:
        """Return some of what is before the name."""
        return self.text[max(0, self.start - _BEFORE) : self.start]

    def value(self) -> tuple[int, int] | None:
        """Return where its value is, `None` if it has none that is a secret."""
        text, word = self.text, self.word
        if not _begins_name(text, self.start, word) or not self.is_place():
            return None
        if word in ("sig", "signature") and not self.in_query:
            return None
        if self.sign == ">":
            return self.element()
        opening = OPENING.match(text, self.at)
        if opening is None:
            return None if self.sign == "value=" else self.bare(self.at)
        if not (self.sign == "value=" or _QUOTE.search(self.shut or "")) and is_end_of_code(text, opening):
            return None
        end = self.quotes.closing(opening)
        return self.bare(opening.end()) if end is None else self.quoted(opening.end(), end)

    def is_place(self) -> bool:
        """Return True if what is before the name allows the sign behind it."""
        if self.flag is not None:
            before = self.before()
            return _FLAG.search(before) is not None or (self.word != "pass" and _ENV.search(before) is not None)
        if self.sign == ">":
            return _IN_TAG.search(self.before()) is not None
        return self.sign != "|" or _IN_CELL.search(self.before()) is not None

    def element(self) -> tuple[int, int] | None:
        """Return where the text of an element is that has this name, as in `<password>…</password>`."""
        found = _IN_ELEMENT.match(self.text, self.at)
        if found is None or (found.end() == len(self.text) and not self.quotes.is_cut):
            return None
        return self.quoted(*found.span())

    def quoted(self, start: int, end: int) -> tuple[int, int] | None:
        if self.word == "authorization" and (scheme := _SCHEME.match(self.text, start, end)):
            start = scheme.end()
        value = self.text[start:end]
        if self.sign == "is" and not _IN_PROSE.search(value):
            return None
        if self.word == "cookie":
            taken = _PAIRS.match(value) is not None and len(value) >= _SHORTEST
        elif self.sure or self.word in ("secret", "pwd"):
            place = (self.word == "pwd" and A_PLACE.match(value)) or self.is_path(value)
            taken = not place and NO_QUOTED_VALUE.fullmatch(value) is None
        else:
            taken = looks_secret(value, 1, any_case=self.written.isupper())
        return (start, end) if taken and not is_placeholder(value) else None

    def bare(self, start: int) -> tuple[int, int] | None:
        text = self.text
        if self.word == "cookie":
            pairs = _PAIRS.match(text, start) if self.sign == ":" else None
            return pairs.span() if pairs and len(pairs[0]) >= _SHORTEST else None
        if self.shut and "]" in self.shut:  # `headers["authorization"] = name`
            return None
        if self.word == "authorization":
            if fields := _FIELDS.match(text, start):
                return fields.span()
            if scheme := _SCHEME.match(text, start):
                start = scheme.end()
        if NO_BARE_VALUE.match(text, start) or self.sign.startswith("=="):
            return None
        if self.sign == "|":
            return self.cell(start)
        form = _BARE_IN_QUERY if self.in_query else _BARE_IN_FORM if self.sign == "=" else _BARE
        look = form.match(text, start, start + LOOK)
        if look is None or not self.is_secret(look[0]) or is_placeholder(look[0]):
            return None
        if text.endswith(look[0], 0, self.start + len(self.written)):  # `authkey=authkey`
            return None
        whole = form.match(text, start)
        assert whole is not None  # noqa: S101 - it matched a part
        end = whole.end()
        return start, end - (self.sign == "is" and text[end - 1] == ".")

    def cell(self, start: int) -> tuple[int, int] | None:
        """Return where the value is in the next cell of a table, if it is the only word there."""
        look = _BARE_IN_CELL.match(self.text, start, start + LOOK)
        assert look is not None  # noqa: S101 - it may be empty
        if not _END_OF_CELL.match(self.text, look.end()) or not self.is_secret(look[1]) or is_placeholder(look[1]):
            return None
        return look.span(1)

    def is_path(self, value: str) -> bool:
        """Return True if a key is named by the file that it is in."""
        return self.word.startswith(("ssh", "deploy", "private", "signing")) and A_PATH.fullmatch(value) is not None

    def is_secret(self, value: str) -> bool:
        if self.lone and self.sure:
            return len(value) >= _SHORTEST_SURE and value[0] != "-" and MARKED.search(value) is not None
        if self.word == "pwd" and self.tight:
            return len(value) >= _SHORTEST_SURE and A_PLACE.match(value) is None
        if self.sure and "\n" not in (self.gap or ""):
            return len(value) >= _SHORTEST_SURE and not self.is_path(value)
        any_case = self.in_query or (self.tight and self.written.isupper())
        return looks_secret(value, 1 if self.tight or self.lone else 2, any_case=any_case)


def by_name(text: str, steps: Steps | None = None, *, is_cut: bool = False) -> str:
    """
    Return a text without the values of such names.

    Args:
        text: The text.
        steps: Counts the names; `None` looks at all of them.
        is_cut: More followed, so that a value in quotes may have its end there.

    Raises:
        TooManyStepsError: It has more names than `steps` allows.
    """
    low = text.lower()
    if len(low) != len(text):
        low = text.replace("\u0130", "i").lower()  # the one letter that becomes two
    if not any(part in low for part in _PARTS):
        return text
    quotes = Quotes(text, is_cut=is_cut)
    pieces: list[str] = []
    done = at = 0
    while (found := _NAMED.search(low, at)) is not None:
        if steps is not None:
            steps.take()
        span = _Named(text, quotes, found).value()
        if span is None:
            at = found.start() + 1
        else:
            pieces += (text[done : span[0]], MARK)
            done = at = span[1]
    return "".join([*pieces, text[done:]]) if pieces else text


@lru_cache(maxsize=256)
def _kind_of_name(name: str) -> str:
    """Return `sure`, `pwd`, `cookie` or `unsure` for the name of a secret, else an empty text."""
    low = name.lower()
    if not any(part in low for part in _PARTS):
        return ""
    words = _HUMP.sub("_", name).lower()
    if _IS_NAME.fullmatch(words):
        return "pwd" if words.endswith("pwd") else "sure"
    if not _IS_UNSURE_NAME.fullmatch(words):
        return ""
    return "cookie" if words.endswith("cookie") else "unsure"


def is_secret_under(name: str, value: str) -> bool:
    """Return True if the whole value of a key is a secret by its name."""
    kind = _kind_of_name(name)
    if not kind or not value.strip() or is_placeholder(value):
        return False
    if kind == "cookie":
        return _PAIRS.match(value) is not None
    if kind == "unsure":
        return looks_secret(value, 1)
    return not (kind == "pwd" and A_PLACE.match(value))
