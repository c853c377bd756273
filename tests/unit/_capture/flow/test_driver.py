"""The drivers: what they do with what a conversation asks for."""

from __future__ import annotations

import asyncio

import pytest

from moa_middleware._capture.flow.driver import drive_async, drive_sync


@pytest.mark.parametrize("drive", [drive_sync, lambda conversation: asyncio.run(drive_async(conversation))])
def test_an_effect_that_no_driver_knows_is_an_error(drive):
    """It does not resume its middleware with `None`, as if it had happened."""

    def conversation():
        yield object()

    with pytest.raises(TypeError, match="no driver performs object"):
        drive(conversation())
