"""The documentation: what it shows runs, and what it names exists."""

import ast
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import types
from contextlib import contextmanager
from pathlib import Path

import pytest
from typing_extensions import get_type_hints

import moa_middleware as moa
from moa_middleware import errors, records, settings
from moa_middleware.cli._verbs import VERBS
from moa_middleware.testing import ScriptedServer

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
REFERENCE = ROOT / "docs" / "reference"
PACKAGE = ROOT / "moa_middleware"

ANSWERS = {
    "gpt-4.1-mini": "Air scatters blue light more than red.",
    "gpt-4o-mini": "Rayleigh scattering: short waves are scattered most.",
    "gpt-4.1": "The sky is blue because air scatters short waves most.",
}

FENCE = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*?) -->\n)?^```(?P<kind>\w*)[^\n]*\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


SHELF = [
    ROOT / name for name in ("CONTRIBUTING.md", "SECURITY.md", "benchmarks/RESULTS.md", "tests/environments/README.md")
]
"""Pages for contributors: they are not part of the site."""


def name_of(page):
    return page.relative_to(ROOT).as_posix()


def blocks_of(page):
    """Return the fenced blocks of a page: kind, note on the line before, text, number of the first line."""
    text = page.read_text(encoding="utf-8")
    return [
        (match["kind"], match["note"] or "", match["text"], text.count("\n", 0, match.start("text")))
        for match in FENCE.finditer(text)
    ]


def answer(body):
    """Answer as the model that a page asks."""
    return ANSWERS.get(body["model"], f"This is the answer of {body['model']}.")


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """Return a directory to work in; the page may install a handler of SIGTERM."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    on_term = signal.getsignal(signal.SIGTERM)
    yield tmp_path
    signal.signal(signal.SIGTERM, on_term)


@contextmanager
def models_for(page, monkeypatch):
    """Let `OpenAI()` reach a scripted server; a page without it, which may fork, gets no thread."""
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    text = page.read_text(encoding="utf-8")
    if "openai" not in text or "ScriptedServer(" in text:  # such a page brings its own models
        yield
        return
    with ScriptedServer({}, default=answer) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.base_url)
        monkeypatch.setenv("OPENAI_API_KEY", "not-a-key")
        yield


def run_page(page, monkeypatch, capsys):
    """Run the blocks of a page in one namespace, in order, and compare the output that it shows."""
    name = f"docs_page_{page.stem}"
    module = types.ModuleType(name)
    monkeypatch.setitem(sys.modules, name, module)
    printed = ""
    for kind, note, text, line in blocks_of(page):
        if kind == "python":
            code = compile("\n" * line + text, str(page), "exec")
            if not note.startswith("not run: "):
                exec(code, module.__dict__)
                printed = capsys.readouterr().out
        elif kind == "sh" and note == "run":
            printed = output_of(text)
        elif note == "output":
            assert text == printed, f"{name_of(page)}, line {line}: the page shows another output"
        elif note == "output, times vary":
            assert lasting(text) == lasting(printed), f"{name_of(page)}, line {line}: it prints\n{printed}"


def output_of(command):
    """Return what a command prints in a shell in which this environment is active."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["sh", "-c", command],
        env={**os.environ, "PATH": path},
        capture_output=True,
        check=False,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0, f"{command}{done.stderr}"
    return done.stdout


def lasting(text):
    """Return an output without what differs from run to run: ids, dates, durations, bars, sizes and the width of columns."""
    text = re.sub(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}", "ID", text)
    text = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d", "DATE", text)
    text = re.sub(r"\b[\d.,]+ (ms|s|kB)\b", "SO MUCH", text)
    return re.sub(r"[░█▏▎▍▌▋▊▉ ]+", " ", text).replace(" \n", "\n")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_snippets_of_a_page_run(page, desk, monkeypatch, capsys):
    """Every Python block runs as it stands, and prints what the page says."""
    with models_for(page, monkeypatch):
        run_page(page, monkeypatch, capsys)


def test_a_block_that_is_not_run_says_why():
    """A note before a block is `not run` with a reason, `output`, or `run` for commands."""
    for page in [*PAGES, *SHELF]:
        for kind, note, _, line in blocks_of(page):
            fine = (
                note == ""
                or (kind == "text" and note in ("output", "output, times vary"))
                or (kind == "python" and re.fullmatch(r"not run: \S.*", note))
                or (kind == "sh" and note == "run")
            )
            assert fine, f"{name_of(page)}, line {line}: {note!r}"


def test_every_fence_is_closed():
    """No block is lost because its fence was not understood."""
    for page in [*PAGES, *SHELF]:
        fences = re.findall(r"^\s*```", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(fences) == 2 * len(blocks_of(page)), name_of(page)


