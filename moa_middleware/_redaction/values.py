"""
What a value after a name must look like: no code, no type, no placeholder, and after a name that is unsure, a secret.

Each expression is matched at one place, over a bounded length.
"""

from __future__ import annotations

import re

__all__ = ["A_PATH", "A_PLACE", "LOOK", "MARKED", "NO_BARE_VALUE", "NO_QUOTED_VALUE", "is_placeholder", "looks_secret"]

# A value in code or in a schema is not a credential: a type, a call, a place where one is kept.
_WORDS = r"""
    annotated|any|assert|await|boolean|bytes|callable|cannot|classvar|continue|environ|expired|getenv|hidden
    |incorrect|import|integer|invalid|lambda|literal|manager|managers|missing|nullable|number|object|optional|please
    |print|raise|redacted|required|reset|return|secret|secretbytes|secretstr|should|str|string|strings|undefined|union
    |varchar|wrong|yield
"""
NO_BARE_VALUE = re.compile(
    rf"""
    [\[({{<]|-----BEGIN|(?:bearer|basic|digest|token)(?![\w.!@#$%^*-])
  | (?:os|process|self|cls|settings|config|args|env|environ|getpass|secrets|st|request|options)\.
  | (?:{_WORDS})(?![\w!@#$%^*-])
  | \$(?:\{{|\(|(?-i:[A-Z_][A-Z0-9_]{{0,100}}|[a-z_]{{1,100}})(?![\w!@#$%^*-]))
  | \$[a-z_]\w{{0,100}}(?:\[|->|::) | %\(|%s(?!\w)
  | [a-z_][\w.]{{0,100}}[(\[](?:[(\[\s]|\Z|[^\s"'`,;)\]}}]{{0,100}}["'`,)\]])    # a call, a place in a list
  | [a-z_][\w.]{{0,100}}[_.](?:password|passwd|key|token|secret|pwd|pass)(?![\w.!@#$%^*:/?+=-])
  | (?-i:[A-Za-z_][A-Za-z0-9_.]{{0,100}}?(?:Password|Key|Token|Secret))(?![\w.!@#$%^*:/?+=-])  # clientSecret
  | (?:password|passwd|api_?key|passphrase)(?![\w!@#$%^*-])
    """,
    re.VERBOSE | re.IGNORECASE,
)
NO_QUOTED_VALUE = re.compile(
    r"""
    \s*+
    (?:
        string|str|bytes|integer|number|boolean|true|false|optional|required|hidden|redacted|undefined
      | \$\{[^}]*\} | \$(?:[A-Z_][A-Z0-9_]*|[a-z_]+) | \$\([^)]*\) | <[^>]*> | \{[^}]*\} | %\(\w*\)s | %s | %[A-Z_]+%
      | \\{0,7}["']\s*[+.&].*                           # the code between two texts
    )?+
    \s*+
    """,
    re.VERBOSE,
)
_LETTERS_OF_BLANK = r"[a-z _.-]"
_PLACEHOLDER = re.compile(
    rf"""
    %\w{{1,60}}%\.? | \{{\{{[^{{}}]{{1,100}}\}}\}} | \$?\{{[^{{}}]{{1,100}}\}} | \$\([^()]{{1,100}}\)
  | (?-i:\$(?:[A-Z_][A-Z0-9_]*|[a-z_]+)) | \[[\w\ -]{{1,60}}\] | <[^<>]{{1,100}}> | \\{{1,8}}u2026
  | [\[<({{%$]{{0,3}}\s?
    (?:
        (?=[a-z _.-]{{1,60}}[\])}}>%]{{0,3}}\Z)(?:{_LETTERS_OF_BLANK}{{0,30}}[ _.-])?
            (?:your|insert|enter|replace|paste|fill)(?:[ _.-]{_LETTERS_OF_BLANK}*)?
      | (?=[a-z _.-]{{1,60}}[\])}}>%]{{0,3}}\Z)(?:my|the|some|an?|fake|dummy|example|sample|test|new|old|secret)[ _-]
            (?:{_LETTERS_OF_BLANK}{{0,20}}[ _-])?(?:api[ _-]?key|key|token|password|passwd|secret|credentials?|value)
      | change[ _-]?(?:me|it|this) | replace[ _-]?me | fix[ _-]?me | todo | tbd | none | null | nil | empty
      | placeholder | example | redacted | removed | masked | secret | dummy
      | \w{{0,12}}[-_.]?(?:[-_.]|\w{{2,8}}[-_])?(?:x{{3,}}|\*{{2,}}|\.{{3,}}|\u2026|\u2022{{2,}}|\#{{3,}}|0{{6,}}|-{{3,}})
    )
    \s?[\])}}>%]{{0,3}}\.?
    """,
    re.VERBOSE | re.IGNORECASE,
)
A_PLACE = re.compile(r"[~.]{0,2}/|[A-Za-z]:[\\/]|~(?!\w)")
A_PATH = re.compile(r"(?:[~.]{0,2}/|[A-Za-z]:[\\/])[\w.~-]{1,60}(?:[\\/][\w.~-]{1,60})*")
"""A path of words, and not what may be base64."""
_HARMLESS = re.compile(r"[~.]{0,2}/|\w{1,20}://|v?\d+(?:\.\d+)+(?![\w-])|\d{4}-\d\d-\d\d", re.IGNORECASE)
_DENSE = re.compile(r"[A-Za-z0-9._~+/=%!#$&*^@:?-]{8,}+")
MARKED = re.compile(r"[0-9!@#$%^&*+]")
_DIGIT = re.compile("[0-9]")
_TWO_DIGITS = re.compile("[0-9][^0-9]*+[0-9]")
_CHANGE = re.compile(r"(?<=[a-z])[A-Z]|(?<=[A-Z])[a-z]")
LOOK = 128
"""Characters of a value that say whether it is a secret."""
_SHORTEST_OF_LETTERS = 12


def is_placeholder(value: str) -> bool:
    """Return True if a value keeps a place for one, such as `YOUR_API_KEY`, `changeme`, `sk-...` or `********`."""
    return len(value) <= LOOK and _PLACEHOLDER.fullmatch(value.strip()) is not None


def looks_secret(value: str, digits: int, *, any_case: bool = False) -> bool:
    """
    Return True if a value has digits among its letters, or letters in a case that no name has.

    Args:
        value: The value, or its begin.
        digits: How many digits are enough: 1 or 2.
        any_case: Capitals and small letters are enough.
    """
    if _DENSE.fullmatch(value) is None or _HARMLESS.match(value):
        return False
    lower, upper = value != value.upper(), value != value.lower()
    if (lower or upper) and (_TWO_DIGITS if digits > 1 else _DIGIT).search(value):
        return True
    if any_case and lower and upper:
        return True
    if not (lower and upper and len(value) >= _SHORTEST_OF_LETTERS):
        return False
    return len(_CHANGE.findall(value)) * 5 >= len(value) * 2
