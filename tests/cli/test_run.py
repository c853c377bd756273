"""`moa run`: the program notices nothing, and what `MOA_INSTRUMENT` names is on record."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from moa_middleware.testing import Script, ScriptedServer
from tests.support.running import RUN, outcome, python, written
from tests.support.sdk_worlds import PIECES, TEXT

MOA = Path(sys.executable).with_name("moa")


LOOK = """
import atexit, sys
import __main__

def shown():
    # Addresses of objects differ from run to run.
    return sorted((name, str(value).partition(" at 0x")[0]) for name, value in vars(__main__).items()
                  if name not in ("__spec__", "__builtins__"))

atexit.register(lambda: print(sorted(vars(__main__))))
print(shown(), list(vars(__main__)))
print(__builtins__, getattr(__spec__, "name", None), getattr(__spec__, "origin", None))
print(sys.argv, sys.path, sys.modules["__main__"] is __main__, sys.flags)
print(sys.excepthook is sys.__excepthook__, sys.displayhook is sys.__displayhook__, sys.stdout.errors)
print(repr(sys.stdin.read()))
"""

ALIKE = {
    # what: files, arguments, options of Python
    "a script": ({"app.py": LOOK}, ["app.py", "a", "--help", "-m", "b", "--", "ä"], []),
    "a script elsewhere": ({"sub/app.py": LOOK}, ["./sub/../sub/app.py"], []),
    "options after the script": ({"app.py": LOOK}, ["app.py", "-h"], []),
    "a module": ({"pkg/__init__.py": "", "pkg/mod.py": LOOK}, ["-m", "pkg.mod", "a", "-h"], []),
    "a module without a space": ({"mod.py": LOOK}, ["-mmod", "a"], []),
    "a package": ({"pkg/__init__.py": "", "pkg/__main__.py": LOOK}, ["-m", "pkg", "a"], []),
    "a directory": ({"app/__main__.py": LOOK}, ["app", "a"], []),
    "the directory that it is in": ({"__main__.py": LOOK}, [".", "a"], []),
    "a safe path": ({"app.py": LOOK}, ["app.py"], ["-P"]),
    "a directory with a safe path": ({"app/__main__.py": LOOK}, ["app"], ["-P"]),
    "sys.exit of a number": ({"app.py": "import sys; sys.exit(3)"}, ["app.py"], []),
    "sys.exit of a text": ({"app.py": "import sys; sys.exit('no')"}, ["app.py"], []),
    "sys.exit of None": ({"app.py": "import sys; sys.exit()"}, ["app.py"], []),
    "sys.exit of a module": ({"app.py": "raise SystemExit(300)"}, ["-m", "app"], []),
    "os._exit": ({"app.py": "import os; os._exit(5)"}, ["app.py"], []),
    "an exception": (
        {"app.py": "def f():\n    g()\ndef g():\n    1 / 0\ntry:\n    f()\nexcept ValueError:\n    pass"},
        ["app.py"],
        [],
    ),
    "an exception from another": (
        {"app.py": "try:\n    {}['a']\nexcept KeyError as error:\n    raise ValueError('ä') from error"},
        ["app.py"],
        [],
    ),
    "an exception of a module": ({"mod.py": "raise ValueError(1)"}, ["-m", "mod"], []),
    "an exception of a directory": ({"app/__main__.py": "raise ValueError(1)"}, ["app"], []),
    "an exception group": ({"app.py": "raise ExceptionGroup('g', [ValueError(1), KeyError(2)])"}, ["app.py"], []),
    "Ctrl-C": ({"app.py": "raise KeyboardInterrupt"}, ["app.py"], []),
    "Ctrl-C in a module": ({"mod.py": "raise KeyboardInterrupt"}, ["-m", "mod"], []),
    "a hook of its own": (
        {
            "app.py": """
            import sys
            def hook(kind, error, trace):
                print(kind, error, trace.tb_frame.f_code.co_name, error.__traceback__ is trace)
                print(sys.last_value is error, sys.last_traceback is trace, sys.excepthook is hook, __file__)
            sys.excepthook = hook
            1 / 0
            """
        },
        ["app.py"],
        [],
    ),
    "a hook that exits": ({"app.py": "import sys\nsys.excepthook = lambda *_: sys.exit(9)\n1 / 0"}, ["app.py"], []),
    "a syntax error": ({"app.py": "def f(:\n    pass"}, ["app.py"], []),
    "a syntax error in a module": ({"mod.py": "def f(:\n    pass"}, ["-m", "mod"], []),
    "a syntax error in an import": ({"app.py": "import mod", "mod.py": "1 +"}, ["app.py"], []),
    "a missing script": ({}, ["app.py", "a"], []),
    "a missing module": ({}, ["-m", "nothing.here"], []),
    "a directory without a program": ({"app/mod.py": ""}, ["app"], []),
    "a package without a program": ({"pkg/__init__.py": ""}, ["-m", "pkg"], []),
    "a coding cookie": ({"app.py": "# coding: utf-8\nprint('ä', __doc__)"}, ["app.py"], []),
    "a docstring and annotations": ({"app.py": "'doc'\nx: int = 1\nprint(__doc__, __annotations__)"}, ["app.py"], []),
    "warnings": (
        {"app.py": "import warnings\nwarnings.warn('old', DeprecationWarning)\nx = '\\d' is 'a'\nprint(x)"},
        ["app.py"],
        [],
    ),
    "an optimised run": ({"app.py": "assert False\nprint(__debug__)"}, ["app.py"], ["-O"]),
    "a thread that goes on": (
        {
            "app.py": """
            import threading, time, atexit
            atexit.register(print, "exit")
            threading.Thread(target=lambda: (time.sleep(0.2), print("thread"))).start()
            print("main")
            """
        },
        ["app.py"],
        [],
    ),
    "inspection": (
        {
            "app.py": """
            import inspect
            def f():
                return 1
            print(inspect.getsource(f), inspect.getfile(f), inspect.getmodule(f), f.__module__)
            print(inspect.currentframe().f_code.co_name, inspect.stack()[0].code_context)
            """
        },
        ["app.py"],
        [],
    ),
    "pickling": (
        {
            "app.py": """
            import pickle
            class A:
                pass
            def f():
                return "f"
            print(pickle.loads(pickle.dumps(f))(), type(pickle.loads(pickle.dumps(A()))) is A)
            """
        },
        ["app.py"],
        [],
    ),
}

POOL = """
import multiprocessing, sys
from concurrent.futures import ProcessPoolExecutor

