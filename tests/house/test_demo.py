"""`moa demo`: the real command in a process of its own, on a pipe and on a terminal, against real sockets."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import shlex
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import threading
import time
from importlib.metadata import version
from pathlib import Path

import openai.resources.chat.completions  # noqa: F401 - forks of the demo need not import it
import pytest

from moa_middleware import read
from moa_middleware.cli import main
from moa_middleware.testing import Script, ScriptedServer
from tests.support import forked

ROOT = Path(__file__).parents[2]
KEY = "sk-never-to-be-seen-1234"
COMMAND = [sys.executable, "-m", "moa_middleware", "demo"]
QUICK = {"a": "alpha", "b": "beta", "agg": "the final answer"}
HOSTILE = "\x1b]52;c;aGk=\x07\x1b[2J[bold]loud[/bold]\u202e\x9b31m"
ESCAPED = "\\x1b]52;c;aGk=\\x07\\x1b[2J[bold]loud[/bold]\\u202e\\x9b31m"


@pytest.fixture
def env(tmp_path):
    """Return an environment whose traces go to the test's own directory."""
    env = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    return {**env, "MOA_TRACE_DIR": str(tmp_path / "traces"), "OPENAI_API_KEY": KEY, "TERM": "xterm-256color"}


@pytest.fixture
def demo(env, quick):
    """Return a function that runs the demo on pipes; a quick run forks for it, where that is the same."""

    def run(*args, **more):
        if quick and forked.can_run(more):
            return forked.run(["demo", *args], env={**env, **more}, cwd=os.getcwd())
        return subprocess.run(
            [*COMMAND, *args], env={**env, **more}, capture_output=True, check=False, encoding="utf-8", timeout=60
        )

    return run


@pytest.fixture
def here(env, monkeypatch, capfd, quick):
    """Return a function that runs the demo in this process or a fork: for what ends before anything is asked."""

    def run(*args, **more):
        # A process that has been `moa` itself is not forked for others: they would get what it keeps of its run.
        if quick:
            done = forked.run(["demo", *args], env={**env, **more}, cwd=os.getcwd())
            return done.returncode, done.stdout, done.stderr
        for name, value in {**env, **more}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["moa", "demo", *args])
        with pytest.raises(SystemExit) as end:
            main()
        out, err = capfd.readouterr()
        return end.value.code, out, err

    return run


@pytest.fixture
def the_turn(tmp_path, read_lines):
    """Return a function that reads the one line there is, and its file's path."""

    def read():
        (path,) = (tmp_path / "traces").rglob("*.jsonl")
        (turn,) = read_lines(tmp_path / "traces")
        return turn, str(path)

    return read


def on_terminal(env, *args, columns=80, fork=False):
    """Run the demo on a terminal so wide; return its exit code and all that it wrote there."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    if fork:
        process = forked.Started(["demo", *args], env=env, cwd=os.getcwd(), stream=theirs)
    else:
        process = subprocess.Popen([*COMMAND, *args], env=env, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    written = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # Linux says EIO where the last process has closed it
            break
        if not data:
            break
        written += data
    os.close(ours)
    return process.wait(timeout=60), written.decode()


def plain(written):
    """Return what was written without the sequences of the terminal."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written).replace("\r", "")


def asking(server, *references, aggregator="agg"):
    """Return the options that ask a server."""
    named = [word for model in references for word in ("--reference", model)]
    url = server if isinstance(server, str) else server.base_url
    return ["--base-url", url, *named, "--aggregator", aggregator, "why?"]


