"""The page of the command line shows what the commands print."""

from __future__ import annotations

import pytest

from moa_middleware.cli._verbs import VERBS
from tests.support.cli_pages.pages import BLOCK, PAGE, agrees, furnish, output

BLOCKS = list(BLOCK.finditer(PAGE.read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a directory with the example traces."""
    path = tmp_path_factory.mktemp("examples")
    furnish(path)
    return path


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block["commands"].strip().split("\n")[-1])
def test_an_example_shows_what_its_command_prints(block, folder):
    """On the example traces, on a terminal of the page's width; `python -m tests.support.cli_pages.pages` writes them anew."""
    real = output(block["commands"], folder)
    assert block["shown"]
    assert agrees(block["shown"], real), real


def test_every_verb_is_on_the_page():
    """The table names each verb, and each that reads has an example."""
    text = PAGE.read_text(encoding="utf-8")
    assert text.count("```sh\n") == len(BLOCKS), "a block of commands has no output below it"
    assert all(f"`moa {verb}`" in text for verb in VERBS)
    shown = {block["commands"].split("moa ")[-1].split()[0] for block in BLOCKS}
    assert set(VERBS) - {"demo", "run", "recover"} == shown
