"""How plain HTTP clients are named: by entries with `host` and `path`, and by their modules."""

from __future__ import annotations

import importlib

import pytest

pytest.importorskip("aiohttp", reason="aiohttp is in the group test")
pytest.importorskip("httpx", reason="httpx is in the group test")
pytest.importorskip("httpx2", reason="httpx2 is in the group test")
pytest.importorskip("requests", reason="requests is in the group test")

import aiohttp
import httpx
import requests

import moa_middleware as moa
from moa_middleware._capture.calls.function import Options
from moa_middleware._capture.instrument import targets
from moa_middleware._capture.instrument.http import Filter, problem_of
from tests.support.http_ways import TLS
from tests.support.loopback import Answer, Loopback

CLIENTS = ["httpx", "httpx2", "requests", "aiohttp"]
BODY = {"model": "m", "messages": [{"role": "user", "content": "count"}]}


# Filters -----------------------------------------------------------------------------------------

NO_HOSTS = [
    *("1", "1.5", "127.0.0", "True", "None", "none:80", "https://api.x.ai", "api.x.ai/v1", "a b", "me@host"),
    *("127.0.0.1:80x", "host:", "::1", "[::1", "[x]", "host?key=1#"),
]
NO_PATHS = ["1", "v1/*", "True", "/v1?key=1", "/a b", "/v1#x", "https://host/v1"]


@pytest.mark.parametrize(
    ("option", "value"), [*(("host", one) for one in NO_HOSTS), *(("path", one) for one in NO_PATHS)]
)
def test_a_value_that_no_request_has_is_refused(option, value):
    """It is named with its column, and nothing is instrumented."""
    with pytest.raises(moa.TargetError) as caught:
        moa.instrument(f'requests,httpx({option}="{value}")')
    said = str(caught.value)
    assert f"column 12: {option} takes a {option}" in said
    assert repr(value) in said
    assert moa.instrumented("requests,httpx") == ()


@pytest.mark.parametrize("text", ["httpx(host=1)", "httpx(path=v1)", "httpx(host='')", 'httpx(path=" ")'])
def test_a_bad_filter_in_the_environment_is_logged(text, caplog):
    """The program runs on, and the other entries hold."""
    targets.apply(f"{text},requests", moa.default_stack, Options("call"))
    said = [one.getMessage() for one in caplog.records if "target_unknown" in one.getMessage()]
    assert len(said) == 1
    assert text in said[0]
    assert moa.instrumented("requests") == ("requests.Session.send",)
    assert moa.instrumented("httpx") == ()


URLS = {
    "http://127.0.0.1:8000/v1/x": ["*", "127.0.0.1", "127.*", "127.0.0.1:8000", "*:8000", "127.0.0.1:*"],
    "https://API.x.ai/v1/x": ["api.x.ai", "API.X.AI", "*.x.ai", "*.ai:443", "api.x.ai:*"],
    "http://[::1]:8000/v1/x": ["[::1]", "[::1]:8000", "[::*]", "[::1]:*", "*"],
    "http://localhost/v1/x": ["localhost", "localhost:80", "local*"],
}


@pytest.mark.parametrize(("url", "host"), [(url, host) for url, hosts in URLS.items() for host in hosts])
def test_a_host_takes_its_urls(url, host):
    """With and without a port, also an IPv6 address; and no other URL."""
    assert problem_of("host", host) is None
    assert Filter(host, "/v1/*").takes(url)
    assert not Filter(host, "/v2/*").takes(url)
    if host != "*":
        assert not Filter(host).takes("http://other.example:81/v1/x")


# The other options of targets --------------------------------------------------------------------


@pytest.mark.parametrize("word", ["None", "True", "self.class", "1", ""])
@pytest.mark.parametrize("option", ["messages", "system", "model", "label", "session_id", "layer"])
def test_a_word_that_is_no_parameter_is_refused(option, word):
    """A keyword of Python is not the name of a parameter, and a number is not one."""
    if (option, word) == ("layer", "1"):
        return  # a round
    with pytest.raises(moa.TargetError, match=r"column \d+: expected"):
        moa.instrument(f"a.b:c({option}={word})")


@pytest.mark.parametrize("value", [1, b"x", "", "a b", ["messages"]])
@pytest.mark.parametrize("target", ["openai", "httpx", httpx, "object"], ids=["sdk", "client", "module", "object"])
@pytest.mark.parametrize("option", ["messages", "system"])
def test_a_place_that_is_no_name_is_refused(option, target, value):
    """When it is given, and not in the middle of the program's first call."""

    class Client:
        def create(self, messages):
            """Ask."""

    target = Client() if target == "object" else target
    with pytest.raises(moa.TargetError, match=rf"instrument\({option}=…\) takes the name of a parameter"):
        moa.instrument(target, **{option: value})


# Modules -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLIENTS)
def test_a_module_means_what_its_name_means(name):
    """It is instrumented and taken back by either, whichever was used first."""
    module = importlib.import_module(name)
    for first in (module, name):
        for second in (module, name):
            assert moa.instrument(first) is first
            found = moa.instrumented(module)
            assert found
            assert found == moa.instrumented(name)
            moa.uninstrument(second)
            assert moa.instrumented(module) == moa.instrumented(name) == ()


def test_the_module_of_an_sdk_means_what_its_name_means():
    """The same for openai; the package of an SDK may have another name than the SDK."""
    openai = pytest.importorskip("openai", reason="openai is in the group test")
    for first, second in ((openai, "openai"), ("openai", openai)):
        moa.instrument(first)
        assert "chat.completions.create" in moa.instrumented(openai)
        assert moa.instrumented("openai") == moa.instrumented(openai)
        moa.uninstrument(second)
        assert moa.instrumented(openai) == moa.instrumented("openai") == ()


def test_a_module_records_its_requests(turns):
    """All of them, with the options that were given."""
    done = {"choices": [{"index": 0, "message": {"role": "assistant", "content": "One"}, "finish_reason": "stop"}]}
    import json

    with Loopback(lambda *_: Answer([json.dumps(done).encode()])) as server:
        moa.instrument(requests, label="by hand")
        moa.instrument(httpx)
        requests.post(f"{server.url}/v1/chat/completions", json=BODY)
        httpx.post(f"{server.url}/v1/chat/completions", json=BODY, verify=TLS)
        moa.uninstrument()
        requests.post(f"{server.url}/v1/chat/completions", json=BODY)
    assert [(turn["aggregator"]["output"], turn["aggregator"]["label"]) for turn in turns] == [
        ("One", "by hand"),
        ("One", "m"),
    ]


def test_a_path_in_a_module_is_a_call_of_its_own():
    """`instrument(httpx, call="post")` means that function, and not the client."""
    moa.instrument(httpx, call="post")
    assert moa.instrumented(httpx) == ("post",)
    assert moa.instrumented("httpx") == ()


@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (httpx.Client, "httpx"),
        (httpx.AsyncClient, "httpx"),
        (requests.Session(), "requests"),
        (aiohttp.ClientSession, "aiohttp"),
    ],
)
def test_a_single_client_is_refused_with_what_to_write(thing, name):
    """An HTTP client is instrumented as a whole."""
    with pytest.raises(moa.TargetError) as caught:
        moa.instrument(thing)
    assert f'instrument("{name}")' in str(caught.value)
