"""What was not recorded is said: on stderr at the end of `moa run`, in the log elsewhere, and in the status."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from moa_middleware.testing import Script, ScriptedServer
from tests.support.running import RUN, outcome, python, written

UTILS = """
def ask(model):
    return f"draft of {model}"

def run(models, fn=ask):
    return [fn(model) for model in models]

def never(model):
    return "unused"

HANDLERS = {"ask": ask}
"""


def run(cwd, *args, stdin="", flags=(), **env):
    """Run a program under `moa run` with traces on."""
    env = {"MOA_SAVE_TRACES": "1", "MOA_TRACE_DIR": str(cwd / "traces")} | env
    return python(cwd, *RUN, *args, stdin=stdin, flags=flags, **env)


def test_a_default_that_holds_the_function_is_recorded(tmp_path, read_lines):
    """`def run(models, fn=ask)`, evaluated before anything could be wrapped, as in the benchmark scripts of MoA."""
    cwd = written(
        tmp_path, {"utils.py": UTILS.replace("HANDLERS", "del never\n#"), "app.py": "import utils\nutils.run('ab')"}
    )
    done = run(cwd, "app.py", MOA_INSTRUMENT="utils:ask=call,utils:run=turn")
    assert (0, "") == (done.returncode, done.stderr)
    (record,) = read_lines(cwd / "traces")
    assert 2 == len(record["references"] + record["calls"]) + (record["aggregator"] is not None)


def test_what_a_registry_holds_is_named(tmp_path, read_lines):
    """It is called by way of the registry, which is not ours to change."""
    app = "import utils\nprint(utils.HANDLERS['ask']('a'))"
    cwd = written(tmp_path, {"utils.py": UTILS, "app.py": app})
    done = run(cwd, "app.py", MOA_INSTRUMENT="utils:ask=call")
    assert (0, "draft of a\n") == (done.returncode, done.stdout)
    assert "moa run: utils:ask was never called (the original is in utils.HANDLERS)\n" == done.stderr


ENDS = {
    # how the program ends: code, what is on stderr before our line
    "pass": (0, ""),
    "sys.exit(3)": (3, ""),
    "sys.exit('no')": (1, "no\n"),
    "1 / 0": (1, "ZeroDivisionError: division by zero\n"),
    "raise KeyboardInterrupt": (-signal.SIGINT, "KeyboardInterrupt\n"),
    "sys.stderr.close()": (0, ""),
    "sys.stderr = None": (0, ""),
    "sys.stderr = open('mine', 'w')": (0, ""),
    "atexit.register(print, 'the last word')": (0, ""),
}


@pytest.mark.parametrize(
    "end", ["sys.exit(3)", *(pytest.param(end, marks=pytest.mark.processes) for end in ENDS if end != "sys.exit(3)")]
)
def test_it_is_said_at_the_real_end_in_one_line(end, tmp_path):
    """After everything that the program prints, however it ends; its exit code and its stdout are its own."""
    app = f"import atexit, sys, utils\natexit.register(print, 'bye')\nprint('hello')\n{end}"
    cwd = written(tmp_path, {"utils.py": UTILS, "app.py": app})
    alone = python(cwd, "app.py")
    assert outcome(alone) == outcome(run(cwd, "app.py"))
    done = run(cwd, "app.py", MOA_INSTRUMENT="utils:never=call")
    code, before = ENDS[end]
    assert (code, alone.stdout) == (done.returncode, done.stdout)
    assert code == alone.returncode
    line = "moa run: utils:never was never called\n"
    if "close" in end:
        assert "" == done.stderr
    else:
        assert done.stderr.endswith(f"{before}{line}")
        assert alone.stderr + line == done.stderr


@pytest.mark.processes
def test_nothing_is_said_while_traces_are_off(tmp_path):
    """Nothing is recorded, so it is unknown what was called."""
    cwd = written(tmp_path, {"utils.py": UTILS, "app.py": "import utils"})
    done = run(cwd, "app.py", MOA_INSTRUMENT="utils:never=call,openai", MOA_SAVE_TRACES="0")
    assert (0, "") == (done.returncode, done.stderr)


TURNS = """
import utils

def main():
    import openai
    return utils.run("ab")

if __name__ == "__main__":
    import main_of
    print(main_of.main())