def double(n):
    return n * 2, __name__, sys.argv

if __name__ == "__main__":
    for method in sys.argv[1:]:
        with multiprocessing.get_context(method).Pool(1) as pool:
            print(pool.map(double, [1, 2]))
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as executor:
            print(list(executor.map(double, [1, 2])))
"""
METHODS = ("spawn", "fork", "forkserver")
ALIKE["processes of a script"] = ({"app.py": POOL}, ["app.py", *METHODS], [])
ALIKE["processes of a module"] = ({"pkg/__init__.py": "", "pkg/mod.py": POOL}, ["-m", "pkg.mod", "spawn"], [])


# Each pair of programs starts two interpreters. A quick run takes one of each way to begin and to end.
QUICK = (
    *("a script", "a module", "a package", "a directory with a safe path", "sys.exit of a text", "os._exit"),
    *("an exception", "an exception of a module", "Ctrl-C", "a hook of its own", "a syntax error in a module"),
    *("a missing script", "a missing module", "warnings", "an optimised run", "a thread that goes on", "inspection"),
    *("pickling", "processes of a module"),
)
DOSED = [what if what in QUICK else pytest.param(what, marks=pytest.mark.processes) for what in ALIKE]


@pytest.mark.parametrize("what", DOSED)
def test_a_program_runs_as_without_us(what, tmp_path):
    """The same exit code, the same bytes on stdout and on stderr."""
    if what == "a hook of its own" and sys.version_info >= (3, 14):
        pytest.skip("this Python deletes `__file__` of the program before it calls the hook, and with us it is there")
    files, args, flags = ALIKE[what]
    cwd = written(tmp_path, files)
    alone = python(cwd, *args, flags=flags, stdin="to read\n")
    ours = python(cwd, *RUN, *args, flags=flags, stdin="to read\n")
    assert outcome(alone) == outcome(ours)
    assert alone.stdout or alone.stderr or alone.returncode or what == "sys.exit of None"


@pytest.mark.parametrize(
    "what",
    [
        *("a script", "an exception", "a syntax error"),
        *(pytest.param(what, marks=pytest.mark.processes) for what in ("a module", "Ctrl-C", "sys.exit of a number")),
    ],
)
def test_the_command_does_the_same(what, tmp_path):
    """`moa run`, whose own script is elsewhere, and which has typer."""
    files, args, flags = ALIKE[what]
    cwd = written(tmp_path, files)
    ours = subprocess.run(
        [MOA, "run", *args], cwd=cwd, input="in", capture_output=True, encoding="utf-8", check=False, timeout=60
    )
    assert outcome(python(cwd, *args, flags=flags, stdin="in")) == outcome(ours)


@pytest.mark.processes
def test_instrumenting_does_not_show(tmp_path):
    """With targets named, known and unused, a program and its children run as without us, but for the closing line."""
    cwd = written(tmp_path, {"app.py": LOOK, "pool.py": POOL})
    unused = "moa run: openai was never imported; litellm was never imported\n"
    # Of a program with children it is not known what they imported.
    for closing, args in (unused, ["app.py", "a"]), ("", ["pool.py", *METHODS]):
        alone = outcome(python(cwd, *args))
        alone["err"] += closing
        assert alone == outcome(python(cwd, *RUN, *args, MOA_INSTRUMENT="openai,litellm"))


def test_an_archive_and_compiled_code_run(tmp_path):
    """What Python runs beside source: a zip with a `__main__.py`, and a `.pyc`."""
    import py_compile

    source = written(tmp_path, {"app.py": LOOK}) / "app.py"
    with zipfile.ZipFile(tmp_path / "app.zip", "w") as archive:
        archive.write(source, "__main__.py")
    py_compile.compile(str(source), cfile=str(tmp_path / "compiled.pyc"))
    for args in ["app.zip", "a"], ["compiled.pyc", "a"]:
        alone = python(tmp_path, *args)
        assert "__main__" in alone.stdout
        assert outcome(alone) == outcome(python(tmp_path, *RUN, *args))


def test_a_script_behind_a_link_finds_its_neighbours(tmp_path):
    """The directory on the path is that of the file, not that of the link."""
    written(tmp_path, {"real/app.py": LOOK + "import neighbour", "real/neighbour.py": "print('here')"})
    (tmp_path / "link.py").symlink_to(tmp_path / "real" / "app.py")
    ours = python(tmp_path, *RUN, "link.py")
    assert outcome(python(tmp_path, "link.py")) == outcome(ours)
    assert "here" in ours.stdout


def test_a_file_that_cannot_be_read_is_named_as_python_does(tmp_path):
    """The error of the system, and its exit code."""
    (tmp_path / "loop.py").symlink_to("loop.py")
    alone = python(tmp_path, "loop.py")
    assert 2 == alone.returncode
    assert outcome(alone) == outcome(python(tmp_path, *RUN, "loop.py"))


def test_a_real_ctrl_c_ends_it_as_python_ends(tmp_path):
    """SIGINT from outside: the same status, and a traceback without our frames."""
    cwd = written(tmp_path, {"app.py": "import time\nprint('go', flush=True)\ntime.sleep(30)"})
    ends = []
    for args in ["app.py"], [*RUN, "app.py"]:
        process = subprocess.Popen(
            [sys.executable, *args], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert "go\n" == process.stdout.readline()
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
        ends.append((process.returncode, stderr))
    assert ends[0] == ends[1]
    assert -signal.SIGINT == ends[0][0]


def test_a_fault_of_the_program_s_hook_is_shown(tmp_path):
    """The interpreter tells of both exceptions, as it always does."""
    cwd = written(tmp_path, {"app.py": "import sys\nsys.excepthook = lambda *_: {}['hook']\nraise ValueError('mine')"})
    ours = python(cwd, *RUN, "app.py")
    assert 1 == ours.returncode
    assert ours.stderr.startswith("Error in sys.excepthook:\n")
    assert ours.stderr.endswith(python(cwd, "app.py").stderr.partition("\nOriginal exception was:")[2])


@pytest.mark.parametrize("absent", [["typer"], ["rich"], ["typer", "rich", "click"]])
def test_no_extra_is_needed(absent, tmp_path):
    """`python -m moa_middleware run` works where neither typer nor rich is installed."""
    cwd = written(tmp_path, {"app.py": "import sys\nprint(sys.argv)"})
    for name in absent:
        (tmp_path / "absent" / name).mkdir(parents=True)
        (tmp_path / "absent" / name / "__init__.py").write_text("raise ImportError('not installed')")
    path = str(tmp_path / "absent")
    done = python(cwd, *RUN, "app.py", "a", PYTHONPATH=path)
    assert (0, "['app.py', 'a']\n", "") == (done.returncode, done.stdout, done.stderr)


def test_nothing_heavy_is_imported_while_traces_are_off(tmp_path):
    """Neither pydantic nor the tracing package, nor the modules that are named."""
    heavy = ["pydantic", "structlog", "typer", "rich", "openai", "litellm", "moa_middleware._capture.tracing"]
    cwd = written(tmp_path, {"app.py": f"import sys\nprint(sorted(set(sys.modules) & set({heavy})))"})
    done = python(cwd, *RUN, "app.py", MOA_INSTRUMENT="openai,litellm,anthropic", MOA_SAVE_TRACES="off")
    assert ("[]\n", "") == (done.stdout, done.stderr)


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_for_us_before_the_program(option, tmp_path):
    """It says what can be run, and what the variables are."""
    done = python(tmp_path, *RUN, option)
    assert (0, "") == (done.returncode, done.stderr)
    assert "moa run [OPTIONS] -m MODULE" in done.stdout
    assert "MOA_INSTRUMENT" in done.stdout


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([], "there is nothing to run"),
        (["-m"], "-m needs the name of a module"),
        (["-W", "error", "app.py"], "unknown option -W; Python's own go before -m"),
        (["-"], "put the program into a file"),
        (["-c", "print(1)"], "put the program into a file"),
        (["--"], "unknown option --;"),
        (["--turn"], "there is nothing to run"),
        (["--session"], "--session needs a value"),
        (["--trace-dir=", "app.py"], "--trace-dir needs a value"),
        (["--turns", "app.py"], "unknown option --turns;"),
    ],
)
def test_wrong_usage_says_what_is_right(args, says, tmp_path):
    """Exit code 2, on stderr, and nothing runs."""
    done = python(tmp_path, *RUN, *args)
    assert (2, "") == (done.returncode, done.stdout)
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_double_dash_may_stand_before_the_program(tmp_path):
    """As it may for Python."""
    cwd = written(tmp_path, {"app.py": LOOK})
    assert outcome(python(cwd, "--", "app.py", "-m")) == outcome(python(cwd, *RUN, "--", "app.py", "-m"))


def test_an_option_before_the_verb_is_refused(tmp_path):
    """The command line would parse the program's options."""
    done = python(tmp_path, "-m", "moa_middleware", "--", "run", "app.py", "--version")
    assert (2, "moa run: write it first, moa run app.py ...\n") == (done.returncode, done.stderr)