KNOWN_VARIABLES = {f"MOA_{name.upper()}" for name in settings.Settings.model_fields}


@pytest.mark.parametrize("page", [*PAGES, *SHELF, ROOT / "CHANGELOG.md"], ids=name_of)
def test_every_variable_that_is_named_exists(page):
    """A page names no `MOA_` variable that means nothing."""
    named = set(re.findall(r"MOA_[A-Z_]*[A-Z]", page.read_text(encoding="utf-8")))
    assert named <= KNOWN_VARIABLES


def test_every_variable_is_in_the_reference():
    """The settings page has a row for each variable, and no other."""
    rows = first_column((REFERENCE / "settings.md").read_text(encoding="utf-8"))
    assert {name for name in rows if name.startswith("MOA_")} == KNOWN_VARIABLES


def first_column(text):
    """Return the names in backticks of the first column of the tables of a text."""
    found = []
    for cell in re.findall(r"^\| ([^|]*) \|", text, re.MULTILINE):
        found += re.findall(r"`([^`]+)`", cell)
    return found


def test_every_public_name_is_in_the_reference():
    """Each name of `__all__` has an entry in the reference."""
    text = "\n".join(page.read_text(encoding="utf-8") for page in REFERENCE.glob("*.md"))
    entries = set(re.findall(r"^::: moa_middleware\.(?:\w+\.)*(\w+)$", text, re.MULTILINE))
    entries |= {name.removeprefix("moa.") for name in first_column(text)}
    assert not set(moa.__all__) - entries


def test_every_error_says_its_mend():
    """Each error has a row in the page of errors."""
    rows = first_column((REFERENCE / "errors.md").read_text(encoding="utf-8"))
    assert set(errors.__all__) == set(rows)


