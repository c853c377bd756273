"""
The forms of keys with a head of their own: whose they are, the heads, and what follows, by alphabet and length.

One table for all that redact or look for secrets: the rule `secrets`, `moa scan`, and the messages of errors.
A form is here if its head is enough to know it, or nearly so; keys without one (Mistral, Cohere) are found by name.

What follows a head is written as letters and lengths: `A22` is 22 of the alphabet `A`, `A5-6` is 5 or 6, `A20+` is
20 or more, and what is in quotes is itself. Only the last may be open: so no text is read twice (see `forms`).

Sources, by the letters in the table, all as of 2026:

* `g`: gitleaks, `config/gitleaks.toml`
* `t`: trufflehog, `pkg/detectors`
* `m`: the maker's own pages on its tokens
* `s`: several public scanners for keys of models, which agree; the maker says nothing
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["ALPHABETS", "FORMS", "Form", "pattern_of"]

ALPHABETS = {
    "A": "A-Za-z0-9",
    "N": "A-Za-z0-9_",
    "W": "A-Za-z0-9_-",
    "E": "A-Za-z0-9_=-",
    "L": "a-z0-9",
    "U": "A-Z0-9",
    "H": "a-f0-9",
    "X": "A-Fa-f0-9",
    "D": "0-9",
    "B": "A-Za-z0-9+/",
}
"""Classes of letters, as a regular expression has them between its brackets."""

_UUID = "L8 '-' L4 '-' L4 '-' L4 '-' L12"
_PART = re.compile(r"(?P<alphabet>[ANWELUHXDB])(?P<least>\d+)(?:(?P<open>\+)|-(?P<most>\d+))?|'(?P<text>[^']+)'")


class Form(NamedTuple):
    """
    One form.

    Attributes:
        whose: Who makes such keys.
        heads: What they begin with, with blanks between.
        tail: What follows, as the module says.
        source: Letters of the module's list.
        weak: The head is also that of words and names, so what follows must have capitals and small letters.
    """

    whose: str
    heads: str
    tail: str
    source: str
    weak: bool = False


FORMS = (
    # Models, and what programs with models use
    Form("OpenAI, Anthropic, OpenRouter, DeepSeek, Langfuse and look-alikes", "sk-", "W16+", "m"),
    Form("Google", "AIza", "W35+", "g"),
    Form("Google, OAuth secret", "GOCSPX-", "W28+", "m"),
    Form("Google, OAuth token", "ya29.", "L1 '.' W20+", "t"),
    Form("Google, OAuth token", "ya29.", "W20+", "t"),
    Form("Google, refresh token", "1//0", "W40+", "m"),
    Form("Amazon Bedrock", "ABSK", "B100+", "g"),
    Form("Amazon Bedrock, short-lived", "bedrock-api-key-", "B30+", "g"),
    Form("Groq", "gsk_", "A30+", "t"),
    Form("xAI", "xai-", "N30+", "t"),
    Form("Together", "tgp_v1_", "W40+", "s"),
    Form("Fireworks", "fw_", "A22-30", "s", weak=True),
    Form("Perplexity", "pplx-", "A30+", "g"),
    Form("NVIDIA", "nvapi-", "W40+", "t"),
    Form("Cerebras", "csk-", "L40+", "s"),
    Form("Pinecone", "pcsk_", "A5-6 '_' A60+", "t"),
    Form("LangSmith", "lsv2_pt_ lsv2_sk_", "L32 '_' L10", "g"),
    Form("Weights & Biases", "wandb_v1_", "W60+", "t"),
    Form("Jina", "jina_", "A40+", "s"),
    Form("Voyage", "pa-", "W43", "s", weak=True),
    Form("E2B", "e2b_", "H40", "s"),
    Form("Tavily", "tvly-", "W20+", "m"),
    Form("Firecrawl", "fc-", "H32", "s"),
    Form("Hugging Face", "hf_ api_org_", "A30+", "g"),
    Form("Replicate", "r8_", "W30+", "t"),
    Form("LlamaIndex", "llx-", "A40+", "s"),
    Form("ElevenLabs", "sk_", "H48", "t"),
    Form("RunPod", "rpa_", "U40+", "s"),
    Form("Modal", "ak- as-", "A22", "m", weak=True),
    Form("Databricks", "dapi", "H32 '-' D1", "g"),
    Form("Databricks", "dapi", "H32", "g"),
    # Code and its delivery
    Form("GitHub", "ghp_ gho_ ghu_ ghs_ ghr_", "A30+", "g"),
    Form("GitHub, fine-grained", "github_pat_", "W30+", "g"),
    Form("GitLab, routable", "glpat- glrt-", "W27-300 '.' L9", "g"),
    Form("GitLab", "glpat- glcbt- gldt- glffct- glft- glimt- glagent- gloas- glptt- glrt- glsoat-", "W20+", "g"),
    Form("GitLab, registration", "GR1348941", "W20+", "g"),
    Form("npm", "npm_", "A30+", "g"),
    Form("PyPI", "pypi-AgE", "W20+", "g"),
    Form("RubyGems", "rubygems_", "H48", "g"),
    Form("Clojars", "CLOJARS_", "A60", "g"),
    Form("Docker", "dckr_pat_ dckr_oat_", "W20+", "t"),
    Form("Artifactory", "AKCp", "A69", "g"),
    Form("Artifactory, reference", "cmVmd", "A59", "g"),
    Form("Postman", "PMAK-", "H24 '-' H34", "g"),
    Form("Pulumi", "pul-", "H40", "g"),
    Form("Prefect", "pnu_", "A36", "g"),
    Form("Octopus", "API-", "U26", "g"),
    Form("ReadMe", "rdme_", "L70", "g"),
    Form("Sourcegraph", "sgp_ sgp_local_", "X40", "g"),
    Form("Sourcegraph, instance", "sgp_", "X16 '_' X40", "g"),
    Form("Harness", "pat. sat.", "W22 '.' A24 '.' A20", "g"),
    Form("Infracost", "ico-", "A32", "g", weak=True),
    Form("Sentry, user", "sntryu_", "H64", "g"),
    Form("Sentry", "sntrys_", "B40-500 '_' B43", "g"),
    Form("Sentry", "sntrys_", "B30-500 '=' '_' B43", "g"),
    Form("Sentry", "sntrys_", "B30-500 '=' '=' '_' B43", "g"),
    Form("Grafana", "glsa_", "A32 '_' X8", "g"),
    Form("Grafana, cloud", "glc_", "B32+", "g"),
    Form("Grafana, old", "eyJrIjoi", "B60+", "g"),
    Form("New Relic", "NRAK-", "U27", "g"),
    Form("New Relic, insert", "NRII-", "W32", "g"),
    Form("New Relic, browser", "NRJS-", "H19", "g"),
    Form("Dynatrace", "dt0c01. dt0s01. dt0s16.", "U24 '.' U64", "gm"),
    Form("PostHog", "phx_", "N30+", "m"),
    Form("Supabase", "sbp_", "L40", "t"),
    Form("Supabase, secret", "sb_secret_", "W20+", "m"),
    Form("Netlify", "nfp_", "A30+", "s"),
    Form("Fly", "fo1_", "W43", "g"),
    Form("Fly, macaroon", "fm1r_ fm1a_ fm2_", "B100+", "g"),
    Form("Heroku", "HRKU-AA", "W58", "g"),
    Form("Scalingo", "tk-us-", "W48", "g"),
    Form("DigitalOcean", "dop_v1_ doo_v1_ dor_v1_", "H40+", "m"),
    Form("Cloudflare, origin", "v1.0-", "H24 '-' H146", "g"),
    Form("ClickHouse", "4b1d", "A38", "g", weak=True),
    Form("PlanetScale", "pscale_tkn_ pscale_oauth_ pscale_pw_", "W32+", "g"),
    Form("HashiCorp Vault", "hvs. hvb. hvr.", "W24+", "g"),
    Form("Doppler", "dp.pt. dp.st. dp.ct. dp.sa. dp.scim. dp.audit.", "A40+", "gm"),
    Form("1Password", "ops_eyJ", "B200+", "g"),
    Form("age", "AGE-SECRET-KEY-1", "U58", "g"),
    Form("OpenShift", "sha256~", "W43", "g"),
    Form("LaunchDarkly", "api- sdk-", _UUID, "t"),
    # Clouds, money, messages
    Form("AWS", "AKIA ASIA ABIA ACCA", "U16", "g"),
    Form("Alibaba", "LTAI", "A20", "g"),
    Form("Yandex", "AQVN", "W35-38", "g"),
    Form("Stripe", "sk_live_ sk_test_ sk_prod_ rk_live_ rk_test_ rk_prod_ pk_live_ pk_test_", "A16+", "gm"),
    Form("Stripe, webhook", "whsec_", "B24+", "m"),
    Form("Square", "sq0atp- sq0csp-", "W22+", "gt"),
    Form("Shopify", "shpat_ shpca_ shppa_ shpss_", "X32", "g"),
    Form("Shippo", "shippo_live_ shippo_test_", "X40", "g"),
    Form("Duffel", "duffel_live_ duffel_test_", "E43", "g"),
    Form("EasyPost", "EZAK EZTK", "A54", "g"),
    Form("Flutterwave", "FLWSECK_TEST- FLWSECK-", "L32 '-X'", "gt"),
    Form("Plaid", "access-sandbox- access-development- access-production-", _UUID, "g"),
    Form("Adobe", "p8e-", "A32", "g"),
    Form("Facebook", "EAAM EAAC EAAB", "A100+", "gt"),
    Form("Frame.io", "fio-u-", "E64", "g"),
    Form("Typeform", "tfp_", "W40+", "g"),
    Form("Airtable", "pat", "A14 '.' H64", "t"),
    Form("Notion", "ntn_", "D11 A35", "g"),
    Form("Notion, old", "secret_", "A43", "t", weak=True),
    Form("Linear", "lin_api_ lin_oauth_", "A40+", "gm"),
    Form("Figma", "figd_ figu_ figo_ figur_ figuh_ figor_ figoh_", "W30+", "t"),
    Form("Asana", "1/ 2/", "D13-20 ':' A32+", "t"),
    Form("Atlassian", "ATATT3 ATCTT3", "E100+", "gm"),
    Form("Slack", "xoxa- xoxb- xoxe- xoxo- xoxp- xoxr- xoxs- xapp-", "W10+", "g"),
    Form("Slack, configuration", "xoxe.xoxb- xoxe.xoxp-", "W40+", "g"),
    Form("SendGrid", "SG.", "W16-64 '.' W16+", "g"),
    Form("Brevo", "xkeysib- xsmtpsib-", "H64 '-' A16", "gt"),
    Form("Mailgun", "key-", "H32", "g"),
    Form("Resend", "re_", "A8 '_' A24", "t", weak=True),
    Form("Twilio", "SK", "X32", "g"),
    Form("SettleMint", "sm_aat_ sm_pat_ sm_sat_", "A16", "g"),
)


def pattern_of(tail: str) -> str:
    """
    Return the regular expression of a tail.

    Args:
        tail: As the module says.

    Raises:
        ValueError: It is not written so, or something follows an open length.
    """
    found = ""
    parts = [_PART.fullmatch(part) for part in tail.split()]
    for place, part in enumerate(parts):
        last = place == len(parts) - 1
        if part is None or (part["open"] and not last):
            raise ValueError(f"not the tail of a form: {tail!r}")
        if part["text"]:
            found += re.escape(part["text"])
            continue
        letters = ALPHABETS[part["alphabet"]]
        if part["open"]:
            found += f"[{letters}]{{{part['least']},}}+" + ("={0,3}" if part["alphabet"] == "B" else "")
        else:
            found += f"[{letters}]{{{part['least']},{part['most'] or part['least']}}}"
            if last:
                found += f"(?![{letters if part['alphabet'] in 'NWE' else ALPHABETS['A']}])"
    return found