# What is on record -------------------------------------------------------------------------------

ASK = """
def ask(stream=False):
    client = OpenAI(base_url=os.environ["URL"], api_key="k", max_retries=0)
    reply = client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "count"}], stream=stream)
    return reply if stream else reply.choices[0].message.content
"""


@pytest.fixture
def server():
    with ScriptedServer({"m": Script(TEXT, pieces=PIECES)}) as server:
        yield server


def run(cwd, *args, server=None, save="1", **env):
    """Run a program with traces on, in `traces`; it must end well and say nothing on stderr."""
    url = server.base_url if server is not None else ""
    done = python(cwd, *RUN, *args, URL=url, MOA_SAVE_TRACES=save, MOA_TRACE_DIR=str(cwd / "traces"), **env)
    assert 0 == done.returncode, done.stderr
    return done


IMPORTS = {
    "at the top": "import os\nfrom openai import OpenAI\n" + ASK,
    "late": "import os\ndef load():\n    global OpenAI\n    from openai import OpenAI\nload()\n" + ASK,
    "the resources first": "import os\nimport openai.resources.chat.completions\nfrom openai import OpenAI\n" + ASK,
    "after our package": "import os, moa_middleware\nfrom openai import OpenAI\n" + ASK,
    "before our package": "import os\nfrom openai import OpenAI\nimport moa_middleware\n" + ASK,
}


