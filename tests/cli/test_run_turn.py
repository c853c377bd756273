"""`moa run --turn` and targets of the program itself: the record is whole, and the program notices nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.cli.test_run import ALIKE
from tests.support.running import RUN, outcome, python, written

MODELS = """
def ask(model, prompt):
    return f"what {model} has to say, in full"
"""
ASKS = "models:ask=call"
APP = """
import os, sys
from models import ask

def main():
    drafts = [ask(model, "Why?") for model in ("a", "b")]
    print(ask("c", "Join: " + " ; ".join(drafts)))

if __name__ == "__main__":
    main()
"""


def dosed(cases, *quick):
    """Return cases as parameters. Each starts interpreters, so a quick run takes only those that are named."""
    return [case if case in quick else pytest.param(case, marks=pytest.mark.processes) for case in cases]


def run(cwd, *args, **env):
    """Run a program with `--turn` and its model as a target; the traces are in `traces`."""
    return python(cwd, *RUN, "--trace-dir", "traces", "--instrument", ASKS, "--turn", *args, **env)


def of(record):
    """Return what a test compares of a turn: the labels of its references, aggregator and other calls."""
    aggregator = record["aggregator"]
    return (
        [call["label"] for call in record["references"]],
        aggregator and aggregator["label"],
        [call["label"] for call in record["calls"]],
    )


# The program as without us ------------------------------------------------------------------------

OF_A_SCRIPT = [what for what in ALIKE if what != "processes of a module"]


@pytest.mark.parametrize("what", dosed(OF_A_SCRIPT, "a module", "an exception", "a thread that goes on"))
def test_a_program_that_is_a_turn_runs_as_without_us(what, tmp_path):
    """The same exit code, the same bytes on stdout and on stderr."""
    files, args, flags = ALIKE[what]
    cwd = written(tmp_path, files)
    ours = python(cwd, *RUN, "--trace-dir=traces", "--turn", *args, flags=flags, stdin="to read\n")
    assert outcome(python(cwd, *args, flags=flags, stdin="to read\n")) == outcome(ours)


OWN = {
    # what: the program, and the targets in it
    "an exception": (ALIKE["an exception"][0]["app.py"], "__main__:f=turn,__main__:g=call"),
    "inspection": (ALIKE["inspection"][0]["app.py"], "__main__:f=call"),
    "pickling": (ALIKE["pickling"][0]["app.py"], "__main__:f=reference"),
    "decorators and classes": (
        """
        import functools, inspect
        from dataclasses import dataclass, fields

        def twice(fn):
            @functools.wraps(fn)
            def inner(*args):
                return fn(*args) * 2
            return inner

        @twice
        @twice
        def f(text):
            "doc"
            return text

        @dataclass(slots=True)
        class Client:
            name: str = "n"
            def create(self, text):
                return self.name + text

        x = '\\d' is 'a'
        print(f("a"), f.__doc__, inspect.getsource(f), f.__code__.co_firstlineno, inspect.signature(f))
        print(Client("m").create("b"), fields(Client)[0].name, inspect.getsource(Client.create), Client.__slots__)
        print(sorted(name for name in vars() if not name.startswith("__")))
        Client().create(1)
        """,
        "__main__:f=reference,__main__:Client.create=turn",
    ),
    "a syntax error": ("def f(:\n    pass", "__main__:f=turn"),
    "a syntax error of the compiler": ("def f():\n    pass\nreturn 1", "__main__:f=turn"),
}


@pytest.mark.parametrize("what", dosed(OWN, "an exception", "decorators and classes"))
def test_wrapping_the_programs_own_functions_does_not_show(what, tmp_path):
    """Source lines, first lines, warnings, tracebacks and pickles are those of the program alone."""
    app, targets = OWN[what]
    cwd = written(tmp_path, {"app.py": app})
    ours = python(cwd, *RUN, "--trace-dir=traces", "--instrument", targets, "app.py")
    said = [line for line in ours.stderr.splitlines(keepends=True) if line.startswith("moa run: ")]
    assert said == {"inspection": ["moa run: __main__:f was never called\n"]}.get(what, said)
    ours.stderr = ours.stderr.removesuffix("".join(said))
    assert outcome(python(cwd, "app.py")) == outcome(ours)


@pytest.mark.processes
def test_wrapping_functions_of_a_module_does_not_show(tmp_path):
    """For `-m` and for a directory as well."""
    app = ALIKE["an exception"][0]["app.py"]
    cwd = written(tmp_path, {"pkg/__init__.py": "", "pkg/__main__.py": app, "pkg/mod.py": app})
    for args in ["-m", "pkg.mod"], ["-m", "pkg"], ["pkg"]:
        ours = python(cwd, *RUN, "--trace-dir=traces", "--instrument", "__main__:f=turn,__main__:g", *args)
        assert outcome(python(cwd, *args)) == outcome(ours)


# The program as one turn ---------------------------------------------------------------------------

ENDS = {
    # how it ends: the last line, exit code, outcome, error
    "return": ("pass", 0, "completed", None),
    "sys.exit()": ("sys.exit()", 0, "completed", None),
    "sys.exit(0)": ("sys.exit(0)", 0, "completed", None),
    "sys.exit(3)": ("sys.exit(3)", 3, "error", {"type": "SystemExit", "message": "3"}),
    "sys.exit of a text": ("sys.exit('no')", 1, "error", {"type": "SystemExit", "message": "no"}),
    "an exception": ("raise ValueError('wrong')", 1, "error", {"type": "ValueError", "message": "wrong"}),
}


@pytest.mark.parametrize("end", dosed(ENDS, "return", "sys.exit(3)", "an exception"))
def test_a_program_is_one_turn_however_it_ends(end, tmp_path, read_lines):
    """Two references and an aggregator in one line, with the program's own end."""
    line, code, ended, error = ENDS[end]
    cwd = written(tmp_path, {"models.py": MODELS, "app.py": APP + f"    {line}\n"})
    done = run(cwd, "--session", "s-1", "app.py")
    assert (code, "what c has to say, in full\n") == (done.returncode, done.stdout)
    (record,) = read_lines(cwd / "traces")
    assert (["a", "b"], "c", []) == of(record)
    assert (ended, error, "s-1") == (record["outcome"], record["error"], record["session_id"])
    assert (3, False, None) == (record["totals"]["calls"], record["implicit"], record["parent_turn_id"])
    assert not list((cwd / "traces" / "open").glob("*"))


