"""The rules for secrets and personal data: what they take, and above all what they leave."""

from __future__ import annotations

import json
import shlex
import time
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

import moa_middleware as moa
from moa_middleware._redaction import EMAIL, MARK, PHONE, RULES, emails, named, phones, secrets

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


KEY = "aB3" * 20
# Each whole, and nothing beside it.
WHOLE = {
    # quoted: up to the closing quote
    'Password = "correct horse battery staple"': f'Password = "{MARK}"',
    "DB_PASSWORD='correct horse battery staple'": f"DB_PASSWORD='{MARK}'",
    "password=`a b c` here": f"password=`{MARK}` here",
    "password: \u201ca b c\u201d here": f"password: \u201c{MARK}\u201d here",
    "password='my dog rex 7'": f"password='{MARK}'",
    "password = b'my dog rex 7', x": f"password = b'{MARK}', x",
    'text before {"password": "correct horse battery"} after': f'text before {{"password": "{MARK}"}} after',
    """curl http://host -d '{"password":"a b c d"}'""": f"""curl http://host -d '{{"password":"{MARK}"}}'""",
    r"""curl host -d "{\"password\":\"a \\\"b\\\" d\"}" x""": rf"""curl host -d "{{\"password\":\"{MARK}\"}}" x""",
    r'{"password": "a \"b\" \\", "x": 1} after': f'{{"password": "{MARK}", "x": 1}} after',
    '{"a": 1, "password": "correct hor': f'{{"a": 1, "password": "{MARK}',
    "os.environ['DB_PASSWORD'] = 'a b c'": f"os.environ['DB_PASSWORD'] = '{MARK}'",
    "{'password' => 'a b c'}": f"{{'password' => '{MARK}'}}",
    'if password == "a b c":': f'if password == "{MARK}":',
    # without quotes: up to a blank or what closes
    "password: Tr0ub4dor&3 x": f"password: {MARK} x",
    "password: Tr0ub4dor(3": f"password: {MARK}",
    "password=Tr0ub4dor&3; x": f"password={MARK}; x",
    "login(password=hunter22, user=x)": f"login(password={MARK}, user=x)",
    "?password=hunter22&x=1": f"?password={MARK}&x=1",
    "user=a&password=hunter22&x=1": f"user=a&password={MARK}&x=1",
    r'"password: hunter22\nnext"': rf'"password: {MARK}\nnext"',
    "**password:** hunter22": f"**password:** {MARK}",
    "**password**: hunter22": f"**password**: {MARK}",
    "`password`: `hunter22`": f"`password`: `{MARK}`",
    "password=$ecret99": f"password={MARK}",
    # in addresses
    "amqp://bob:p@ss@host/": f"amqp://{MARK}@host/",
    "https://token:hunter22@host/path": f"https://{MARK}@host/path",
    # names
    "token=abc123def456": f"token={MARK}",
    "TOKEN=AbcdefghijKL": f"TOKEN={MARK}",
    "GITHUB_TOKEN=abc123def456": f"GITHUB_TOKEN={MARK}",
    '{"token": "abc123def456"} x': f'{{"token": "{MARK}"}} x',
    'config: {"githubToken": "abc123def456"}': f'config: {{"githubToken": "{MARK}"}}',
    "http://host/?token=abc123def456&x=1": f"http://host/?token={MARK}&x=1",
    "secret: hunter22": f"secret: {MARK}",
    'x {"secret": "a b c"} x': f'x {{"secret": "{MARK}"}} x',
    "JWT_SECRET=swordfish": f"JWT_SECRET={MARK}",
    "pwd=hunter22": f"pwd={MARK}",
    "Uid=sa;Pwd=hunter22;": f"Uid=sa;Pwd={MARK};",
    "PGPASSWORD=hunter22 psql": f"PGPASSWORD={MARK} psql",
    "DB_PASS=hunter22xyz": f"DB_PASS={MARK}",
    "DB_PASS='a b c'": f"DB_PASS='{MARK}'",
    "pass=hunter22": f"pass={MARK}",
    "Cookie: session=abcdef; csrf=12": f"Cookie: {MARK}",
    'Cookie: sid="a8Kd93kLmQ0z1"': f"Cookie: {MARK}",
    'Cookie: sid="a8Kd93kLmQ0z1"; b=2 x': f"Cookie: {MARK} x",
    'Set-Cookie: session="a8Kd93kLmQ0z1"; Path=/': f"Set-Cookie: {MARK}",
    'x {"cookie": "sid=\\"a8Kd93kLmQ0z1\\"; a=b"} x': f'x {{"cookie": "{MARK}"}} x',
    "-H 'Cookie: session=abcdef; csrf=12' x": f"-H 'Cookie: {MARK}' x",
    "Set-Cookie: id=abcdef12; Path=/; HttpOnly": f"Set-Cookie: {MARK}",
    'x {"cookie": "session=abc; a=b"} x': f'x {{"cookie": "{MARK}"}} x',
    "AccountName=x;AccountKey=abcd+/EF12==;EndpointSuffix=y": f"AccountName=x;AccountKey={MARK};EndpointSuffix=y",
    "SharedAccessKeyName=Root;SharedAccessKey=abcdef12=": f"SharedAccessKeyName=Root;SharedAccessKey={MARK}",
    "https://h/c?sv=2021&sig=aBBK%2FX1%3D&se=x": f"https://h/c?sv=2021&sig={MARK}&se=x",
    "https://h/c?X-Amz-Date=1&X-Amz-Signature=0a1b2c3d4e&x=y": f"https://h/c?X-Amz-Date=1&X-Amz-Signature={MARK}&x=y",
    "mysql --password hunter22 -h x": f"mysql --password {MARK} -h x",
    "x --db-password 'a b c' y": f"x --db-password '{MARK}' y",
    "x --token abc123def456": f"x --token {MARK}",
    '["--password", "a b c", "-h"]': f'["--password", "{MARK}", "-h"]',
    "curl -u bob:hunter22 http://host": f"curl -u {MARK} http://host",
    "curl -sSu 'bob:a b c' http://host": f"curl -sSu '{MARK}' http://host",
    "curl --user=bob:hunter22 http://host": f"curl --user={MARK} http://host",
    "Authorization: Basic hunter22hunter22": f"Authorization: Basic {MARK}",
    '{"Authorization": "Bearer a b"} x': f'{{"Authorization": "Bearer {MARK}"}} x',
    'Authorization: Digest username="b", response="abcdef"': f"Authorization: {MARK}",
    "Authorization: AWS4-HMAC-SHA256 Credential=AK/x, Signature=ab": f"Authorization: {MARK}",
    "myApiKey: 'abc def'": f"myApiKey: '{MARK}'",
    # forms
    f"npm_{KEY[:36]}": MARK,
    f"SG.{KEY[:22]}.{KEY[:43]}": MARK,
    f"pypi-AgEIcHlwaS5vcmc{KEY}": MARK,
    f"dop_v1_{'0a1b' * 16}": MARK,
    f"ya29.a0Af_{KEY}": MARK,
    f"ya29.c.b0Aa_{KEY}": MARK,
    f"r8_{KEY[:37]}": MARK,
    f"pplx-{KEY[:48]}": MARK,
    f"tvly-dev-{KEY[:32]}": MARK,
    f"https://hooks.slack.com/services/T01234567/B01234567/{KEY[:24]}": f"https://hooks.slack.com/services/{MARK}",
}
# Names without a secret: words, code, types, places, tokens of language models.
NO_VALUE = [
    "token = tokenizer.next()",
    'max_tokens=512, "total_tokens": 120, "max_tokens": 4096',
    "secret santa, the secret: nobody knows, the secret of success",
    "password: str",
    "password: Optional[str] = None, password: str | None, api_key: SecretStr",
    "if token == END:",
    "if token == 'END':",
    "the token: a word piece",
    "pwd",
    "cd src && pwd && ls",
    "pwd: prints the working directory; PWD=/opt/project22/src; {'pwd': '/opt/app22'}",
    "cookie: chocolate, cookie: two spoons=2",
    'header = "Cookie: sid=" + session + "; Path=/"',
    'header = "Cookie: sid="+session_value+"; Path=/"',
    '{"token": "Hello", "logprob": -0.1}, {"token": "JavaScript"}, {"token": " tokens"}, {"token": 12345678}',
    'eos_token: "</s>", pad_token="<|endoftext|>", "bos_token": "<|reserved_special_token_0|>"',
    "tokens: 120, token_count=12345678, next_token_id: 50256, tokenizer: cl100k_base, tokenizer=cl100k_base",
    "password=password, api_key=api_key, token=self.token, api_key=settings.openai_api_key)",
    "password = getpass.getpass('Password: '), api_key = load_key(user), token = tokens[12]",
    "headers['authorization'] = header_value",
    "'password=' + password + '&x=' + x",
    'print("password: ", x), print("Enter your password: ") or fail("token: ")',
    'f"password={password}&token={token}", "password=%s", password="${DB_PASSWORD}", password="$DB_PASSWORD"',
    "export DB_PASSWORD=$SECRET, token=$(cat file22), --password $PASSWORD, password: <your password>",
    "Use --password to set it; the --password option is old; --token is new",
    "case 'password': return foo_bar, if password: return None",
    '{"password": {"type": "string"}, "secret": true, "token": null, "required": ["password", "token"]}',
    "password: |",
    "signature: int22345678, def f(signature=abcdefgh12), sig = inspect22.signature1",
    "bypass: abcdef12, compass=abcdef12, 12 pass: 34 fail, pass: 12345678",
    "docker run -u 1000:1000 image, sudo -u bob:staff ls, curl -u $USER:$PASS http://host",
    "Authorization: Bearer, `Authorization: Bearer`, Authorization: Bearer <token>, 'Authorization': f'Bearer {key}'",
    "secret: /etc/secrets/file22, token: https://host/v2/token, token: v10.11.12, secret: 2026-11-22",
    "npm_config_registry npm_package_version r8_model pplx-70b-online tvly-YOUR_API_KEY SG.foo.bar ya29.x dop_v1_x",
    "https://hooks.slack.com/services/ and https://example.com/services/T01234567",
]