@pytest.mark.parametrize(
    "order",
    [
        *("at the top", "late"),
        *(pytest.param(order, marks=pytest.mark.processes) for order in IMPORTS if order not in ("at the top", "late")),
    ],
)
def test_an_unchanged_script_is_on_record(order, server, tmp_path, read_lines):
    """Two calls, one of them streamed, of a client that nobody instrumented; in any order of imports."""
    use = "print(ask())\nprint(*(c.choices[0].delta.content or '' for c in ask(True) if c.choices), sep='')\n"
    cwd = written(tmp_path, {"app.py": IMPORTS[order] + use})
    done = run(cwd, "app.py", server=server, MOA_INSTRUMENT="openai")
    assert (f"{TEXT}\n{TEXT}\n", "") == (done.stdout, done.stderr)
    records = read_lines(cwd / "traces")
    assert [TEXT, TEXT] == [record["output"] for record in records]
    calls = [(record["references"] + record["calls"] + [record["aggregator"]])[-1] for record in records]
    assert [False, True] == [call["streamed"] for call in calls]
    assert [[{"role": "user", "content": "count"}]] * 2 == [call["input_messages"] for call in calls]


def test_nothing_is_written_where_it_is_switched_off(server, tmp_path):
    """An explicit off stays off."""
    cwd = written(tmp_path, {"app.py": IMPORTS["at the top"] + "print(ask())\n"})
    done = run(cwd, "app.py", server=server, save="0", MOA_INSTRUMENT="openai")
    assert (f"{TEXT}\n", "") == (done.stdout, done.stderr)
    assert not (cwd / "traces").exists()


