"""The decorators keep types: what users write passes mypy strict and pyright, and mistakes do not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import moa_middleware as moa

ROOT = Path(__file__).parents[2]
API = ROOT / "tests" / "support" / "typing" / "api.py"

# Each line that ends in `# wrong` has to be refused, and no other.
MISTAKES = """
from openai import OpenAI

import moa_middleware as moa


@moa.reference
def propose(model: str) -> str:
    return model


@moa.aggregator(label="l")
async def aggregate(texts: list[str]) -> str:
    return ""


@moa.turn(session_id="s")
def create(question: str) -> str:
    return question


@moa.client(reference="ask")
class Client:
    def __init__(self, name: str) -> None:
        self.name = name


async def main() -> None:
    propose(3)  # wrong
    propose("m", 1)  # wrong
    number: int = propose("m")  # wrong
    await aggregate("text")  # wrong
    create(question=1)  # wrong
    Client(1)  # wrong
    Client()  # wrong
    moa.instrument(Client("n")).missing  # wrong
    moa.instrument(OpenAI()).chat.completions.create(model=1, messages=[], stream=True)  # wrong
    moa.instrument(Client("n"), turns="create")  # wrong
    moa.reference(labels="l")  # wrong
    moa.reference(layer="1")  # wrong
    moa.turn(label="l")  # wrong
    moa.tag(tenant="a")  # wrong
    moa.client(propose)  # wrong
    moa.carry(propose)(3)  # wrong
    moa.observer(3)  # wrong
    with moa.turn() as turn:
        turn.missing  # wrong
    moa.configure(middleware=[propose])  # wrong


def flow(call: moa.Call) -> moa.Flow:
    reply = yield call
    reply.missing  # wrong
    hit = yield from moa.wait(aggregate([]))
    hit.missing  # wrong
    yield 3  # wrong
"""

CHECKERS = {
    "mypy": ["mypy", "--strict", "--follow-imports=silent", "--no-error-summary", "--hide-error-context"],
    "basedpyright": ["basedpyright"],
}


def check(checker, path, cwd):
    """Return the exit code and the output of a type checker on one file."""
    command, *options = CHECKERS[checker]
    if checker == "mypy":
        # As a user has the package: errors inside it are not theirs to see.
        options += ["--cache-dir", str(cwd / ".mypy_cache"), "--config-file", str(cwd / "mypy.ini")]
        (cwd / "mypy.ini").write_text("[mypy]\n")
    else:
        options += ["--project", str(cwd), "--pythonpath", sys.executable]
        roots = f'"extraPaths": ["{ROOT}"], "include": ["{path}"], "typeCheckingMode": "standard"'
        (cwd / "pyrightconfig.json").write_text(f"{{{roots}}}")
        path = ""
    done = subprocess.run(
        [sys.executable, "-m", command, *options, *([str(path)] if path else [])],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("checker", CHECKERS)
def test_what_users_write_keeps_its_types(checker, tmp_path):
    """`tests/support/typing/api.py`, with `assert_type` for each name, has no error."""
    code, output = check(checker, API, tmp_path)
    assert 0 == code, output


@pytest.mark.slow
@pytest.mark.parametrize("checker", CHECKERS)
def test_mistakes_are_found(checker, tmp_path):
    """A wrong argument to something decorated is an error, line by line."""
    path = tmp_path / "mistakes.py"
    path.write_text(MISTAKES)
    code, output = check(checker, path, tmp_path)
    assert 1 == code, output
    found = {int(number) for number in re.findall(r"mistakes\.py:(\d+):.*error", output)}
    wrong = {n for n, line in enumerate(MISTAKES.splitlines(), 1) if line.endswith("# wrong")}
    assert wrong == found, output


def test_every_public_name_is_there():
    """A name that the file does not use is one whose type nobody checks."""
    text = API.read_text()
    assert [] == [name for name in moa.__all__ if not re.search(rf"\b{name}\b", text)]


def test_the_package_says_that_it_is_typed():
    """`py.typed` lies in the package, or checkers would ignore its annotations."""
    assert (ROOT / "moa_middleware" / "py.typed").is_file()
