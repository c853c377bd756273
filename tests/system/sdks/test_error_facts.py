"""What an error says of the HTTP response behind it: status, code, request id, and when to try again."""

from __future__ import annotations

import importlib
import json

import pytest

import moa_middleware as moa
from moa_middleware._capture.flow.http_failure import facts_of
from moa_middleware.testing import capture_turns
from tests.conftest import check

BODIES = {
    "openai": {"error": {"message": "Too fast.", "type": "requests", "code": "rate_limit_exceeded", "param": None}},
    "groq": {"error": {"message": "Too fast.", "type": "requests", "code": "rate_limit_exceeded"}},
    "together": {"error": {"message": "Too fast.", "type": "requests", "code": "rate_limit_exceeded"}},
    "anthropic": {
        "type": "error",
        "error": {"type": "rate_limit_error", "message": "Too fast."},
        "request_id": "req_b",
    },
}
HEADERS = {"retry-after": "7", "x-secret": "of-the-account"}
IDS = {"anthropic": "request-id"}


def client_of(sdk, status, headers, body):
    """Return a client whose requests all fail."""
    module = importlib.import_module(sdk)
    kind = getattr(module, "DefaultHttpxClient").__mro__[1]
    http = importlib.import_module(kind.__module__.partition(".")[0])

    def answer(request):
        return http.Response(status, headers=headers, json=body, request=request)

    made = getattr(module, {"openai": "OpenAI", "anthropic": "Anthropic", "groq": "Groq", "together": "Together"}[sdk])
    transport = http.Client(transport=http.MockTransport(answer), trust_env=False)
    return made(base_url="http://mock/v1", api_key="key-of-the-test", max_retries=0, http_client=transport)


def error_of(sdk, status=429, headers=None, body=None):
    """Return the error that the record of a failed request has."""
    headers = {**HEADERS, IDS.get(sdk, "x-request-id"): "req_1"} if headers is None else headers
    client = moa.instrument(client_of(sdk, status, headers, BODIES[sdk] if body is None else body))
    asked = {"model": "m", "messages": [{"role": "user", "content": "Why?"}]}
    resource = client.messages if sdk == "anthropic" else client.chat.completions
    with capture_turns() as turns, pytest.raises(Exception, match=r"Too fast|Error"):
        resource.create(**asked, **({"max_tokens": 5} if sdk == "anthropic" else {}))
    [turn] = turns
    check(turn)
    assert "of-the-account" not in json.dumps(turn)
    assert turn["error"] == turn["aggregator"]["error"]
    return turn["error"]


@pytest.mark.parametrize("sdk", BODIES)
def test_an_sdks_exception_says_all_of_it(sdk):
    """By the real SDK; no other header is read."""
    found = error_of(sdk)
    code = "rate_limit_error" if sdk == "anthropic" else "rate_limit_exceeded"
    facts = {key: value for key, value in found.items() if key not in ("type", "message")}
    assert {"status": 429, "code": code, "request_id": "req_1", "retry_after": 7.0} == facts


@pytest.mark.parametrize("sdk", ["openai", "anthropic"])
def test_what_is_missing_or_odd_is_not_there(sdk):
    """A code that is no word might be a text of somebody's, and a wait that is no number is none."""
    body = {"error": {"message": "Too fast.", "code": "to jane@example.com", "type": "see: jane doe"}}
    found = error_of(sdk, 503, {"retry-after": "soon"}, body)
    assert {"type", "message", "status"} == found.keys()
    assert 503 == found["status"]


def test_a_wait_in_milliseconds_and_one_until_a_date():
    """As OpenAI and RFC 9110 have them; a date that has passed is 0."""
    assert 0.25 == error_of("openai", headers={"retry-after-ms": "250"})["retry_after"]
    past = {"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}
    assert 0 == error_of("openai", headers=past)["retry_after"]


class BotoError(Exception):
    """An exception with the response of botocore's `ClientError`."""

    def __init__(self):
        super().__init__("slow down")
        headers = {"retry-after": "3", "x-amzn-requestid": "req_2"}
        self.response = {
            "Error": {"Code": "ThrottlingException", "Message": "slow down"},
            "ResponseMetadata": {"RequestId": "req_2", "HTTPStatusCode": 429, "HTTPHeaders": headers},
        }


class GeminiError(Exception):
    """An exception with the fields of google-genai's `APIError`."""

    def __init__(self):
        super().__init__("slow down")
        self.code, self.status = 429, "RESOURCE_EXHAUSTED"
        self.details = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "slow down"}}


class GeminiEventError(Exception):
    """The same of an event in a stream, which has no response."""

    def __init__(self):
        super().__init__("slow down")
        self.code, self.status, self.response = 429, "RESOURCE_EXHAUSTED", None
        self.details = {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "slow down"}


class OllamaError(Exception):
    """An exception with the fields of Ollama's `ResponseError`."""

    def __init__(self):
        super().__init__("no such model")
        self.error, self.status_code = "no such model", 404


class OwnError(Exception):
    """A user's own, whose code may be anything."""

    def __init__(self):
        super().__init__("no")
        self.code = "4711"


def own_error(**stored):
    """Return an exception of a program's own with these attributes."""
    made = Exception("no")
    vars(made).update(stored)
    return made


@pytest.mark.parametrize(
    "stored",
    [
        {"code": 404},
        {"status": 200},
        {"code": 200, "status": "open"},
        {"body": {"code": "hunter2"}},
        {"details": {"type": "of-jane", "request_id": "of-jane"}},
        {"response": {"code": "hunter2"}, "code": "hunter2"},
        {"response": "hunter2", "code": 404},
    ],
    ids=str,
)
def test_an_error_of_a_programs_own_says_nothing_of_http(stored):
    """An exit code is no HTTP status, and what is in its body is content, which no rule would look at here."""
    assert facts_of(own_error(**stored)) == {}


class LazyError(Exception):
    """One whose property would read a connection."""

    @property
    def response(self):
        """Fail the test."""
        raise AssertionError


FACTS = {
    BotoError: {"status": 429, "code": "ThrottlingException", "request_id": "req_2", "retry_after": 3.0},
    GeminiError: {"status": 429, "code": "RESOURCE_EXHAUSTED"},
    GeminiEventError: {"status": 429, "code": "RESOURCE_EXHAUSTED"},
    OllamaError: {"status": 404},
    OwnError: {},
    LazyError: {},
    ValueError: {},
}


@pytest.mark.parametrize("kind", FACTS)
def test_exceptions_of_other_sdks(kind):
    """By the fields that they store; no property runs."""
    assert FACTS[kind] == facts_of(kind())


def test_an_error_in_a_body_of_status_200_has_its_code():
    """OpenRouter sends the status as the code."""

    @moa.reference(model="m")
    def ask(messages):
        return {"error": {"code": 429, "message": "Too fast."}}

    with capture_turns() as turns:
        ask([{"role": "user", "content": "Why?"}])
    [call] = [*turns[0]["references"], *filter(None, [turns[0]["aggregator"]])]
    assert ("error", 429) == (call["outcome"], call["error"]["status"])