CLIENT = """
class Base:
    def propose(self, model):
        return f"draft of {model}"

class Client(Base):
    def create(self, prompt):
        drafts = [self.propose("a"), self.propose("b")]
        return self.combine(prompt, drafts)

    def combine(self, prompt, drafts):
        return " + ".join(drafts)

def answer(prompt):
    return Client().create(prompt)
"""
TARGETS = "moa_client:Client.create=turn, moa_client:Client.propose=reference,moa_client:Client.combine=aggregator,"


@pytest.mark.parametrize(
    ("args", "files"),
    [
        (["app.py"], {"app.py": "from moa_client import Client\nprint(Client().create('why'))"}),
        (["-m", "pkg.app"], {"pkg/__init__.py": "", "pkg/app.py": "import moa_client as m\nprint(m.answer('why'))"}),
    ],
)
def test_a_client_of_one_s_own_is_on_record(args, files, tmp_path, read_lines):
    """A turn with references and an aggregator, of a module that knows nothing of us."""
    cwd = written(tmp_path, {"moa_client.py": CLIENT, **files})
    done = run(cwd, *args, MOA_INSTRUMENT=TARGETS)
    assert ("draft of a + draft of b\n", "") == (done.stdout, done.stderr)
    (record,) = read_lines(cwd / "traces")
    assert ["draft of a", "draft of b"] == [call["output"] for call in record["references"]]
    assert ["declared", "declared"] == [call["role_source"] for call in record["references"]]
    assert "draft of a + draft of b" == record["aggregator"]["output"] == record["output"]


@pytest.mark.parametrize("method", METHODS)
def test_processes_of_multiprocessing_are_instrumented_too(method, tmp_path, read_lines):
    """However they are started; a child of a child too."""
    app = f"""
    import multiprocessing, sys
    import moa_client

    def work(deeper):
        if deeper:
            child = multiprocessing.get_context({method!r}).Process(target=work, args=(False,))
            child.start()
            child.join()
        moa_client.answer("in a child")

    if __name__ == "__main__":
        child = multiprocessing.get_context({method!r}).Process(target=work, args=(True,))
        child.start()
        child.join()
        sys.exit(child.exitcode)
    """
    cwd = written(tmp_path, {"moa_client.py": CLIENT, "app.py": app})
    done = run(cwd, "app.py", MOA_INSTRUMENT=TARGETS + "never.there:f")
    assert "moa run: never.there:f: never.there was never imported\n" == done.stderr
    records = read_lines(cwd / "traces")
    assert [2, 2] == [len(record["references"]) for record in records]
    assert 2 == len({record["writer"]["pid"] for record in records})