def test_ctrl_c_cancels_the_turn_and_ends_the_program_as_ever(tmp_path, read_lines):
    """SIGINT from outside."""
    cwd = written(
        tmp_path, {"models.py": MODELS, "app.py": APP + "    print(1, flush=True)\n    import time; time.sleep(30)\n"}
    )
    command = [sys.executable, *RUN, "--trace-dir=traces", "--instrument", ASKS, "--turn", "app.py"]
    process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert ["what c has to say, in full\n", "1\n"] == [process.stdout.readline() for _ in range(2)]
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert -signal.SIGINT == process.returncode
    assert stderr.endswith("KeyboardInterrupt\n")
    assert "moa_middleware" not in stderr
    (record,) = read_lines(cwd / "traces")
    assert ("cancelled", 3) == (record["outcome"], record["totals"]["calls"])


def test_threads_and_exit_functions_belong_to_the_program(tmp_path, read_lines):
    """What runs after the last line of the script, until the interpreter exits."""
    app = """
    import atexit, threading, time
    from models import ask

    def later():
        time.sleep(0.3)
        ask("thread", "q")

    atexit.register(ask, "exit", "q")
    threading.Thread(target=later).start()
    ask("main", "q")
    """
    cwd = written(tmp_path, {"models.py": MODELS, "app.py": app})
    assert 0 == run(cwd, "app.py").returncode
    (record,) = read_lines(cwd / "traces")
    calls = [*record["references"], *record["calls"], record["aggregator"]]
    assert ["exit", "main", "thread"] == sorted(call["label"] for call in calls if call)
    assert record["duration_ms"] >= 300