def test_the_demo_shows_a_turn_and_saves_one_line(demo, the_turn):
    """Three references, one of which fails, and a streamed answer: shown, and one line on disk."""
    done = demo()
    turn, path = the_turn()
    assert (0, "") == (done.returncode, done.stderr)
    assert ["completed", "completed", "error"] == sorted(call["outcome"] for call in turn["references"])
    assert ("completed", "inline_from_stream") == (turn["aggregator"]["outcome"], turn["aggregator"]["output_location"])
    assert f"The answer, as it is streamed\n{turn['output']}\n" in done.stdout
    assert f"\nsaved to {path}\n" in done.stdout
    assert turn["turn_id"] in done.stdout
    assert "4 calls, 1 failed" in done.stdout
    cost = read.open(path).cost()
    assert (3, 4, None) == (cost.estimated, cost.unpriced, cost.known_usd)
    assert f"\ncost     >= $0.0011 (estimated, genai-prices {version('genai-prices')}; 1 unpriced)\n" in done.stdout
    assert "\x1b" not in done.stdout
    for model, outcome in (
        ("gpt-4.1-mini", "completed"),
        ("claude-haiku-4-5", "completed"),
        ("gemini-2.5-flash", "error"),
    ):
        # A pipe gets a line when a reference is asked, and one when it ends.
        assert re.search(rf"^reference +{model} +asked$", done.stdout, re.MULTILINE)
        assert re.search(rf"^reference +{model} +{outcome}  \d+ ms  \S", done.stdout, re.MULTILINE)


def last_words(done):
    """Return the two commands that the demo prints last."""
    look, page = done.stdout.splitlines()[-2:]
    assert (look[:16], page[:14]) == ("look at it with ", "or as a page: ")
    return look[16:], page[14:]


def run_in(cwd, command, env):
    """Run a command in a directory."""
    return subprocess.run(command, env=env, cwd=cwd, capture_output=True, check=False, encoding="utf-8", timeout=120)


def as_printed(done, env, cwd):
    """Run in a shell what the demo printed last; return the commands."""
    turn_id = re.search(r"[0-9a-f]{8}-[0-9a-f-]{27}", done.stdout)[0]
    look, page = last_words(done)
    shown = run_in(cwd, ["sh", "-c", look], env)
    assert (0, True) == (shown.returncode, turn_id in shown.stdout), shown.stderr
    made = run_in(cwd, ["sh", "-c", page], env)
    assert 0 == made.returncode, made.stderr
    assert turn_id in (cwd / "demo.html").read_text(encoding="utf-8")
    (cwd / "demo.html").unlink()
    return look, page


@pytest.fixture
def shell(env):
    """Return the environment of a user's shell: without uv's variables, and without `moa` on the path."""
    folders = [one for one in env["PATH"].split(os.pathsep) if not Path(one, "moa").exists()]
    env = {name: value for name, value in env.items() if not name.startswith(("UV", "VIRTUAL_ENV"))}
    return {**env, "PATH": os.pathsep.join(folders)}


def demo_from(command, env, cwd):
    """Run the demo as a user does, against quick models."""
    with ScriptedServer(QUICK) as server:
        done = run_in(cwd, [*command, *asking(server, "a")], env)
    assert 0 == done.returncode, done.stderr
    return done


def test_what_the_demo_prints_last_works_under_uv(shell, tmp_path):
    """After `uv run moa demo` the shell has no `moa`, so the commands begin with `uv run`."""
    if shutil.which("uv", path=shell["PATH"]) is None:
        pytest.skip("uv is not on the path")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "mine"\nversion = "1"\nrequires-python = ">=3.11"\n')
    # A project whose environment is that of the tests, as it is: nothing is installed.
    env = {**shell, "UV_PROJECT_ENVIRONMENT": sys.prefix, "UV_NO_SYNC": "1", "UV_OFFLINE": "1"}
    done = demo_from(["uv", "run", "moa", "demo"], env, tmp_path)
    look, page = as_printed(done, env, tmp_path)
    assert (look.startswith("uv run moa show last "), page.startswith("uv run moa report ")) == (True, True)


@pytest.mark.slow
def test_what_the_demo_prints_last_works_without_uv(shell, tmp_path):
    """In an activated environment the commands begin with `moa`."""
    env = {**shell, "PATH": os.pathsep.join([str(Path(sys.executable).parent), shell["PATH"]])}
    look, page = as_printed(demo_from(["moa", "demo"], env, tmp_path), env, tmp_path)
    assert (look.startswith("moa show last "), page.startswith("moa report ")) == (True, True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        pytest.param({}, id="path", marks=pytest.mark.processes),
        pytest.param({"UV": "/bin/uv"}, id="uvx", marks=pytest.mark.processes),
        pytest.param({"UV": "/bin/uv", "UV_RUN_RECURSION_DEPTH": "1"}, id="outside"),
    ],
)
def test_what_the_demo_prints_last_works_where_the_shell_has_no_moa(shell, tmp_path, more):
    """Not on the path, from `uvx`, and from `uv run` outside of a project: the commands name the interpreter."""
    done = demo_from(COMMAND, {**shell, **more}, tmp_path)
    look, page = as_printed(done, shell, tmp_path)
    words = f"{shlex.quote(sys.executable)} -m moa_middleware"
    assert (look.startswith(f"{words} show last "), page.startswith(f"{words} report ")) == (True, True)