"""


def test_a_turn_without_a_call_and_an_sdk_that_was_not_called_are_named(tmp_path, read_lines):
    """The models are asked by other ways than the SDK that was named."""
    cwd = written(tmp_path, {"utils.py": UTILS, "main_of.py": TURNS, "app.py": "import main_of\nprint(main_of.main())"})
    done = run(cwd, "app.py", MOA_INSTRUMENT="openai,anthropic,main_of:main=turn")
    assert "moa run: openai was never called; 1 turn without a call\n" == done.stderr
    assert 1 == len(read_lines(cwd / "traces"))
    app = "import main_of, anthropic\nprint(main_of.main(), main_of.main())"
    cwd = written(tmp_path, {"app.py": app})
    done = run(cwd, "app.py", MOA_INSTRUMENT="openai,main_of:main=turn")
    assert (
        "moa run: openai was never called (anthropic was imported: name it too); 2 turns without a call\n"
        == done.stderr
    )


ALONE = {
    # the program: what is named, options of moa run, the line
    "import openai": ("", (), "nothing was recorded; openai was imported: name it in --instrument"),
    "import anthropic, groq": (
        *("", ()),
        "nothing was recorded; anthropic, groq were imported: name them in --instrument",
    ),
    "import openai, sys\nprint(1)": (
        *("", ("--turn",)),
        "nothing was recorded; openai was imported: name it in --instrument",
    ),
    "import openai, utils": (
        *("utils:never=call", ()),
        "nothing was recorded; utils:never was never called; openai was imported: name it in --instrument",
    ),
    "import groq, utils\nutils.run('a')": (
        *("utils:run=turn", ()),
        "groq was imported: name it in --instrument; 1 turn without a call",
    ),
    "import openai, utils\nutils.ask('a')": ("utils:ask=call", (), None),
    "print('no SDK')": ("", (), None),
    "import openai, moa_middleware as moa\nmoa.instrument(openai.OpenAI(api_key='k'))": ("", (), None),
    "import openai, os\nif not os.fork(): raise SystemExit\nos.wait()": ("", (), None),
}


QUICK = ("import openai", "import groq, utils\nutils.run('a')", "print('no SDK')")


@pytest.mark.parametrize(
    "app", [app if app in QUICK else pytest.param(app, marks=pytest.mark.processes) for app in ALONE]
)
def test_an_imported_sdk_that_is_not_named_is_said_where_nothing_was_recorded(app, tmp_path):
    """The usual mistake: `moa run app.py` without `--instrument`; the program's own output stays as it is."""
    named, options, line = ALONE[app]
    cwd = written(tmp_path, {"utils.py": UTILS.partition("HANDLERS")[0], "app.py": app})
    done = python(cwd, *RUN, "--trace-dir", "tn", *options, "app.py", MOA_INSTRUMENT=named)
    alone = python(cwd, "app.py")
    assert (alone.returncode, alone.stdout) == (done.returncode, done.stdout)
    assert ("" if line is None else f"moa run: {line}\n") == done.stderr


@pytest.mark.processes
def test_an_imported_sdk_is_not_named_while_traces_are_off(tmp_path):
    """An explicit `0` is meant."""
    cwd = written(tmp_path, {"app.py": "import openai"})
    done = run(cwd, "app.py", MOA_SAVE_TRACES="0")
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)


@pytest.mark.processes
def test_an_sdk_that_was_not_needed_is_not_missed(tmp_path, read_lines):
    """A list of names may be meant for several programs: one that was called is enough."""
    app = """
    import os, anthropic
    from openai import OpenAI
    client = OpenAI(base_url=os.environ["URL"], api_key="k", max_retries=0)
    client.chat.completions.create(model="m", messages=[{"role": "user", "content": "q"}])
    """
    cwd = written(tmp_path, {"app.py": app})
    with ScriptedServer({"m": Script("x")}) as server:
        done = run(cwd, "app.py", MOA_INSTRUMENT="anthropic,openai,litellm,hermes", URL=server.base_url)
    assert (0, "") == (done.returncode, done.stderr)
    assert 1 == len(read_lines(cwd / "traces"))


@pytest.mark.processes
def test_where_nothing_at_all_was_recorded_every_name_is_named(tmp_path):
    """The program does not use what was named."""
    cwd = written(tmp_path, {"app.py": "print(1)"})
    done = run(cwd, "app.py", MOA_INSTRUMENT="litellm,groq")
    assert ("1\n", "moa run: litellm was never imported; groq was never imported\n") == (done.stdout, done.stderr)