def test_asyncio_and_an_unread_stream_belong_to_the_program(tmp_path, read_lines):
    """Tasks of a loop, and a stream that is still open at the end, with its text so far."""
    models = """
    async def ask(model):
        return f"what {model} has to say"

    def speak(model):
        yield "half of "
        yield "it"
    """
    app = """
    import asyncio
    import models

    async def main():
        return await asyncio.gather(models.ask("a"), models.ask("b"))

    asyncio.run(main())
    stream = models.speak("c")
    next(stream)
    """
    cwd = written(tmp_path, {"models.py": models, "app.py": app})
    python(
        cwd, *RUN, "--trace-dir=traces", "--instrument", "models:ask,models:speak=aggregator,__main__=turn", "app.py"
    )
    (record,) = read_lines(cwd / "traces")
    assert ("completed", 3) == (record["outcome"], record["totals"]["calls"])
    assert ("abandoned", "half of ") == (record["aggregator"]["outcome"], record["aggregator"]["output"])


def test_a_program_without_a_call_writes_nothing(tmp_path):
    """There is no line and no directory; what was named and not called is said."""
    cwd = written(tmp_path, {"models.py": MODELS, "app.py": "import models"})
    assert (0, "", "moa run: models:ask was never called\n") == tuple(outcome(run(cwd, "app.py")).values())
    assert not (cwd / "traces").exists()


@pytest.mark.processes
def test_turns_inside_have_lines_of_their_own(tmp_path, read_lines):
    """They name the program's turn, which lists them."""
    cwd = written(tmp_path, {"models.py": MODELS, "app.py": APP + "    ask('d', 'q')\n"})
    done = python(cwd, *RUN, "--trace-dir=traces", "--instrument", f"{ASKS},__main__:main=turn", "--turn", "app.py")
    assert 0 == done.returncode
    inner, outer = read_lines(cwd / "traces")
    assert ((["a", "b"], "c", []), ([], "d", [])) == (of(inner), of(outer))
    assert (outer["turn_id"], [inner["turn_id"]]) == (inner["parent_turn_id"], outer["turns"])


KILLED = {"os._exit": "os._exit(4)", "SIGKILL": "os.kill(os.getpid(), 9)"}


@pytest.mark.parametrize("end", dosed(KILLED, "SIGKILL"))
def test_a_killed_program_is_recovered_from_its_journal(end, tmp_path, read_lines):
    """The journal is on for such a turn, so each call that ended is there."""
    cwd = written(tmp_path, {"models.py": MODELS, "app.py": APP + f"    {KILLED[end]}\n"})
    run(cwd, "app.py")
    assert ["open"] == os.listdir(cwd / "traces")
    done = python(cwd, "-m", "moa_middleware", "recover", "traces", "--json")
    assert [("recovered", 3)] == [(one["what"], one["calls"]) for one in json.loads(done.stdout)["journals"]]
    (record,) = read_lines(cwd / "traces")
    assert ((["a", "b"], "c", []), "crashed") == (of(record), record["outcome"])


def test_a_journal_that_is_switched_off_stays_off(tmp_path):
    """An explicit setting wins."""
    cwd = written(tmp_path, {"models.py": MODELS, "app.py": APP + "    os._exit(0)\n"})
    run(cwd, "app.py", MOA_JOURNAL="0")
    assert not (cwd / "traces").exists()


@pytest.mark.parametrize("method", dosed(["fork", "spawn"], "fork"))
def test_calls_of_child_processes_are_turns_of_their_own(method, tmp_path, read_lines):
    """A child cannot write into its parent's turn; nothing is lost and nothing is written twice."""
    app = f"""
    import multiprocessing
    from models import ask

    if __name__ == "__main__":
        ask("parent", "q")
        with multiprocessing.get_context({method!r}).Pool(1) as pool:
            print(pool.apply(ask, ("child", "q")))
    """
    cwd = written(tmp_path, {"models.py": MODELS, "app.py": app})
    done = run(cwd, "app.py")
    assert (0, "what child has to say, in full\n", "") == tuple(outcome(done).values())
    records = read_lines(cwd / "traces")
    assert [("child", True), ("parent", False)] == sorted(
        (record["aggregator"]["label"], record["implicit"]) for record in records
    )


# Functions of the program itself -------------------------------------------------------------------

