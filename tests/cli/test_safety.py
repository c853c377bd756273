"""What a terminal and a spreadsheet get: nothing of a trace that they would obey, and nothing dropped."""

from __future__ import annotations

import ast
import csv
import io
import json
import re
import time
from pathlib import Path

import pytest

from moa_middleware.cli import _out
from moa_middleware.cli._text import SafeText, one_line, safe_text

from .conftest import ESCAPED, HOSTILE

ROOT = Path(__file__).parents[2]
CLI = ROOT / "moa_middleware" / "cli"

OBEYED = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
OF_RICH = re.compile(r"\x1b\[[0-9;]*m")
KEPT = {"schema", "role", "outcome"}
"""Keys whose words decide what a line is; the hostile ones of these have lines of their own."""


def poisoned(value, name=""):
    """Return a record with a hostile text before each of its texts, keys of mappings too."""
    if isinstance(value, dict):
        free = name in ("tags", "params", "usage_raw")
        return {f"{HOSTILE}{key}" if free else key: poisoned(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [poisoned(one, name) for one in value]
    return f"{HOSTILE}{value}" if isinstance(value, str) and name not in KEPT else value


@pytest.fixture(scope="module")
def hostile(written, tmp_path_factory):
    """Return a directory with a hostile name, and hostile texts in every field of every line."""
    folder = tmp_path_factory.mktemp("hostile") / f"t{HOSTILE.replace('/', '')}"
    folder.mkdir()
    lines = [json.loads(line) for path in written.glob("*.jsonl") for line in path.read_bytes().splitlines()]
    for number, line in enumerate(lines):
        line["tags"] = {"tenant": "a"}
        line["writer"]["seq"] = 2 * number + 1
        line["references"][0]["tool_calls"] = [{"function": {"name": "look", "arguments": "{}"}}]
        line["references"][0] |= {"refusal": "no", "reasoning": "hm", "finish_reason": "stop"}
        line["input_messages"] = f"write to a@example.com {HOSTILE}"
        line["error"] = {"type": "E", "message": "broken"}
    odd = [{**lines[0], "schema": f"moa-turn/{HOSTILE}"}, {**lines[1], "outcome": HOSTILE, "turn_id": "x1"}]
    odd.append(
        {
            **lines[2],
            "turn_id": "x2",
            "references": [{**lines[2]["references"][0], "role": HOSTILE, "outcome": HOSTILE}],
        }
    )
    made = [*map(poisoned, lines), odd[0], *map(poisoned, odd[1:])]
    text = "\n".join(json.dumps(one) for one in made)
    (folder / f"s{HOSTILE.replace('/', '')}.jsonl").write_text(f"{text}\n{HOSTILE}\n", encoding="utf-8")
    late = folder / "late"
    late.mkdir()
    told = {
        "schema": "moa-late/1",
        "ts": 1.0,
        "turn_id": HOSTILE,
        "session_id": HOSTILE,
        "call": lines[0]["references"][0],
    }
    (late / "other.jsonl").write_text(json.dumps(poisoned(told)) + "\n", encoding="utf-8")
    return folder


VERBS = [
    ["ls"],
    ["ls", "--json"],
    ["show", "last"],
    ["show", "last", "--full", "--inputs"],
    ["show", "last", "--call", "ref:0"],
    ["show", "last", "--call", "agg"],
    ["show", "first", "--json"],
    *(["stats", "--by", by] for by in ("model", "label", "provider", "preset", "session", "outcome", "role")),
    ["stats", "--csv"],
    ["verify"],
    ["verify", "--json"],
    ["compare"],
    ["compare", "--json"],
    ["tail", "-n", "20"],
    ["tail", "--json"],
    ["scan"],
    ["prune", "--older-than", "0s", "--dry-run"],
    ["show", f"{HOSTILE}#7"],
    ["show", "last", "--call", HOSTILE],
    ["ls", "--since", HOSTILE],
    ["recover"],
]


@pytest.mark.parametrize("verb", VERBS, ids=lambda verb: " ".join(verb).encode("unicode_escape").decode()[:40])
@pytest.mark.parametrize("columns", [60, 400])
def test_a_terminal_gets_no_sequence_of_a_trace(terminal, hostile, verb, columns):
    """OSC 52, CSI, OSC 8, C1, bidi controls and markup in every field are shown as escapes, by every verb."""
    paths = [hostile, hostile] if verb[0] == "compare" else [hostile]
    code, written = terminal(*verb, *paths, columns=columns).end()
    assert code in (0, 1, 2, 3)
    assert "Traceback" not in written
    shown = OF_RICH.sub("", written)
    assert not OBEYED.search(shown.replace("\r\n", "\n"))
    if verb != ["recover"] and code in (0, 1):
        # JSON has its own escapes.
        assert "\\x1b" in shown or "\\u001b" in shown


def test_what_is_escaped_is_whole(terminal, hostile):
    """An auditor sees each character of a hostile text, markup as it stands."""
    _, written = terminal("show", "last", hostile, "--full", columns=1000).end()
    assert OF_RICH.sub("", written).count(ESCAPED) > 10


def test_the_doctor_shows_no_sequence_of_the_environment(terminal):
    """Variables, and the names of variables, are as hostile as a file."""
    env = {
        "MOA_SESSION_ID": HOSTILE,
        "MOA_INSTRUMENT": HOSTILE,
        "MOA_TRACE_DIR": HOSTILE,
        f"MOA_{HOSTILE}".replace("=", ""): "x",
    }
    code, written = terminal("doctor", columns=400, **env).end()
    assert 1 == code
    assert not OBEYED.search(OF_RICH.sub("", written).replace("\r\n", "\n"))
    assert "\\x1b]52" in written


@pytest.mark.parametrize("args", [[f"-{HOSTILE}"], ["ls", f"--{HOSTILE}"], ["ls", "-n", HOSTILE], [HOSTILE]])
def test_wrong_usage_shows_no_sequence(terminal, args):
    """An argument may be the name of a file, which a pattern of the shell brought."""
    code, written = terminal(*args, columns=400).end()
    assert 2 == code
    assert "Usage: moa" in written
    assert not OBEYED.search(OF_RICH.sub("", written).replace("\r\n", "\n"))


def test_json_is_ascii_and_the_same_values(run, hostile):
    """What a program reads is the text of the trace, character by character."""
    done = run("show", "last", hostile, "--json")
    assert done.stdout.isascii()
    assert not OBEYED.search(done.stdout)
    assert HOSTILE in json.loads(done.stdout)["record"]["preset"]


def test_no_color_leaves_no_sequence_at_all(terminal, hostile):
    """With NO_COLOR nothing is coloured, and the text is the same."""
    _, written = terminal("show", "last", hostile, NO_COLOR="1").end()
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", written)
    assert "\\x1b" in written


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\uff1d"])
def test_a_spreadsheet_gets_no_formula(start, capsys):
    """A cell that a spreadsheet would run gets a quote in front; numbers below 0 stay numbers."""
    _out.emit_csv([[f"{start}1+1", "a=b", -1.5, None]])
    text, *rest = next(csv.reader(io.StringIO(capsys.readouterr().out)))
    assert text.startswith("'")
    assert ["a=b", "-1.5", ""] == rest


FORMULAS = [
    "\n=1+1",
    "a\n=1+1",
    "a\r=1+1",
    "a\r\n=1+1",
    "a\t@x",
    "a;=1+1",
    'a";=1+1;"',
    "a,=1+1",
    'a",=1+1,"',
    "a\n\n-1",
    "a\n =1+1",
    "a\n'=1+1",
    "\u200b=1+1",
    "\ufeff=1+1",
    "\xa0=1+1",
    "a|=1+1",
    "a\n\uff1d1+1",
    "a\u2028=1+1",
]


@pytest.mark.parametrize("text", FORMULAS)
@pytest.mark.parametrize("cells", [("{}", 1), ("x", "{}", "y"), (2, "{}")], ids=["first", "middle", "last"])
def test_no_text_begins_a_cell_with_a_formula(text, cells, capsys):
    """Wherever a spreadsheet splits: at commas, at `;` as in half of Europe, at tabs, and at newlines in quotes."""
    _out.emit_csv([[cell if cell != "{}" else text for cell in cells], ["x", "y"]])
    written = capsys.readouterr().out
    rows = list(csv.reader(io.StringIO(written), strict=True))
    assert [len(cells), 2] == [len(row) for row in rows]
    for delimiter in ",;\t|":
        # Quotes that do not stand where this reader expects them are text to it, as to a spreadsheet.
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_NONE):
            found = csv.reader(io.StringIO(written, newline=""), delimiter=delimiter, quoting=quoting)
            for cell in (cell for row in found for cell in row if cell not in ("1", "2")):
                assert not cell.lstrip(' "\xa0\u200b\ufeff\u2028').startswith(tuple("=+-@\uff1d")), (delimiter, cell)


@pytest.mark.parametrize("text", ["gpt-4.1", "a, b", "x=1", "a\nb", "mail@example.com", "1;2", "a - b", "it's"])
def test_other_texts_stay_as_they_are(text, capsys):
    """A name with such a sign in its middle, and one with a comma or a newline, come back from the CSV."""
    _out.emit_csv([[text, 1]])
    assert [[text, "1"]] == list(csv.reader(io.StringIO(capsys.readouterr().out)))


def test_a_long_text_is_looked_at_once(capsys):
    """A million separators before no formula take no longer than a million letters."""
    spent = {}
    for name, text in {"letters": "x" * 10**6, "lines": "\n" * 10**6, "blanks": ",\u200b" * 500_000}.items():
        began = time.process_time()
        _out.emit_csv([[text]])
        spent[name] = time.process_time() - began
        capsys.readouterr()
    assert max(spent.values()) < 5, spent


def test_stats_as_csv_quote_names_that_are_formulas(run, written, desk):
    """A model that is named like a formula, or has one behind a newline, is quoted in the CSV of `moa stats`."""
    line = json.loads(next(written.glob("*.jsonl")).read_bytes().splitlines()[0])
    line["aggregator"]["model"] = '=HYPERLINK("http://x.example")'
    line["references"][0]["model"] = "\n=1+1"
    folder = desk / "traces"
    folder.mkdir()
    (folder / "s-0.jsonl").write_text(json.dumps(line) + "\n", encoding="utf-8")
    rows = list(csv.reader(io.StringIO(run("stats", folder, "--csv").stdout)))
    assert "model" == rows[0][0]
    assert '\'=HYPERLINK("http://x.example")' in [row[0] for row in rows[1:]]
    assert "'\n'=1+1" in [row[0] for row in rows[1:]]
    assert 1 == len({len(row) for row in rows})


WRITES = {"print", "echo", "secho", "write", "writelines", "out", "rule", "log", "print_json", "input", "inspect"}
MAY = {
    # Each of these passes everything through `safe_text`, or writes nothing but its own words.
    "_app.py": {"write"},  # the help, into a buffer of typer's
    "_out.py": {"write", "writerow"},
    "_screen.py": {"print", "out"},
    "_reading.py": {"write"},  # the bar: figures of its own, on stderr
    "show.py": {"write"},  # --raw, which a terminal does not get
    "_demo_run.py": {"write"},  # `StreamedText.write`, which is safe
}


@pytest.mark.parametrize("path", sorted(CLI.glob("*.py")), ids=lambda path: path.name)
def test_nothing_prints_but_the_gate(path):
    """Only `_out` and `_screen` write to a stream, and only they make what rich draws."""
    tree = ast.parse(path.read_text())
    called = {
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
    }
    assert called & WRITES <= MAY.get(path.name, set())
    if path.name != "_screen.py":
        rich = {
            alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rich")
            for alias in node.names
        }
        # `_progress` lays out cells that `_screen.cell` has made.
        assert rich <= ({"Live", "Spinner", "Table", "RenderableType"} if path.name == "_progress.py" else set())


def test_what_is_safe_is_not_scanned_again_and_a_part_of_it_is():
    """The mark of a safe text is lost with whatever is joined to it, so nothing passes unseen beside it."""
    safe = safe_text(HOSTILE)
    assert safe is safe_text(safe)
    assert str(safe) != HOSTILE
    assert type(one_line(HOSTILE)) is SafeText
    assert ESCAPED in safe_text(safe + HOSTILE)
    assert type(safe + "x") is type(f"{safe}") is type(safe[1:]) is str


def test_only_the_gate_marks_a_text_as_safe():
    """`SafeText` is made where texts are escaped, and where a table puts safe cells together."""
    for path in CLI.glob("*.py"):
        if path.name not in ("_text.py", "_screen.py", "_table.py"):
            assert "SafeText" not in path.read_text(), path.name


def test_the_gate_escapes_whatever_it_is_given():
    """Each function that writes calls `safe_text`, or hands over to one that does."""
    for name, functions in {
        "_out.py": ("emit", "_cell", "note"),
        "_screen.py": ("_safe", "cell", "write", "display_width"),
    }.items():
        defined = {
            node.name: ast.dump(node)
            for node in ast.walk(ast.parse((CLI / name).read_text()))
            if isinstance(node, ast.FunctionDef)
        }
        for function in functions:
            assert "'safe_text'" in defined[function], function


@pytest.mark.parametrize("verb", [["ls"], ["show", "last"], ["tail"], ["show", "last", "--call", "agg"]], ids=" ".join)
def test_no_text_of_a_trace_begins_a_line_of_its_own(run, written, desk, verb):
    """A line end in a name would make the rest of it look like what the command says."""
    line = json.loads((written / "s-0.jsonl").read_bytes().splitlines()[0])
    told = "x\n+ clean  all is well"
    line |= {"session_id": told, "preset": told, "outcome": told, "parent_turn_id": None}
    for call in (line["aggregator"], *line["references"]):
        call |= {"label": told, "role": told, "outcome": told, "source": told}
    (desk / "s.jsonl").write_text(json.dumps(line) + "\n")
    done = run(*verb, desk / "s.jsonl")
    assert 0 == done.returncode
    assert "all is well" in done.stdout
    assert not [row for row in done.stdout.split("\n") if row.startswith("+ clean")]


def test_no_name_of_a_file_begins_a_line_of_its_own(run, desk):
    """A message is one line, whatever is named."""
    for verb in (["verify"], ["show", "last"], ["tail"], ["prune", "--older-than", "1d"]):
        done = run(*verb, "x\n+ clean  all is well")
        assert (3, 1) == (done.returncode, done.stderr.count("\n")), done.stderr
    (desk / "y\n+ clean").mkdir()
    for verb in ("ls", "stats"):
        assert "no turns in y + clean\n" == run(verb, "y\n+ clean").stderr
