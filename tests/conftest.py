"""What every test gets: nothing left over from another, and every line checked against the schema."""

from __future__ import annotations

import gc
import json
import os
from copy import deepcopy

import jsonschema
import pytest
import structlog
from pydantic import TypeAdapter

import moa_middleware as moa
from moa_middleware._capture import config, log
from moa_middleware.records import LateRecord, TurnRecord
from moa_middleware.testing import capture_turns

pytest_plugins = ["tests.support.doses"]


def _closed(schema):
    """Return a schema that refuses keys that it does not name; the published one allows them."""
    schema = deepcopy(schema)
    for part in [schema, *schema.get("$defs", {}).values()]:
        if "properties" in part:
            part["additionalProperties"] = False
    return schema


SCHEMAS = {
    "moa-turn/1": _closed(TypeAdapter(TurnRecord).json_schema()),
    "moa-late/1": _closed(TypeAdapter(LateRecord).json_schema()),
}
VALIDATORS = {name: jsonschema.Draft202012Validator(schema) for name, schema in SCHEMAS.items()}


def _no_constant(name):
    raise AssertionError(f"{name} is not JSON")


def check(record):
    """Assert that a record has the published form, and no key beyond it."""
    errors = list(VALIDATORS[record["schema"]].iter_errors(record))
    assert not errors, [(list(e.absolute_path), e.message[:200]) for e in errors]


def lines_of(path):
    """Return the records of a file, each checked."""
    data = path.read_bytes()
    assert not data or data.endswith(b"\n")
    records = [json.loads(line, parse_constant=_no_constant) for line in data.split(b"\n") if line]
    for record in records:
        check(record)
    return records


def pytest_collection_finish(session):
    """Keep what is loaded by now out of every collection: tests collect often."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _alone(monkeypatch, request):
    """Start without settings, middleware or patches, and check every line that was written."""
    # Only a test that has a directory can have written lines. One for each test of thousands takes longer to
    # make and delete than most of them take to run.
    place = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    for name in list(os.environ):
        if name.startswith("MOA_"):
            monkeypatch.delenv(name)
    config.reset()
    moa.uninstrument()
    log.forget()
    yield
    gc.collect()
    gc.freeze()  # what is left is imported or cached; later collections need not look at it
    config.reset()
    moa.uninstrument()
    structlog.reset_defaults()
    for path in place.rglob("*.jsonl") if place else ():
        if "golden" not in path.parts:  # of a clone of this repository
            lines_of(path)


@pytest.fixture
def turns():
    """Return the list that grows by the record of each turn that closes."""
    with capture_turns() as found:
        yield found
        gc.collect()
    for record in found:
        check(record)


@pytest.fixture
def trace_dir(tmp_path, monkeypatch):
    """Turn traces on by the environment; the directory is not there yet."""
    path = tmp_path / "traces"
    monkeypatch.setenv("MOA_SAVE_TRACES", "1")
    monkeypatch.setenv("MOA_TRACE_DIR", str(path))
    return path


@pytest.fixture
def read_lines():
    """Return a function from a directory to its records, late ones last."""

    def read(path):
        return [record for file in sorted(path.rglob("*.jsonl")) for record in lines_of(file)]

    return read