def test_every_log_event_is_in_the_reference():
    """The page of log events has those of the source, and no other."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py"))
    events = set(re.findall(r'\b(?:log|debug)\(\s*"(moa\.\w+)"', source))
    rows = first_column((REFERENCE / "log.md").read_text(encoding="utf-8"))
    assert events == {row for row in rows if row.startswith("moa.")}


TABLES = {
    "Turn": records.TurnRecord,
    "Call": records.CallRecord,
    "Error": records.ErrorRecord,
    "Usage": records.UsageRecord,
    "Totals": records.TotalsRecord,
    "Trace context": records.TraceContextRecord,
    "Writer": records.WriterRecord,
    "Omitted": records.OmittedRecord,
    "Late line": records.LateRecord,
}


@pytest.mark.parametrize("title", TABLES)
def test_every_record_key_is_in_the_reference(title):
    """The table below each heading has the keys of the record, in its order."""
    text = (REFERENCE / "record.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section is not None
    assert first_column(section[1]) == list(get_type_hints(TABLES[title]))


def test_every_record_type_has_a_table():
    """A record that is added is documented."""
    assert {one.__name__ for one in TABLES.values()} == {n for n in records.__all__ if n.endswith("Record")}


def part_of(shown, real, path="record"):
    """Assert that what a page shows of a record is in the real one; numbers differ from run to run."""
    if isinstance(shown, dict):
        assert isinstance(real, dict), path
        for key, value in shown.items():
            assert key in real, f"{path}.{key}"
            part_of(value, real[key], f"{path}.{key}")
    elif isinstance(shown, list):
        assert isinstance(real, list), path
        assert len(shown) == len(real), path
        for index, (one, other) in enumerate(zip(shown, real, strict=True)):
            part_of(one, other, f"{path}[{index}]")
    elif isinstance(shown, float):
        assert isinstance(real, float), path
    elif not path.endswith(("_id", ".endpoint")):
        assert shown == real, path


def test_the_excerpt_of_the_readme_is_of_the_record_that_its_example_writes(desk, monkeypatch, capsys, read_lines):
    """The record that the README shows has real keys and the values that its example gives."""
    readme = ROOT / "README.md"
    (excerpt,) = [text for kind, _, text, _ in blocks_of(readme) if kind == "json"]
    with models_for(readme, monkeypatch):
        run_page(readme, monkeypatch, capsys)
    part_of(json.loads(excerpt), read_lines(desk / "traces")[0])


def test_commands_are_copied_without_a_prompt():
    """Commands are in blocks of their own, `sh`, without `$` and without output, so that a copied block runs."""
    for page in [*PAGES, *SHELF]:
        for kind, _, text, line in blocks_of(page):
            where = f"{name_of(page)}, line {line}"
            assert kind in ("python", "sh", "text", "json", "toml", ""), f"{where}: a block of the kind {kind!r}"
            if kind == "sh":
                assert not re.search(r"^(\$|>|%|#) ", text, re.MULTILINE), f"{where}: a prompt, or a comment"
                done = subprocess.run(["sh", "-n"], input=text, capture_output=True, check=False, encoding="utf-8")
                assert (done.returncode, done.stderr) == (0, ""), where
                verbs = set(re.findall(r"(?:^|\s)(?:moa|-m moa_middleware) ([a-z]+)", text))
                assert verbs <= set(VERBS), where


CLONE = "git clone ADDRESS_OF_THIS_REPOSITORY moa_middleware && cd moa_middleware"
COMMANDS = ("pip install uv && uv run moa demo", "uv run pytest")


def test_the_clone_and_the_two_commands_are_first_in_the_readme():
    """A reader of the README finds the clone and the two commands before anything else that can be run."""
    first = next(text for kind, _, text, _ in blocks_of(ROOT / "README.md") if kind == "sh")
    assert tuple(first.splitlines()) == (CLONE, *COMMANDS)


def test_the_clone_of_the_readme_leads_into_the_project(tmp_path):
    """With an address put in, the README's first line ends in the directory where the two commands work."""
    inside = subprocess.run(["git", "rev-parse", "--show-toplevel"], cwd=ROOT, capture_output=True, check=False)
    if inside.returncode or not (ROOT / ".git").exists():
        pytest.skip("this is not a git checkout")
    command = CLONE.replace("ADDRESS_OF_THIS_REPOSITORY", shlex.quote(str(ROOT)))
    done = subprocess.run(
        ["sh", "-c", f"{command} && ls"], cwd=tmp_path, capture_output=True, check=False, encoding="utf-8", timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert {"pyproject.toml", "README.md", "moa_middleware", "tests"} <= set(done.stdout.split())


def test_ci_calls_the_commands_of_the_readme():
    """`.ci/run` runs what the README tells, word for word."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for command in COMMANDS[1], "uv run moa demo":
        assert re.search(rf"(^|[\s\"]){re.escape(command)}($|\"|\s*[|>&;)])", script, re.MULTILINE), command


def recipes():
    """Return the commands of each target of the task file."""
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    found = {}
    for target, _, lines in re.findall(r"^([a-z-]+):(  ## [^\n]+)\n((?:\t[^\n]+\n)+)", text, re.MULTILINE):
        found[target] = [line.strip() for line in lines.splitlines()]
    return found


@pytest.mark.parametrize("target", ["env", "demo", "test", "types", "lint", "docs"])
def test_ci_calls_the_commands_of_the_task_file(target):
    """What a contributor runs is what `.ci/run` runs, word for word."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for command in recipes()[target]:
        assert re.search(rf"(^|\s){re.escape(command)}(\s|$)", script, re.MULTILINE), command


def test_contributing_names_the_commands_of_the_task_file():
    """Each task has its command and its target in CONTRIBUTING, and no target is missing in both."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\|[^|]+\|([^|]+)\| `make ([a-z-]+)(?: [^`]*)?` \|$", text, re.MULTILINE)
    assert {target for _, target in rows} == set(recipes()) - {"help", "demo", "serve"}
    for commands, target in rows:
        for command in recipes()[target]:
            words = command.replace("$(T)", "tests/house/test_demo.py -k odd_chunks")
            assert f"`{words}`" in commands, command


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not on the path")
def test_the_task_file_lists_its_targets():
    """`make` and `make help` name each target, and make reads each recipe as it stands in the file."""
    listed = make("help")
    assert make() == listed
    assert re.findall(r"^make ([a-z-]+) ", listed, re.MULTILINE) == list(recipes())
    for target, commands in recipes().items():
        if target != "help":
            assert make("-n", target, "T=it").splitlines() == [line.replace("$(T)", "it") for line in commands]


def make(*args):
    """Run make in the repository, as a user would; return what it prints."""
    env = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "T")}
    return subprocess.run(["make", *args], cwd=ROOT, env=env, capture_output=True, check=True, encoding="utf-8").stdout


def test_the_tests_that_contributing_names_exist():
    """Each test of a promise is there."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/.]+)`", text)
    assert len(named) > 20
    for path in named:
        assert (ROOT / path).exists(), path


