"""What a reply holds next to its text, by the real SDKs: read in one piece, as a stream, and left midway."""

from __future__ import annotations

import gc
import json

import pytest

import moa_middleware as moa
from moa_middleware.records import EMPTY_CALL
from moa_middleware.testing import capture_turns
from tests.conftest import check
from tests.support.reply_items import ITEMS
from tests.support.wire_replay import replay, ways_of, wire

WAYS = {False: ("value", "async_open_value"), True: ("for_loop", "lines")}
CASES = [(one, sdk, way) for one in ITEMS for sdk in one.form.sdks for way in WAYS[one.form.streamed]]
EARLY = [one for one in ITEMS if one.early is not None]


def replayed(form, sdk, name):
    """Return the record of a form that is read in one way."""
    [how] = [one for one in ways_of(form, sdk) if one.name == name]
    bare = replay(form, how, wire(sdk, is_async=how.is_async, role="bare"))
    made = wire(sdk, is_async=how.is_async, role="traced")
    moa.instrument(made.client)
    with capture_turns() as turns:
        seen = replay(form, how, made)
        if not turns:
            gc.collect()
    moa.uninstrument(made.client)
    assert bare.found == seen.found
    [turn] = turns
    check(turn)
    # Of images and audio the digests alone.
    assert not any(start in json.dumps(turn) for start in ("iVBORw0K", "UklGR"))
    [call] = [*turn["references"], *([turn["aggregator"]] if turn["aggregator"] else []), *turn["calls"]]
    return call


def further(call):
    """Return the keys of a record that are not always there."""
    return {key: value for key, value in call.items() if key not in EMPTY_CALL}


@pytest.mark.parametrize(("one", "sdk", "way"), CASES, ids=[f"{one}-{sdk}-{way}" for one, sdk, way in CASES])
def test_a_record_holds_it(one, sdk, way):
    """Key by key, and no other key."""
    assert one.keys == further(replayed(one.form, sdk, way))


@pytest.mark.parametrize("way", ["left", "async_left"])
@pytest.mark.parametrize("one", EARLY, ids=str)
def test_a_stream_that_is_left_keeps_what_came(one, way):
    """After half of its events."""
    found = further(replayed(one.form, one.form.sdks[0], way))
    found.pop("created", None)
    assert one.early == found