@pytest.mark.parametrize("text", WHOLE)
def test_a_credential_is_taken_whole_and_nothing_beside_it(text):
    """Up to the closing quote, or up to a blank or what closes; the name, the quotes and the rest stay."""
    assert WHOLE[text] == secrets(text)


@pytest.mark.parametrize("text", NO_VALUE)
def test_a_name_alone_is_no_credential(text):
    """Prose, code, schemas, and the tokens of language models."""
    assert text == secrets(text)


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
        ("secrets", "secret", "a b", MARK),
        ("secrets", "githubToken", "abc123def456", MARK),
        ("secrets", "token", "JavaScript", None),
        ("secrets", "token", "12345678", None),
        ("secrets", "PGPASSWORD", "abc", MARK),
        ("secrets", "pwd", "hunter22", MARK),
        ("secrets", "pwd", "/opt/project", None),
        ("secrets", "Cookie", "session=abc", MARK),
        ("secrets", "cookie", "chocolate", None),
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


# In some names the value has to look like a secret, so each one here does; the marks make it easy to find.
DENSE = st.text("abcXYZ789._~+/%!#$*^@:?-", min_size=1, max_size=40).map(lambda text: f"qQ7x{text}Z9zq")
DENSE = DENSE.filter(lambda text: "://" not in text)  # an address is no token
ANY = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=40).map(
    lambda text: f"qQ7x{text}Z9zq"
)
SURE = ["password", "DB_PASSWORD", "api_key", "X-Api-Key", "client_secret", "access_token", "accessToken", "PGPASSWORD"]
UNSURE = ["token", "GITHUB_TOKEN", "secret", "APP_SECRET_TOKEN"]


