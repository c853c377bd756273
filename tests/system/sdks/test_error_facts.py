"""What an error says of the HTTP response behind it: status, code, request id, and when to try again."""

from __future__ import annotations

import importlib
import json
from collections import namedtuple
from dataclasses import dataclass
from email.message import Message
from types import SimpleNamespace

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


@pytest.mark.parametrize("day", ["9" * 20, "0", "31 Feb", "x", "-1"])
def test_a_date_that_is_none_costs_the_wait_alone(day):
    """Status and id of the request stay, also where a number in it is larger than a date can have."""
    found = error_of("openai", 429, {"retry-after": f"{day} Jan 2020 00:00:00 GMT", "x-request-id": "req_d"})
    assert {"status": 429, "request_id": "req_d"}.items() <= found.items()
    assert "retry_after" not in found


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


class CountingError(Exception):
    """An exception that stores a response of somebody's class."""

    def __init__(self, response):
        super().__init__("slow down")
        self.response, self.status_code = response, 429


def with_properties(error):
    """Return a response whose attributes are properties that count how often they run, and then raise or answer."""

    def answer(self, name):
        type(self).ran.append(name)
        if error is not None:
            raise error
        return {"headers": {"x-request-id": "req_p"}, "status_code": 500}.get(name)

    names = ("headers", "status_code", "status", "body", "text", "json")
    found = {name: property(lambda self, name=name: answer(self, name)) for name in names}
    return type("Response", (), {**found, "ran": [], "__getattr__": answer})()


class OwnDict(dict):
    """A dictionary whose methods are its own, as some libraries of configurations have them."""

    def get(self, *_):
        """Fail the test."""
        raise AssertionError

    items = keys = __getitem__ = __iter__ = get


class OwnHeaders:
    """Headers of a class that is not known."""

    def get(self, *_):
        """Fail the test."""
        raise AssertionError

    __getitem__ = __iter__ = get


class Disguised:
    """An object that pretends to be a dictionary, and a text that is made when it is asked for."""

    @property
    def __class__(self):
        """Fail the test."""
        raise AssertionError

    def __eq__(self, _):
        raise AssertionError

    def __str__(self):
        raise AssertionError

    __hash__ = None


@pytest.mark.parametrize("error", [None, ValueError("v"), KeyError("k"), SystemExit(1), AssertionError()], ids=repr)
def test_no_property_of_a_response_runs(error):
    """It might read a connection, or raise what would end the program: what the exception itself stores is enough."""
    response = with_properties(error)
    assert facts_of(CountingError(response)) == {"status": 429}
    assert type(response).ran == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: OwnDict(ResponseMetadata={"HTTPStatusCode": 503}),
        lambda: SimpleNamespace(headers=OwnHeaders(), status_code=503),
        lambda: SimpleNamespace(headers=OwnDict({"x-request-id": "req_d"}), status_code=503),
        lambda: SimpleNamespace(headers=Disguised(), status_code=Disguised()),
        lambda: SimpleNamespace(headers={"x-request-id": Disguised(), 5: "a", Disguised: "b"}, status_code="503"),
        Disguised,
    ],
    ids=["dict", "headers", "headers that are a dict", "disguised", "odd headers", "nothing"],
)
def test_no_method_of_a_foreign_class_runs(make):
    """What is stored is read by the methods of the builtin types."""
    error = CountingError(make())
    error.code = error.details = Disguised()
    found = facts_of(error)
    assert found["status"] == 429
    assert found.keys() <= {"status", "request_id"}


Named = namedtuple("Named", "status_code headers")


@dataclass(slots=True)
class Slotted:
    """A response whose fields are slots."""

    status_code: int
    headers: dict


@pytest.mark.parametrize("make", [Named, Slotted, lambda *a: SimpleNamespace(status_code=a[0], headers=a[1])])
def test_what_a_response_of_ones_own_stores_is_read(make):
    """In slots, in a named tuple, or as attributes."""
    error = own_error(response=make(503, {"X-Request-Id": "req_o", "Retry-After": "4"}))
    assert facts_of(error) == {"status": 503, "request_id": "req_o", "retry_after": 4.0}


@pytest.mark.parametrize("library", ["httpx", "httpx2", "requests", "urllib3", "aiohttp", "email"])
def test_the_headers_of_http_libraries_are_read(library):
    """By their own methods, which know no case."""
    headers = {"X-Request-Id": "req_h", "Retry-After": "4"}
    if library == "requests":
        response = pytest.importorskip("requests").Response()
        response.status_code = 503
        response.headers.update(headers)
    elif library == "urllib3":
        response = pytest.importorskip("urllib3").HTTPResponse(b"", headers, status=503)
    elif library in ("aiohttp", "email"):
        made = Message() if library == "email" else pytest.importorskip("multidict").CIMultiDict()
        for name, value in headers.items():
            made[name] = value
        response = SimpleNamespace(status=503, headers=made)
    else:
        response = pytest.importorskip(library).Response(503, headers=headers)
    assert facts_of(own_error(response=response)) == {"status": 503, "request_id": "req_h", "retry_after": 4.0}


def test_an_error_in_a_body_of_status_200_has_its_code():
    """OpenRouter sends the status as the code."""

    @moa.reference(model="m")
    def ask(messages):
        return {"error": {"code": 429, "message": "Too fast."}}

    with capture_turns() as turns:
        ask([{"role": "user", "content": "Why?"}])
    [call] = [*turns[0]["references"], *filter(None, [turns[0]["aggregator"]])]
    assert ("error", 429) == (call["outcome"], call["error"]["status"])


class QuotingError(Exception):
    """As Cohere's, whose text quotes all headers of the response."""

    def __init__(self, headers, status_code=429):
        super().__init__()
        self.headers, self.status_code = headers, status_code

    def __str__(self):
        return f"headers: {self.headers}, status_code: {self.status_code}, body: too fast"


class Loud:
    def __repr__(self):
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ({"x-account": "of-the-account", "retry-after": "7"}, "headers: {…}, status_code: 429, body: too fast"),
        ({}, "headers: {}, status_code: 429, body: too fast"),
        (None, "headers: None, status_code: 429, body: too fast"),
        ({"x-account": Loud()}, ""),
    ],
    ids=["headers", "empty", "none", "loud"],
)
def test_headers_that_an_exception_quotes_are_not_recorded(headers, says):
    """The caller's exception says what it said before."""
    error = QuotingError(headers)

    @moa.reference
    def ask(prompt):
        raise error

    with capture_turns() as turns, pytest.raises(QuotingError) as raised:
        ask("Why?")
    assert raised.value is error
    assert error.headers is headers
    assert turns[0]["error"]["message"] == says
    assert turns[0]["error"].get("retry_after") == (7 if headers and "retry-after" in headers else None)
