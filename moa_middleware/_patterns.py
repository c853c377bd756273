"""
The rules for secrets: pure functions on text, which both wings use.

A rule errs on the side of the text: it takes what is a credential by its form, and leaves commit
hashes, ids, line numbers, dates and versions alone. Sources: the token formats that OpenAI,
Anthropic, GitHub, GitLab, Google, Hugging Face, Slack, Stripe and AWS document, RFC 6750 for bearer
tokens, RFC 7519 for JWTs.
"""

from __future__ import annotations

import re

__all__ = ["MARK", "secrets"]

MARK = "[secret]"

_TOKENS = re.compile(
    r"""
    \b(?:
        sk-[A-Za-z0-9_-]{16,}                    # OpenAI, Anthropic, OpenRouter and look-alikes
      | (?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,}    # Stripe
      | gh[pousr]_[A-Za-z0-9]{30,} | github_pat_[A-Za-z0-9_]{30,}
      | glpat-[A-Za-z0-9_-]{20,}
      | hf_[A-Za-z0-9]{30,}
      | xox[abeprs]-[A-Za-z0-9-]{10,}
      | AIza[A-Za-z0-9_-]{35}
      | gsk_[A-Za-z0-9]{30,} | xai-[A-Za-z0-9]{30,}
      | (?:AKIA|ASIA)[A-Z0-9]{16}
      | eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}
    )
    """,
    re.VERBOSE,
)
_NAMED = re.compile(
    r"""
    (?P<name>
        \b(?:proxy-)?authorization["']?\s*[:=]\s*["']?(?:bearer\s+|basic\s+)?
      | \bbearer\s+
      | \b(?:x-)?api[-_ ]?key(?:\s+provided)?["']?\s*[:=]\s*["']?
      | \b(?:access|refresh|auth|secret)[-_]?(?:token|key)["']?\s*[:=]\s*["']?
      | \b(?:password|passwd)["']?\s*[:=]\s*["']?
    )
    (?P<value>[^\s"',;&<>{}()\[\]]{6,})
    """,
    re.VERBOSE | re.IGNORECASE,
)
_IN_URL = re.compile(r"(?P<scheme>\b[a-z][a-z0-9+.-]*://)[^\s/@:]+:[^\s/@]+@", re.IGNORECASE)


def secrets(text: str) -> str:
    """Return a text with each credential in it replaced by `MARK`."""
    text = _TOKENS.sub(MARK, text)
    text = _NAMED.sub(lambda found: found["name"] + MARK, text)
    return _IN_URL.sub(lambda found: f"{found['scheme']}{MARK}@", text)
