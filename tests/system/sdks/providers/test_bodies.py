"""The body of Bedrock's `invoke_model`: the caller reads it in whichever way, and the library never does."""

from __future__ import annotations

import asyncio
import gc
import io
import json

import pytest

botocore = pytest.importorskip("botocore", reason="botocore is not installed (it needs an environment of its own)")
pytest.importorskip("aiobotocore", reason="aiobotocore is not installed (it needs an environment of its own)")

import moa_middleware as moa  # noqa: E402
from moa_middleware.testing import capture_turns  # noqa: E402
from tests.support.loopback import Answer  # noqa: E402
from tests.support.providers import TEXT, bedrock  # noqa: E402

MODEL = "meta.llama3-70b-instruct-v1:0"
ASKED = {"modelId": MODEL, "body": b'{"prompt": "count", "max_gen_len": 50, "temperature": 0.5}'}
DATA = b"".join(bedrock.answer(f"/model/{MODEL}/invoke", None).pieces)


def _pieces(body):
    found = []
    while piece := body.read(7):
        found.append(piece)
    return b"".join(found)


def _into(body):
    buffer, found = bytearray(7), b""
    while size := body.readinto(buffer):
        found += buffer[:size]
    return found


def _in_with(read):
    def use(body):
        with body as raw:
            return read(raw)

    return use


def _as_long_as_it_is(body):
    return b"".join((body.read(50), body.read(len(DATA) - 50)))


WAYS = {
    "read": lambda body: body.read(),
    "pieces": _pieces,
    "exactly": _as_long_as_it_is,
    "iter": b"".join,
    "chunks": lambda body: b"".join(body.iter_chunks(10)),
    "lines": lambda body: b"\n".join(body.iter_lines()),
    "readlines": lambda body: b"".join(body.readlines()),
    "readinto": _into,
    "json": lambda body: json.dumps(json.load(body)).encode(),
    "with": _in_with(lambda raw: raw.read()),
    "with, data": _in_with(lambda raw: raw.data),
    "with, decoded": _in_with(lambda raw: raw.read(decode_content=True)),
    "with, stream": _in_with(lambda raw: b"".join(raw.stream(7))),
    "with, iter": _in_with(b"".join),
    "with, json": _in_with(lambda raw: json.dumps(raw.json()).encode()),
    "with, at once": _in_with(lambda raw: b"".join(iter(raw.read1, b""))),
    "with, exactly": _in_with(lambda raw: raw.read(len(DATA))),
    "buffered": lambda body: io.TextIOWrapper(io.BufferedReader(body)).read().encode(),
}


async def _async_pieces(body):
    found = []
    while piece := await body.read(7):
        found.append(piece)
    return b"".join(found)


async def _async_with(body):
    async with body as same:
        assert same is body
        return await body.read()


async def _async_chunks(body):
    return b"".join([piece async for piece in body.iter_chunks(10)])


async def _async_lines(body):
    return b"\n".join([line async for line in body.iter_lines()])


ASYNC_WAYS = {
    "read": lambda body: body.read(),
    "pieces": _async_pieces,
    "with": _async_with,
    "chunks": _async_chunks,
    "lines": _async_lines,
}


def ask(use, *, answer=bedrock.answer, instrument=True):
    """Ask in sync code, and return what `use` makes of the body."""
    with bedrock.connect(answer) as client:
        if instrument:
            moa.instrument(client)
        return use(client.invoke_model(**ASKED)["body"])


async def _ask_async(use, answer):
    with bedrock.connect(answer, is_async=True) as opened:
        async with opened() as client:
            moa.instrument(client)
            return await use((await client.invoke_model(**ASKED))["body"])


def only(turns):
    gc.collect()
    moa.flush()
    [turn] = turns
    [call] = [*turn["references"], *([turn["aggregator"]] if turn["aggregator"] else []), *turn["calls"]]
    return call


def assert_read(call):
    assert (call["outcome"], call["output"], call["finish_reason"]) == ("completed", TEXT, "stop")
    assert (call["usage"]["input_tokens"], call["usage"]["output_tokens"]) == (11, 5)
    assert (call["streamed"], call["chunks"], call["response_id"]) == (False, None, "r1")
    assert (call["model"], call["temperature"]) == (MODEL, 0.5)


@pytest.mark.parametrize("way", WAYS)
def test_a_body_is_recorded_however_it_is_read(way):
    """And the caller has the bytes of the server."""
    with capture_turns() as turns:
        assert ask(WAYS[way]) == DATA
    assert_read(only(turns))


@pytest.mark.parametrize("way", ASYNC_WAYS)
def test_an_async_body_is_recorded_however_it_is_read(way):
    """Aiobotocore's has the same methods, as coroutines."""
    with capture_turns() as turns:
        assert asyncio.run(_ask_async(ASYNC_WAYS[way], bedrock.answer)) == DATA
    assert_read(only(turns))


def test_the_body_is_the_sdks_own_object():
    """An instance of its class, of exactly that class again at the end; `isinstance`, names and repr are the class's."""
    kind = botocore.response.StreamingBody

    def use(body):
        assert isinstance(body, kind)
        assert isinstance(body, io.IOBase)
        assert (type(body).__name__, type(body).__module__) == (kind.__name__, kind.__module__)
        assert body.readable()
        body.read()
        assert type(body) is kind
        assert vars(body).keys() == {"_raw_stream", "_content_length", "_amount_read"}
        return body.tell()

    with capture_turns() as turns:
        assert ask(use) == ask(lambda body: (body.read(), body.tell())[1], instrument=False)
    assert_read(only(turns))