@pytest.mark.slow
def test_each_run_has_a_file_of_its_own(demo, tmp_path, read_lines):
    """Two runs are two sessions, whatever session the environment names."""
    with ScriptedServer(QUICK) as server:
        for _ in range(2):
            assert 0 == demo(*asking(server, "a"), MOA_SESSION_ID="mine").returncode
    assert 2 == len(list((tmp_path / "traces").iterdir()))
    assert all(turn["session_id"].startswith("demo-") for turn in read_lines(tmp_path / "traces"))


@pytest.mark.slow
@pytest.mark.parametrize("columns", [60, *(pytest.param(n, marks=pytest.mark.processes) for n in (80, 120))])
def test_a_terminal_shows_progress_for_each_reference(env, columns):
    """Rows are redrawn while references run, and no line is wider than the terminal."""
    code, written = on_terminal(env, columns=columns)
    assert 0 == code
    text = plain(written)
    for model in ("gpt-4.1-mini", "claude-haiku-4-5", "gemini-2.5-flash"):
        assert f"{model}" in text
        assert re.search(rf"[⠀-⣿] reference +{model} +\d\.\d s asked", text)
    assert re.search(r"✓ reference +gpt-4.1-mini ", text)
    assert re.search(r"✗ reference +gemini-2.5-flash +\d\.\d s HTTP 503", text)
    assert "\x1b[?25h" in written  # the cursor is back
    answer = text.partition("as it is streamed\n")[2].partition("saved to")[0]
    assert max(map(len, answer.splitlines())) <= columns
    assert "hardly see it." in " ".join(answer.split())


@pytest.mark.slow
@pytest.mark.parametrize("more", [{}, {"NO_COLOR": "1"}])
def test_no_color_is_obeyed(env, more, quick):
    """A terminal gets colours, and none with NO_COLOR."""
    with ScriptedServer(QUICK) as server:
        code, written = on_terminal({**env, **more}, *asking(server, "a"), fork=quick)
    assert (0, not more) == (code, bool(re.search(r"\x1b\[[0-9;]*3[0-7]m", written)))


@pytest.mark.slow
@pytest.mark.parametrize("more", [{"TERM": "dumb"}, {"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C"}])
def test_poor_terminals_do(env, more):
    """A dumb terminal, and one of ASCII only, show the demo as well."""
    with ScriptedServer(QUICK) as server:
        code, written = on_terminal({**env, **more}, *asking(server, "a"))
    assert 0 == code
    assert "Traceback" not in written
    assert "saved to" in written


def test_the_scripted_demo_needs_no_network_and_no_key(demo, the_turn):
    """Neither a proxy nor a missing key stands before the server on loopback."""
    nowhere = "http://127.0.0.1:9"
    assert 0 == demo(HTTP_PROXY=nowhere, ALL_PROXY=nowhere, OPENAI_API_KEY="").returncode
    assert "completed" == the_turn()[0]["outcome"]


@pytest.mark.slow
def test_settings_of_the_environment_do_not_spoil_the_demo(demo, the_turn):
    """Traces switched off and threads left alone are for programs; the demo shows what there is."""
    with ScriptedServer(QUICK) as server:
        off = {"MOA_SAVE_TRACES": "0", "MOA_PROPAGATE_THREADS": "0", "MOA_TURNS": "fanout"}
        assert 0 == demo(*asking(server, "a", "b"), **off).returncode
    assert 2 == len(the_turn()[0]["references"])


