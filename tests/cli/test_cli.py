"""The command `moa` itself: help, version, exit codes, missing extras, and what a terminal may see."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moa_middleware import __version__
from moa_middleware.cli._text import one_line, safe_text


def python(*args, **env):
    """Run Python in a process of its own, and return it with its output as text."""
    return subprocess.run(
        [sys.executable, *args],
        env={**os.environ, "COLUMNS": "80", **env},
        capture_output=True,
        check=False,
        encoding="utf-8",
        timeout=60,
    )


def moa(*args, **env):
    """Run `python -m moa_middleware`."""
    return python("-m", "moa_middleware", *args, **env)


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_names_the_verbs(option):
    """The help lists each verb with what it does."""
    done = moa(option)
    assert (0, "") == (done.returncode, done.stderr)
    assert "demo     Run one Mixture-of-Agents turn" in done.stdout
    assert "recover  Write the turns of processes that died" in done.stdout


def test_version_is_the_package_s():
    """`moa --version` says the version and exits with 0."""
    done = moa("--version")
    assert (0, f"moa-middleware {__version__}\n", "") == (done.returncode, done.stdout, done.stderr)


def test_the_script_is_the_module():
    """The entry point `moa` is the `main` that `python -m` runs."""
    done = python("-c", "import sys; sys.argv[1:] = ['--version']; from moa_middleware.cli import main; main()")
    assert (0, f"moa-middleware {__version__}\n") == (done.returncode, done.stdout)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([], "Usage: moa"),
        (["dmo"], "Did you mean 'demo'?"),
        (["demo", "--nope"], "No such option: --nope"),
        (["demo", "a question", "too many"], "Usage: moa demo"),
    ],
)
def test_wrong_usage_exits_with_2(args, says):
    """Nothing to do, an unknown verb and an unknown option end with 2 and a hint, without a traceback."""
    done = moa(*args)
    assert 2 == done.returncode
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("module", ["typer", "rich"])
def test_a_missing_extra_is_named(module):
    """Without typer or rich the command says on stderr what to install, and exits with 4."""
    code = f"import sys; sys.modules[{module!r}] = None; from moa_middleware.cli import main; main()"
    done = python("-c", code)
    assert 4 == done.returncode
    assert 'moa needs the extra "cli": pip install "moa-middleware[cli]"\n' == done.stderr
    assert "" == done.stdout


def test_help_imports_nothing_heavy():
    """The help of `moa` and of a verb imports neither openai nor rich."""
    code = (
        "import sys; from moa_middleware.cli import main; sys.argv[1:] = {args}\n"
        "try: main()\n"
        "finally: print(sorted({{'openai', 'rich'}} & sys.modules.keys()))"
    )
    for args in (["--help"], ["demo", "--help"]):
        assert "[]" == python("-c", code.format(args=args)).stdout.splitlines()[-1]


def test_the_library_imports_no_command_line():
    """`import moa_middleware` imports neither typer nor the command."""
    code = "import sys, moa_middleware; print([m for m in sys.modules if 'typer' in m or '.cli.' in f'{m}.'])"
    assert "[]\n" == python("-c", code).stdout


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain äöü 日本 \U0001f600", "plain äöü 日本 \U0001f600"),
        ("a\n\tb", "a\n\tb"),
        ("\x1b]52;c;aGk=\x07", "\\x1b]52;c;aGk=\\x07"),
        ("\x1b[2J", "\\x1b[2J"),
        ("\r\x00\x7f", "\\x0d\\x00\\x7f"),
        ("\x85\x9b31m", "\\x85\\x9b31m"),
        ("\u061c\u200e\u200f", "\\u061c\\u200e\\u200f"),
        ("\u202a\u202e\u2066\u2069", "\\u202a\\u202e\\u2066\\u2069"),
        ("\ufeff", "\\ufeff"),
        ("\U000e0000\U000e0041\U000e007f", "\\U000e0000\\U000e0041\\U000e007f"),
        ("\ud83d", "\\ud83d"),
        ("[bold]x[/bold]", "[bold]x[/bold]"),
    ],
)
def test_what_a_terminal_would_obey_is_shown_as_an_escape(raw, shown):
    """Nothing is dropped; control and direction characters become visible, other text stays."""
    assert shown == safe_text(raw)


@given(st.text(st.characters(codec=None)))
def test_safe_text_can_be_printed_and_is_safe_already(text):
    """Any text becomes one that UTF-8 takes and that a second pass leaves alone."""
    safe = safe_text(text)
    safe.encode()
    assert safe == safe_text(safe)
    assert not [c for c in safe if c not in "\n\t" and (ord(c) < 32 or 0x7F <= ord(c) < 0xA0)]


def test_a_text_on_one_line_is_cut_and_escaped():
    """White space becomes single spaces, control characters are escaped and not dropped as such."""
    assert "a b \\x1c\\x85c" == one_line(" a\n\n b \x1c\x85c\t")
    assert "aaa…" == one_line("a" * 1000, 3)
