"""A page in headless Chromium; whatever it prints, throws or asks for, beside itself, fails the test."""

from __future__ import annotations

import contextlib
import time
from importlib.util import find_spec

import pytest

from moa_middleware import report
from tests.support import sample
from tests.support.chromium import executable, launched, missing


@pytest.fixture(scope="session")
def browser():
    """Return the browser, shared by all tests."""
    if find_spec("playwright") is None:
        missing("playwright: uv sync --group browser")
    if executable() is None:
        missing("chromium on the path")
    with launched() as browser:
        yield browser


@pytest.fixture(scope="session")
def sampled(tmp_path_factory):
    """Return a directory with the sample run, which no test may change."""
    return sample.write(tmp_path_factory.mktemp("sampled") / "traces", pace=0.02)


@pytest.fixture(scope="session")
def page_file(sampled, tmp_path_factory):
    """Return the page of the sample run."""
    path = tmp_path_factory.mktemp("page") / "run.html"
    report.write(sampled, path)
    return path


class Tab:
    """
    A tab with what happened in it.

    Attributes:
        page: Playwright's page.
        said: Messages of the console, exceptions, dialogs.
        asked: The addresses of all requests.
    """

    def __init__(self, page):
        self.page = page
        self.said, self.asked = [], []
        page.set_default_timeout(15_000)
        page.on("console", lambda message: self.said.append(message.text))
        page.on("pageerror", lambda error: self.said.append(str(error)))
        page.on("request", lambda request: self.asked.append(request.url.partition("#")[0]))
        page.on("dialog", self._dialog)
        page.on("popup", lambda popup: self.said.append("a window was opened"))
        page.on("download", lambda download: self.said.append("a download began"))

    def _dialog(self, dialog):
        self.said.append("a dialog was opened")
        dialog.dismiss()

    def open(self, path, fragment=""):
        """Open a file; return Playwright's page."""
        self.page.goto(path.as_uri() + fragment)
        self.page.wait_for_selector("main h1")
        return self.page

    def quiet(self, *addresses):
        """Assert that nothing was said, and nothing asked for but these addresses."""
        assert [] == self.said
        assert set(self.asked) <= {str(one) for one in addresses}


@pytest.fixture
def tab(browser):
    """Return a function that opens a tab with options of a browser's context; they must have kept quiet."""
    with contextlib.ExitStack() as stack:
        tabs = []

        def tab(**options):
            context = browser.new_context(**{"viewport": {"width": 1240, "height": 860}, **options})
            stack.callback(context.close)
            tabs.append(Tab(context.new_page()))
            return tabs[-1]

        yield tab
        for one in tabs:
            assert [] == one.said
            assert all(asked.startswith(("file:", "http://127.0.0.1:")) for asked in one.asked)


@pytest.fixture
def page(tab, page_file):
    """Return the list of the sample run, in a window of a desk."""
    return tab().open(page_file)


def names_of(page):
    """Return the names of the turns that the list shows."""
    return page.locator(".turns tbody .what a").all_inner_texts()


def unfold(page):
    """Open whatever is folded, as printing does."""
    page.evaluate("() => window.dispatchEvent(new Event('beforeprint'))")


def go(page, hash):  # noqa: A002 - the name that it has in a browser
    """Go to another view by its address, and wait until the page has gone there."""
    page.evaluate(
        "(hash) => new Promise((gone) => {"
        " if (location.hash === hash || (hash === '#' && !location.hash)) { gone(); return; }"
        " addEventListener('hashchange', () => setTimeout(gone), { once: true }); location.hash = hash; })",
        hash,
    )


def until(true, seconds=15):
    """Wait until something is so; the page's policy forbids the polling that playwright would do inside it."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)
