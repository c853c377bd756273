"""The table of SDKs in the documentation is what real calls show: `tests/support/sdk_table.py` makes both."""

from __future__ import annotations

import json

import pytest

from tests.support import sdk_table

GOLDEN = json.loads(sdk_table.GOLDEN.read_text(encoding="utf-8"))


@pytest.mark.slow
@pytest.mark.parametrize("sdk", sorted({*GOLDEN, *sdk_table.installed()}))
def test_what_is_recorded_of_an_sdk_is_what_the_table_says(sdk):
    """Each form of it, sync and async. After a change on purpose: `python -m tests.support.sdk_table`."""
    if sdk not in sdk_table.installed():
        pytest.skip(f"{sdk} is not installed")
    assert sdk_table.observe(sdk) == GOLDEN[sdk]


def test_every_gap_has_its_reason():
    """What a form does not have is missing because the API has no place for it."""
    gaps = {
        (sdk, part)
        for sdk, forms in GOLDEN.items()
        for ways in forms.values()
        for parts in ways.values()
        for part in sdk_table.PARTS
        if part not in parts
    }
    assert gaps == set(sdk_table.GAPS)


def test_the_page_has_the_table():
    """It is made from the golden file."""
    assert sdk_table.PAGE.read_text(encoding="utf-8") == sdk_table.page_with(GOLDEN)