def traces(text):
    """Return whether anything of a planted secret is left."""
    found = secrets(text)
    return "qQ7x" in found or "Z9zq" in found


@given(st.sampled_from([*SURE, "secret"]), ANY, st.integers(0, 2))
def test_no_part_of_a_secret_is_left_in_json(name, value, depth):
    """Inside prose, and in JSON that is quoted in JSON again."""
    text = json.dumps({"a": 1, name: value, "b": [2]}, ensure_ascii=False)
    for _ in range(depth):
        text = json.dumps({"body": text}, ensure_ascii=False)
    assert not traces(f"before {text} after")


@given(st.sampled_from(SURE + UNSURE), DENSE, st.integers(0, 2))
def test_no_part_of_a_token_is_left_in_json(name, value, depth):
    """Where the value has to look like one."""
    text = json.dumps({"a": 1, name: value})
    for _ in range(depth):
        text = json.dumps([text])
    assert not traces(f"before {text} after")


@given(st.sampled_from(["password", "DB_PASSWORD", "PGPASSWORD", "API_KEY"]), ANY.filter(lambda text: "\\" not in text))
def test_no_part_of_a_secret_is_left_in_an_environment(name, value):
    """Quoted as a file of variables has it."""
    text = value.replace('"', "")
    assert not traces(f'A=1\n{name}="{text}"\nB=2')
    if "'" not in value:
        assert not traces(f"A=1\nexport {name}={shlex.quote(value + ' ')} B=2")


