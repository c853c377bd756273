"""The record's keys: each has a class, each is written by every builder, and content is what metadata leave out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NotRequired, get_args, get_origin, get_type_hints

import pytest
from typing_extensions import is_typeddict

from moa_middleware.record_classes import CLASSES, CONTENT, FIGURE
from moa_middleware.records import CallRecord, LateRecord, TurnRecord, UsageRecord

GOLDEN = Path(__file__).parents[1] / "golden" / "corpus"
OPEN = {"tags", "notes", "params", "tool_calls", "usage_raw", "filters", "citations"}
"""Keys whose value has keys of the user's or of the provider's."""


def keys_of(kind):
    """Return the required and the further keys of a typed dictionary, each with its type."""
    hints = get_type_hints(kind, include_extras=True)
    further = {name for name, hint in hints.items() if get_origin(hint) is NotRequired}
    return {name: hint for name, hint in hints.items() if name not in further}, further


def dicts_in(hint):
    """Return the typed dictionaries in a type, and whether it is a mapping of them."""
    if is_typeddict(hint):
        return [hint]
    return [found for inner in get_args(hint) for found in dicts_in(inner)]


def paths(kind, above=""):
    """Yield the path of each key; calls inside a turn have those of a call."""
    for name, hint in get_type_hints(kind, include_extras=True).items():
        below = dicts_in(hint)
        if CallRecord in below:
            continue
        if not below or above + name in OPEN:
            yield above + name
            continue
        for inner in below:
            yield from paths(inner, f"{above}{name}.{'*.' if name == 'omitted' else ''}")


def test_every_key_has_a_class_and_every_class_a_key():
    """A key that is added says whether it holds content; a class of no key is a slip of the pen."""
    there = {*paths(TurnRecord), *paths(CallRecord), *paths(LateRecord)}
    assert {path for path in there if path not in CLASSES} == OPEN
    assert {path for path in CLASSES if path not in there and path.partition(".")[0] not in OPEN} == set()
    assert {f"{name}.*" for name in OPEN} <= {path for path, kind in CLASSES.items() if kind == CONTENT}


def lines(name):
    """Return the records that a script of the corpus writes."""
    return [
        record
        for line in (GOLDEN / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        if "schema" in (record := json.loads(line))
    ]


def calls_of(record):
    """Return the calls of a line."""
    if "call" in record:
        return [record["call"]]
    return record["references"] + record["calls"] + ([record["aggregator"]] if record["aggregator"] else [])


def check_keys(value, kind):
    """Assert that a record, and each that is in it, has its keys and no other."""
    required, further = keys_of(kind)
    if kind is not UsageRecord or value:
        assert set(value) - further == set(required)
    for name, hint in required.items():
        for inner in dicts_in(hint):
            found = value.get(name)
            for one in found if isinstance(found, list) else [found]:
                if one is not None:
                    check_keys(one, inner)


@pytest.mark.parametrize("name", ["rich", "capture-metadata", "recovered", "hermes-functions", "late-call"])
def test_every_builder_writes_exactly_the_keys(name):
    """The live turn, the late call, the turn of a dead process and that of Hermes' functions."""
    found = lines(name)
    assert found
    for record in found:
        check_keys(record, LateRecord if "call" in record else TurnRecord)


def compare(rich, bare, path, seen):
    """Assert that figures are as they were, and that content is gone and listed."""
    kind = CLASSES.get(path) or CLASSES.get(f"{path.rpartition('.')[0]}.*")
    if path.startswith("filters."):
        kind = CONTENT  # at any depth
    if path.rpartition(".")[0] == "tool_calls" and path.endswith((".function", ".custom")):
        kind = None
    if kind == FIGURE:
        assert rich == bare, path
        seen.add(path)
    elif kind == CONTENT and not isinstance(rich, dict | list):
        number = path.partition(".")[0] in ("params", "usage_raw", "filters") and isinstance(rich, bool | int | float)
        assert bare == (rich if number else None), path
        seen.add(path)
    elif kind == CONTENT and bare is None:
        seen.add(path)
    elif isinstance(rich, dict):
        assert list(rich) == list(bare), path
        inside = path.replace(".function", "")
        for name, item in rich.items():
            compare(item, bare[name], f"{inside}.{name}" if inside else name, seen)
    elif isinstance(rich, list):
        for one, other in zip(rich, bare, strict=True):
            compare(one, other, path, seen)
    else:
        assert rich == bare, path


def test_metadata_leave_out_all_content_and_no_figure():
    """The same run with and without content, key by key."""
    seen = set()
    for rich, bare in zip(lines("rich"), lines("capture-metadata"), strict=True):
        for one, other in zip([rich, *calls_of(rich)], [bare, *calls_of(bare)], strict=True):
            drop = ("omitted", "references", "calls", "aggregator")
            parts = [{key: value for key, value in part.items() if key not in drop} for part in (one, other)]
            compare(*parts, "", seen)
    named = {path for path, kind in CLASSES.items() if kind == CONTENT and "*" not in path}
    assert named <= seen
    assert {"tags.mail", "params.stop", "params.temperature", "tool_calls.id", "tool_calls.arguments"} <= seen