def test_every_page_is_in_the_navigation():
    """`mkdocs.yml` lists each page once, and no page that is not there."""
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r"([\w/-]+\.md)$", text, re.MULTILINE)
    assert sorted(listed) == sorted(page.relative_to(ROOT / "docs").as_posix() for page in PAGES[1:])


def test_every_internal_link_leads_somewhere():
    """A relative link names a file that is there and a heading that it has."""
    for page in [*PAGES, *SHELF]:
        text = FENCE.sub("", page.read_text(encoding="utf-8"))
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if re.match(r"\w+:", target):
                continue
            path, _, anchor = target.partition("#")
            there = page.parent / path if path else page
            assert there.exists(), f"{name_of(page)}: {target}"
            if anchor:
                heads = re.findall(r"^#+ (.+)$", there.read_text(encoding="utf-8"), re.MULTILINE)
                slugs = {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", h).strip().lower()) for h in heads}
                assert anchor in slugs, f"{name_of(page)}: {target}"


def test_the_middleware_of_the_readme_is_ten_lines():
    """Middleware in ten lines is ten lines."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    section = text.partition("## Middleware in ten lines\n")[2]
    block = re.search(r"^```python\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    assert block is not None
    assert len([line for line in block[1].splitlines() if line.strip()]) <= 10


def test_the_changelog_has_one_sentence_a_line_and_the_version():
    """Keep a Changelog: unreleased first, which a version in development is; each entry is one line and one sentence."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heads = re.findall(r"^## \[([^\]]+)\]", text, re.MULTILINE)
    assert heads[:1] == ["Unreleased"]
    # Traces name the version that wrote them, so the released number is not used for what is different already.
    assert moa.__version__ in heads or ".dev" in moa.__version__
    entries = [line for line in text.splitlines() if line.startswith("- ")]
    assert entries
    for line in entries:
        assert line.endswith("."), line
        assert ". " not in line, line


def test_the_examples_parse_as_the_oldest_python():
    """No snippet uses syntax that Python 3.11 lacks."""
    for page in PAGES:
        for kind, _, text, _ in blocks_of(page):
            if kind == "python":
                ast.parse(text, feature_version=(3, 11))