FORMS = {
    "a function": APP,
    "a coroutine": APP.replace("def main", "async def main").replace(
        "    main()\n", "    import asyncio; asyncio.run(main())\n"
    ),
    "in a condition": "if True:\n    try:\n"
    + "".join("        " + line + "\n" for line in APP.splitlines())
    + "    finally:\n        pass\n",
    "behind a decorator that keeps it": APP.replace("def main", "kept = []\n@kept.append\ndef main").replace(
        "    main()\n", "    kept[0]()\n"
    ),
    "decorated by the program too": "import moa_middleware as moa\n"
    + APP.replace("def main", "@moa.turn(preset='mine')\ndef main"),
}


@pytest.mark.parametrize("form", dosed(FORMS, "a function", "behind a decorator that keeps it"))
def test_a_function_of_the_script_is_wrapped_as_it_is_defined(form, tmp_path, read_lines):
    """So that `if __name__ == "__main__": main()` at the end of the same file calls the wrapper."""
    cwd = written(tmp_path, {"models.py": MODELS, "app.py": FORMS[form]})
    done = python(cwd, *RUN, "--trace-dir", "traces", "--instrument", f"{ASKS}, __main__:main=turn", "app.py")
    assert (0, "what c has to say, in full\n", "") == tuple(outcome(done).values())
    (record,) = read_lines(cwd / "traces")
    assert ((["a", "b"], "c", []), False) == (of(record), record["implicit"])
    assert ("mine" if "preset" in FORMS[form] else None) == record["preset"]


@pytest.mark.parametrize("args", dosed([["app.py"], ["-m", "app"], ["."]], ["app.py"]))
def test_a_class_of_the_program_is_instrumented(args, tmp_path, read_lines):
    """Its methods, those that it inherits, and by the program's own module name of `-m` or a directory."""
    app = """
    import models

    class Base:
        def propose(self, model):
            return models.ask(model, "Why?")

    class Client(Base):
        def create(self):
            drafts = [self.propose("a"), self.propose("b")]
            return self.combine(drafts)

        @staticmethod
        def combine(drafts):
            return " + ".join(drafts)

    print(Client().create())
    """
    cwd = written(tmp_path, {"models.py": MODELS, "app.py": app, "__main__.py": app})
    roles = {"create": "turn", "propose": "reference", "combine": "aggregator"}
    targets = ",".join(f"__main__:Client.{name}={role}" for name, role in roles.items())
    done = python(cwd, *RUN, "--trace-dir=traces", "--instrument", targets, *args)
    assert (0, "") == (done.returncode, done.stderr)
    (record,) = read_lines(cwd / "traces")
    assert (["a", "b"], "combine", []) == of(record)
    assert done.stdout == record["output"] + "\n"


@pytest.mark.parametrize("method", dosed(["spawn", "forkserver", "fork"], "spawn"))
def test_functions_of_the_script_go_to_process_pools(method, tmp_path, read_lines):
    """They are pickled by name, and recorded where they run."""
    app = f"""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context
    import models

    def draft(model):
        return models.ask(model, "Why?")

    if __name__ == "__main__":
        with ProcessPoolExecutor(1, mp_context=get_context({method!r})) as executor:
            print(list(executor.map(draft, ["a", "b"])))
    """
    cwd = written(tmp_path, {"models.py": MODELS, "app.py": app})
    done = python(
        cwd, *RUN, "--trace-dir=traces", "--session=s", "--instrument", f"{ASKS},__main__:draft=reference", "app.py"
    )
    assert (0, "") == (done.returncode, done.stderr)
    records = read_lines(cwd / "traces")
    assert [(["a"], None, []), (["b"], None, [])] == [of(record) for record in records]
    assert {"s"} == {record["session_id"] for record in records}


@pytest.mark.parametrize("method", dosed(["spawn", "forkserver", "fork"], "spawn"))
def test_functions_of_the_script_that_call_each_other_in_a_child_are_recorded(method, tmp_path, read_lines):
    """The globals of a spawned child's functions are not those of its module `__main__`."""
    app = f"""
    from multiprocessing import get_context

    def ask(prompt):
        return f"an answer to {{prompt}}"

    def work(prompt):
        return ask(prompt)

    if __name__ == "__main__":
        with get_context({method!r}).Pool(1) as pool:
            print(pool.map(work, ["a", "b"]))
    """
    cwd = written(tmp_path, {"app.py": app})
    targets = "__main__:ask=reference,__main__:nope"
    done = python(cwd, *RUN, "--trace-dir=traces", "--instrument", targets, "app.py")
    assert "['an answer to a', 'an answer to b']\n" == done.stdout
    assert 1 == done.stderr.count("moa.target_missing")
    records = read_lines(cwd / "traces")
    assert ["an answer to a", "an answer to b"] == sorted(record["output"] for record in records)


