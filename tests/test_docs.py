"""The documentation: what it shows runs, and what it names exists."""

import ast
import json
import re
import signal
import sys
import types
from contextlib import contextmanager
from pathlib import Path

import pytest
from typing_extensions import get_type_hints

import moa_middleware as moa
from moa_middleware import errors, records, settings
from moa_middleware.testing import ScriptedServer

ROOT = Path(__file__).parent.parent
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
    if "openai" not in page.read_text(encoding="utf-8"):
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
        elif note == "output":
            assert text == printed, f"{name_of(page)}, line {line}: the page shows another output"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_snippets_of_a_page_run(page, desk, monkeypatch, capsys):
    """Every Python block runs as it stands, and prints what the page says."""
    with models_for(page, monkeypatch):
        run_page(page, monkeypatch, capsys)


def test_a_block_that_is_not_run_says_why():
    """A note before a block is `not run` with a reason, or `output`."""
    for page in PAGES:
        for kind, note, _, line in blocks_of(page):
            fine = note in ("", "output") or (kind == "python" and re.fullmatch(r"not run: \S.*", note))
            assert fine, f"{name_of(page)}, line {line}: {note!r}"


def test_every_fence_is_closed():
    """No block is lost because its fence was not understood."""
    for page in PAGES:
        fences = re.findall(r"^\s*```", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert len(fences) == 2 * len(blocks_of(page)), name_of(page)


KNOWN_VARIABLES = {f"MOA_{name.upper()}" for name in settings.Settings.model_fields}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=name_of)
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
    events = set(re.findall(r'\blog\(\s*"(moa\.\w+)"', source))
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


COMMANDS = ("pip install uv && uv run moa demo", "uv run pytest")


def test_the_two_commands_stand_first_in_the_readme():
    """Who reads the README finds the two commands before anything else that can be run."""
    first = next(text for kind, _, text, _ in blocks_of(ROOT / "README.md") if kind == "console")
    assert tuple(line.removeprefix("$ ") for line in first.splitlines()) == COMMANDS


def test_ci_calls_the_commands_of_the_readme():
    """`.ci/run` runs what the README tells, word for word."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for command in COMMANDS[1], "uv run moa demo":
        assert re.search(rf"(^|[\s\"]){re.escape(command)}($|\"|\s*[|>&;)])", script, re.MULTILINE), command


def test_every_page_is_in_the_navigation():
    """`mkdocs.yml` lists each page once, and no page that is not there."""
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r"([\w/-]+\.md)$", text, re.MULTILINE)
    assert sorted(listed) == sorted(page.relative_to(ROOT / "docs").as_posix() for page in PAGES[1:])


def test_every_internal_link_leads_somewhere():
    """A relative link names a file that is there and a heading that it has."""
    for page in PAGES:
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
    """Keep a Changelog: unreleased first, then this version; each entry is one line and one sentence."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    heads = re.findall(r"^## \[([^\]]+)\]", text, re.MULTILINE)
    assert heads[:1] == ["Unreleased"]
    assert moa.__version__ in heads
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