@given(st.sampled_from(SURE + UNSURE), DENSE)
def test_no_part_of_a_secret_is_left_without_quotes(name, value):
    """In variables, headers and what configures."""
    for text in (
        f"A=1\n{name}={value}\nB=2",
        f"{name}: {value}\r\nHost: x",
        f"-H '{name}: {value}' x",
        f"{name} = {value}",
    ):
        assert not traces(text)


@given(st.sampled_from(["password", "api_key", "access_token", "token", "sig", "secret"]), ANY | DENSE)
def test_no_part_of_a_secret_is_left_in_a_query(name, value):
    """As a URL has it, and as a form has it."""
    assert not traces(f"https://host/path?{urlencode({'a': 1, name: value, 'b': 2})} after")
    assert not traces(f"GET /path?{name}={quote(value, safe='')}&b=2 HTTP/1.1")


AWKWARD = [
    *WHOLE,
    *NO_VALUE,
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
    "names": "token=",
    "sure names": "password=$a",
    "quotes": 'password="',
    "escaped quotes": r"password=\"",
    "other quotes": "password='token=`secret=\"",
    "slashes": 'password="' + "\\" * 5000,
    "calls": "password=a(",
    "ampersands": "password=a&",
    "values": "token=" + "ab" * 200,
    "blanks": "password" + " " * 5000,
    "blanks after": "password=" + " " * 5000,
    "flags": "--password ",
    "dashes": "-" * 5000 + "password ",
    "cookies": "cookie: a=b; ",
    "fields": "authorization: digest a=b, ",
    "signs": "token===",
    "code": '"password=" + ',
    "users": "curl -u a:",
    "spaced names": "api key ",
    "hooks": "hooks.slack.com/services/",
    "mail keys": "SG.aaaaaaaaaaaaaaaaaaaa",
    "ends": "password: a" + "<" * 1000,
    "passwords": "a://b:" + "@" * 5000,
}


@pytest.mark.parametrize("name", LONG)
def test_time_grows_with_the_text_and_no_faster(name, quick):
    """A text of 300 kB (60 in a quick run) made to be read again and again takes a moment, not minutes."""
    size = 60_000 if quick else 300_000
    text = (LONG[name] * size)[:size] + "!"
    began = time.process_time()
    for rule in RULES.values():
        rule(text)
    assert time.process_time() - began < 5 * size / 300_000


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
