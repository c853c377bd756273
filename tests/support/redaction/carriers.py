"""
Where keys and passwords appear in texts: carriers, names and values.

The lists were fixed before the rules were written for them. A carrier that is found later is added with a rule.
"""

from __future__ import annotations

import json
import random
import string

OF_KEYS = (
    "{key}",
    "key {key} was refused",
    "Incorrect API key provided: {key}.",
    '"{key}"',
    "'{key}'",
    "`{key}`",
    "({key})",
    "[{key}]",
    "<{key}>",
    "KEY={key}",
    "https://host/path?x={key}&y=1",
    '{{"a": ["{key}"]}}',
    '"{{\\"a\\": \\"{key}\\"}}"',
    "line\\n{key}\\nnext",
    "line\n{key}\nnext",
    "\t{key}\r\n",
    "a,{key},b",
    "x: {key};",
    "**{key}**",
    "| a | {key} |",
    "curl -H 'X-Any: {key}' host",
    "\u201c{key}\u201d",
    "\u5bc6\u94a5\uff1a{key}\u3002",
)

NAMES = (
    *(
        "password",
        "passwd",
        "PASSWORD",
        "DB_PASSWORD",
        "PGPASSWORD",
        "mysql_root_password",
        "userPassword",
        "passphrase",
    ),
    *("api_key", "OPENAI_API_KEY", "X-Api-Key", "apiKey", "myApiKey", "API-KEY", "azure_openai_api_key"),
    *("client_secret", "clientSecret", "secret_key", "SECRET_KEY", "AWS_SECRET_ACCESS_KEY", "JWT_SECRET", "app_secret"),
    *("access_token", "accessToken", "refresh_token", "auth_token", "GITHUB_TOKEN", "session_token", "bot_token"),
    *(
        "private_key",
        "account_key",
        "encryption_key",
        "signing_key",
        "MASTER_KEY",
        "master_key",
        "SSH_KEY",
        "DEPLOY_KEY",
    ),
    *("DB_PASS", "db_credentials", "credentials", "SERVICE_KEY", "admin_key", "webhook_secret"),
)
"""Names after which any value is a secret; without a separator they are written as code and settings have them."""

OF_NAMES = (
    "{name}={value}",
    "A=1\nexport {name}={value}\nB=2",
    "{name}: {value}",
    "{name} = {value}",
    '{name}="{value}"',
    "{name}: '{value}'",
    "  {name}: {value}\r\nnext: x",
    '{{"a": 1, "{name}": "{value}"}}',
    'say {{"a": 1, "{name}": "{value}"}} now',
    '"{{\\"{name}\\": \\"{value}\\"}}"',
    "{name} := {value}",
    "'{name}' => '{value}'",
    "run --{name} {value} --x",
    "run --{name}={value} --x",
    "https://host/path?{name}={value}&x=1",
    "-H '{name}: {value}'",
    "**{name}**: {value}",
    "`{name}`: `{value}`",
    "config.{name} = '{value}'",
    "os.environ['{name}'] = '{value}'",
    "<{name}>{value}</{name}>",
    "| {name} | {value} |",
    "| **{name}** | `{value}` |",
    "{name} -> {value}",
    "{name} \u2192 {value}",
    "ENV {name} {value}",
    "{name}\uff1a{value}",
    "{name}\u200b: {value}",
    "my {name} is {value}",
    "My {name} is {value}.",
    'the {name} is "{value}"',
    "{name} is: {value}",
    '<add key="{name}" value="{value}"/>',
    "call(x, {name}={value})",
)
"""A value has no blank here, since some carriers end at one."""

OF_PHRASES = (
    '{name}="{value}"',
    "{name}: '{value}'",
    '{{"a": 1, "{name}": "{value}"}}',
    '"{{\\"{name}\\": \\"{value}\\"}}"',
    "'{name}' => '{value}'",
    "`{name}`: `{value}`",
    'the {name} is "{value}"',
    "{name}: \u201c{value}\u201d",
    "<{name}>{value}</{name}>",
)
"""A value with blanks has an end of its own in these."""

BLOCKS = (
    "-----BEGIN RSA PRIVATE KEY-----\n{body}\n-----END RSA PRIVATE KEY-----",
    "-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----",
    "-----BEGIN OPENSSH PRIVATE KEY-----\n{body}\n-----END OPENSSH PRIVATE KEY-----",
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\\n{body}\\n-----END ENCRYPTED PRIVATE KEY-----\\n",
    "-----BEGIN PGP PRIVATE KEY BLOCK-----\n\n{body}\n-----END PGP PRIVATE KEY BLOCK-----",
    "-----BEGIN EC PRIVATE KEY-----\n{body}",
)

_MARKS = "!#$%*+-_.@"


def values(count: int, seed: int = 2):
    """Yield passwords and tokens without blanks, of 10 to 24 letters, each with a digit, capitals and small letters."""
    rng = random.Random(seed)
    for place in range(count):
        letters = string.ascii_letters + string.digits + (_MARKS if place % 2 else "")
        drawn = [rng.choice(letters) for _ in range(rng.randint(6, 20))]
        yield "q" + rng.choice(string.ascii_uppercase) + "".join(drawn) + rng.choice(string.digits) + "Zq"


def phrases(count: int, seed: int = 3):
    """Yield passwords of several words."""
    rng = random.Random(seed)
    words = ("correct", "horse", "battery", "staple", "zebra", "violin", "umbrella", "nine")
    for _ in range(count):
        yield "qX " + " ".join(rng.sample(words, 3)) + " Zq"


def bodies(count: int, seed: int = 4):
    """Yield bodies of private keys."""
    rng = random.Random(seed)
    for _ in range(count):
        yield "\n".join("".join(rng.choices(string.ascii_letters + string.digits + "+/", k=64)) for _ in range(6))


def filled(carrier: str, **parts: str) -> str:
    """Return a carrier with its parts; those inside JSON that is quoted are escaped as JSON has it."""
    if '\\"{' in carrier:
        parts = {name: json.dumps(part)[1:-1] for name, part in parts.items()}
    return carrier.format(**parts)