def test_other_children_are_left_alone(tmp_path):
    """A program that the program starts is no concern of ours."""
    app = "import subprocess, sys\nsubprocess.run([sys.executable, 'child.py'], check=True)"
    child = "import sys, moa_client\nprint(moa_client.answer('x'), 'moa_middleware' in sys.modules)"
    cwd = written(tmp_path, {"moa_client.py": CLIENT, "app.py": app, "child.py": child})
    done = run(cwd, "app.py", MOA_INSTRUMENT="moa_client:answer")
    assert "draft of a + draft of b False\n" == done.stdout
    assert not (cwd / "traces").exists()


def test_instrumented_functions_go_to_process_pools(tmp_path, read_lines):
    """A function that is a target is pickled by its name, and traced where it runs."""
    app = """
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context
    from moa_client import answer

    if __name__ == "__main__":
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor:
            print(executor.submit(answer, "why").result())
    """
    cwd = written(tmp_path, {"moa_client.py": CLIENT, "app.py": app})
    done = run(cwd, "app.py", MOA_INSTRUMENT="moa_client:answer=turn,moa_client:Base.propose=reference")
    assert ("draft of a + draft of b\n", "") == (done.stdout, done.stderr)
    (record,) = read_lines(cwd / "traces")
    assert 2 == len(record["references"])


WRONG = {
    "nobodys": ("moa.target_unknown", "choose from aiohttp, anthropic"),
    "a b": ("moa.target_unknown", "unknown target"),
    "moa_client:": ("moa.target_unknown", "a dotted name"),
    ":Client": ("moa.target_unknown", "a dotted name"),
    "moa_client:Client.create=boss": ("moa.target_unknown", "unknown role 'boss'; choose from turn, reference"),
    "openai=turn": ("moa.target_unknown", "a name takes no role"),
    "moa_client:Nobody.create=turn": ("moa.target_missing", "moa_client has no attribute 'Nobody'"),
    "moa_client:Client.ask": ("moa.target_missing", "Client has no attribute 'ask'"),
    "never.imported:f": ("moa run:", "never.imported was never imported"),
    "app:main=turn": ("moa run:", "app was run as the script, which is __main__"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_target_is_named_once_and_harms_nothing(wrong, tmp_path, read_lines):
    """One line on stderr says which and why; the others work."""
    app = "import moa_client\nfor _ in range(3):\n    moa_client.answer('why')\n    import moa_client"
    cwd = written(tmp_path, {"moa_client.py": CLIENT, "app.py": app})
    done = run(cwd, "app.py", MOA_INSTRUMENT=f"{wrong},moa_client:answer=turn,moa_client:Base.propose")
    (line,) = done.stderr.splitlines()
    event, why = WRONG[wrong]
    assert line.startswith(f"{event} ")
    assert why in line
    assert 3 == len(read_lines(cwd / "traces"))


def test_a_target_that_breaks_an_import_does_not(tmp_path):
    """A module whose attributes fail is imported all the same."""
    odd = """
    class Meta(type):
        def __getattribute__(cls, name):
            if name == "create":
                raise RuntimeError("secret-4711")
            return super().__getattribute__(name)
    class Client(metaclass=Meta):
        def create(self): ...
    """
    cwd = written(tmp_path, {"odd.py": odd, "app.py": "import odd\nprint(odd.Client.__name__)"})
    done = run(cwd, "app.py", MOA_INSTRUMENT="odd:Client.create=turn")
    assert "Client\n" == done.stdout
    assert done.stderr.startswith("moa.target_missing ")
    assert "it raised RuntimeError" in done.stderr
    assert "4711" not in done.stderr


def test_the_variable_without_the_runner_is_named(tmp_path):
    """A program that uses the package itself is told that the variable does nothing there."""
    app = "import moa_middleware as moa\nf = moa.aggregator(lambda: 1)\nf()\nf()"
    cwd = written(tmp_path, {"app.py": app})
    for save in "", "1":
        env = {"MOA_INSTRUMENT": "openai", "MOA_SAVE_TRACES": save, "MOA_TRACE_DIR": str(cwd / "traces")}
        (line,) = python(cwd, "app.py", **env).stderr.splitlines()
        assert line.startswith("moa.targets_ignored ")
        assert "" == python(cwd, *RUN, "app.py", **env).stderr
