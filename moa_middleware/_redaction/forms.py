"""
Credentials by their form: keys with a head of their own, JWTs, private keys, and what stands in URLs and headers.

Sources: the token formats that OpenAI, Anthropic, GitHub, GitLab, Google, Hugging Face, Slack, Stripe
and AWS document, and those named beside the rules; RFC 6750 for bearer tokens, RFC 7519 for JWTs,
RFC 7468 for private keys, RFC 3986 and RFC 7617 for `user:password`.
"""

from __future__ import annotations

import re

from .marks import MARK, word_start

__all__ = ["in_addresses", "with_forms"]

_TOKENS = re.compile(
    rf"""
    {word_start("A-Za-z0-9_")}
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
      | npm_[A-Za-z0-9]{{30,}}                              # 36; GitHub's blog of 2021-09-23, npm's new token format
      | SG\.[A-Za-z0-9_-]{{16,}}\.[A-Za-z0-9_-]{{16,}}      # 22 and 43; gitleaks, `sendgrid-api-token`
      | pypi-AgE[A-Za-z0-9_-]{{20,}}                        # a macaroon; gitleaks, `pypi-upload-token`
      | do[opr]_v1_[a-f0-9]{{40,}}                          # 64; DigitalOcean's release note of 2022-03-29
      | ya29\.(?:[a-z]\.)?[A-Za-z0-9_-]{{20,}}              # Google's OAuth; trufflehog, `googleoauth2`
      | r8_[A-Za-z0-9]{{30,}}                               # 37; Replicate; trufflehog, `replicate`
      | pplx-[A-Za-z0-9]{{30,}}                             # 48; gitleaks, `perplexity-api-key`
      | tvly-[A-Za-z0-9_-]{{20,}}                           # docs.tavily.com, "Authentication"
    )
    """,
    re.VERBOSE,
)
_TOKEN_HEADS = (
    *("sk-", "sk_", "rk_", "pk_", "whsec_", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-"),
    *("hf_", "xox", "AIza", "gsk_", "xai-", "AKIA", "ASIA", "npm_", "SG.", "pypi-AgE", "_v1_", "ya29.", "r8_"),
    *("pplx-", "tvly-"),
)
# docs.slack.dev, "Incoming webhooks": who has the address may post; GitGuardian on its like for triggers.
_WEBHOOK = re.compile(r"(?P<name>hooks\.slack\.com/(?:services|workflows|triggers)/)[A-Za-z0-9_]{6,}[A-Za-z0-9_/-]*")
_JWT = re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}")
_PRIVATE_KEY = re.compile(r"(?P<head>-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----)(?:(?!-----(?:BEGIN|END)).)+", re.DOTALL)
_STRONG = re.compile(r"[A-Za-z0-9]{12}")
"""What a key has and a name made of words has not: a long run, and a digit somewhere."""
_BEARER = re.compile(
    r"(?P<name>\bbearer\s{1,20})(?P<value>(?=[^\s]{0,200}?[0-9])[A-Za-z0-9._~+/-]{6,}=*)", re.IGNORECASE
)
_HAS_BEARER = re.compile("[Bb][Ee][Aa][Rr][Ee][Rr]")
# The scheme is bounded, or `a.a.a.a` would be read anew from each of its letters. A password may hold an `@`.
_IN_URL = re.compile(r"(?P<name>\b[a-z][a-z0-9+.-]{0,30}://)[^\s/@:\"']{0,200}:[^\s/\"']{1,2000}@", re.IGNORECASE)
_USER = re.compile(
    r"""
    (?P<name>(?<=\s)(?:-[A-Za-z]{0,8}u|--(?:proxy-)?user)[ =]{0,2})
    (?:(?P<quote>["'])[^\s:"'$]{0,100}:[^"'\n]{1,400}(?P=quote) | [^\s:"'$]{0,100}:[^\s"'$][^\s"']{0,400})
    """,
    re.VERBOSE,
)
_COMMAND = 400
"""Characters before `-u` in which its `curl` stands."""


def _key_or_words(found: re.Match[str]) -> str:
    whole = found[0]
    if found["sk"] and not (_STRONG.search(whole) and any(letter.isdigit() for letter in whole)):
        return whole
    return MARK


def _user(found: re.Match[str]) -> str:
    if "curl" not in found.string[max(0, found.start() - _COMMAND) : found.start()]:
        return found[0]
    quote = found["quote"] or ""
    return f"{found['name']}{quote}{MARK}{quote}"


def _after_name(found: re.Match[str]) -> str:
    return found["name"] + MARK


def in_addresses(text: str) -> str:
    """Return a text without private keys and passwords in URLs: what a name before them would cut in two."""
    if "PRIVATE KEY-----" in text:
        text = _PRIVATE_KEY.sub(rf"\g<head>{MARK}", text)
    if "://" in text and "@" in text:
        text = _IN_URL.sub(lambda found: f"{found['name']}{MARK}@", text)
    return text


def with_forms(text: str) -> str:
    """Return a text without the keys and tokens that their form tells."""
    if any(head in text for head in _TOKEN_HEADS):
        text = _TOKENS.sub(_key_or_words, text)
    if "eyJ" in text:
        text = _JWT.sub(MARK, text)
    if _HAS_BEARER.search(text):
        text = _BEARER.sub(_after_name, text)
    if "hooks.slack.com" in text:
        text = _WEBHOOK.sub(_after_name, text)
    if "curl" in text:
        text = _USER.sub(_user, text)
    return text