WRONG = {
    "__main__:mian=turn": ("moa.target_missing", "the program defines no function mian at its top level"),
    "__main__:ask=call": ("moa.target_missing", "name what it imports by its own module"),
    "__main__:Client.create=turn": ("moa.target_missing", "the program defines no class Client at its top level"),
    "__main__:main=boss": ("moa.target_unknown", "unknown role 'boss'"),
    "__main__:main=turn(user=q)": ("moa.target_unknown", "unknown option 'user'"),
    "__main__:main=turn(messages=q)": ("moa.target_missing", "messages=q, but its parameters are: none"),
    "__main__=call": ("moa.target_unknown", "the whole program can only be a turn: __main__=turn"),
}


@pytest.mark.parametrize("wrong", dosed(WRONG, "__main__:mian=turn", "__main__=call"))
def test_a_wrong_target_of_the_program_is_named_once(wrong, tmp_path, read_lines):
    """One line on stderr says which and why; the others work."""
    cwd = written(tmp_path, {"models.py": MODELS, "app.py": APP})
    done = python(cwd, *RUN, "--trace-dir=traces", "--instrument", wrong, "--instrument", ASKS, "app.py")
    (line,) = done.stderr.splitlines()
    event, why = WRONG[wrong]
    assert line.startswith(f"{event} ")
    assert why in line
    assert 3 == len(read_lines(cwd / "traces"))


@pytest.mark.processes
def test_compiled_code_has_nothing_to_wrap(tmp_path):
    """It runs, and the log says why its functions are not wrapped."""
    import py_compile

    cwd = written(tmp_path, {"models.py": MODELS, "app.py": APP})
    py_compile.compile(str(cwd / "app.py"), cfile=str(cwd / "app.pyc"))
    done = python(cwd, *RUN, "--instrument", "__main__:main=turn", "app.pyc")
    assert (0, "what c has to say, in full\n") == (done.returncode, done.stdout)
    assert "moa.target_missing" in done.stderr
    assert "no source code" in done.stderr


# Options --------------------------------------------------------------------------------------------


SAVES = {None: True, "": True, " ": True, "0": False, "Off": False}


@pytest.mark.parametrize("value", dosed(SAVES, None, "0"))
def test_traces_are_saved_unless_that_is_switched_off(value, tmp_path):
    """`moa run` is asked for in order to have a trace."""
    cwd = written(tmp_path, {"models.py": MODELS, "app.py": APP})
    env = {} if value is None else {"MOA_SAVE_TRACES": value}
    done = python(cwd, *RUN, "--instrument", ASKS, "app.py", MOA_TRACE_DIR=str(cwd / "traces"), **env)
    assert (0, "") == (done.returncode, done.stderr)
    assert SAVES[value] == (cwd / "traces").exists()


def test_options_win_over_the_environment_and_the_program_over_both(tmp_path):
    """The directory is below the one where the command was given."""
    app = """
    import os, sys
    from models import ask
    os.mkdir("elsewhere")
    os.chdir("elsewhere")
    ask("a", "q")
    import moa_middleware as moa
    moa.configure(session_id="of the program")
    ask("a", "q")
    print(sorted(name for name in os.environ if name.startswith("MOA_")), sys.argv)
    """
    cwd = written(tmp_path, {"models.py": MODELS, "app.py": app})
    env = {"MOA_TRACE_DIR": "env", "MOA_SESSION_ID": "env", "MOA_INSTRUMENT": "openai"}
    done = python(
        cwd, *RUN, "--session=option", "--trace-dir", "traces", "--instrument", ASKS, "app.py", "--turn", **env
    )
    assert "['MOA_INSTRUMENT', 'MOA_SESSION_ID', 'MOA_TRACE_DIR'] ['app.py', '--turn']\n" == done.stdout
    assert ["of_the_program~", "option.jsonl"] == sorted(name[:15] for name in os.listdir(cwd / "traces"))[-2:]
