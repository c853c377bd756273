"""The rules for secrets and personal data: what they take, and above all what they leave."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

import moa_middleware as moa
from moa_middleware._patterns import EMAIL, MARK, PHONE, RULES, emails, named, phones, secrets

TAKEN = {
    "openai": "Incorrect API key provided: sk-proj-abcDEF1234567890abcd.",
    "anthropic": "key sk-ant-api03-AAAABBBBCCCCDDDDEEEE-_ was refused",
    "github": "token ghp_" + "a1B2" * 9,
    "gitlab": "glpat-abcdefghij0123456789",
    "hugging face": "hf_" + "aB3" * 12,
    "slack": "xoxb-123456789012-abcdefABCDEF",
    "google": "AIza" + "Sy0" * 11 + "ab",
    "aws": "AKIAIOSFODNN7EXAMPLE",
    "jwt": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlMTIz",
    "bearer": "Authorization: Bearer abcdef123456",
    "header": "{'x-api-key': 'abcdef123456'}",
    "query": "https://host/v1?api_key=abcdef123456&x=1",
    "password": "password=hunter22",
    "url": "https://user:hunter22@host/path",
    "variable": "OPENAI_API_KEY=abcdef123456",
    "aws pair": "aws_secret_access_key = abcdef123456/K7MDENG+x",
    "quoted json": r"{\"password\": \"hunter22\"}",
    "after an escape": r"keys:\nsk-proj-abcDEF1234567890abcd",
    "private key": "-----BEGIN RSA PRIVATE KEY-----\nhunter22\n-----END RSA PRIVATE KEY-----",
    "basic": "Authorization: Basic hunter22hunter22",
    "client secret": "client_secret=abcdef123456",
    "long words": "password: hunter22-secret",
}
LEFT = [
    "commit 3f786850e387550fdab836ed7e6dc881de23001b",
    "line 1234, column 56",
    "2026-11-22T10:00:00Z",
    "127.0.0.1:8080 and ::1",
    "version 3.54.0rc1",
    "request req_0123456789abcdef0123456789abcdef failed",
    "01a20925-facd-753e-857b-9fc9b3bbaf21",
    "Missing API key: pass api_key=",
    "the bearer of bad news",
    "task-based disk-usage risk-free-0123456789abcdef",
    "Rate limit reached for gpt-5 in organization org-abcdefghijklmnop on tokens per min",
    "https://example.com/a/b?c=d",
    "http://127.0.0.1:8000/a?b=c@d.e",
    "xlsr-sk-slovak-common-voice-7 and sk-learn-based-pipeline-2",
    "the bearer tokens are fine",
    "password: Optional[str], api_key = os.environ['KEY'], api_key=$OPENAI_API_KEY",
    "max_tokens: 123456, 4096 tokens, tokenizer: cl100k_base",
    "key: value1234",
]
# None of the rules takes any of these.
LEFT_BY_ALL = [
    *LEFT,
    "3f786850e387550fdab836ed7e6dc881de23001b..89e6c98d92887913cadf06b2adb97f26cde4849b",
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "E           File app.py:1234:56, lines 1200-1234",
    "@@ -120,7 +120,7 @@ def f(x):",
    "+2026-11-22 +20261122 2026-11-22T10:00:00.123456+02:00 22.11.2026 11/22/2026 20261122103000",
    "1732223344 and 1732223344123",
    "192.168.100.200 fe80::1ff:fe23:4567:890a 10.0.0.0/8 127.0.0.1:65535",
    "1.2.3+20130313144700 v10.11.12 3.54.0rc1 ~=2.11.0 react@18.2.0 @types/node@20.1.0 foo@1.0.0-beta.rc1",
    "$1,234,567.89 EUR 1.234.567,89, +1.234.567, 1 234 567 USD, 0.0380",
    "gpt-4o-2024-08-06 claude-3-5-sonnet-20241022 o3-mini meta-llama/Llama-3.1-405B-Instruct-Turbo",
    "4111 1111 1111 1111",
    "ISBN 978-3-16-148410-0",
    "+1 2 3 4 5 6 7 8 9 -1 -2",
    "00000010  00 11 22 33 44 55 66 77",
    "call_5551234567 req_0123456789 msg-555-123-4567-a",
    "phone on 2026-11-22, fax 192.168.100.200, mobile 16.4.1, hotel 1234567",
    "temperature 37.5, 1e+10000000000, 0.5551234567",
    "git@github.com:a/b.git ssh user@host W@x.shape a @ b.T @app.route('/x')",
]
EMAILS = {
    "alice@example.com": EMAIL,
    "<alice.b+c@sub.example.co.uk>": f"<{EMAIL}>",
    "from='alice@x.com'": f"from='{EMAIL}'",
    "Write to alice@example.com.": f"Write to {EMAIL}.",
    "alice@example.com(work), a_b@163.com": f"{EMAIL}(work), {EMAIL}",
    "mailto:jörg@exämple.de?subject=x": f"mailto:{EMAIL}?subject=x",
    "?to=alice%40example.com&x=1": f"?to={EMAIL}&x=1",
    r"Hi\nalice@example.com": rf"Hi\n{EMAIL}",
    r"DOMAIN\alice@example.com": rf"DOMAIN\{EMAIL}",
}
PHONES = {
    "call +49 151 23456789 now": f"call {PHONE} now",
    "+44 20 7946 0958, +33 6 12 34 56 78": f"{PHONE}, {PHONE}",
    "+1 (555) 123-4567": PHONE,
    "+49 (0)30 123456": PHONE,
    "+15551234567": PHONE,
    "(555) 123-4567": PHONE,
    "(555-123-4567)": f"({PHONE})",
    "555.123.4567 or 1-800-555-0199.": f"{PHONE} or {PHONE}.",
    "tel:+49-151-2345678": f"tel:{PHONE}",
    "phone: 0151 23456789": f"phone: {PHONE}",
    "Tel. 030/1234567": f"Tel. {PHONE}",
    '{"mobile_number": "015123456789"}': f'{{"mobile_number": "{PHONE}"}}',
}


@pytest.mark.parametrize("name", TAKEN)
def test_a_credential_is_taken_out(name):
    """By its form or by the name before it; the words around it stay."""
    found = secrets(TAKEN[name])
    assert MARK in found
    for piece in (
        "abcDEF123",
        "AAAABBBB",
        "a1B2",
        "abcdefghij",
        "aB3",
        "abcdefABC",
        "Sy0",
        "IOSFO",
        "c2lnb",
        "abcdef123",
        "hunter22",
    ):
        assert piece not in found


@pytest.mark.parametrize("text", LEFT)
def test_what_is_no_credential_stays(text):
    """Hashes, lines, dates, addresses, versions and ids."""
    assert text == secrets(text)


@pytest.mark.parametrize("text", LEFT_BY_ALL)
def test_no_rule_takes_what_nobody_asked_it_to(text):
    """Hashes, ids, lines, dates, addresses of machines, versions, prices, figures, names of models, code."""
    for name, rule in RULES.items():
        assert text == rule(text), name


@pytest.mark.parametrize("text", EMAILS)
def test_an_address_is_taken_out(text):
    """As a whole; what stands around it stays."""
    assert EMAILS[text] == emails(text)


@pytest.mark.parametrize("text", PHONES)
def test_a_number_is_taken_out_where_it_is_marked_as_one(text):
    """By a plus, by the American form, or by the word before it."""
    assert PHONES[text] == phones(text)


@pytest.mark.parametrize(
    ("rule", "name", "value", "mark"),
    [
        ("secrets", "password", "correct horse", MARK),
        ("secrets", "X-Api-Key", "abc", MARK),
        ("secrets", "OPENAI_API_KEY", "abc", MARK),
        ("secrets", "Authorization", "x", MARK),
        ("secrets", "password", " ", None),
        ("secrets", "max_tokens", "12", None),
        ("secrets", "tokenizer", "x", None),
        ("phones", "phone", "0151 2345678", PHONE),
        ("phones", "contact.mobile", "015123456789", PHONE),
        ("phones", "phone", "ask later", None),
        ("phones", "phone", "2026-11-22", None),
        ("emails", "password", "correct horse", None),
    ],
)
def test_a_value_is_known_by_its_name(rule, name, value, mark):
    """A password has no form, and a number without a plus has none that is its own."""
    assert mark == named(rule, name, value)


AWKWARD = [
    *TAKEN.values(),
    *LEFT_BY_ALL,
    *EMAILS,
    *PHONES,
    "\\",
    "+",
    "-",
    "(",
    "@",
    "://",
    "eyJ",
    "sk-",
    "\u00e9",
    " ",
]


@given(st.lists(st.text(max_size=6) | st.sampled_from(AWKWARD), max_size=6).map(" ".join))
def test_any_text_comes_out_as_a_text_and_twice_is_once(text):
    """No rule raises, and each is idempotent."""
    for name, rule in RULES.items():
        once = rule(text)
        assert once == rule(once), name


LONG = {
    "dots": "a.",
    "keys": "sk-",
    "tokens": "eyJaaaaaaaa-",
    "plus": "+1",
    "digits": "1",
    "groups": "+1 1 ",
    "bearer": "bearer ",
    "header": "authorization: ",
    "at": "a@a.",
    "base64": "QUJD+",
    "key heads": "-----BEGIN PRIVATE KEY-----",
    "tel": "tel 1",
    "password": "password",
    "urls": "a://b:",
    "words": "lorem ipsum dolor sit amet ",
    "brackets": "+(",
    "escapes": r"\n",
    "spaces": "bearer" + " " * 5000,
}


@pytest.mark.parametrize("name", LONG)
def test_time_grows_with_the_text_and_no_faster(name):
    """A text of 300 kB made to be read again and again takes a moment, not minutes."""
    text = (LONG[name] * 300_000)[:300_000] + "!"
    began = time.process_time()
    for rule in RULES.values():
        rule(text)
    assert time.process_time() - began < 5


def test_an_error_message_on_record_holds_no_key(trace_dir, read_lines):
    """Always, whatever is configured; the caller's own exception is untouched."""

    @moa.reference
    def ask():
        raise ValueError("Incorrect API key provided: sk-proj-abcDEF1234567890abcd")

    with pytest.raises(ValueError, match="sk-proj-abcDEF1234567890abcd"):
        ask()
    (record,) = read_lines(trace_dir)
    for error in (record["error"], record["references"][0]["error"]):
        assert f"Incorrect API key provided: {MARK}" == error["message"]