@pytest.mark.slow
def test_a_reader_who_leaves_early_is_no_fault(env, the_turn):
    """`moa demo | head -1` ends with 0, without a traceback, and the whole turn is on disk."""
    with ScriptedServer(QUICK) as server:
        process = subprocess.Popen(
            [*COMMAND, *asking(server, "a")], env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        process.stdout.readline()
        process.stdout.close()
        assert b"" == process.stderr.read()
        process.stderr.close()
        assert 0 == process.wait(timeout=60)
    assert "completed" == the_turn()[0]["outcome"]


@pytest.mark.slow
def test_an_endpoint_of_one_s_own_is_asked_by_the_same_client(demo, the_turn):
    """The models, the key and the question are those of the command line and the environment."""
    with ScriptedServer(QUICK) as server:
        done = demo(*asking(server, "a", "b"))
        asked = sorted(one.body["model"] for one in server.received)
        keys = {one.headers["authorization"] for one in server.received}
        prompts = [one.body["messages"] for one in server.received if one.body["model"] == "agg"]
    turn, path = the_turn()
    assert (0, "") == (done.returncode, done.stderr)
    assert (["a", "agg", "b"], {f"Bearer {KEY}"}) == (asked, keys)
    assert ["alpha", "beta"] == [call["output"] for call in turn["references"]]
    assert "1. alpha\n\n2. beta" in prompts[0][0]["content"]
    assert "the final answer" == turn["output"]
    assert "\nthe final answer\n" in done.stdout
    assert path in done.stdout
    assert KEY not in done.stdout


@pytest.mark.slow
def test_an_endpoint_that_cannot_count_is_asked_without(demo, the_turn):
    """Where `stream_options` is refused the answer comes without the tokens of the stream."""

    def picky(body):
        return Script(status=400) if "stream_options" in body else Script("fine")

    with ScriptedServer({"a": "alpha", "agg": picky}) as server:
        done = demo(*asking(server, "a"))
    assert (0, "fine") == (done.returncode, the_turn()[0]["output"])


@pytest.mark.slow
def test_an_answer_without_any_reference_goes_on(demo, the_turn):
    """References that all fail are shown as failed, and the aggregator answers all the same."""
    bad = Script(status=429, error={"message": "slow down"})
    with ScriptedServer({"a": bad, "b": bad, "agg": "alone"}) as server:
        done = demo(*asking(server, "a", "b"))
    turn, _ = the_turn()
    assert (0, "alone") == (done.returncode, turn["output"])
    assert ["error", "error"] == [call["outcome"] for call in turn["references"]]
    assert 2 == done.stdout.count("HTTP 429: slow down")


@pytest.mark.slow
@pytest.mark.parametrize("key", ["  ", None])
def test_a_missing_key_exits_with_4_before_any_connection(env, tmp_path, key):
    """Without a key the message names the variable and the host, nothing is asked, nothing written."""
    env.pop("OPENAI_API_KEY")
    if key is not None:
        env["OPENAI_API_KEY"] = key
    with ScriptedServer({}) as server:
        done = subprocess.run(
            [*COMMAND, *asking(server, "a")], env=env, capture_output=True, check=False, encoding="utf-8", timeout=60
        )
        assert [] == server.received
        host = server.base_url.removeprefix("http://").removesuffix("/v1")
    assert (4, "") == (done.returncode, done.stdout)
    assert re.fullmatch(rf"moa demo: OPENAI_API_KEY is not set; {host} [^\n]+\n", done.stderr)
    assert not (tmp_path / "traces").exists()


@pytest.mark.slow
def test_an_unreachable_endpoint_exits_with_4(demo, the_turn):
    """A port where nobody listens is one line that names the host, never user or key; the turn is on disk."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    done = demo(*asking(f"http://user:pass@127.0.0.1:{port}/v1", "a", "b"))
    turn, path = the_turn()
    assert 4 == done.returncode
    assert re.fullmatch(rf"moa demo: cannot reach 127\.0\.0\.1:{port} \(.*refused\)\n", done.stderr)
    assert "error" == turn["outcome"]
    assert f"saved to {path}\n" in done.stdout
    assert not [word for word in (KEY, "user", "pass") if word in done.stdout + done.stderr]


@pytest.mark.slow
def test_a_refused_key_exits_with_4_and_is_not_shown(demo, the_turn):
    """A server that repeats the key in its error does not bring it to the terminal."""
    refused = Script(status=401, error={"message": f"Incorrect API key provided: {KEY}"})
    with ScriptedServer({}, default=refused) as server:
        done = demo(*asking(server, "a"))
    assert 4 == done.returncode
    assert re.fullmatch(r"moa demo: 127\.0\.0\.1:\d+ refuses the key in OPENAI_API_KEY .*\n", done.stderr)
    assert "provided: [key]" in done.stdout
    assert KEY not in done.stdout + done.stderr
    assert the_turn()[1] in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (Script(status=500, error={"message": "oh no"}), "HTTP 500: oh no"),
        (Script(status=404, error={"message": "no such model"}), "HTTP 404: no such model"),
        (Script("one two three four", error_after=2, error={"message": "gone"}), "gone"),
        (Script("one two three four", break_after=2), "127.0.0.1"),
        (Script(raw_chunks=[]), "it sent no completion; is the URL right?"),
    ],
)
def test_a_failing_aggregator_exits_with_4(demo, the_turn, answer, says):
    """However the answer fails, it is one line that names the host, and the turn is on disk."""
    with ScriptedServer({"a": "alpha", "agg": answer}) as server:
        done = demo(*asking(server, "a"))
    turn, path = the_turn()
    assert 4 == done.returncode
    assert says in done.stderr
    assert "127.0.0.1" in done.stderr
    assert 1 == done.stderr.count("\n")
    assert "completed" == turn["references"][0]["outcome"]
    assert f"saved to {path}\n" in done.stdout


@pytest.mark.parametrize(
    "args",
    [
        ["why?"],
        ["--base-url", "http://127.0.0.1:9/v1"],
        ["--reference", "a", "--aggregator", "b", "why?"],
        ["--base-url", "http://127.0.0.1:9/v1", "--aggregator", "b", "why?"],
        ["--base-url", "http://127.0.0.1:9/v1", "--reference", "a", "why?"],
        ["--base-url", "http://127.0.0.1:9/v1", "--reference", "a", "--aggregator", "b"],
        ["--base-url", "http://127.0.0.1:9/v1", "--reference", " ", "--aggregator", "b", "why?"],
        ["--base-url", "127.0.0.1:9/v1", "--reference", "a", "--aggregator", "b", "why?"],
        ["--base-url", "http://[1/v1", "--reference", "a", "--aggregator", "b", "why?"],
        ["--base-url", "http://h:port/v1", "--reference", "a", "--aggregator", "b", "why?"],
    ],
)
@pytest.mark.slow
def test_half_of_the_options_exit_with_2(here, args):
    """An endpoint needs all of its options, and a URL that is one; the message says which."""
    code, out, err = here(*args)
    assert (2, "") == (code, out)
    assert re.fullmatch(r"moa demo: .*--base-url[^\n]*\n", err)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"), [("MOA_TURNS", "some"), ("MOA_PROPAGATE_THREADS", "perhaps"), ("MOA_SAVE_TRACES", "\x1b[2J")]
)
def test_a_bad_setting_exits_with_2(here, tmp_path, name, value):
    """A value that cannot be used is named by its variable, without a traceback."""
    code, out, err = here(**{name: value})
    assert (2, "") == (code, out)
    assert re.fullmatch(rf"moa demo: {name}: [^\n\x1b]*\n", err)
    assert not (tmp_path / "traces").exists()


@pytest.mark.slow
def test_a_trace_directory_that_is_a_file_exits_with_2(here, tmp_path):
    """What cannot hold traces is said before anything is asked."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "deeper"):
        code, out, err = here(MOA_TRACE_DIR=str(path))
        assert (2, "") == (code, out)
        assert f"{tmp_path / 'file'} is not a directory: set MOA_TRACE_DIR\n" in err


@pytest.mark.slow
def test_a_missing_sdk_is_named(env):
    """Without openai the demo says what to install, and exits with 4."""
    code = (
        "import sys; sys.modules['openai'] = None; sys.argv[1:] = ['demo']\nfrom moa_middleware.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, check=False, encoding="utf-8")
    assert 4 == done.returncode
    assert 'moa demo needs the extra "demo": pip install "moa-middleware[demo]"\n' == done.stderr


# A runner in the background may have SIGINT ignored, and children inherit that.
INTERRUPTIBLE = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from moa_middleware import read
from moa_middleware.cli import main
main()
"""


def interrupted(env, server, until):
    """Start the demo, send SIGINT when a line begins with `until`, and return it with its output."""
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, "demo", *asking(server, "a", "slow")],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    out = ""
    while until not in out:
        piece = os.read(process.stdout.fileno(), 4096).decode()
        assert piece, process.stderr.read()
        out += piece
    time.sleep(0.3)  # the line is printed by an observer: the call itself ends a moment later
    process.send_signal(signal.SIGINT)
    rest, err = process.communicate(timeout=10)
    return process.returncode, out + rest, err


@pytest.mark.slow
def test_ctrl_c_does_not_wait_for_a_slow_reference(env, the_turn):
    """Interrupted while a reference is out, it ends at once with 130 and the turn so far on disk."""
    release = threading.Event()
    slow = Script("late", wait=lambda: release.wait(30))
    with ScriptedServer({"a": "alpha", "slow": slow, "agg": "never"}) as server:
        code, _, err = interrupted(env, server, "a     completed")
        release.set()
    turn, path = the_turn()
    assert (130, f"moa demo: interrupted; the turn so far is in {path}\n") == (code, err)
    assert "cancelled" == turn["outcome"]
    assert "alpha" == turn["references"][0]["output"]


@pytest.mark.slow
def test_ctrl_c_in_the_answer_keeps_what_was_said(env, the_turn):
    """Interrupted in the stream, it ends with 130, and the text so far is in the record."""
    agg = Script("one two three four", piece_delay=5)
    with ScriptedServer({"a": "alpha", "slow": "beta", "agg": agg}) as server:
        code, _, err = interrupted(env, server, "one")
    turn, path = the_turn()
    assert (130, f"moa demo: interrupted; the turn so far is in {path}\n") == (code, err)
    assert ("cancelled", "one") == (turn["outcome"], turn["output"])


@pytest.mark.slow
@pytest.mark.parametrize("terminal", [False, True])
def test_hostile_text_reaches_no_terminal(env, demo, the_turn, terminal):
    """What models, their names and their errors say is shown escaped, and no markup is obeyed."""
    bad = Script(status=500, error={"message": f"bad {HOSTILE}"})
    scripts = {"a": f"alpha {HOSTILE}", f"b{HOSTILE}": bad, "agg": f"answer {HOSTILE}"}
    with ScriptedServer(scripts) as server:
        args = asking(server, "a", f"b{HOSTILE}")
        if terminal:
            code, out = on_terminal(env, *args, columns=300)
        else:
            done = demo(*args)
            code, out = done.returncode, done.stdout
            assert "\x1b" not in out
    assert 0 == code
    assert HOSTILE in the_turn()[0]["output"]  # the file has it as it was
    for text in ("alpha", "bad", "answer"):
        assert f"{text} {ESCAPED}" in plain(out)
    assert f"b{ESCAPED}" in plain(out)
    for sign in ("\x1b]", "\x07", "\x1b[2J\x1b", "\u202e", "\x9b"):
        assert sign not in out


@pytest.mark.slow
def test_odd_chunks_are_passed_over(demo, the_turn):
    """Chunks without choices, without a delta or without text do not end the answer."""
    chunks = [
        '{"choices": []}',
        '{"choices": [{"index": 0, "delta": {"content": null}}]}',
        '{"choices": [{"index": 0, "delta": {"content": "fine"}}]}',
        '{"choices": null}',
    ]
    with ScriptedServer({"a": "alpha", "agg": Script("fine", raw_chunks=chunks)}) as server:
        done = demo(*asking(server, "a"))
    assert (0, "") == (done.returncode, done.stderr)
    assert "\nfine\n" in done.stdout
    assert "fine" == the_turn()[0]["output"]


def test_the_commands_of_the_readme_show_the_demos_trace(demo, env, tmp_path):
    """Word for word in their order, after the demo, in a clone where nothing else was run."""
    table = (ROOT / "README.md").read_text(encoding="utf-8").split("| command | shows |")[1].split("\n\n")[0]
    commands = re.findall(r"^\| `moa ([^`]+)` \|", table, re.MULTILINE)
    assert ["ls", "show last", "stats", "report -o run.html", "verify", "doctor"] == commands
    assert 0 == demo().returncode
    for command in commands[:-1]:  # the last one fails, since traces are off: it says why there are none
        done = forked.run(command.split(), env=env, cwd=str(tmp_path))
        assert (0, "") == (done.returncode, done.stderr), command
