"""Headless Chromium, as the machine has it; without one the tests are skipped, or fail where they are required."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager

import pytest

ARGUMENTS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
"""The browser itself must ask nobody for anything either."""


def missing(what):
    """Skip, or fail where the tests of the page must run."""
    if os.environ.get("MOA_BROWSER_TESTS") == "required":
        pytest.fail(f"the tests of the page are required, and there is no {what}")
    pytest.skip(f"there is no {what}")


def executable():
    """Return where the browser is, `None` if there is none."""
    return next((found for name in ("chromium", "chromium-browser") if (found := shutil.which(name))), None)


@contextmanager
def launched():
    """Yield a browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable(), args=ARGUMENTS)
        yield browser
        browser.close()
