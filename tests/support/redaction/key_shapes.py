"""
Keys as their makers give them out: heads, alphabets and lengths, of which keys are made at run time.

This list is not the table of the package (`_redaction.key_forms`): it was written from the public rule sets and the
makers' pages before the rules, so that the two can differ. No key is in it, since each is drawn at random.

Sources: gitleaks' `config/gitleaks.toml` and trufflehog's detectors, both of 2026; pages of makers where they say it.
"""

from __future__ import annotations

import random
import string

ALNUM = string.ascii_letters + string.digits
WORD = ALNUM + "_-"
LOWER = string.ascii_lowercase + string.digits
UPPER = string.ascii_uppercase + string.digits
HEX = string.digits + "abcdef"
BASE64 = ALNUM + "+/"
BASE32 = string.ascii_uppercase + "234567"
DIGITS = string.digits
LETTERS = string.ascii_letters

# Each a maker and the parts of a key: text, or an alphabet and how many letters of it.
SHAPES = {
    # Models and what is around them
    "openai": ("sk-", (ALNUM, 20), "T3Blbk" + "FJ", (ALNUM, 20)),
    "openai project": ("sk-proj-", (WORD, 74), "T3Blbk" + "FJ", (WORD, 74)),
    "openai service account": ("sk-svcacct-", (WORD, 58), "T3Blbk" + "FJ", (WORD, 58)),
    "openai admin": ("sk-admin-", (WORD, 58), "T3Blbk" + "FJ", (WORD, 58)),
    "anthropic": ("sk-ant-api03-", (WORD, 93), "AA"),
    "anthropic admin": ("sk-ant-admin01-", (WORD, 93), "AA"),
    "anthropic oauth": ("sk-ant-oat01-", (WORD, 93), "AA"),
    "openrouter": ("sk-or-v1-", (HEX, 64)),
    "deepseek": ("sk-", (HEX, 32)),
    "google": ("AIza", (WORD, 35)),
    "google oauth secret": ("GOCSPX-", (WORD, 28)),
    "google access token": ("ya29.", (WORD, 120)),
    "azure openai": ((ALNUM, 52), "JQQJ99", (UPPER, 26)),
    "azure client secret": ((ALNUM, 3), "8Q~", (WORD, 34)),
    "bedrock": ("ABSK", (BASE64, 120), "="),
    "bedrock short": ("bedrock-api-key-", (BASE64, 120)),
    "groq": ("gsk_", (ALNUM, 52)),
    "xai": ("xai-", (ALNUM + "_", 80)),
    "together": ("tgp_v1_", (WORD, 43)),
    "fireworks": ("fw_", (ALNUM, 24)),
    "perplexity": ("pplx-", (ALNUM, 48)),
    "nvidia": ("nvapi-", (WORD, 64)),
    "cerebras": ("csk-", (LOWER, 48)),
    "pinecone": ("pcsk_", (ALNUM, 6), "_", (ALNUM, 63)),
    "langsmith": ("lsv2_pt_", (HEX, 32), "_", (HEX, 10)),
    "langsmith service": ("lsv2_sk_", (HEX, 32), "_", (HEX, 10)),
    "langfuse": ("sk-lf-", (HEX, 8), "-", (HEX, 4), "-", (HEX, 4), "-", (HEX, 4), "-", (HEX, 12)),
    "weights and biases": ("wandb_v1_", (ALNUM, 27), "_", (ALNUM, 49)),
    "jina": ("jina_", (ALNUM, 60)),
    "voyage": ("pa-", (WORD, 43)),
    "e2b": ("e2b_", (HEX, 40)),
    "tavily": ("tvly-", (ALNUM, 32)),
    "tavily dev": ("tvly-dev-", (ALNUM, 32)),
    "firecrawl": ("fc-", (HEX, 32)),
    "hugging face": ("hf_", (ALNUM, 34)),
    "hugging face organization": ("api_org_", (LETTERS, 34)),
    "replicate": ("r8_", (WORD, 37)),
    "llama cloud": ("llx-", (ALNUM, 48)),
    "elevenlabs": ("sk_", (HEX, 48)),
    "databricks": ("dapi", (HEX, 32)),
    "databricks numbered": ("dapi", (HEX, 32), "-2"),
    "runpod": ("rpa_", (UPPER, 40)),
    "modal": ("ak-", (ALNUM, 22)),
    # Code and its delivery
    "github": ("ghp_", (ALNUM, 36)),
    "github oauth": ("gho_", (ALNUM, 36)),
    "github app": ("ghu_", (ALNUM, 36)),
    "github server": ("ghs_", (ALNUM, 36)),
    "github refresh": ("ghr_", (ALNUM, 76)),
    "github fine-grained": ("github_pat_", (ALNUM, 22), "_", (ALNUM, 59)),
    "gitlab": ("glpat-", (WORD, 20)),
    "gitlab routable": ("glpat-", (WORD, 27), ".", (LOWER, 9)),
    "gitlab job": ("glcbt-", (HEX, 2), "_", (WORD, 20)),
    "gitlab deploy": ("gldt-", (WORD, 20)),
    "gitlab feature flags": ("glffct-", (WORD, 20)),
    "gitlab feed": ("glft-", (WORD, 20)),
    "gitlab mail": ("glimt-", (WORD, 25)),
    "gitlab agent": ("glagent-", (WORD, 50)),
    "gitlab oauth": ("gloas-", (WORD, 64)),
    "gitlab trigger": ("glptt-", (HEX, 40)),
    "gitlab registration": ("GR1348941", (WORD, 20)),
    "gitlab runner": ("glrt-", (WORD, 20)),
    "gitlab runner routable": ("glrt-t1_", (WORD, 27), ".", (LOWER, 9)),
    "gitlab scim": ("glsoat-", (WORD, 20)),
    "npm": ("npm_", (ALNUM, 36)),
    "pypi": ("pypi-AgEIcHlwaS5vcmc", (WORD, 80)),
    "rubygems": ("rubygems_", (HEX, 48)),
    "clojars": ("CLOJARS_", (LOWER, 60)),
    "docker": ("dckr_pat_", (WORD, 27)),
    "docker organization": ("dckr_oat_", (WORD, 32)),
    "artifactory": ("AKCp", (ALNUM, 69)),
    "artifactory reference": ("cmVmd", (ALNUM, 59)),
    "postman": ("PMAK-", (HEX, 24), "-", (HEX, 34)),
    "pulumi": ("pul-", (HEX, 40)),
    "prefect": ("pnu_", (ALNUM, 36)),
    "octopus": ("API-", (UPPER, 26)),
    "readme": ("rdme_", (LOWER, 70)),
    "sourcegraph": ("sgp_", (HEX, 40)),
    "sourcegraph instance": ("sgp_", (HEX, 16), "_", (HEX, 40)),
    "harness": ("pat.", (WORD, 22), ".", (ALNUM, 24), ".", (ALNUM, 20)),
    "infracost": ("ico-", (ALNUM, 32)),
    "sentry user": ("sntryu_", (HEX, 64)),
    "sentry": ("sntrys_", "eyJpYXQiO", (BASE64, 60), "_", (BASE64, 43)),
    "grafana": ("glsa_", (ALNUM, 32), "_", (HEX, 8)),
    "grafana cloud": ("glc_", (BASE64, 80)),
    "new relic": ("NRAK-", (UPPER, 27)),
    "new relic insert": ("NRII-", (WORD, 32)),
    "dynatrace": ("dt0c01.", (UPPER, 24), ".", (UPPER, 64)),
    "posthog": ("phx_", (ALNUM, 43)),
    "supabase": ("sbp_", (LOWER, 40)),
    "supabase secret": ("sb_secret_", (WORD, 31)),
    "fly": ("fo1_", (WORD, 43)),
    "fly macaroon": ("fm2_", (BASE64, 160)),
    "heroku": ("HRKU-AA", (WORD, 58)),
    "scalingo": ("tk-us-", (WORD, 48)),
    "digitalocean": ("dop_v1_", (HEX, 64)),
    "digitalocean oauth": ("doo_v1_", (HEX, 64)),
    "digitalocean refresh": ("dor_v1_", (HEX, 64)),
    "cloudflare origin": ("v1.0-", (HEX, 24), "-", (HEX, 146)),
    "clickhouse": ("4b1d", (ALNUM, 38)),
    "planetscale": ("pscale_tkn_", (WORD, 43)),
    "planetscale oauth": ("pscale_oauth_", (WORD, 43)),
    "planetscale password": ("pscale_pw_", (WORD, 43)),
    "terraform": ((ALNUM, 14), ".atlasv1.", (WORD, 67)),
    "vault": ("hvs.", (WORD, 95)),
    "vault batch": ("hvb.", (WORD, 150)),
    "doppler": ("dp.pt.", (ALNUM, 43)),
    "one password": ("ops_eyJ", (BASE64, 260)),
    "age": ("AGE-SECRET-KEY-1", ("QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L", 58)),
    "openshift": ("sha256~", (WORD, 43)),
    "launchdarkly": ("api-", (HEX, 8), "-", (HEX, 4), "-", (HEX, 4), "-", (HEX, 4), "-", (HEX, 12)),
    # Clouds, money, messages
    "aws": ("AKIA", (BASE32, 16)),
    "aws session": ("ASIA", (BASE32, 16)),
    "aws bearer": ("ABIA", (BASE32, 16)),
    "alibaba": ("LTAI", (ALNUM, 20)),
    "yandex": ("AQVN", (WORD, 36)),
    "stripe": ("sk_live_", (ALNUM, 24)),
    "stripe test": ("sk_test_", (ALNUM, 24)),
    "stripe restricted": ("rk_live_", (ALNUM, 24)),
    "stripe webhook": ("whsec_", (ALNUM, 32)),
    "square": ("sq0atp-", (WORD, 22)),
    "square oauth": ("sq0csp-", (WORD, 43)),
    "shopify": ("shpat_", (HEX, 32)),
    "shopify custom": ("shpca_", (HEX, 32)),
    "shopify private": ("shppa_", (HEX, 32)),
    "shopify secret": ("shpss_", (HEX, 32)),
    "shippo": ("shippo_live_", (HEX, 40)),
    "duffel": ("duffel_live_", (WORD, 43)),
    "easypost": ("EZAK", (ALNUM, 54)),
    "flutterwave": ("FLWSECK_TEST-", ("abcdefgh" + DIGITS, 32), "-X"),
    "plaid": ("access-production-", (HEX, 8), "-", (HEX, 4), "-", (HEX, 4), "-", (HEX, 4), "-", (HEX, 12)),
    "adobe": ("p8e-", (LOWER, 32)),
    "facebook": ("EAAC", (ALNUM, 120)),
    "frameio": ("fio-u-", (WORD, 64)),
    "typeform": ("tfp_", (WORD, 59)),
    "airtable": ("pat", (ALNUM, 14), ".", (HEX, 64)),
    "notion": ("ntn_", (DIGITS, 11), (ALNUM, 35)),
    "linear": ("lin_api_", (ALNUM, 40)),
    "figma": ("figd_", (WORD, 40)),
    "asana": ("1/", (DIGITS, 16), ":", (HEX, 32)),
    "atlassian": ("ATATT3", (WORD, 186)),
    "slack bot": ("xoxb-", (DIGITS, 12), "-", (DIGITS, 12), "-", (ALNUM, 24)),
    "slack user": ("xoxp-", (DIGITS, 12), "-", (DIGITS, 12), "-", (DIGITS, 12), "-", (HEX, 32)),
    "slack app": ("xapp-1-", (UPPER, 11), "-", (DIGITS, 13), "-", (HEX, 64)),
    "slack configuration": ("xoxe.xoxp-1-", (UPPER, 164)),
    "sendgrid": ("SG.", (WORD, 22), ".", (WORD, 43)),
    "brevo": ("xkeysib-", (HEX, 64), "-", (LOWER, 16)),
    "mailgun": ("key-", (HEX, 32)),
    "resend": ("re_", (ALNUM, 8), "_", (ALNUM, 24)),
    "twilio": ("SK", (HEX, 32)),
    "telegram": ((DIGITS, 10), ":AA", (WORD, 33)),
    "settlemint": ("sm_pat_", (ALNUM, 16)),
    "jwt": ("eyJ", (ALNUM, 30), ".eyJ", (ALNUM, 60), ".", (WORD, 43)),
}


def key_of(parts, rng: random.Random) -> str:
    """
    Return a key that is drawn at random.

    Args:
        parts: The parts of one of `SHAPES`.
        rng: Where the letters come from.
    """
    while True:
        drawn = [part if isinstance(part, str) else "".join(rng.choices(part[0], k=part[1])) for part in parts]
        key = "".join(drawn)
        # A maker's key ends in a letter or a digit; where its alphabet is wider, a dash at an end is drawn again.
        if key[-1] not in "_-":
            return key


def keys(count: int, seed: int = 1):
    """Yield the maker and a key, `count` for each of `SHAPES`."""
    rng = random.Random(seed)
    for maker, parts in SHAPES.items():
        for _ in range(count):
            yield maker, key_of(parts, rng)