@pytest.mark.parametrize(
    "how", [pytest.param(how, marks=pytest.mark.processes) for how in ("fork", "spawn", "os.fork")]
)
def test_children_say_nothing_and_make_it_unknown(how, tmp_path):
    """What is called in a child is not seen in the parent, so nothing is claimed of it."""
    app = f"""
    import multiprocessing, os, sys, utils

    def work():
        utils.ask("a")

    if __name__ == "__main__":
        if {how!r} == "os.fork":
            if not os.fork():
                sys.exit(0)
            os.wait()
        else:
            child = multiprocessing.get_context({how!r}).Process(target=work)
            child.start()
            child.join()
    """
    cwd = written(tmp_path, {"utils.py": UTILS, "app.py": app})
    done = run(cwd, "app.py", MOA_INSTRUMENT="utils:ask=call,absent:f=call")
    expected = "moa run: absent:f: absent was never imported; "
    held = "calls of utils:ask through utils.HANDLERS are not recorded\n"
    assert (0, expected + held) == (done.returncode, done.stderr)


@pytest.mark.processes
def test_a_program_that_is_interrupted_says_it_once(tmp_path):
    """A server, for example, that runs until Ctrl-C."""
    app = "import utils, time\nprint('ready', flush=True)\ntime.sleep(60)"
    cwd = written(tmp_path, {"utils.py": UTILS, "app.py": app})
    env = os.environ | {"MOA_SAVE_TRACES": "1", "MOA_TRACE_DIR": str(cwd / "traces"), "MOA_INSTRUMENT": "utils:never"}
    with subprocess.Popen(
        [sys.executable, *RUN, "app.py"], cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert "ready\n" == process.stdout.readline()
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert err.endswith("KeyboardInterrupt\nmoa run: utils:never was never called\n")


WEB = """
import functools
from flask import Flask
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

app = Flask(__name__)
api = FastAPI()

@app.route("/")
def answer():
    return "flask"

@api.get("/")
async def reply():
    return "fastapi"

async def page(request):
    return PlainTextResponse("starlette")

site = Starlette(routes=[Route("/", page)])

class Tool:
    @staticmethod
    def use():
        return "tool"

TOOLS = {"use": Tool.use, "page": functools.partial(page)}
"""
ROUTES = {
    "web:answer": "flask.app.Flask.view_functions",
    "web:reply": "fastapi.routing.APIRoute.endpoint",
    "web:page": "starlette.routing.Route.endpoint",
    "web:Tool.use": "web.TOOLS",
}


@pytest.mark.parametrize(
    "target", ["web:answer", *(pytest.param(one, marks=pytest.mark.processes) for one in ROUTES if one != "web:answer")]
)
def test_routes_of_web_frameworks_are_named(target, tmp_path):
    """Flask, FastAPI and Starlette keep the function when its module is run, before it can be wrapped."""
    app = "import web\nprint(web.app.test_client().get('/').text, web.TOOLS['use']())"
    cwd = written(tmp_path, {"web.py": WEB, "app.py": app})
    done = run(cwd, "app.py", MOA_INSTRUMENT=f"{target}=turn")
    assert (0, "flask tool\n") == (done.returncode, done.stdout)
    assert done.stderr.startswith(f"moa run: {target} was never called (the original is in ")
    assert ROUTES[target] in done.stderr
    assert 1 == done.stderr.count("\n")


# From code -----------------------------------------------------------------------------------------

IN_CODE = """
import os, sys
import moa_middleware as moa
from utils import ask
import utils

moa.configure(save_traces=True, trace_dir="traces")
moa.instrument("utils:ask=call,utils:never=call,absent:f=turn")

@moa.turn
def empty():
    return "nothing"

ask("by the name that was imported")
utils.run("a")
empty()
status = moa.status()
print(status.turns_without_calls, status.unread_replies, status.targets_unused, status.targets_held)
"""


def test_from_code_it_is_in_the_status_and_in_the_log(tmp_path, read_lines):
    """The script's own names are wrapped; what a registry holds, what was not called and empty turns are events."""
    cwd = written(tmp_path, {"utils.py": UTILS, "app.py": IN_CODE})
    done = python(cwd, "app.py")
    unused = ("absent:f", "utils:never")
    assert f"1 0 {unused} {('utils:ask (utils.HANDLERS)',)}\n" == done.stdout
    assert [
        "moa.target_held target=utils:ask held=utils.HANDLERS",
        "moa.target_unused target=absent:f error=absent was never imported",
        "moa.target_unused target=utils:never error=was never called",
        "moa.turns_incomplete turns_without_calls=1 unread_replies=0",
    ] == sorted(done.stderr.splitlines())
    assert [1, 1, 0] == [record["totals"]["calls"] for record in read_lines(cwd / "traces")]
