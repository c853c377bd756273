"""
Texts in which there is no secret, at least 5,000: code, logs, prose in three languages, base64, ids, placeholders.

They are generated, or taken from the standard library's sources when the tests run.
"""

from __future__ import annotations

import base64
import hashlib
import random
import string
import uuid
from pathlib import Path

from .carriers import NAMES, OF_NAMES, filled

ALNUM = string.ascii_letters + string.digits
HEX = string.digits + "abcdef"
# Whose sources have no passwords for show, except for those that are about nothing else.
_LEFT_OUT = {
    "test",
    "tests",
    "idle_test",
    "idlelib",
    "lib2to3",
    "turtledemo",
    "site-packages",
    "__pycache__",
    "ensurepip",
}
_LINES = 12


def code(most: int = 4000):
    """Yield pieces of the standard library's sources, spread over all of its modules."""
    root = Path(string.__file__).parent
    paths = [path for path in sorted(root.rglob("*.py")) if not _LEFT_OUT & set(path.relative_to(root).parts)]
    pieces = []
    for path in paths:
        lines = path.read_text("utf-8", "replace").splitlines()
        pieces += ["\n".join(lines[start : start + _LINES]) for start in range(0, len(lines), _LINES)]
    pieces = [piece for piece in pieces if piece.strip()]
    step = max(1, len(pieces) // most)
    yield from pieces[::step][:most]


def logs(count: int = 600, seed: int = 11):
    """Yield lines of logs with hashes, ids, addresses, durations and counts of tokens."""
    rng = random.Random(seed)

    def some(letters, size):
        return "".join(rng.choices(letters, k=size))

    makers = (
        lambda: (
            f"2026-11-2{rng.randint(0, 9)}T10:00:00Z INFO request req_{some(ALNUM, 24)} took {rng.randint(1, 9999)} ms"
        ),
        lambda: (
            f'10.0.{rng.randint(0, 255)}.7 - - "GET /v1/models/{some(HEX, 12)}?page=2&limit=50 HTTP/1.1" 200 {rng.randint(1, 99999)}'
        ),
        lambda: f"commit {some(HEX, 40)} (HEAD -> main, tag: v{rng.randint(0, 9)}.{rng.randint(0, 99)}.1)",
        lambda: f"sha256:{some(HEX, 64)} pulled in {rng.random():.3f} s",
        lambda: f"trace_id={some(HEX, 32)} span_id={some(HEX, 16)} parent={some(HEX, 16)} sampled=1",
        lambda: (
            f"token usage: prompt_tokens={rng.randint(1, 9999)} completion_tokens={rng.randint(1, 9999)}, max_tokens: 4096"
        ),
        lambda: (
            f"key: {some(string.ascii_lowercase, 8)}-{rng.randint(10, 99)} cache hit, key={uuid.UUID(int=rng.getrandbits(128))}"
        ),
        lambda: (
            f"worker {rng.randint(1, 64)} pid={rng.randint(1, 99999)} rss={rng.randint(1, 999)}MB session={some(HEX, 8)} ok"
        ),
        lambda: (
            f'Traceback: File "/srv/app/{some(string.ascii_lowercase, 7)}.py", line {rng.randint(1, 999)}, in get_token'
        ),
        lambda: (
            f"deploy {some(string.ascii_lowercase, 5)}-{some(HEX, 10)}-{some(string.ascii_lowercase + string.digits, 5)} 1/1 Running"
        ),
        lambda: (
            f"authentication failed for user {some(string.ascii_lowercase, 6)}: password authentication is not supported"
        ),
        lambda: f"chatcmpl-{some(ALNUM, 29)} gpt-4o-2024-08-06 finish_reason=stop fp_{some(HEX, 10)}",
        lambda: f"call_{some(ALNUM, 24)} toolu_{some(ALNUM, 24)} msg_{some(ALNUM, 24)} resp_{some(HEX, 48)}",
        lambda: f"org-{some(ALNUM, 24)} proj_{some(ALNUM, 24)} asst_{some(ALNUM, 24)} file-{some(ALNUM, 24)}",
        lambda: f"arn:aws:iam::{some(string.digits, 12)}:role/deploy-{some(HEX, 6)} eni-0{some(HEX, 16)}",
        lambda: (
            f"secret/data/{some(string.ascii_lowercase, 8)} version {rng.randint(1, 30)} created, lease_id={some(HEX, 8)}"
        ),
        lambda: (
            f"pip install {some(string.ascii_lowercase, 8)}=={rng.randint(0, 9)}.{rng.randint(0, 99)}.{rng.randint(0, 9)} --hash=sha256:{some(HEX, 64)}"
        ),
        lambda: (
            f"pk={rng.randint(1, 10**9)} sk={rng.randint(1, 10**9)} key_{rng.randint(1, 99)} pa-{rng.randint(1, 99)} fc-{rng.randint(1, 99)}"
        ),
    )
    for place in range(count):
        yield makers[place % len(makers)]()


_PROSE = (
    "The password is required before you can sign in to the {a} account.",
    "My password is not working, and the {a} page says the token is expired.",
    "The secret of a good {a} is patience; the secret ingredient is {b}.",
    "An API key is a string that identifies the {a}; the key is sent in a header.",
    "Please reset your password: the link in the {a} mail is valid for {n} minutes.",
    "Each token is about {n} characters of English, so the {a} has many tokens.",
    "The access token is refreshed every {n} minutes by the {a} service.",
    "Use a passphrase -> it is longer than a password, and the {a} can be remembered.",
    "| field | type |\n| --- | --- |\n| password | string |\n| token | string |\n| {a} | integer |",
    "Credentials: see the {a} page. The credentials are stored by the {b}.",
    "The master key is kept in the {a}; the deploy key is read only.",
    "Das Passwort ist falsch, und der Token ist nach {n} Minuten abgelaufen, sagt die Seite f\u00fcr {a}.",
    "Mein Passwort ist leider nicht mehr g\u00fcltig; das Geheimnis: eine gute {a}.",
    "Der Schl\u00fcssel liegt unter der {a}, und die Katze schl\u00e4ft seit {n} Stunden auf dem Sofa.",
    "Bitte geben Sie Ihr Passwort ein: mindestens {n} Zeichen, mit Ziffern und {b}.",
    "Die Sitzung dauert {n} Minuten; ein Token steht f\u00fcr ein Wort oder einen Teil davon ({a}).",
    "Le mot de passe est incorrect, et le jeton expire apr\u00e8s {n} minutes pour {a}.",
    "Mon mot de passe est trop court ; le secret du {a}, c\u2019est la patience.",
    "La cl\u00e9 est sous le paillasson, et le {a} dort depuis {n} heures.",
    "Veuillez saisir votre mot de passe : {n} caract\u00e8res au moins, dont un chiffre et {b}.",
    "L\u2019acc\u00e8s est refus\u00e9 : le jeton d\u2019acc\u00e8s est absent ({a}, {b}).",
)
_THINGS = (
    "kitchen",
    "garden",
    "library",
    "report",
    "bakery",
    "museum",
    "harbour",
    "orchestra",
    "laboratory",
    "cottage",
)


def prose(count: int = 500, seed: int = 12):
    """Yield sentences in English, German and French; most speak of passwords and keys without one."""
    rng = random.Random(seed)
    for place in range(count):
        a, b = rng.sample(_THINGS, 2)
        yield _PROSE[place % len(_PROSE)].format(a=a, b=b, n=rng.randint(2, 90))


def encoded(count: int = 300, seed: int = 13):
    """Yield base64, base32 and hex of random bytes, as images, hashes and signatures are written."""
    rng = random.Random(seed)
    for place in range(count):
        data = rng.randbytes(rng.randint(30, 900))
        yield (
            f"data:image/png;base64,{base64.b64encode(data).decode()}",
            f'{{"embedding": "{base64.b64encode(data).decode()}"}}',
            f"sha512-{base64.b64encode(hashlib.sha512(data).digest()).decode()}",
            base64.b32encode(data).decode(),
            data.hex(),
            base64.encodebytes(data).decode(),
        )[place % 6]


BLANKS = (
    *(
        "YOUR_API_KEY",
        "your-api-key",
        "YOUR_API_KEY_HERE",
        "<your-api-key>",
        "changeme",
        "change-me",
        "CHANGE_ME",
        "sk-...",
    ),
    *("sk-xxxxxxxx", "********", "xxxxxxxx", "XXXXXXXXXXXX", "...", "\u2026", "${API_KEY}", "$API_KEY", "{api_key}"),
    *("{{ api_key }}", "%API_KEY%", "<password>", "[redacted]", "[REDACTED]", "[secret]", "sk-your-key-here", "sk-***"),
    *(
        "placeholder",
        "insert-your-key-here",
        "my-api-key",
        "your_password",
        "YOUR_PASSWORD",
        "<PASSWORD>",
        "REPLACE_ME",
    ),
)
"""What documentation has in the place of a value."""


def blanks(count: int = 500, seed: int = 14):
    """Yield placeholders under the names, in the carriers of values."""
    rng = random.Random(seed)
    every = [(carrier, name, blank) for carrier in OF_NAMES for name in NAMES for blank in BLANKS]
    for carrier, name, blank in rng.sample(every, count):
        yield filled(carrier, name=name, value=blank)


_CODE = (
    "def login(user: str, {name}: str, timeout: float = 3.0) -> None: ...",
    "{name}: Optional[str] = None",
    "{name}={name}, user=user",
    "{name} = os.environ['{name}']",
    '{name} = os.getenv("{name}")',
    "{name} = settings.{name}",
    "self.{name} = {name}",
    "if {name} is None: raise ValueError('{name} is missing')",
    "if not {name}: return",
    '{{"{name}": {{"type": "string", "minLength": 8}}}}',
    '{{"required": ["user", "{name}"]}}',
    'parser.add_argument("--{name}", help="the {name} is read from the environment")',
    "print(f'{name}={{{name}}}')",
    "{name} = getpass.getpass('Password: ')",
    "assert {name} != other",
    "const {name} = process.env.{name};",
    "{name} = load_{name}(path)",
    "SELECT {name} FROM users WHERE id = %s",
    "{name}: string | undefined;",
    "{name}=${{{{ secrets.{name} }}}}",
    "{name} -> str: the {name} of the user",
    "| {name} | string | required |",
    "<{name}>string</{name}>",
    "the {name} is read from the file",
    "ENV {name} is set by the operator",
    "{name}.get_secret_value()",
)


def named(seed: int = 15):
    """Yield code, schemas and prose with each of the names and without a value."""
    rng = random.Random(seed)
    every = [line.format(name=name) for line in _CODE for name in NAMES]
    rng.shuffle(every)
    yield from every


WORDS = (
    *(
        "sk-learn-contrib",
        "pa-4 pb-2 fw-bold",
        "fc-button-primary fc-daygrid-day",
        "ico-download-large",
        "api-docs-v2-reference",
    ),
    *("pul-left", "re_match_group", "fw_version_1_2", "hf_hub_download", "npm_config_registry", "e2b_sandbox_template"),
    *(
        "key-value-store-with-a-long-name-of-words",
        "pat.findall.groups",
        "SG.foo.bar",
        "jina_embeddings_v3",
        "tp-link-archer",
    ),
    *(
        "access-control-allow-origin",
        "xai-explainability-toolkit-for-models",
        "gsk_glaxo_smith_kline_share_price_history",
    ),
    *(
        "csk-chennai-super-kings-fan-club",
        "ghp_pages_deploy",
        "lin_api_version",
        "llx-lint",
        "pk_id_of_the_row",
        "SK-II essence",
    ),
    *(
        "r8_leaderboard",
        "nvapi-reference",
        "dapi-gateway-service-name",
        "sha256~latest",
        "v1.0-rc.1-beta",
        "AKIA",
        "LTAI",
        "eyJ",
    ),
)


def words():
    """Yield words that begin as a key does."""
    for word in WORDS:
        yield word
        yield f"see {word}, and `{word}` in the docs"


def texts():
    """Yield the kind and the text of each."""
    for kind, found in (
        ("code", code()),
        ("logs", logs()),
        ("prose", prose()),
        ("encoded", encoded()),
        ("blanks", blanks()),
        ("named", named()),
        ("words", words()),
    ):
        for text in found:
            yield kind, text