@pytest.mark.parametrize(
    ("use", "outcome"),
    [
        (lambda body: body.close(), "closed"),
        (lambda body: (body.read(5), body.close()), "closed"),
        (lambda body: body.read(5), "abandoned"),
        (lambda body: None, "abandoned"),
        (_in_with(lambda raw: raw.read(5)), "closed"),
    ],
    ids=["closed", "closed midway", "dropped midway", "dropped", "left midway"],
)
def test_a_body_that_is_not_read_to_its_end_has_no_text(use, outcome):
    """Half a JSON text says nothing."""
    with capture_turns() as turns:
        ask(use)
    call = only(turns)
    assert (call["outcome"], call["output"], call["model"]) == (outcome, None, MODEL)


def test_an_exception_in_a_with_is_the_consumers():
    """It passes, and the record names it."""

    def use(body):
        with body:
            raise ZeroDivisionError

    with capture_turns() as turns, pytest.raises(ZeroDivisionError):
        ask(use)
    assert only(turns)["outcome"] == "consumer_error"


@pytest.mark.parametrize("read", [lambda raw: raw.data, lambda raw: b"".join(raw.stream(7))], ids=["data", "stream"])
def test_an_exception_after_a_whole_body_is_not_the_replys(read):
    """It passes, and nothing of the reply is missing."""

    def use(body):
        with body as raw:
            raise ZeroDivisionError(len(read(raw)))

    with capture_turns() as turns, pytest.raises(ZeroDivisionError):
        ask(use)
    assert_read(only(turns))


def test_a_body_that_is_cut_is_an_error():
    """By the SDK's own exception, which the caller gets without us as well."""

    def cut(path, asked):
        return bedrock.answer(path, asked)._replace(pieces=[DATA[:20]], cut=True)

    with pytest.raises(Exception) as plain:
        ask(lambda body: body.read(), answer=cut, instrument=False)
    with capture_turns() as turns, pytest.raises(type(plain.value)):
        ask(lambda body: body.read(), answer=cut)
    call = only(turns)
    assert (call["outcome"], call["output"]) == ("error", None)
    assert call["error"]["type"].endswith(type(plain.value).__name__)


@pytest.mark.parametrize("body", [b"\x89PNG", b'{"images": ["aGk="]}', b"[1]", b""])
def test_a_body_of_no_known_form_is_left_alone(body):
    """An image, an embedding: the call is recorded, without a text."""
    answer = Answer([body], headers=bedrock.HEADERS)
    with capture_turns() as turns:
        assert ask(lambda found: found.read(), answer=lambda *_: answer) == body
    call = only(turns)
    assert (call["outcome"], call["output"]) == ("completed", None)


def test_a_response_is_the_very_dict_that_the_sdk_made():
    """With the SDK's own metadata, and nothing besides."""
    with bedrock.connect(bedrock.answer) as client:
        plain = client.invoke_model(**ASKED).keys(), client.converse_stream(**bedrock.CONVERSE).keys()
        moa.instrument(client)
        with capture_turns():
            assert (client.invoke_model(**ASKED).keys(), client.converse_stream(**bedrock.CONVERSE).keys()) == plain


def test_positional_arguments_are_refused_at_once():
    """As the SDK does it, with its words."""
    with bedrock.connect(bedrock.answer) as client:
        moa.instrument(client)
        with capture_turns(), pytest.raises(TypeError, match="only accepts keyword arguments"):
            client.invoke_model(MODEL)


def test_other_services_and_operations_are_left_alone():
    """A client of another service cannot be instrumented, and the methods of every other client stay."""
    moa.instrument("bedrock")
    with bedrock.connect(bedrock.answer) as client:
        other = bedrock._session().client("sts", **bedrock._KEYS)
        assert type(other).get_caller_identity.__code__ is type(client).count_tokens.__code__
        assert not hasattr(type(client).count_tokens, "__wrapped__")
        assert hasattr(type(client).converse, "__wrapped__")
        with pytest.raises(moa.TargetError):
            moa.instrument(other)
    moa.uninstrument()
    assert not hasattr(type(client).converse, "__wrapped__")


@pytest.mark.parametrize("kind", [bytes, bytearray, bytes.decode], ids=["bytes", "bytearray", "str"])
@pytest.mark.parametrize(
    ("params", "sent"),
    [
        ({"max_gen_len": 9, "temperature": 0.5}, {"max_gen_len": 9, "temperature": 0.5}),
        ({"temperature": 0.1}, {"temperature": 0.1}),
        ({"max_gen_len": 50, "temperature": 0.5, "top_p": 0.9}, {"max_gen_len": 50, "temperature": 0.5, "top_p": 0.9}),
        ({"guardrailVersion": "1"}, {}),
        ({}, {}),
    ],
    ids=str,
)
def test_a_middleware_changes_the_parameters_in_a_body(params, sent, kind):
    """Those that are arguments of the method stay there."""
    asked = []

    def answer(path, body):
        asked.append(body)
        return bedrock.answer(path, body)

    stack = moa.Stack([lambda call: (yield call.replace(params=params))])
    given = {**ASKED, "guardrailIdentifier": "g-1", "guardrailVersion": "DRAFT", "body": kind(ASKED["body"])}
    with capture_turns() as turns, bedrock.connect(answer) as client:
        stack.instrument(client)
        assert client.invoke_model(**given)["body"].read() == DATA
    assert asked == [{"prompt": "count", **sent}]
    assert given["body"] == kind(ASKED["body"])
    assert only(turns)["output"] == TEXT
