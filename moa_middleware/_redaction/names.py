"""
Credentials by the name before them: in JSON, in variables, in headers, in queries, in flags and in prose.

A *sure* name (`password`, `api_key`) takes any value that is no code; the value after an *unsure* one
(`token`, `secret`) has to look like a secret. What is taken is taken whole: in quotes up to the closing
one, without them up to a blank or to what closes. Whatever may be refused is looked at over a bounded
length, so that time grows with the text and no faster.

Sources: RFC 9110 for `Authorization`, RFC 7616 for its fields, RFC 6265 for cookies, RFC 8259 for
escapes, and Microsoft's pages on connection strings (`AccountKey`) and shared access signatures (`sig`).
"""

from __future__ import annotations

import re

from .marks import MARK

__all__ = ["by_name", "is_secret_under"]

_OF_KEYS = [
    "access",
    "account",
    "auth",
    "bot",
    "client",
    "encryption",
    "private",
    "refresh",
    "secret",
    "session",
    "signing",
    "subscription",
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
_UNSURE = ["token", "secret", "pwd", "pass", "cookie", "signature", "sig"]
_NAMED = re.compile(
    rf"""
    (?P<word>{"|".join(_SURE + _UNSURE)})
    (?:
        (?P<shut>(?:\*\*|__)?(?:\\{{0,7}}["'`]\]?)?(?:\*\*|__)?)
        [\ \t]{{0,20}}(?P<sign>:=|=>|={{1,3}}|:)(?:\*\*|__)?(?P<gap>\s{{0,20}})
      | (?P<flag>[\ \t]{{1,5}}|\\{{0,7}}["'],[\ \t]{{0,5}})
    )
    """,
    re.VERBOSE,
)
_IS_NAME = re.compile(
    rf"(?:.*[^a-z0-9])?(?:{'|'.join([*_SURE, 'pwd', 'secret'])})|.*passw(?:or)?d", re.VERBOSE | re.DOTALL
)
_IS_UNSURE_NAME = re.compile(r"(?:.*[^a-z0-9])?(?:token|pass|cookie)", re.DOTALL)
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_IN_QUERY = re.compile(r"[?&](?:amp;)?[\w.%-]*+\Z")
_FLAG = re.compile(r"(?<![\w-])--[A-Za-z0-9-]*+\Z")
_SCHEME = re.compile(r"(?:apikey|basic|bearer|negotiate|token)\s{1,20}", re.IGNORECASE)
_FIELD = r"""[\w-]{1,50}=(?:\\{0,7}"[^"\n\\]*+\\{0,7}"|[^\s,"'\\]*+)"""
_FIELDS = re.compile(
    rf"(?:aws4-hmac-sha256|digest|hawk|oauth)\s{{1,20}}{_FIELD}(?:,\s{{0,5}}{_FIELD})*+", re.IGNORECASE
)
_PAIR = r"""[!#$%&'*+.^_|~0-9A-Za-z-]{1,100}=[^\s;,"'\\]*+"""
_PAIRS = re.compile(rf"{_PAIR}(?:;\ ?(?:{_PAIR}|[A-Za-z]{{1,20}}(?![\w=])))*+")
# A value without quotes ends at a blank, a quote, a comma, a semicolon, a closing bracket or a tag.
_ENDS = r"""\s"'`,;)\]}>&<\\\u201d\u2019"""
_TAG_OR_ESCAPE = r"""<(?!/|br)|\\(?![nrt"'`])"""
_BARE = re.compile(rf"[^{_ENDS}]*+(?:(?:&|{_TAG_OR_ESCAPE})[^{_ENDS}]*+)*+")
_BARE_IN_FORM = re.compile(rf"[^{_ENDS}]*+(?:(?:&(?!amp;|[\w.\[\]%-]{{1,64}}=)|{_TAG_OR_ESCAPE})[^{_ENDS}]*+)*+")
_BARE_IN_QUERY = re.compile(rf"[^{_ENDS}]*+(?:(?:{_TAG_OR_ESCAPE})[^{_ENDS}]*+)*+")
_OPENING = re.compile(r"""(?:[bru]{1,2}(?=["']))?(?P<slashes>\\{0,7})(?P<quote>["'`\u201c\u2018])""", re.IGNORECASE)
_CLOSING = {
    opening: re.compile(rf"(?<!\\)(\\*+){end}|\n")
    for opening, end in zip("\"'`\u201c\u2018", "\"'`\u201d\u2019", strict=True)
}
_AFTER_CLOSING = re.compile(r"[+,;)\]}%.\s]|\Z")
_LONGEST = 10_000
"""Characters of a value in quotes."""
# A value in code or in a schema is no credential: a type, a call, a place where one is kept.
_WORDS = r"""
    annotated|any|assert|await|boolean|bytes|callable|cannot|classvar|continue|environ|expired|getenv|hidden
    |incorrect|import|integer|invalid|lambda|literal|manager|managers|missing|nullable|number|object|optional|please
    |print|raise|redacted|required|reset|return|secret|secretbytes|secretstr|should|str|string|strings|undefined|union
    |varchar|wrong|yield
"""
_NO_BARE_VALUE = re.compile(
    rf"""
    [\[({{<]|-----BEGIN|(?:bearer|basic|digest|token)(?![\w.!@#$%^*-])
  | (?:os|process|self|cls|settings|config|args|env|environ|getpass|secrets|st|request|options)\.
  | (?:{_WORDS})(?![\w!@#$%^*-])
  | \$(?:\{{|\(|(?-i:[A-Z_][A-Z0-9_]{{0,100}}|[a-z_]{{1,100}})(?![\w!@#$%^*-]))
  | \$[a-z_]\w{{0,100}}(?:\[|->|::) | %\(|%s(?!\w)
  | [a-z_][\w.]{{0,100}}[(\[](?:[(\[\s]|\Z|[^\s"'`,;)\]}}]{{0,100}}["'`,)\]])    # a call, a place in a list
  | [a-z_][\w.]{{0,100}}[_.](?:password|passwd|key|token|secret|pwd|pass)(?![\w.!@#$%^*:/?+=-])
  | (?:password|passwd|api_?key|passphrase)(?![\w!@#$%^*-])
    """,
    re.VERBOSE | re.IGNORECASE,
)
_NO_QUOTED_VALUE = re.compile(
    r"""
    \s*+
    (?:
        str|string|bytes|optional|required|hidden|redacted|undefined
      | \$\{[^}]*\} | \$(?:[A-Z_][A-Z0-9_]*|[a-z_]+) | \$\([^)]*\) | <[^>]*> | \{[^}]*\} | %\(\w*\)s | %s | %[A-Z_]+%
      | \*+ | \.{3} | \u2026
      | \\{0,7}["']\s*[+.&].*                           # the code between two texts
    )?+
    \s*+
    """,
    re.VERBOSE,
)
_A_PLACE = re.compile(r"[~.]{0,2}/|[A-Za-z]:[\\/]|~(?!\w)")
_HARMLESS = re.compile(r"[~.]{0,2}/|\w{1,20}://|v?\d+(?:\.\d+)+(?![\w-])|\d{4}-\d\d-\d\d", re.IGNORECASE)
_DENSE = re.compile(r"[A-Za-z0-9._~+/=%!#$&*^@:?-]{8,}+")
_MARKED = re.compile(r"[0-9!@#$%^&*+]")
_CHANGE = re.compile(r"(?<=[a-z])[A-Z]|(?<=[A-Z])[a-z]")
_LOOK = 128
"""Characters of a value that tell whether it is a secret."""
_LINE = 500
"""Characters of a line in which quotes are counted."""
_SHORTEST, _SHORTEST_OF_LETTERS, _SHORTEST_SURE = 8, 12, 6


def _looks_secret(value: str, digits: int, *, any_case: bool = False) -> bool:
    """Whether a value has digits among its letters, or letters in a case that no name has."""
    if _DENSE.fullmatch(value) is None or _HARMLESS.match(value):
        return False
    lower, upper = any(map(str.islower, value)), any(map(str.isupper, value))
    if (lower or upper) and sum(map(str.isdigit, value)) >= digits:
        return True
    if any_case and lower and upper:
        return True
    return len(value) >= _SHORTEST_OF_LETTERS and len(_CHANGE.findall(value)) * 5 >= len(value) * 2


def _begins_name(text: str, start: int, word: str) -> bool:
    before = text[start - 1 : start]
    if not (before.isascii() and before.isalnum()) or word.startswith("passw"):
        return True
    escaped = before in "nrtbf" and text[start - 2 : start - 1] == "\\"
    return escaped or (before.islower() and text[start].isupper())


def _closes(text: str, opening: re.Match[str]) -> bool:
    """Whether a quote that stands after a name ends a text in code, as in `"password=" + password`."""
    if _AFTER_CLOSING.match(text, opening.end()) is None:
        return False
    start = max(0, opening.start() - _LINE)
    line = text[start : opening.start()].rpartition("\n")[2].replace('"""', "")
    same = re.escape(opening["slashes"] + opening["quote"])
    return len(re.findall(rf"(?<!\\){same}(?<![A-Za-z]'(?=[a-z]))", line)) % 2 == 1


def _closing(text: str, opening: re.Match[str]) -> int | None:
    r"""
    Return where a value in quotes ends: in its line, else at the end of the text; `None` if it does not.

    In JSON that is quoted as text the quotes are `\"`, and one inside the value is `\\\"`.
    """
    slashes = len(opening["slashes"])
    last = opening.end() + _LONGEST
    for found in _CLOSING[opening["quote"]].finditer(text, opening.end(), last):
        if found[1] is None:
            return None
        run = len(found[1])
        if run < slashes:
            return found.start()
        if run % (2 * (slashes + 1)) == slashes:
            return found.end() - 1 - slashes
    return len(text) if opening["quote"] == '"' and len(text) <= last else None


class _Named:
    """A name and the sign after it; what is known of the name tells what its value must look like."""

    def __init__(self, text: str, found: re.Match[str]) -> None:
        self.text = text
        self.word = word = found["word"]
        self.start, self.at = found.span("word")[0], found.end()
        self.written = text[self.start : found.end("word")]
        self.sign, self.flag = found["sign"] or "", found["flag"] is not None
        self.shut, self.gap = found["shut"] or "", found["gap"] or ""
        self.tight = self.sign == "=" and not self.gap
        self.in_query = self.tight and _IN_QUERY.search(text[max(0, self.start - 60) : self.start]) is not None
        constant = self.written.isupper() and text[self.start - 1 : self.start] == "_"
        self.sure = word not in _UNSURE or (word == "pass" and constant)
        self.sure_in_quotes = self.sure or word in ("secret", "pwd")

    def value(self) -> tuple[int, int] | None:
        """Return where its value stands, `None` if it has none that is a secret."""
        text, word = self.text, self.word
        if not _begins_name(text, self.start, word):
            return None
        if self.flag and not _FLAG.search(text[max(0, self.start - 40) : self.start]):
            return None
        if word in ("sig", "signature") and not self.in_query:
            return None
        opening = _OPENING.match(text, self.at)
        if opening is None:
            return self.bare(self.at)
        if '"' not in self.shut and "'" not in self.shut and "`" not in self.shut and _closes(text, opening):
            return None
        end = _closing(text, opening)
        return self.bare(opening.end()) if end is None else self.quoted(opening.end(), end)

    def quoted(self, start: int, end: int) -> tuple[int, int] | None:
        if self.word == "authorization" and (scheme := _SCHEME.match(self.text, start, end)):
            start = scheme.end()
        value = self.text[start:end]
        if self.word == "cookie":
            taken = _PAIRS.match(value) is not None and len(value) >= _SHORTEST
        elif self.sure_in_quotes:
            place = self.word == "pwd" and _A_PLACE.match(value)
            taken = not place and _NO_QUOTED_VALUE.fullmatch(value) is None
        else:
            taken = _looks_secret(value, 1, any_case=self.written.isupper())
        return (start, end) if taken else None

    def bare(self, start: int) -> tuple[int, int] | None:
        text = self.text
        if self.word == "cookie":
            pairs = _PAIRS.match(text, start) if self.sign == ":" else None
            return pairs.span() if pairs and len(pairs[0]) >= _SHORTEST else None
        if "]" in self.shut:  # `headers["authorization"] = name`
            return None
        if self.word == "authorization":
            if fields := _FIELDS.match(text, start):
                return fields.span()
            if scheme := _SCHEME.match(text, start):
                start = scheme.end()
        if _NO_BARE_VALUE.match(text, start) or self.sign.startswith("=="):
            return None
        form = _BARE_IN_QUERY if self.in_query else _BARE_IN_FORM if self.sign == "=" else _BARE
        look = form.match(text, start, start + _LOOK)
        if look is None or not self.is_secret(look[0]):
            return None
        whole = form.match(text, start)
        return whole.span() if whole else None

    def is_secret(self, value: str) -> bool:
        if self.flag and self.sure:
            return len(value) >= _SHORTEST_SURE and value[0] != "-" and _MARKED.search(value) is not None
        if self.word == "pwd" and self.tight:
            return len(value) >= _SHORTEST_SURE and _A_PLACE.match(value) is None
        if self.sure and "\n" not in self.gap:
            return len(value) >= _SHORTEST_SURE
        any_case = self.in_query or (self.tight and self.written.isupper())
        return _looks_secret(value, 1 if self.tight or self.flag else 2, any_case=any_case)


def by_name(text: str) -> str:
    """Return a text without the values of such names."""
    low = text.lower()
    if len(low) != len(text):
        low = text.replace("\u0130", "i").lower()  # the one letter that becomes two
    pieces: list[str] = []
    done = at = 0
    while (found := _NAMED.search(low, at)) is not None:
        span = _Named(text, found).value()
        if span is None:
            at = found.start() + 1
        else:
            pieces += (text[done : span[0]], MARK)
            done = at = span[1]
    return "".join([*pieces, text[done:]]) if pieces else text


def is_secret_under(name: str, value: str) -> bool:
    """Whether the whole value of a key is a secret by its name."""
    words = _HUMP.sub("_", name).lower()
    if not value.strip():
        return False
    if _IS_NAME.fullmatch(words):
        return not (words.endswith("pwd") and _A_PLACE.match(value))
    if not _IS_UNSURE_NAME.fullmatch(words):
        return False
    if words.endswith("cookie"):
        return _PAIRS.match(value) is not None
    return _looks_secret(value, 1)
